"""Licenses in storage, in the partition tenant|company of their table.

r|division|employee|key     a license; the employee is n<number>, p<personal id>, or - without one
k|key                       the employee of the license that has, or had, the key, which is unique
                            within the company
j|import|sequence           the log of an import: the results of committed rows. The transaction
                            that commits the rows inserts the entry, so of two handlers of an import
                            only one can write the next entry

A license that is removed or moves to another employee leaves a tombstone with the number of that
import. Licenses and tombstones keep the license before the import (`former_columns`).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from shared.clock import to_iso
from shared.errors import ConflictError, UnreadableDataError
from shared.imports.former_values import LOST_FORMER, Created, pack_former
from shared.imports.import_type import Document
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import Change, StoredLicense, as_tombstone
from shared.imports.licenses.model import EMPLOYEE_FIELDS, Employee, employee_of
from shared.imports.licenses.row_groups import RowGroup
from shared.imports.merge_rules import text_columns
from shared.imports.results import RowResult, pack_result, unpack_result
from shared.services.import_log import ImportLog
from shared.services.record_repair import (
    NO_IMPORT,
    BrokenEntry,
    Repair,
    RepairContext,
    broken_former_values,
    readable_json,
    shown_key,
)
from shared.storage import former_columns
from shared.storage.business_records import load_records
from shared.storage.entities import (
    compress_json,
    encode,
    expand_json,
    join_text,
    pack_json,
    split_text,
    unpack_json,
)
from shared.storage.former_columns import Spilled
from shared.storage.ports import (
    Blobs,
    Delete,
    Entity,
    EntityRange,
    Insert,
    Operation,
    RangeTables,
    Tables,
    Upsert,
    Value,
    query_range_pages,
    reading,
)
from shared.storage.record_indexes import record_partitions

# Columns for searching.
COLUMNS = (
    "companyCode",
    "divisionCode",
    "employeeNumber",
    "licenseTypeCode",
    "licenseNumber",
    "expirationDate",
)
# The maximum number of operations for one change.
MAX_OPERATIONS_PER_CHANGE = 3


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one transaction of an import did in a company.

    `parts` is the number of transactions that belong together; each has an entry, and those after
    the first have 0. Once the first is committed, the next handler commits the others.
    """

    results: tuple[RowResult, ...]
    parts: int = 1


def employee_rows(employee: Employee) -> str:
    """The prefix of the row keys of an employee's licenses."""
    if employee.number is not None:
        name = "n" + encode(employee.number)
    elif employee.personal_id is not None:
        name = f"p{employee.personal_id}"
    else:
        name = "-"
    return f"{division_rows(employee.division)}{name}|"


def division_rows(division: str | None) -> str:
    """The prefix of the row keys of the licenses of a division's employees."""
    return f"r|{encode(division or '')}|"


def license_row(employee: Employee, key: str) -> str:
    """Row key of a license."""
    return employee_rows(employee) + key


def key_row(key: str) -> str:
    """Row key of the entity that has the owner of a license key."""
    return f"k|{key}"


def log_rows(number: int) -> tuple[str, str]:
    """First and last row key of an import's log."""
    return f"j|{number:012d}|", f"j|{number:012d}|~"


def log_up_to(number: int) -> tuple[str, str]:
    """First and last row key of the logs of all imports up to a number."""
    return "j|", log_rows(number)[1]


@dataclass(frozen=True, slots=True)
class Owner:
    """The employee fields of the license that has a key, or had it when it was deleted."""

    fields: Document
    is_gone: bool


@reading("the owner of a license key")
def owner_from_entity(entity: Entity) -> Owner:
    """The owner in the entity of a license key. Raises UnreadableDataError."""
    fields = json.loads(entity.text("Whose"))
    if not isinstance(fields, dict):
        raise ValueError("no fields of an owner")
    return Owner(fields, entity.flag("Deleted"))


@reading("a stored license")
def license_from_entity(entity: Entity) -> StoredLicense:
    """The license or tombstone in an entity. Raises UnreadableDataError."""
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
        tombstone_fields=json.loads(entity.text("Remains", "null")),
        import_id=entity.text("ChangedBy"),
        created_import_id=entity.text("CreatedBy"),
        updated_at=entity.text("UpdatedAt"),
        former=former_columns.from_entity(entity),
    )


@dataclass(frozen=True, slots=True)
class LicenseWriter:
    """The import that writes licenses, and the time as ISO text. `spilled` takes former values."""

    number: int
    import_id: str
    now: str
    spilled: Spilled | None = None


