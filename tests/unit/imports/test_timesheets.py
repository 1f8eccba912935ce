"""The rules of timesheets, in both versions (docs/contracts.md#12)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.imports.import_type import OnExisting, Options, Reference
from shared.imports.merge_rules import merge_rows
from shared.imports.results import Outcome
from shared.imports.timesheets.definition import TIMESHEETS, TIMESHEETS_V2
from shared.imports.timesheets.model import MAX_LINES
from tests.unit.house.source_tree import ROOT
from tests.unit.imports.builders import decide, read_rows, without
from tests.unit.imports.row_types.timesheets import a_timesheet

VENDOR_SAMPLE = ROOT / "tests" / "golden" / "payandbill-timesheets-v2.request.json"
V1, V2 = TIMESHEETS.record_rules, TIMESHEETS_V2.record_rules


def messages_of(row: dict[str, Any]) -> list[tuple[int, str | None]]:
    """The id and the field of each message of a row in version 2, read and decided."""
    read = V2.read(0, row)
    decision = V2.decide(read, None, Options())
    return [(message.id, message.field) for message in (*read.messages, *decision.messages)]


def test_the_versions_share_everything_but_their_rules() -> None:
    assert (TIMESHEETS.version, TIMESHEETS_V2.version) == (1, 2)
    assert TIMESHEETS.table == TIMESHEETS_V2.table == "Timesheets"
    for rules in (V1, V2):
        assert rules.key_fields == ("EmployerRef", "TimesheetNumber")
        assert rules.record_id_fields == ("TimesheetNumber",)


def test_the_vendors_sample_has_warnings_at_most() -> None:
    (row,) = read_rows(VENDOR_SAMPLE)
    for rules in (V1, V2):
        first = decide(rules, row)
        assert first.outcome is Outcome.NEW
        assert {(message.id, message.field) for message in first.messages} == {
            (2002, f"Lines[{line}].{name}Amount") for line in (0, 1) for name in ("Pay", "Bill")
        }
        assert first.document is not None
        assert set(first.document) == set(row) - {"AdHocLines"}
        assert first.document["TimesheetDate"] == row["TimesheetDate"]
        assert decide(rules, row, first.document).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("name", ["Units", "PayRate", "BillRate"])
@pytest.mark.parametrize("nothing", [None, " "])
def test_version_1_refuses_the_nulls_that_version_2_allows(name: str, nothing: str | None) -> None:
    row = a_timesheet(AdHocLines=[{"RateCode": "MEAL", name: nothing}])
    read = V1.read(0, row)
    assert [(each.id, each.field) for each in read.messages] == [(1001, f"AdHocLines[0].{name}")]
    decision = decide(V2, row)
    assert decision.messages == ()
    assert decision.document is not None
    assert decision.document["AdHocLines"] == [{"RateCode": "MEAL"}]
    assert decide(V1, a_timesheet(AdHocLines=[{"RateCode": "MEAL"}])).messages == ()
    assert decide(V1, a_timesheet(Lines=[{"RateCode": "STD", name: nothing}])).messages == ()


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        (without(a_timesheet(), "TimesheetNumber"), [(1001, "TimesheetNumber")]),
        (without(a_timesheet(), "PersonnelRef"), [(1001, "PersonnelRef")]),
        (without(a_timesheet(), "TimesheetDate"), [(1001, "TimesheetDate")]),
        (without(a_timesheet(), "ClientRef"), [(1001, "AssignmentRef")]),
        (without(a_timesheet(ClientRef=None, AssignmentRef=5)), [(1002, "AssignmentRef")]),
        (a_timesheet(ClientRef=None, AssignmentRef="A1"), []),
        (without(a_timesheet(), "Lines"), [(1001, "Lines")]),
        (a_timesheet(Lines=[], AdHocLines=[]), [(1001, "Lines")]),
        (a_timesheet(Lines=[], AdHocLines=[{"RateCode": "MEAL"}]), []),
        (a_timesheet(Lines=[{}]), [(1001, "Lines[0].RateCode")]),
        (a_timesheet(TimesheetNumber=5355), [(1002, "TimesheetNumber")]),
        (a_timesheet(TimesheetDate="2021-02-30"), [(1006, "TimesheetDate")]),
        (a_timesheet(Lines=[{"RateCode": "STD"}] * (MAX_LINES + 1)), [(1003, "Lines")]),
        (a_timesheet(TaxYear=1066), [(2003, "TaxYear")]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_a_timesheet_needs(
    row: dict[str, Any], messages: list[tuple[int, str | None]]
) -> None:
    assert messages_of(row) == messages


def test_a_source_in_another_case_is_refused_with_the_values_that_there_are() -> None:
    row = a_timesheet(AdHocLines=[{"RateCode": "M", "InvoiceVATCodeSource": "defaultVATRate"}])
    (message,) = V2.read(0, row).messages
    assert (message.id, message.field) == (1005, "AdHocLines[0].InvoiceVATCodeSource")
    for value in ("SpecifiedVATRate", "DefaultVATRate", "DefaultNonVATRate", "null"):
        assert value in message.text
    assert messages_of(a_timesheet(Lines=[{"RateCode": "M", "VATCodeSource": "Other"}])) == [
        (2003, "Lines[0].VATCodeSource")
    ]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"Units": 5, "PayRate": 5, "PayAmount": 25}, None),
        ({"Units": 3, "PayRate": Decimal("14.3333"), "PayAmount": 43}, None),
        ({"Units": 5, "PayRate": 5, "PayAmount": 10}, "PayAmount"),
        ({"Units": 5, "BillRate": 5, "BillAmount": Decimal("25.02")}, "BillAmount"),
        ({"Units": 5, "PayRate": 5}, None),
        ({"Units": 10**28, "PayRate": 10**28, "PayAmount": 0}, "PayAmount"),
    ],
)  # fmt: skip
def test_an_amount_that_is_not_the_product_is_warned_of(
    line: dict[str, Any], field: str | None
) -> None:
    decision = decide(V2, a_timesheet(Lines=[{"RateCode": "STD", **line}]))
    assert decision.outcome is Outcome.NEW
    disagreeing = [message.field for message in decision.messages if message.id == 2002]
    assert disagreeing == ([] if field is None else [f"Lines[0].{field}"])


def test_money_keeps_its_digits() -> None:
    line = {"RateCode": "STD", "PayAmount": Decimal("0.005"), "BillAmount": Decimal("-12.60")}
    document = decide(V2, a_timesheet(Lines=[line])).document
    assert document is not None
    assert document["Lines"] == [{"RateCode": "STD", "PayAmount": "0.005", "BillAmount": "-12.6"}]


def test_a_timesheet_refers_to_its_worker_and_its_assignment() -> None:
    document = decide(V2, a_timesheet(AssignmentRef=" A1 ")).document
    assert document is not None
    assert TIMESHEETS_V2.references_of(document) == [
        Reference("PersonnelRef", "Workers", "ER1", "P1"),
        Reference("AssignmentRef", "Assignments", "ER1", "A1"),
    ]
    assert TIMESHEETS.waits_for == ("workers", "assignments")


def test_a_timesheet_that_is_there_fails_unless_the_integration_says_update() -> None:
    said = [TIMESHEETS.options_of(Options(each)).on_existing for each in OnExisting]
    assert said == [OnExisting.ERROR, OnExisting.UPDATE, OnExisting.ERROR]
    rows = [V2.read(index, a_timesheet(JobLocation=str(index))) for index in (0, 1)]
    merged = merge_rows(V2, rows, None, TIMESHEETS.options_of(Options(OnExisting.DEFAULT)))
    assert [result.outcome for result in merged.results] == [Outcome.NEW, Outcome.FAILED]
    assert [[each.id for each in result.messages] for result in merged.results] == [[], [10002]]
    updating = merge_rows(V2, rows, None, Options(OnExisting.UPDATE))
    assert [[each.id for each in result.messages] for result in updating.results] == [[1102], []]
