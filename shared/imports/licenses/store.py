"""Licenses in storage, in the partition tenant|company of their table.

r|division|employee|key     a license; the employee is n<number>, p<personal id>, or - for nobody
k|key                       whose license has that key, unique within the company; or had it
j|import|sequence           the log of an import: what it has committed here, and the results of
                            those rows. Inserted in the transaction that commits, so of two handlers
                            of an import only one can write the next entry

A license that was removed or went to another employee leaves a tombstone with the number of the
import that did it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import UnreadableDataError
from shared.imports.import_type import Document
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.license_set import Change, StoredLicense, as_tombstone
from shared.imports.licenses.model import EMPLOYEE_FIELDS, Employee
from shared.imports.licenses.row_groups import RowGroup
from shared.imports.merge_rules import text_columns
from shared.imports.results import RowResult, pack_result, unpack_result
from shared.services.record_ranges import load_records
from shared.storage.entities import (
    compress_json,
    encode,
    expand_json,
    join_text,
    pack_json,
    split_text,
    unpack_json,
)
from shared.storage.ports import Entity, Insert, Operation, Tables, Upsert, Value, reading

# What people search by.
COLUMNS = (
    "companyCode",
    "divisionCode",
    "employeeNumber",
    "licenseTypeCode",
    "licenseNumber",
    "expirationDate",
)
# Operations that one change takes at most.
MOST_OPERATIONS = 3


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one transaction of an import did in a company.

    `parts` is the number of transactions that its work takes, each with an entry: with the first
    one in, the others will follow, whoever carries them out; theirs say 0. `obsolete` and `written`
    are names of blobs that nothing refers to any more, and that something began to refer to.
    """

    results: tuple[RowResult, ...]
    obsolete: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    parts: int = 1


def employee_rows(employee: Employee) -> str:
    """What the row keys of an employee's licenses begin with."""
    if employee.number is not None:
        who = "n" + encode(employee.number)
    elif employee.personal_id is not None:
        who = f"p{employee.personal_id}"
    else:
        who = "-"
    return f"r|{encode(employee.division or '')}|{who}|"


def license_row(employee: Employee, key: str) -> str:
    """Row key of a license."""
    return employee_rows(employee) + key


def key_row(key: str) -> str:
    """Row key of the entity that tells whose license has a key."""
    return f"k|{key}"


def log_rows(number: int) -> tuple[str, str]:
    """First and last row key of an import's log."""
    return f"j|{number:012d}|", f"j|{number:012d}|~"


