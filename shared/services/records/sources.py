"""Where the records of a type are, and how a caller's filters find them without a scan.

A type hands its `RecordSource` over in its module. Types whose rows each name one record share
`BusinessRecords`; the others have a source of their own beside their store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from shared.errors import InvalidRequestError, UnreadableDataError
from shared.imports.import_type import Document, FoundBy, ImportType
from shared.imports.merge_rules import text_columns
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.imports.results import RowResult
from shared.services.records.rendering import (
    RecordShape,
    always_there,
    number_names,
    sensitive_names,
)
from shared.services.records.search import KeySearch, RangeSearch, RecordSearch
from shared.storage.business_records import RecordKey, lookup_range, partition_of, row_of
from shared.storage.entities import decode, encode
from shared.storage.ports import Entity, EntityRange, RangeTables
from shared.storage.record_indexes import GROUPS, NameIndex, group_of

RECORD_ROWS: Final = ("r|", "r|~")
# Groups of a tenant in which a record is looked for one by one.
MOST_GROUPS: Final = 1_000
# Records of one name that are looked through.
MOST_NAMED: Final = 10_000

_NAMES_AT_ONCE: Final = 1_000

Predicate = Callable[[Document], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks for: values by the contract names of the filters."""

    tenant: str
    filters: Mapping[str, str]
    is_deleted: bool = False

    def only(self, *names: str) -> bool:
        """Whether no other filters than these are given."""
        return self.filters.keys() <= set(names)


@dataclass(frozen=True, slots=True)
class Findings:
    """A walk, and what the documents it finds must say besides; None: nothing."""

    search: RecordSearch
    has: Predicate | None = None


class RecordSource(Protocol):
    """The records of one type."""

    @property
    def kind(self) -> ImportType:
        """The import type that writes them."""

    @property
    def filters(self) -> Sequence[str]:
        """The contract fields that they are found by."""

    @property
    def key_fields(self) -> Sequence[str]:
        """The filters that together name one record."""

    @property
    def shape(self) -> RecordShape:
        """How they are shown."""

    def read_filter(self, name: str, text: str) -> str:
        """The value of a filter as it is stored. Raises InvalidRequestError."""

    async def find(self, tables: RangeTables, query: Query) -> Findings:
        """The way to the records. Raises InvalidRequestError where there is none but a scan."""

    def places_of(self, tenant: str, result: RowResult, *, is_deleted: bool) -> Sequence[RecordKey]:
        """Where the record lies that a row of an import is about, if it has a key; `is_deleted`:
        where that record and those that the row removed lie, if they are deleted.
        """

    def has_all(self, filters: Mapping[str, str]) -> Predicate:
        """Whether a document has the values of the filters."""


def missing_filter(name: str, *others: str) -> InvalidRequestError:
    """The refusal of a filter that finds records only together with others."""
    names = " and ".join(others)
    return InvalidRequestError(
        f"Records cannot be found by {name} without a look at all of them: send {names} too."
    )


def _too_many(field: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"More than {MOST_NAMED} records may have this name: send {field} too."
    )


def reference_filter(name: str, text: str, most: int) -> str:
    """A reference as it is stored. Raises InvalidRequestError."""
    value = normal_reference(text, most)
    if value is None:
        raise InvalidRequestError(f"{name} must have 1 to {most} characters, blanks aside.")
    return value


def search_groups(
    tables: RangeTables,
    table: str,
    tenant: str,
    group: str | None,
    equal: tuple[str, str | bool] | None = None,
    rows: tuple[str, str] = RECORD_ROWS,
) -> RangeSearch:
    """The walk over a group of a tenant, or over all of them; `equal` limits a column."""
    if group is None:
        first, last = f"{encode(tenant)}|", f"{encode(tenant)}|~"
    else:
        first = last = partition_of(tenant, group)
    return RangeSearch(tables, table, EntityRange(first, last, *rows, equal))


async def partitions_of(tables: RangeTables, table: str, tenant: str, advice: str) -> list[str]:
    """The partition of each of a tenant's groups, to look into one after the other.

    Raises InvalidRequestError with the advice where there are more than `MOST_GROUPS`.
    """
    groups = await tables.query(
        table, encode(tenant), *GROUPS, select=["Group"], most=MOST_GROUPS + 1
    )
    if len(groups) > MOST_GROUPS:
        raise InvalidRequestError(advice)
    return [partition_of(tenant, group_of(group)) for group in groups]


