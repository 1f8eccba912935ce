"""The rules of the placements import (docs/contracts.md#12)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from shared.imports.import_type import Document, ListedValue
from shared.imports.merge_rules import listed_values, merging_rules
from shared.imports.messages import Message
from shared.imports.pay_and_bill.parts import (
    ANY_TEXT,
    DAY,
    SPLIT_MEANINGS,
    check_order,
    check_splits,
    listed_code,
    listed_splits,
)
from shared.imports.placements.definition import PLACEMENT_EXISTS
from shared.imports.placements.model import Placement

_MONEY: Final = "Less than 0 or more than 10,000,000 gets a Warning."


# What the fields mean, for the published schema: by model class and field.
MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "Placement": {
        "EmployerRef": "Reference of the employer; with PlacementRef it is the key.",
        "TaxYear": "UK tax year; it is not compared with a date.",
        "TaxPeriod": "Week or month of the tax year; less than 1 or more than 56 gets a Warning.",
        "TaxSession": "A number of the vendor's; what it stands for is not published.",
        "PlacementRef": "Reference of the placement, unique within the employer.",
        "DivisionRef": listed_code("division"),
        "DepartmentRef": listed_code("department"),
        "ClientRef": listed_code("client with whom the person is placed"),
        "PersonnelRef": "Reference of the worker, who must be stored with the same employer; "
        "without it the placement is of an applicant.",
        "ApplicantName": "Name of the person who is placed.",
        "StartDate": f"First day of the job. {DAY}",
        "JobTitle": "What the person is called in the job.",
        "Salary": f"Salary of the job. {_MONEY}",
        "PlacementValue": f"What the client pays for the placement. {_MONEY}",
        "CommissionPercentage": "Commission in percent; less than 0 or more than 100 gets a "
        "Warning.",
        "DebitOrCreditIndicator": f"Whether it is a debit or a credit, such as Credit. {ANY_TEXT}",
        "PurchaseOrderNumber": "The client's purchase order. Its form is not checked.",
        "InvoiceDate": f"Date of the invoice. {DAY}",
        "ContractEndDate": f"Last day of the contract; before StartDate it gets a Warning. {DAY}",
        "AdhocDescription": "A single amount in words.",
        "AdhocValue": f"A single amount. {_MONEY}",
        "PlacementCategory": f"Kind of placement, such as ContractPlacement. {ANY_TEXT}",
        "SettlementDays": "Days until the invoice is due; less than 0 or more than 366 gets a "
        "Warning.",
        "ReportToClientRef": listed_code("client to whom the person reports"),
        "InvoiceToClientRef": listed_code("client who gets the invoice"),
        "Comments": "Comments on the placement; more than 10,000 characters get a Warning.",
        "InvoiceAddressNo": "Which address of the client gets the invoice; what each number stands "
        "for is not published.",
        "ConsultantSplits": "The consultants' shares. A list that is sent replaces the stored "
        "one; a sum other than 100, or a consultant twice, gets a Warning.",
    },
    "ConsultantSplit": SPLIT_MEANINGS,
}
# Columns for searching.
COLUMNS: Final = ("EmployerRef", "PlacementRef", "PersonnelRef", "ClientRef", "ApplicantName")
# Fields whose values must be in the tenant's reference lists, besides consultants of splits.
LISTED_FIELDS: Final = (
    "DivisionRef",
    "DepartmentRef",
    "ClientRef",
    "ReportToClientRef",
    "InvoiceToClientRef",
)


def find_implausible(sent: Document, _merged: Document) -> Iterator[Message]:
    """A Warning for each value of the row that contradicts another one."""
    yield from check_order(sent, "StartDate", "ContractEndDate")
    yield from check_splits(sent.get("ConsultantSplits") or ())


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that must be in the tenant's reference lists."""
    return (*listed_values(document, LISTED_FIELDS), *listed_splits(document))


RULES = merging_rules(
    model=Placement,
    title="Placements v1",
    key_fields=("EmployerRef", "PlacementRef"),
    record_id_fields=("EmployerRef", "PlacementRef"),
    exists=PLACEMENT_EXISTS,
    review=find_implausible,
    meanings=MEANINGS,
    columns=COLUMNS,
    listed=listed,
)
