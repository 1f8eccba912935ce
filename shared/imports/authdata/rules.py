"""What becomes of each record of a batch: one function of (records, stored, options).

See docs/contracts.md#3.

A record is empty (scrubbed), an error, a duplicate, or it wins and is compared with what is stored
*before* the batch:

    a known employee id            updated, or no change; a blank field keeps the stored value
    a known triple, unknown id     the employee gets a new id
    else                           new

Every triple ends up with one employee, and every stored employee is claimed by one record at most.
So these are errors of a record, and nothing is changed by it:

    a known id with a triple that another employee has
    the triple of an employee whose own id is in the batch too (which of both is meant?)
    a triple that an earlier record of the batch leaves behind, completed from stored values
    some of three values where the stored ones are under a key that is configured no more

A triple that was completed from stored hashes is known under their key alone: while keys are being
rotated it can be compared only with those under the same one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Any, Final

from shared.imports.authdata.model import (
    EMPLOYEE_ID,
    EMPLOYEE_STATUS,
    FIELDS,
    MOST_CHARACTERS,
    VALUE_FIELDS,
    AuthRecord,
    Employee,
    Stored,
)
from shared.imports.import_type import Document, RowKey, Rules
from shared.imports.messages import BROKEN_RECORD, Message, MessageId

# Which records of a batch are duplicates of others (docs/contracts.md#3, duplicates).
#
# First by employee id, then, among those that are left, by the triple of their values: of several
# records the one with most filled fields wins, the last one on a tie. A record that is an error by
# itself takes no part, and a triple without values equals nothing.


def winners(records: Sequence[AuthRecord]) -> list[AuthRecord]:
    """The records that are neither errors, nor empty, nor duplicates; in their order."""
    able = [record for record in records if not record.is_empty and not record.is_faulty]
    left = _best_of_each_id(able)
    losers = _beaten_by_triple(left)
    return [record for record in left if record.position not in losers]


def _best_of_each_id(records: Iterable[AuthRecord]) -> list[AuthRecord]:
    best: dict[str | None, AuthRecord] = {}
    for record in records:
        held = best.get(record.employee_id)
        if held is None or record.filled >= held.filled:
            best[record.employee_id] = record
    return sorted(best.values(), key=lambda record: record.position)


def _beaten_by_triple(records: Iterable[AuthRecord]) -> set[int]:
    """Positions of the records whose triple a better record has.

    A triple goes by one name for each key that it was hashed under; records of different calls may
    know different keys when one was rotated in between, so any common name counts.
    """
    best: dict[str, AuthRecord] = {}
    losers: set[int] = set()
    for record in records:
        triples = record.prints.triples
        rivals = {held.position: held for name in triples if (held := best.get(name))}
        if any(held.filled > record.filled for held in rivals.values()):
            losers.add(record.position)
            continue
        losers.update(rivals)
        best.update(dict.fromkeys(triples, record))
    return losers


# When a batch is too unlike what is stored to be taken (docs/contracts.md#3, thresholds).
#
# Exceeded means strictly more, in exact numbers: added and updated as a percentage of the
# employees stored before (not applied where there are none), errors as a percentage of the
# batch's records.

_ADDED: Final = "Number of added employees exceeds threshold: {}%. Processing has stopped."
_UPDATED: Final = "Number of employees with updates exceeds threshold: {}%. Processing has stopped."
_ERRORS: Final = "Number of records with errors exceeds threshold: {}%. Processing has stopped."


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percentages, each optional."""

    added: Decimal | None = None
    updated: Decimal | None = None
    errors: Decimal | None = None

    @property
    def ask_for_stored(self) -> bool:
        """Whether somebody has to count the stored employees."""
        return self.added is not None or self.updated is not None


def exceeded(
    thresholds: Thresholds, *, added: int, updated: int, errors: int, records: int, stored: int
) -> tuple[str, ...]:
    """The vendor's sentence for each threshold that is exceeded."""
    judged = (
        (_ADDED, thresholds.added, added, stored),
        (_UPDATED, thresholds.updated, updated, stored),
        (_ERRORS, thresholds.errors, errors, records),
    )
    return tuple(
        sentence.format(percent_text(most))
        for sentence, most, count, whole in judged
        if most is not None and whole > 0 and count * 100 > most * whole
    )


