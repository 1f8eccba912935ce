"""Authentication data over HTTP: the vendor's sample, refusals, 200 and 202.

See docs/contracts.md#0 and docs/contracts.md#3.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.auth.clients import Scope
from tests.contract.calls import (
    AUTHDATA,
    MAX_ROWS,
    STAGE,
    check_refusal,
    process_authdata,
    send_authdata,
)
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.harness import an_employee
from tests.tenants import Sender, a_sender, a_token_client

pytestmark = pytest.mark.e2e
SAMPLE = Path(__file__).parents[1] / "golden" / "paperless-authdata-stage.request.json"
BATCH = "8375fb13-cce4-4cf1-8280-7bad9e6cb16f"
EMPTY = {
    "fileLogId": BATCH,
    "totalNew": 0,
    "totalRecords": 0,
    "totalUpdates": 0,
    "totalErrors": 0,
    "totalNoChange": 0,
    "totalEmpIdUpdate": 0,
    "totalAuthValueChange": 0,
    "totalStatusChange": 0,
    "totalDuplicates": 0,
    "duplicateAuthValues": [],
    "thresholdExceptions": [],
    "errorDetails": [],
    "employeeDetails": [],
}


def test_the_documents_sample_is_answered_with_the_documents_shape(
    gateway: GatewayProcess, sender: Sender
) -> None:
    """Staged on an empty store, processed, then changed as the document's answer has it."""
    headers = {"Content-Type": "application/json", **sender.headers}
    staged = gateway.call("POST", STAGE, SAMPLE.read_bytes(), headers)
    assert staged.status == 200
    new = {"totalNew": 1, "totalRecords": 1}
    details = [{"Key": "string", "Value": "New Record"}]
    assert staged.json == {**EMPTY, **new, "employeeDetails": details}
    assert list(staged.json) == list(EMPTY), "in the document's order"
    done = process_authdata(gateway, sender, BATCH)
    assert (done.status, done.json) == (200, staged.json)

    changed = {**an_employee("string", "string", "string", "new"), "employeeStatus": "Left"}
    second = str(uuid.uuid4())
    answer = send_authdata(gateway, sender, [changed], fileLogId=second)
    assert answer.json == {
        **EMPTY,
        "fileLogId": second,
        "totalRecords": 1,
        "totalUpdates": 1,
        "totalAuthValueChange": 1,
        "totalStatusChange": 1,
        "employeeDetails": [{"Key": "string", "Value": "Auth Value Updated"}],
    }