def operations_of(partition: str, change: Change, writer: LicenseWriter) -> list[Operation]:
    """The writes for a change of an import.

    A key that is new to the company is inserted, so the transaction fails where it is not new.
    Former values that are too long for the license are added to `spilled` of the writer; without it
    they are lost.
    """
    number = writer.number
    before, after = change.before, change.after
    operations: list[Operation] = []
    if before is not None and (after is None or after.employee != before.employee):
        operations.append(Upsert(_tombstone(partition, as_tombstone(before, number), writer)))
    if after is not None:
        operations.append(Upsert(_license(partition, after, writer)))
    if before is None and after is not None:
        owner = _owner(partition, after, writer)
        operations.append(Upsert(owner) if change.is_reused else Insert(owner))
    elif before is not None and after is None:
        operations.append(Upsert(_owner(partition, as_tombstone(before, number), writer)))
    elif before is not None and after is not None and _owner_fields(before) != _owner_fields(after):
        operations.append(Upsert(_owner(partition, after, writer)))
    return operations


def count_operations(change: Change) -> int:
    """The number of writes that `operations_of` returns."""
    before, after = change.before, change.after
    if before is None or after is None:
        return 2
    moved = before.employee != after.employee
    return 1 + moved + (_owner_fields(before) != _owner_fields(after))


def insert_log_entry(
    partition: str, number: int, sequence: int, entry: LogEntry, now: str
) -> Operation:
    """The operation that inserts the next entry of an import's log."""
    values: dict[str, Value] = {
        "At": now,
        **pack_json("Results", [pack_result(result) for result in entry.results]),
    }
    if entry.parts != 1:
        values["Parts"] = entry.parts
    first, _ = log_rows(number)
    return Insert(Entity(partition, f"{first}{sequence:06d}", values))


def with_log_results(entity: Entity, results: Sequence[RowResult]) -> Entity:
    """The entity of a log entry as it was read, with other results."""
    values = {
        name: value
        for name, value in entity.values.items()
        if name.rstrip("0123456789") != "Results"
    }
    values |= pack_json("Results", [pack_result(result) for result in results])
    return replace(entity, values=values)


@reading("what an import has logged of the licenses of a company")
def log_from_entity(entity: Entity) -> LogEntry:
    """The log entry in an entity. Raises UnreadableDataError."""
    return LogEntry(
        results=tuple(unpack_result(item) for item in unpack_json("Results", entity.values)),
        parts=entity.number("Parts", 1),
    )


def find_unfinished(entries: Sequence[LogEntry]) -> tuple[int, int] | None:
    """The start of an incomplete series of transactions and its next part; None without one."""
    for begin, entry in enumerate(entries):
        done = len(entries) - begin
        if entry.parts > 1 and done < entry.parts:
            return begin, done
    return None


def pack_parts(parts: Iterable[tuple[Sequence[RowResult], Sequence[Operation]]]) -> bytes:
    """Results and writes of several transactions as bytes, so that any handler can commit them."""
    return compress_json(
        [
            [
                [pack_result(result) for result in results],
                [
                    [
                        type(operation).__name__,
                        operation.entity.partition,
                        operation.entity.row,
                        _as_json(operation.entity.values),
                    ]
                    for operation in operations
                ],
            ]
            for results, operations in parts
        ]
    )


