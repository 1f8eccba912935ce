"""An answer does not grow with the messages of its rows past a limit; counts stay those of all."""

from __future__ import annotations

import json
from dataclasses import replace

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.assignments.model import Assignment
from shared.imports.licenses.answer import import_answer
from shared.imports.messages import Message
from shared.imports.pay_and_bill.http import rendered_rows
from shared.imports.results import MAX_CHUNK_MESSAGES, Outcome, RowResult, cap_messages, failed
from shared.imports.row_reader import read_row

MESSAGES = (Message(2003, "Notes"), Message(1001, "ClientRef"), Message(1001, "DivisionRef"))


def test_a_row_behind_the_limit_shows_its_first_error_and_counts_all() -> None:
    result = RowResult(0, ("E1", "A1"), Outcome.FAILED, MESSAGES)
    full, short = (json.loads(row) for row in rendered_rows(ASSIGNMENTS, [result] * 2, room=1))
    assert len(full["messages"]) == 3
    assert [each["fieldName"] for each in short["messages"]] == ["ClientRef"]
    counts = ("errorCount", "warningCount", "infoCount", "importStatus", "recordIds")
    assert all(short[name] == full[name] for name in counts)


def test_an_answer_of_licenses_is_bounded_too() -> None:
    results = [failed(at, (None,) * 5, *MESSAGES) for at in range(2)]
    first, second = import_answer(results, "id", room=1)["errors"]
    assert (len(first["details"]), len(second["details"])) == (2, 1)


def test_an_answer_to_many_empty_rates_is_not_many_times_the_row() -> None:
    row = {"EmployerRef": "E1", "AssignmentRef": "A1", "Rates": [{}] * 200}
    read = read_row(0, row, Assignment, ("EmployerRef", "AssignmentRef"))
    [text] = rendered_rows(ASSIGNMENTS, [failed(0, read.key, *read.messages)])
    assert len(text) < 10 * len(json.dumps(row))
    last = [message for message in read.messages if (message.field or "").startswith("Rates")][-1]
    assert last.text.endswith("and at 180 more places of the list")


def test_the_rows_of_a_chunk_keep_so_many_messages_and_behind_them_one_of_a_severity() -> None:
    message, error = Message(2003, "Notes"), Message(1001, "ClientRef")
    many = RowResult(0, ("E1", "A1"), Outcome.FAILED, (message,) * 199 + (error,))
    rows = [replace(many, index=index) for index in range(1_000)]
    kept = cap_messages(rows)
    assert [row.index for row in kept] == list(range(1_000))
    full = MAX_CHUNK_MESSAGES // 200
    assert kept[:full] == rows[:full]
    assert {row.messages for row in kept[full:]} == {(message, error)}
