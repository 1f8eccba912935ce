"""HTTP as the platform's host and worker answer it, over real connections."""

from __future__ import annotations

import http.client
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.local_host.running_host import RunningHost, host_environment, started

pytestmark = pytest.mark.integration


def test_first_route_by_function_name_wins(host: RunningHost) -> None:
    assert host.call("GET", "/a/recent").json() == "aa_first"


def test_wrong_method_goes_on_to_the_next_route(host: RunningHost) -> None:
    assert host.call("POST", "/a/recent").json() == "bb_shadowed_for_get"


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
        ("GET", "/runtime/webhooks/blobs"),
    ],
)
def test_no_route_method_or_constraint_is_404_without_body(
    host: RunningHost, method: str, path: str
) -> None:
    reply = host.call(method, path)
    assert (reply.status, reply.body, reply.header("allow")) == (404, b"", None)


def test_literals_match_in_any_case_and_a_trailing_slash_is_ignored(host: RunningHost) -> None:
    assert host.call("GET", "/ECHO/x/").json()["route"] == {"name": "x"}


def test_absent_optional_value_has_no_key(host: RunningHost) -> None:
    assert host.call("GET", "/echo").json()["route"] == {}


def test_segment_of_literals_and_values(host: RunningHost) -> None:
    reply = host.call("GET", "/import/workers.v2.schema")
    assert reply.json() == {"type": "workers", "n": "2"}


def test_encoded_slash_stays_in_its_segment(host: RunningHost) -> None:
    reply = host.call("GET", "/echo/a%2Fb%20c").json()
    assert reply["route"] == {"name": "a%2Fb c"}
    assert reply["url"].endswith("/echo/a%2Fb%20c")


