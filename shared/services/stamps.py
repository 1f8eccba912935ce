"""The stamp protocol: which import has written a record, and which may still write it.

A record has the stamp of the import that wrote it last, with the results of that import's rows.
Poison and cancel end rows without a stamp. The record then names the import among its ended ones
(`EndedImports`), where a slow handler finds it. Every type whose rows have stamps calls
`recorded_results` before it writes, and ends rows with `ending`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from shared.errors import StorageUnavailableError, UnreadableDataError
from shared.imports.former_values import NOTHING_FORMER, FormerRecord
from shared.imports.import_type import Document, ImportType
from shared.imports.merge_rules import fail_all_rows
from shared.imports.messages import Message
from shared.imports.registry import types_of_table
from shared.imports.results import RowResult
from shared.services.references import EarlierImports
from shared.services.row_processor import KeyRows, RecordOutcome, Resolver, SupersededError
from shared.storage import business_records
from shared.storage.business_records import (
    MOST_ENDED,
    NOTHING_ENDED,
    RecordKey,
    Stamp,
    StoredRecord,
)
from shared.storage.import_records import ImportRecord


def recorded_results(
    record: ImportRecord, rows: KeyRows, stored: StoredRecord | None
) -> tuple[RowResult, ...] | None:
    """The results that the rows have already; None if the import may write the record.

    Raises SupersededError for a straggler: a later import has written the record, or this import
    had ended when a later one was ended for the record. Raises UnreadableDataError if that cannot
    be true because the stamp is broken.
    """
    if stored is None:
        return None
    results = _find_recorded(record, rows, stored)
    if results is None and not _may_still_write(record, stored):
        raise_superseded(record)
    return results


def ending(record: ImportRecord, message: Message, closed_through: int) -> Resolver:
    """Make a resolver that ends rows without a stamp of this import with `message`.

    `closed_through` is the result of the function of that name.
    """

    def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
        results = None if stored is None else _find_recorded(record, rows, stored)
        if results is not None:
            return RecordOutcome(results)
        results = fail_all_rows(rows.rows, message)
        if stored is not None and not _may_still_write(record, stored):
            return RecordOutcome(results)
        before = NOTHING_ENDED if stored is None else stored.ended
        ended = before.with_import(record.number, message.id, closed_through)
        if len(ended.codes) > MOST_ENDED:
            # Limits the size of the entity. The ids are removed when the oldest open import ends.
            raise StorageUnavailableError(
                "too many imports were ended on one record while an earlier import is open"
            )
        return RecordOutcome(results, (business_records.ending(rows.key, stored, ended),))

    return resolve


def stamped_record(
    key: RecordKey,
    document: Document,
    stamp: Stamp,
    stored: StoredRecord | None,
    now: str,
    *,
    renamed: StoredRecord | None = None,
    lookups: tuple[str, ...] = (),
    columns: Mapping[str, str] | None = None,
) -> StoredRecord:
    """The record that an import writes over `stored`, whose ended imports it keeps.

    The record keeps its creator and time of creation, from `renamed` (the record under the old id)
    or else from `stored`. Over a tombstone the import of the stamp creates it anew. Its former
    values come from the same record: what it was before, or before its own import.
    """
    before = stored if stored is not None and stored.document is not None else None
    before = renamed or before
    current = renamed or stored
    return StoredRecord(
        key=key,
        document=document,
        stamp=stamp,
        ended=NOTHING_ENDED if stored is None else stored.ended,
        created_by=stamp.number if before is None else before.created_by,
        created_at=now if before is None else before.created_at,
        updated_at=now,
        lookups=lookups,
        columns=columns,
        created_import_id=stamp.import_id if before is None else before.created_import_id,
        former=NOTHING_FORMER if current is None else current.before_import(stamp.number),
        unreadable="" if before is None else before.unreadable,
    )


def undone_record(
    former: FormerRecord | None, stamp: Stamp, stored: StoredRecord, now: str
) -> StoredRecord:
    """The record that an undo writes over `stored`: what it was before, or its tombstone.

    Its creator and time of creation come back too. What the undo replaces becomes the former
    record, so that the undo can be undone.
    """
    created = stored.created
    if former is not None:
        created = former.created_by, former.created_import_id, former.created_at
    created_by, created_import_id, created_at = created
    return StoredRecord(
        key=stored.key,
        document=None if former is None else former.document,
        stamp=stamp,
        ended=stored.ended,
        created_by=created_by,
        created_at=created_at,
        updated_at=now,
        created_import_id=created_import_id,
        former=stored.before_import(stamp.number),
        unreadable=stored.unreadable,
    )


def raise_superseded(record: ImportRecord) -> NoReturn:
    """Raise the error for a stored record that names a later import than this one."""
    if record.trusts_later_stamps:
        raise SupersededError
    raise UnreadableDataError("the stamp of a record")


async def closed_through(
    imports: EarlierImports, import_kind: ImportType, record: ImportRecord
) -> int:
    """The number up to which every import has ended that writes to the same table.

    An ended import stays ended and no import gets a lower number, so this stays true.
    """
    writers = {import_kind.name, *(kind.name for kind in types_of_table(import_kind.table))}
    oldest = [await imports.oldest_open_before(record, name) for name in sorted(writers)]
    return min((number for number in oldest if number is not None), default=record.number) - 1


def _find_recorded(
    record: ImportRecord, rows: KeyRows, stored: StoredRecord
) -> tuple[RowResult, ...] | None:
    """The results that a handler of this import has committed, or with which it ended the rows."""
    if stored.stamp.number == record.number:
        results = {result.index: result for result in stored.stamp.results()}
        # The tombstone of a rename has the import's stamp without results of other rows.
        if all(row.index in results for row in rows.rows):
            return tuple(results[row.index] for row in rows.rows)
    code = stored.ended.codes.get(record.number)
    return None if code is None else fail_all_rows(rows.rows, Message(code))


def _may_still_write(record: ImportRecord, stored: StoredRecord) -> bool:
    return record.number >= stored.stamp.number and record.number > stored.ended.closed_through
