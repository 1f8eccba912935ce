"""Workers v1, every field (docs/contracts.md#1; the vendor's "Workers v1" page).

Names are the contract's, also unusual ones (`eP45PrintMethod`, `STITemplate`). EmployerRef and
PersonnelRef are required in every row. Surname may be missing in a row that changes a worker, but
not in the stored worker. All other fields are optional, and null or blank clears them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from shared.imports.model import (
    AccountNumber,
    BirthDate,
    CalendarDate,
    Flag,
    LongText,
    Mark,
    MergeKind,
    Record,
    Reference,
    SortCode,
    Text,
    WholeNumber,
)

AccountName = Annotated[Text, StringConstraints(max_length=30)]


class Address(Record):
    """A postal address; it is replaced as a whole."""

    merge_kind = MergeKind.WHOLE

    AddressLine1: Text | None = None
    AddressLine2: Text | None = None
    AddressLine3: Text | None = None
    AddressLine4: Text | None = None
    AddressLine5: Text | None = None
    Postcode: Text | None = None
    Country: Text | None = None


class BankDetails(Record):
    """A bank account; it is replaced as a whole, and all of it is secret."""

    merge_kind = MergeKind.WHOLE
    is_sensitive = True

    BankAccountType: WholeNumber | None = None
    BankRef: Text | None = None
    BuildingSocietyName: Text | None = None
    BuildingSocietyNumber: Text | None = None
    BankSortCode: SortCode | None = None
    BankAccountNumber: AccountNumber | None = None
    BankAccountName: AccountName | None = None
    IBAN: Text | None = None
    BIC: Text | None = None


class UKPayroll(Record):
    """The data for UK payroll; its properties merge separately."""

    merge_kind = MergeKind.PER_PROPERTY

    NINumber: Annotated[Text | None, Mark.SENSITIVE] = None
    NITableLetter: Text | None = None
    IsContractedOut: Flag | None = None
    PAYECode: Text | None = None
    PAYEMethod: WholeNumber | None = None
    TaxRegime: Text | None = None
    IsExcludedFromRegPension: Flag | None = None
    StartingDecCategory: Text | None = None
    HasStudentLoan: Flag | None = None
    StartingDecByEmployee: Flag | None = None
    OptIn: Flag | None = None
    StudentLoanPlanType: Text | None = None
    IsStudentFinishedStudies: Flag | None = None
    IsStudentLoanPaidExternally: Flag | None = None
    HasPostgradLoan: Flag | None = None
    PostgradLoanPlanType: Text | None = None
    IsPostgradFinishedStudies: Flag | None = None
    IsPostgradLoanPaidExternally: Flag | None = None


class Worker(Record):
    """One row of a workers import, and the stored worker."""

    EmployerRef: Reference
    PersonnelRef: Reference
    Surname: Annotated[Text, Mark.IN_RECORD] = ""
    FirstForename: Text | None = None
    SecondForename: Text | None = None
    ThirdForename: Text | None = None
    Title: Text | None = None
    KnownAs: Text | None = None
    PreviousSurname: Text | None = None
    ExternalWorkerRef: Reference | None = None
    UserIndex: Text | None = None
    WorkerAddress: Address | None = None
    TelephoneNumber: Text | None = None
    Gender: WholeNumber | None = None
    DateOfBirth: BirthDate | None = None
    MaritalStatus: Text | None = None
    Nationality: Text | None = None
    Citizenship: Text | None = None
    PassportHeld: Text | None = None
    PassportNumber: Annotated[Text | None, Mark.SENSITIVE] = None
    NextOfKin: Text | None = None
    NextOfKinRelation: Text | None = None
    NextOfKinAddress: Address | None = None
    NextOfKinTelephone: Text | None = None
    EmergencyContact: Text | None = None
    EmergencyContactTelephone: Text | None = None
    LastAddress: Address | None = None
    WorkTelephone: Text | None = None
    WorkFax: Text | None = None
    MobileTelephone: Text | None = None
    PrimaryEmailAddress: Text | None = None
    SecondaryEmailAddress: Text | None = None
    StartDate: CalendarDate | None = None
    LeavingDate: CalendarDate | None = None
    LeavingCode: Text | None = None
    DivisionRef: Text | None = None
    DepartmentRef: Text | None = None
    JobCategoryRef: Text | None = None
    EmploymentType: Text | None = None
    CurrencyRef: Text | None = None
    ConsultantRef: Text | None = None
    AnalysisCode: Text | None = None
    AnalysisCode3: Text | None = None
    AnalysisCode4: Text | None = None
    AnalysisCode5: Text | None = None
    PersonnelNotes: LongText | None = None
    PayrollNotes: LongText | None = None
    EIREngagementStatus: Text | None = None
    PrimaryPayMethod: Text | None = None
    SecondaryPayMethod: Text | None = None
    PrimaryBankDetails: BankDetails | None = None
    SecondaryBankDetails: BankDetails | None = None
    PayslipPrintMethod: Text | None = None
    eP45PrintMethod: Text | None = None  # noqa: N815  (the contract's name)
    STITemplate: Text | None = None
    STIUserRef: Text | None = None
    IsStudent: Flag | None = None
    IsWorkerAlertedBySMS: Flag | None = None
    IsWorkerAlertedByEmail: Flag | None = None
    IsExpat: Flag | None = None
    IsApprentice: Flag | None = None
    IsExcludedFromWTR: Flag | None = None
    HasOnlineAccess: Flag | None = None
    UKPayrollDetails: UKPayroll | None = None
