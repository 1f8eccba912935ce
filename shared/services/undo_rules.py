"""The rules of an undo, for every type (docs/contracts.md#9, docs/design.md#1.11).

An undo is a child import. Each of its rows names one row of the import that it undoes by index and
key. A record can be put back only while its stamp is that of the undone import: then what it was
before is kept with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from shared.imports.former_values import FormerState
from shared.imports.import_type import ImportType
from shared.imports.messages import Message, MessageId
from shared.imports.results import Outcome, RowResult, is_erased, rows_in
from shared.storage.import_records import ImportRecord

# The names of an undo's row that are not key fields.
INDEX = "index"
REMOVED = "removed"
RESTORED = "restored"
UNCHANGED = "unchanged"


def has_effect(result: RowResult) -> bool:
    """Whether there is something to undo for a row of an import. Nothing is left of a row that was
    erased with its person.
    """
    if is_erased(result):
        return False
    return result.outcome.took_effect or bool(result.removed or result.restored)


def undo_row(kind: ImportType, result: RowResult) -> Mapping[str, Any]:
    """The row of an undo for a row of the undone import: its index and its key, what it removed and
    restored beside its own record, and whether it left its own record as it was.
    """
    keys = zip(kind.rules.key_fields, result.key, strict=True)
    row: dict[str, Any] = {INDEX: result.index}
    row |= {field: value for field, value in keys if value is not None}
    if result.removed:
        row[REMOVED] = list(result.removed)
    if result.restored:
        row[RESTORED] = list(result.restored)
    if not result.outcome.took_effect:
        row[UNCHANGED] = True
    return row


def is_reversed(record: ImportRecord, stamp: int) -> bool:
    """Whether the import of a stamp has undone the record for the same import already.

    That is the undo that this one is a retry of, or another retry of it.
    """
    return any(ancestor.number == stamp for ancestor in record.lineage) or any(
        stamp in retries for retries in record.origins.retries.values()
    )


def refusal(record: ImportRecord, stamp: int | None, state: FormerState) -> Message | None:
    """The Error of a row whose record cannot be put back; None where it can.

    `stamp` is the number of the import that wrote the record last, None where nothing is stored
    under its key. `state` is what is known of the record before that import.
    """
    if stamp is None:
        return Message(MessageId.FORMER_VALUES_NOT_KEPT)
    if stamp != record.undoes.number:
        return Message(MessageId.CHANGED_SINCE_UNDONE_IMPORT)
    if state in (FormerState.LOST, FormerState.EXPIRED):
        return Message(MessageId.FORMER_VALUES_NOT_KEPT)
    return None


def shown_results(record: ImportRecord, rows: Iterable[RowResult]) -> Iterator[RowResult]:
    """The results of an import as they are shown.

    Those of an undo have the indexes of the undone import's rows, and their own outcome.
    """
    if not record.is_undo:
        yield from rows
        return
    indexes = shown_indexes(record)
    for row in rows:
        index = indexes[row.index] if row.index < len(indexes) else row.index
        outcome = Outcome.REVERSED if row.outcome.took_effect else row.outcome
        yield replace(row, index=index, outcome=outcome)


def shown_indexes(record: ImportRecord) -> Sequence[int]:
    """For each row of an undo the index of the row that it undoes."""
    return _indexes(record.undone_rows)


# Results are shown chunk by chunk, and each chunk needs them.
@lru_cache(maxsize=2)
def _indexes(rows: int) -> tuple[int, ...]:
    return tuple(rows_in(rows))
