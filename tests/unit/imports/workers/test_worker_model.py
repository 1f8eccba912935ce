"""Workers v1 has every field of the contract, and nothing else (docs/contracts.md#1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.imports.model import MergeKind, shape_of
from shared.imports.workers.model import Address, BankDetails, UKPayroll, Worker
from shared.imports.workers.rules import RULES
from tests.unit.imports.builders import a_worker


def names(text: str) -> list[str]:
    return text.split()


REQUIRED = ("EmployerRef", "PersonnelRef")
REFERENCES = ("EmployerRef", "PersonnelRef", "ExternalWorkerRef")
TEXTS = names(
    "Surname FirstForename SecondForename ThirdForename Title KnownAs PreviousSurname UserIndex "
    "TelephoneNumber MaritalStatus Nationality Citizenship PassportHeld PassportNumber NextOfKin "
    "NextOfKinRelation NextOfKinTelephone EmergencyContact EmergencyContactTelephone "
    "WorkTelephone WorkFax MobileTelephone PrimaryEmailAddress SecondaryEmailAddress LeavingCode "
    "DivisionRef DepartmentRef JobCategoryRef EmploymentType CurrencyRef ConsultantRef "
    "AnalysisCode AnalysisCode3 AnalysisCode4 AnalysisCode5 PersonnelNotes PayrollNotes "
    "EIREngagementStatus PrimaryPayMethod SecondaryPayMethod PayslipPrintMethod eP45PrintMethod "
    "STITemplate STIUserRef"
)
DATES = ("DateOfBirth", "StartDate", "LeavingDate")
NUMBERS = ("Gender",)
FLAGS = names(
    "IsStudent IsWorkerAlertedBySMS IsWorkerAlertedByEmail IsExpat IsApprentice "
    "IsExcludedFromWTR HasOnlineAccess"
)
ADDRESSES = ("WorkerAddress", "NextOfKinAddress", "LastAddress")
ADDRESS_TEXTS = names(
    "AddressLine1 AddressLine2 AddressLine3 AddressLine4 AddressLine5 Postcode Country"
)
BANK_DETAILS = ("PrimaryBankDetails", "SecondaryBankDetails")
BANK_TEXTS = names("BankRef BuildingSocietyName BuildingSocietyNumber BankAccountName IBAN BIC")
BANK_PATTERNS = ("BankSortCode", "BankAccountNumber")
BANK_NUMBERS = ("BankAccountType",)
PAYROLL_TEXTS = names(
    "NINumber NITableLetter PAYECode TaxRegime StartingDecCategory StudentLoanPlanType "
    "PostgradLoanPlanType"
)
PAYROLL_NUMBERS = ("PAYEMethod",)
PAYROLL_FLAGS = names(
    "IsContractedOut IsExcludedFromRegPension HasStudentLoan StartingDecByEmployee OptIn "
    "IsStudentFinishedStudies IsStudentLoanPaidExternally HasPostgradLoan "
    "IsPostgradFinishedStudies IsPostgradLoanPaidExternally"
)


def test_the_fields_are_the_contracts() -> None:
    simple = {*REFERENCES, *TEXTS, *DATES, *NUMBERS, *FLAGS}
    nested = {*ADDRESSES, *BANK_DETAILS, "UKPayrollDetails"}
    assert set(Worker.model_fields) == simple | nested
    assert set(Address.model_fields) == set(ADDRESS_TEXTS)
    assert set(BankDetails.model_fields) == {*BANK_TEXTS, *BANK_PATTERNS, *BANK_NUMBERS}
    assert set(UKPayroll.model_fields) == {*PAYROLL_TEXTS, *PAYROLL_NUMBERS, *PAYROLL_FLAGS}


def test_addresses_and_bank_details_are_one_value_and_payroll_details_merge() -> None:
    kinds = {name: nested.merge_kind for name, nested in shape_of(Worker).nested.items()}
    assert kinds == {
        **dict.fromkeys((*ADDRESSES, *BANK_DETAILS), MergeKind.WHOLE),
        "UKPayrollDetails": MergeKind.PER_PROPERTY,
    }


def test_everything_but_keys_and_surname_may_be_null() -> None:
    nullable = {name for name, field in shape_of(Worker).fields.items() if field.is_nullable}
    assert set(Worker.model_fields) - nullable == {*REQUIRED, "Surname"}
    for model in (Address, BankDetails, UKPayroll):
        assert all(field.is_nullable for field in shape_of(model).fields.values())


def placed(path: str, value: Any) -> dict[str, Any]:
    outer, _, inner = path.partition(".")
    return a_worker(**{outer: {inner: value} if inner else value})


def under(parents: tuple[str, ...], *names: str) -> list[str]:
    return [f"{parent}.{name}" for parent in parents for name in names]


PATHS = {
    "text": [
        *TEXTS,
        *REFERENCES,
        *DATES,
        *under(ADDRESSES, *ADDRESS_TEXTS),
        *under(BANK_DETAILS, *BANK_TEXTS, *BANK_PATTERNS),
        *under(("UKPayrollDetails",), *PAYROLL_TEXTS),
    ],
    "number": [
        *NUMBERS,
        *under(BANK_DETAILS, *BANK_NUMBERS),
        *under(("UKPayrollDetails",), *PAYROLL_NUMBERS),
    ],
    "flag": [*FLAGS, *under(("UKPayrollDetails",), *PAYROLL_FLAGS)],
    "object": [*ADDRESSES, *BANK_DETAILS, "UKPayrollDetails"],
}
STRANGERS: dict[str, tuple[Any, ...]] = {
    "text": (1, Decimal("1.0"), True, {}, []),
    "number": ("1", Decimal("1.0"), True, {}, []),
    "flag": ("true", 0, Decimal(1), {}, []),
    "object": ("x", 1, False, []),
}


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind in PATHS for path in PATHS[kind]])
def test_a_field_takes_its_own_type_only(kind: str, path: str) -> None:
    for value in STRANGERS[kind]:
        messages = RULES.read(0, placed(path, value)).messages
        assert [(item.id, item.field) for item in messages] == [(1002, path)], value


@pytest.mark.parametrize(
    ("path", "good", "bad", "fault"),
    [
        ("PrimaryBankDetails.BankSortCode", ["000000", "123456"], ["12345", "1234567"], 1004),
        ("SecondaryBankDetails.BankSortCode", [], ["12345\n", "123456\n", "12 456"], 1004),
        ("SecondaryBankDetails.BankSortCode", [], ["\u0661" * 6, "12-34-56", "\ud800"], 1004),
        ("PrimaryBankDetails.BankAccountNumber", ["1" * 8, "1" * 9, "1" * 10], ["1" * 7], 1004),
        ("SecondaryBankDetails.BankAccountNumber", [], ["1" * 11, "1" * 8 + "\n"], 1004),
        ("PrimaryBankDetails.BankAccountName", ["x" * 30, "\u00fc" * 30], ["x" * 31], 1003),
        ("ExternalWorkerRef", [" 007 ", "x" * 60], ["x" * 61], 1003),
        ("DateOfBirth", ["1899-12-31"], ["31.12.1999"], 1006),
        ("Gender", [2**31 - 1], [2**31], 1008),
    ],
)
def test_forms_and_limits(path: str, good: list[Any], bad: list[Any], fault: int) -> None:
    for value in good:
        assert RULES.read(0, placed(path, value)).messages == (), value
    for value in bad:
        messages = RULES.read(0, placed(path, value)).messages
        assert [(item.id, item.field) for item in messages] == [(fault, path)], value


@pytest.mark.parametrize(
    "path",
    [
        "PassportNumber",
        "UKPayrollDetails.NINumber",
        "UKPayrollDetails",
        *BANK_DETAILS,
        *under(BANK_DETAILS, *BANK_TEXTS, *BANK_PATTERNS),
    ],
)
def test_secret_and_identity_values_are_never_shown(path: str) -> None:
    value = Decimal("90210.5")
    assert "90210" not in repr(RULES.read(0, placed(path, value)).messages)
