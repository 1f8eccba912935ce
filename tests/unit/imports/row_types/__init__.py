"""The fields of each import type of rows by the contract: the tables for `test_row_types.py`.

A type joins by a module of this package with its `ROW_TYPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from shared.imports.assignments.model import (
    Assignment,
    CustomerFields,
    OnlineSettings,
    Rate,
)
from shared.imports.assignments.rules import RULES as ASSIGNMENT_RULES
from shared.imports.import_type import ImportType, RecordRules
from shared.imports.model import Record
from shared.imports.pay_and_bill.parts import ConsultantSplit
from shared.imports.registry import import_type
from shared.imports.workers.model import Address, BankDetails, UKPayroll, Worker
from shared.imports.workers.rules import RULES as WORKER_RULES
from tests.unit.imports.builders import a_worker, an_assignment


@dataclass(frozen=True)
class ModelFields:
    """The fields of one model: their names by the kind of JSON value that each takes."""

    model: type[Record]
    kinds: Mapping[str, Sequence[str]]
    places: Sequence[str] = ("",)
    """Where the model is in a row; `[0]` marks an element of a list."""
    not_null: frozenset[str] = frozenset()
    choices: Sequence[str] = ()
    """The fields that take a few texts only."""

    @property
    def names(self) -> set[str]:
        return {*self.choices, *(name for names in self.kinds.values() for name in names)}

    @property
    def paths(self) -> list[tuple[str, str]]:
        """The kind and the path of every field in a row, and of the elements themselves."""
        elements = [("object", place) for place in self.places if place.endswith("[0]")]
        return elements + [
            (kind, f"{place}.{name}".lstrip("."))
            for place in self.places
            for kind, names in self.kinds.items()
            for name in names
        ]


@dataclass(frozen=True)
class RowType:
    """An import type whose rows are one record each, as its tests need it."""

    name: str
    rules: RecordRules
    make_row: Callable[..., dict[str, Any]]
    """The smallest row; keyword arguments replace or add fields."""
    models: Sequence[ModelFields]
    key: tuple[str, str]
    """The field that names the record beside its employer, and its value in the smallest row."""
    exists_message: int
    """The id of the message for a record that exists where the integration refuses that."""
    elements: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The smallest element of each list."""
    references: Sequence[str] = ()
    """The records that the smallest row refers to."""
    sample: Sequence[tuple[str, Sequence[int]]] = ()
    """The outcome of each row of the type's sample, and the ids of its messages."""
    version: int = 1

    @property
    def id(self) -> str:
        return f"{self.name}.v{self.version}"

    @property
    def definition(self) -> ImportType:
        return import_type(self.name, self.version)

    @property
    def model(self) -> type[Record]:
        return self.models[0].model

    def row_with(self, path: str, value: Any) -> dict[str, Any]:
        """The smallest row with this value at a path such as `Rates[0].PayRate`."""
        outer, _, inner = path.partition(".")
        if outer.endswith("[0]"):
            name = outer.removesuffix("[0]")
            return self.make_row(
                **{name: [{**self.elements[name], inner: value} if inner else value]}
            )
        return self.make_row(**{outer: {inner: value} if inner else value})

    def messages_of(self, row: dict[str, Any]) -> list[tuple[int, str | None]]:
        """The id and the field of each message for a row that is read."""
        return [(message.id, message.field) for message in self.rules.read(0, row).messages]


def names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADDRESSES = ("WorkerAddress", "NextOfKinAddress", "LastAddress")
BANK_DETAILS = ("PrimaryBankDetails", "SecondaryBankDetails")
NOT_NULL_IN_ASSIGNMENTS = names(
    "EmployerRef AssignmentRef ClientRef PersonnelRef DivisionRef DepartmentRef StartDate"
)

WORKER_MODELS = (
    ModelFields(
        Worker,
        {
            "text": names(
                "EmployerRef PersonnelRef ExternalWorkerRef DateOfBirth StartDate LeavingDate "
                "Surname FirstForename SecondForename ThirdForename Title KnownAs PreviousSurname "
                "UserIndex TelephoneNumber MaritalStatus Nationality Citizenship PassportHeld "
                "PassportNumber NextOfKin NextOfKinRelation NextOfKinTelephone EmergencyContact "
                "EmergencyContactTelephone WorkTelephone WorkFax MobileTelephone "
                "PrimaryEmailAddress SecondaryEmailAddress LeavingCode DivisionRef DepartmentRef "
                "JobCategoryRef EmploymentType CurrencyRef ConsultantRef AnalysisCode "
                "AnalysisCode3 AnalysisCode4 AnalysisCode5 PersonnelNotes PayrollNotes "
                "EIREngagementStatus PrimaryPayMethod SecondaryPayMethod PayslipPrintMethod "
                "eP45PrintMethod STITemplate STIUserRef"
            ),
            "whole": names("Gender"),
            "flag": names(
                "IsStudent IsWorkerAlertedBySMS IsWorkerAlertedByEmail IsExpat IsApprentice "
                "IsExcludedFromWTR HasOnlineAccess"
            ),
            "object": (*ADDRESSES, *BANK_DETAILS, "UKPayrollDetails"),
        },
        not_null=frozenset({"EmployerRef", "PersonnelRef", "Surname"}),
    ),
    ModelFields(
        Address,
        {
            "text": names(
                "AddressLine1 AddressLine2 AddressLine3 AddressLine4 AddressLine5 Postcode Country"
            )
        },
        ADDRESSES,
    ),
    ModelFields(
        BankDetails,
        {
            "text": names(
                "BankRef BuildingSocietyName BuildingSocietyNumber BankAccountName IBAN BIC "
                "BankSortCode BankAccountNumber"
            ),
            "whole": names("BankAccountType"),
        },
        BANK_DETAILS,
    ),
    ModelFields(
        UKPayroll,
        {
            "text": names(
                "NINumber NITableLetter PAYECode TaxRegime StartingDecCategory "
                "StudentLoanPlanType PostgradLoanPlanType"
            ),
            "whole": names("PAYEMethod"),
            "flag": names(
                "IsContractedOut IsExcludedFromRegPension HasStudentLoan StartingDecByEmployee "
                "OptIn IsStudentFinishedStudies IsStudentLoanPaidExternally HasPostgradLoan "
                "IsPostgradFinishedStudies IsPostgradLoanPaidExternally"
            ),
        },
        ("UKPayrollDetails",),
    ),
)

