"""Assignments v1, every field (docs/contracts.md#1; the vendor's "Assignments v1" page).

The keys, the references and StartDate are required in every row and must not be null.
ExpectedEndDate and ActualEndDate are required too, but null where they are open. All other fields
are optional, and null or blank clears them.

A rate has the fields of both types, because a field of the other type is stored with a Warning.
The fields of a rate and of a split that have no default are required.
"""

from __future__ import annotations

from typing import Annotated, Final

from shared.imports.model import (
    Amount,
    CalendarDate,
    Flag,
    LongText,
    MergeKind,
    Money,
    Record,
    Reference,
    Text,
    UsualNumbers,
    Weeks,
    WholeNumber,
    items,
)
from shared.imports.pay_and_bill.parts import MAX_SPLITS, ConsultantSplit

MAX_RATES: Final = 1000


class OnlineSettings(Record):
    """The settings of the online portal; its properties merge separately."""

    merge_kind = MergeKind.PER_PROPERTY

    WorkflowDescription: Text | None = None
    GroupCode: Text | None = None
    ConsultantSTiUserLogon: Text | None = None
    TimesheetAuthoriserUserRef: Text | None = None
    STiTimesheetType: WholeNumber | None = None
    EscalationTypeOverride: Text | None = None
    IsOnlineExpenseAllowed: Flag | None = None


class CustomerFields(Record):
    """Fields whose meaning the customer defines; they merge separately."""

    merge_kind = MergeKind.PER_PROPERTY

    CustomerDefinedField1: Text | None = None
    CustomerDefinedField2: Text | None = None
    CustomerDefinedField3: Amount | None = None
    CustomerDefinedField4: Amount | None = None
    CustomerDefinedField5: Text | None = None
    CustomerDefinedField6: Text | None = None
    CustomerDefinedField7: Text | None = None
    CustomerDefinedField8: Text | None = None


class Rate(Record):
    """The pay and the bill for one kind of work or expense."""

    RateType: Text | None = None
    RateCode: Text
    SequenceNumber: WholeNumber | None = None
    BillingTaxCode: Text | None = None
    IsDefaultRate: Flag | None = None
    RateDescription: Text | None = None
    IsAWRable: Flag | None = None
    IsPensionable: Flag | None = None
    PayRate: Money | None = None
    BillRate: Money | None = None
    RateFrequency: Text | None = None
    BillingGroup: Text | None = None
    RateEffectiveDate: CalendarDate | None = None
    RateExpiryDate: CalendarDate | None = None
    ReceiptOption: Text | None = None
    PayAmount: Money | None = None
    BillAmount: Money | None = None
    PayrollTaxCode: Text | None = None


class Assignment(Record):
    """One row of an assignments import, and the stored assignment."""

    EmployerRef: Reference
    AssignmentRef: Reference
    ClientRef: Text
    PersonnelRef: Reference
    DivisionRef: Text
    DepartmentRef: Text
    JobTitle: Text | None = None
    WorkLocation: Text | None = None
    StartDate: CalendarDate
    ExpectedEndDate: CalendarDate | None
    ActualEndDate: CalendarDate | None
    PurchaseOrderNumber: Text | None = None
    BookedBy: Text | None = None
    BookedById: Text | None = None
    RateFrequency: Text | None = None
    InvoiceAddressNumber: WholeNumber | None = None
    DeliveryAddressNumber: WholeNumber | None = None
    IsIncludedOnMarginReport: Flag | None = None
    JobCategoryRef: Text | None = None
    CostCentre: Text | None = None
    ReportToClientRef: Text | None = None
    InvoiceToClientRef: Text | None = None
    ReportsToId: Text | None = None
    ContactName: Text | None = None
    Notes: LongText | None = None
    SalesTaxArea: Text | None = None
    ComparatorTitle: Text | None = None
    HolOverrideWeeks: Weeks | None = None
    HolOverrideHourPerc: Annotated[Amount | None, UsualNumbers(0, 100)] = None
    PrevAWRWeeks: Weeks | None = None
    AWRQualificationWeeks: Weeks | None = None
    ComparatorRef: Text | None = None
    IsCancelled: Flag | None = None
    EndReason: Text | None = None
    AssignmentType: Text | None = None
    TimesheetFrequency: Text | None = None
    ContractRefPrimaryContract: Text | None = None
    ExternalNotes: LongText | None = None
    IsManualInterpretation: Flag | None = None
    SupplierContact: Text | None = None
    SecondaryContract: Text | None = None
    IsEIRDirectClient: Flag | None = None
    IsOPWIPSApplicable: Flag | None = None
    OnlineOptions: OnlineSettings | None = None
    ConsultantSplits: Annotated[list[ConsultantSplit], items(MAX_SPLITS)] | None = None
    CustomerDefinedFields: CustomerFields | None = None
    Rates: Annotated[list[Rate], items(MAX_RATES)] | None = None
