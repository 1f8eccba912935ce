"""The control calls of the stand-in, on a gateway that runs with `--standin` (docs/stand-in.md)."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from local_host.certificate import make_certificate
from local_host.standin.clock import StandInClock
from local_host.standin.faults import BadRulesError, FaultRules
from local_host.standin.journal import MOST_CALLS, Journal, mask, mask_query, mask_token_body
from local_host.standin.refusals import needed_permission
from shared.auth.callers import missing_permission
from shared.auth.integrations import ANY
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits
from tests.builders import a_worker
from tests.e2e.gateway_process import (
    ROOT,
    WORKERS,
    Answer,
    GatewayProcess,
    started,
    started_over_tls,
)
from tests.emulator import Emulator, settings_for, snapshot
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class StandIn:
    """The stand-in of a gateway, and a tenant of its own for a test."""

    gateway: GatewayProcess
    made: Mapping[str, Any]

    @property
    def tenant(self) -> str:
        return str(self.made["tenant"])

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-Functions-Key": self.made["functionsKey"],
            "X-Software-Key": self.made["softwareKey"],
            "Content-Type": "application/json",
        }

    def control(self, method: str, path: str, document: Any = None) -> Answer:
        return control(self.gateway, method, path, document)

    def break_calls(self, fault: Mapping[str, Any], **rule: Any) -> str:
        """Add a rule for this tenant's calls of imports; its id."""
        document = {"path": "/api/import/*", "tenant": self.tenant, "fault": fault, **rule}
        added = self.control("POST", "faults", document)
        assert added.status == 201, added.body
        [rule_id] = added.json["ids"]
        return str(rule_id)

    def post(self, *rows: Mapping[str, Any], **headers: str) -> Answer:
        body = json.dumps(rows).encode()
        return self.gateway.call("POST", WORKERS, body, {**self.headers, **headers})

    def journal(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", f"requests?tenant={self.tenant}").json[
            "items"
        ]
        return found

    def count_workers(self) -> int:
        return len(
            self.gateway.call("GET", "/api/records/workers", None, self.headers).json["items"]
        )

    def token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.made["clientId"],
            "client_secret": self.made["clientSecret"],
        }
        body = urlencode(form).encode()
        answer = self.gateway.call("POST", "/connect/token", body, {"Content-Type": FORM})
        assert answer.status == 200, answer.body
        return str(answer.json["access_token"])


def control(gateway: GatewayProcess, method: str, path: str, document: Any = None) -> Answer:
    body = None if document is None else json.dumps(document).encode()
    return gateway.call(method, f"/_standin/{path}", body)


@pytest.fixture(scope="module")
def storage(emulator: Emulator) -> str:
    return emulator.account("standin")


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


@pytest.fixture(scope="module")
def gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory, snapshots: Path
) -> Iterator[GatewayProcess]:
    words = ("--standin", "--snapshots", str(snapshots))
    with started(storage, tmp_path_factory.mktemp("gateway"), *words) as process:
        yield process


@pytest.fixture
def standin(gateway: GatewayProcess) -> StandIn:
    made = control(gateway, "POST", "tenants")
    assert made.status == 201, made.body
    return StandIn(gateway, made.json)


# Tenants.


def test_a_new_tenant_has_everything_that_a_client_needs(standin: StandIn) -> None:
    assert standin.post(a_worker()).results[0]["importStatus"] == "OK"
    bearer = {"Authorization": f"Bearer {standin.token()}"}
    listed = standin.gateway.call("GET", "/api/documents?pageSize=1", None, bearer)
    assert listed.status == 200
    shown = standin.gateway.call("GET", "/api/records/workers", None, bearer).json["items"]
    assert len(shown) == 1


