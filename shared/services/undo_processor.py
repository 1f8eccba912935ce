"""The work of an undo of a type whose rows each name one record by its key.

It is that of an import (`record_processor`) with another decision: by `undo_rules` instead of the
rules of the type. The records before the import, the records that refer to them, and the records
that they refer to are read for many records at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from shared.clock import to_iso
from shared.imports.former_values import FormerRecord, FormerState
from shared.imports.import_type import Document, ImportType, ReferenceField
from shared.imports.merge_rules import ChangeListener, column_text, fail_all_rows
from shared.imports.messages import Message, MessageId
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE, types_referring_to
from shared.imports.results import Outcome, RowResult
from shared.imports.row_reader import as_sent
from shared.services import undo_rules
from shared.services.record_processor import (
    ChunkRows,
    RecordProcessor,
    in_order,
    read_key_only,
)
from shared.services.references import ReferenceReader, References
from shared.services.row_processor import (
    WAITING,
    BeforeCommit,
    FindReferrers,
    KeyRows,
    ProcessorContext,
    RecordOutcome,
    Resolver,
)
from shared.services.stamps import recorded_results, undone_record
from shared.storage import business_records as records
from shared.storage.business_records import (
    RecordKey,
    RecordTooLargeError,
    Stamp,
    StoredRecord,
    from_any_entity,
    partition_of,
    row_of,
)
from shared.storage.entities import decode, encode
from shared.storage.former_columns import Spilled, former_values
from shared.storage.import_records import ImportRecord
from shared.storage.ports import BlobReader, Entity, Tables, query_pages
from shared.storage.record_indexes import group_of, new_names, record_partitions

# Records that are read at once, in a search for those that refer to a record.
_READ_AT_ONCE = 1_000


class RecordUndoProcessor(RecordProcessor):
    """The `RowProcessor` of undos. Calls `on_change` for each record that is put back."""

    def __init__(self, context: ProcessorContext) -> None:
        references = ReferenceReader(context.tables, context.imports, context.lists)
        super().__init__(
            tables=context.tables,
            blobs=context.blobs,
            imports=context.imports,
            references=references,
            clock=context.clock,
            offload=context.offload,
            on_change=context.on_change,
        )
        self._context = context

    async def run(
        self, record: ImportRecord, lines: bytes, before_commit: BeforeCommit
    ) -> list[RowResult]:
        """See `RowProcessor`. Rows wait for records that an earlier import may still create."""
        kind = self._type(record)
        facts = UndoFacts(kind, record, self._context, self._references)
        now = to_iso(self._clock.now())
        resolve = undo_resolver(kind, record, facts, now, self._on_change)
        results: list[RowResult] = []
        async for part in self._parts(record, lines, read_key_only):
            results += await self._undo_rows(record, part, facts, resolve, before_commit)
        return results

    async def _undo_rows(
        self,
        record: ImportRecord,
        part: ChunkRows,
        facts: UndoFacts,
        resolve: Resolver,
        before_commit: BeforeCommit,
    ) -> list[RowResult]:
        facts.begin(part.groups)
        # Each row of the undone import that took effect has a key, so such a row is broken.
        results = list(fail_all_rows(part.without_key, Message(MessageId.COULD_NOT_BE_PROCESSED)))
        results += await self._commit_records(
            record, self._type(record), part.keys, resolve, before_commit, facts.read
        )
        return in_order(part.order, results)


class UndoFacts:
    """What the decision about records needs beside them; read before they are decided about."""

    def __init__(
        self,
        kind: ImportType,
        record: ImportRecord,
        context: ProcessorContext,
        references: ReferenceReader,
    ) -> None:
        self._kind = kind
        self._record = record
        self._blobs = _WholeBlobs(context.blobs)
        self._reader = references
        self._referrers = Referrers(
            context.tables, kind, record.tenant, context.referrers.get(kind.name, ())
        )
        self._former: dict[RecordKey, tuple[FormerState, FormerRecord | None]] = {}
        self.references = References(kind, record.tenant)

    def begin(self, groups: Collection[str]) -> None:
        """Begin with a slice of records in these groups, and forget those that are done."""
        self._former = {}
        self._referrers.begin(groups)

    async def read(self, stored: Sequence[StoredRecord]) -> None:
        """Read what is needed about these records, which are of one partition."""
        read: dict[RecordKey, tuple[FormerState, FormerRecord | None]] = {}
        for each in stored:
            if each.stamp.number == self._record.undoes.number and not each.is_broken:
                read[each.key] = await former_values(self._blobs, each)
        self._former |= read
        present = {each.key: each.document for each in stored}
        created = {
            key: document
            for key, (state, _) in read.items()
            if state is FormerState.NONE and (document := present[key]) is not None
        }
        if created:
            await self._referrers.read(created)
        needed = {
            reference
            for key, (_, former) in read.items()
            if former is not None
            for reference in self.references.find_new(former.document, present[key])
        }
        self.references = await self._reader.read_more(self._record, self.references, needed)

    def former_of(self, stored: StoredRecord | None) -> tuple[FormerState, FormerRecord | None]:
        """What is known of a record before the import of its stamp, if that is to be undone."""
        if stored is None:
            return FormerState.LOST, None
        return self._former.get(stored.key, (FormerState.LOST, None))

    def find_referrer(self, stored: StoredRecord) -> Message | None:
        """The Error of a row whose record another record refers to. It is only known of records
        that the undone import created.
        """
        return self._referrers.find(stored.key)


class _WholeBlobs:
    """Reads blobs of former values whole, because the records of a transaction share one.

    The last ones are kept, since the records of a transaction follow each other.
    """

    def __init__(self, blobs: BlobReader) -> None:
        self._blobs = blobs
        self._name = ""
        self._data: bytes | None = None

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        """See `Blobs.read`."""
        if name != self._name:
            self._data = await self._blobs.read(container, name)
            self._name = name
        if self._data is None:
            return None
        return self._data[start:] if length is None else self._data[start : start + length]


class Referrers:
    """The records that refer to records of a type. They are read once for each partition.

    No import changes this while the undo runs: earlier imports of these types have ended, and later
    ones wait for the undo.
    """

    def __init__(
        self,
        tables: Tables,
        kind: ImportType,
        tenant: str,
        others: Sequence[FindReferrers] = (),
    ) -> None:
        self._tables = tables
        self._tenant = tenant
        # These find records that refer to one in another way than in a field of their own.
        self._others = others
        # The types that refer to the type, with the fields of all their versions.
        self._types: list[tuple[ImportType, list[ReferenceField]]] = [
            (IMPORT_TYPES[name], fields)
            for name in types_referring_to(kind.name)
            if (fields := [*_fields_naming(kind.name, TYPE_CATALOGUE.versions(name))])
        ]
        self._groups: Collection[str] = ()
        # By table, those of these groups that have records; None if they were not found at once.
        self._used_groups: dict[str, Collection[str] | None] = {}
        self._read: tuple[str, bool] | None = None
        # By row key: the key field and the reference of a record that refers to that record.
        self._found: dict[str, tuple[str, str]] = {}
        self._found_by_others: dict[RecordKey, tuple[str, str]] = {}

    def begin(self, groups: Collection[str]) -> None:
        """Begin with records in these groups."""
        self._groups = groups
        self._used_groups = {}

    def find(self, key: RecordKey) -> Message | None:
        """The Error of a row whose record another record refers to."""
        referrer = self._found.get(key.row) or self._found_by_others.get(key)
        if referrer is None:
            return None
        field, name = referrer
        return Message(MessageId.STILL_REFERRED_TO, field, as_sent(name))

    async def read(self, stored: Mapping[RecordKey, Document]) -> None:
        """Find what refers to these records, which are of one partition."""
        self._found_by_others = {}
        for find in self._others:
            self._found_by_others |= await find(self._tables, self._tenant, stored)
        keys = [*stored]
        # A column has a reference as it is, unless that is not printable.
        by_column = all(_as_column(key.row) == key.row for key in keys)
        partition = keys[0].partition
        if self._read in ((partition, False), (partition, by_column)):
            return
        self._found = {}
        for kind, fields in self._types:
            await self._read_type(kind, fields, partition, by_column)
        self._read = partition, by_column

    async def _read_type(
        self,
        kind: ImportType,
        fields: Sequence[ReferenceField],
        partition: str,
        by_column: bool,
    ) -> None:
        if any(field.group_field for field in fields):
            partitions = await record_partitions(self._tables, kind.table, self._tenant)
        else:
            used = await self._find_used_groups(kind.table)
            partitions = [partition] if used is None or partition in used else []
        columns = [field.field for field in fields if _is_column(kind, field)]
        by_column = by_column and len(columns) == len(fields)
        select = ("Deleted", *columns) if by_column else None
        for each in partitions:
            async for page in query_pages(
                self._tables, kind.table, each, "r|", "r|~", select=select, most=_READ_AT_ONCE
            ):
                for entity in page:
                    name = kind.rules.key_fields[-1], decode(entity.row.removeprefix("r|"))
                    referred_rows = (
                        self._rows_in_columns(entity, columns)
                        if by_column
                        else self._rows_in(fields, kind, entity, partition)
                    )
                    self._found |= dict.fromkeys(referred_rows, name)

    async def _find_used_groups(self, table: str) -> Collection[str] | None:
        """The partitions of the present groups that have records of a table, if few lie between."""
        if table not in self._used_groups:
            rows = sorted(f"g|{encode(group)}" for group in self._groups)
            entities = await self._tables.query(
                table, encode(self._tenant), rows[0], rows[-1], select=["Group"], most=_READ_AT_ONCE
            )
            self._used_groups[table] = (
                None
                if len(entities) == _READ_AT_ONCE
                else {partition_of(self._tenant, group_of(entity)) for entity in entities}
            )
        return self._used_groups[table]

    def _rows_in_columns(self, entity: Entity, columns: Sequence[str]) -> Iterator[str]:
        """The row keys of the records in its own partition that a record refers to."""
        if not entity.flag("Deleted"):
            yield from (row_of(text) for text in map(entity.text, columns) if text)

    def _rows_in(
        self, fields: Sequence[ReferenceField], kind: ImportType, entity: Entity, partition: str
    ) -> Iterator[str]:
        """The row keys of the records in the partition that a record refers to."""
        document = from_any_entity(entity).document
        own_group_field = kind.rules.key_fields[0]
        for field in fields if document is not None else ():
            for reference in field.find(document or {}, own_group_field):
                if partition_of(self._tenant, reference.group) == partition:
                    yield row_of(reference.reference)


def _fields_naming(name: str, versions: Sequence[ImportType]) -> Iterable[ReferenceField]:
    """The fields in which versions of a type refer to the type of that name, each once."""
    return dict.fromkeys(
        field for kind in versions for field in kind.references if field.type.name == name
    )


def _as_column(row: str) -> str:
    return row_of(column_text(decode(row.removeprefix("r|"))))


def _is_column(kind: ImportType, field: ReferenceField) -> bool:
    """Whether a reference in the record's own group is a column of its entity."""
    return not field.group_field and field.field in kind.record_rules.columns({field.field: ""})


