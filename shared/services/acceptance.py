"""The import that a call has had accepted, so that its answer names it whatever fails later.

The log of imports sets it, and the builder of answers reads it. Handlers of messages, timers and
commands have no caller to answer, so nothing is set there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shared.storage.import_records import ImportRecord


@dataclass(slots=True)
class Acceptance:
    """The import of a call; None until it is accepted."""

    record: ImportRecord | None = None


_CURRENT: ContextVar[Acceptance | None] = ContextVar("acceptance", default=None)


@contextmanager
def acceptance_noted() -> Iterator[Acceptance]:
    """Collect the import that the block accepts."""
    acceptance = Acceptance()
    token = _CURRENT.set(acceptance)
    try:
        yield acceptance
    finally:
        _CURRENT.reset(token)


def note_accepted(record: ImportRecord) -> None:
    """Note that the record of an import is inserted, so that the import will complete."""
    acceptance = _CURRENT.get()
    if acceptance is not None:
        acceptance.record = record
