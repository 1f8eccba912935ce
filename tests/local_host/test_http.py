"""HTTP as the host and the worker of the platform answer it, and templates of routes."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

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
from tests.local_host.running_host import (
    RunningHost,
    host_environment,
    started,
)
from tests.waiting import wait_until

# HTTP as the platform's host and worker answer it, over real connections.


@pytest.mark.integration
def test_first_route_by_function_name_wins(host: RunningHost) -> None:
    assert host.call("GET", "/a/recent").json() == "aa_first"


@pytest.mark.integration
def test_a_wrong_method_continues_with_the_next_route(host: RunningHost) -> None:
    assert host.call("POST", "/a/recent").json() == "bb_shadowed_for_get"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("DELETE", "/echo"),
        ("GET", "/a"),
        ("GET", "/a/b/c"),
        ("HEAD", "/echo"),
        ("OPTIONS", "/echo"),
        ("GET", "/import/workers.vx.schema"),
        ("GET", "/admin/host/status"),
        ("GET", "/Admin"),
        ("GET", "/runtime/webhooks/blobs"),
        ("POST", "/runtime/anything"),
        ("GET", "/RUNTIME/"),
    ],
)
def test_no_route_method_or_constraint_is_404_without_body(
    host: RunningHost, method: str, path: str
) -> None:
    reply = host.call(method, path)
    assert (reply.status, reply.body, reply.header("allow")) == (404, b"", None)


@pytest.mark.integration
def test_literals_match_in_any_case_and_a_trailing_slash_is_ignored(host: RunningHost) -> None:
    assert host.call("GET", "/ECHO/x/").json()["route"] == {"name": "x"}


@pytest.mark.integration
def test_absent_optional_value_has_no_key(host: RunningHost) -> None:
    assert host.call("GET", "/echo").json()["route"] == {}


@pytest.mark.integration
def test_segment_of_literals_and_values(host: RunningHost) -> None:
    reply = host.call("GET", "/import/workers.v2.schema")
    assert reply.json() == {"type": "workers", "n": "2"}


@pytest.mark.integration
def test_encoded_slash_stays_in_its_segment(host: RunningHost) -> None:
    reply = host.call("GET", "/echo/a%2Fb%20c").json()
    assert reply["route"] == {"name": "a%2Fb c"}
    assert reply["url"].endswith("/echo/a%2Fb%20c")


@pytest.mark.integration
def test_headers_are_lower_case_and_joined(host: RunningHost) -> None:
    answer = host.send_raw(
        b"GET /echo HTTP/1.1\r\nHost: h\r\nX-Twice: a\r\nx-twice: b\r\nX-Name: \xc5\x81\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert b'"x-twice": "a,b"' in answer
    assert b'"x-name": "\\u0141"' in answer


@pytest.mark.integration
def test_query_is_joined_and_empty_values_are_dropped(host: RunningHost) -> None:
    reply = host.call("GET", "/echo?a=1&A=2&b=&c=%20x+y&d").json()
    assert reply["params"] == {"a": "1,2", "c": " x y"}
    assert reply["url"].endswith("/echo?a=1&A=2&b=&c=%20x+y&d")


@pytest.mark.integration
def test_body_arrives_as_bytes(host: RunningHost) -> None:
    reply = host.call("POST", "/echo", b"\xff\xfe text", Content_Type="text/plain").json()
    assert (reply["type"], reply["length"]) == ("bytes", 7)


@pytest.mark.integration
def test_chunked_body_arrives_empty(host: RunningHost) -> None:
    answer = host.send_raw(
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"length": 0' in answer
    assert "a chunked body does not reach a function" in host.log()


@pytest.mark.integration
def test_large_body_arrives_whole(host: RunningHost) -> None:
    assert host.call("POST", "/echo", bytes(20_000_000)).json()["length"] == 20_000_000


@pytest.mark.integration
def test_body_over_the_limit_is_500_without_body(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1000")
    with started(settings, tmp_path) as host:
        assert host.call("POST", "/echo", bytes(1000)).status == 200
        reply = host.call("POST", "/echo", bytes(1001))
        assert (reply.status, reply.body) == (500, b"")
        assert reply.header("connection") == "close"
        chunked = host.send_raw(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n"
        )
        assert chunked.startswith(b"HTTP/1.1 500")


@pytest.mark.integration
def test_the_usual_limit_is_100_mebibytes(host: RunningHost) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    assert host.send_raw(head % 104_857_601).startswith(b"HTTP/1.1 500")


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["raise", "none", "dict", "non-ascii-header"])
def test_failing_function_is_500_without_body_and_logged(host: RunningHost, kind: str) -> None:
    reply = host.call("GET", f"/outcome/{kind}")
    assert (reply.status, reply.body) == (500, b"")
    assert "function outcome" in host.log()


@pytest.mark.integration
def test_response_as_the_function_made_it(host: RunningHost) -> None:
    reply = host.call("GET", "/outcome/file")
    assert (reply.status, reply.body) == (201, b"%PDF")
    assert reply.header("content-type") == "text/plain; charset=utf-8"
    assert reply.header("content-disposition") == "plain.pdf"


@pytest.mark.integration
def test_text_as_result_is_200_plain(host: RunningHost) -> None:
    reply = host.call("GET", "/outcome/text")
    assert (reply.status, reply.body) == (200, b"plain text")


@pytest.mark.integration
def test_each_cookie_is_a_header(host: RunningHost) -> None:
    reply = host.call("GET", "/outcome/cookies")
    cookies = [value for name, value in reply.headers if name == "set-cookie"]
    assert cookies == ["a=1; HttpOnly; Path=/", "b=2"]
    assert reply.status == 204


@pytest.mark.integration
def test_head_is_answered_only_if_a_function_lists_it(host: RunningHost) -> None:
    assert (host.call("HEAD", "/head").status, host.call("HEAD", "/seen").status) == (200, 404)


@pytest.mark.integration
def test_custom_headers_are_on_every_answer_of_the_app(host: RunningHost) -> None:
    for path in ("/echo", "/nowhere", "/outcome/raise"):
        assert host.call("GET", path).header("x-content-type-options") == "nosniff"


@pytest.mark.integration
def test_home_page(host: RunningHost, connection_string: str, tmp_path: Path) -> None:
    assert host.call("GET", "/").status == 200
    settings = host_environment(connection_string, AzureWebJobsDisableHomepage="true")
    with started(settings, tmp_path) as other:
        assert other.call("GET", "/").status == 204


@pytest.mark.integration
def test_context_of_an_invocation(host: RunningHost) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    one, other = (host.call("GET", "/echo", traceparent=trace).json() for _ in range(2))
    assert one["invocation"] != other["invocation"]
    assert (one["function"], one["retries"]) == ("echo", 0)
    assert one["directory"].endswith("apps/sample")
    assert one["trace"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


@pytest.mark.integration
def test_the_app_sees_its_own_host_name(host: RunningHost) -> None:
    assert host.call("GET", "/echo").json()["own_host"] == f"127.0.0.1:{host.port}"
    setting = host.call("GET", "/echo?setting=LOCAL_HOST").json()["setting"]
    assert setting == str(host.process.pid)


@pytest.mark.integration
def test_disabled_function_is_404(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string)
    settings["AzureWebJobs.switched_off.Disabled"] = "true"
    settings["AzureWebJobs_seen_so_far_Disabled"] = "1"
    with started(settings, tmp_path) as host:
        assert host.call("GET", "/switched-off").status == 404
        assert host.call("GET", "/seen").status == 404
        assert host.call("GET", "/echo").status == 200


@pytest.mark.integration
def test_route_prefix_by_override(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(
        connection_string, AzureFunctionsJobHost__extensions__http__routePrefix="api/v1"
    )
    with started(settings, tmp_path) as host:
        assert (host.call("GET", "/api/v1/echo").status, host.call("GET", "/echo").status) == (
            200,
            404,
        )


def _throttled(connection_string: str, outstanding: int, concurrent: int) -> dict[str, str]:
    prefix = "AzureFunctionsJobHost__extensions__http__max"
    settings = {
        f"{prefix}OutstandingRequests": str(outstanding),
        f"{prefix}ConcurrentRequests": str(concurrent),
    }
    return host_environment(connection_string, **settings)


@contextmanager
def _body_on_its_way(host: RunningHost, size: int) -> Iterator[socket.socket]:
    """A connection whose request has its place and of whose body the host waits for `size`."""
    with socket.create_connection(("127.0.0.1", host.port), timeout=30) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n")
        connection.sendall(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size)
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        yield connection


@pytest.mark.integration
def test_throttled_call_is_429_without_custom_headers(
    connection_string: str, tmp_path: Path
) -> None:
    settings = _throttled(connection_string, 1, 1)
    with started(settings, tmp_path) as host, _body_on_its_way(host, 2) as other:
        refused = host.call("POST", "/echo", b"body")
        assert (refused.status, refused.body) == (429, b"")
        assert refused.header("x-function-scaleout") == "1"
        assert refused.header("x-content-type-options") is None
        other.sendall(b"ab")
        assert b"".join(iter(lambda: other.recv(65536), b"")).startswith(b"HTTP/1.1 200")
        assert host.call("POST", "/echo", b"body").status == 200


@pytest.mark.integration
def test_bodies_are_read_inside_the_concurrency_limit(
    connection_string: str, tmp_path: Path
) -> None:
    """A body that is still coming holds the only slot, so the other call waits for its end."""
    settings = _throttled(connection_string, 10, 1)
    with (
        started(settings, tmp_path) as host,
        ThreadPoolExecutor(1) as threads,
        _body_on_its_way(host, 2) as slow,
    ):
        other = threads.submit(host.call, "POST", "/echo", b"x")
        assert host.call("GET", "/nowhere").status == 404
        assert not other.done()
        slow.sendall(b"ab")
        assert b'"length": 2' in b"".join(iter(lambda: slow.recv(65536), b""))
        assert other.result().status == 200


@pytest.mark.integration
def test_bodies_on_their_way_are_bounded_in_total(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, LOCAL_HOST_BODIES_BYTES="1000")
    with started(settings, tmp_path) as host, _body_on_its_way(host, 900) as slow:
        refused = host.call("POST", "/echo", bytes(200))
        assert (refused.status, refused.header("x-function-scaleout")) == (429, "1")
        assert host.call("POST", "/echo", bytes(100)).status == 200
        slow.sendall(bytes(900))
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert host.call("POST", "/echo", bytes(900)).status == 200


@pytest.mark.integration
def test_call_over_function_timeout_is_500(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(
        connection_string, AzureFunctionsJobHost__functionTimeout="00:00:01"
    )
    with started(settings, tmp_path) as host:
        for path in ("/held/for-ever", "/slow-sync?until=for-ever"):
            assert host.call("GET", path).status == 500
        assert host.log().count("timed out") == 2
        assert host.stop() == 0


@pytest.mark.integration
def test_sync_functions_run_in_threads(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, PYTHON_THREADPOOL_THREAD_COUNT="2")
    with started(settings, tmp_path) as host, ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(host.call, "GET", "/slow-sync?until=three-calls") for _ in range(3)]
        running = host.wait_for("thread", count=2)
        assert host.call("GET", "/echo").status == 200
        host.release("three-calls")
        names = {call.result().json() for call in calls}
    assert names == {one["thread"] for one in running}
    assert len(names) == 2


@pytest.mark.integration
def test_kept_alive_connection_answers_without_delay(host: RunningHost) -> None:
    """Without TCP_NODELAY each answer on a kept connection is 40 ms late; the quickest tells."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    quickest = 1.0
    for path in ("/echo", "/outcome/raise", "/nowhere", "/echo") * 25:
        began = time.monotonic()
        connection.request("POST", path, b"body")
        connection.getresponse().read()
        quickest = min(quickest, time.monotonic() - began)
    assert quickest < 0.03
    connection.close()