def test_a_tenant_can_be_made_as_a_test_wants_it(gateway: GatewayProcess) -> None:
    wish = {"tenant": "acme-1", "name": "Acme", "database": {"active": False}, "read": "none"}
    made = StandIn(gateway, control(gateway, "POST", "tenants", wish).json)
    assert made.tenant == "acme-1"
    assert made.post(a_worker()).json == {"message": "Pay and Bill Database not active"}
    assert gateway.call("GET", "/api/records/workers", None, made.headers).status == 403
    admin = control(gateway, "POST", "tenants", {"permissions": ["admin"]}).json
    assert admin["permissions"] == ["admin"]
    answer = gateway.call("GET", "/api/admin/tenant", None, StandIn(gateway, admin).headers)
    assert answer.json["tenant"] == admin["tenant"]
    assert control(gateway, "POST", "tenants", wish).status == 409


def test_wrong_properties_of_a_tenant_are_all_named(gateway: GatewayProcess) -> None:
    wish = {
        "tenant": "Acme", "name": 1, "scopes": ["all"], "read": "some", "onExisting": "x",
        "enabled": 1, "database": {"version": "1"}, "keys": 2, "softwareKey": "",
        "permissions": "admin",
    }  # fmt: skip
    refused = control(gateway, "POST", "tenants", wish)
    assert (refused.status, len(refused.json["errors"])) == (400, len(wish))


# The journal.


def test_the_journal_shows_calls_with_their_answers_and_without_credentials(
    standin: StandIn,
) -> None:
    token = standin.token()
    basic = base64.b64encode(f"{standin.made['clientId']}:{standin.made['clientSecret']}".encode())
    standin.gateway.call(
        "POST",
        "/connect/token",
        b"grant_type=client_credentials",
        {"Content-Type": FORM, "Authorization": f"Basic {basic.decode()}"},
    )
    bearer = {"Authorization": f"Bearer {token}", "Cookie": "session=abcdefghijklmnopqrstu"}
    standin.gateway.call("GET", f"/api/documents?code={token}&pageSize=1", None, bearer)
    sent = standin.post(a_worker(Title=f"Key {standin.made['functionsKey']}"))
    calls = standin.journal()
    assert [call["status"] for call in calls] == [200] * 4
    text = json.dumps(calls)
    secrets = (token, standin.made["functionsKey"], standin.made["clientSecret"], basic.decode())
    assert [secret for secret in (*secrets, "abcdefghijklmnopqrstu") if secret in text] == []
    last = calls[-1]
    assert (last["method"], last["path"], last["state"]) == ("POST", WORKERS, "answered")
    assert json.loads(last["body"]["text"])[0]["Surname"] == "Sample"
    assert last["answer"]["text"] == sent.body.decode()
    assert last["importId"] == sent.import_id
    assert last["headers"]["x-software-key"] == standin.made["softwareKey"]
    of_import = standin.control("GET", f"requests?import={sent.import_id}&limit=5").json["items"]
    assert [call["number"] for call in of_import] == [last["number"]]


def test_secrets_are_masked_wherever_they_stand() -> None:
    key = "pigs_abcdefghijklmnop"
    for text in (f"\\n{key}", f"\\u0022{key}", f"%3D{key}", f"key_{key}", key.replace("_", "%5f")):
        assert "abcdefghijkl" not in mask(text), text
        assert "abcdefghijkl" not in mask_query(f"q={text}"), text
    for body in (
        "client_id=c&client_secret+=abcdefghijklmnop",
        "\ufeff" + json.dumps({"client_secret": "abcdefghijklmnop"}),
        json.dumps({" Client_Secret": "abcdefghijklmnop"}),
        '{"client_secret": "abcdefghijklmnop"',
        "<client_secret>abcdefghijklmnop</client_secret>",
        'form-data; name="client_secret"\r\n\r\nabcdefghijklmnop\r\n',
        "client_secret: abcdefghijklmnop",
        "abcdefghijklmnop&",
    ):
        assert "abcdefghijkl" not in mask_token_body(body), body
    form = "grant_type=client_credentials&client_id=c"
    assert mask_token_body(form) == form