def percent_text(percent: Decimal) -> str:
    """As it was configured, without trailing zeros: `2.50` is `2.5`, `10` is `10`."""
    text = format(percent, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class RecordClass(Enum):
    """Exactly one for each record."""

    EMPTY = auto()
    ERROR = auto()
    DUPLICATE = auto()
    NEW = auto()
    UPDATE = auto()
    NO_CHANGE = auto()


class Change(StrEnum):
    """What an update changes, by the words of the contract, in the order in which one is named."""

    AUTH_VALUE = "Auth Value Updated"
    EMPLOYEE_ID = "Employee Id Updated"
    STATUS = "Status Updated"


@dataclass(frozen=True, slots=True)
class Classification:
    """What becomes of a record.

    `employee` is what is to be stored, None where nothing is written; `renamed_from` is the id
    under which that employee was stored, "" where it was not renamed. A record that changes nothing
    is written only to bring its hashes under the current key.
    """

    record: AuthRecord
    standing: RecordClass
    changes: tuple[Change, ...] = ()
    employee: Employee | None = None
    renamed_from: str = ""
    # What the comparison found, beside the errors of the record itself.
    error: int = 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """The record's own messages, and the error that the comparison brought."""
        if not self.error:
            return self.record.messages
        detail = BROKEN_RECORD if self.error == MessageId.COULD_NOT_BE_PROCESSED else None
        return (*self.record.messages, Message(self.error, detail=detail))


@dataclass(frozen=True, slots=True)
class Classified:
    """A whole batch: a verdict for each record in order, and the sentences of what is exceeded."""

    verdicts: tuple[Classification, ...]
    exceeded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What the tenant says about batches."""

    thresholds: Thresholds = field(default_factory=Thresholds)


def classify(records: Sequence[AuthRecord], stored: Stored, options: BatchOptions) -> Classified:
    """The verdicts on a batch; `stored` must hold what `ids_asked` and `triples_asked` name."""
    left = {record.position: record for record in winners(records)}
    claims = _ClaimedEmployees(left.values())
    verdicts = tuple(
        claims.judge(record, stored)
        if record.position in left
        else _set_aside(record, claims, stored)
        for record in records
    )
    standings = [verdict.standing for verdict in verdicts]
    return Classified(
        verdicts,
        exceeded(
            options.thresholds,
            added=standings.count(RecordClass.NEW),
            updated=standings.count(RecordClass.UPDATE),
            errors=standings.count(RecordClass.ERROR),
            records=len(standings) - standings.count(RecordClass.EMPTY),
            stored=stored.count,
        ),
    )


def ids_asked(records: Sequence[AuthRecord]) -> frozenset[str]:
    """The employee ids that a batch has to know of; the holders of its triples come to these."""
    return frozenset(record.employee_id for record in records if record.employee_id is not None)


def triples_asked(records: Sequence[AuthRecord], stored: Stored) -> frozenset[str]:
    """The triples whose holders a batch has to know, once its employees are known."""
    return frozenset(name for record in records for name in _triples_claimed(record, stored))


def _triples_claimed(record: AuthRecord, stored: Stored) -> Iterator[str]:
    known = stored.employees.get(record.employee_id or "")
    if known is None:
        yield from record.prints.triples
        return
    merged = merge(known, record)
    if merged is not None and merged.has_new_values:
        yield from merged.triples


def _set_aside(record: AuthRecord, claims: _ClaimedEmployees, stored: Stored) -> Classification:
    if record.is_empty:
        return Classification(record, RecordClass.EMPTY)
    if record.is_faulty:
        return Classification(record, RecordClass.ERROR, error=claims.further_error(record, stored))
    return Classification(record, RecordClass.DUPLICATE)


@dataclass(frozen=True, slots=True)
class Merged:
    """A stored employee with what a record says; `triples` are the names its triple goes by."""

    employee: Employee
    has_new_values: bool
    triples: tuple[str, ...]


def merge(known: Employee, record: AuthRecord) -> Merged | None:
    """The employee after the record; None where its values cannot be completed.

    Where every stored value is sent again, the hashes come under the current key; else they stay
    under the stored one, because what was not sent can be hashed no more.
    """
    status = record.status if record.status is not None else known.status
    prints = record.prints
    if not prints.has_values:
        kept = Employee(known.employee_id, status, known.key, known.values)
        return Merged(kept, has_new_values=False, triples=())
    sent = prints.under(known.key)
    covers = all(
        is_sent or old is None for is_sent, old in zip(prints.present, known.values, strict=True)
    )
    if covers:
        key, values = prints.by_key[0]
        taken = Employee(known.employee_id, status, key, values)
        return Merged(taken, has_new_values=sent != known.values, triples=prints.triples)
    if sent is None:
        return None
    first, second, third = (
        new if new is not None else old for new, old in zip(sent, known.values, strict=True)
    )
    mixed = Employee(known.employee_id, status, known.key, (first, second, third))
    triple = mixed.triple
    assert triple is not None, "it has the values that were sent"
    return Merged(mixed, has_new_values=mixed.values != known.values, triples=(triple,))


class _ClaimedEmployees:
    """Judges the winners of a batch one after another, and keeps what they claim."""

    def __init__(self, winning: Collection[AuthRecord]) -> None:
        self._ids = frozenset(record.employee_id for record in winning)
        self._triples = frozenset(name for record in winning for name in record.prints.triples)
        self._left: set[str] = set()

    def further_error(self, record: AuthRecord, stored: Stored) -> int:
        """The error that a faulty record would have beside its own; 0 for none.

        It takes part in nothing, so it claims nothing. It is compared only where its id and its
        values could be read, and where no other record of the batch has them: of two such records
        one would be a duplicate.
        """
        faulty = {message.field for message in record.messages if message.is_error}
        if (
            record.employee_id is None
            or not faulty.isdisjoint((EMPLOYEE_ID, *VALUE_FIELDS))
            or record.employee_id in self._ids
            or not self._triples.isdisjoint(record.prints.triples)
        ):
            return 0
        return self._judged(record, stored, claims=False).error

    def judge(self, record: AuthRecord, stored: Stored) -> Classification:
        """What becomes of a winner, which claims its triple."""
        return self._judged(record, stored, claims=True)

    def _judged(self, record: AuthRecord, stored: Stored, *, claims: bool) -> Classification:
        if _needs_unreadable(record, stored):
            return Classification(record, RecordClass.ERROR, error=MessageId.COULD_NOT_BE_PROCESSED)
        known = stored.employees.get(record.employee_id or "")
        if known is not None:
            return self._known(record, known, stored, claims)
        held = (stored.holders.get(name) for name in record.prints.triples)
        holder = next((name for name in held if name is not None), None)
        if holder is not None:
            return self._renamed(record, stored.employees[holder], claims)
        if self._is_left(record.prints.triples, claims):
            return Classification(record, RecordClass.ERROR, error=MessageId.VALUES_LEFT_TWICE)
        return Classification(record, RecordClass.NEW, employee=taken(record))

    def _known(
        self, record: AuthRecord, known: Employee, stored: Stored, claims: bool
    ) -> Classification:
        merged = merge(known, record)
        if merged is None:
            return Classification(record, RecordClass.ERROR, error=MessageId.VALUES_NOT_COMPLETABLE)
        if merged.has_new_values:
            holders = {stored.holders.get(name, known.employee_id) for name in merged.triples}
            if holders & stored.unreadable:
                return Classification(
                    record, RecordClass.ERROR, error=MessageId.COULD_NOT_BE_PROCESSED
                )
            if holders != {known.employee_id}:
                return Classification(
                    record, RecordClass.ERROR, error=MessageId.VALUES_OF_OTHER_EMPLOYEE
                )
            if self._is_left(merged.triples, claims):
                return Classification(record, RecordClass.ERROR, error=MessageId.VALUES_LEFT_TWICE)
        after = merged.employee
        changes = [Change.AUTH_VALUE] if merged.has_new_values else []
        if after.status != known.status:
            changes.append(Change.STATUS)
        if changes:
            return Classification(record, RecordClass.UPDATE, tuple(changes), after)
        return Classification(record, RecordClass.NO_CHANGE, (), after if after != known else None)

    def _renamed(self, record: AuthRecord, holder: Employee, claims: bool) -> Classification:
        if holder.employee_id in self._ids:
            return Classification(record, RecordClass.ERROR, error=MessageId.VALUES_CLAIMED_TWICE)
        if self._is_left(record.prints.triples, claims):
            return Classification(record, RecordClass.ERROR, error=MessageId.VALUES_LEFT_TWICE)
        after = taken(record, holder.status)
        changes = [Change.EMPLOYEE_ID]
        if after.status != holder.status:
            changes.append(Change.STATUS)
        return Classification(record, RecordClass.UPDATE, tuple(changes), after, holder.employee_id)

    def _is_left(self, triples: Sequence[str], claims: bool) -> bool:
        """Whether an earlier record leaves this triple behind; if not, and it claims, this one."""
        if not self._left.isdisjoint(triples):
            return True
        if claims:
            self._left.update(triples)
        return False


def _needs_unreadable(record: AuthRecord, stored: Stored) -> bool:
    """Whether the record is about an employee whose stored record cannot be read."""
    if not stored.unreadable:
        return False
    named = {record.employee_id, *(stored.holders.get(name) for name in record.prints.triples)}
    return not stored.unreadable.isdisjoint(named)


def taken(record: AuthRecord, status: str | None = None) -> Employee:
    """The employee that a record makes, new or renamed; `status` is kept where it says none."""
    assert record.employee_id is not None, "a record without an id is an error"
    status = record.status if record.status is not None else status
    if not record.prints.has_values:
        return Employee(record.employee_id, status)
    key, values = record.prints.by_key[0]
    return Employee(record.employee_id, status, key, values)


# What is known of authentication data as an import type; its work is decided batch by batch.
#
# The rows of an import are staged records: ids, status, hashes (`AuthRecord.pack`). What a caller
# sends is described by the schema.

_TITLES = {
    EMPLOYEE_ID: "Which employee; required.",
    EMPLOYEE_STATUS: "The status of the employment; what is stored stays where it is left out.",
}
_VALUE = "A value that the employee is known by. It is hashed at once, and never shown again."


def _identify(row: Mapping[str, Any]) -> RowKey | None:
    """The employee of a staged record whose names are in lower case."""
    employee_id = row.get(EMPLOYEE_ID.lower())
    return RowKey("", employee_id) if isinstance(employee_id, str) else None


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ids and status; what stands for the values is for nobody (docs/contracts.md#3, secrets)."""
    return {name: row[name] for name in (EMPLOYEE_ID, EMPLOYEE_STATUS) if name in row}


def _json_schema() -> dict[str, Any]:
    """One record as a caller sends it."""
    properties = {
        name: {
            "type": ["string", "null"],
            "maxLength": MOST_CHARACTERS[name],
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
    shown=_shown,
)


# What a record of a batch would change in an employee, field by field; values never show.


def changes_of(verdict: Classification, known: Stored) -> str:
    """The fields that the record changes, as `changes_text`; none where it changes nothing."""
    # Late: it loads pydantic, and this module is read while the app is indexed.
    from shared.imports.field_diff import changed_fields, changes_text

    if verdict.employee is None or verdict.record.employee_id is None:
        return changes_text(())
    if verdict.standing is RecordClass.NO_CHANGE:
        return changes_text(())
    before = known.employees.get(verdict.renamed_from or verdict.record.employee_id)
    changed = changed_fields(_sent_fields(before), _sent_fields(verdict.employee), _is_sensitive)
    return changes_text(changed)


def _sent_fields(employee: Employee | None) -> Document | None:
    if employee is None:
        return None
    document = employee.document()
    return {name: document[name] for name in FIELDS if name in document}


def _is_sensitive(path: Sequence[str | int]) -> bool:
    return path[0] in VALUE_FIELDS
