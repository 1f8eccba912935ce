"""The resolver that applies the rules of a type to the rows of one record (docs/design.md#1).

It is pure: it computes results and writes from the rows of a record and the stored record. It first
checks the stamp (`stamps`), because the results of an earlier handler of this import count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared import log
from shared.clock import to_iso
from shared.imports.import_type import Document, ImportType, Options, ReadRow, Reference
from shared.imports.merge_rules import (
    NO_REFUSALS,
    ChangeListener,
    evaluate_without_key,
    fail_all_rows,
    merge_rows,
    no_missing_references,
)
from shared.imports.messages import TOO_LARGE_RECORD, Message, MessageId
from shared.imports.results import RowResult, failed
from shared.services.references import References
from shared.services.row_processor import WAITING, KeyRows, RecordOutcome, Resolver
from shared.services.sent_rows import SentRows
from shared.services.stamps import recorded_results, stamped_record
from shared.storage import business_records as records
from shared.storage.business_records import RecordTooLargeError, Stamp, StoredRecord
from shared.storage.former_columns import Spilled
from shared.storage.import_records import ImportRecord
from shared.storage.record_indexes import new_names
from shared.storage.sealing import RecordDigests


def rules_resolver(
    kind: ImportType,
    record: ImportRecord,
    references: References,
    now: datetime,
    on_change: ChangeListener | None = None,
    unread: set[Reference] | None = None,
    digests: RecordDigests | None = None,
    sent: SentRows | None = None,
) -> Resolver:
    """Make a resolver that merges the rows by the rules, and writes once with this import's stamp.

    Rows that refer to a record which may still be created wait: they have neither results nor
    writes. Unchanged rows of a retry fail with 1101 if a later import has changed the record.
    """
    options = _options_of(record)
    rules = kind.record_rules
    written_at = to_iso(now)
    may_be_missing = references.may_be_missing
    is_retry = bool(record.origins.numbers)

    def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
        before = recorded_results(record, rows, stored)
        if before is not None:
            return RecordOutcome(before)
        to_find: list[Reference] = []

        def missing(
            row: ReadRow, document: Document, before: Document | None
        ) -> tuple[Message, ...]:
            wanted_references = references.find_references(row, document, before)
            to_find.extend(wanted_references)
            return references.find_missing(wanted_references, document, before)

        document = stored.document if stored is not None else None
        merged = merge_rows(
            rules,
            rows.rows,
            document,
            options,
            missing if may_be_missing else no_missing_references,
            on_change,
            _overtaken_rows(record, rows, stored) if is_retry else NO_REFUSALS,
        )
        if unread is not None:
            not_read = [each for each in to_find if not references.was_read(each)]
            if not_read:
                unread.update(not_read)
                return WAITING
        if any(references.may_come(each) for each in to_find):
            return WAITING
        if merged.document is None:
            return RecordOutcome(merged.results)
        new_record = stamped_record(
            rows.key,
            merged.document,
            Stamp.from_results(record.number, merged.position, merged.results, record.import_id),
            stored,
            written_at,
            lookups=tuple(rules.lookups(merged.document)),
            columns=rules.columns(merged.document),
        )
        try:
            names = new_names(kind, merged.document, document)
            spilled: Spilled = {}
            sent_digest = b"" if sent is None else sent.digest_of(rows, merged.results[0].messages)
            operations = tuple(records.writing(new_record, stored, spilled, digests, sent_digest))
            return RecordOutcome(merged.results, operations, names, spilled)
        except RecordTooLargeError:
            return RecordOutcome(
                fail_all_rows(rows.rows, Message(MessageId.WRONG_LENGTH, detail=TOO_LARGE_RECORD))
            )

    return resolve


def results_without_key(
    kind: ImportType, record: ImportRecord, references: References, rows: Sequence[ReadRow]
) -> list[RowResult]:
    """The results of rows without a usable key, except those that wait.

    Such a row fails. It still waits for a record that may be created, because its result has to
    report whether that record is missing.
    """
    options = _options_of(record)
    results: list[RowResult] = []
    for row in rows:
        to_find: list[Reference] = []

        def missing(
            row: ReadRow,
            document: Document,
            _before: Document | None,
            wanted_references: list[Reference] = to_find,
        ) -> tuple[Message, ...]:
            wanted_references.extend(references.find_references(row, document, None))
            return references.find_missing(wanted_references, document, None)

        try:
            result = evaluate_without_key(kind.record_rules, row, options, missing)
        except Exception as error:
            log.failure("row.failed", error, type=kind.name)
            result = failed(row.index, row.key, *row.messages)
        if not any(references.may_come(each) for each in to_find):
            results.append(result)
    return results


def _options_of(record: ImportRecord) -> Options:
    return replace(record.options, accepted_on=record.accepted_at[:10])


def _overtaken_rows(
    record: ImportRecord, rows: KeyRows, stored: StoredRecord | None
) -> dict[int, Message]:
    """1101 for the rows that fail with it (docs/contracts.md#5, retry)."""
    changed_by = 0 if stored is None else stored.stamp.number
    return {
        row.index: Message(MessageId.CHANGED_BY_LATER_IMPORT)
        for row in rows.rows
        if record.origins.is_overtaken(row.index, changed_by)
    }