@dataclass(frozen=True)
class BusinessRecords:
    """The records of a type whose rows each name one record by group and reference.

    names     the kinds of names that the index of the tenant has, by filter; see `NameIndex`
    lookup    the filter that has look-up entities in the partition of its group
    columns   filters that are promoted columns, searched within one group
    """

    kind: ImportType
    names: Mapping[str, str] = field(default_factory=dict)
    lookup: str = ""
    columns: tuple[str, ...] = ()

    @property
    def key_fields(self) -> tuple[str, ...]:
        """See `RecordSource.key_fields`."""
        return self.kind.rules.key_fields

    @property
    def filters(self) -> tuple[str, ...]:
        """See `RecordSource.filters`."""
        more = [name for name in (*self.names, *self.columns) if name not in self.key_fields]
        return (*self.key_fields, *more)

    @cached_property
    def shape(self) -> RecordShape:
        """See `RecordSource.shape`."""
        rules = self.kind.rules
        schema = rules.json_schema()
        return RecordShape(
            key_of=self._key_of,
            is_sensitive=rules.is_sensitive,
            sensitive_names=sensitive_names(schema, rules.is_sensitive),
            always_there=always_there(schema),
            number_names=number_names(schema),
        )

    def read_filter(self, name: str, text: str) -> str:
        """See `RecordSource.read_filter`: every filter is a reference."""
        return reference_filter(name, text, MAX_REFERENCE)

    async def find(self, tables: RangeTables, query: Query) -> Findings:
        """See `RecordSource.find`."""
        group_field, reference_field = self.key_fields
        group = query.filters.get(group_field)
        if query.is_deleted:
            if not query.only(group_field):
                raise InvalidRequestError(
                    f"Deleted records are found by {group_field}, or all of them: leave the other "
                    "filters out."
                )
            return Findings(
                search_groups(tables, self.kind.table, query.tenant, group, ("Deleted", True))
            )
        if group is None and query.filters:
            return await self._in_all_groups(tables, query)
        if group is None or query.only(group_field):
            return Findings(search_groups(tables, self.kind.table, query.tenant, group))
        partition = partition_of(query.tenant, group)
        has = self.has_all(query.filters)
        if reference_field in query.filters:
            key = RecordKey(partition, row_of(query.filters[reference_field]))
            return Findings(KeySearch(tables, self.kind.table, [key]), has)
        if self.lookup in query.filters:
            keys = await self._pointed_at(tables, partition, query.filters[self.lookup])
            return Findings(KeySearch(tables, self.kind.table, keys), has)
        [column, *_] = [name for name in self.columns if name in query.filters]
        value = text_columns(dict(query.filters), [column])[column]
        return Findings(
            search_groups(tables, self.kind.table, query.tenant, group, (column, value)), has
        )

    async def _in_all_groups(self, tables: RangeTables, query: Query) -> Findings:
        """By the tenant's index of names, or group by group."""
        group_field, reference_field = self.key_fields
        found_by = [name for name in (reference_field, self.lookup) if name in query.filters]
        if not found_by:
            raise missing_filter(next(iter(query.filters)), group_field)
        name, value = found_by[0], query.filters[found_by[0]]
        if name in self.names:
            names = NameIndex(tables)
            if await names.is_complete(self.kind, query.tenant):
                with suppress(UnreadableDataError):  # of the index: each group is asked instead
                    keys = await self._named(names, query.tenant, FoundBy(self.names[name], value))
                    return self._at(tables, keys, query)
        advice = f"The tenant has too many groups to look for {name} in each: send {group_field}."
        partitions = await partitions_of(tables, self.kind.table, query.tenant, advice)
        if name == reference_field:
            return self._at(tables, [RecordKey(each, row_of(value)) for each in partitions], query)
        keys = []
        for partition in partitions:
            keys += await self._pointed_at(tables, partition, value)
        return self._at(tables, keys, query)

    def _at(self, tables: RangeTables, keys: Sequence[RecordKey], query: Query) -> Findings:
        return Findings(KeySearch(tables, self.kind.table, keys), self.has_all(query.filters))

    async def _named(self, names: NameIndex, tenant: str, found_by: FoundBy) -> list[RecordKey]:
        keys: list[RecordKey] = []
        pages = names.candidates(self.kind, tenant, found_by, _NAMES_AT_ONCE)
        async for candidates in pages:
            keys += [
                RecordKey(partition_of(tenant, group), row_of(ref)) for group, ref in candidates
            ]
            if len(keys) > MOST_NAMED:
                raise _too_many(self.key_fields[0])
        return keys

    async def _pointed_at(self, tables: RangeTables, partition: str, name: str) -> list[RecordKey]:
        """The records of one group that may have a name: its look-ups, and that of this reference.

        A record whose reference is the name has no look-up.
        """
        first, last = lookup_range(name)
        pointers = await tables.query(
            self.kind.table, partition, first, last, select=[], most=MOST_NAMED + 1
        )
        if len(pointers) > MOST_NAMED:
            raise _too_many(self.key_fields[1])
        rows = [f"r|{pointer.row.removeprefix(first)}" for pointer in pointers]
        return [RecordKey(partition, row) for row in (row_of(name), *rows)]

    def places_of(
        self,
        tenant: str,
        result: RowResult,
        *,
        is_deleted: bool,  # noqa: ARG002
    ) -> Sequence[RecordKey]:
        """See `RecordSource.places_of`: a row removes no other record than its own."""
        group, reference = result.key
        if group is None or reference is None:
            return ()
        return (RecordKey(partition_of(tenant, group), row_of(reference)),)

    def has_all(self, filters: Mapping[str, str]) -> Predicate:
        """See `RecordSource.has_all`."""
        return lambda document: all(document.get(name) == text for name, text in filters.items())

    def _key_of(self, entity: Entity) -> Document:
        group_field, reference_field = self.key_fields
        return {
            group_field: decode(entity.partition.partition("|")[2]),
            reference_field: decode(entity.row.removeprefix("r|")),
        }
