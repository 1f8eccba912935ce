"""`Accept` as real clients send it (shared/web/accept.py)."""

from __future__ import annotations

import time

import pytest

from shared.web.accept import preferred_type

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
def test_json_is_answered_to_whoever_does_not_exclude_it(accept: str) -> None:
    assert preferred_type(accept, (JSON,)) == JSON


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", "*/*;q=0", "*;q=0.000", "application/json;q=.0, */*"],
)
def test_a_caller_that_excludes_json_gets_none(accept: str) -> None:
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
