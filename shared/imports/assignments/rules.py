"""The rules of the assignments import (docs/contracts.md#1)."""

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

# Implausible values of an assignment: Warnings 2002 and 2003 (docs/contracts.md#1).
#
# Lists are checked when a row sends them. A rate gets a Warning for a type that is neither of the
# two, for fields of the other type, and for an expiry before its effective date. A rate without a
# type is not checked by type, because the contract does not require one.


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


def find_implausible(values: Document) -> Iterator[Message]:
    """A Warning for each implausible value of the row."""
    for name in ("ExpectedEndDate", "ActualEndDate"):
        yield from _check_order(values, "StartDate", name)
    yield from _check_splits(values.get("ConsultantSplits") or ())
    for index, rate in enumerate(values.get("Rates") or ()):
        yield from _check_rate(rate, f"Rates[{index}].")


def _check_order(
    values: Document, start_name: str, end_name: str, path: str = ""
) -> Iterator[Message]:
    begin, end = values.get(start_name), values.get(end_name)
    if begin is not None and end is not None and end < begin:
        detail = f"it is before {start_name}; check both"
        yield Message(MessageId.VALUES_DISAGREE, path + end_name, as_sent(end), detail)


def _check_splits(splits: Sequence[dict[str, Any]]) -> Iterator[Message]:
    if any("Split" not in split for split in splits):
        return  # a split is unreadable, so there is no sum
    if splits and sum(Fraction(split["Split"]) for split in splits) != MAX_PERCENTAGE:
        detail = f"they do not add up to {MAX_PERCENTAGE}; correct the shares"
        yield Message(MessageId.VALUES_DISAGREE, "ConsultantSplits", detail=detail)


def _check_rate(rate: dict[str, Any], path: str) -> Iterator[Message]:
    kind = rate.get("RateType")
    if kind is not None and kind not in FOREIGN_FIELDS:
        detail = f"{' or '.join(FOREIGN_FIELDS)} is expected"
        yield Message(MessageId.IMPLAUSIBLE_VALUE, f"{path}RateType", as_sent(kind), detail)
    for name in FOREIGN_FIELDS.get(kind or "", ()):
        if name in rate:
            detail = f"rates of the type {kind} do not have this field; leave it out"
            yield Message(MessageId.IMPLAUSIBLE_VALUE, path + name, as_sent(rate[name]), detail)
    yield from _check_order(rate, "RateEffectiveDate", "RateExpiryDate", path)


# Columns for searching.
COLUMNS: Final = ("EmployerRef", "AssignmentRef", "PersonnelRef", "ClientRef", "JobTitle")
# Fields whose values must be in the tenant's reference lists, besides consultants of splits.
LISTED_FIELDS: Final = (
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
    return find_implausible(sent)


def references(document: Document) -> tuple[Reference, ...]:
    """The worker, which must be stored with the same employer."""
    employer, worker = document.get("EmployerRef"), document.get("PersonnelRef")
    if employer is None or worker is None:
        return ()
    return (Reference("PersonnelRef", WORKERS.table, employer, worker),)


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that must be in the tenant's reference lists."""
    values = [*listed_values(document, LISTED_FIELDS)]
    for index, split in enumerate(document.get("ConsultantSplits", ())):
        values += listed_values(split, ("ConsultantRef",), f"ConsultantSplits[{index}].")
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