def _as_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Bytes as a list of their base64 text."""
    return {
        name: [b64encode(value).decode()] if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def _from_json(values: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name: b64decode(value[0]) if isinstance(value, list) else value
        for name, value in values.items()
    }


@reading("what is left to be done of an import of licenses")
def unpack_parts(data: bytes) -> list[tuple[list[RowResult], list[Operation]]]:
    """The inverse of `pack_parts`. Raises UnreadableDataError."""
    kinds: dict[str, type[Upsert | Insert]] = {kind.__name__: kind for kind in (Upsert, Insert)}
    return [
        (
            [unpack_result(item) for item in results],
            [
                kinds[kind](Entity(partition, row, _from_json(values)))
                for kind, partition, row, values in operations
            ],
        )
        for results, operations in expand_json(data)
    ]


def _license(partition: str, stored_license: StoredLicense, writer: LicenseWriter) -> Entity:
    document = stored_license.document or {}
    columns = text_columns(document, COLUMNS)
    created_at = stored_license.created_at or writer.now
    created_by = stored_license.created_import_id if stored_license.created_at else writer.import_id
    row = license_row(stored_license.employee, stored_license.key)
    created = (0, created_by, created_at)
    values: dict[str, Value] = {
        **{name[0].upper() + name[1:]: text for name, text in columns.items()},
        **_identity_values(stored_license),
        "Number": stored_license.number,
        "ChangedBy": writer.import_id,
        "CreatedBy": created_by,
        "CreatedAt": created_at,
        "UpdatedAt": writer.now,
        **_former_values(stored_license, created, row, writer),
        **split_text("Document", json.dumps(document, ensure_ascii=False, separators=(",", ":"))),
    }
    return Entity(partition, row, values)


def _former_values(
    stored_license: StoredLicense, created: Created, row: str, writer: LicenseWriter
) -> dict[str, Value]:
    former = pack_former(stored_license.former, stored_license.document, created)
    if former.spilled and writer.spilled is not None:
        writer.spilled[row] = former.spilled
    return former_columns.to_values(former)


def _tombstone(partition: str, tombstone: StoredLicense, writer: LicenseWriter) -> Entity:
    row = license_row(tombstone.employee, tombstone.key)
    values: dict[str, Value] = {
        **_identity_values(tombstone),
        "Number": tombstone.number,
        "ChangedBy": writer.import_id,
        "UpdatedAt": writer.now,
        **_former_values(tombstone, tombstone.created, row, writer),
        "Deleted": True,
        "Remains": json.dumps(tombstone.tombstone_fields, ensure_ascii=False),
    }
    return Entity(partition, row, values)


def _owner(partition: str, stored_license: StoredLicense, writer: LicenseWriter) -> Entity:
    """The owner of the key; for a deleted license also the import that removed it, and the time."""
    values: dict[str, Value] = {
        "Whose": json.dumps(_owner_fields(stored_license), ensure_ascii=False)
    }
    if stored_license.document is None:
        values |= {"Deleted": True, "Number": stored_license.number}
        values |= {"ChangedBy": writer.import_id, "UpdatedAt": writer.now}
    return Entity(partition, key_row(stored_license.key), values)


def _owner_fields(stored_license: StoredLicense) -> Document:
    fields = stored_license.document or stored_license.tombstone_fields or {}
    return {name: fields[name] for name in EMPLOYEE_FIELDS if name in fields}


def _identity_values(stored_license: StoredLicense) -> dict[str, Value]:
    """The license's key and employee; the entity needs them because row keys may be shortened."""
    employee = stored_license.employee
    parts = [employee.division, employee.number, employee.personal_id]
    return {"LicenseKey": stored_license.key, "Employee": json.dumps(parts, ensure_ascii=False)}


# Licenses that retention reads at once.
_LICENSES_PER_SLICE = 1_000


async def named_files(tables: RangeTables, blobs: Blobs, tenant: str) -> set[str]:
    """The files of the tenant's licenses, and those that an undo may bring back.

    Raises UnreadableDataError where a license is unreadable.
    """
    names: set[str] = set()
    own = encode(tenant)
    licenses = EntityRange(f"{own}|", f"{own}|~", "r|", "r|~")
    async for page in query_range_pages(tables, LICENSES.table, licenses, _LICENSES_PER_SLICE):
        for entity in page:
            stored = license_from_entity(entity)
            _, former = await former_columns.former_values(blobs, stored)
            for document in (stored.document, None if former is None else former.document):
                names |= blobs_of((document or {}).get("documents", []))
    return {f"{tenant}/{name}" for name in names}


# Range queries for the licenses of many employees: the limit of one query is the assumed number of
# licenses per employee and a margin. Below one employee in so many, single queries are faster.
_MAX_RANGE_SIZE = 1_000
_RANGE_MARGIN = 50
_LICENSES_PER_EMPLOYEE = 4
_MIN_RANGE_YIELD = 10
# Sorts after every character of a key.
_LAST_SUFFIX = "~"


@dataclass(frozen=True, slots=True)
class Owners:
    """Owners by license key, and the keys whose owner is unreadable."""

    by_key: dict[str, Owner]
    broken: set[str]


@dataclass(frozen=True, slots=True)
class StoredLicenses:
    """Licenses, and the row keys of unreadable ones."""

    licenses: list[StoredLicense]
    broken: set[str]

    def may_change_broken(self, group: RowGroup) -> bool:
        """Whether the group may change an unreadable license."""
        if not self.broken:
            return False
        prefixes = tuple(employee_rows(item) for item in group.employees if item.is_named)
        unowned_rows = {license_row(Employee(), row.key) for row in group.rows if row.key}
        return any(row in unowned_rows or row.startswith(prefixes) for row in self.broken)


