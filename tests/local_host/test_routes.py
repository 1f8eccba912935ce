"""Route templates and their constraints, without a server."""

from __future__ import annotations

import pytest

from local_host.routes import (
    BadTemplateError,
    Route,
    find_route,
    full_template,
    parse_template,
    same_route,
    sort_key,
)

_GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("api/workers", "/API/Workers/", {}),
        ("api/workers", "/api/worker", None),
        ("/", "/", {}),
        ("a/{x}", "/a", None),
        ("a/{x}", "/a/B c", {"x": "B c"}),
        ("a/{x?}", "/a", {}),
        ("a/{x=5}", "/a", {"x": "5"}),
        ("a/{x=5}", "/a/6", {"x": "6"}),
        ("a/{*rest}", "/a/b/c", {"rest": "b/c"}),
        ("a/{*rest}", "/a", {}),
        ("{a}.v{n}.schema", "/workers.v1.schema", {"a": "workers", "n": "1"}),
        ("{a}.v{n}.schema", "/x.v1.v2.schema", {"a": "x.v1", "n": "2"}),
        ("{a}.v{n}.schema", "/workers.v.schema", None),
        ("{x:int}", "/-12", {"x": "-12"}),
        ("{x:int}", "/2147483648", None),
        ("{x:int}", "/\u0661", None),
        ("{x:long}", "/2147483648", {"x": "2147483648"}),
        ("{x:guid}", f"/{_GUID}", {"x": _GUID}),
        ("{x:guid}", f"/{{{_GUID}}}", {"x": f"{{{_GUID}}}"}),
        ("{x:guid}", f"/{_GUID.replace('-', '')}", {"x": _GUID.replace("-", "")}),
        ("{x:guid}", f"/{_GUID}0", None),
        ("{x:bool}", "/TRUE", {"x": "TRUE"}),
        ("{x:alpha}", "/abc1", None),
        ("{x:datetime}", "/2026-02-03", {"x": "2026-02-03"}),
        ("{x:datetime}", "/soon", None),
        ("{x:decimal}", "/1.5", {"x": "1.5"}),
        ("{x:double}", "/.", None),
        ("{x:length(2,3)}", "/abcd", None),
        ("{x:length(2)}", "/ab", {"x": "ab"}),
        ("{x:minlength(2):maxlength(3)}", "/a", None),
        ("{x:int:min(3)}", "/2", None),
        ("{x:range(3,5)}", "/4", {"x": "4"}),
        ("{x:max(3)}", "/4", None),
        ("{x:regex(^(a|b):c{{2}}$)}", "/B:cc", {"x": "B:cc"}),
        ("{x:file}", "/a.pdf", {"x": "a.pdf"}),
        ("{x:nonfile}", "/a.pdf", None),
        ("{x:length(2)?}", "/", {}),
    ],
)
def test_template_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    assert parse_template(template).match(path) == values


@pytest.mark.parametrize(
    "template",
    ["api//x", "//x", "{a}{b}", "{x:uuid}", "{x:length(a)}", "{x:range(5,3)}", "a/{*x}/b", "{x",
     "x}", "{x}/{X}", "{}", "{a:regex([)}", "x{*y}", "{a}.{b?}"],
)  # fmt: skip
def test_template_is_refused(template: str) -> None:
    with pytest.raises(BadTemplateError, match="route template"):
        parse_template(template)


@pytest.mark.parametrize("route", ["admin/x", "Administrators", "runtime", "/runtimes/x"])
def test_the_hosts_own_prefixes_are_refused(route: str) -> None:
    with pytest.raises(BadTemplateError, match="the host's"):
        full_template(route, "f", "api")


def test_route_that_is_missing_or_empty_is_the_functions_name() -> None:
    assert [full_template(route, "fn", "api") for route in (None, "", " ")] == ["api/fn"] * 3
    with pytest.raises(BadTemplateError):
        full_template("", "adminThing", "")


def test_underscore_sorts_after_letters() -> None:
    assert sorted(["import_x", "imports", "importB", "Imports2"], key=sort_key) == [
        "importB", "imports", "Imports2", "import_x",
    ]  # fmt: skip


def test_same_text_and_a_common_method_are_duplicates() -> None:
    def route(text: str, *methods: str) -> Route:
        return Route("f", text, methods, parse_template(text))

    assert same_route(route("a/{id}", "GET"), route("A/{ID}", "GET", "PUT"))
    assert same_route(route("a/{id}"), route("a/{id}", "PUT"))
    assert not same_route(route("a/{id}", "GET"), route("a/{id}", "PUT"))
    assert not same_route(route("a/{id}", "GET"), route("a/{key}", "GET"))


def test_first_route_wins_and_a_method_mismatch_goes_on() -> None:
    routes = [
        Route("one", "{x:int}", ("GET",), parse_template("{x:int}")),
        Route("two", "{y}", (), parse_template("{y}")),
    ]
    calls = (("GET", "/1"), ("PUT", "/1"), ("GET", "/a/b"))
    hits = [find_route(routes, *call) for call in calls]
    assert [hit and (hit[0].function_name, hit[1]) for hit in hits] == [
        ("one", {"x": "1"}), ("two", {"y": "1"}), None,
    ]  # fmt: skip
