"""Workers: what their row changes, and which warnings it gets (docs/contracts.md#1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imports.import_type import Decision, Document
from shared.imports.messages import Severity
from shared.imports.model import MergeKind, shape_of
from shared.imports.registry import import_type
from shared.imports.results import Outcome
from shared.imports.workers.model import Worker
from shared.imports.workers.rules import RULES, is_iban, listed, lookups
from tests.unit.house.source_tree import ROOT
from tests.unit.imports.builders import a_worker, decide, read_rows, without
from tests.unit.imports.row_types import ADDRESSES, BANK_DETAILS, WORKER_MODELS, WORKERS

VENDOR_SAMPLE = ROOT / "tests" / "golden" / "payandbill-workers-v1.request.json"


def decide_worker(row: dict[str, Any], stored: Document | None = None) -> Decision:
    return decide(RULES, row, stored)


def warnings_of(**fields: Any) -> list[tuple[int, str | None]]:
    return [(message.id, message.field) for message in decide_worker(a_worker(**fields)).messages]


def test_the_vendors_sample_imports_with_warnings_at_most() -> None:
    (row,) = read_rows(VENDOR_SAMPLE)
    first = decide_worker(row)
    assert first.outcome is Outcome.NEW
    assert {message.severity for message in first.messages} == {Severity.WARNING}
    assert {(2002, "LeavingDate"), (2003, "WorkerAddress.Postcode")} <= {
        (message.id, message.field) for message in first.messages
    }
    assert first.document is not None
    assert first.document["StartDate"] == "2021-01-01"
    again = decide_worker(row, first.document)
    assert again.outcome is Outcome.UNCHANGED
    assert again.messages[-1].id == 1103


def test_the_smallest_worker_is_new_then_unchanged_then_updated() -> None:
    first = decide_worker(a_worker())
    assert (first.outcome, first.document) == (Outcome.NEW, a_worker())
    again = decide_worker(a_worker(FirstForename=None), first.document)
    assert (again.outcome, again.document) == (Outcome.UNCHANGED, None)
    assert [message.id for message in again.messages] == [1103]
    other = decide_worker(a_worker(IsExpat=False), first.document)
    assert (other.outcome, other.document) == (Outcome.UPDATED, a_worker(IsExpat=False))


def test_a_worker_needs_a_surname_but_a_row_does_not() -> None:
    row = without(a_worker(FirstForename="Ada"), "Surname")
    refused = decide_worker(row)
    assert refused.outcome is Outcome.FAILED
    assert [(message.id, message.field) for message in refused.messages] == [(1001, "Surname")]
    assert decide_worker(row, a_worker()).document == a_worker(FirstForename="Ada")
    for blank in (None, "", "  "):
        (message,) = RULES.read(0, a_worker(Surname=blank)).messages
        assert (message.id, message.field) == (1001, "Surname")


@pytest.mark.parametrize(
    ("stored", "sent", "warns"),
    [
        ({}, {"StartDate": "2021-01-02", "LeavingDate": "2021-01-01"}, True),
        ({}, {"StartDate": "2021-01-01", "LeavingDate": "2021-01-01T12:00:00"}, False),
        ({"StartDate": "2021-01-02"}, {"LeavingDate": "2021-01-01"}, True),
        ({"LeavingDate": "2021-01-01"}, {"StartDate": "2021-01-02"}, True),
        ({"LeavingDate": "2021-01-01"}, {"StartDate": "2021-01-02", "LeavingDate": None}, False),
        ({"StartDate": "2021-01-02", "LeavingDate": "2021-01-01"}, {"Title": "Dr"}, False),
    ],
)
def test_leaving_before_starting_is_a_warning(
    stored: dict[str, Any], sent: dict[str, Any], warns: bool
) -> None:
    decision = decide_worker(a_worker(**sent), a_worker(**stored))
    warnings = [(message.id, message.field) for message in decision.messages]
    assert warnings == ([(2002, "LeavingDate")] if warns else [])
    assert decision.outcome is Outcome.UPDATED


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"PrimaryEmailAddress": "nobody"}, "PrimaryEmailAddress"),
        ({"SecondaryEmailAddress": "a@b@c"}, "SecondaryEmailAddress"),
        ({"WorkerAddress": {"Postcode": "PC1"}}, "WorkerAddress.Postcode"),
        ({"LastAddress": {"Postcode": "1", "Country": "uk"}}, "LastAddress.Postcode"),
        ({"NextOfKinAddress": {"Country": "x" * 101}}, "NextOfKinAddress.Country"),
        ({"WorkerAddress": {"Country": "U?"}}, "WorkerAddress.Country"),
        ({"WorkerAddress": {"Country": "*"}}, "WorkerAddress.Country"),
        ({"PrimaryBankDetails": {"IBAN": "GB29NWBK60161331926818"}}, "PrimaryBankDetails.IBAN"),
        ({"SecondaryBankDetails": {"IBAN": "IBAN 2"}}, "SecondaryBankDetails.IBAN"),
        ({"PrimaryBankDetails": {"BIC": "BIC"}}, "PrimaryBankDetails.BIC"),
        ({"UKPayrollDetails": {"NINumber": "AB123456"}}, "UKPayrollDetails.NINumber"),
        ({"UKPayrollDetails": {"NINumber": "AB123456E"}}, "UKPayrollDetails.NINumber"),
        ({"UKPayrollDetails": {"NINumber": "GB123456A"}}, "UKPayrollDetails.NINumber"),
        ({"UKPayrollDetails": {"NINumber": "12345678"}}, "UKPayrollDetails.NINumber"),
    ],
)
def test_an_unusual_value_is_a_warning(fields: dict[str, Any], path: str) -> None:
    assert warnings_of(**fields) == [(2003, path)]


@pytest.mark.parametrize(
    "fields",
    [
        {"PrimaryEmailAddress": "o'neil+pay@sub.example.org"},
        {"WorkerAddress": {"Postcode": "sw1a 1aa", "Country": "U.K."}},
        {"WorkerAddress": {"Postcode": "M11AE"}},
        {"WorkerAddress": {"Postcode": "D02 X285", "Country": "Ireland"}},
        {"WorkerAddress": {"Country": "x" * 100}},
        {"PrimaryBankDetails": {"IBAN": "gb29 nwbk 6016 1331 9268 19", "BIC": "NWBKGB2LXXX"}},
        {"UKPayrollDetails": {"NINumber": "ab 12 34 56 c"}},
        {"UKPayrollDetails": {"NINumber": None}, "WorkerAddress": None},
    ],
)
def test_a_usual_value_has_no_warning(fields: dict[str, Any]) -> None:
    assert warnings_of(**fields) == []


def test_warnings_never_repeat_secrets() -> None:
    decision = decide_worker(
        a_worker(
            PrimaryBankDetails={"IBAN": "SECRET 90210", "BIC": "90210"},
            UKPayrollDetails={"NINumber": "90210"},
        )
    )
    assert len(decision.messages) == 3
    assert "90210" not in repr(decision.messages)


def test_columns_are_short_printable_text() -> None:
    document = a_worker(Surname="O\0" + "x" * 300, ExternalWorkerRef="E1", Title="Dr")
    values = RULES.columns(document)
    assert set(values) == {"EmployerRef", "PersonnelRef", "Surname", "ExternalWorkerRef"}
    assert values["Surname"] == "O " + "x" * 253


@pytest.mark.parametrize(
    ("external", "expected"), [(None, ()), ("P1", ()), ("p1", ("p1",)), ("E 1", ("E 1",))]
)
def test_an_external_reference_is_looked_up_if_it_differs(
    external: str | None, expected: tuple[str, ...]
) -> None:
    document = decide_worker(a_worker(ExternalWorkerRef=external)).document
    assert document is not None
    assert lookups(document) == expected


def test_a_worker_refers_to_no_record_and_to_what_may_be_listed() -> None:
    document = decide_worker(
        a_worker(
            DivisionRef=" D ",
            DepartmentRef="DP",
            JobCategoryRef="J",
            CurrencyRef="GBP",
            ConsultantRef="C",
        )
    ).document
    assert document is not None
    assert import_type("workers").references_of(document) == []
    assert [(item.field, item.kind, item.value) for item in listed(document)] == [
        ("DivisionRef", "division", "D"),
        ("DepartmentRef", "department", "DP"),
        ("JobCategoryRef", "job-category", "J"),
        ("CurrencyRef", "currency", "GBP"),
        ("ConsultantRef", "consultant", "C"),
    ]


@pytest.mark.parametrize(
    ("methods", "accounts"),
    [
        ({}, []),
        ({"PrimaryPayMethod": "Cheque", "SecondaryPayMethod": "Cash"}, []),
        ({"PrimaryPayMethod": "BACS"}, ["Primary"]),
        ({"SecondaryPayMethod": "bacs "}, ["Secondary"]),
        ({"PrimaryPayMethod": "BACS", "SecondaryPayMethod": "BACS"}, ["Primary", "Secondary"]),
    ],
)
def test_a_sort_code_is_checked_against_a_list_if_its_account_is_paid_by_bacs(
    methods: dict[str, Any], accounts: list[str]
) -> None:
    banks = {
        f"{which}BankDetails": {"BankSortCode": "601613"} for which in ("Primary", "Secondary")
    }
    document = decide_worker(a_worker(**methods, **banks)).document
    assert document is not None
    values = listed(document)
    assert [item.field for item in values] == [f"{a}BankDetails.BankSortCode" for a in accounts]
    assert all(item.is_sensitive and item.value == "601613" for item in values)
    assert listed(a_worker(**methods)) == ()


def test_addresses_and_bank_details_are_one_value_and_payroll_details_merge() -> None:
    kinds = {name: nested.merge_kind for name, nested in shape_of(Worker).nested.items()}
    assert kinds == {
        **dict.fromkeys((*ADDRESSES, *BANK_DETAILS), MergeKind.WHOLE),
        "UKPayrollDetails": MergeKind.PER_PROPERTY,
    }


@pytest.mark.parametrize(
    "path",
    [
        "PassportNumber",
        "UKPayrollDetails.NINumber",
        "UKPayrollDetails",
        *(
            path
            for fields in WORKER_MODELS
            for _, path in fields.paths
            if path.startswith(BANK_DETAILS)
        ),
    ],
)
def test_secret_and_identity_values_are_never_shown(path: str) -> None:
    value = Decimal("90210.5")
    assert "90210" not in repr(RULES.read(0, WORKERS.row_with(path, value)).messages)


@given(st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", fullmatch=True))
def test_the_check_digits_of_an_iban_make_the_remainder_one(iban: str) -> None:
    moved = iban[4:] + iban[:2] + "00"
    check = 98 - int("".join(str(int(character, 36)) for character in moved)) % 97
    for digits in range(98 + 1):
        candidate = f"{iban[:2]}{digits:02}{iban[4:]}"
        assert is_iban(candidate) is (digits % 97 == check % 97), candidate
