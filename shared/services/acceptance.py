"""Which import a call has had accepted: from then on its answer names that import, whatever fails.

The log of imports notes it, the builder of answers asks for it. A handler of another kind (a
message, a timer, a command) has nobody to answer, so nothing is noted there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shared.storage.import_records import ImportRecord


@dataclass(slots=True)
class Acceptance:
    """`record` is the import of this call; None before there is one."""

    record: ImportRecord | None = None


_CURRENT: ContextVar[Acceptance | None] = ContextVar("acceptance", default=None)


@contextmanager
def acceptance_noted() -> Iterator[Acceptance]:
    """What the block has accepted."""
    acceptance = Acceptance()
    token = _CURRENT.set(acceptance)
    try:
        yield acceptance
    finally:
        _CURRENT.reset(token)


def note_accepted(record: ImportRecord) -> None:
    """The record is in: the import will complete."""
    acceptance = _CURRENT.get()
    if acceptance is not None:
        acceptance.record = record
