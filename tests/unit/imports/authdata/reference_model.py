"""The vendor's page and docs/contracts.md#3 as a program of its own: no hashes, slow.

Written from the document and not from the code, to be compared with it. What it takes is what a
caller sends and what is stored in plain; what it gives is the answer and what is stored afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Raw = Mapping[str, Any]
Person = tuple[str | None, str | None, str | None, str | None]
"""Status and three values."""

VALUES = ("authValue1", "authValue2", "authValue3")


@dataclass
class Sent:
    """A record after scrub, with what became of it."""

    line: int
    id: str | None
    status: str | None
    values: tuple[str | None, ...]
    fate: str = ""
    changes: list[str] = field(default_factory=list)
    after: dict[str, Person | None] = field(default_factory=dict)

    @property
    def richness(self) -> int:
        return sum(item is not None for item in (self.id, self.status, *self.values))


def scrubbed(employees: Sequence[Raw]) -> list[Sent]:
    """'All incoming data is first scrubbed.'"""
    sent = []
    for line, raw in enumerate(employees, start=1):
        texts = [
            (raw.get(name) or "").strip() or None
            for name in ("employeeId", "employeeStatus", *VALUES)
        ]
        if any(texts):
            sent.append(Sent(line, texts[0], texts[1], tuple(texts[2:])))
    return sent


def outcome(
    employees: Sequence[Raw],
    stored: Mapping[str, Person],
    *,
    allow_no_auth: bool = False,
    thresholds: Mapping[str, Fraction] | None = None,
) -> tuple[list[Sent], dict[str, Person], list[str]]:
    """Each record with its fate, what is stored afterwards, and which thresholds are exceeded."""
    records = scrubbed(employees)
    for record in records:
        if record.id is None or (not any(record.values) and not allow_no_auth):
            record.fate = "Error"
    _mark_duplicates(records)
    _compare(records, stored)
    over = _exceeded(records, stored, thresholds or {})
    after = dict(stored)
    if not over:
        for change in (record.after for record in records):
            for name in [name for name, person in change.items() if person is None]:
                del after[name]
        for change in (record.after for record in records):
            after |= {name: person for name, person in change.items() if person is not None}
    return records, after, over


def _mark_duplicates(records: list[Sent]) -> None:
    """'For duplicate records, only the last record that has the most data is processed.'"""
    for same in (_have_one_id, _have_one_triple):
        rivals = [record for record in records if not record.fate]
        for record in rivals:
            if any(
                same(record, other)
                and (other.richness, other.line) > (record.richness, record.line)
                for other in rivals
            ):
                record.fate = "Duplicate"


def _have_one_id(one: Sent, other: Sent) -> bool:
    return one.id == other.id


def _have_one_triple(one: Sent, other: Sent) -> bool:
    return any(one.values) and one.values == other.values


def _compare(records: list[Sent], stored: Mapping[str, Person]) -> None:
    """Each record that is left against what was stored before the batch."""
    remainder = [record for record in records if not record.fate]
    ids = {record.id for record in remainder}
    make_employee: set[tuple[str | None, ...]] = set()
    for record in remainder:
        assert record.id is not None
        if record.id in stored:
            _compare_known(record, stored, make_employee)
            continue
        holders = [
            name
            for name, person in stored.items()
            if any(record.values) and person[1:] == record.values
        ]
        if (holders and holders[0] in ids) or (
            any(record.values) and record.values in make_employee
        ):
            record.fate = "Error"
            continue
        make_employee.add(record.values)
        old = stored[holders[0]] if holders else (None,)
        person: Any = (record.status or old[0], *record.values)
        record.after = {record.id: person}
        record.fate = "Update" if holders else "New"
        if holders:
            record.after[holders[0]] = None
            record.changes.append("Employee Id Updated")
            if person[0] != old[0]:
                record.changes.append("Status Updated")


def _compare_known(
    record: Sent, stored: Mapping[str, Person], make_employee: set[tuple[str | None, ...]]
) -> None:
    assert record.id is not None
    old = stored[record.id]
    new: Any = tuple(
        sent or kept for sent, kept in zip((record.status, *record.values), old, strict=True)
    )
    if new[1:] != old[1:]:
        others = [person[1:] for name, person in stored.items() if name != record.id]
        if new[1:] in others or new[1:] in make_employee:
            record.fate = "Error"
            return
        make_employee.add(new[1:])
        record.changes.append("Auth Value Updated")
    if new[0] != old[0]:
        record.changes.append("Status Updated")
    record.fate = "Update" if record.changes else "No Change"
    record.after = {record.id: new}


def _exceeded(
    records: list[Sent], stored: Mapping[str, Person], thresholds: Mapping[str, Fraction]
) -> list[str]:
    fates = [record.fate for record in records]
    parts = {
        "added": (fates.count("New"), len(stored)),
        "updated": (fates.count("Update"), len(stored)),
        "errors": (fates.count("Error"), len(records)),
    }
    return [
        name
        for name, (count, whole) in parts.items()
        if name in thresholds and whole and Fraction(count, whole) * 100 > thresholds[name]
    ]


def expected_answer(records: Sequence[Sent]) -> dict[str, Any]:
    """The counts and lists of the answer, without fileLogId, sentences and error texts."""
    fates = [record.fate for record in records]
    changes = [change for record in records for change in record.changes]
    return {
        "totalRecords": len(records),
        "totalNew": fates.count("New"),
        "totalUpdates": fates.count("Update"),
        "totalErrors": fates.count("Error"),
        "totalNoChange": fates.count("No Change"),
        "totalDuplicates": fates.count("Duplicate"),
        "totalEmpIdUpdate": changes.count("Employee Id Updated"),
        "totalAuthValueChange": changes.count("Auth Value Updated"),
        "totalStatusChange": changes.count("Status Updated"),
        "duplicateAuthValues": [
            {
                "employeeId": record.id or "",
                **{
                    name: "***" if value else None
                    for name, value in zip(VALUES, record.values, strict=True)
                },
            }
            for record in records
            if record.fate == "Duplicate"
        ],
        "employeeDetails": [
            {"Key": record.id or "", "Value": _value(record)}
            for record in records
            if record.fate != "Duplicate"
        ],
        "errorLines": [record.line for record in records if record.fate == "Error"],
    }


def _value(record: Sent) -> str:
    if record.fate == "Update":
        return record.changes[0]
    return {"New": "New Record"}.get(record.fate, record.fate)