class LicenseReader:
    """Reads one company's partition of the table of licenses."""

    def __init__(self, tables: Tables, table: str, partition: str) -> None:
        self._tables = tables
        self._table = table
        self._partition = partition

    async def read_log(self, number: int) -> list[LogEntry]:
        """The entries of import `number`, in order."""
        first, last = log_rows(number)
        entities = await self._tables.query(self._table, self._partition, first, last)
        return [log_from_entity(entity) for entity in entities]

    async def read_owners(self, keys: Iterable[str]) -> Owners:
        """The owners of these license keys; a key that no license ever had has none."""
        rows = {key_row(key): key for key in keys}
        entities = await load_records(self._tables, self._table, self._partition, sorted(rows))
        owners = Owners({}, set())
        for row, entity in entities.items():
            try:
                owners.by_key[rows[row]] = owner_from_entity(entity)
            except UnreadableDataError:
                owners.broken.add(rows[row])
        return owners

    async def read_places(self, employees: Mapping[str, Iterable[Employee]]) -> list[StoredLicense]:
        """The readable licenses and tombstones of these keys, with these employees."""
        rows = sorted(
            license_row(employee, key) for key, owners in employees.items() for employee in owners
        )
        entities = await load_records(self._tables, self._table, self._partition, rows)
        licenses: list[StoredLicense] = []
        for entity in entities.values():
            with suppress(UnreadableDataError):
                licenses.append(license_from_entity(entity))
        return licenses

    async def read_licenses(self, groups: Sequence[RowGroup], newest: int) -> StoredLicenses:
        """The licenses and tombstones of the groups' employees.

        Licenses without an employee are read by the keys in the rows. A license that claims to be
        written by an import after number `newest` is broken.
        """
        employees = {employee for group in groups for employee in group.employees}
        prefixes = sorted(employee_rows(item) for item in employees if item.is_named)
        keys = {row.key for group in groups for row in group.rows if row.key is not None}
        unowned_rows = sorted(license_row(Employee(), key) for key in keys)
        entities = await self._read_employees(prefixes)
        entities += (
            await load_records(self._tables, self._table, self._partition, unowned_rows)
        ).values()
        result = StoredLicenses([], set())
        for entity in entities:
            try:
                license_ = license_from_entity(entity)
            except UnreadableDataError:
                result.broken.add(entity.row)
                continue
            if license_.number > newest:
                result.broken.add(entity.row)
            else:
                result.licenses.append(license_)
        return result

    async def _read_employees(self, prefixes: Sequence[str]) -> list[Entity]:
        """The entities of these prefixes (sorted), by range queries while those are faster."""
        prefix_set = frozenset(prefixes)
        result: list[Entity] = []
        start = 0
        while len(prefixes) - start > 1:
            limit = min(
                _MAX_RANGE_SIZE, _LICENSES_PER_EMPLOYEE * (len(prefixes) - start) + _RANGE_MARGIN
            )
            entities = await self._query_range(prefixes[start], prefixes[-1], limit)
            is_complete = len(entities) < limit
            read_up_to = _LAST_SUFFIX if is_complete else _employee_prefix(entities[-1].row)
            matching = [entity for entity in entities if _employee_prefix(entity.row) in prefix_set]
            result += [entity for entity in matching if _employee_prefix(entity.row) < read_up_to]
            previous_start = start
            while start < len(prefixes) and prefixes[start] < read_up_to:
                start += 1
            employees = start - previous_start
            if (
                is_complete
                or not employees
                or employees * _MIN_RANGE_YIELD * _LICENSES_PER_EMPLOYEE < limit
            ):
                break
        for prefix in prefixes[start:]:
            result += await self._query_range(prefix, prefix, None)
        return result

    async def _query_range(self, first: str, last: str, limit: int | None) -> list[Entity]:
        return await self._tables.query(
            self._table, self._partition, first, last + _LAST_SUFFIX, most=limit
        )


def _employee_prefix(row: str) -> str:
    """The common prefix of the licenses of one employee."""
    return row[: row.rindex("|") + 1]


# Refuses content that a tenant has imported before (docs/contracts.md#2, allowSameFile).
#
# The acceptance of an import writes the hash of its body in the same transaction as its record
# (`import_records.file_row`), so every import has its hash and every hash its import.


