"""The rules of the timesheets import (docs/contracts.md#12)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, get_args

from shared.imports.import_type import Document, ListedValue, RecordRules
from shared.imports.merge_rules import listed_values, merging_rules
from shared.imports.messages import Message, MessageId
from shared.imports.model import Record
from shared.imports.pay_and_bill.parts import ANY_TEXT, VENDOR_NUMBER, listed_code
from shared.imports.row_reader import as_sent
from shared.imports.timesheets.definition import TIMESHEET_EXISTS
from shared.imports.timesheets.model import Timesheet, TimesheetV2, VATSource

# What the fields mean, for the published schema: by model class and field.
#
# Where the vendor's page says nothing of a field's values, the text says so.

_MONEY: Final = "Less than -1,000,000 or more than 1,000,000 gets a Warning."
_INHERITED: Final = "the two Default values mean that it is taken from the employer or the system"


_HEADER: Final[Mapping[str, str]] = {
    "TimesheetNumber": "Number of the timesheet, unique within the employer; with EmployerRef it "
    "is the key.",
    "EmployerRef": "Reference of the employer.",
    "PersonnelRef": "Reference of the worker, who must be stored with the same employer.",
    "ClientRef": f"{listed_code('client')} A timesheet has this field or AssignmentRef.",
    "AssignmentRef": "Reference of the assignment, which must be stored with the same employer; "
    "one of another worker gets a Warning. A timesheet has this field or ClientRef.",
    "DivisionRef": listed_code("division"),
    "DepartmentRef": listed_code("department"),
    "JobLocation": f"Place of the job. {ANY_TEXT}",
    "TaxYear": "UK tax year; it is not compared with TimesheetDate.",
    "TaxPeriod": "Week or month of the tax year; it is not compared with TimesheetDate.",
    "TimesheetDate": "Date of the timesheet; a time of day is kept.",
    "PurchaseOrderNumber": "The client's purchase order. Its form is not checked.",
    "InvoiceRef": "Reference of the invoice. Its form is not checked.",
    "WorkLocation": "Where the work was done.",
    "JobDescription": "The job in words.",
    "BookedBy": "Name of the person who booked the work.",
    "JobCategoryRef": listed_code("job category"),
    "IsAdjustment": "Whether the timesheet corrects an earlier one.",
    "IsIgnoredByPayroll": "Whether payroll passes the timesheet over.",
    "CreditCode": f"Code of a credit. {ANY_TEXT}",
    "ConsultantRef": listed_code("consultant"),
    "CostCentre": "Cost centre that the timesheet is booked to. It is not checked.",
    "ReportToClientRef": listed_code("client to whom the worker reports"),
    "InvoiceToClientRef": listed_code("client who gets the invoice"),
    "InvoiceAddressNumber": f"Which address of the client gets the invoice. {VENDOR_NUMBER}",
    "DeliveryAddressNumber": "Which address of the client is the place of delivery. "
    f"{VENDOR_NUMBER}",
    "SalesTaxArea": f"Area whose sales tax applies. {ANY_TEXT}",
    "HolidayOverrideWeeks": "Holiday in place of the usual one, in weeks; less than 0 or more than "
    "520 gets a Warning.",
    "HolidayOverrideHourPerc": "Holiday for each hour in place of the usual one, in percent; less "
    "than 0 or more than 100 gets a Warning.",
    "NoOfDaysWorked": "Days that were worked; less than 0 or more than 366 gets a Warning.",
    "IsReverseChargeVAT": "Whether the client accounts for the VAT.",
    "Lines": "The time that was worked. A list that is sent replaces the stored one.",
    "AdHocLines": "Single amounts. A list that is sent replaces the stored one.",
}
_AMOUNTS: Final[Mapping[str, str]] = {
    "RateCode": f"Code of the rate. {ANY_TEXT}",
    "Description": "The line in words.",
    "Units": "Hours, days or pieces; less than -100,000 or more than 100,000 gets a Warning.",
    "PayRate": f"What the worker gets for a unit. {_MONEY}",
    "PayAmount": "What the worker gets for the line; not Units times PayRate gets a Warning. "
    f"{_MONEY}",
    "BillRate": f"What the client pays for a unit. {_MONEY}",
    "BillAmount": "What the client pays for the line; not Units times BillRate gets a Warning. "
    f"{_MONEY}",
    "IsWTDAccrued": "Whether holiday accrues under the UK's working time rules.",
    "VATCode": f"Code of the VAT. {ANY_TEXT}",
    "IsAWRable": "Whether the line counts under the UK's Agency Workers Regulations.",
    "IsPensionable": "Whether the line counts for the pension.",
    "VATCodeSource": f"Where the VAT code comes from; {_INHERITED}. Another text gets a Warning "
    "and is kept.",
}
_LINE: Final = {
    **_AMOUNTS,
    "RateFrequency": f"For which unit of time the rate is, such as Hourly or Daily. {ANY_TEXT}",
}
_AD_HOC: Final = {
    **_AMOUNTS,
    "InvoiceVATCodeSource": f"Where the VAT code of the invoice comes from; {_INHERITED}.",
    "InvoiceVATCode": f"Code of the VAT on the invoice. {ANY_TEXT}",
    "IsPayment": "Whether the amount is paid to the worker.",
    "IsTaxable": "Whether the amount is taxed.",
    "IsNIable": "Whether National Insurance is due on the amount.",
    "ReceiptOption": f"Whether a receipt is needed. {ANY_TEXT}",
}

# Columns for searching.
COLUMNS: Final = ("EmployerRef", "TimesheetNumber", "PersonnelRef", "AssignmentRef", "ClientRef")
# Fields whose values must be in the tenant's reference lists.
LISTED_FIELDS: Final = (
    "ClientRef",
    "DivisionRef",
    "DepartmentRef",
    "JobCategoryRef",
    "ConsultantRef",
    "ReportToClientRef",
    "InvoiceToClientRef",
)
# The fields of a line whose product is the third one.
PRODUCTS: Final = (("Units", "PayRate", "PayAmount"), ("Units", "BillRate", "BillAmount"))
# A product is rounded to the currency's smallest unit.
_ROUNDING: Final = Decimal("0.01")


def find_implausible(sent: Document, _merged: Document) -> Iterator[Message]:
    """A Warning for each implausible value of the lines that the row sends.

    The vendor's own sample has amounts that are not the product of units and rate.
    """
    for name in ("Lines", "AdHocLines"):
        for index, line in enumerate(sent.get(name) or ()):
            yield from _check_line(line, f"{name}[{index}].")


def _check_line(line: Mapping[str, Any], path: str) -> Iterator[Message]:
    for factor, rate, product in PRODUCTS:
        if factor in line and rate in line and product in line:
            expected = Decimal(line[factor]) * Decimal(line[rate])
            if abs(expected - Decimal(line[product])) > _ROUNDING:
                detail = f"it is not {factor} times {rate}; check the line"
                yield Message(
                    MessageId.VALUES_DISAGREE, path + product, as_sent(line[product]), detail
                )
    source = line.get("VATCodeSource")
    if source is not None and source not in get_args(VATSource):
        detail = f"{', '.join(get_args(VATSource))} are expected"
        yield Message(MessageId.IMPLAUSIBLE_VALUE, f"{path}VATCodeSource", as_sent(source), detail)


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that must be in the tenant's reference lists."""
    return tuple(listed_values(document, LISTED_FIELDS))


def _rules(model: type[Record], title: str, ad_hoc: str) -> RecordRules:
    return merging_rules(
        model=model,
        title=title,
        key_fields=("EmployerRef", "TimesheetNumber"),
        record_id_fields=("TimesheetNumber",),
        exists=TIMESHEET_EXISTS,
        review=find_implausible,
        meanings={model.__name__: _HEADER, "TimesheetLine": _LINE, ad_hoc: _AD_HOC},
        columns=COLUMNS,
        listed=listed,
    )


RULES = _rules(Timesheet, "Timesheets v1", "AdHocLine")
RULES_V2 = _rules(TimesheetV2, "Timesheets v2", "AdHocLineV2")