def test_a_busy_tenant_does_not_push_the_calls_of_another_out_of_the_journal() -> None:
    journal = Journal()

    def enter(tenant: str) -> None:
        journal.begin(datetime.now(UTC), "GET", "/", "", ()).tenant = tenant

    enter("calm")
    for _ in range(MOST_CALLS + 5):
        enter("busy")
    assert len(journal.find(tenant="calm")) == 1
    found = journal.find()
    assert (len(found), found[-1]["number"]) == (MOST_CALLS, MOST_CALLS + 6)


def test_the_journal_keeps_large_and_binary_bodies_as_length_and_hash(standin: StandIn) -> None:
    for body in (b"x" * 100_001, b"\xff\xfe\0"):
        assert standin.gateway.call("POST", WORKERS, body, standin.headers).status == 400
    large, binary = standin.journal()
    assert large["body"]["bytes"] == 100_001
    assert len(large["body"]["text"]) == 65_536
    assert large["body"]["isCut"]
    assert set(binary["body"]) == {"bytes", "sha256"}


def test_a_call_that_is_still_running_is_in_the_journal(standin: StandIn) -> None:
    standin.break_calls({"delay": 5})
    with socket.create_connection(("127.0.0.1", standin.gateway.port)) as connection:
        connection.sendall(raw_call(standin))
        while not (calls := standin.journal()):
            pass
        assert (calls[0]["state"], calls[0]["fault"]["delay"]) == ("running", 5)


# Faults.


def raw_call(standin: StandIn, *more: str) -> bytes:
    body = json.dumps([a_worker()]).encode()
    headers = {**standin.headers, "Host": "127.0.0.1", "Content-Length": str(len(body))}
    lines = [f"POST {WORKERS} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_to_end(connection: socket.socket) -> bytes:
    """What comes until the connection is closed, or reset."""
    received = b""
    connection.settimeout(60)
    try:
        while data := connection.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(
    ("fault", "state"), [({"cut": "before"}, "cut"), ({"lost": "after"}, "lost")]
)
def test_a_cut_connection_gives_no_byte_of_an_answer(
    standin: StandIn, fault: dict[str, str], state: str
) -> None:
    standin.break_calls(fault, times=3)
    port = standin.gateway.port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw_call(standin))
        assert read_to_end(connection) == b""
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{standin.gateway.url}{WORKERS}", json=[a_worker()], headers=standin.headers)
    kept_alive = http.client.HTTPConnection("127.0.0.1", port)
    kept_alive.request("GET", "/api/health")
    assert kept_alive.getresponse().read()
    kept_alive.request("POST", WORKERS, json.dumps([a_worker()]), standin.headers)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        kept_alive.getresponse()
    kept_alive.close()
    assert [call["state"] for call in standin.journal()] == [state] * 3
    assert standin.count_workers() == (3 if state == "lost" else 0)
    assert standin.post(a_worker()).status == 200


@pytest.mark.parametrize("fault", [{"cut": "before"}, {"lost": "after"}])
def test_a_connection_over_tls_is_cut_too(
    storage: str, tmp_path: Path, fault: dict[str, str]
) -> None:
    certificate = make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=certificate)
    with started_over_tls(storage, tmp_path, certificate, "--standin") as process:
        connection = http.client.HTTPSConnection("127.0.0.1", process.port, context=trust)
        rule = {"path": "/api/health", "fault": fault}
        connection.request("POST", "/_standin/faults", json.dumps(rule))
        assert connection.getresponse().read().startswith(b'{"ids"')
        connection.request("GET", "/api/health")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
            connection.getresponse()
        connection.close()


