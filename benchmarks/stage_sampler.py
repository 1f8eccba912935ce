"""Loaded into a gateway that the bench `stages` measures: it sums up where its time goes."""

from __future__ import annotations

from benchmarks.measuring.stage_sampler import start

start()
