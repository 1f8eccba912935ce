"""What commands print: tables, failed rows, and the demo."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.calls import Answer, KeyPair
from cli.demo import (
    BATCH_FILE,
    SAMPLES,
    Sample,
    batch_lines,
    batch_totals,
    closing_lines,
    find_batch_fault,
    find_fault,
    read_keys,
    record_lines,
    render_credentials,
    row_lines,
    save_keys,
)
from cli.environment import ROOT
from cli.file_import import ImportProgress
from cli.output import columns
from cli.result_tables import failure_table, group_table
from cli.row_files import RowFile
from shared.imports.authdata.model import StoredEmployees
from tests.unit.imports.authdata.plain_batches import judge, read_all

# Tables of the commands.


def test_columns_are_aligned_and_nothing_is_cut() -> None:
    assert columns(("ROUND", "STATUS"), [("2026-01", "Open")]) == [
        "ROUND    STATUS",
        "2026-01  Open",
    ]


def test_a_table_without_rows_says_so() -> None:
    assert columns(("DROP", "FAILED"), []) == ["There are none."]


@pytest.mark.parametrize("charset", ["ascii", "iso-8859-1", "cp1252", "utf-8"])
def test_a_name_that_the_terminal_cannot_show_ends_no_command(charset: str) -> None:
    """The line behind it may be a key that is shown only once."""
    name = "Łódź é 🙂"
    program = (
        "import sys; from cli.output import show\n"
        "name, as_json = sys.argv[1], sys.argv[2] == 'json'\n"
        "show(as_json, {'name': name, 'key': 'pig_x'}, [name, 'pig_x'])\n"
    )

    def printed(form: str) -> str:
        command = [sys.executable, "-c", program, name, form]
        environ = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": charset}
        ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True)
        return ran.stdout.decode(charset)

    first, key = printed("lines").splitlines()
    assert key == "pig_x"
    assert first == name.encode(charset, "backslashreplace").decode(charset)
    assert json.loads(printed("json")) == {"name": name, "key": "pig_x"}


# Failed rows as people see them.


def _failed(**message: str) -> list[dict[str, Any]]:
    full_message = {
        "messageType": "Error",
        "errorID": 1006,
        "message": "No date: send one",
        **message,
    }
    key = {"EmployerRef": "C1", "PersonnelRef": "021"}
    return [{"index": 4, "line": 6, "key": key, "outcome": "failed", "messages": [full_message]}]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("01/05/1980", "01/05/1980"),
        ("", ""),
        ("a\x1b[2Jb\nc", r"a\u001b[2Jb\u000ac"),
        ("x" * 200, "x" * 39 + "…"),
    ],
)
def test_the_table_of_failures_names_field_and_value(value: str, shown: str) -> None:
    head, line = failure_table(_failed(fieldName="DateOfBirth", fieldValue=value))
    assert head.split() == ["INDEX", "LINE", "KEY", "ID", "FIELD", "VALUE", "MESSAGE"]
    assert re.split(r" {2,}", line) == [
        "4",
        "6",
        "C1 / 021",
        "1006",
        "DateOfBirth",
        *([shown] if shown else []),
        "No date: send one",
    ]


def test_a_sensitive_value_leaves_its_cell_empty() -> None:
    _, line = failure_table(_failed(fieldName="UKPayrollDetails.NINumber"))
    assert line.split() == [
        *[
            "4",
            "6",
            "C1",
            "/",
            "021",
            "1006",
            "UKPayrollDetails.NINumber",
            "No",
            "date:",
            "send",
            "one",
        ]
    ]


def test_a_field_of_a_profile_is_shown_with_the_column_of_the_sender() -> None:
    _, line = failure_table(_failed(fieldName="Gender", sentAs="Geschlecht", fieldValue="x"))
    assert "Gender (Geschlecht)" in line
    group = {"messageType": "Error", "errorID": 1010, "message": "No entry", "count": 1}
    of_field = {**group, "fieldName": "Gender", "sentAs": "Geschlecht", "firstIndexes": [0]}
    assert "Gender (Geschlecht)" in group_table([of_field])[1]


@pytest.mark.parametrize(
    ("lines", "cells"),
    [
        ((), ["0, 1, 2, …", "No entry"]),
        ((0, 0, 0), ["0, 1, 2, …", "No entry"]),
        ((0, 4, 5), ["0, 1, 2, …", "No entry"]),
        ((2, 4, 5), ["0, 1, 2, …", "2, 4, 5, …", "No entry"]),
    ],
)
def test_a_line_that_is_not_known_is_not_shown(lines: tuple[int, ...], cells: list[str]) -> None:
    group = {"messageType": "Error", "errorID": 1010, "message": "No entry", "count": 9}
    head, line = group_table([{**group, "firstIndexes": [0, 1, 2]}], lines)
    assert re.split(r" {2,}", line)[-len(cells) :] == cells
    assert ("FIRST LINES" in head) is (len(cells) == 3)


def test_the_lines_of_one_group_leave_the_cell_of_another_empty() -> None:
    group = {"messageType": "Error", "errorID": 1010, "message": "No entry", "count": 1}
    groups = [{**group, "firstIndexes": [index]} for index in (0, 1)]
    _, unknown, known = group_table(groups, (0, 5))
    assert re.split(r" {2,}", unknown)[-2:] == ["0", "No entry"]
    assert re.split(r" {2,}", known)[-3:] == ["1", "5", "No entry"]


def test_the_document_counts_the_calls_that_were_sent_before() -> None:
    assert ImportProgress(RowFile((), ()), sent_before=2).document()["sentBefore"] == 2


# The demo: what counts as designed, how its key is remembered, what it prints.

WORKERS = SAMPLES[0]
(MADE_TO_FAIL,) = WORKERS.made_to_fail
KEYS = KeyPair("DEMO-SOFTWARE", "pig_made-up")


def a_result(reference: str, status: str = "OK", *messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "recordIds": [
            {"field": "EmployerRef", "value": "ER"},
            {"field": "PersonnelRef", "value": reference},
        ],
        "importStatus": status,
        "messages": list(messages),
    }


A_MESSAGE = {"messageType": "Error", "message": "Required field missing or empty", "errorID": 1001}
BAD = a_result(MADE_TO_FAIL, "Error", A_MESSAGE)


def an_answer(*results: dict[str, Any]) -> Answer:
    """An answer with these results, filled up to the sample's length with good rows."""
    missing = len(json.loads(WORKERS.body)) - len(results)
    others = [a_result(f"other-{number}") for number in range(missing)]
    return Answer(200, {}, {"results": [*results, *others]})


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.type_name)
def test_a_sample_has_the_rows_that_are_made_to_fail(sample: Sample) -> None:
    rows = json.loads(sample.body)
    values = {value for row in rows for value in row.values() if isinstance(value, str)}
    assert sample.made_to_fail <= values