class ImportedFiles:
    """Finds imports by the hash of their body."""

    def __init__(self, imports: ImportLog) -> None:
        self._imports = imports

    async def check(self, tenant: str, hashes: Sequence[str], import_id: str = "") -> None:
        """Raise ConflictError where another import of the content runs, or ended without errors and
        was not undone.

        `hashes` are those of the content under each key (`FingerprintKeys`). `import_id` is the id
        of the call itself, which may be repeated and find its own import.
        """
        for content_hash in hashes:
            async for other in self._imports.sent_as(tenant, LICENSES.name, content_hash):
                is_in = not (other.counts.failed or other.results_expired_at or other.undone_by)
                is_valid = other.is_open or is_in
                if is_valid and other.import_id != import_id:
                    raise ConflictError(
                        f"The same content was imported before, as import {other.import_id}: "
                        "change it, or send it with allowSameFile=true."
                    )


# Finds stored licenses that cannot be read, with the repair of each (`manage.py records`).


async def find_broken_licenses(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    open_numbers = [opened.number for opened in await context.imports.open_of(tenant)]
    for partition in await record_partitions(context.tables, LICENSES.table, tenant):
        licenses: dict[str, StoredLicense] = {}
        async for entity in context.entities(LICENSES.table, partition, "r|", "r|~"):
            key = entity.row.rpartition("|")[2]
            try:
                license_ = license_from_entity(entity)
                if await context.is_of_no_import(tenant, license_.number):
                    yield _broken_license(context, tenant, entity, key, NO_IMPORT)
                else:
                    broken = broken_former_values(
                        context, LICENSES, entity, license_.document, license_.created
                    )
                    if broken is not None:
                        yield broken
                if license_.document is not None:
                    licenses[key] = license_
            except UnreadableDataError as error:
                yield _broken_license(context, tenant, entity, key, str(error))
                licenses[key] = StoredLicense(key, employee_of({}), None, 0)
        async for entity in context.entities(LICENSES.table, partition, "k|", "k|~"):
            key = entity.row.removeprefix("k|")
            fault = _fault_of_owner(entity, is_there=key in licenses)
            if fault:
                yield _broken_owner(context, entity, licenses.get(key), fault)
        async for entity in context.entities(LICENSES.table, partition, "j|", "j|~"):
            try:
                log_from_entity(entity)
            except UnreadableDataError as error:
                number = entity.row.split("|")[1]
                name = shown_key(partition, f"log of import number {int(number)}")
                if int(number) in open_numbers:
                    yield BrokenEntry(LICENSES.name, name, str(error), Repair.NONE)
                else:
                    yield context.removable_entry(
                        LICENSES.name, LICENSES.table, name, str(error), [Delete(entity)]
                    )


def _broken_license(
    context: RepairContext, tenant: str, entity: Entity, key: str, fault: str
) -> BrokenEntry:
    document = readable_json(entity)
    repaired = None
    if document is not None:
        employee = employee_of(document)
        if license_row(employee, key) == entity.row:
            repaired = StoredLicense(
                key,
                employee,
                document,
                0,
                entity.text("CreatedAt"),
                created_import_id=entity.text("CreatedBy"),
            )

    async def carry_out() -> None:
        await context.tables.write(LICENSES.table, Delete(entity))
        if repaired is None:
            owner = Entity(entity.partition, key_row(key), {})
            await context.tables.write(LICENSES.table, Delete(owner))
        else:
            number = await context.imports.newest_number(tenant)
            await _write_license(
                context, entity.partition, replace(repaired, number=number, former=LOST_FORMER)
            )

    name = shown_key(entity.partition, key)
    repair = Repair.REMOVE if repaired is None else Repair.MEND
    return BrokenEntry(LICENSES.name, name, fault, repair, carry_out)


def _broken_owner(
    context: RepairContext, entity: Entity, stored_license: StoredLicense | None, fault: str
) -> BrokenEntry:
    name = shown_key(entity.partition, entity.row.removeprefix("k|"))
    if stored_license is None or stored_license.document is None:
        return context.removable_entry(LICENSES.name, LICENSES.table, name, fault, [Delete(entity)])
    license_ = stored_license

    async def carry_out() -> None:
        await _write_license(context, entity.partition, license_)

    return BrokenEntry(LICENSES.name, name, fault, Repair.MEND, carry_out)


async def _write_license(
    context: RepairContext, partition: str, stored_license: StoredLicense
) -> None:
    change = Change(stored_license.key, None, stored_license, is_reused=True)
    now = to_iso(context.clock.now())
    writer = LicenseWriter(stored_license.number, stored_license.import_id, now)
    operations = operations_of(partition, change, writer)
    await context.tables.transact(LICENSES.table, operations)


def _fault_of_owner(entity: Entity, *, is_there: bool) -> str:
    try:
        owner = owner_from_entity(entity)
    except UnreadableDataError as error:
        return str(error)
    return "" if owner.is_gone or is_there else "the license of this key is not there"