@pytest.mark.integration
def test_running_call_is_answered_while_the_host_stops(
    connection_string: str, tmp_path: Path
) -> None:
    settings = host_environment(connection_string, LOCAL_HOST_STOP_SECONDS="60")
    with started(settings, tmp_path) as host, ThreadPoolExecutor(1) as threads:
        call = threads.submit(host.call, "GET", "/held/last")
        host.wait_for("held")
        host.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(host.port), "new connections are refused")
        host.release("last")
        assert call.result().status == 200
        assert call.result().header("connection") == "close"
        assert host.process.wait(90) == 0


@pytest.mark.integration
def test_call_that_does_not_end_while_the_host_stops_is_503(
    connection_string: str, tmp_path: Path
) -> None:
    settings = host_environment(connection_string, LOCAL_HOST_STOP_SECONDS="0.5")
    with (
        started(settings, tmp_path) as host,
        ThreadPoolExecutor(1) as threads,
        _body_on_its_way(host, 10) as uploading,
    ):
        call = threads.submit(host.call, "GET", "/held/for-ever")
        host.wait_for("held")
        host.process.send_signal(signal.SIGTERM)
        assert (call.result().status, call.result().body) == (503, b"")
        assert call.result().header("retry-after") == "5"
        assert b"".join(iter(lambda: uploading.recv(65536), b"")).startswith(b"HTTP/1.1 503")
        assert host.process.wait(90) == 0


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_app_may_handle_the_signal_to_end_as_well(
    connection_string: str, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C reaches the app as the platform's SIGTERM does."""
    with started(host_environment(connection_string), tmp_path) as host:
        call = host.call("GET", "/handles-sigterm")
        assert call.status == 200
        assert host.stop(number) == 0
        assert "the app was told to end" in host.log()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionError:
        return True
    return False


# Route templates and their constraints, without a server.

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


def test_first_route_wins_and_a_method_mismatch_continues() -> None:
    routes = [
        Route("one", "{x:int}", ("GET",), parse_template("{x:int}")),
        Route("two", "{y}", (), parse_template("{y}")),
    ]
    calls = (("GET", "/1"), ("PUT", "/1"), ("GET", "/a/b"))
    hits = [find_route(routes, *call) for call in calls]
    assert [hit and (hit[0].function_name, hit[1]) for hit in hits] == [
        ("one", {"x": "1"}), ("two", {"y": "1"}), None,
    ]  # fmt: skip
