"""Workers as callers send them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SAMPLE = Path(__file__).parent / "golden" / "payandbill-workers-v1.request.json"
"""The body of the vendor's own page."""

_SERIAL = itertools.count(1)


def a_worker(reference: str | None = None, **changes: Any) -> Row:
    """A worker that goes in without a message; `reference` is its PersonnelRef."""
    return {
        "EmployerRef": "E1",
        "PersonnelRef": reference or f"P{next(_SERIAL):06d}",
        "Surname": "Sample",
        **changes,
    }


def a_full_worker(number: int, employer: str) -> Row:
    """The worker of the vendor's sample, 3.4 KB, under a reference of its own."""
    [sample] = json.loads(SAMPLE.read_text("utf-8"))
    reference = f"W{number:06d}"
    return {**sample, "EmployerRef": employer, "PersonnelRef": reference, "ExternalWorkerRef": None}


def workers(count: int, employers: int = 10, **changes: Any) -> list[Row]:
    """So many small workers, of several employers in turn."""
    return [
        a_worker(f"W{number:06d}", EmployerRef=f"E{number % employers:02d}", **changes)
        for number in range(count)
    ]


def body_of(rows: list[Any]) -> bytes:
    """The body of a call."""
    return json.dumps(rows, ensure_ascii=False).encode()