def log_up_to(number: int) -> tuple[str, str]:
    """First and last row key of the logs of all imports up to a number."""
    return "j|", log_rows(number)[1]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose license has a key, or had it when it went: what the license says of it."""

    fields: Document
    is_gone: bool


@reading("the owner of a license key")
def owner_of(entity: Entity) -> Owner:
    """The owner that an entity of a key holds. Raises UnreadableDataError."""
    fields = json.loads(entity.text("Whose"))
    if not isinstance(fields, dict):
        raise ValueError("no fields of an owner")
    return Owner(fields, entity.flag("Deleted"))


@reading("a stored license")
def held_from_entity(entity: Entity) -> StoredLicense:
    """The license, or what is kept of it, that an entity holds. Raises UnreadableDataError."""
    is_gone = entity.flag("Deleted")
    division, number, personal_id = json.loads(entity.text("Employee"))
    document = None if is_gone else json.loads(join_text("Document", entity.values))
    is_complete = entity.text("LicenseKey") and "Number" in entity.values
    if not is_complete or not (is_gone or isinstance(document, dict)):
        raise ValueError("no license")
    return StoredLicense(
        key=entity.text("LicenseKey"),
        employee=Employee(division, number, personal_id),
        document=document,
        number=entity.number("Number"),
        created_at=entity.text("CreatedAt"),
        remains=json.loads(entity.text("Remains", "null")),
    )


def operations_of(partition: str, change: Change, number: int, now: str) -> list[Operation]:
    """The writes that carry out a change of import `number`; `now` is ISO text.

    A key that is new to the company is inserted: where it is not new, the transaction fails.
    """
    before, after = change.before, change.after
    operations: list[Operation] = []
    if before is not None and (after is None or after.employee != before.employee):
        operations.append(Upsert(_tombstone(partition, as_tombstone(before, number))))
    if after is not None:
        operations.append(Upsert(_license(partition, after, now)))
    if before is None and after is not None:
        owner = _owner(partition, after)
        operations.append(Upsert(owner) if change.is_reused else Insert(owner))
    elif before is not None and after is None:
        operations.append(Upsert(_owner(partition, as_tombstone(before, number))))
    elif before is not None and after is not None and _whose(before) != _whose(after):
        operations.append(Upsert(_owner(partition, after)))
    return operations


def count_operations(change: Change) -> int:
    """How many writes `operations_of` makes of it."""
    before, after = change.before, change.after
    if before is None or after is None:
        return 2
    moved = before.employee != after.employee
    return 1 + moved + (_whose(before) != _whose(after))


def obsolete_blobs(changes: Iterable[Change]) -> frozenset[str]:
    """The blobs that licenses referred to and do not any more."""
    gone: set[str] = set()
    for change in changes:
        gone |= _blobs(change.before) - _blobs(change.after)
    return frozenset(gone)


def logged(partition: str, number: int, sequence: int, entry: LogEntry, now: str) -> Operation:
    """The insert of the next entry of an import's log."""
    values: dict[str, Value] = {
        "At": now,
        **pack_json("Results", [pack_result(result) for result in entry.results]),
    }
    if entry.parts != 1:
        values["Parts"] = entry.parts
    if entry.obsolete or entry.written:
        values |= pack_json("Blobs", [sorted(entry.obsolete), sorted(entry.written)])
    first, _ = log_rows(number)
    return Insert(Entity(partition, f"{first}{sequence:06d}", values))


@reading("what an import has logged of the licenses of a company")
def log_from_entity(entity: Entity) -> LogEntry:
    """The entry that an entity holds. Raises UnreadableDataError."""
    obsolete, written = unpack_json("Blobs", entity.values) or ((), ())
    return LogEntry(
        results=tuple(unpack_result(item) for item in unpack_json("Results", entity.values)),
        obsolete=frozenset(obsolete),
        written=frozenset(written),
        parts=entity.number("Parts", 1),
    )


def blobs_to_remove(log: Sequence[LogEntry]) -> frozenset[str]:
    """The blobs that are obsolete after all entries, in their order."""
    gone: set[str] = set()
    for entry in log:
        gone |= entry.obsolete
        gone -= entry.written
    return frozenset(gone)


def unfinished(log: Sequence[LogEntry]) -> tuple[int, int] | None:
    """Where the last work of several parts begins in the log, and its next part; None: all done."""
    for begin, entry in enumerate(log):
        done = len(log) - begin
        if entry.parts > 1 and done < entry.parts:
            return begin, done
    return None


def pack_parts(parts: Iterable[tuple[Sequence[RowResult], Sequence[Operation]]]) -> bytes:
    """Results and writes of several transactions as bytes, to be carried out later by anybody."""
    return compress_json(
        [
            [
                [pack_result(result) for result in results],
                [
                    [
                        type(each).__name__,
                        each.entity.partition,
                        each.entity.row,
                        {**each.entity.values},
                    ]
                    for each in operations
                ],
            ]
            for results, operations in parts
        ]
    )


def _packed(entity: Entity) -> list[Any]:
    return [entity.partition, entity.row, dict(entity.values)]


@reading("what is left to be done of an import of licenses")
def unpack_parts(data: bytes) -> list[tuple[list[RowResult], list[Operation]]]:
    """The inverse of `pack_parts`. Raises UnreadableDataError."""
    kinds: dict[str, type[Upsert | Insert]] = {kind.__name__: kind for kind in (Upsert, Insert)}
    return [
        (
            [unpack_result(item) for item in results],
            [
                kinds[kind](Entity(partition, row, values))
                for kind, partition, row, values in operations
            ],
        )
        for results, operations in expand_json(data)
    ]


