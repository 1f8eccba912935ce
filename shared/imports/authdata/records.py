"""The employees of authentication data as records that are read back (docs/contracts.md#7).

Authentication values are stored as keyed hashes, and nothing of a hash is ever shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from shared.errors import InvalidRequestError
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import (
    EMPLOYEE_ID,
    EMPLOYEE_STATUS,
    MAX_LENGTHS,
    VALUE_FIELDS,
)
from shared.imports.authdata.store import employee_key
from shared.imports.import_type import Document, ImportType
from shared.imports.results import RowResult
from shared.services.records.rendering import RecordShape
from shared.services.records.search import KeySearch, RangeSearch
from shared.services.records.sources import (
    RECORD_ROWS,
    Findings,
    Predicate,
    Query,
    reference_filter,
)
from shared.storage.business_records import RecordKey
from shared.storage.entities import decode, encode, join_text
from shared.storage.ports import Entity, EntityRange, RangeTables

_SHOWN: Final = (EMPLOYEE_ID, EMPLOYEE_STATUS)


@dataclass(frozen=True)
class EmployeeRecords:
    """`RecordSource` of employees, all in the tenant's own partition."""

    @property
    def kind(self) -> ImportType:
        """See `RecordSource.kind`."""
        return AUTHDATA

    @property
    def filters(self) -> Sequence[str]:
        """See `RecordSource.filters`."""
        return (EMPLOYEE_ID,)

    @property
    def key_fields(self) -> Sequence[str]:
        """See `RecordSource.key_fields`."""
        return (EMPLOYEE_ID,)

    @cached_property
    def shape(self) -> RecordShape:
        """See `RecordSource.shape`."""
        return RecordShape(
            record_text=_record_text,
            key_of=_key_of,
            is_sensitive=lambda _path: False,
            never_shown=frozenset(VALUE_FIELDS),
            former_fields=_shown,
            notes=_auth_values,
        )

    def read_filter(self, name: str, text: str) -> str:
        """See `RecordSource.read_filter`."""
        return reference_filter(name, text, MAX_LENGTHS[EMPLOYEE_ID])

    async def find(self, tables: RangeTables, query: Query) -> Findings:
        """See `RecordSource.find`."""
        if query.is_deleted and query.filters:
            raise InvalidRequestError(
                "Deleted employees are found all together: leave the other filters out."
            )
        if EMPLOYEE_ID in query.filters:
            key = employee_key(query.tenant, query.filters[EMPLOYEE_ID])
            return Findings(KeySearch(tables, AUTHDATA.table, [key]), self.has_all(query.filters))
        own = encode(query.tenant)
        equal = ("Deleted", True) if query.is_deleted else None
        range_ = EntityRange(own, own, *RECORD_ROWS, equal)
        return Findings(RangeSearch(tables, AUTHDATA.table, range_))

    def places_of(self, tenant: str, result: RowResult, *, is_deleted: bool) -> Sequence[RecordKey]:
        """See `RecordSource.places_of`: an employee who gets another id leaves the former one."""
        [employee_id] = result.key
        names = [] if employee_id is None else [employee_id]
        if is_deleted:
            names += result.removed
        return [employee_key(tenant, name) for name in names]

    def has_all(self, filters: Mapping[str, str]) -> Predicate:
        """See `RecordSource.has_all`."""
        return lambda document: all(document.get(name) == text for name, text in filters.items())


def _record_text(entity: Entity) -> str:
    document = json.loads(join_text("Document", entity.values))
    return json.dumps(_shown(document), ensure_ascii=False, separators=(",", ":"))


def _shown(fields: Mapping[str, Any]) -> Document:
    return {name: fields[name] for name in _SHOWN if name in fields}


def _auth_values(entity: Entity) -> Mapping[str, Any]:
    """Which authentication values there are."""
    document = json.loads(join_text("Document", entity.values))
    return {"authValues": [name for name in VALUE_FIELDS if document.get(name)]}


def _key_of(entity: Entity) -> Document:
    return {EMPLOYEE_ID: decode(entity.row.removeprefix("r|"))}
