"""Values that are taken and look wrong: Warning 2003 by the marks of the models."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.imports.assignments.model import MAX_RATES, Assignment
from shared.imports.assignments.rules import RULES as ASSIGNMENTS
from shared.imports.import_type import Options
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.model import License
from shared.imports.licenses.rules import read_license
from shared.imports.merge_rules import MAX_REVIEW_MESSAGES
from shared.imports.messages import Message
from shared.imports.model import Record, shape_of
from shared.imports.results import Outcome
from shared.imports.usual_values import unusual_values
from shared.imports.workers.model import Worker
from shared.imports.workers.rules import RULES as WORKERS
from tests.builders import a_worker
from tests.unit.imports.builders import an_assignment

TODAY = "2026-03-01"


def _worker(**values: Any) -> tuple[Message, ...]:
    row = WORKERS.read(0, a_worker(**values))
    decision = WORKERS.decide(row, None, Options(accepted_on=TODAY))
    assert decision.outcome is Outcome.NEW
    return decision.messages


def _assignment(**values: Any) -> tuple[Message, ...]:
    row = ASSIGNMENTS.read(0, an_assignment(**values))
    decision = ASSIGNMENTS.decide(row, None, Options(accepted_on=TODAY))
    assert decision.outcome is Outcome.NEW
    return decision.messages


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"DateOfBirth": "2026-03-02"}, "DateOfBirth", "it is in the future; check it"),
        ({"DateOfBirth": "2999-01-01"}, "DateOfBirth", "it is in the future"),
        ({"DateOfBirth": "1899-12-31"}, "DateOfBirth", "it is before 1900-01-01"),
        ({"DateOfBirth": "0001-01-01"}, "DateOfBirth", "it is before 1900-01-01"),
        ({"StartDate": "1026-01-01"}, "StartDate", "it is before 1900-01-01"),
        ({"LeavingDate": "9999-12-30"}, "LeavingDate", "it is after 2199-12-31"),
        ({"Surname": "x" * 50_000}, "Surname", "it has 50000 characters, at most 255 are usual"),
        ({"MaritalStatus": "x" * 256}, "MaritalStatus", "it has 256 characters"),
        ({"PersonnelNotes": "x" * 10_001}, "PersonnelNotes", "at most 10000 are usual"),
        (
            {"NextOfKinAddress": {"AddressLine1": "x" * 300}},
            "NextOfKinAddress.AddressLine1",
            "it has 300 characters",
        ),
    ],
)
def test_an_unusual_value_of_a_worker_is_warned_of(
    values: dict[str, Any], field: str, said: str
) -> None:
    [message] = _worker(**values)
    assert (message.id, message.field) == (2003, field)
    assert said in message.text
    assert message.value is not None


@pytest.mark.parametrize(
    "values",
    [
        {"DateOfBirth": TODAY},
        {"DateOfBirth": "1900-01-01"},
        {"DateOfBirth": None},
        {"StartDate": "2199-12-31"},
        {"LeavingDate": "9999-12-31"},
        {"Surname": "x" * 255},
        {"PersonnelNotes": "x" * 10_000},
        {"WorkerAddress": None},
    ],
)
def test_a_usual_value_of_a_worker_is_not(values: dict[str, Any]) -> None:
    assert _worker(**values) == ()


def test_the_day_of_the_import_decides_what_is_the_future() -> None:
    sent = {"DateOfBirth": "2026-03-02"}
    assert [*unusual_values(sent, shape_of(Worker), "2026-03-02")] == []
    assert [*unusual_values(sent, shape_of(Worker))] == []
    assert len([*unusual_values(sent, shape_of(Worker), "2026-03-01")]) == 1


def test_a_secret_value_is_not_repeated() -> None:
    [message] = _worker(PassportNumber="P" * 300)
    assert (message.id, message.field, message.value) == (2003, "PassportNumber", None)
    assert "PPP" not in message.text


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"HolOverrideWeeks": -1}, "HolOverrideWeeks"),
        ({"AWRQualificationWeeks": 5_000}, "AWRQualificationWeeks"),
        ({"HolOverrideHourPerc": Decimal("100.01")}, "HolOverrideHourPerc"),
        ({"Rates": [{"RateCode": "A", "PayRate": -1}]}, "Rates[0].PayRate"),
        ({"Rates": [{"RateCode": "A", "BillRate": 10**9}]}, "Rates[0].BillRate"),
        ({"Rates": [{"RateCode": "A", "RateEffectiveDate": "0024-01-01"}]}, "RateEffectiveDate"),
        ({"ExpectedEndDate": "9999-12-30"}, "ExpectedEndDate"),
        ({"JobTitle": "x" * 1_000}, "JobTitle"),
        ({"OnlineOptions": {"GroupCode": "x" * 1_000}}, "OnlineOptions.GroupCode"),
    ],
)
def test_an_unusual_value_of_an_assignment_is_warned_of(values: dict[str, Any], field: str) -> None:
    [message] = _assignment(**values)
    assert message.id == 2003
    assert (message.field or "").endswith(field)


@pytest.mark.parametrize(
    "values",
    [
        {"HolOverrideWeeks": 0},
        {"HolOverrideHourPerc": 100},
        {"Rates": [{"RateCode": "A", "PayRate": Decimal("12.07"), "BillRate": 1_000_000}]},
        {"CustomerDefinedFields": {"CustomerDefinedField3": -(10**12)}},
        {"Notes": "x" * 9_000},
    ],
)
def test_a_usual_value_of_an_assignment_is_not(values: dict[str, Any]) -> None:
    assert _assignment(**values) == ()


@pytest.mark.parametrize(
    ("values", "id_", "field"),
    [
        ({"expirationDate": "2200-01-01"}, 2003, "expirationDate"),
        ({"issuedDate": "0202-01-01"}, 2003, "issuedDate"),
        ({"issuedDate": "2026-01-02", "expirationDate": "2026-01-01"}, 2002, "expirationDate"),
        ({"notes": "x" * 20_000}, 2003, "notes"),
        ({"documents": [{"name": "a"}, {"name": "x" * 300}]}, 2003, "documents[1].name"),
    ],
)
def test_an_unusual_value_of_a_license_is_warned_of(
    values: dict[str, Any], id_: int, field: str
) -> None:
    row = {"companyCode": "C", "employeeNumber": "1", **values}
    [message] = read_license(0, row, LicenseAction.OVERRIDE).messages
    assert (message.id, message.field) == (id_, field)


@pytest.mark.parametrize("model", [Worker, Assignment, License])
def test_every_date_and_every_text_of_a_model_has_something_usual(model: type[Record]) -> None:
    shape = shape_of(model)
    plain = {
        name
        for name, field in shape.fields.items()
        if field.kind is str and field.nested is None and name not in shape.references
    }
    with_form = {"licenseKey", "serializableLicenseKey"}
    declared = {*shape.usual.lengths, *shape.usual.days, *shape.usual.numbers}
    assert plain - with_form <= declared


def test_a_list_of_unusual_values_has_a_bounded_number_of_messages() -> None:
    rates = [{"RateCode": "A", "PayRate": -1, "BillRate": -1}] * MAX_RATES
    assert len(_assignment(Rates=rates)) == MAX_REVIEW_MESSAGES
