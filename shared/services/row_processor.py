"""The interface between the chunk processor and the import types.

The chunk processor knows messages, order, results and time. A `RowProcessor` knows how rows are
read, decided and committed. Types whose rows each name one record by its key share
`RecordProcessor`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from shared.imports.import_type import Document, ReadRow
from shared.imports.messages import MessageId
from shared.imports.results import RowResult
from shared.storage.business_records import RecordKey, StoredRecord
from shared.storage.former_columns import Spilled
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Operation
from shared.storage.record_indexes import NamedRecord

if TYPE_CHECKING:
    from shared.clock import Clock
    from shared.imports.merge_rules import ChangeListener
    from shared.services.admin.reference_lists import ReferenceLists
    from shared.services.background import Offload
    from shared.services.references import EarlierImports
    from shared.storage.ports import Blobs, Tables

# Awaited before each transaction. It raises an error to stop there (cancelled, time is up), and
# returns True where one transaction has to follow the other, because small imports are expected.
BeforeCommit = Callable[[], Awaitable[bool | None]]
# About the size of a row for the rules, for the choice of a thread.
BYTES_PER_ROW = 1_024


class ImportCancelledError(Exception):
    """The import was cancelled. Rows that are not committed end as 9002."""


class HandlerTimeUpError(Exception):
    """The handler's time is up. The next message processes the rest."""


class SupersededError(Exception):
    """A later import has written: this handler is a straggler whose chunk has a result already."""


class RowProcessor(Protocol):
    """Processes the lines of one chunk of an import type (`json_rows.read_lines` parses them).

    `run` and `end` may be called again for the same chunk, even while an earlier call still runs. A
    row that has taken effect reports its first result again. Both raise StorageUnavailableError if
    storage does not answer, and SupersededError if a later import has written.
    """

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """Process the rows. Returns their results in the order of the lines, without waiting rows.

        Raises the errors of `before_commit`.
        """

    async def end(self, record: ImportRecord, lines: bytes, code: int) -> list[RowResult]:
        """End the rows without running a rule. Committed rows keep their outcome. The others end
        with `code`, and no straggler can commit them any more.
        """

    def is_readable(self, index: int, row: Mapping[str, Any]) -> bool:
        """Whether a JSON row of a broken payload has the form of this type's rows.

        It may raise an error if not.
        """


@dataclass(frozen=True, slots=True)
class KeyRows:
    """The rows of one record in a chunk, in the order they were sent."""

    key: RecordKey
    rows: tuple[ReadRow, ...]


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """The results of the rows of one record, and the writes for them (often none)."""

    results: tuple[RowResult, ...]
    operations: tuple[Operation, ...] = ()
    # New names of the record, to be added to the index before it is written.
    names: frozenset[NamedRecord] = frozenset()
    # Former values, to be written to a blob before the record is written.
    spilled: Spilled = field(default_factory=dict)


# The rows wait for a record that an earlier import may still create.
WAITING = RecordOutcome(())

# Decides about the rows of one record. Pure. Raises SupersededError if a later import has already
# written the record, and StorageUnavailableError if the rows cannot be committed now.
Resolver = Callable[[KeyRows, StoredRecord | None], RecordOutcome]


# Finds what refers to records of one partition, of which the documents are given, in a tenant. The
# key field and the reference of one that does, by the record it refers to.
FindReferrers = Callable[
    ["Tables", str, Mapping[RecordKey, Document]],
    Awaitable[Mapping[RecordKey, tuple[str, str]]],
]


@dataclass(frozen=True, slots=True)
class ProcessorContext:
    """The dependencies of row processors, on the storage of the account or of a dry run.

    `imports` finds the open imports before an import. `on_change` is called for each change.
    `referrers` are those of a type's records that are no `references`, by that type.
    """

    tables: Tables
    blobs: Blobs
    imports: EarlierImports
    lists: ReferenceLists
    clock: Clock
    offload: Offload
    on_change: ChangeListener | None = None
    referrers: Mapping[str, Sequence[FindReferrers]] = field(default_factory=dict)


class Processors:
    """The row processors of all types. `special` maps the name of a type to its processor.

    `undo` and `special_undo` are the processors of undos.
    """

    def __init__(
        self,
        default: RowProcessor,
        special: Mapping[str, RowProcessor],
        undo: RowProcessor,
        special_undo: Mapping[str, RowProcessor],
    ) -> None:
        self._default = default
        self._special = special
        self._undo = undo
        self._special_undo = special_undo

    def with_more(
        self,
        special: Mapping[str, RowProcessor],
        special_undo: Mapping[str, RowProcessor] | None = None,
    ) -> Processors:
        """Add the processors of these types."""
        return Processors(
            self._default,
            {**self._special, **special},
            self._undo,
            {**self._special_undo, **(special_undo or {})},
        )

    def for_import(self, record: ImportRecord) -> RowProcessor:
        """The processor of the rows of an import."""
        if record.is_undo:
            return self._special_undo.get(record.type_name, self._undo)
        return self._special.get(record.type_name, self._default)


def ended_code(record: ImportRecord) -> int:
    """The message id of rows that end without being run: cancelled, or failed too often."""
    return MessageId.CANCELLED if record.is_cancelled else MessageId.COULD_NOT_BE_PROCESSED