def undo_resolver(
    kind: ImportType,
    record: ImportRecord,
    facts: UndoFacts,
    now: str,
    on_change: ChangeListener | None = None,
) -> Resolver:
    """Make a resolver that puts records back, and writes once with the stamp of the undo.

    It is pure, as `rules_resolver`. Rows whose record refers to one that may still be created wait.
    """

    def resolve(rows: KeyRows, stored: StoredRecord | None) -> RecordOutcome:
        before = recorded_results(record, rows, stored)
        if before is not None:
            return RecordOutcome(before)
        if stored is not None and undo_rules.is_reversed(record, stored.stamp.number):
            return RecordOutcome(_results(rows, Outcome.UNCHANGED, _NOTHING_TO_CHANGE))
        state, former = facts.former_of(stored)
        fault = undo_rules.refusal(record, None if stored is None else stored.stamp.number, state)
        if stored is None or fault is not None:
            return RecordOutcome(fail_all_rows(rows.rows, fault or _NOT_KEPT))
        if former is None:
            fault = facts.find_referrer(stored)
            if fault is not None:
                return RecordOutcome(fail_all_rows(rows.rows, fault))
        else:
            needed = facts.references.find_new(former.document, stored.document)
            if any(facts.references.may_come(each) for each in needed):
                return WAITING
            missing = facts.references.missing_records(needed)
            if missing:
                return RecordOutcome(fail_all_rows(rows.rows, *missing))
        document = None if former is None else former.document
        if on_change is not None:
            on_change(rows.rows[0].index, stored.document, document)
        return _put_back(rows, stored, former)

    def _put_back(
        rows: KeyRows, stored: StoredRecord, former: FormerRecord | None
    ) -> RecordOutcome:
        document = None if former is None else former.document
        outcome = Outcome.NEW if stored.document is None else Outcome.UPDATED
        results = _results(rows, outcome, is_removed=document is None)
        stamp = Stamp.from_results(record.number, rows.rows[-1].index, results, record.import_id)
        new_record = undone_record(former, stamp, stored, now)
        if document is not None:
            new_record = replace(
                new_record,
                lookups=tuple(kind.record_rules.lookups(document)),
                columns=kind.record_rules.columns(document),
            )
        names = new_names(kind, document, stored.document)
        spilled: Spilled = {}
        try:
            operations = tuple(records.writing(new_record, stored, spilled))
        except RecordTooLargeError:
            return RecordOutcome(fail_all_rows(rows.rows, _NOT_KEPT))
        return RecordOutcome(results, operations, names, spilled)

    return resolve


_NOTHING_TO_CHANGE = Message(MessageId.NOTHING_TO_CHANGE)
_NOT_KEPT = Message(MessageId.FORMER_VALUES_NOT_KEPT)


def _results(
    rows: KeyRows, outcome: Outcome, *messages: Message, is_removed: bool = False
) -> tuple[RowResult, ...]:
    """The same result for each row; a removed record is named by the last value of its key."""
    return tuple(
        RowResult(
            row.index,
            row.key,
            outcome,
            messages,
            (row.key[-1] or "",) if is_removed else (),
        )
        for row in rows.rows
    )