def test_a_status_is_refused_in_the_words_and_form_of_the_endpoint(standin: StandIn) -> None:
    for cause, message in (
        ("keyName", "Key name does not match Software Key"),
        ("integration", "Integration missing for Software Key or disabled"),
        ("database", "Pay and Bill Database not active"),
        ("permission", missing_permission("import:workers").message),
    ):
        standin.break_calls({"status": 403, "cause": cause}, times=1)
        refused = standin.post(a_worker())
        assert (refused.status, refused.json) == (403, {"message": message})
        assert refused.headers["x-correlation-id"]
    standin.break_calls({"status": 503, "retryAfter": 7}, times=1)
    refused = standin.post(a_worker())
    assert (refused.status, refused.headers["retry-after"]) == (503, "7")
    assert set(refused.json) == {"message"}
    standin.break_calls({"status": 429}, path="/v1/imports/*", method="POST")
    xml = {**standin.headers, "Content-Type": "text/xml", "Accept": "text/xml"}
    refused = standin.gateway.call("POST", "/v1/imports/licenses", b"<x/>", xml)
    assert (refused.status, refused.headers["content-type"]) == (429, "text/xml")
    assert refused.body.startswith(b"<")
    assert refused.headers["retry-after"]
    standin.break_calls({"status": 401}, path="/connect/token", times=1)
    form = {"grant_type": "client_credentials", "client_id": standin.made["clientId"]}
    refused = standin.gateway.call(
        "POST", "/connect/token", urlencode(form).encode(), {"Content-Type": FORM}
    )
    assert (refused.status, refused.json["error"]) == (401, "invalid_client")
    token = standin.token()
    standin.break_calls({"status": 401}, path="/api/documents")
    refused = standin.gateway.call(
        "GET", "/api/documents", None, {"Authorization": f"Bearer {token}"}
    )
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]


def test_the_fault_of_a_missing_permission_names_the_one_that_the_call_needs() -> None:
    needed = {
        (each.method, each.path): each.permission
        for each in operations(Limits.of(settings_for("")))
        if each.permission not in ("", ANY)
    }
    assert needed
    assert {call: needed_permission(call[0], call[1].lower()) for call in needed} == needed


def test_a_real_refusal_and_one_of_a_fault_have_the_same_body(standin: StandIn) -> None:
    wrong = {**standin.headers, "X-Functions-Key": "pig_unknown"}
    body = json.dumps([a_worker()]).encode()
    real = standin.gateway.call("POST", WORKERS, body, wrong)
    standin.break_calls({"status": 401}, times=1)
    refused = standin.post(a_worker())
    assert (refused.status, refused.json) == (real.status, real.json)
    assert {name for name in real.headers if name != "x-content-type-options"} == set(
        refused.headers
    )


def test_202_comes_where_200_would_come_and_the_work_is_done(standin: StandIn) -> None:
    standin.break_calls({"accepted": True}, times=1)
    accepted = standin.post(a_worker())
    assert accepted.status == 202
    assert "preference-applied" not in accepted.headers
    url = f"{accepted.headers['location']}/answer"
    while (answer := standin.gateway.call("GET", url, None, standin.headers)).status == 202:
        pass
    assert answer.results[0]["importStatus"] == "OK"


def test_rules_are_for_one_tenant_for_some_calls_and_can_be_removed(
    gateway: GatewayProcess, standin: StandIn
) -> None:
    other = StandIn(gateway, control(gateway, "POST", "tenants").json)
    rule = standin.break_calls({"status": 500}, method="POST", times=2)
    assert other.post(a_worker()).status == 200
    assert [standin.post(a_worker()).status for _ in range(3)] == [500, 500, 200]
    [shown] = standin.control("GET", f"faults?tenant={standin.tenant}").json["items"]
    assert (shown["id"], shown["applied"], shown["times"]) == (rule, 2, 2)
    assert standin.control("DELETE", f"faults/{rule}").json == {"deleted": 1}
    assert standin.control("DELETE", f"faults/{rule}").status == 404
    standin.break_calls({"status": 500})
    assert standin.control("DELETE", f"faults?tenant={standin.tenant}").json == {"deleted": 1}
    assert standin.post(a_worker()).status == 200


def test_a_seed_breaks_the_same_calls_again() -> None:
    def draw() -> list[bool]:
        rules = FaultRules()
        rules.add({"path": "/*", "probability": 0.3, "seed": 7, "fault": {"delay": 1}})
        return [rules.pick("GET", "/x", "") is not None for _ in range(200)]

    assert draw() == draw()
    assert 30 < sum(draw()) < 90


