"""Text that leaves the process: log lines without values, and what callers sent on a terminal."""

from __future__ import annotations

import ast
import json
import logging
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_host.log_lines import PrintableFormatter, printable_lines
from shared import log
from shared.printable import is_printable, printable, printable_json
from tests.unit.house.source_tree import ROOT

# Log lines: an action and ids on one line, and no value that was not asked for.


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway")


def test_an_event_is_its_action_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    log.event("import.accepted", import_id="0b1c", tenant="demo", rows=3)
    assert caplog.messages == ["import.accepted import_id=0b1c tenant=demo rows=3"]
    assert vars(caplog.records[0])["gateway_rows"] == 3


def test_a_field_that_is_not_listed_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    log.event("import.accepted", tenant="demo", surname="Sample")  # type: ignore[call-arg]
    assert caplog.messages == ["import.accepted tenant=demo"]
    assert "Sample" not in str(vars(caplog.records[0]))


def test_an_id_cannot_forge_a_line_or_a_field(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("chunk.dropped", import_id="a\nb rows=9", queue="q" * 500)
    assert caplog.messages == [f"chunk.dropped import_id=a_b_rows=9 queue={'q' * 120}…"]


def test_a_failure_names_class_and_place_and_not_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        try:
            int("AB123456C")
        except ValueError as cause:
            raise RuntimeError("bad NINumber AB123456C") from cause
    except RuntimeError as error:
        log.failure("row.unforeseen", error, chunk=2)
    (line,) = caplog.messages
    assert "AB123456C" not in line
    assert re.fullmatch(
        r"row\.unforeseen chunk=2 error=RuntimeError at=test_log\.py:\d+ cause=ValueError", line
    )


def test_libraries_that_log_addresses_are_calmed() -> None:
    log.configure("debug")
    assert logging.getLogger("azure.core.pipeline").getEffectiveLevel() == logging.WARNING
    assert logging.getLogger("gateway").level == logging.DEBUG


# What callers sent, on a terminal and in JSON.

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "a\x9b31mb": r"a\x9b31mb",
    "abc\rOK": r"abc\rOK",
    "one\ntwo": r"one\ntwo",
    "one\u2028two\u2029three": r"one\u2028two\u2029three",
    "\u202etxt.exe": r"\u202etxt.exe",
    "\u2066a\u2069": r"\u2066a\u2069",
    "zero\u200bwidth\ufeff": r"zero\u200bwidth\ufeff",
    "half \ud83d": r"half \ud83d",
    "tag \U000e0041": r"tag \U000e0041",
    "\x00\x7f": r"\x00\x7f",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_control_character_is_shown_as_an_escape(text: str) -> None:
    assert printable(text) == HOSTILE[text]


@pytest.mark.parametrize("text", ["Zażółć gęślą", "給与　部", "a\u00a0b", "👩 é", r"C:\temp"])
def test_ordinary_text_is_shown_unchanged(text: str) -> None:
    assert printable(text) == text
    assert printable_lines(text) == text


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(st.characters()))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    line = printable(text)
    assert all(is_printable(character) for character in line)
    assert len(line.splitlines()) <= 1
    assert printable(line) == line
    assert printable_lines(text).replace("\n", "") == printable_lines(text.replace("\n", ""))


@settings(max_examples=300, deadline=None, database=None)
@given(st.recursive(st.text(st.characters()), st.lists, max_leaves=6))
def test_json_keeps_its_meaning_without_such_characters(value: object) -> None:
    document = printable_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(document) == value
    assert all(character == "\n" or is_printable(character) for character in document)


def test_a_log_line_with_a_traceback_keeps_its_lines_and_loses_escapes() -> None:
    try:
        raise ValueError("\x1b[31mred\u202e")
    except ValueError:
        record = logging.LogRecord("x", 40, "", 1, "path %s", ("\x1b]0;t\x07",), sys.exc_info())
    text = PrintableFormatter("%(message)s").format(record)
    assert text.splitlines()[0] == r"path \x1b]0;t\x07"
    assert text.splitlines()[-1] == r"ValueError: \x1b[31mred\u202e"


def test_commands_print_in_one_place_only() -> None:
    """A print elsewhere would show text of callers without escapes."""
    printing = {
        file.name
        for file in (ROOT / "cli").glob("*.py")
        if any(_prints(node) for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    }
    assert printing == {"terminal.py", "output.py"}


def _prints(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    match node.func:
        case ast.Name(id="print"):
            return True
        case (
            ast.Attribute(attr="echo" | "secho")
            | ast.Attribute(attr="write", value=ast.Attribute(attr="stdout" | "stderr"))
        ):
            return True
    return False
