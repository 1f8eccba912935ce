"""Idempotency-Key over HTTP: the first answer again, joined, or refused (docs/contracts.md#0)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.builders import a_worker, body_of
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e
OWN = {"x-correlation-id", "date", "server", "idempotent-replayed"}
"""Headers that each answer has for itself."""


def _key() -> dict[str, str]:
    return {"Idempotency-Key": f"key {uuid.uuid4().hex}"}


def _lasting(answer: Answer) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def _imports(gateway: GatewayProcess, sender: Sender) -> list[str]:
    items: list[dict[str, Any]] = gateway.get("/api/imports", sender).json["items"]
    return [item["importId"] for item in items]


def _check_replayed(first: Answer, again: Answer) -> None:
    assert (again.status, again.body) == (first.status, first.body)
    assert _lasting(again) == _lasting(first)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_the_same_call_again_gets_the_first_answer_and_does_nothing(
    gateway: GatewayProcess, sender: Sender
) -> None:
    key, rows = _key(), [a_worker("P1"), a_worker("P2", Gender="x"), a_worker("P1", Title="Dr")]
    first = gateway.post(sender, rows, Prefer="wait=50", **key)
    assert first.status == 200
    gateway.post(sender, [a_worker("P1", Title="Prof")])
    again = gateway.post(sender, rows, **key)
    _check_replayed(first, again)
    assert len(_imports(gateway, sender)) == 2


def test_a_first_answer_of_202_stays_202(gateway: GatewayProcess, sender: Sender) -> None:
    key, rows = _key(), [a_worker("P1")]
    first = gateway.post(sender, rows, Prefer="respond-async", **key)
    assert first.status == 202
    gateway.ended(sender, first.import_id)
    _check_replayed(first, gateway.post(sender, rows, **key))
    assert _imports(gateway, sender) == [first.import_id]


def test_an_answer_without_an_import_comes_again_too(
    gateway: GatewayProcess, sender: Sender
) -> None:
    key = _key()
    first = gateway.post(sender, [], **key)
    assert (first.status, first.json) == (200, {"results": []})
    _check_replayed(first, gateway.post(sender, [], **key))


def test_what_means_the_same_is_the_same_call(gateway: GatewayProcess, sender: Sender) -> None:
    key, body = _key(), body_of([a_worker("P1")])
    first = gateway.post(sender, body, **key)
    headers = {**sender.headers, **key, "Content-Type": "Application/JSON; charset=utf-8"}
    again = gateway.call("POST", "/API/import/workers/?VERSION=1", body, headers)
    _check_replayed(first, again)


@pytest.mark.parametrize(
    ("address", "media_type", "change"),
    [
        (WORKERS, "application/json", {"Surname": "Other"}),
        (WORKERS, "text/json", {}),
        ("/api/import/workers", "application/json", {}),
        ("/api/import/assignments?version=1", "application/json", {}),
    ],
)
def test_a_key_with_another_call_is_refused(
    gateway: GatewayProcess, sender: Sender, address: str, media_type: str, change: dict[str, str]
) -> None:
    key = _key()
    first = gateway.post(sender, [a_worker("P1")], **key)
    headers = {**sender.headers, **key, "Content-Type": media_type}
    answer = gateway.call("POST", address, body_of([a_worker("P1", **change)]), headers)
    check_refusal(answer, 422, "Idempotency-Key")
    assert _imports(gateway, sender) == [first.import_id]


def test_a_refused_call_leaves_its_key_free(gateway: GatewayProcess, sender: Sender) -> None:
    key = _key()
    check_refusal(gateway.post(sender, b"[", **key), 400)
    check_refusal(gateway.post(sender, b"[1]", **key), 501)
    answer = gateway.post(sender, [a_worker("P1")], **key)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers


def test_a_key_has_up_to_255_characters(gateway: GatewayProcess, sender: Sender) -> None:
    longest = "k" * 255
    assert gateway.post(sender, [a_worker("P1")], **{"Idempotency-Key": longest}).status == 200
    for wrong in ("", " ", "k" * 256):
        answer = gateway.post(sender, [a_worker("P1")], **{"Idempotency-Key": wrong})
        check_refusal(answer, 400, "Idempotency-Key")


def test_keys_belong_to_a_tenant(gateway: GatewayProcess, sender: Sender, storage: str) -> None:
    key, rows = _key(), [a_worker("P1")]
    colleague, stranger = a_sender(storage, sender.tenant), a_sender(storage)
    first = gateway.post(sender, rows, **key)
    _check_replayed(first, gateway.post(colleague, rows, **key))
    theirs = gateway.post(stranger, rows, **key)
    assert "idempotent-replayed" not in theirs.headers
    assert theirs.import_id != first.import_id


def test_a_call_that_is_still_running_is_joined(gateway: GatewayProcess, sender: Sender) -> None:
    key, rows = _key(), [a_worker(f"P{number}") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(gateway.post, sender, rows, **key) for _ in range(8)]
        answers = [call.result() for call in calls]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    worked = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    assert len(worked) == 1
    assert _imports(gateway, sender) == [worked[0].import_id]
    assert len(json.loads(worked[0].body)["results"]) == 200