def test_bad_rules_are_refused_with_everything_wrong() -> None:
    rules = FaultRules()
    good = {"path": "/*", "fault": {"delay": 1}}
    bad = {
        "path": "x", "method": "FETCH", "times": 0, "probability": 2, "seed": -1, "tenant": 3,
        "other": 1, "fault": {"status": 200, "cut": "after", "retryAfter": 1, "more": 1},
    }  # fmt: skip
    with pytest.raises(BadRulesError) as refused:
        rules.add([good, bad, 7])
    assert len(refused.value.errors) == 13
    assert rules.list_rules() == []
    for fault in ({}, {"accepted": 1}, {"status": True}, {"delay": 0}, {"lost": "before"}, None):
        with pytest.raises(BadRulesError):
            rules.add({"path": "/*", "fault": fault})


def test_bad_rules_answer_400(gateway: GatewayProcess) -> None:
    refused = control(gateway, "POST", "faults", {"path": "/*"})
    assert (refused.status, len(refused.json["errors"])) == (400, 1)
    assert gateway.call("POST", "/_standin/faults", b"{").status == 400
    assert control(gateway, "GET", "faults?tenants=x").status == 400
    assert control(gateway, "PUT", "faults").status == 405
    # A variable of the shell that is not set must not widen what is deleted.
    for method, path, status in (
        ("POST", "reset?tenant=", 400),
        ("DELETE", "faults?tenant=", 400),
        ("DELETE", "requests?tenant=", 400),
        ("GET", "requests?import=", 400),
        ("DELETE", "requests?tenant=a&tenant=b", 400),
        ("DELETE", "faults/", 404),
        ("DELETE", "snapshots", 404),
        ("POST", "snapshots//load", 404),
        ("POST", "reset/x", 404),
    ):
        assert control(gateway, method, path).status == status, path
    assert control(gateway, "GET", "nothing").status == 404


# The clock.

A_DAY = 86_400


@pytest.fixture
def moved(gateway: GatewayProcess) -> Iterator[StandIn]:
    """The stand-in of a test that moves the clock, which is right again afterwards."""
    reset(gateway)  # so that the timers have few tenants to work for
    made = control(gateway, "POST", "tenants").json
    yield StandIn(gateway, made)
    assert control(gateway, "DELETE", "clock").json["ahead"] == 0


def advance(standin: StandIn, seconds: float) -> list[str]:
    moved = standin.control("POST", "clock", {"advance": seconds})
    assert moved.status == 200, moved.body
    ran: list[str] = moved.json["ran"]
    return ran


