"""Following imports, and what the gateway tells of itself (docs/contracts.md#5)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.builders import a_worker
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e
GOOD, BAD = 130, 20


@pytest.fixture(name="mixed")
def fixture_mixed(gateway: GatewayProcess, sender: Sender) -> str:
    """The id of an ended import of several chunks with good rows and bad ones."""
    good = [a_worker(f"P{number:03d}") for number in range(GOOD)]
    bad = [a_worker(f"X{number:03d}", Gender="x") for number in range(BAD)]
    rows = [row for pair in zip(good, bad, strict=False) for row in pair] + good[BAD:]
    return gateway.post(sender, rows).import_id


def test_an_ended_import_shows_its_counts(
    gateway: GatewayProcess, sender: Sender, mixed: str
) -> None:
    shown = gateway.get(f"/api/imports/{mixed}", sender).json
    assert shown["state"] == "CompletedWithErrors"
    assert shown["rows"] == {
        "total": GOOD + BAD,
        "done": GOOD + BAD,
        "new": GOOD,
        "updated": 0,
        "unchanged": 0,
        "failed": BAD,
        "repaired": 0,
        "warnings": 0,
        "infos": 0,
    }
    assert shown["endedAt"] >= shown["acceptedAt"]
    assert shown["rowsPerSecond"] > 0
    assert shown["secondsLeft"] == 0
    assert (shown["parentId"], shown["childIds"]) == (None, [])
    here = f"/api/imports/{mixed}"
    assert shown["links"] == {
        "self": here,
        "results": f"{here}/results",
        "failures": f"{here}/failures",
        "answer": f"{here}/answer",
        "failedRows": f"{here}/failed-rows",
        "retry": f"{here}/retry",
    }
    for name in ("self", "results", "answer", "failedRows"):
        assert gateway.get(shown["links"][name], sender).status == 200


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_results_come_page_by_page_each_row_once(
    gateway: GatewayProcess, sender: Sender, mixed: str, size: int
) -> None:
    if size == 1:
        pages = _pages(gateway, sender, mixed, f"pageSize={size}&outcome=failed")
        assert [len(page) for page in pages] == [1] * BAD
        return
    pages = _pages(gateway, sender, mixed, f"pageSize={size}")
    assert all(len(page) == size for page in pages[:-1])
    items = [item for page in pages for item in page]
    assert sorted(item["index"] for item in items) == list(range(GOOD + BAD))
    keys = [(item["key"]["EmployerRef"], item["key"]["PersonnelRef"]) for item in items]
    assert keys == sorted(keys), "plan order is the order of keys"


@pytest.mark.parametrize(("outcome", "count"), [("failed", BAD), ("New", GOOD), ("updated", 0)])
def test_results_can_be_limited_to_one_outcome(
    gateway: GatewayProcess, sender: Sender, mixed: str, outcome: str, count: int
) -> None:
    pages = _pages(gateway, sender, mixed, f"outcome={outcome}&pageSize=33")
    items = [item for page in pages for item in page]
    assert len(items) == count
    assert {item["outcome"] for item in items} <= {outcome.lower()}
    assert all(bool(item["messages"]) is (outcome == "failed") for item in items)


def _pages(
    gateway: GatewayProcess, sender: Sender, import_id: str, query: str
) -> list[list[dict[str, Any]]]:
    pages, continuation = [], ""
    while True:
        answer = gateway.get(f"/api/imports/{import_id}/results?{query}{continuation}", sender)
        assert answer.status == 200, answer.body
        assert list(answer.json) == ["items", "continuation"]
        pages.append(answer.json["items"])
        if answer.json["continuation"] is None:
            return pages
        continuation = f"&continuation={answer.json['continuation']}"


@pytest.mark.parametrize(
    "query",
    [
        "pageSize=0",
        "pageSize=1001",
        "pageSize=x",
        "outcome=good",
        "continuation=!",
        "continuation=MQ",
    ],
)
def test_a_list_that_is_asked_for_wrongly_is_refused(
    gateway: GatewayProcess, sender: Sender, mixed: str, query: str
) -> None:
    check_refusal(gateway.get(f"/api/imports/{mixed}/results?{query}", sender), 400)


def test_the_list_shows_one_type_or_state_if_wanted(
    gateway: GatewayProcess, sender: Sender
) -> None:
    clean = gateway.post(sender, [a_worker("P1")]).import_id
    failed = gateway.post(sender, [a_worker("P2", Gender="x")]).import_id

    def ids(query: str) -> list[str]:
        return [
            item["importId"] for item in gateway.get(f"/api/imports?{query}", sender).json["items"]
        ]

    assert ids("type=workers") == [failed, clean]
    assert ids("type=assignments") == []
    assert ids("State=completed") == [clean]
    assert ids("state=CompletedWithErrors&type=WORKERS") == [failed]
    for query in ("type=nothing", "state=nothing"):
        check_refusal(gateway.get(f"/api/imports?{query}", sender), 400, "must be one of")


def test_a_limited_list_is_paged_without_loss(gateway: GatewayProcess, sender: Sender) -> None:
    wanted = []
    for number in range(5):
        wanted.append(gateway.post(sender, [a_worker(f"P{number}")]).import_id)
        gateway.post(sender, [a_worker(f"X{number}", Gender="x")])
    found, path = [], "/api/imports?state=Completed&pageSize=2"
    continuation = ""
    while True:
        page = gateway.get(f"{path}{continuation}", sender).json
        found += [item["importId"] for item in page["items"]]
        if page["continuation"] is None:
            break
        continuation = f"&continuation={page['continuation']}"
    assert found == wanted[::-1]


def test_imports_are_listed_newest_first(gateway: GatewayProcess, sender: Sender) -> None:
    sent = [gateway.post(sender, [a_worker("P1")]).import_id for _ in range(3)]
    first = gateway.get("/api/imports?pageSize=2", sender).json
    rest = gateway.get(f"/api/imports?continuation={first['continuation']}", sender).json
    listed = [item["importId"] for item in (*first["items"], *rest["items"])]
    assert listed == sent[::-1]
    assert rest["continuation"] is None


@pytest.mark.parametrize("what", ["", "/results", "/answer", "/failed-rows"])
def test_an_id_of_another_tenant_is_not_found_like_one_that_does_not_exist(
    gateway: GatewayProcess, sender: Sender, storage: str, what: str
) -> None:
    theirs = gateway.post(a_sender(storage), [a_worker("P1")]).import_id
    messages = {
        check_refusal(gateway.get(f"/api/imports/{import_id}{what}", sender), 404)
        for import_id in (theirs, str(uuid.uuid4()), "no-guid", "a%27b", "x" * 300)
    }
    assert len(messages) == 1


@pytest.mark.parametrize("what", ["", "/x", "/x/results", "/x/answer", "/x/failed-rows"])
def test_imports_are_shown_to_nobody_without_a_key(gateway: GatewayProcess, what: str) -> None:
    check_refusal(gateway.call("GET", f"/api/imports{what}"), 401)


def test_health_is_open_and_says_ok(gateway: GatewayProcess) -> None:
    answer = gateway.call("GET", "/api/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("name", ["workers.v1.schema", "Workers.V1.Schema"])
def test_the_schema_is_open_and_names_every_field(gateway: GatewayProcess, name: str) -> None:
    answer = gateway.call("GET", f"/api/import/{name}")
    assert answer.status == 200
    schema = answer.json
    assert set(schema["required"]) == {"EmployerRef", "PersonnelRef"}
    assert {"Surname", "eP45PrintMethod", "UKPayrollDetails"} <= set(schema["properties"])


def test_an_unknown_schema_is_404(gateway: GatewayProcess) -> None:
    check_refusal(gateway.call("GET", "/api/import/workers.v2.schema"), 404, "workers.v1.schema")
