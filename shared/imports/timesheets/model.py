"""Timesheets v1 and v2, every field (docs/contracts.md#12; the vendor's "Timesheets" pages).

The vendor shows the header and the lines by samples alone, so their texts, numbers and flags are
optional, apart from what a timesheet cannot do without. Of lines for single amounts (`AdHocLines`)
it publishes every field: in v1, Units, PayRate and BillRate may be missing but not null.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from shared.imports.model import (
    Amount,
    Flag,
    Moment,
    Record,
    Reference,
    Text,
    UsualNumbers,
    Weeks,
    WholeNumber,
    items,
)

MAX_LINES: Final = 500

# Adjustments take back what was paid, so an amount may be less than 0.
LineAmount = Annotated[Amount, UsualNumbers(-1_000_000, 1_000_000)]
UnitCount = Annotated[Amount, UsualNumbers(-100_000, 100_000)]
VATSource = Literal["SpecifiedVATRate", "DefaultVATRate", "DefaultNonVATRate"]


class TimesheetLine(Record):
    """Time that was worked, and what is paid and billed for it."""

    RateFrequency: Text | None = None
    RateCode: Text
    Description: Text | None = None
    Units: UnitCount | None = None
    PayRate: LineAmount | None = None
    PayAmount: LineAmount | None = None
    BillRate: LineAmount | None = None
    BillAmount: LineAmount | None = None
    IsWTDAccrued: Flag | None = None
    VATCode: Text | None = None
    IsAWRable: Flag | None = None
    IsPensionable: Flag | None = None
    VATCodeSource: Text | None = None


class AdHocLineV2(Record):
    """A single amount, such as an expense."""

    InvoiceVATCodeSource: VATSource | None = None
    InvoiceVATCode: Text | None = None
    IsPayment: Flag | None = None
    IsTaxable: Flag | None = None
    IsNIable: Flag | None = None
    ReceiptOption: Text | None = None
    RateCode: Text
    Description: Text | None = None
    Units: UnitCount | None = None
    PayRate: LineAmount | None = None
    PayAmount: LineAmount | None = None
    BillRate: LineAmount | None = None
    BillAmount: LineAmount | None = None
    IsWTDAccrued: Flag | None = None
    VATCode: Text | None = None
    IsAWRable: Flag | None = None
    IsPensionable: Flag | None = None
    VATCodeSource: Text | None = None


class AdHocLine(AdHocLineV2):
    """The same in v1."""

    Units: UnitCount = ""
    PayRate: LineAmount = ""
    BillRate: LineAmount = ""


class TimesheetHeader(Record):
    """The fields that both versions share."""

    needs_one_of = (("AssignmentRef", "ClientRef"), ("Lines", "AdHocLines"))

    TimesheetNumber: Reference
    EmployerRef: Reference
    PersonnelRef: Reference
    ClientRef: Text | None = None
    AssignmentRef: Reference | None = None
    DivisionRef: Text | None = None
    DepartmentRef: Text | None = None
    JobLocation: Text | None = None
    TaxYear: Annotated[WholeNumber | None, UsualNumbers(1900, 2199)] = None
    TaxPeriod: Annotated[WholeNumber | None, UsualNumbers(1, 56)] = None
    TimesheetDate: Moment
    PurchaseOrderNumber: Text | None = None
    InvoiceRef: Text | None = None
    WorkLocation: Text | None = None
    JobDescription: Text | None = None
    BookedBy: Text | None = None
    JobCategoryRef: Text | None = None
    IsAdjustment: Flag | None = None
    IsIgnoredByPayroll: Flag | None = None
    CreditCode: Text | None = None
    ConsultantRef: Text | None = None
    CostCentre: Text | None = None
    ReportToClientRef: Text | None = None
    InvoiceToClientRef: Text | None = None
    InvoiceAddressNumber: WholeNumber | None = None
    DeliveryAddressNumber: WholeNumber | None = None
    SalesTaxArea: Text | None = None
    HolidayOverrideWeeks: Weeks | None = None
    HolidayOverrideHourPerc: Annotated[Amount | None, UsualNumbers(0, 100)] = None
    NoOfDaysWorked: Annotated[Amount | None, UsualNumbers(0, 366)] = None
    IsReverseChargeVAT: Flag | None = None
    Lines: Annotated[list[TimesheetLine], items(MAX_LINES)] | None = None


class Timesheet(TimesheetHeader):
    """One row of a timesheets import in v1, and the stored timesheet."""

    AdHocLines: Annotated[list[AdHocLine], items(MAX_LINES)] | None = None


class TimesheetV2(TimesheetHeader):
    """One row in v2."""

    AdHocLines: Annotated[list[AdHocLineV2], items(MAX_LINES)] | None = None