def test_a_token_expires_when_the_clock_is_advanced(moved: StandIn) -> None:
    def list_documents(token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        return moved.gateway.call("GET", "/api/documents?pageSize=1", None, headers)

    token = moved.token()
    advance(moved, 3_500)
    assert list_documents(token).status == 200
    advance(moved, 200)
    expired = list_documents(token)
    assert (expired.status, "expired" in expired.json["message"]) == (401, True)
    assert list_documents(moved.token()).status == 200


def test_retention_runs_as_soon_as_the_clock_says_so(moved: StandIn) -> None:
    sent = moved.post(a_worker(), {"EmployerRef": 1})
    failed_rows = f"/api/imports/{sent.import_id}/failed-rows"
    assert moved.gateway.call("GET", failed_rows, None, moved.headers).status == 200
    assert {"retention", "sweep"} <= set(advance(moved, 400 * A_DAY))
    assert moved.gateway.call("GET", failed_rows, None, moved.headers).status == 410
    fresh = moved.post(a_worker())
    advance(moved, 2 * A_DAY)
    shown = moved.gateway.call("GET", f"/api/imports/{fresh.import_id}", None, moved.headers)
    assert (shown.status, shown.json["state"]) == (200, "Completed")


def test_an_idempotency_key_expires_when_the_clock_is_advanced(moved: StandIn) -> None:
    row = a_worker()
    first = moved.post(row, **{"Idempotency-Key": "k1"})
    assert moved.post(row, **{"Idempotency-Key": "k1"}).import_id == first.import_id
    advance(moved, 2 * A_DAY)
    assert moved.post(row, **{"Idempotency-Key": "k1"}).import_id != first.import_id


def test_the_clock_is_shown_and_moves_only_ahead(moved: StandIn) -> None:
    assert moved.control("GET", "clock").json["ahead"] == 0
    advance(moved, 90.5)
    assert moved.control("GET", "clock").json["ahead"] == 90.5
    wrongs: list[Any] = [{"advance": 0}, {"advance": -1}, {"advance": "1"}, {"advance": True}, []]
    for wrong in (*wrongs, None):
        assert moved.control("POST", "clock", wrong).status == 400
    refused = moved.control("POST", "clock", {"advance": 1e12, "by": 1})
    assert len(refused.json["errors"]) == 2


def test_a_time_of_storage_is_that_of_the_clock_when_it_was_written() -> None:
    clock = StandInClock()
    begun = datetime.now(UTC).replace(microsecond=0)
    clock.advance(timedelta(days=31))
    assert clock.from_stored(begun) == begun
    later = begun + timedelta(seconds=5)
    assert clock.from_stored(later) == later + timedelta(days=31)
    clock.go_back()
    assert clock.ahead == timedelta(0)
    assert clock.from_stored(later) == later


# The reset. The tests before it have made tenants of their own.


def reset(gateway: GatewayProcess) -> int:
    answer = control(gateway, "POST", "reset")
    assert answer.status == 200, answer.body
    return int(answer.json["milliseconds"])


def test_a_reset_empties_the_gateway_and_it_goes_on_at_once(
    gateway: GatewayProcess, storage: str
) -> None:
    wish = {"tenant": "reset-1", "softwareKey": "SK"}
    before = StandIn(gateway, control(gateway, "POST", "tenants", wish).json)
    before.post(a_worker(EmployerRef="E1"), a_worker(BankSortCode="1"))
    before.token()
    before.break_calls({"status": 500}, path="/never")
    reset(gateway)
    everything = snapshot(storage)
    full = {name for name, content in everything.items() if content}
    assert full <= {"container azure-webjobs-hosts", "container azure-webjobs-secrets"}
    assert control(gateway, "GET", "faults").json == {"items": []}
    assert before.post(a_worker()).status == 401
    after = StandIn(gateway, control(gateway, "POST", "tenants", wish).json)
    assert after.post(a_worker()).results[0]["importStatus"] == "OK"
    assert after.count_workers() == 1
    assert after.token()


def test_imports_that_run_during_a_reset_bring_nothing_back(gateway: GatewayProcess) -> None:
    wish = {"tenant": "reset-2"}
    before = StandIn(gateway, control(gateway, "POST", "tenants", wish).json)
    rows = [a_worker() for _ in range(1_500)]
    for _ in range(2):
        assert before.post(*rows, Prefer="respond-async").status == 202
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(before.post, *rows)
        wait_until(before.count_workers, "the first rows")
        reset(gateway)
        assert waiting.result().status == 503
    after = StandIn(gateway, control(gateway, "POST", "tenants", wish).json)
    assert after.count_workers() == 0
    assert after.gateway.call("GET", "/api/imports", None, after.headers).json["items"] == []
    assert after.post(a_worker()).results[0]["importStatus"] == "OK"
    time.sleep(3)  # longer than the lease of a message
    assert after.count_workers() == 1


def test_a_reset_of_a_tenant_leaves_its_keys_and_other_tenants_alone(
    gateway: GatewayProcess, standin: StandIn
) -> None:
    other = StandIn(gateway, control(gateway, "POST", "tenants").json)
    other.post(a_worker())
    other.break_calls({"status": 500}, path="/never")
    standin.break_calls({"status": 500}, path="/never")
    # Of other keys each, so that the rows of one do not wait for those of another.
    for _ in range(3):
        rows = [a_worker() for _ in range(1_500)]
        assert standin.post(*rows, Prefer="respond-async").status == 202
    with (
        ThreadPoolExecutor(2) as pool,
        socket.create_connection(("127.0.0.1", gateway.port)) as half_sent,
    ):
        broken_off = pool.submit(standin.post, *(a_worker() for _ in range(1_500)))
        whole = raw_call(standin)
        half_sent.sendall(whole[:-9])
        wait_until(lambda: len(standin.journal()) > 4, "the calls")
        wait_until(standin.count_workers, "the first rows")
        going_on = pool.submit(other.post, *(a_worker() for _ in range(50)))
        assert control(gateway, "POST", f"reset?tenant={standin.tenant}").status == 200
        half_sent.sendall(whole[-9:])
        assert half_sent.recv(65_536).startswith(b"HTTP/1.1 503")
        assert broken_off.result().status == 503
        assert going_on.result().status == 200
    assert standin.count_workers() == 0
    assert standin.gateway.call("GET", "/api/imports", None, standin.headers).json["items"] == []
    assert len(control(gateway, "GET", f"faults?tenant={standin.tenant}").json["items"]) == 0
    assert standin.post(a_worker(), a_worker()).status == 200
    time.sleep(3)  # longer than the lease of a message
    assert (standin.count_workers(), other.count_workers()) == (2, 51)
    assert standin.token()
    assert len(control(gateway, "GET", f"faults?tenant={other.tenant}").json["items"]) == 1
    assert control(gateway, "POST", "reset?tenant=nobody").status == 404


# Snapshots.


def test_a_snapshot_brings_everything_back_on_another_machine(
    gateway: GatewayProcess, emulator: Emulator, tmp_path: Path, snapshots: Path
) -> None:
    reset(gateway)
    before = StandIn(gateway, control(gateway, "POST", "tenants", {"tenant": "snap"}).json)
    secret = a_worker(PrimaryBankDetails={"BankAccountNumber": "12345678"})
    sent = before.post(secret, a_worker(), {"EmployerRef": 1})
    token = before.token()
    stored = before.gateway.call("GET", "/api/records/workers", None, before.headers).json
    saved = control(gateway, "POST", "snapshots/base")
    assert saved.status == 201
    assert saved.json["entities"] > 5
    assert before.post(*(a_worker() for _ in range(600)), Prefer="respond-async").status == 202
    assert control(gateway, "POST", "snapshots/busy").status == 201

    assert control(gateway, "POST", "snapshots/busy/load").status == 200
    listed = before.gateway.call("GET", "/api/imports", None, before.headers).json["items"]
    assert [item["state"] for item in listed][:1] == ["Completed"]
    loaded = control(gateway, "POST", "snapshots/base/load")
    assert loaded.json["tenants"] == [before.made]
    assert before.gateway.call("GET", "/api/records/workers", None, before.headers).json == stored
    assert control(gateway, "POST", "snapshots/again").status == 201
    files = [(snapshots / f"{name}.jsonl").read_text("utf-8") for name in ("base", "again")]
    assert without_housekeeping(files[0]) == without_housekeeping(files[1])

    words = ("--standin", "--snapshots", str(snapshots))
    keys = {"GATEWAY_DATA_KEYS": "other:" + base64.b64encode(b"k" * 32).decode()}
    with started(emulator.account("standin2"), tmp_path, *words, **keys) as process:
        assert control(process, "POST", "snapshots/base/load").status == 200
        after = StandIn(process, before.made)
        found = process.call("GET", "/api/records/workers", None, after.headers).json
        assert found == stored
        assert found["items"][0]["record"]["PrimaryBankDetails"]["BankAccountNumber"] == "12345678"
        failed_rows = f"/api/imports/{sent.import_id}/failed-rows"
        assert len(process.call("GET", failed_rows, None, after.headers).json) == 1
        assert after.post(a_worker()).results[0]["importStatus"] == "OK"
        assert after.token() != token


def without_housekeeping(file: str) -> list[str]:
    """The lines of a snapshot but for those that timers and the reading of records write."""
    written = ('"retention"', '"health"', '"Audit"')
    return [line for line in file.splitlines() if not any(each in line for each in written)]


def test_snapshots_are_listed_shown_and_deleted(gateway: GatewayProcess, snapshots: Path) -> None:
    assert control(gateway, "POST", "snapshots/one").status == 201
    assert {"name": "one"} in control(gateway, "GET", "snapshots").json["items"]
    assert control(gateway, "GET", "snapshots/one").json["name"] == "one"
    assert control(gateway, "DELETE", "snapshots/one").status == 200
    assert control(gateway, "DELETE", "snapshots/one").status == 404
    assert control(gateway, "POST", "snapshots/one/load").status == 404
    for name in ("..%2Fx", ".x", "a%20b", "x" * 81):
        assert control(gateway, "POST", f"snapshots/{name}").status == 400
    made = StandIn(gateway, control(gateway, "POST", "tenants").json)
    keys = {"PartitionKey": "p", "RowKey": "r"}
    blob = {"container": "row-drop", "name": "b", "metadata": {}, "data": ""}
    for tenants, *lines in (
        ([], {"table": "Workers"}),
        ([], {"table": "Nothing", "entity": keys}),
        ([], *[{"table": "Workers", "entity": keys}] * 2),
        ([], {"table": "Workers", "entity": {**keys, "A": None}}),
        ([], {"table": "Workers", "entity": {**keys, "A": {"clear": "eA=="}}}),
        ([], {**blob, "container": "nothing"}),
        ([], {**blob, "metadata": {"a": 1}}),
        ([{"tenant": "t"}],),
        ("t",),
    ):
        head = {"format": 1, "tenants": tenants}
        content = "\n".join(json.dumps(line) for line in (head, *lines))
        (snapshots / "broken.jsonl").write_text(content)
        assert control(gateway, "POST", "snapshots/broken/load").status == 400, content
    assert made.post(a_worker()).status == 200


# Who may use it.


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "gateway.example"},
        {"Host": "127.0.0.1.example"},
        {"Host": ""},
        {"Origin": "http://example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_a_browser_cannot_use_the_control_calls(
    gateway: GatewayProcess, headers: dict[str, str]
) -> None:
    refused = gateway.call("POST", "/_standin/tenants", None, headers)
    assert refused.status == 403
    assert [name for name in refused.headers if name.startswith("access-control")] == []


