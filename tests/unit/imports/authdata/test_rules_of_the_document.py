"""Each rule of the vendor's page and of docs/contracts.md#3, by its own words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.imports.authdata.rules import Thresholds, exceeded, percent_text
from tests.unit.imports.authdata.plain_batches import (
    CURRENT,
    OLD,
    a_hasher,
    applied,
    judge,
    judge_plain,
    read_all,
    stored_of,
)

MOST = 200


def a_record(employee_id: Any = "E1", *values: Any, status: Any = None) -> dict[str, Any]:
    names = ("authValue1", "authValue2", "authValue3")
    sent = dict(zip(names, values or ("one", "two", "three"), strict=False))
    return {"employeeId": employee_id, "employeeStatus": status, **sent}


def test_the_answer_has_the_shape_of_the_documents_sample() -> None:
    people = {"tft1636662465": ("Active", "string", "string", "old")}
    row = a_record("tft1636662465", "string", "string", "new", status="Left")
    answer = judge_plain([row], people).answer
    assert list(answer) == [
        "fileLogId",
        "totalNew",
        "totalRecords",
        "totalUpdates",
        "totalErrors",
        "totalNoChange",
        "totalEmpIdUpdate",
        "totalAuthValueChange",
        "totalStatusChange",
        "totalDuplicates",
        "duplicateAuthValues",
        "thresholdExceptions",
        "errorDetails",
        "employeeDetails",
    ]
    assert {name: value for name, value in answer.items() if value} == {
        "fileLogId": "id",
        "totalRecords": 1,
        "totalUpdates": 1,
        "totalAuthValueChange": 1,
        "totalStatusChange": 1,
        "employeeDetails": [{"Key": "tft1636662465", "Value": "Auth Value Updated"}],
    }


def test_scrub_removes_records_without_data_and_blanks_count_as_missing() -> None:
    rows = [{}, {"employeeId": " ", "authValue1": ""}, a_record(" E1 ", " one ", ""), {"x": "y"}]
    answer = judge_plain(rows, {"E1": (None, "one", None, None)}).answer
    assert (answer["totalRecords"], answer["totalNoChange"]) == (1, 1)


def test_names_match_in_any_case_and_unknown_ones_are_reported_in_the_results() -> None:
    [record] = read_all([{"EMPLOYEEID": "E1", "AuthValue1": "one", "Shoe": "44"}])
    assert (record.employee_id, record.fingerprints.present) == ("E1", (True, False, False))
    assert [(message.id, message.field) for message in record.messages] == [(1007, "shoe")]


def test_the_last_of_the_records_with_most_data_is_processed() -> None:
    rows = [
        a_record("E1", "one", "two"),
        a_record("E1", "one", "two", "three"),
        a_record("E1", "ein", "zwei", "drei"),
        a_record("E1", "one"),
    ]
    judged = judge_plain(rows, {"E1": (None, "ein", "zwei", "drei")})
    assert judged.details() == [("E1", "No Change")]
    assert judged.answer["totalDuplicates"] == 3
    assert judged.answer["duplicateAuthValues"] == [
        {"employeeId": "E1", "authValue1": "***", "authValue2": "***", "authValue3": None},
        {"employeeId": "E1", "authValue1": "***", "authValue2": "***", "authValue3": "***"},
        {"employeeId": "E1", "authValue1": "***", "authValue2": None, "authValue3": None},
    ]


def test_records_with_the_same_values_are_duplicates_too_but_none_without_values() -> None:
    rows = [a_record("E1", status="x"), a_record("E2"), *(a_record(name, None) for name in "AB")]
    judged = judge_plain(rows, allow_no_auth=True)
    assert judged.details() == [("E1", "New Record"), ("A", "New Record"), ("B", "New Record")]
    assert judged.answer["totalDuplicates"] == 1


def test_values_compare_in_order_and_with_their_case() -> None:
    rows = [a_record("E1", "a", "b"), a_record("E2", "b", "a"), a_record("E3", "A", "b")]
    assert judge_plain(rows).answer["totalNew"] == 3


def test_a_record_with_an_error_is_not_compared_with_duplicates() -> None:
    rows = [a_record("E1", "one"), a_record("E1", "one", 5, "three")]
    assert judge_plain(rows).details() == [("E1", "New Record"), ("E1", "Error")]


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (a_record(None), "employeeId: Required field missing or empty"),
        (
            a_record(7),
            "employeeId: Value has the wrong type: a string is expected, a number was sent",
        ),
        (a_record("x" * 61), "employeeId: Value is too long or too short: at most 60 characters"),
        (a_record("E1", "x" * 201), "authValue1: Value is too long or too short: at most 200"),
        (
            a_record("E1", ["x"]),
            "authValue1: Value has the wrong type: a string is expected, a list was sent",
        ),
        (a_record("E1", None), "Record has no authentication value"),
        (a_record("E1", status=False), "employeeStatus: Value has the wrong type"),
    ],
)
def test_every_error_is_returned_by_the_line_of_the_submitted_array(
    row: dict[str, Any], value: str
) -> None:
    answer = judge_plain([{}, a_record("other"), row]).answer
    [detail] = answer["errorDetails"]
    assert detail["line"] == 3
    assert detail["value"].startswith(value)
    assert answer["totalErrors"] == 1


def test_the_longest_values_are_accepted_and_unicode_forms_are_equal() -> None:
    longest = a_record("e\u0301" * 60, "x" * MOST, "e\u0301" * MOST)
    people = {"\u00e9" * 60: (None, "x" * MOST, "\u00e9" * MOST, None)}
    assert judge_plain([longest], people).answer["totalNoChange"] == 1


def test_all_errors_of_a_record_are_reported() -> None:
    answer = judge_plain([{"employeeStatus": 1, "authValue2": {}}]).answer
    fields = [detail["value"].partition(":")[0] for detail in answer["errorDetails"]]
    assert fields == ["employeeStatus", "authValue2", "employeeId"]
    assert answer["employeeDetails"] == [{"Key": "", "Value": "Error"}]


def test_formats_are_checked_on_the_whole_value_and_only_where_there_are_any() -> None:
    formats = {"authValue1": r"\d{4}", "employeeId": "E.*"}
    rows = [a_record("E1", "1234"), a_record("E2", "12345"), a_record("X3", "1234\n")]
    rows.append(a_record("E4", "\u0661\u0662\u0663\u0664"))
    judged = judge_plain(rows, formats=formats)
    errors = [
        (each["line"], each["value"].partition(":")[0]) for each in judged.answer["errorDetails"]
    ]
    assert errors == [(2, "authValue1"), (3, "employeeId"), (4, "authValue1")]
    assert judge_plain(rows).answer["totalErrors"] == 0


def test_without_values_a_record_is_an_error_unless_that_is_allowed() -> None:
    row = a_record("E1", None, status="x")
    assert judge_plain([row]).details() == [("E1", "Error")]
    assert judge_plain([row], allow_no_auth=True).details() == [("E1", "New Record")]


def test_a_blank_field_keeps_what_is_stored() -> None:
    people = {"E1": ("on", "one", "two", None)}
    judged = judge_plain([a_record("E1", None, "TWO")], people)
    assert judged.details() == [("E1", "Auth Value Updated")]
    employee = applied(judged.classified, stored_of(people)).employees["E1"]
    expected = stored_of({"E1": ("on", "one", "TWO", None)}).employees["E1"]
    assert employee == expected


def test_the_same_values_under_a_new_id_rename_the_employee() -> None:
    people = {"OLD": ("on", "one", "two", "three")}
    judged = judge_plain([a_record("NEW", status="off")], people)
    answer = judged.answer
    assert judged.details() == [("NEW", "Employee Id Updated")]
    assert (answer["totalUpdates"], answer["totalNew"]) == (1, 0)
    assert (answer["totalEmpIdUpdate"], answer["totalStatusChange"]) == (1, 1)
    employees_after = applied(judged.classified, stored_of(people)).employees
    assert [(name, employee.status) for name, employee in employees_after.items()] == [
        ("NEW", "off")
    ]


def test_a_status_alone_is_an_update() -> None:
    people = {"E1": ("on", "one", "two", "three")}
    assert judge_plain([a_record("E1", status="off")], people).details() == [
        ("E1", "Status Updated")
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [a_record("E2")],
        [a_record("E1"), a_record("NEW", None), a_record("NEW2", "one", "two", "three")],
        [a_record("E1", None, status="off"), a_record("NEW")],
        [a_record("E2", "two", None), a_record("NEW", "two", "y")],
    ],
    ids=["a known id with a triple of another", "a triple twice", "both ids", "completed"],
)
def test_no_batch_leaves_two_employees_with_one_triple(rows: list[dict[str, Any]]) -> None:
    people = {"E1": (None, "one", "two", "three"), "E2": (None, "x", "y", None)}
    stored = stored_of(people)
    judged = judge_plain(rows, people, allow_no_auth=True)
    assert judged.answer["totalErrors"] + judged.answer["totalDuplicates"] == 1
    after = applied(judged.classified, stored)
    with_values = [each for each in after.employees.values() if each.has_values]
    assert len(after.holders) == len(with_values)


def test_lines_of_a_call_count_from_its_own_first_record() -> None:
    records = [*read_all([a_record("E1")]), *read_all([{}, a_record(None)], before=1)]
    whole = judge(records, stored_of({})).answer
    assert [detail["line"] for detail in whole["errorDetails"]] == [3]


def test_rotation_finds_values_under_the_older_key_and_brings_them_under_the_current_one() -> None:
    people = {"E1": ("on", "one", "two", "three"), "E2": ("on", "x", "y", None)}
    stored = stored_of(people, OLD)
    rows = [a_record("E1"), a_record("E2", "x"), a_record("E3", "x", "z")]
    judged = judge(read_all(rows), stored)
    assert [value for _, value in judged.details()] == ["No Change", "No Change", "New Record"]
    employees_after = applied(judged.classified, stored).employees
    assert [employees_after[name].key for name in ("E1", "E2", "E3")] == [
        CURRENT.id,
        OLD.id,
        CURRENT.id,
    ]
    assert employees_after["E1"] == stored_of(people).employees["E1"]


def test_values_under_a_key_that_is_gone_are_replaced_but_never_completed() -> None:
    stored = stored_of({"E1": (None, "one", "two", None)}, OLD)
    whole = judge(read_all([a_record("E1", "one", "two")], keys=[CURRENT]), stored)
    assert whole.details() == [("E1", "Auth Value Updated")]
    part = judge(read_all([a_record("E1", "one")], keys=[CURRENT]), stored)
    assert part.details() == [("E1", "Error")]


def test_hashes_differ_by_key_tenant_and_value_and_show_no_value() -> None:
    fingerprints = a_hasher().fingerprints(["secret", None, "secret"])
    (_, first), (_, second) = fingerprints.by_key
    assert first[0] == first[2]
    assert first[1] is None
    assert first[0] != second[0]
    assert "secret" not in repr((fingerprints, fingerprints.triples, CURRENT))


@pytest.mark.parametrize("name", ["added", "updated", "errors"])
@pytest.mark.parametrize(("count", "is_over"), [(24, False), (25, False), (26, True)])
def test_a_threshold_is_exceeded_by_strictly_more(name: str, count: int, is_over: bool) -> None:
    counts = {"added": 0, "updated": 0, "errors": 0, "records": 1_000, "stored": 1_000, name: count}
    assert bool(exceeded(Thresholds(**{name: Decimal("2.5")}), **counts)) is is_over


def test_an_exceeded_threshold_is_reported_in_the_vendors_words() -> None:
    limits = Thresholds(Decimal("1.50"), Decimal(0), Decimal(10))
    assert exceeded(limits, added=9, updated=9, errors=9, records=10, stored=10) == (
        "Number of added employees exceeds threshold: 1.5%. Processing has stopped.",
        "Number of employees with updates exceeds threshold: 0%. Processing has stopped.",
        "Number of records with errors exceeds threshold: 10%. Processing has stopped.",
    )


def test_added_and_updated_thresholds_do_not_apply_to_an_empty_store() -> None:
    limits = Thresholds(Decimal(0), Decimal(0), Decimal(0))
    assert exceeded(limits, added=5, updated=0, errors=0, records=5, stored=0) == ()
    assert exceeded(limits, added=0, updated=0, errors=0, records=0, stored=0) == ()


def test_a_stopped_batch_is_answered_as_counted_and_all_its_results_fail() -> None:
    rows = [a_record("E1"), {}, a_record("E1"), a_record(None), a_record("E3", "x")]
    free, stopped = (
        judge_plain(rows, {"E3": ("on", "x", None, None)}, limits)
        for limits in (None, Thresholds(errors=Decimal(1)))
    )
    assert {**stopped.answer, "thresholdExceptions": []} == free.answer
    assert len(stopped.answer["thresholdExceptions"]) == 1


@pytest.mark.parametrize(
    ("percent", "text"),
    [("10", "10"), ("100", "100"), ("2.50", "2.5"), ("0.0", "0"), ("1E+1", "10")],
)
def test_a_percentage_is_shown_as_configured_without_trailing_zeros(
    percent: str, text: str
) -> None:
    assert percent_text(Decimal(percent)) == text


STORED_PEOPLE: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    "E1": (None, "one", None, None),
    "E2": (None, "two", None, None),
}


@pytest.mark.parametrize(
    ("row", "others", "fault"),
    [
        (a_record("E1", "two"), [], 5002),
        (a_record("E9", "one"), [a_record("E1", "one", "more")], 5003),
    ],
)
def test_a_record_with_a_faulty_field_is_compared_with_what_is_stored_too(
    row: dict[str, Any], others: list[dict[str, Any]], fault: int
) -> None:
    faulty = row | {"employeeStatus": 5}
    for record, ids in ((row, [fault]), (faulty, [1002, fault])):
        judged = judge_plain([*others, record], STORED_PEOPLE)
        messages = judged.classified.classifications[-1].messages
        assert [message.id for message in messages] == ids
        assert judged.answer["totalErrors"] == 1
        assert len(judged.answer["errorDetails"]) == len(ids)


def test_a_record_whose_values_cannot_be_read_is_not_compared() -> None:
    for row in (a_record("E1", "two", 5), a_record(5, "two"), a_record("x" * 61, "two")):
        [classification] = judge_plain([row], STORED_PEOPLE).classified.classifications
        assert len(classification.messages) == 1


def test_a_faulty_record_claims_nothing() -> None:
    rows = [a_record("E9", "new") | {"employeeStatus": 5}, a_record("E8", "new")]
    assert judge_plain(rows).details() == [("E9", "Error"), ("E8", "New Record")]