def test_a_batch_is_staged_reviewed_and_processed(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [an_employee("E1"), an_employee("E1"), an_employee("")]
    staged = send_authdata(gateway, sender, rows, STAGE)
    batch = staged.json["fileLogId"]
    here = f"{AUTHDATA}/{batch}"
    assert gateway.get(here, sender).json == staged.json
    done = process_authdata(gateway, sender, batch.upper())
    assert done.json == staged.json
    import_id = done.headers["x-import-id"]
    for address in (here, f"/api/imports/{import_id}/answer"):
        again = gateway.get(address, sender)
        assert (again.status, again.json) == (200, done.json)
    assert process_authdata(gateway, sender, batch).json == done.json
    shown = gateway.get(f"/api/imports/{import_id}", sender).json
    assert shown["type"] == "authdata"
    assert shown["rows"]["failed"] == 1
    failed = gateway.get(f"/api/imports/{import_id}/failed-rows", sender).json
    assert [each["row"] for each in failed] == [{}]
    check_refusal(send_authdata(gateway, sender, rows, STAGE, fileLogId=batch), 409)


def test_batches_are_listed_in_pages_without_their_records(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    assert gateway.get(AUTHDATA, sender).json == {"items": [], "continuation": None}
    staged, waiting, done = (
        send_authdata(gateway, sender, [an_employee(f"E{at}")] * (at + 1), STAGE).json["fileLogId"]
        for at in range(3)
    )
    import_id = process_authdata(gateway, sender, done).headers["x-import-id"]

    async def end_and_tidy() -> None:
        settings = settings_for(storage, sweep_after_seconds=-1)
        async with open_ready_gateway(settings) as opened:
            await opened.authdata.processing.clean_up(sender.tenant)

    asyncio.run(end_and_tidy())
    items: list[dict[str, Any]] = []
    following: str | None = ""
    while following is not None:
        more = f"&continuation={following}" if following else ""
        page = gateway.get(f"{AUTHDATA}?pageSize=1{more}", sender).json
        assert len(page["items"]) <= 1
        items += page["items"]
        following = page["continuation"]
    assert [(each["fileLogId"], each["state"], each["records"]) for each in items] == [
        (staged, "Staged", 1),
        (waiting, "Staged", 2),
        (done, "Processed", 3),
    ]
    assert [each["importId"] for each in items] == [None, None, import_id]
    assert items[0].keys() == items[2].keys()
    later = gateway.get(f"{AUTHDATA}?since=2999-01-01", sender).json["items"]
    assert [each["fileLogId"] for each in later] == [staged, waiting]
    for query, wording in (("since=x", "since"), ("continuation=eA", "continuation"), ("a=b", "a")):
        check_refusal(gateway.get(f"{AUTHDATA}?{query}", sender), 400, wording)
    assert gateway.get(AUTHDATA, a_sender(storage)).json["items"] == []


def test_a_retry_needs_the_rows_in_its_body(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [an_employee("E1"), an_employee(""), an_employee("E2", None)]
    parent = send_authdata(gateway, sender, rows).headers["x-import-id"]
    address = f"/api/imports/{parent}/retry"

    def retry(body: object) -> Answer:
        sent = {**sender.headers, "Content-Type": "application/json", "Idempotency-Key": "r"}
        return gateway.call("POST", address, json.dumps(body).encode(), sent)

    check_refusal(gateway.call("POST", address, None, sender.headers), 400, "not kept")
    check_refusal(retry([{"index": 0, "row": rows[0]}]), 400, "index 0")
    child = retry([{"index": 1, "row": an_employee("E9")}])
    assert (child.status, child.json["parentId"]) == (200, parent)
    assert child.json["rows"]["new"] == child.json["rows"]["total"] == 1
    answer = gateway.get(f"/api/imports/{child.json['importId']}/answer", sender).json
    assert answer["employeeDetails"] == [{"Key": "E9", "Value": "New Record"}]


def test_a_process_call_need_not_wait(gateway: GatewayProcess, sender: Sender) -> None:
    batch = send_authdata(gateway, sender, [an_employee("E1")], STAGE).json["fileLogId"]
    answer = process_authdata(gateway, sender, batch, Prefer="respond-async")
    assert answer.status == 202
    assert answer.headers["preference-applied"] == "respond-async"
    location = answer.headers["location"]
    gateway.ended(sender, answer.json["importId"])
    assert gateway.get(f"{location}/answer", sender).json["totalNew"] == 1
    assert gateway.get(f"{AUTHDATA}/{batch}", sender).json["totalNew"] == 1


def test_the_same_key_is_the_same_call(gateway: GatewayProcess, sender: Sender) -> None:
    headers = {"Idempotency-Key": "once"}
    for address in (STAGE, AUTHDATA):
        key = {"Idempotency-Key": address}
        first, again = (
            send_authdata(gateway, sender, [an_employee("E1")], address, key) for _ in range(2)
        )
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json == first.json
    batch = send_authdata(gateway, sender, [an_employee("E2")], STAGE, headers).json["fileLogId"]
    assert gateway.get(f"{AUTHDATA}/{batch}", sender).json["totalRecords"] == 1
    check_refusal(send_authdata(gateway, sender, [an_employee("E3")], STAGE, headers), 422)


def test_a_token_of_the_scope_is_as_good_as_a_key_pair(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    good = a_token_client(storage, gateway.url, "", Scope.IMPORT_AUTHDATA)
    answer = send_authdata(gateway, sender, [an_employee("E1")], headers=dict(good.headers))
    assert answer.json["totalNew"] == 1
    import_id = answer.headers["x-import-id"]
    assert gateway.call("GET", f"/api/imports/{import_id}", None, good.headers).status == 200
    check_refusal(gateway.get(f"/api/imports/{import_id}", sender), 404)
    other = a_token_client(storage, gateway.url, "", Scope.IMPORT_INBOX)
    refused = send_authdata(gateway, sender, [an_employee("E1")], headers=dict(other.headers))
    check_refusal(refused, 403)
    assert 'scope="import_authdata"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("address", [STAGE, AUTHDATA, f"{AUTHDATA}/{BATCH}"])
def test_refusals_come_in_the_order_of_the_contract(
    gateway: GatewayProcess, sender: Sender, address: str
) -> None:
    def call(headers: dict[str, str], body: bytes = b"{}") -> Answer:
        return gateway.call("POST", address, body, headers)

    keys = dict(sender.headers)
    unauthenticated = call({})
    check_refusal(unauthenticated, 401)
    assert "Bearer" in unauthenticated.headers["www-authenticate"]
    check_refusal(call({**keys, "X-Software-Key": "other"}), 403)
    check_refusal(call({**keys, "Accept": "text/html"}, b"x" * 60_001), 413)
    check_refusal(call({**keys, "Accept": "text/html"}), 406)


@pytest.mark.parametrize("address", [STAGE, AUTHDATA])
def test_a_wrong_body_is_refused(gateway: GatewayProcess, sender: Sender, address: str) -> None:
    def call(body: bytes, media_type: str = "application/json") -> Answer:
        headers = {**sender.headers, "Content-Type": media_type}
        return gateway.call("POST", address, body, headers)

    check_refusal(call(b"<a/>", "text/xml"), 415)
    for body in (b"", b"{", b"[]", b"{}", b'{"employee":[1]}', b'{"fileLogId":"x","employee":[]}'):
        check_refusal(call(body), 400)
    many = json.dumps({"employee": [{}] * (MAX_ROWS + 1)}).encode()
    check_refusal(call(many), 413, str(MAX_ROWS))


def test_a_dry_run_answers_what_the_call_would_and_leaves_no_trace(
    gateway: GatewayProcess, sender: Sender
) -> None:
    send_authdata(gateway, sender, [an_employee("E1", status="on")])
    rows = [an_employee("E1", "E1-one", "other", status="off"), an_employee("E2")]
    imports = gateway.get("/api/imports", sender).json
    dry = [send_authdata(gateway, sender, rows, f"{at}?dryRun=true") for at in (STAGE, AUTHDATA)]
    assert dry[0].json["fileLogId"] == "00000000-0000-0000-0000-000000000000"
    assert all("x-import-id" not in answer.headers for answer in dry)
    view = send_authdata(gateway, sender, rows, f"{AUTHDATA}?dryRun=true&view=rows").json["items"]
    assert view[0]["changes"] == [
        {"field": "employeeStatus", "before": "on", "after": "off"},
        {"field": "authValue2", "before": "***", "after": "***"},
    ]
    assert [item["outcome"] for item in view] == ["updated", "new"]
    assert gateway.get("/api/imports", sender).json == imports

    staged = send_authdata(gateway, sender, rows, STAGE)
    batch = {"fileLogId": staged.json["fileLogId"]}
    address = f"{AUTHDATA}/{batch['fileLogId']}"
    again = gateway.call("POST", f"{address}?dryRun=true", None, sender.headers)
    assert again.json == staged.json == {**dry[0].json, **batch} == {**dry[1].json, **batch}
    assert process_authdata(gateway, sender, batch["fileLogId"]).json == staged.json


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_batch_is_404_even_if_another_tenant_has_it(
    gateway: GatewayProcess, sender: Sender, unused_senders: Iterator[Sender], method: str
) -> None:
    of_other_tenant = send_authdata(gateway, next(unused_senders), [an_employee("E1")], STAGE)
    for batch in (of_other_tenant.json["fileLogId"], str(uuid.uuid4()), "0" * 32):
        answer = gateway.call(method, f"{AUTHDATA}/{batch}", None, sender.headers)
        check_refusal(answer, 404)
    no_guid = gateway.call(method, f"{AUTHDATA}/other", None, sender.headers)
    assert (no_guid.status, no_guid.body) == (404, b""), "the host's own answer"
