"""What is stored of employees, as a batch needs to know it: by id, and by triple of values.

An employee is a record `r|<id>` in the tenant's partition of `AuthData`; its triple is a look-up
entity `x|<triple>|<id>` in the same partition, written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.errors import UnreadableDataError
from shared.imports.authdata.classification import ids_asked, triples_asked
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.records import AuthRecord, Employee, Stored
from shared.services.offload import Offload
from shared.services.record_ranges import SMALL, load_lookups, load_records
from shared.storage import business_records
from shared.storage.business_records import RecordKey, StoredRecord, row_of
from shared.storage.entities import encode
from shared.storage.ports import Entity, Tables, reading

_BYTES_PER_EMPLOYEE = 1_000
_RECORDS = ("r|", "r|~")


def employee_key(tenant: str, employee_id: str) -> RecordKey:
    """Where an employee is stored."""
    return RecordKey(encode(tenant), row_of(employee_id))


class Employees:
    """Reads the tenant's partition of `AuthData`; writes nothing."""

    def __init__(self, tables: Tables, offload: Offload) -> None:
        self._tables = tables
        self._offload = offload

    async def known_to(
        self, tenant: str, records: Sequence[AuthRecord], *, is_counted: bool
    ) -> Stored:
        """Everything stored that these records touch; `count` only where it is asked for."""
        size = _BYTES_PER_EMPLOYEE * len(records)
        asked = {row_of(name): name for name in ids_asked(records)}
        by_row, broken = await self._load(tenant, set(asked))
        by_id = Stored({employee.employee_id: employee for employee in by_row.values()})
        triples = await self._offload(size, triples_asked, records, by_id)
        rows = await load_lookups(self._tables, AUTHDATA.table, encode(tenant), sorted(triples))
        holders = {name: f"r|{reference}" for name, reference in rows.items()}
        more = await self._load(tenant, set(holders.values()) - by_row.keys() - broken)
        by_row |= more[0]
        # An id that is not asked for is known only from its row key, which is as good a name.
        ids = {row: employee.employee_id for row, employee in by_row.items()}
        ids |= {row: asked.get(row, row) for row in broken | more[1]}
        return Stored(
            employees={employee.employee_id: employee for employee in by_row.values()},
            holders={name: ids[row] for name, row in holders.items() if row in ids},
            count=await self.count(tenant) if is_counted else 0,
            unreadable=frozenset(ids[row] for row in broken | more[1]),
        )

    async def stored_under(self, tenant: str, ids: Iterable[str]) -> dict[str, StoredRecord]:
        """The records of some employees with their stamps and ETags, by employee id."""
        rows = {row_of(name): name for name in ids}
        found = await self._entities(tenant, sorted(rows))
        return {
            rows[row]: business_records.from_any_entity(entity) for row, entity in found.items()
        }

    async def count(self, tenant: str) -> int:
        """How many employees there are; a request for each thousand."""
        found = await self._tables.query(
            AUTHDATA.table, encode(tenant), *_RECORDS, select=["Deleted"]
        )
        return sum(1 for entity in found if not entity.flag("Deleted"))

    async def _load(self, tenant: str, rows: set[str]) -> tuple[dict[str, Employee], set[str]]:
        """Employees by row key, and the row keys of those that cannot be read."""
        found = await self._entities(tenant, sorted(rows))
        return await self._offload(_BYTES_PER_EMPLOYEE * len(found), _employees, found)

    async def _entities(self, tenant: str, rows: Sequence[str]) -> dict[str, Entity]:
        return await load_records(self._tables, AUTHDATA.table, encode(tenant), rows, one_in=SMALL)


def _employees(found: dict[str, Entity]) -> tuple[dict[str, Employee], set[str]]:
    employees: dict[str, Employee] = {}
    broken: set[str] = set()
    for row, entity in found.items():
        try:
            with reading("an employee"):
                document = business_records.from_entity(entity).document
                if document is not None:
                    employees[row] = Employee.of(document)
        except UnreadableDataError:
            broken.add(row)
    return employees, broken
