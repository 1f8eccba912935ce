"""Patterns of administrators run without backtracking, or are refused with the reason."""

from __future__ import annotations

import re
import time

import pytest

from shared.errors import ConflictError
from shared.imports.authdata.model import Formats
from shared.imports.authdata.patterns import PatternError, compile_pattern

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