def test_one_bad_row_with_messages_is_as_designed() -> None:
    assert find_fault(WORKERS, an_answer(BAD)) == ""
    assert find_fault(WORKERS, an_answer(BAD, a_result("other", "Warning"))) == ""


@pytest.mark.parametrize(
    "answer",
    [
        Answer(503, {}, {"message": "Storage did not answer."}),
        Answer(500, {}, None),
        Answer(200, {}, {"results": [BAD]}),
        an_answer(),
        an_answer(BAD, a_result("other", "Error", A_MESSAGE)),
        an_answer(a_result("other", "Error", A_MESSAGE)),
        an_answer(a_result(MADE_TO_FAIL, "Error")),
    ],
)
def test_anything_else_is_a_fault(answer: Answer) -> None:
    assert find_fault(WORKERS, answer)


def test_rows_of_an_earlier_start_may_fail_where_their_type_refuses_them() -> None:
    [timesheets] = [sample for sample in SAMPLES if sample.type_name == "timesheets"]
    exists = {**A_MESSAGE, "message": "Timesheet already exists", "errorID": 10002}
    rows = [
        {name.lower(): value for name, value in row.items()} for row in json.loads(timesheets.body)
    ]
    numbers = [row["timesheetnumber"] for row in rows]
    results = [
        a_result(number, "Error", A_MESSAGE if number in timesheets.made_to_fail else exists)
        for number in numbers
    ]
    assert find_fault(timesheets, Answer(200, {}, {"results": results})) == ""
    before = timesheets.imported_before(results)
    assert len(before) == len(results) - len(timesheets.made_to_fail)
    marked = [line for line in row_lines(results, frozenset(), before) if "earlier start" in line]
    assert len(marked) == len(before)
    assert find_fault(WORKERS, an_answer(BAD, a_result("other", "Error", exists)))


