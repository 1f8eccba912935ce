"""Placements v1, every field (docs/contracts.md#12; the vendor's "Placements v1" page).

The vendor publishes the limits of its first seven fields and of the consultants' shares; the other
fields are known by a sample, so they are optional and take any value of their type.
"""

from __future__ import annotations

from typing import Annotated

from shared.imports.model import (
    Amount,
    CalendarDate,
    LongText,
    Record,
    Reference,
    Text,
    UsualNumbers,
    WholeNumber,
    items,
)
from shared.imports.pay_and_bill.parts import MAX_SPLITS, ConsultantSplit

YearlyAmount = Annotated[Amount, UsualNumbers(0, 10_000_000)]


class Placement(Record):
    """One row of a placements import, and the stored placement."""

    EmployerRef: Reference
    TaxYear: Annotated[WholeNumber | None, UsualNumbers(1900, 2199)] = None
    TaxPeriod: Annotated[WholeNumber | None, UsualNumbers(1, 56)] = None
    TaxSession: WholeNumber | None = None
    PlacementRef: Reference
    DivisionRef: Text | None = None
    DepartmentRef: Text | None = None
    ClientRef: Text | None = None
    PersonnelRef: Reference | None = None
    ApplicantName: Text | None = None
    StartDate: CalendarDate | None = None
    JobTitle: Text | None = None
    Salary: YearlyAmount | None = None
    PlacementValue: YearlyAmount | None = None
    CommissionPercentage: Annotated[Amount | None, UsualNumbers(0, 100)] = None
    DebitOrCreditIndicator: Text | None = None
    PurchaseOrderNumber: Text | None = None
    InvoiceDate: CalendarDate | None = None
    ContractEndDate: CalendarDate | None = None
    AdhocDescription: Text | None = None
    AdhocValue: YearlyAmount | None = None
    PlacementCategory: Text | None = None
    SettlementDays: Annotated[WholeNumber | None, UsualNumbers(0, 366)] = None
    ReportToClientRef: Text | None = None
    InvoiceToClientRef: Text | None = None
    Comments: LongText | None = None
    InvoiceAddressNo: WholeNumber | None = None
    ConsultantSplits: (
        Annotated[list[ConsultantSplit], items(MAX_SPLITS, unique="ConsultantRef")] | None
    ) = None
