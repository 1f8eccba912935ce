"""Classifies the records of a batch as a pure function of (records, stored employees, options).

See docs/contracts.md#3.

A record is empty, an error, or a duplicate, or it is compared with the employees that were stored
*before* the batch:

    a known employee id            updated, or no change; a blank field keeps the stored value
    a known triple, unknown id     the employee gets a new id
    else                           new

Every triple belongs to one employee, and at most one record changes a stored employee. So these are
errors of a record, which then changes nothing:

    a known id with a triple that another employee has
    the triple of an employee whose own id is in the batch too, because the target is ambiguous
    a triple that an earlier record of the batch already uses, also one completed from stored values
    some of three values where the stored ones are under a key that is no longer configured

A triple that was completed from stored hashes is known under their key only; while keys are being
rotated it can be compared only with triples under the same key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Any, Final

from shared.imports.authdata.messages import AuthdataMessageId
from shared.imports.authdata.model import (
    EMPLOYEE_ID,
    EMPLOYEE_STATUS,
    FIELDS,
    MAX_LENGTHS,
    VALUE_FIELDS,
    AuthRecord,
    Employee,
    StoredEmployees,
)
from shared.imports.import_type import Document, RowKey, Rules
from shared.imports.messages import BROKEN_RECORD, Message, MessageId

# Duplicates within a batch (docs/contracts.md#3, duplicates).
#
# Records are compared by employee id, then the remaining ones by the triple of their values. The
# record with the most filled fields wins, on a tie the last one. A record with errors of its own is
# not compared, and a triple without values equals no other.


def find_winners(records: Sequence[AuthRecord]) -> list[AuthRecord]:
    """The records that are neither errors nor empty nor duplicates, in order."""
    candidates = [record for record in records if not record.is_empty and not record.has_error]
    remaining = _best_by_employee_id(candidates)
    losers = _losers_by_triple(remaining)
    return [record for record in remaining if record.position not in losers]


def _best_by_employee_id(records: Iterable[AuthRecord]) -> list[AuthRecord]:
    best: dict[str | None, AuthRecord] = {}
    for record in records:
        current = best.get(record.employee_id)
        if current is None or record.filled_count >= current.filled_count:
            best[record.employee_id] = record
    return sorted(best.values(), key=lambda record: record.position)


def _losers_by_triple(records: Iterable[AuthRecord]) -> set[int]:
    """Positions of the records whose triple a better record has.

    A triple has one name for each key it was hashed under. Records of different calls may have
    different keys when a key was rotated in between, so one common name makes them equal.
    """
    best: dict[str, AuthRecord] = {}
    losers: set[int] = set()
    for record in records:
        triples = record.fingerprints.triples
        rivals = {rival.position: rival for name in triples if (rival := best.get(name))}
        if any(rival.filled_count > record.filled_count for rival in rivals.values()):
            losers.add(record.position)
            continue
        losers.update(rivals)
        best.update(dict.fromkeys(triples, record))
    return losers


# Thresholds that stop a batch which differs too much from the stored employees
# (docs/contracts.md#3).
#
# Exceeded means strictly more, in exact numbers: added and updated as a percentage of the employees
# stored before (not applied where there are none), errors as a percentage of the batch's records.

_ADDED_SENTENCE: Final = "Number of added employees exceeds threshold: {}%. Processing has stopped."
_UPDATED_SENTENCE: Final = (
    "Number of employees with updates exceeds threshold: {}%. Processing has stopped."
)
_ERRORS_SENTENCE: Final = (
    "Number of records with errors exceeds threshold: {}%. Processing has stopped."
)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percentages, each optional."""

    added: Decimal | None = None
    updated: Decimal | None = None
    errors: Decimal | None = None

    @property
    def needs_stored_count(self) -> bool:
        """Whether a threshold needs the number of stored employees."""
        return self.added is not None or self.updated is not None


def exceeded(
    thresholds: Thresholds, *, added: int, updated: int, errors: int, records: int, stored: int
) -> tuple[str, ...]:
    """The vendor's sentence for each exceeded threshold."""
    checks = (
        (_ADDED_SENTENCE, thresholds.added, added, stored),
        (_UPDATED_SENTENCE, thresholds.updated, updated, stored),
        (_ERRORS_SENTENCE, thresholds.errors, errors, records),
    )
    return tuple(
        sentence.format(percent_text(limit))
        for sentence, limit, count, total in checks
        if limit is not None and total > 0 and count * 100 > limit * total
    )