def test_headers_are_lower_case_and_joined(host: RunningHost) -> None:
    answer = host.send_raw(
        b"GET /echo HTTP/1.1\r\nHost: h\r\nX-Twice: a\r\nx-twice: b\r\nX-Name: \xc5\x81\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert b'"x-twice": "a,b"' in answer
    assert b'"x-name": "\\u0141"' in answer


def test_query_is_joined_and_empty_values_are_dropped(host: RunningHost) -> None:
    reply = host.call("GET", "/echo?a=1&A=2&b=&c=%20x+y&d").json()
    assert reply["params"] == {"a": "1,2", "c": " x y"}
    assert reply["url"].endswith("/echo?a=1&A=2&b=&c=%20x+y&d")


def test_body_arrives_as_bytes(host: RunningHost) -> None:
    reply = host.call("POST", "/echo", b"\xff\xfe text", Content_Type="text/plain").json()
    assert (reply["type"], reply["length"]) == ("bytes", 7)


def test_chunked_body_arrives_empty(host: RunningHost) -> None:
    answer = host.send_raw(
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"length": 0' in answer
    assert "a chunked body does not reach a function" in host.log()


def test_large_body_arrives_whole(host: RunningHost) -> None:
    assert host.call("POST", "/echo", bytes(20_000_000)).json()["length"] == 20_000_000


def test_body_over_the_limit_is_413(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1000")
    with started(settings, tmp_path) as host:
        assert host.call("POST", "/echo", bytes(1000)).status == 200
        reply = host.call("POST", "/echo", bytes(1001))
        assert (reply.status, reply.body) == (413, b"")
        chunked = host.send_raw(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"7d0\r\n" + bytes(2000) + b"\r\n0\r\n\r\n"
        )
        assert chunked.startswith(b"HTTP/1.1 413")


def test_the_usual_limit_is_100_mebibytes(host: RunningHost) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    assert host.send_raw(head % 104_857_601).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("kind", ["raise", "none", "dict", "non-ascii-header"])
def test_failing_function_is_500_without_body_and_logged(host: RunningHost, kind: str) -> None:
    reply = host.call("GET", f"/outcome/{kind}")
    assert (reply.status, reply.body) == (500, b"")
    assert "function outcome" in host.log()


def test_response_as_the_function_made_it(host: RunningHost) -> None:
    reply = host.call("GET", "/outcome/file")
    assert (reply.status, reply.body) == (201, b"%PDF")
    assert reply.header("content-type") == "text/plain; charset=utf-8"
    assert reply.header("content-disposition") == "plain.pdf"


def test_text_as_result_is_200_plain(host: RunningHost) -> None:
    reply = host.call("GET", "/outcome/text")
    assert (reply.status, reply.body) == (200, b"plain text")


def test_each_cookie_is_a_header(host: RunningHost) -> None:
    reply = host.call("GET", "/outcome/cookies")
    cookies = [value for name, value in reply.headers if name == "set-cookie"]
    assert cookies == ["a=1; HttpOnly; Path=/", "b=2"]
    assert reply.status == 204


def test_head_is_answered_only_where_a_function_lists_it(host: RunningHost) -> None:
    assert (host.call("HEAD", "/head").status, host.call("HEAD", "/seen").status) == (200, 404)


def test_custom_headers_are_on_every_answer(host: RunningHost) -> None:
    for path in ("/echo", "/nowhere", "/outcome/raise"):
        assert host.call("GET", path).header("x-content-type-options") == "nosniff"


def test_home_page(host: RunningHost, connection_string: str, tmp_path: Path) -> None:
    assert host.call("GET", "/").status == 200
    settings = host_environment(connection_string, AzureWebJobsDisableHomepage="true")
    with started(settings, tmp_path) as other:
        assert other.call("GET", "/").status == 204


def test_context_of_an_invocation(host: RunningHost) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    one, other = (host.call("GET", "/echo", traceparent=trace).json() for _ in range(2))
    assert one["invocation"] != other["invocation"]
    assert (one["function"], one["retries"]) == ("echo", 0)
    assert one["directory"].endswith("apps/sample")
    assert one["trace"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


def test_the_app_is_told_its_own_host_name(host: RunningHost) -> None:
    assert host.call("GET", "/echo").json()["own_host"] == f"127.0.0.1:{host.port}"


def test_disabled_function_is_404(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string)
    settings["AzureWebJobs.switched_off.Disabled"] = "true"
    settings["AzureWebJobs_seen_so_far_Disabled"] = "1"
    with started(settings, tmp_path) as host:
        assert host.call("GET", "/switched-off").status == 404
        assert host.call("GET", "/seen").status == 404
        assert host.call("GET", "/echo").status == 200


def test_route_prefix_by_override(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(
        connection_string, AzureFunctionsJobHost__extensions__http__routePrefix="api/v1"
    )
    with started(settings, tmp_path) as host:
        assert (host.call("GET", "/api/v1/echo").status, host.call("GET", "/echo").status) == (
            200,
            404,
        )


def test_throttled_call_is_429(connection_string: str, tmp_path: Path) -> None:
    prefix = "AzureFunctionsJobHost__extensions__http__max"
    settings = host_environment(
        connection_string,
        **{f"{prefix}OutstandingRequests": "2", f"{prefix}ConcurrentRequests": "1"},
    )
    with started(settings, tmp_path) as host, ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(host.call, "GET", "/slow?seconds=1") for _ in range(3)]
        replies = sorted((call.result() for call in calls), key=lambda reply: reply.status)
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].header("x-function-scaleout") == "1"


def test_call_over_function_timeout_is_500(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(
        connection_string, AzureFunctionsJobHost__functionTimeout="00:00:01"
    )
    with started(settings, tmp_path) as host:
        for path in ("/slow?seconds=30", "/slow-sync?seconds=3"):
            assert host.call("GET", path).status == 500
        assert host.log().count("timed out") == 2
        assert host.stop() == 0


def test_sync_functions_run_in_threads(connection_string: str, tmp_path: Path) -> None:
    settings = host_environment(connection_string, PYTHON_THREADPOOL_THREAD_COUNT="2")
    with started(settings, tmp_path) as host, ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(host.call, "GET", "/slow-sync?seconds=0.5") for _ in range(3)]
        assert host.call("GET", "/echo").status == 200
        names = {call.result().json() for call in calls}
    assert len(names) == 2


def test_kept_alive_connection_answers_without_delay(host: RunningHost) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
    started_at = time.monotonic()
    for path in ("/echo", "/outcome/raise", "/nowhere", "/echo") * 25:
        connection.request("POST", path, b"body")
        connection.getresponse().read()
    assert time.monotonic() - started_at < 2.0
    connection.close()


def test_running_call_is_answered_while_the_host_stops(
    connection_string: str, tmp_path: Path
) -> None:
    with (
        started(host_environment(connection_string), tmp_path) as host,
        ThreadPoolExecutor(1) as threads,
    ):
        call = threads.submit(host.call, "GET", "/slow?seconds=1")
        host.wait_for("slow")
        host.process.send_signal(signal.SIGTERM)
        assert call.result().status == 200
        assert host.process.wait(20) == 0
