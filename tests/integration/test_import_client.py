"""The client of `manage.py import` against a server that says what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from cli.calls import CallFailedError, KeyPair, send_import
from cli.import_client import TRIES, ImportClient, RefusedCallError, find_import_path, limits_of

Told = tuple[int, dict[str, str], Any]
NOT_NOW: Told = (503, {"Retry-After": "7"}, {"message": "Not now."})
SLOW_DOWN: Told = (429, {"Retry-After": "7"}, {"message": "Send fewer at a time."})
NO_ANSWER: Told = (0, {}, None)


class Script:
    """The answers that are still to be given, and the calls that came."""

    def __init__(self) -> None:
        self.answers: list[Told] = []
        self.calls: list[tuple[str, str]] = []
        self.keys: list[str | None] = []
        self.pauses: list[float] = []


class _Handler(BaseHTTPRequestHandler):
    script: ClassVar[Script]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.script.calls.append((self.command, self.path))
        self.script.keys.append(self.headers["Idempotency-Key"])
        status, headers, document = self.script.answers.pop(0)
        if not status:
            return
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 (the name is the library's)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's)
        """Nothing is to be written."""


@pytest.fixture(name="script")
def fixture_script() -> Script:
    return Script()


@pytest.fixture(name="client")
def fixture_client(script: Script) -> Iterator[ImportClient]:
    handler = type("Handler", (_Handler,), {"script": script})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield ImportClient(url, KeyPair("K", "pig_made-up"), script.pauses.append)
        server.shutdown()
        thread.join()


def test_a_call_without_an_answer_and_one_that_comes_too_early_are_made_again(
    client: ImportClient, script: Script
) -> None:
    accepted = (202, {"X-Import-Id": "i"}, {"importId": "i"})
    script.answers = [NO_ANSWER, NOT_NOW, accepted]
    assert client.send("/api/import/workers", {}, b"[]", "k").import_id == "i"
    assert script.keys == ["k", "k", "k"]
    assert script.pauses == [2.0, 7.0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_keys_are_not_taken_to_where_an_answer_points(
    client: ImportClient, script: Script, status: int
) -> None:
    script.answers = [(status, {"Location": "/elsewhere"}, {"message": "Go there."})]
    with pytest.raises(RefusedCallError, match="Go there"):
        client.capabilities()
    assert script.calls == [("GET", "/api/capabilities")]


def test_an_import_is_followed_on_its_own_gateway(client: ImportClient, script: Script) -> None:
    accepted = (202, {"Location": "http://192.0.2.1:9/api/imports/i"}, {"importId": "i"})
    script.answers = [accepted, (200, {}, {"results": []})]
    answer = send_import(client.url, "/api/import/workers", b"[]", client.keys)
    assert answer.document == {"results": []}
    assert script.calls[-1] == ("GET", "/api/imports/i/answer")


@pytest.mark.parametrize("answer", [NOT_NOW, SLOW_DOWN, NO_ANSWER], ids=["503", "429", "no answer"])
def test_a_gateway_that_stays_away_is_given_up(
    client: ImportClient, script: Script, answer: Told
) -> None:
    script.answers = [answer] * TRIES
    with pytest.raises(CallFailedError):
        client.capabilities()
    assert script.answers == []


def test_a_refusal_is_raised_at_once(client: ImportClient, script: Script) -> None:
    script.answers = [(422, {}, {"message": "Another call had this key."})]
    with pytest.raises(RefusedCallError, match="Another call had this key"):
        client.send("/api/import/workers", {"a": "b c"}, b"[]", "k")
    assert script.calls == [("POST", "/api/import/workers?a=b+c")]


def test_an_import_is_followed_to_its_end_with_growing_pauses(
    client: ImportClient, script: Script
) -> None:
    def shown(done: int, ended: str | None) -> Told:
        return 200, {}, {"rows": {"done": done}, "endedAt": ended}

    script.answers = [*(shown(done, None) for done in range(8)), shown(9, "2026-01-01T00:00:00Z")]
    heard: list[int] = []
    client.follow("i", heard.append)
    assert heard == [*range(8), 9]
    assert script.pauses == sorted(script.pauses)
    assert script.pauses[-1] == 2.0


def test_results_are_read_page_by_page(client: ImportClient, script: Script) -> None:
    script.answers = [
        (200, {}, {"items": [{"index": 0}], "continuation": "x"}),
        (200, {}, {"items": [{"index": 1}], "continuation": None}),
    ]
    assert [item["index"] for item in client.results("i", "failed")] == [0, 1]
    here = "/api/imports/i/results?pageSize=1000&outcome=failed"
    assert script.calls == [("GET", here), ("GET", f"{here}&continuation=x")]


CALLS = [{"method": "DELETE", "path": "/d"}, {"method": "POST", "path": "/p"}]
CAPABILITIES = {
    "messageTypes": [{"type": "licenses", "calls": CALLS}],
    "limits": {"rows": 100, "dryRunRows": 20, "bodyBytes": 5},
}


def test_what_a_gateway_can_do_decides_where_and_how_much_is_sent() -> None:
    assert find_import_path(CAPABILITIES, "licenses") == "/p"
    with pytest.raises(RefusedCallError, match="does not take workers"):
        find_import_path(CAPABILITIES, "workers")
    assert limits_of(CAPABILITIES, 1_000, dry_run=False).rows == 100
    assert limits_of(CAPABILITIES, 1_000, dry_run=True).rows == 20
    assert limits_of(CAPABILITIES, 7, dry_run=True).rows == 7