def test_the_key_is_remembered_for_this_user_only(tmp_path: Path) -> None:
    memory = tmp_path / "new" / "demo.json"
    save_keys(memory, KeyPair("DEMO-SOFTWARE", "older"))
    save_keys(memory, KEYS)
    assert read_keys(memory) == KEYS
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"softwareKey": "A"}'])
def test_an_unreadable_key_file_counts_as_missing(tmp_path: Path, text: str) -> None:
    memory = tmp_path / "demo.json"
    assert read_keys(memory) is None
    memory.write_text(text)
    assert read_keys(memory) is None


def test_the_call_to_paste_is_one_shell_command() -> None:
    lines = render_credentials("http://127.0.0.1:7071", KEYS).splitlines()
    (line,) = [line for line in lines if line.startswith("curl ")]
    words = shlex.split(line)
    assert "http://127.0.0.1:7071/api/import/workers?version=1" in words
    assert "X-Functions-Key: pig_made-up" in words
    assert json.loads(words[-1])[0]["PersonnelRef"]
    assert "Documentation    http://127.0.0.1:7071/api/docs" in lines


def test_a_row_is_a_line_and_each_message_one_below_it() -> None:
    about = {**A_MESSAGE, "fieldName": "Gender", "fieldValue": "1"}
    nameless: dict[str, Any] = {"recordIds": [], "importStatus": "Error", "messages": [about]}
    assert list(row_lines([BAD, nameless])) == [
        "index 0    ER / 00420  Error",
        "         Error 1001: Required field missing or empty",
        "index 1    (no key)    Error",
        "         Error 1001: Required field missing or empty [Gender = 1]",
    ]


def test_rows_that_are_bad_on_purpose_are_marked_and_no_others() -> None:
    other = a_result("other", "Error", A_MESSAGE)
    lines = list(row_lines([BAD, other], WORKERS.made_to_fail))
    assert [line for line in lines if "(bad on purpose)" in line] == [lines[0]]
    assert MADE_TO_FAIL in lines[0]


def test_a_record_is_shown_with_what_is_masked_and_who_wrote_it() -> None:
    record = {"EmployerRef": "E", "PersonnelRef": "P", "Bank": {"Code": "***"}, "Pin": "***"}
    item = {"record": record, "masked": ["Bank.Code", "Bank.Name", "Pin"], "changedBy": "i"}
    assert [*record_lines(item)] == [
        "  EmployerRef E, PersonnelRef P, Pin ***, …",
        "  4 fields; masked for this integration: values of Bank, Pin",
        "  last changed by import i",
    ]


def test_the_demo_closes_with_a_summary_and_what_to_do_next() -> None:
    summary, following = closing_lines("http://127.0.0.1:7071")
    rows = sum(len(json.loads(sample.body)) for sample in SAMPLES)
    bad = sum(len(sample.made_to_fail) for sample in SAMPLES)
    assert f"of {rows} rows {rows - bad} are stored, and {bad} failed" in summary
    assert following.startswith("What to do next: ")
    assert "http://127.0.0.1:7071/api/docs" in following


def test_starting_the_demo_loads_no_storage_client() -> None:
    slow = "('azure', 'typer', 'asyncio')"
    code = f"import sys, cli.demo; print([name for name in {slow} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "[]"


# The demo's batch: what counts as designed, and what it prints.


def as_designed(**changes: Any) -> dict[str, Any]:
    rows = json.loads((ROOT / BATCH_FILE).read_text("utf-8"))["employee"]
    return {**judge(read_all(rows), StoredEmployees()).answer, **changes}


def a_batch_answer(**changes: Any) -> Answer:
    return Answer(200, {}, as_designed(**changes))


def test_the_sample_is_as_designed() -> None:
    assert find_batch_fault(a_batch_answer(), a_batch_answer()) == ""


@pytest.mark.parametrize(
    "processed",
    [
        Answer(503, {}, {"message": "Storage did not answer."}),
        a_batch_answer(totalNew=0),
        a_batch_answer(totalErrors=2),
    ],
)
def test_a_batch_with_other_totals_is_a_fault(processed: Answer) -> None:
    assert find_batch_fault(a_batch_answer(), processed)


def test_totals_and_records_are_lines() -> None:
    assert batch_totals(as_designed()) == (
        "5 records: 3 new, 0 updates, 0 no change, 1 duplicates, 1 errors"
    )
    assert [*batch_lines(as_designed())][-3:] == [
        "       (no id)  Error",
        "         index 4: employeeId: Required field missing or empty  (bad on purpose)",
        "       00412    Duplicate: another record of the batch counts",
    ]
