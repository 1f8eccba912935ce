"""The demo: what counts as designed, how its key is remembered, what it prints."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.calls import Answer, KeyPair
from cli.demo import (
    SAMPLES,
    Sample,
    closing_lines,
    find_fault,
    read_keys,
    record_lines,
    render_credentials,
    row_lines,
    save_keys,
)
from cli.environment import ROOT

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


def test_the_key_is_remembered_for_this_user_only(tmp_path: Path) -> None:
    memory = tmp_path / "new" / "demo.json"
    save_keys(memory, KeyPair("DEMO-SOFTWARE", "older"))
    save_keys(memory, KEYS)
    assert read_keys(memory) == KEYS
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"softwareKey": "A"}'])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
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


def test_the_demo_closes_with_a_summary_and_what_to_do_next() -> None:
    summary, following = closing_lines("http://127.0.0.1:7071")
    rows = sum(len(json.loads(sample.body)) for sample in SAMPLES)
    bad = sum(len(sample.made_to_fail) for sample in SAMPLES)
    assert f"of {rows} rows {rows - bad} were imported, and {bad} failed" in summary
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


def test_a_record_is_shown_with_what_is_masked_and_who_wrote_it() -> None:
    record = {"EmployerRef": "E", "PersonnelRef": "P", "Bank": {"Code": "***"}, "Pin": "***"}
    item = {"record": record, "masked": ["Bank.Code", "Bank.Name", "Pin"], "changedBy": "i"}
    assert [*record_lines(item)] == [
        "  EmployerRef E, PersonnelRef P, Pin ***, …",
        "  4 fields; masked for this integration: values of Bank, Pin",
        "  last changed by import i",
    ]
