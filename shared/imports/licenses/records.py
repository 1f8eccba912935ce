"""The stored licenses as records that are read back (docs/contracts.md#7)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from shared.errors import InvalidRequestError, UnreadableDataError
from shared.imports.import_type import Document, ImportType
from shared.imports.licenses.attachments import exported_documents
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.model import PERSONAL_ID, employee_of, employee_of_key, guid_text
from shared.imports.licenses.store import key_row, license_row, owner_from_entity
from shared.imports.merge_rules import text_columns
from shared.imports.model import MAX_LICENSE_REFERENCE
from shared.imports.results import RowResult
from shared.services.records.rendering import RecordShape
from shared.services.records.search import KeySearch
from shared.services.records.sources import (
    Findings,
    Predicate,
    Query,
    missing_filter,
    partitions_of,
    reference_filter,
    search_groups,
)
from shared.storage.business_records import RecordKey, partition_of
from shared.storage.entities import decode, join_text
from shared.storage.ports import Entity, RangeTables, reading

_COMPANY: Final = "companyCode"
_KEY: Final = "licenseKey"
_NUMBER: Final = "employeeNumber"
_KEY_ROWS: Final = ("k|", "k|~")


@dataclass(frozen=True)
class LicenseRecords:
    """`RecordSource` of licenses.

    What is left of a deleted license is the entity of its key: a license that went to another
    employee leaves a tombstone in its old place too, but is not gone.
    """

    @property
    def kind(self) -> ImportType:
        """See `RecordSource.kind`."""
        return LICENSES

    @property
    def filters(self) -> Sequence[str]:
        """See `RecordSource.filters`."""
        return (_COMPANY, _KEY, _NUMBER, PERSONAL_ID)

    @property
    def key_fields(self) -> Sequence[str]:
        """See `RecordSource.key_fields`."""
        return (_COMPANY, _KEY)

    @cached_property
    def shape(self) -> RecordShape:
        """See `RecordSource.shape`."""
        return RecordShape(
            record_text=_record_text,
            key_of=_key_of,
            is_sensitive=lambda _path: False,
            never_shown=frozenset(("content", "serializableLicenseKey")),
            former_fields=_without_bytes,
            former_key=_tombstone_key,
        )

    def read_filter(self, name: str, text: str) -> str:
        """See `RecordSource.read_filter`."""
        if name == _KEY:
            try:
                key = guid_text(text)
            except ValueError:
                key = None
            if key is None:
                raise InvalidRequestError(f"{name} must be a guid that is not all zeros.")
            return key
        if name == PERSONAL_ID:
            if not text.isascii() or not text.isdigit() or len(text) > len(str(2**31)):
                raise InvalidRequestError(f"{name} must be a whole number.")
            return str(int(text))
        return reference_filter(name, text, MAX_LICENSE_REFERENCE)

    async def find(self, tables: RangeTables, query: Query) -> Findings:
        """See `RecordSource.find`."""
        company = query.filters.get(_COMPANY)
        if query.is_deleted:
            if not query.only(_COMPANY):
                raise InvalidRequestError(
                    f"Deleted licenses are found by {_COMPANY}, or all of them: leave the other "
                    "filters out."
                )
            return Findings(
                search_groups(
                    tables, LICENSES.table, query.tenant, company, ("Deleted", True), _KEY_ROWS
                )
            )
        if _KEY in query.filters:
            keys = await _places_of_key(tables, query.tenant, company, query.filters[_KEY])
            return Findings(KeySearch(tables, LICENSES.table, keys), self.has_all(query.filters))
        if company is None and query.filters:
            raise missing_filter(next(iter(query.filters)), _COMPANY)
        if query.only(_COMPANY):
            return Findings(search_groups(tables, LICENSES.table, query.tenant, company))
        equal = None
        if _NUMBER in query.filters:
            column = text_columns(dict(query.filters), [_NUMBER])[_NUMBER]
            equal = (f"{_NUMBER[0].upper()}{_NUMBER[1:]}", column)
        # A personal id is no column, so the licenses of the company are looked through for it.
        search = search_groups(tables, LICENSES.table, query.tenant, company, equal)
        return Findings(search, self.has_all(query.filters))

    def places_of(self, tenant: str, result: RowResult, *, is_deleted: bool) -> Sequence[RecordKey]:
        """See `RecordSource.places_of`: a deleted license is found by its key."""
        company, *_, key = result.key
        if company is None:
            return ()
        partition = partition_of(tenant, company)
        if is_deleted:
            keys = (*result.removed, *([] if key is None else [key]))
            return [RecordKey(partition, key_row(each)) for each in keys]
        if key is None:
            return ()
        return (RecordKey(partition, license_row(employee_of_key(result.key), key)),)

    def has_all(self, filters: Mapping[str, str]) -> Predicate:
        """See `RecordSource.has_all`."""
        return lambda document: all(
            str(document.get(name)) == text if name in document else False
            for name, text in filters.items()
        )


async def _places_of_key(
    tables: RangeTables, tenant: str, company: str | None, key: str
) -> list[RecordKey]:
    """Where the license of a key lies, in this company or in each."""
    advice = f"The tenant has too many companies to look for {_KEY} in each: send {_COMPANY}."
    partitions = (
        await partitions_of(tables, LICENSES.table, tenant, advice)
        if company is None
        else [partition_of(tenant, company)]
    )
    owners = KeySearch(
        tables, LICENSES.table, [RecordKey(each, key_row(key)) for each in partitions]
    )
    hits = (await owners.read(None, len(partitions))).hits
    return [
        RecordKey(each.entity.partition, license_row(employee_of(owner.fields), key))
        for each in hits
        if not (owner := owner_from_entity(each.entity)).is_gone
    ]


def _record_text(entity: Entity) -> str:
    """The license with its documents as they are sent, without content."""
    text = join_text("Document", entity.values)
    if '"documents":' not in text:
        return text
    return json.dumps(_without_bytes(json.loads(text)), ensure_ascii=False, separators=(",", ":"))


def _without_bytes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(fields.get("documents"), list):
        return fields
    return {**fields, "documents": exported_documents(fields["documents"])}


def _tombstone_key(entity: Entity) -> tuple[str, str] | None:
    """The tombstone of a deleted license, which is where its employee had it."""
    if not entity.row.startswith("k|"):
        return None
    try:
        employee = employee_of(owner_from_entity(entity).fields)
    except UnreadableDataError:
        return None
    return entity.partition, license_row(employee, entity.row.rpartition("|")[2])


def _key_of(entity: Entity) -> Document:
    """The key, and whose license it was where that is known."""
    company = decode(entity.partition.partition("|")[2])
    whose: Mapping[str, Any] = {}
    if entity.row.startswith("k|"):
        with reading("the owner of a license key"):
            whose = owner_from_entity(entity).fields
    return {_COMPANY: company, **whose, _KEY: entity.row.rpartition("|")[2]}
