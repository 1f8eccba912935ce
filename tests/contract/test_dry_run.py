"""Dry runs over HTTP: the answer of the run, and nothing else (docs/contracts.md#0, dryRun)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.builders import SAMPLE, a_worker, body_of
from tests.contract.limits import DRY_RUN_ROWS
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
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


def test_a_call_that_says_it_is_no_dry_run_is_none(gateway: GatewayProcess, sender: Sender) -> None:
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


def test_more_rows_than_a_dry_run_takes_are_refused(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"P{number}") for number in range(DRY_RUN_ROWS + 1)]
    assert _post(gateway, sender, rows[:-1], DRY).status == 200
    check_refusal(_post(gateway, sender, rows, DRY), 413, str(DRY_RUN_ROWS))
    assert gateway.post(sender, rows).status == 200
