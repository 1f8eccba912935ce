"""The body of an authdata call, and patterns of administrators that run without backtracking."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConflictError, InvalidRequestError, RefusedError, TooLargeError
from shared.imports.authdata.model import (
    NO_FILE_LOG_ID,
    AuthRecord,
    BatchCall,
    Formats,
    PatternError,
    compile_pattern,
    read_call,
)
from tests.unit.imports.authdata.plain_batches import read_all

# The body of an authdata call: what is taken, what is refused, and that nothing is quoted.

GUID = "8375fb13-cce4-4cf1-8280-7bad9e6cb16f"
SECRET = "s3cr3t"


def call(document: Any, max_rows: int = 100) -> BatchCall:
    return read_call(json.dumps(document).encode(), max_rows)


def test_the_documents_sample_is_read() -> None:
    fields = ("employeeId", "employeeStatus", "authValue1", "authValue2", "authValue3")
    row = dict.fromkeys(fields, "string")
    flags = {"validate": True, "allowNoAuth": False, "commit": True}
    read = call({"fileLogId": GUID, **flags, "employee": [row]})
    assert (read.file_log_id, read.validate, read.allow_no_auth, read.commit) == (
        GUID,
        True,
        False,
        True,
    )
    assert len(read.rows) == 1


def test_an_absent_or_null_option_has_its_default_and_names_match_in_any_case() -> None:
    assert call({"EMPLOYEE": [], "commit": None}) == BatchCall(None, True, False, True, [])
    read = call({"Employee": [], "Validate": False, "allownoauth": True, "COMMIT": False})
    assert read == BatchCall(None, False, True, False, [])


@pytest.mark.parametrize("text", [None, "", " ", NO_FILE_LOG_ID, "0" * 32])
def test_no_id_asks_for_a_new_batch(text: str | None) -> None:
    assert call({"fileLogId": text, "employee": []}).file_log_id is None


@pytest.mark.parametrize("text", [GUID.upper(), f"{{{GUID}}}", f"({GUID})", GUID.replace("-", "")])
def test_a_guid_in_any_usual_form_is_one_id(text: str) -> None:
    assert call({"fileLogId": text, "employee": []}).file_log_id == GUID


@pytest.mark.parametrize(
    "document",
    [
        [],
        [{"employeeId": SECRET}],
        SECRET,
        {},
        {"employee": None},
        {"employee": {"employeeId": SECRET}},
        {"employee": [{}, SECRET]},
        {"employee": [None]},
        {"employee": [[]]},
        {"fileLogId": SECRET, "employee": []},
        {"fileLogId": 5, "employee": []},
        {"fileLogId": f"{GUID}0", "employee": []},
        {"validate": "true", "employee": []},
        {"commit": 0, "employee": []},
        {"allowNoAuth": [], "employee": []},
    ],
)
def test_a_value_of_another_type_is_refused_without_quoting_it(document: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(document)
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"employee":[]} x',
        b'{"employee":[],"EMPLOYEE":[]}',
        b'{"employee":[{"authValue1":"s3cr3t","AuthValue1":"s3cr3t"}]}',
        b'{"employee":[{"authValue1":"s3cr3t" "x"}]}',
        b'{"employee":[{"x":NaN}]}',
        b'{"employee":[{"authValue1":"\\ud800"}]}',
        b'{"employee":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"employee":' + b"[" * 100_000,
        b'{"employee":["\xff"]}',
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_call(body, 100)
    assert SECRET not in caught.value.message


def test_too_many_records_are_refused_by_their_limit() -> None:
    with pytest.raises(TooLargeError, match="limit is 3"):
        call({"employee": [{}] * 4}, max_rows=3)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)
names = st.sampled_from(
    ("employeeId", "employeeStatus", "authValue1", "authValue2", "authValue3", "other")
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(names, anything))
def test_any_record_is_read_and_travels(row: dict[str, Any]) -> None:
    try:
        read = call({"employee": [row]})
    except RefusedError:
        return
    [record] = read_all(list(read.rows))
    packed = json.loads(json.dumps(record.pack()))
    assert AuthRecord.unpack(record.position, packed) == record


# Patterns of administrators run without backtracking, or are refused with the reason.

PLAIN = [
    r"\d+",
    r"[\d-]{3,}",
    r"\w+\s?\w*",
    r"[A-Z]{2}\d{6}",
    r"a|ab",
    r"[^\d]+",
    r"\S\W\D",
    r"(?P<first>x+)y?",
    r"\$\.\\",
    r"\bx\b",
    r"x\Z",
    r"",
]
VALUES = [
    "12",
    "1-2",
    "ab",
    "a",
    "QQ123456",
    "\u0661\u0662",
    "xxy",
    "x",
    "$.\\",
    "12\n",
    "",
    "a b",
    "\u00e4!x",
]


@pytest.mark.parametrize("pattern", PLAIN)
def test_a_pattern_matches_what_it_matches_in_python_with_ascii_classes(pattern: str) -> None:
    matches = compile_pattern(pattern)
    expected = [bool(re.compile(pattern, re.ASCII).fullmatch(value)) for value in VALUES]
    assert [matches(value) for value in VALUES] == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "backreferences"),
        ("(", "unclosed group"),
        ("a)|(b", "unopened group"),
        ("(?>a+)b", "unrecognized flag"),
        ("x" * 201, "over 200 characters"),
        ("(?:a{1,30}){1,30}", "over 500 parts"),
        ("(?:x{1000}){1000}", "over 500 parts"),
        (r"\p{nonsense}", "property"),
    ],
)
def test_a_pattern_that_the_engine_cannot_run_is_refused_with_the_reason(
    pattern: str, reason: str
) -> None:
    with pytest.raises(PatternError, match=reason):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|aa)+b", "(.*a){20}", "(x*x*x*)*y", "(?:a?){100}a{100}"]
)
def test_nested_repetition_takes_no_time(pattern: str) -> None:
    matches = compile_pattern(pattern)
    started = time.process_time()
    assert not matches("a" * 199 + "!")
    assert time.process_time() - started < 1


def test_a_stored_pattern_that_cannot_be_run_is_refused_when_it_is_used() -> None:
    with pytest.raises(ConflictError, match=r"format of authValue1 .* look-around"):
        Formats({"authValue1": r"(?!000)\d+"}).compiled()


@pytest.mark.parametrize("field", ["authValue1", "authValue2", "authValue3"])
def test_the_mask_of_a_value_is_not_taken_for_a_value(field: str) -> None:
    [record] = read_all([{"employeeId": "***", "employeeStatus": "***", field: " *** "}])
    assert [(each.id, each.field, each.value) for each in record.messages] == [(1004, field, None)]
    assert not record.fingerprints.has_values
