"""What a row of an assignments import does to the assignment it speaks of (docs/contracts.md#1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

from shared.imports.assignments.meanings import MEANINGS
from shared.imports.assignments.model import Assignment
from shared.imports.import_type import Document, ListedValue, Reference
from shared.imports.merge_rules import listed_values, merging_rules
from shared.imports.messages import Message, MessageId
from shared.imports.model import MAX_PERCENTAGE
from shared.imports.row_reader import as_sent
from shared.imports.workers.definition import WORKERS

# Values of an assignment that are taken, but look wrong: Warnings 2002 and 2003
# (docs/contracts.md#1).
#
# Lists are judged when a row sends them. Of a rate: a type that is neither of the two, fields
# that only the other type has, and an expiry before it takes effect. A rate without a type is not
# judged by type: the contract does not ask for one.


PAY_AND_BILL_FIELDS: Final = (
    "PayRate",
    "BillRate",
    "RateFrequency",
    "BillingGroup",
    "RateEffectiveDate",
    "RateExpiryDate",
)
ADHOC_FIELDS: Final = ("ReceiptOption", "PayAmount", "BillAmount", "PayrollTaxCode")
# By rate type, the fields that only rates of the other type have.
FOREIGN_FIELDS: Final = {"PayAndBill": ADHOC_FIELDS, "Adhoc": PAY_AND_BILL_FIELDS}


def implausible(sent: Document) -> Iterator[Message]:
    """A Warning for each thing of the row that looks wrong."""
    for name in ("ExpectedEndDate", "ActualEndDate"):
        yield from _order(sent, "StartDate", name)
    yield from _splits(sent.get("ConsultantSplits") or ())
    for place, rate in enumerate(sent.get("Rates") or ()):
        yield from _rate(rate, f"Rates[{place}].")


def _order(values: Document, first: str, last: str, path: str = "") -> Iterator[Message]:
    begin, end = values.get(first), values.get(last)
    if begin is not None and end is not None and end < begin:
        detail = f"it is before {first}; check both"
        yield Message(MessageId.VALUES_DISAGREE, path + last, as_sent(end), detail)


def _splits(splits: Sequence[dict[str, Any]]) -> Iterator[Message]:
    if any("Split" not in split for split in splits):
        return  # a part of the sum could not be read
    if splits and sum(Fraction(split["Split"]) for split in splits) != MAX_PERCENTAGE:
        detail = f"they do not add up to {MAX_PERCENTAGE}; correct the shares"
        yield Message(MessageId.VALUES_DISAGREE, "ConsultantSplits", detail=detail)


def _rate(rate: dict[str, Any], path: str) -> Iterator[Message]:
    kind = rate.get("RateType")
    if kind is not None and kind not in FOREIGN_FIELDS:
        detail = f"{' or '.join(FOREIGN_FIELDS)} is expected"
        yield Message(MessageId.IMPLAUSIBLE_VALUE, f"{path}RateType", as_sent(kind), detail)
    for name in FOREIGN_FIELDS.get(kind or "", ()):
        if name in rate:
            detail = f"rates of the type {kind} do not have this field; leave it out"
            yield Message(MessageId.IMPLAUSIBLE_VALUE, path + name, as_sent(rate[name]), detail)
    yield from _order(rate, "RateEffectiveDate", "RateExpiryDate", path)


# What people search by.
COLUMNS: Final = ("EmployerRef", "AssignmentRef", "PersonnelRef", "ClientRef", "JobTitle")
# What a tenant's reference lists are asked for; the consultants of the splits too.
LISTED: Final = (
    "ClientRef",
    "DivisionRef",
    "DepartmentRef",
    "JobCategoryRef",
    "ReportToClientRef",
    "InvoiceToClientRef",
    "ComparatorRef",
    "ContractRefPrimaryContract",
)


def _review(sent: Document, _merged: Document) -> Iterable[Message]:
    return implausible(sent)


def references(document: Document) -> tuple[Reference, ...]:
    """The worker, who must be stored with the same employer."""
    employer, worker = document.get("EmployerRef"), document.get("PersonnelRef")
    if employer is None or worker is None:
        return ()
    return (Reference("PersonnelRef", WORKERS.table, employer, worker),)


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that are looked up in the tenant's reference lists."""
    values = [*listed_values(document, LISTED)]
    for place, split in enumerate(document.get("ConsultantSplits", ())):
        values += listed_values(split, ("ConsultantRef",), f"ConsultantSplits[{place}].")
    return tuple(values)


RULES = merging_rules(
    model=Assignment,
    title="Assignments v1",
    key_fields=("EmployerRef", "AssignmentRef"),
    record_id_fields=("AssignmentRef",),
    exists=MessageId.ASSIGNMENT_EXISTS,
    review=_review,
    meanings=MEANINGS,
    columns=COLUMNS,
    references=references,
    listed=listed,
)
