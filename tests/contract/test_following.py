"""Following imports: status, messages in groups, failed rows (docs/contracts.md#5)."""

from __future__ import annotations

import csv
import json
import uuid
from contextlib import suppress
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueServiceClient

from shared.imports.placements.definition import PLACEMENTS
from shared.imports.registry import IMPORT_TYPES
from shared.imports.results import MAX_GROUPS, MAX_INDEXES
from shared.storage.dropped_blobs import POISON_QUEUE
from tests.builders import a_worker
from tests.contract.calls import a_license, check_refusal, send_licenses
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e


# Following imports, and what the gateway tells of itself (docs/contracts.md#5).

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
        "undo": f"{here}/undo",
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


def test_the_list_can_be_limited_to_one_type_or_state(
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
    expected_ids = []
    for number in range(5):
        expected_ids.append(gateway.post(sender, [a_worker(f"P{number}")]).import_id)
        gateway.post(sender, [a_worker(f"X{number}", Gender="x")])
    listed_ids, path = [], "/api/imports?state=Completed&pageSize=2"
    continuation = ""
    while True:
        page = gateway.get(f"{path}{continuation}", sender).json
        listed_ids += [item["importId"] for item in page["items"]]
        if page["continuation"] is None:
            break
        continuation = f"&continuation={page['continuation']}"
    assert listed_ids == expected_ids[::-1]


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
    of_other_tenant = gateway.post(a_sender(storage), [a_worker("P1")]).import_id
    messages = {
        check_refusal(gateway.get(f"/api/imports/{import_id}{what}", sender), 404)
        for import_id in (of_other_tenant, str(uuid.uuid4()), "no-guid", "a%27b", "x" * 300)
    }
    assert len(messages) == 1


@pytest.mark.parametrize("what", ["", "/x", "/x/results", "/x/answer", "/x/failed-rows"])
def test_imports_are_not_shown_without_a_key(gateway: GatewayProcess, what: str) -> None:
    check_refusal(gateway.call("GET", f"/api/imports{what}"), 401)


def test_health_is_open_and_says_ok(gateway: GatewayProcess) -> None:
    answer = gateway.call("GET", "/api/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_the_queues_are_shown_in_numbers(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    """A message of the poison queue of drops, and one that waits in a queue without a trigger."""
    bulk = PLACEMENTS.bulk_queue
    with QueueServiceClient.from_connection_string(storage) as queues:
        for name in (bulk, POISON_QUEUE, f"{bulk}-poison"):
            with suppress(ResourceExistsError):
                queues.create_queue(name)
            queues.get_queue_client(name).send_message("e30=")
        try:
            answer = gateway.get("/api/health/queues", sender)
        finally:
            for name in (bulk, POISON_QUEUE, f"{bulk}-poison"):
                queues.get_queue_client(name).clear_messages()
    assert answer.status == 200
    [entry] = [each for each in answer.json["queues"] if each["queue"] == bulk]
    assert (entry["messages"], entry["poisoned"]) == (1, 1)
    assert entry["oldestAt"] is not None
    assert answer.json["poisonedDrops"] >= 1
    assert len(answer.json["queues"]) == sum(len(kind.queues) for kind in IMPORT_TYPES.values())
    check_refusal(gateway.get("/api/health/queues?x=1", sender), 400)
    reader = a_sender(storage, permissions=frozenset({"read"}))
    check_refusal(gateway.get("/api/health/queues", reader), 403, "operate")


@pytest.mark.parametrize("name", ["workers.v1.schema", "Workers.V1.Schema"])
def test_the_schema_is_open_and_names_every_field(gateway: GatewayProcess, name: str) -> None:
    answer = gateway.call("GET", f"/api/import/{name}")
    assert answer.status == 200
    schema = answer.json
    assert set(schema["required"]) == {"EmployerRef", "PersonnelRef"}
    assert {"Surname", "eP45PrintMethod", "UKPayrollDetails"} <= set(schema["properties"])


def test_an_unknown_schema_is_404(gateway: GatewayProcess) -> None:
    check_refusal(gateway.call("GET", "/api/import/workers.v2.schema"), 404, "workers.v1.schema")


# What is dropped or looks wrong is counted, listed and grouped (docs/contracts.md#5).

LEFT_BEFORE_START = {"LeavingDate": "2020-01-01", "StartDate": "2021-01-01"}


@pytest.fixture(name="import_with_groups")
def fixture_import_with_groups(gateway: GatewayProcess, sender: Sender) -> str:
    """60 rows with a column that is not known, of which some warn and some fail."""
    rows = [a_worker(f"P{number:02d}", Forename1="Ann") for number in range(60)]
    for number in (7, 8, 30):
        rows[number] |= LEFT_BEFORE_START
    for number in (8, 50):
        rows[number]["Gender"] = "x"
    return gateway.post(sender, rows).import_id


def _groups(gateway: GatewayProcess, sender: Sender, import_id: str, query: str = "") -> Any:
    answer = gateway.get(f"/api/imports/{import_id}/failures{query}", sender)
    assert answer.status == 200, answer.body
    return answer.json


def test_rows_with_warnings_and_infos_are_counted(
    gateway: GatewayProcess, sender: Sender, import_with_groups: str
) -> None:
    for shown in (
        gateway.get(f"/api/imports/{import_with_groups}", sender).json,
        gateway.get("/api/imports", sender).json["items"][0],
    ):
        rows = shown["rows"]
        warned = _listed(gateway, sender, import_with_groups, "severity=warning")
        assert (rows["failed"], rows["warnings"], rows["infos"]) == (2, len(warned), 60)
        assert {7, 30} <= set(warned) <= {7, 8, 30}


def _listed(gateway: GatewayProcess, sender: Sender, import_id: str, query: str) -> list[int]:
    """The indexes of the rows, page by page."""
    address = f"/api/imports/{import_id}/results?pageSize=7&{query}"
    indexes: list[int] = []
    continuation = ""
    while True:
        page = gateway.get(f"{address}{continuation}", sender).json
        indexes += [item["index"] for item in page["items"]]
        if page["continuation"] is None:
            return sorted(indexes)
        continuation = f"&continuation={page['continuation']}"


@pytest.mark.parametrize("severity", ["info", "INFO", "Info"])
def test_results_are_listed_by_severity(
    gateway: GatewayProcess, sender: Sender, import_with_groups: str, severity: str
) -> None:
    assert _listed(gateway, sender, import_with_groups, f"severity={severity}") == list(range(60))
    assert _listed(gateway, sender, import_with_groups, "severity=error") == [8, 50]
    assert _listed(gateway, sender, import_with_groups, "severity=info&outcome=failed") == [8, 50]
    assert 7 in _listed(gateway, sender, import_with_groups, "severity=warning&outcome=new")
    refused = gateway.get(f"/api/imports/{import_with_groups}/results?severity=fatal", sender)
    check_refusal(refused, 400, "error, warning, info")


def test_messages_come_in_groups(
    gateway: GatewayProcess, sender: Sender, import_with_groups: str
) -> None:
    groups = _groups(gateway, sender, import_with_groups)
    assert (groups["leftOut"], groups["continuation"]) == (0, None)
    kinds = [item["messageType"] for item in groups["items"]]
    assert kinds == sorted(kinds, key=["Error", "Warning", "Info"].index)
    [unknown] = [item for item in groups["items"] if item["errorID"] == 1007]
    assert unknown["fieldName"] == "Forename1"
    assert unknown["count"] == 60
    assert unknown["firstIndexes"] == list(range(MAX_INDEXES))
    assert unknown["advice"]
    [wrong] = [item for item in groups["items"] if item["messageType"] == "Error"]
    assert (wrong["fieldName"], wrong["count"], wrong["firstIndexes"]) == ("Gender", 2, [8, 50])
    for severity in ("error", "warning", "info"):
        some = _groups(gateway, sender, import_with_groups, f"?severity={severity}")["items"]
        assert some == [item for item in groups["items"] if item["messageType"].lower() == severity]
    refused = gateway.get(f"/api/imports/{import_with_groups}/failures?severity=all", sender)
    check_refusal(refused, 400, "error, warning, info")


def test_fields_without_end_make_no_groups_without_end(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"P{at}", **{f"x{at}_{n}": 1 for n in range(15)}) for at in range(40)]
    groups = _groups(gateway, sender, gateway.post(sender, rows).import_id)
    assert len(groups["items"]) == MAX_GROUPS
    assert groups["leftOut"] == 40 * 15 - MAX_GROUPS


def test_an_import_of_another_type_is_counted_and_grouped_too(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = send_licenses(gateway, sender, [a_license("L1", Licence="x"), a_license("L2")])
    rows = gateway.get(f"/api/imports/{answer.import_id}", sender).json["rows"]
    assert (rows["new"], rows["warnings"], rows["infos"]) == (2, 0, 1)
    [group] = _groups(gateway, sender, answer.import_id)["items"]
    assert (group["fieldName"], group["firstIndexes"]) == ("Licence", [0])


def test_groups_of_another_tenant_are_not_found(
    gateway: GatewayProcess, sender: Sender, import_with_groups: str, unused_senders: Any
) -> None:
    other = next(unused_senders)
    assert gateway.get(f"/api/imports/{import_with_groups}", sender).status == 200
    check_refusal(gateway.get(f"/api/imports/{import_with_groups}/failures", other), 404)


# The rows that failed, to be corrected: as JSON, and as CSV for people (docs/contracts.md#5).

FORMULA = '=HYPERLINK("http://example.com","x")'
BAD_ROWS = [
    '{"EmployerRef":"E1", "PersonnelRef":"X1", "Gender":10.50, "KnownAs":"Zoë"}',
    json.dumps(a_worker("X2", Gender="x", KnownAs=FORMULA, WorkerAddress={"Postcode": "+1"})),
    '{"Surname":"no key"}',
]


@pytest.fixture(name="import_with_failed_rows")
def fixture_import_with_failed_rows(gateway: GatewayProcess, sender: Sender) -> str:
    """The id of an import of more than one chunk; rows 1, 3 and 5 failed."""
    good = [json.dumps(a_worker(f"P{number:03d}")) for number in range(120)]
    texts = [good[0], BAD_ROWS[0], good[1], BAD_ROWS[1], good[2], BAD_ROWS[2], *good[3:]]
    return gateway.post(sender, f"[{','.join(texts)}]".encode()).import_id


def _failed(gateway: GatewayProcess, sender: Sender, import_id: str, accept: str) -> Answer:
    headers = {**sender.headers, **({"Accept": accept} if accept else {})}
    return gateway.call("GET", f"/api/imports/{import_id}/failed-rows", None, headers)


def test_the_rows_of_a_group_of_messages_come_in_pages(
    gateway: GatewayProcess, sender: Sender, import_with_failed_rows: str
) -> None:
    here = f"/api/imports/{import_with_failed_rows}"
    whole = {item["index"]: item for item in gateway.get(f"{here}/failed-rows", sender).json}
    pages, path = [], f"{here}/failed-rows?pageSize=2"
    while path:
        answer = gateway.get(path, sender)
        pages.append(answer.json)
        path = answer.headers.get("link", "")[1:].partition(">")[0]
    assert [len(page) for page in pages] == [2, 1]
    assert {item["index"]: item for page in pages for item in page} == whole
    for group in gateway.get(f"{here}/failures?severity=error", sender).json["items"]:
        field = group.get("fieldName")
        query = f"errorID={group['errorID']}" + (f"&fieldName={field}" if field else "")
        rows = gateway.get(f"{here}/failed-rows?{query}", sender).json
        results = gateway.get(f"{here}/results?{query}", sender).json["items"]
        assert sorted(row["index"] for row in rows) == group["firstIndexes"]
        assert sorted(row["index"] for row in results) == group["firstIndexes"]
    check_refusal(gateway.get(f"{here}/failed-rows?errorID=77", sender), 400)
    check_refusal(gateway.get(f"{here}/failed-rows?rows=2", sender), 400)
    csv = {**sender.headers, "Accept": "text/csv"}
    check_refusal(gateway.call("GET", f"{here}/failed-rows?pageSize=2", None, csv), 400)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/csv;q=0.1, */*;q=0.5"])
def test_failed_rows_come_as_they_were_sent_with_their_messages(
    gateway: GatewayProcess, sender: Sender, import_with_failed_rows: str, accept: str
) -> None:
    answer = _failed(gateway, sender, import_with_failed_rows, accept)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.import_id == import_with_failed_rows
    by_index: dict[int, Any] = {item["index"]: item for item in answer.json}
    assert {index: item["row"] for index, item in by_index.items()} == {
        1 + 2 * place: json.loads(text) for place, text in enumerate(BAD_ROWS)
    }
    assert b'"Gender":10.50' in answer.body, "digits stay as they were sent"
    message_ids = [[message["errorID"] for message in by_index[at]["messages"]] for at in (1, 3, 5)]
    assert message_ids == [[1002, 1001], [1002, 2003], [1001, 1001]]


def test_failed_rows_come_as_csv_that_no_spreadsheet_runs(
    gateway: GatewayProcess, sender: Sender, import_with_failed_rows: str
) -> None:
    answer = _failed(gateway, sender, import_with_failed_rows, "text/csv")
    assert answer.headers["content-type"].lower() == "text/csv; charset=utf-8"
    assert f"failed-rows-{import_with_failed_rows}.csv" in answer.headers["content-disposition"]
    assert answer.body.startswith(b"\xef\xbb\xbf")
    lines = answer.body.decode("utf-8-sig").splitlines(keepends=True)
    rows = {row["_index"]: row for row in csv.DictReader(lines)}
    assert set(rows) == {"1", "3", "5"}
    assert rows["1"]["KnownAs"] == "Zoë"
    assert rows["1"]["_error"].startswith("1002 Gender: Value has the wrong type")
    assert rows["3"]["KnownAs"] == f"'{FORMULA}"
    assert rows["3"]["WorkerAddress.Postcode"] == "'+1"
    assert rows["5"]["PersonnelRef"] == ""


def test_an_import_without_failed_rows_has_none_to_show(
    gateway: GatewayProcess, sender: Sender
) -> None:
    import_id = gateway.post(sender, [a_worker("P1")]).import_id
    assert _failed(gateway, sender, import_id, "").json == []
    head, *rows = _failed(gateway, sender, import_id, "text/csv").body.splitlines()
    assert (head.decode("utf-8-sig"), rows) == (
        '"_index","_error","EmployerRef","PersonnelRef","_more"',
        [],
    )


def test_failed_rows_come_as_json_or_csv_only(
    gateway: GatewayProcess, sender: Sender, import_with_failed_rows: str
) -> None:
    check_refusal(_failed(gateway, sender, import_with_failed_rows, "text/html"), 406, "text/csv")
