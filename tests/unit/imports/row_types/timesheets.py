"""The fields of timesheets by the contract, in both versions."""

from __future__ import annotations

from typing import Any

from shared.imports.timesheets.model import (
    AdHocLine,
    AdHocLineV2,
    Timesheet,
    TimesheetLine,
    TimesheetV2,
)
from shared.imports.timesheets.rules import RULES, RULES_V2
from tests.unit.imports.row_types import ModelFields, RowType, names


def a_timesheet(**fields: Any) -> dict[str, Any]:
    """The smallest timesheet there is; `fields` replace or add."""
    return {
        "EmployerRef": "ER1",
        "TimesheetNumber": "000005355",
        "PersonnelRef": "P1",
        "ClientRef": "C1",
        "TimesheetDate": "2024-03-10T00:00:00",
        "Lines": [{"RateCode": "STD"}],
    } | fields


HEADER = {
    "text": names(
        "TimesheetNumber EmployerRef PersonnelRef ClientRef AssignmentRef DivisionRef "
        "DepartmentRef JobLocation TimesheetDate PurchaseOrderNumber InvoiceRef WorkLocation "
        "JobDescription BookedBy JobCategoryRef CreditCode ConsultantRef CostCentre "
        "ReportToClientRef InvoiceToClientRef SalesTaxArea"
    ),
    "whole": names("TaxYear TaxPeriod InvoiceAddressNumber DeliveryAddressNumber"),
    "number": names("HolidayOverrideWeeks HolidayOverrideHourPerc NoOfDaysWorked"),
    "flag": names("IsAdjustment IsIgnoredByPayroll IsReverseChargeVAT"),
    "list": names("Lines AdHocLines"),
}
IN_EVERY_ROW = frozenset(names("TimesheetNumber EmployerRef PersonnelRef TimesheetDate"))
LINE = ModelFields(
    TimesheetLine,
    {
        "text": names("RateFrequency RateCode Description VATCode VATCodeSource"),
        "number": names("Units PayRate PayAmount BillRate BillAmount"),
        "flag": names("IsWTDAccrued IsAWRable IsPensionable"),
    },
    ("Lines[0]",),
    frozenset({"RateCode"}),
)
AD_HOC = {
    "text": names("InvoiceVATCode ReceiptOption RateCode Description VATCode VATCodeSource"),
    "number": names("Units PayRate PayAmount BillRate BillAmount"),
    "flag": names("IsPayment IsTaxable IsNIable IsWTDAccrued IsAWRable IsPensionable"),
}
V1 = (
    ModelFields(Timesheet, HEADER, not_null=IN_EVERY_ROW),
    LINE,
    ModelFields(
        AdHocLine,
        AD_HOC,
        ("AdHocLines[0]",),
        frozenset(names("RateCode Units PayRate BillRate")),
        choices=("InvoiceVATCodeSource",),
    ),
)
V2 = (
    ModelFields(TimesheetV2, HEADER, not_null=IN_EVERY_ROW),
    LINE,
    ModelFields(
        AdHocLineV2,
        AD_HOC,
        ("AdHocLines[0]",),
        frozenset({"RateCode"}),
        choices=("InvoiceVATCodeSource",),
    ),
)
ROW_TYPES = tuple(
    RowType(
        "timesheets",
        rules,
        a_timesheet,
        models,
        ("TimesheetNumber", "000005355"),
        exists_message=10002,
        elements={"Lines": {"RateCode": "STD"}, "AdHocLines": {"RateCode": "MEAL"}},
        references=("P1",),
        sample=[
            ("new", []),
            ("new", [2002]),
            ("failed", faults),
            ("new", []),
            ("new", []),
        ],
        version=version,
    )
    for version, rules, models, faults in (
        (1, RULES, V1, [1001, 1002, 1005, 1006]),
        (2, RULES_V2, V2, [1002, 1005, 1006]),
    )
)
