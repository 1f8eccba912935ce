"""Failed rows as people see them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cli.result_tables import failure_table


def _failed(**message: str) -> list[dict[str, Any]]:
    said = {"messageType": "Error", "errorID": 1006, "message": "No date: send one", **message}
    key = {"EmployerRef": "C1", "PersonnelRef": "021"}
    return [{"index": 4, "line": 6, "key": key, "outcome": "failed", "messages": [said]}]


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
