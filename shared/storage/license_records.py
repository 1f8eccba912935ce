"""Licenses in storage, in the partition tenant|company of their table.

r|division|employee|key     a license; the employee is n<number>, p<personal id>, or - for nobody
k|key                       whose license has that key, unique within the company; or had it
j|import|sequence           the log of an import: what it has committed here, and the results of
                            those rows. Inserted in the transaction that commits, so of two handlers
                            of an import only one can write the next entry

A license that was removed or went to another employee leaves a tombstone with the number of the
import that did it. Both keep what was there before that import (`former_columns`).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.imports.former_values import Created, pack_former
from shared.imports.import_type import Document
from shared.imports.licenses.attachments import blobs_of
from shared.imports.licenses.license_set import Change, StoredLicense, as_tombstone
from shared.imports.licenses.model import EMPLOYEE_FIELDS, Employee
from shared.imports.merge_rules import text_columns
from shared.imports.results import RowResult, pack_result, unpack_result
from shared.storage import former_columns
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
from shared.storage.ports import Entity, Insert, Operation, Upsert, Value, reading

COLUMNS = (
    "companyCode",
    "divisionCode",
    "employeeNumber",
    "licenseTypeCode",
    "licenseNumber",
    "expirationDate",
)
"""What people search by."""
MOST_OPERATIONS = 3
"""Operations that one change takes at most."""


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
    return f"{division_rows(employee.division)}{who}|"


def division_rows(division: str | None) -> str:
    """What the row keys of the licenses of a division's employees begin with."""
    return f"r|{encode(division or '')}|"


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
        import_id=entity.text("ChangedBy"),
        created_import_id=entity.text("CreatedBy"),
        updated_at=entity.text("UpdatedAt"),
        former=former_columns.from_entity(entity),
    )


@dataclass(frozen=True, slots=True)
class LicenseWriter:
    """Who writes licenses: an import, and when (ISO text). `spilled` takes former values."""

    number: int
    import_id: str
    now: str
    spilled: Spilled | None = None


def operations_of(partition: str, change: Change, writer: LicenseWriter) -> list[Operation]:
    """The writes that carry out a change of an import.

    A key that is new to the company is inserted: where it is not new, the transaction fails.
    Former values that are too long for the license are put into `spilled` of the writer; without
    it they are lost.
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
    elif before is not None and after is not None and _whose(before) != _whose(after):
        operations.append(Upsert(_owner(partition, after, writer)))
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
                        _as_json(each.entity.values),
                    ]
                    for each in operations
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


def _license(partition: str, held: StoredLicense, writer: LicenseWriter) -> Entity:
    document = held.document or {}
    columns = text_columns(document, COLUMNS)
    created_at = held.created_at or writer.now
    created_by = held.created_import_id if held.created_at else writer.import_id
    row = license_row(held.employee, held.key)
    created = (0, created_by, created_at)
    values: dict[str, Value] = {
        **{name[0].upper() + name[1:]: text for name, text in columns.items()},
        **_place(held),
        "Number": held.number,
        "ChangedBy": writer.import_id,
        "CreatedBy": created_by,
        "CreatedAt": created_at,
        "UpdatedAt": writer.now,
        **_former(held, created, row, writer),
        **split_text("Document", json.dumps(document, ensure_ascii=False, separators=(",", ":"))),
    }
    return Entity(partition, row, values)


def _former(
    held: StoredLicense, created: Created, row: str, writer: LicenseWriter
) -> dict[str, Value]:
    former = pack_former(held.former, held.document, created)
    if former.spilled and writer.spilled is not None:
        writer.spilled[row] = former.spilled
    return former_columns.to_values(former)


def _tombstone(partition: str, tombstone: StoredLicense, writer: LicenseWriter) -> Entity:
    row = license_row(tombstone.employee, tombstone.key)
    values: dict[str, Value] = {
        **_place(tombstone),
        "Number": tombstone.number,
        "ChangedBy": writer.import_id,
        "UpdatedAt": writer.now,
        **_former(tombstone, tombstone.created, row, writer),
        "Deleted": True,
        "Remains": json.dumps(tombstone.remains, ensure_ascii=False),
    }
    return Entity(partition, row, values)


def _owner(partition: str, held: StoredLicense, writer: LicenseWriter) -> Entity:
    """Whose license has the key; of one that is gone also which import removed it, and when."""
    values: dict[str, Value] = {"Whose": json.dumps(_whose(held), ensure_ascii=False)}
    if held.document is None:
        values |= {"Deleted": True, "Number": held.number}
        values |= {"ChangedBy": writer.import_id, "UpdatedAt": writer.now}
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