def _license(partition: str, held: StoredLicense, now: str) -> Entity:
    document = held.document or {}
    columns = text_columns(document, COLUMNS)
    values: dict[str, Value] = {
        **{name[0].upper() + name[1:]: text for name, text in columns.items()},
        **_place(held),
        "Number": held.number,
        "CreatedAt": held.created_at or now,
        "UpdatedAt": now,
        **split_text("Document", json.dumps(document, ensure_ascii=False, separators=(",", ":"))),
    }
    return Entity(partition, license_row(held.employee, held.key), values)


def _tombstone(partition: str, tombstone: StoredLicense) -> Entity:
    values: dict[str, Value] = {
        **_place(tombstone),
        "Number": tombstone.number,
        "Deleted": True,
        "Remains": json.dumps(tombstone.remains, ensure_ascii=False),
    }
    return Entity(partition, license_row(tombstone.employee, tombstone.key), values)


def _owner(partition: str, held: StoredLicense) -> Entity:
    values: dict[str, Value] = {"Whose": json.dumps(_whose(held), ensure_ascii=False)}
    if held.document is None:
        values |= {"Deleted": True, "Number": held.number}
    return Entity(partition, key_row(held.key), values)


def _whose(held: StoredLicense) -> Document:
    said = held.document or held.remains or {}
    return {name: said[name] for name in EMPLOYEE_FIELDS if name in said}


def _place(held: StoredLicense) -> dict[str, Value]:
    """Keys of rows may be shortened, so the whole place stands in the entity."""
    employee = held.employee
    parts = [employee.division, employee.number, employee.personal_id]
    return {"LicenseKey": held.key, "Employee": json.dumps(parts, ensure_ascii=False)}


def _blobs(held: StoredLicense | None) -> set[str]:
    return blobs_of(((held.document if held else None) or {}).get("documents", []))


# What is stored of the licenses that some rows are about (`shared.imports.licenses.store`).

_READ_AT_ONCE = 1_000
_MARGIN = 50
# Licenses that an employee is thought to have, for the length of a query.
_EACH = 4
_WORTH_IT = 10
# Sorts behind everything in a key.
_END = "~"


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
        prefixes = tuple(employee_rows(each) for each in unit.employees if each.is_named)
        nobodys = {license_row(Employee(), row.key) for row in unit.rows if row.key}
        return any(row in nobodys or row.startswith(prefixes) for row in self.broken)


class LicenseReader:
    """Reads one company's partition of the table of licenses."""

    def __init__(self, tables: Tables, table: str, partition: str) -> None:
        self._tables = tables
        self._table = table
        self._partition = partition

    async def log(self, number: int) -> list[LogEntry]:
        """What import `number` has committed here, in order."""
        first, last = log_rows(number)
        found = await self._tables.query(self._table, self._partition, first, last)
        return [log_from_entity(entity) for entity in found]

    async def owners(self, keys: Iterable[str]) -> Owners:
        """Whose the licenses of these keys are, or were; keys that none ever had are left out."""
        rows = {key_row(key): key for key in keys}
        found = await load_records(self._tables, self._table, self._partition, sorted(rows))
        owners = Owners({}, set())
        for row, entity in found.items():
            try:
                owners.by_key[rows[row]] = owner_of(entity)
            except UnreadableDataError:
                owners.broken.add(rows[row])
        return owners

    async def held(self, units: Sequence[RowGroup], newest: int) -> HeldLicenses:
        """The licenses, and what is kept of those that are gone, of the units' employees.

        Of licenses that are nobody's only those whose keys the rows give. One that says that an
        import after number `newest` wrote it is broken.
        """
        employees = {employee for unit in units for employee in unit.employees}
        prefixes = sorted(employee_rows(each) for each in employees if each.is_named)
        keys = {row.key for unit in units for row in unit.rows if row.key is not None}
        nobodys = sorted(license_row(Employee(), key) for key in keys)
        entities = await self._of_employees(prefixes)
        entities += (
            await load_records(self._tables, self._table, self._partition, nobodys)
        ).values()
        held = HeldLicenses([], set())
        for entity in entities:
            try:
                found = held_from_entity(entity)
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
