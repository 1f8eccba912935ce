"""The work on the rows of a chunk: what differs between import types behind one interface.

The chunk processor knows messages, order, results and time; a `RowProcessor` knows how rows are
read, decided and committed. Types whose rows each speak of one record by its key share
`RecordProcessor`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shared.imports.import_type import ReadRow
from shared.imports.messages import MessageId
from shared.imports.results import RowResult
from shared.services.name_index import NamedRecord
from shared.storage.business_records import RecordKey, StoredRecord
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Operation

if TYPE_CHECKING:
    from shared.clock import Clock
    from shared.imports.merge_rules import ChangeListener
    from shared.services.admin.reference_lists import ReferenceLists
    from shared.services.background import Offload
    from shared.services.references import EarlierImports
    from shared.storage.ports import Blobs, Tables

# Awaited before each transaction; raises to stop the work there (cancelled, time is up).
BeforeCommit = Callable[[], Awaitable[None]]
# About what the rules look at, for the choice of a thread.
BYTES_PER_ROW = 1_024


class ImportCancelledError(Exception):
    """Somebody asked to stop; what is not committed ends as 9002."""


class HandlerTimeUpError(Exception):
    """The handler has worked long enough; the rest is for its next message."""


class SupersededError(Exception):
    """A later import was here: this handler is a straggler, its chunk has a result already."""


class RowProcessor(Protocol):
    """What an import type does with the lines of one chunk (`payload.read_lines` reads them).

    Both may be called again for the same chunk, also while an earlier call still runs: a row whose
    effect is there reports what it did the first time. Both raise StorageUnavailableError when
    storage does not answer, and SupersededError where a later import has been here.
    """

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """The result of every row, in the order of the lines; fewer where rows have to wait.

        Raises what `before_commit` raises.
        """

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """End the rows without running a rule: what is committed keeps its outcome, the rest says
        `code`, and no straggler can commit it any more.
        """

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        """Whether a row of a broken payload, which is JSON, has the form of this type's rows.

        It may raise for one that has not.
        """


@dataclass(frozen=True, slots=True)
class KeyRows:
    """The rows of one record in a chunk, in the order they were sent."""

    key: RecordKey
    rows: tuple[ReadRow, ...]


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What becomes of the rows of one record, and the writes that make it so (often none)."""

    results: tuple[RowResult, ...]
    operations: tuple[Operation, ...] = ()
    # New names of the record, to be entered in the index before it is written.
    names: frozenset[NamedRecord] = frozenset()


# The rows wait for a record that may still come.
WAITING = RecordOutcome(())

# Pure; raises SupersededError where a later import has already written the record, and
# StorageUnavailableError where the rows cannot be settled for now.
Resolver = Callable[[KeyRows, StoredRecord | None], RecordOutcome]


@dataclass(frozen=True, slots=True)
class ProcessorContext:
    """What work on rows is made of that needs storage alone: the account's, or a dry run's.

    `imports` says what is open before an import, `on_change` is told what each row changes.
    """

    tables: Tables
    blobs: Blobs
    imports: EarlierImports
    lists: ReferenceLists
    clock: Clock
    offload: Offload
    on_change: ChangeListener | None = None


class Processors:
    """Which work does the rows of an import; `special` goes by the name of its type."""

    def __init__(self, default: RowProcessor, special: Mapping[str, RowProcessor]) -> None:
        self._default = default
        self._special = special

    def with_more(self, special: Mapping[str, RowProcessor]) -> Processors:
        """Add the processors of these types."""
        return Processors(self._default, {**self._special, **special})

    def for_import(self, record: ImportRecord) -> RowProcessor:
        """The processor of the type of an import."""
        return self._special.get(record.type_name, self._default)


def ended_code(record: ImportRecord) -> int:
    """What rows say that end without being run: cancelled, or failed too often."""
    return MessageId.CANCELLED if record.is_cancelled else MessageId.COULD_NOT_BE_PROCESSED
