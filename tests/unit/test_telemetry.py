"""Telemetry that is off costs nothing, and says so where its packages are missing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from shared import telemetry
from shared.errors import SettingsError


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    code = "import function_app, sys; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_off_there_are_no_spans_and_no_trace() -> None:
    with telemetry.span("chunk.process", "00-1-2-01", rows=1) as span:
        assert span is None
    assert telemetry.current_trace() == ""
    telemetry.note(telemetry.ROWS, 1, type="workers", outcome="new")


def test_an_error_passes_through_a_span_and_leaves_its_class_alone() -> None:
    telemetry.turn_on()
    try:

        @telemetry.traced("rows.commit")
        async def fail() -> None:
            raise ValueError("a value of a row")

        with pytest.raises(ValueError, match="a value of a row"):
            asyncio.run(telemetry_of(fail))
        # Without a provider there is no trace to belong to.
        assert telemetry.current_trace() == ""
    finally:
        telemetry.turn_off()


async def telemetry_of(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def test_missing_packages_are_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError) as caught:
        telemetry.turn_on()
    assert "requirements-telemetry.txt" in caught.value.problems[0]