def percent_text(percent: Decimal) -> str:
    """The percentage without trailing zeros: `2.50` is `2.5`, `10` is `10`."""
    text = format(percent, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class RecordClass(Enum):
    """The class of a record; every record has exactly one."""

    EMPTY = auto()
    ERROR = auto()
    DUPLICATE = auto()
    NEW = auto()
    UPDATE = auto()
    NO_CHANGE = auto()


class Change(StrEnum):
    """The changes of an update in the contract's words, by precedence."""

    AUTH_VALUE = "Auth Value Updated"
    EMPLOYEE_ID = "Employee Id Updated"
    STATUS = "Status Updated"


@dataclass(frozen=True, slots=True)
class Classification:
    """The class of a record and its changes.

    `employee` is the employee to store, None where nothing is written; `renamed_from` is its former
    id, "" where it is not renamed. A record without changes is written only to store its hashes
    under the current key. `error` is an error from the comparison with stored employees, besides
    the record's own.
    """

    record: AuthRecord
    record_class: RecordClass
    changes: tuple[Change, ...] = ()
    employee: Employee | None = None
    renamed_from: str = ""
    error: int = 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """The record's own messages, and the error of the comparison."""
        if not self.error:
            return self.record.messages
        detail = BROKEN_RECORD if self.error == MessageId.COULD_NOT_BE_PROCESSED else None
        return (*self.record.messages, Message(self.error, detail=detail))


@dataclass(frozen=True, slots=True)
class BatchClassification:
    """The classification of each record in order, and the sentences of exceeded thresholds."""

    classifications: tuple[Classification, ...]
    exceeded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The tenant's options for batches."""

    thresholds: Thresholds = field(default_factory=Thresholds)


def classify(
    records: Sequence[AuthRecord], stored: StoredEmployees, options: BatchOptions
) -> BatchClassification:
    """Classify a batch; `stored` must have what `required_ids` and `required_triples` name."""
    winner_by_position = {record.position: record for record in find_winners(records)}
    claimed = _ClaimedEmployees(winner_by_position.values())
    classifications = tuple(
        claimed.classify_winner(record, stored)
        if record.position in winner_by_position
        else _classify_loser(record, claimed, stored)
        for record in records
    )
    classes = [classification.record_class for classification in classifications]
    return BatchClassification(
        classifications,
        exceeded(
            options.thresholds,
            added=classes.count(RecordClass.NEW),
            updated=classes.count(RecordClass.UPDATE),
            errors=classes.count(RecordClass.ERROR),
            records=len(classes) - classes.count(RecordClass.EMPTY),
            stored=stored.count,
        ),
    )


def required_ids(records: Sequence[AuthRecord]) -> frozenset[str]:
    """The employee ids that must be read for a batch, besides the holders of its triples."""
    return frozenset(record.employee_id for record in records if record.employee_id is not None)


def required_triples(records: Sequence[AuthRecord], stored: StoredEmployees) -> frozenset[str]:
    """The triples whose holders must be read for a batch, after its employees."""
    return frozenset(name for record in records for name in _resulting_triples(record, stored))


def _resulting_triples(record: AuthRecord, stored: StoredEmployees) -> Iterator[str]:
    known = stored.employees.get(record.employee_id or "")
    if known is None:
        yield from record.fingerprints.triples
        return
    merged = merge(known, record)
    if merged is not None and merged.has_new_values:
        yield from merged.triples


def _classify_loser(
    record: AuthRecord, claims: _ClaimedEmployees, stored: StoredEmployees
) -> Classification:
    if record.is_empty:
        return Classification(record, RecordClass.EMPTY)
    if record.has_error:
        return Classification(record, RecordClass.ERROR, error=claims.further_error(record, stored))
    return Classification(record, RecordClass.DUPLICATE)


@dataclass(frozen=True, slots=True)
class MergedEmployee:
    """A stored employee merged with a record; `triples` are the names of its triple."""

    employee: Employee
    has_new_values: bool
    triples: tuple[str, ...]


def merge(stored: Employee, record: AuthRecord) -> MergedEmployee | None:
    """Merge a record into an employee; None where its values cannot be completed.

    Where every stored value is sent again, the hashes are stored under the current key. Else they
    stay under the stored key, because a value that was not sent cannot be hashed again.
    """
    status = record.status if record.status is not None else stored.status
    fingerprints = record.fingerprints
    if not fingerprints.has_values:
        employee = Employee(stored.employee_id, status, stored.key, stored.values)
        return MergedEmployee(employee, has_new_values=False, triples=())
    sent_hashes = fingerprints.hashes_for(stored.key)
    is_complete = all(
        is_sent or old is None
        for is_sent, old in zip(fingerprints.present, stored.values, strict=True)
    )
    if is_complete:
        key, values = fingerprints.by_key[0]
        return MergedEmployee(
            Employee(stored.employee_id, status, key, values),
            has_new_values=sent_hashes != stored.values,
            triples=fingerprints.triples,
        )
    if sent_hashes is None:
        return None
    first, second, third = (
        new if new is not None else old for new, old in zip(sent_hashes, stored.values, strict=True)
    )
    employee = Employee(stored.employee_id, status, stored.key, (first, second, third))
    triple = employee.triple
    assert triple is not None, "it has the values that were sent"
    return MergedEmployee(
        employee, has_new_values=employee.values != stored.values, triples=(triple,)
    )


class _ClaimedEmployees:
    """Classifies the winners of a batch one after another and remembers the triples they use."""

    def __init__(self, winning: Collection[AuthRecord]) -> None:
        self._ids = frozenset(record.employee_id for record in winning)
        self._triples = frozenset(
            name for record in winning for name in record.fingerprints.triples
        )
        self._used_triples: set[str] = set()

    def further_error(self, record: AuthRecord, stored: StoredEmployees) -> int:
        """The error that a faulty record would have besides its own; 0 for none.

        A faulty record uses no triple. It is compared only where its id and its values are readable
        and where no other record of the batch has them, because one of two such records would be a
        duplicate.
        """
        faulty = {message.field for message in record.messages if message.is_error}
        if (
            record.employee_id is None
            or not faulty.isdisjoint((EMPLOYEE_ID, *VALUE_FIELDS))
            or record.employee_id in self._ids
            or not self._triples.isdisjoint(record.fingerprints.triples)
        ):
            return 0
        return self._classify(record, stored, claims=False).error

    def classify_winner(self, record: AuthRecord, stored: StoredEmployees) -> Classification:
        """Classify a winner, which then uses its triple."""
        return self._classify(record, stored, claims=True)

    def _classify(
        self, record: AuthRecord, stored: StoredEmployees, *, claims: bool
    ) -> Classification:
        if _concerns_unreadable(record, stored):
            return Classification(record, RecordClass.ERROR, error=MessageId.COULD_NOT_BE_PROCESSED)
        known = stored.employees.get(record.employee_id or "")
        if known is not None:
            return self._classify_known(record, known, stored, claims)
        holder_ids = (stored.holders.get(name) for name in record.fingerprints.triples)
        holder = next((name for name in holder_ids if name is not None), None)
        if holder is not None:
            return self._classify_renamed(record, stored.employees[holder], claims)
        if self._is_triple_used(record.fingerprints.triples, claims):
            return Classification(
                record, RecordClass.ERROR, error=AuthdataMessageId.VALUES_LEFT_TWICE
            )
        return Classification(record, RecordClass.NEW, employee=make_employee(record))

    def _classify_known(
        self, record: AuthRecord, known: Employee, stored: StoredEmployees, claims: bool
    ) -> Classification:
        merged = merge(known, record)
        if merged is None:
            return Classification(
                record, RecordClass.ERROR, error=AuthdataMessageId.VALUES_NOT_COMPLETABLE
            )
        if merged.has_new_values:
            holders = {stored.holders.get(name, known.employee_id) for name in merged.triples}
            if holders & stored.unreadable:
                return Classification(
                    record, RecordClass.ERROR, error=MessageId.COULD_NOT_BE_PROCESSED
                )
            if holders != {known.employee_id}:
                return Classification(
                    record, RecordClass.ERROR, error=AuthdataMessageId.VALUES_OF_OTHER_EMPLOYEE
                )
            if self._is_triple_used(merged.triples, claims):
                return Classification(
                    record, RecordClass.ERROR, error=AuthdataMessageId.VALUES_LEFT_TWICE
                )
        employee = merged.employee
        changes = [Change.AUTH_VALUE] if merged.has_new_values else []
        if employee.status != known.status:
            changes.append(Change.STATUS)
        if changes:
            return Classification(record, RecordClass.UPDATE, tuple(changes), employee)
        return Classification(
            record, RecordClass.NO_CHANGE, (), employee if employee != known else None
        )

    def _classify_renamed(
        self, record: AuthRecord, holder: Employee, claims: bool
    ) -> Classification:
        if holder.employee_id in self._ids:
            return Classification(
                record, RecordClass.ERROR, error=AuthdataMessageId.VALUES_CLAIMED_TWICE
            )
        if self._is_triple_used(record.fingerprints.triples, claims):
            return Classification(
                record, RecordClass.ERROR, error=AuthdataMessageId.VALUES_LEFT_TWICE
            )
        employee = make_employee(record, holder.status)
        changes = [Change.EMPLOYEE_ID]
        if employee.status != holder.status:
            changes.append(Change.STATUS)
        return Classification(
            record, RecordClass.UPDATE, tuple(changes), employee, holder.employee_id
        )

    def _is_triple_used(self, triples: Sequence[str], claims: bool) -> bool:
        """Whether an earlier record uses the triple; if not, `claims` makes this one use it."""
        if not self._used_triples.isdisjoint(triples):
            return True
        if claims:
            self._used_triples.update(triples)
        return False


def _concerns_unreadable(record: AuthRecord, stored: StoredEmployees) -> bool:
    """Whether the record concerns an employee whose stored record is unreadable."""
    if not stored.unreadable:
        return False
    ids = {record.employee_id, *(stored.holders.get(name) for name in record.fingerprints.triples)}
    return not stored.unreadable.isdisjoint(ids)


def make_employee(record: AuthRecord, status: str | None = None) -> Employee:
    """The new or renamed employee of a record; it keeps `status` where the record has none."""
    assert record.employee_id is not None, "a record without an id is an error"
    status = record.status if record.status is not None else status
    if not record.fingerprints.has_values:
        return Employee(record.employee_id, status)
    key, values = record.fingerprints.by_key[0]
    return Employee(record.employee_id, status, key, values)


# The rules of authentication data as an import type; its rows are decided batch by batch.
#
# The rows of an import are staged records: ids, status, hashes (`AuthRecord.pack`). The schema
# describes what a caller sends.

_TITLES = {
    EMPLOYEE_ID: "Which employee; required.",
    EMPLOYEE_STATUS: "The status of the employment; what is stored stays where it is left out.",
}
_VALUE = "A value that the employee is known by. It is hashed at once, and never shown again."


def _identify(row: Mapping[str, Any]) -> RowKey | None:
    """The employee of a staged record whose names are in lower case."""
    employee_id = row.get(EMPLOYEE_ID.lower())
    return RowKey("", employee_id) if isinstance(employee_id, str) else None


def _visible_fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ids and status; no caller sees the hashes (docs/contracts.md#3, secrets)."""
    return {name: row[name] for name in (EMPLOYEE_ID, EMPLOYEE_STATUS) if name in row}


def _json_schema() -> dict[str, Any]:
    """One record as a caller sends it."""
    properties = {
        name: {
            "type": ["string", "null"],
            "maxLength": MAX_LENGTHS[name],
            "description": _TITLES.get(name, _VALUE),
        }
        for name in FIELDS
    }
    properties[EMPLOYEE_ID]["type"] = "string"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Authentication data v1",
        "type": "object",
        "properties": properties,
        "required": [EMPLOYEE_ID],
    }


RULES = Rules(
    key_fields=(EMPLOYEE_ID,),
    record_id_fields=(EMPLOYEE_ID,),
    identify=_identify,
    json_schema=_json_schema,
    shown=_visible_fields,
)


# The changes of a record to an employee, field by field; values never show.


def changes_of(classification: Classification, known: StoredEmployees) -> str:
    """The fields that the record changes, as `changes_text`."""
    # Imported late, because it loads pydantic and this module is read while the app is indexed.
    from shared.imports.merge_rules import changed_fields, changes_text

    if classification.employee is None or classification.record.employee_id is None:
        return changes_text(())
    if classification.record_class is RecordClass.NO_CHANGE:
        return changes_text(())
    before = known.employees.get(classification.renamed_from or classification.record.employee_id)
    changes = changed_fields(
        _sent_fields(before),
        _sent_fields(classification.employee),
        lambda path: path[0] in VALUE_FIELDS,
    )
    return changes_text(changes)


def _sent_fields(employee: Employee | None) -> Document | None:
    if employee is None:
        return None
    document = employee.document()
    return {name: document[name] for name in FIELDS if name in document}
