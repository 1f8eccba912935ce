"""The rules of the assignments import (docs/contracts.md#1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from shared.imports.assignments.definition import ASSIGNMENT_EXISTS
from shared.imports.assignments.model import Assignment
from shared.imports.import_type import Document, ListedValue
from shared.imports.merge_rules import listed_values, merging_rules
from shared.imports.messages import Message, MessageId
from shared.imports.pay_and_bill.parts import (
    ANY_TEXT,
    DAY,
    SPLIT_MEANINGS,
    VENDOR_NUMBER,
    check_order,
    check_splits,
    listed_code,
    listed_splits,
)
from shared.imports.row_reader import as_sent

# What the fields of assignments mean, for the published schema: by model class and field.
#
# Where the vendor's page says nothing of a field's values, the text says so.

_MONEY: Final = (
    "In the currency of the worker's pay; less than 0 or more than 1,000,000 gets a Warning."
)
_WEEKS: Final = "In weeks; less than 0 or more than 520 gets a Warning."
_CUSTOM: Final = "Its meaning is the customer's."


MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "Assignment": {
        "EmployerRef": "Reference of the employer; with AssignmentRef it is the key.",
        "AssignmentRef": "Reference of the assignment, unique within the employer.",
        "ClientRef": listed_code("client for whom the worker works"),
        "PersonnelRef": "Reference of the worker, who must be stored with the same employer.",
        "DivisionRef": listed_code("division"),
        "DepartmentRef": listed_code("department"),
        "JobTitle": "What the worker is called in this assignment.",
        "WorkLocation": "Where the work is done.",
        "StartDate": f"First day of the assignment. {DAY}",
        "ExpectedEndDate": f"Day on which it is meant to end; null where that is open. {DAY}",
        "ActualEndDate": f"Day on which it has ended; null while it goes on. {DAY}",
        "PurchaseOrderNumber": "The client's purchase order. Its form is not checked.",
        "BookedBy": "Name of the person who booked the assignment.",
        "BookedById": "Id of that person. Its form is not published; any text is taken.",
        "RateFrequency": f"For which unit of time the rates are, such as an hour. {ANY_TEXT}",
        "InvoiceAddressNumber": f"Which address of the client gets the invoice. {VENDOR_NUMBER}",
        "DeliveryAddressNumber": "Which address of the client is the place of delivery. "
        f"{VENDOR_NUMBER}",
        "IsIncludedOnMarginReport": "Whether the assignment appears in the report of margins.",
        "JobCategoryRef": listed_code("job category"),
        "CostCentre": "Cost centre that the assignment is booked to. It is not checked.",
        "ReportToClientRef": listed_code("client to whom the worker reports"),
        "InvoiceToClientRef": listed_code("client who gets the invoice"),
        "ReportsToId": "Id of the person to whom the worker reports. Its form is not published.",
        "ContactName": "Name of the contact at the client.",
        "Notes": "Notes on the assignment; more than 10,000 characters get a Warning.",
        "SalesTaxArea": f"Area whose sales tax applies. {ANY_TEXT}",
        "ComparatorTitle": "Job of the comparable employee of the client under the UK's Agency "
        "Workers Regulations.",
        "HolOverrideWeeks": f"Holiday in place of the usual one. {_WEEKS}",
        "HolOverrideHourPerc": "Holiday for each hour in place of the usual one, in percent; less "
        "than 0 or more than 100 gets a Warning.",
        "PrevAWRWeeks": "Weeks that count as worked before under the Agency Workers Regulations. "
        f"{_WEEKS}",
        "AWRQualificationWeeks": "Weeks after which the Agency Workers Regulations apply in full. "
        f"{_WEEKS}",
        "ComparatorRef": listed_code("comparable employee"),
        "IsCancelled": "Whether the assignment has been cancelled.",
        "EndReason": f"Why the assignment ended. {ANY_TEXT}",
        "AssignmentType": f"Kind of assignment. {ANY_TEXT}",
        "TimesheetFrequency": f"How often a timesheet is due. {ANY_TEXT}",
        "ContractRefPrimaryContract": listed_code("first contract"),
        "ExternalNotes": "Notes that others may see; more than 10,000 characters get a Warning.",
        "IsManualInterpretation": "Whether timesheets are interpreted by hand; its exact meaning "
        "is not published.",
        "SupplierContact": "Name of the contact at the supplier.",
        "SecondaryContract": "The second contract. Its form is not published; any text is taken.",
        "IsEIRDirectClient": "Whether the client is the direct one in reports of employment "
        "intermediaries to the UK's tax authority.",
        "IsOPWIPSApplicable": "Whether the UK's rules for off-payroll work in the private sector "
        "apply.",
        "OnlineOptions": "How the assignment shows in the online portal; its fields merge one by "
        "one.",
        "ConsultantSplits": "The consultants' shares. A list that is sent replaces the stored "
        "one; a sum other than 100 gets a Warning.",
        "CustomerDefinedFields": "Fields to which the customer gives a meaning; they merge one by "
        "one.",
        "Rates": "What is paid and billed. A list that is sent replaces the stored one.",
    },
    "OnlineSettings": {
        "WorkflowDescription": f"Name of the workflow of timesheets. {ANY_TEXT}",
        "GroupCode": f"Group that the assignment is in. {ANY_TEXT}",
        "ConsultantSTiUserLogon": "Logon name of the consultant in the vendor's product STi.",
        "TimesheetAuthoriserUserRef": "User who approves the timesheets. Its form is not "
        "published.",
        "STiTimesheetType": VENDOR_NUMBER,
        "EscalationTypeOverride": f"What happens to timesheets that nobody approves. {ANY_TEXT}",
        "IsOnlineExpenseAllowed": "Whether expenses may be entered in the portal.",
    },
    "CustomerFields": {
        **{
            f"CustomerDefinedField{number}": f"Text of the customer's. {_CUSTOM}"
            for number in (1, 2, 5, 6, 7, 8)
        },
        **{
            f"CustomerDefinedField{number}": f"Number of the customer's, in any unit. {_CUSTOM}"
            for number in (3, 4)
        },
    },
    "ConsultantSplit": SPLIT_MEANINGS,
    "Rate": {
        "RateType": "PayAndBill for work, Adhoc for single amounts; another type gets a "
        "Warning and is kept.",
        "RateCode": f"Code of the rate. {ANY_TEXT}",
        "SequenceNumber": "The rate's place among those of the assignment; where it begins is not "
        "published.",
        "BillingTaxCode": f"Tax code of the bill. {ANY_TEXT}",
        "IsDefaultRate": "Whether this is the rate that is taken where no other is named.",
        "RateDescription": "The rate in words.",
        "IsAWRable": "Whether the rate counts under the UK's Agency Workers Regulations.",
        "IsPensionable": "Whether the rate counts for the pension.",
        "PayRate": f"What the worker gets for a unit of time (PayAndBill). {_MONEY}",
        "BillRate": f"What the client pays for a unit of time (PayAndBill). {_MONEY}",
        "RateFrequency": f"For which unit of time the rate is (PayAndBill). {ANY_TEXT}",
        "BillingGroup": f"Group of the bill (PayAndBill). {ANY_TEXT}",
        "RateEffectiveDate": f"First day of the rate (PayAndBill). {DAY}",
        "RateExpiryDate": f"Last day of the rate (PayAndBill). {DAY}",
        "ReceiptOption": f"Whether a receipt is needed (Adhoc). {ANY_TEXT}",
        "PayAmount": f"What the worker gets (Adhoc). {_MONEY}",
        "BillAmount": f"What the client pays (Adhoc). {_MONEY}",
        "PayrollTaxCode": f"Tax code in payroll (Adhoc). {ANY_TEXT}",
    },
}


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
        yield from check_order(values, "StartDate", name)
    yield from check_splits(values.get("ConsultantSplits") or ())
    for index, rate in enumerate(values.get("Rates") or ()):
        yield from _check_rate(rate, f"Rates[{index}].")


def _check_rate(rate: dict[str, Any], path: str) -> Iterator[Message]:
    kind = rate.get("RateType")
    if kind is not None and kind not in FOREIGN_FIELDS:
        detail = f"{' or '.join(FOREIGN_FIELDS)} is expected"
        yield Message(MessageId.IMPLAUSIBLE_VALUE, f"{path}RateType", as_sent(kind), detail)
    for name in FOREIGN_FIELDS.get(kind or "", ()):
        if name in rate:
            detail = f"rates of the type {kind} do not have this field; leave it out"
            yield Message(MessageId.IMPLAUSIBLE_VALUE, path + name, as_sent(rate[name]), detail)
    yield from check_order(rate, "RateEffectiveDate", "RateExpiryDate", path)


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


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that must be in the tenant's reference lists."""
    return (*listed_values(document, LISTED_FIELDS), *listed_splits(document))


RULES = merging_rules(
    model=Assignment,
    title="Assignments v1",
    key_fields=("EmployerRef", "AssignmentRef"),
    record_id_fields=("AssignmentRef",),
    exists=ASSIGNMENT_EXISTS,
    review=_review,
    meanings=MEANINGS,
    columns=COLUMNS,
    listed=listed,
)