def test_the_control_calls_are_off_unless_asked_for(storage: str, tmp_path: Path) -> None:
    with started(storage, tmp_path) as process:
        assert process.call("GET", "/_standin/faults").status == 404


def test_a_host_on_a_real_account_refuses_to_be_a_stand_in(tmp_path: Path) -> None:
    account = (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=YQ==;EndpointSuffix=x.example"
    )
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"Values": {"AzureWebJobsStorage": account}}))
    command = [sys.executable, "-m", "local_host", "--port", "0", "--standin", "--settings"]
    ended = subprocess.run(
        [*command, settings], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert ended.returncode == 1
    assert "--standin needs a storage emulator" in ended.stderr


def test_parallel_calls_are_all_in_the_journal(standin: StandIn) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: standin.count_workers(), range(40)))
    assert len(standin.journal()) == 40


# The page.


def test_the_commands_of_the_page_run(standin: StandIn) -> None:
    page = (ROOT / "docs" / "stand-in.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) > 5
    names = {
        "GATEWAY_STANDIN_URL": f"{standin.gateway.url}/_standin",
        "GATEWAY_TENANT": standin.tenant,
    }
    for command in commands:
        ran = subprocess.run(
            ["bash", "-c", command], env={**os.environ, **names}, capture_output=True, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, b""), command
        assert json.loads(ran.stdout), command
