"""The limits of the gateway that the tests of the contract talk to."""

from __future__ import annotations

MAX_BODY_BYTES = 60_000
MAX_ROWS = 250
DRY_RUN_ROWS = 120
MAX_DOCUMENT_BYTES = 20_000