ASSIGNMENT_MODELS = (
    ModelFields(
        Assignment,
        {
            "text": names(
                "EmployerRef AssignmentRef PersonnelRef StartDate ExpectedEndDate ActualEndDate "
                "ClientRef DivisionRef DepartmentRef JobTitle WorkLocation PurchaseOrderNumber "
                "BookedBy BookedById RateFrequency JobCategoryRef CostCentre ReportToClientRef "
                "InvoiceToClientRef ReportsToId ContactName Notes SalesTaxArea ComparatorTitle "
                "ComparatorRef EndReason AssignmentType TimesheetFrequency "
                "ContractRefPrimaryContract ExternalNotes SupplierContact SecondaryContract"
            ),
            "whole": names("InvoiceAddressNumber DeliveryAddressNumber"),
            "number": names(
                "HolOverrideWeeks HolOverrideHourPerc PrevAWRWeeks AWRQualificationWeeks"
            ),
            "flag": names(
                "IsIncludedOnMarginReport IsCancelled IsManualInterpretation IsEIRDirectClient "
                "IsOPWIPSApplicable"
            ),
            "object": names("OnlineOptions CustomerDefinedFields"),
            "list": names("ConsultantSplits Rates"),
        },
        not_null=frozenset(NOT_NULL_IN_ASSIGNMENTS),
    ),
    ModelFields(
        OnlineSettings,
        {
            "text": names(
                "WorkflowDescription GroupCode ConsultantSTiUserLogon TimesheetAuthoriserUserRef "
                "EscalationTypeOverride"
            ),
            "whole": names("STiTimesheetType"),
            "flag": names("IsOnlineExpenseAllowed"),
        },
        ("OnlineOptions",),
    ),
    ModelFields(
        CustomerFields,
        {
            "text": [f"CustomerDefinedField{number}" for number in (1, 2, 5, 6, 7, 8)],
            "number": names("CustomerDefinedField3 CustomerDefinedField4"),
        },
        ("CustomerDefinedFields",),
    ),
    ModelFields(
        ConsultantSplit,
        {"text": names("ConsultantRef"), "number": names("Split")},
        ("ConsultantSplits[0]",),
        frozenset({"ConsultantRef", "Split"}),
    ),
    ModelFields(
        Rate,
        {
            "text": names(
                "RateType RateCode BillingTaxCode RateDescription RateFrequency BillingGroup "
                "ReceiptOption PayrollTaxCode RateEffectiveDate RateExpiryDate"
            ),
            "whole": names("SequenceNumber"),
            "number": names("PayRate BillRate PayAmount BillAmount"),
            "flag": names("IsDefaultRate IsAWRable IsPensionable"),
        },
        ("Rates[0]",),
        frozenset({"RateCode"}),
    ),
)

WORKERS = RowType(
    "workers",
    WORKER_RULES,
    a_worker,
    WORKER_MODELS,
    ("PersonnelRef", "P1"),
    exists_message=10000,
    sample=[
        ("new", []),
        ("new", []),
        ("new", [2002, 2003]),
        ("failed", [1001, 1002, 1004, 1006]),
        ("new", [1007]),
        ("new", []),
    ],
)
ASSIGNMENTS = RowType(
    "assignments",
    ASSIGNMENT_RULES,
    an_assignment,
    ASSIGNMENT_MODELS,
    ("AssignmentRef", "A1"),
    exists_message=10001,
    elements={
        "ConsultantSplits": {"ConsultantRef": "JMB", "Split": 100},
        "Rates": {"RateCode": "STD"},
    },
    references=("P1",),
    sample=[
        ("new", []),
        ("new", []),
        ("new", [2002, 2003]),
        ("failed", [1001, 1002, 1004, 1006, 1008]),
        ("new", [1007]),
        ("new", []),
        ("new", []),
    ],
)
ROW_TYPES: tuple[RowType, ...] = (
    WORKERS,
    ASSIGNMENTS,
    *(
        kind
        for module in sorted(each.name for each in iter_modules(__path__))
        for kind in import_module(f"{__name__}.{module}").ROW_TYPES
    ),
)
