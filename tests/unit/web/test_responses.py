"""Answers: the format that a caller accepts, and their size."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.assignments.model import Assignment
from shared.imports.licenses.answer import import_answer
from shared.imports.messages import Message
from shared.imports.pay_and_bill.http import rendered_rows
from shared.imports.results import MAX_CHUNK_MESSAGES, Outcome, RowResult, cap_messages, failed
from shared.imports.row_reader import read_row
from shared.web.media_types import preferred_type

# `Accept` as real clients send it (shared/web/media_types.py).

JSON, XML = "application/json", "application/xml"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"
"""What Java's HttpURLConnection sends by itself."""


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "   ",
        ",, ,",
        "*",
        "*;q=.2",
        "*/*; q=.2",
        "* / *",
        JAVA,
        "application/*",
        "APPLICATION/JSON",
        "application/json;odata=verbose",
        'application/json; profile="a,b;c"; charset=utf-8',
        'application/json; profile="no end',
        "application/json; q=1.",
        "application/json;q=0.5;level=1",
        "application/json ; Q = 0.5",
        "json",
        "text/html;q=high",
        "text/html;q=-1",
        "text/html, nonsense",
        ";q=1",
        "/",
        "text/html/json",
        "text/html;q=0, */*",
        "\x00",
    ],
)
def test_the_answer_is_json_unless_the_caller_excludes_it(accept: str) -> None:
    assert preferred_type(accept, (JSON,)) == JSON


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", "*/*;q=0", "*;q=0.000", "application/json;q=.0, */*"],
)
def test_a_caller_that_excludes_json_gets_no_json(accept: str) -> None:
    assert preferred_type(accept, (JSON,)) is None


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("", JSON),
        (JAVA, JSON),
        ("application/xml", XML),
        ("application/xml;q=.9, application/json;q=.8", XML),
        ("application/xml, */*", XML),
        ("application/xml, nonsense", XML),
        ("text/html, application/xml;q=0.9, */*;q=0.8", XML),
        ("application/xml;q=0.5, */*;q=0.8", JSON),
        ("application/json;q=0, *", XML),
        ("application/xml;q=7, application/json;q=1", JSON),
        ("application/xml;v=1;q=0.1, application/xml, application/json;q=0.5", XML),
    ],
)
def test_the_type_that_the_caller_prefers_is_chosen(accept: str, preferred: str) -> None:
    assert preferred_type(accept, (JSON, XML)) == preferred


@pytest.mark.parametrize(
    ("beginning", "piece", "end"),
    [
        ("a/b;q=", "1", "x"),
        ("a/b;q=1.", "1", "x"),
        ("a/b;q=", "9", ""),
        ("", "a/b;q=.1,", ""),
        ("", ",", ""),
        ("", ";", ""),
        ("", "a", "/"),
        ('"', '\\"', ""),
        ("", '"', ""),
        ("", " ", "a"),
    ],
)
def test_the_cost_is_linear(beginning: str, piece: str, end: str) -> None:
    accept = beginning + piece * (1_000_000 // len(piece)) + end
    started = time.process_time()
    assert preferred_type(accept, (JSON, "a/b")) is not None
    assert time.process_time() - started < 5


# An answer does not grow with the messages of its rows past a limit; counts stay those of all.

MESSAGES = (Message(2003, "Notes"), Message(1001, "ClientRef"), Message(1001, "DivisionRef"))


def test_a_row_after_the_limit_shows_its_first_error_and_counts_all() -> None:
    result = RowResult(0, ("E1", "A1"), Outcome.FAILED, MESSAGES)
    full, short = (json.loads(row) for row in rendered_rows(ASSIGNMENTS, [result] * 2, room=1))
    assert len(full["messages"]) == 3
    assert [each["fieldName"] for each in short["messages"]] == ["ClientRef"]
    counts = ("errorCount", "warningCount", "infoCount", "importStatus", "recordIds")
    assert all(short[name] == full[name] for name in counts)


def test_an_answer_of_licenses_is_bounded_too() -> None:
    results = [failed(at, (None,) * 5, *MESSAGES) for at in range(2)]
    first, second = import_answer(results, "id", remaining=1)["errors"]
    assert (len(first["details"]), len(second["details"])) == (2, 1)


def test_an_answer_to_many_empty_rates_is_not_many_times_the_row() -> None:
    row = {"EmployerRef": "E1", "AssignmentRef": "A1", "Rates": [{}] * 200}
    read = read_row(0, row, Assignment, ("EmployerRef", "AssignmentRef"))
    [text] = rendered_rows(ASSIGNMENTS, [failed(0, read.key, *read.messages)])
    assert len(text) < 10 * len(json.dumps(row))
    last = [message for message in read.messages if (message.field or "").startswith("Rates")][-1]
    assert last.text.endswith("and at 180 more places of the list")


def test_rows_after_the_limit_of_a_chunk_keep_one_message_of_each_severity() -> None:
    message, error = Message(2003, "Notes"), Message(1001, "ClientRef")
    many = RowResult(0, ("E1", "A1"), Outcome.FAILED, (message,) * 199 + (error,))
    rows = [replace(many, index=index) for index in range(1_000)]
    capped = cap_messages(rows)
    assert [row.index for row in capped] == list(range(1_000))
    full = MAX_CHUNK_MESSAGES // 200
    assert capped[:full] == rows[:full]
    assert {row.messages for row in capped[full:]} == {(message, error)}
