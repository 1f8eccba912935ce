"""What is stored of the licenses that some rows are about (`shared.storage.license_records`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.errors import UnreadableDataError
from shared.imports.licenses.license_set import StoredLicense
from shared.imports.licenses.model import Employee
from shared.imports.licenses.row_groups import RowGroup
from shared.services.record_ranges import load_records
from shared.storage import license_records as records
from shared.storage.license_records import LogEntry, Owner
from shared.storage.ports import Entity, Tables

_READ_AT_ONCE = 1_000
_MARGIN = 50
_EACH = 4
"""Licenses that an employee is thought to have, for the length of a query."""
_WORTH_IT = 10
_END = "~"
"""Sorts behind everything in a key."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Owners by license key, and the keys whose owner cannot be read."""

    by_key: dict[str, Owner]
    broken: set[str]


@dataclass(frozen=True, slots=True)
class HeldLicenses:
    """Licenses, and the row keys of those that cannot be read."""

    licenses: list[StoredLicense]
    broken: set[str]

    def touches_broken(self, unit: RowGroup) -> bool:
        """Whether a license that a unit may touch cannot be read."""
        if not self.broken:
            return False
        prefixes = tuple(records.employee_rows(each) for each in unit.employees if each.is_named)
        nobodys = {records.license_row(Employee(), row.key) for row in unit.rows if row.key}
        return any(row in nobodys or row.startswith(prefixes) for row in self.broken)


class LicenseReader:
    """Reads one company's partition of the table of licenses."""

    def __init__(self, tables: Tables, table: str, partition: str) -> None:
        self._tables = tables
        self._table = table
        self._partition = partition

    async def log(self, number: int) -> list[LogEntry]:
        """What import `number` has committed here, in order."""
        first, last = records.log_rows(number)
        found = await self._tables.query(self._table, self._partition, first, last)
        return [records.log_from_entity(entity) for entity in found]

    async def owners(self, keys: Iterable[str]) -> Owners:
        """Whose the licenses of these keys are, or were; keys that none ever had are left out."""
        rows = {records.key_row(key): key for key in keys}
        found = await load_records(self._tables, self._table, self._partition, sorted(rows))
        owners = Owners({}, set())
        for row, entity in found.items():
            try:
                owners.by_key[rows[row]] = records.owner_of(entity)
            except UnreadableDataError:
                owners.broken.add(rows[row])
        return owners

    async def held(self, units: Sequence[RowGroup], newest: int) -> HeldLicenses:
        """The licenses, and what is kept of those that are gone, of the units' employees.

        Of licenses that are nobody's only those whose keys the rows give. One that says that an
        import after number `newest` wrote it is broken.
        """
        employees = {employee for unit in units for employee in unit.employees}
        prefixes = sorted(records.employee_rows(each) for each in employees if each.is_named)
        keys = {row.key for unit in units for row in unit.rows if row.key is not None}
        nobodys = sorted(records.license_row(Employee(), key) for key in keys)
        entities = await self._of_employees(prefixes)
        entities += (
            await load_records(self._tables, self._table, self._partition, nobodys)
        ).values()
        held = HeldLicenses([], set())
        for entity in entities:
            try:
                found = records.held_from_entity(entity)
            except UnreadableDataError:
                held.broken.add(entity.row)
                continue
            if found.number > newest:
                held.broken.add(entity.row)
            else:
                held.licenses.append(found)
        return held

    async def _of_employees(self, prefixes: Sequence[str]) -> list[Entity]:
        """Everything under these prefixes (sorted), by ranges while they pay, else one by one."""
        wanted = frozenset(prefixes)
        found: list[Entity] = []
        start = 0
        while len(prefixes) - start > 1:
            most = min(_READ_AT_ONCE, _EACH * (len(prefixes) - start) + _MARGIN)
            entities = await self._range(prefixes[start], prefixes[-1], most)
            is_all = len(entities) < most
            seen = _END if is_all else _prefix(entities[-1].row)
            taken = [each for each in entities if _prefix(each.row) in wanted]
            found += [each for each in taken if _prefix(each.row) < seen]
            begun = start
            while start < len(prefixes) and prefixes[start] < seen:
                start += 1
            if is_all or start == begun or (start - begun) * _WORTH_IT * _EACH < most:
                break
        for prefix in prefixes[start:]:
            found += await self._range(prefix, prefix, None)
        return found

    async def _range(self, first: str, last: str, most: int | None) -> list[Entity]:
        return await self._tables.query(self._table, self._partition, first, last + _END, most=most)


def _prefix(row: str) -> str:
    """What the licenses of one employee have in common."""
    return row[: row.rindex("|") + 1]
