"""Options of an import call: dryRun, Idempotency-Key, allowSameFile."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.builders import SAMPLE, a_worker, body_of
from tests.contract.calls import DRY_RUN_ROWS, a_license, check_refusal, counted, send_licenses
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e


# Dry runs over HTTP: the answer of the run, and nothing else (docs/contracts.md#0, dryRun).

DRY, ROWS = f"{WORKERS}&dryRun=true", f"{WORKERS}&dryRun=true&view=rows"


def _post(
    gateway: GatewayProcess, sender: Sender, rows: list[Any] | bytes, address: str, **headers: str
) -> Answer:
    body = rows if isinstance(rows, bytes) else body_of(rows)
    sent = {"Content-Type": "application/json", **sender.headers, **headers}
    return gateway.call("POST", address, body, sent)


def _imports(gateway: GatewayProcess, sender: Sender) -> list[Any]:
    items: list[Any] = gateway.get("/api/imports", sender).json["items"]
    return items


def test_a_dry_run_answers_what_the_run_answers(gateway: GatewayProcess, sender: Sender) -> None:
    gateway.post(sender, [a_worker("P1"), a_worker("P2")])
    rows = [
        a_worker("P1", Title="Dr", Unknown=1),
        a_worker("P2"),
        a_worker("P3", Gender="x", StartDate="2024-02-30"),
        a_worker("P1", Title="Prof"),
        {"Surname": "nobody"},
        a_worker("P4", LeavingDate="2020-01-01", StartDate="2021-01-01"),
    ]
    dry = _post(gateway, sender, rows, DRY)
    assert "x-import-id" not in dry.headers
    assert len(_imports(gateway, sender)) == 1
    real = gateway.post(sender, rows)
    assert (dry.status, dry.body) == (real.status, real.body)


def test_the_vendors_sample_runs_dry(gateway: GatewayProcess, sender: Sender) -> None:
    dry = _post(gateway, sender, SAMPLE.read_bytes(), DRY)
    real = gateway.post(sender, SAMPLE.read_bytes())
    assert (dry.status, dry.body) == (200, real.body)


@pytest.mark.parametrize("address", [f"{WORKERS}&DRYRUN=TRUE", f"{WORKERS}&dryrun=True&View=Rows"])
def test_names_and_values_of_the_query_match_in_any_case(
    gateway: GatewayProcess, sender: Sender, address: str
) -> None:
    assert _post(gateway, sender, [a_worker("P1")], address).status == 200
    assert _imports(gateway, sender) == []


def test_a_call_with_dry_run_false_is_a_real_run(gateway: GatewayProcess, sender: Sender) -> None:
    assert _post(gateway, sender, [a_worker("P1")], f"{WORKERS}&dryRun=false").import_id


def test_a_dry_run_neither_waits_nor_remembers_a_key(
    gateway: GatewayProcess, sender: Sender
) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    for rows in ([a_worker("P1")], [a_worker("P2")]):
        answer = _post(gateway, sender, rows, DRY, Prefer="respond-async", **key)
        assert answer.status == 200
        assert not {"preference-applied", "location", "idempotent-replayed"} & set(answer.headers)
    assert "idempotent-replayed" not in gateway.post(sender, [a_worker("P3")], **key).headers


def test_no_rows_run_dry_too(gateway: GatewayProcess, sender: Sender) -> None:
    assert _post(gateway, sender, [], DRY).json == {"results": []}
    assert _post(gateway, sender, [], ROWS).json == {
        "dryRun": True,
        "items": [],
        "continuation": None,
    }


def test_the_rows_show_what_each_would_change(gateway: GatewayProcess, sender: Sender) -> None:
    account = {"BankSortCode": "123456", "BankAccountNumber": "12345678"}
    gateway.post(sender, [a_worker("P1", Title="Mr", Gender=1, PrimaryBankDetails=account)])
    other = {**account, "BankAccountNumber": "87654321"}
    rows = [
        a_worker("P2", FirstForename="Ann"),
        a_worker("P1", Title="Dr", Gender=None, PrimaryBankDetails=other),
        a_worker("P1", Title="Prof"),
        a_worker("P3", Gender="x"),
        a_worker("P1", Title="Prof"),
    ]
    answer = _post(gateway, sender, rows, ROWS)
    items = {item["index"]: item for item in answer.json["items"]}
    assert [items[index]["outcome"] for index in range(5)] == [
        "new", "updated", "updated", "failed", "unchanged",
    ]  # fmt: skip
    assert items[0]["changes"] == [
        {"field": "EmployerRef", "before": None, "after": "E1"},
        {"field": "PersonnelRef", "before": None, "after": "P2"},
        {"field": "Surname", "before": None, "after": "Sample"},
        {"field": "FirstForename", "before": None, "after": "Ann"},
    ]
    changed = {change.pop("field"): change for change in items[1]["changes"]}
    assert changed == {
        "Title": {"before": "Mr", "after": "Dr"},
        "Gender": {"before": 1, "after": None},
        "PrimaryBankDetails.BankAccountNumber": {"before": "***", "after": "***"},
    }
    assert items[2]["changes"] == [{"field": "Title", "before": "Dr", "after": "Prof"}]
    assert items[3]["changes"] == items[4]["changes"] == []
    for secret in account.values():
        assert secret.encode() not in answer.body
    assert gateway.get("/api/imports", sender).json["items"][0]["rows"]["total"] == 1


def test_the_rows_are_those_that_the_run_would_list(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"P{number % 7}", Title=f"T{number}") for number in range(20)]
    items = _post(gateway, sender, rows, ROWS).json["items"]
    for item in items:
        del item["changes"]
    import_id = gateway.post(sender, rows).import_id
    assert gateway.get(f"/api/imports/{import_id}/results", sender).json["items"] == items


@pytest.mark.parametrize(
    ("query", "wording"),
    [
        ("&dryRun=1", "dryRun"),
        ("&dryRun=yes", "dryRun"),
        ("&dryRun=true&view=columns", "view"),
        ("&view=rows", "view"),
        ("&dryRun=false&view=rows", "view"),
    ],
)
def test_a_wish_that_is_not_understood_is_refused_rather_than_ignored(
    gateway: GatewayProcess, sender: Sender, query: str, wording: str
) -> None:
    check_refusal(_post(gateway, sender, [a_worker("P1")], WORKERS + query), 400, wording)
    assert _imports(gateway, sender) == []


def test_a_dry_run_refuses_what_the_run_refuses(gateway: GatewayProcess, sender: Sender) -> None:
    check_refusal(_post(gateway, sender, b"[", DRY), 400, "not valid JSON")
    check_refusal(_post(gateway, sender, b"[1]", DRY), 501, "Payload data not supported")


def test_more_rows_than_the_limit_of_a_dry_run_are_refused(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"P{number}") for number in range(DRY_RUN_ROWS + 1)]
    assert _post(gateway, sender, rows[:-1], DRY).status == 200
    check_refusal(_post(gateway, sender, rows, DRY), 413, str(DRY_RUN_ROWS))
    assert gateway.post(sender, rows).status == 200


# Idempotency-Key over HTTP: the first answer again, joined, or refused (docs/contracts.md#0).

OWN = {"x-correlation-id", "date", "server", "idempotent-replayed"}
"""Headers that each answer has for itself."""


def _key() -> dict[str, str]:
    return {"Idempotency-Key": f"key {uuid.uuid4().hex}"}


def _lasting(answer: Answer) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OWN}


def _import_ids(gateway: GatewayProcess, sender: Sender) -> list[str]:
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
    assert len(_import_ids(gateway, sender)) == 2


def test_a_first_answer_of_202_stays_202(gateway: GatewayProcess, sender: Sender) -> None:
    key, rows = _key(), [a_worker("P1")]
    first = gateway.post(sender, rows, Prefer="respond-async", **key)
    assert first.status == 202
    gateway.ended(sender, first.import_id)
    _check_replayed(first, gateway.post(sender, rows, **key))
    assert _import_ids(gateway, sender) == [first.import_id]


def test_an_answer_without_an_import_is_replayed_too(
    gateway: GatewayProcess, sender: Sender
) -> None:
    key = _key()
    first = gateway.post(sender, [], **key)
    assert (first.status, first.json) == (200, {"results": []})
    _check_replayed(first, gateway.post(sender, [], **key))


def test_requests_with_the_same_meaning_are_the_same_call(
    gateway: GatewayProcess, sender: Sender
) -> None:
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
    assert _import_ids(gateway, sender) == [first.import_id]


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
    of_stranger = gateway.post(stranger, rows, **key)
    assert "idempotent-replayed" not in of_stranger.headers
    assert of_stranger.import_id != first.import_id


def test_a_call_that_is_still_running_is_joined(gateway: GatewayProcess, sender: Sender) -> None:
    key, rows = _key(), [a_worker(f"P{number}") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(gateway.post, sender, rows, **key) for _ in range(8)]
        answers = [call.result() for call in calls]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    worked = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    assert len(worked) == 1
    assert _import_ids(gateway, sender) == [worked[0].import_id]
    assert len(json.loads(worked[0].body)["results"]) == 200


# allowSameFile=false: the same content goes in once, whatever the action (docs/contracts.md#2).

ONCE = "allowSameFile=false"
LICENSE_ROWS = [a_license("L1"), a_license("L2")]


def test_content_that_went_in_is_refused_and_named(gateway: GatewayProcess, sender: Sender) -> None:
    first = send_licenses(gateway, sender, LICENSE_ROWS, ONCE)
    assert counted(first) == (2, 0, 0)
    check_refusal(
        send_licenses(gateway, sender, LICENSE_ROWS, "ALLOWSAMEFILE=False"), 409, first.import_id
    )
    assert counted(send_licenses(gateway, sender, LICENSE_ROWS)) == (0, 2, 0)
    assert counted(send_licenses(gateway, sender, LICENSE_ROWS, "allowSameFile=true")) == (0, 2, 0)


def test_content_imported_without_the_option_counts_too(
    gateway: GatewayProcess, sender: Sender
) -> None:
    first = send_licenses(gateway, sender, LICENSE_ROWS)
    check_refusal(send_licenses(gateway, sender, LICENSE_ROWS, ONCE), 409, first.import_id)


def test_content_that_ended_with_errors_may_come_again(
    gateway: GatewayProcess, sender: Sender
) -> None:
    assert counted(send_licenses(gateway, sender, LICENSE_ROWS, f"{ONCE}&importAction=Update")) == (
        0,
        0,
        2,
    )
    assert counted(send_licenses(gateway, sender, LICENSE_ROWS, f"{ONCE}&importAction=Update")) == (
        0,
        0,
        2,
    )
    good = send_licenses(gateway, sender, LICENSE_ROWS)
    check_refusal(
        send_licenses(gateway, sender, LICENSE_ROWS, f"{ONCE}&importAction=Update"),
        409,
        good.import_id,
    )


@pytest.mark.parametrize("action", ["Insert", "Update", "Merge", "Override", "Replace"])
def test_content_that_went_in_is_refused_whatever_the_action(
    gateway: GatewayProcess, sender: Sender, action: str
) -> None:
    first = send_licenses(gateway, sender, LICENSE_ROWS, "importAction=Merge")
    again = send_licenses(gateway, sender, LICENSE_ROWS, f"{ONCE}&importAction={action}")
    check_refusal(again, 409, first.import_id)
    foretold = send_licenses(
        gateway, sender, LICENSE_ROWS, f"{ONCE}&importAction={action}&dryRun=true"
    )
    check_refusal(foretold, 409, first.import_id)


def test_the_hash_of_a_content_that_is_stored_cannot_be_computed_from_it(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    send_licenses(gateway, sender, body_of(LICENSE_ROWS), ONCE)

    async def stored() -> list[str]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            entities = await opened.account.tables.query("Imports", sender.tenant)
            return [f"{entity.row} {entity.values}" for entity in entities]

    text = "\n".join(asyncio.run(stored()))
    assert "file|licenses|" in text
    assert hashlib.sha256(body_of(LICENSE_ROWS)).hexdigest() not in text


def test_other_bytes_or_another_tenant_are_another_content(
    gateway: GatewayProcess, sender: Sender, unused_senders: Iterator[Sender]
) -> None:
    send_licenses(gateway, sender, LICENSE_ROWS, ONCE)
    assert counted(send_licenses(gateway, sender, [*LICENSE_ROWS, a_license("L3")], ONCE)) == (
        1,
        2,
        0,
    )
    assert counted(send_licenses(gateway, next(unused_senders), LICENSE_ROWS, ONCE)) == (2, 0, 0)


def test_a_refused_or_empty_call_does_not_count_as_imported(
    gateway: GatewayProcess, sender: Sender
) -> None:
    for _ in range(2):
        check_refusal(send_licenses(gateway, sender, b"[{", ONCE), 400)
        assert send_licenses(gateway, sender, [], ONCE).status == 200


def test_content_that_is_running_is_refused(gateway: GatewayProcess, sender: Sender) -> None:
    many = [a_license(f"L{number}", str(number)) for number in range(200)]
    first = send_licenses(gateway, sender, many, Prefer="respond-async")
    assert first.status == 202
    check_refusal(send_licenses(gateway, sender, many, ONCE), 409, first.import_id)
    gateway.ended(sender, first.import_id)


def test_only_one_of_many_simultaneous_calls_is_imported(
    gateway: GatewayProcess, sender: Sender
) -> None:
    for turn in range(4):
        rows: list[dict[str, Any]] = [a_license(f"L{turn}")]
        with ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(send_licenses, gateway, sender, rows, ONCE) for _ in range(6)]
            answers = [call.result() for call in calls]
        [accepted] = [answer for answer in answers if answer.status == 200]
        assert counted(accepted) == (1, 0, 0)
        for answer in answers:
            if answer is not accepted:
                check_refusal(answer, 409, accepted.import_id)
