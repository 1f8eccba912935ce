"""The rows that failed, to be corrected: as JSON, and as CSV for people (docs/contracts.md#5)."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from tests.builders import a_worker
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
FORMULA = '=HYPERLINK("http://example.com","x")'
BAD = [
    '{"EmployerRef":"E1", "PersonnelRef":"X1", "Gender":10.50, "KnownAs":"Zoë"}',
    json.dumps(a_worker("X2", Gender="x", KnownAs=FORMULA, WorkerAddress={"Postcode": "+1"})),
    '{"Surname":"no key"}',
]


@pytest.fixture(name="mixed")
def fixture_mixed(gateway: GatewayProcess, sender: Sender) -> str:
    """The id of an import of more than one chunk; rows 1, 3 and 5 failed."""
    good = [json.dumps(a_worker(f"P{number:03d}")) for number in range(120)]
    texts = [good[0], BAD[0], good[1], BAD[1], good[2], BAD[2], *good[3:]]
    return gateway.post(sender, f"[{','.join(texts)}]".encode()).import_id


def _failed(gateway: GatewayProcess, sender: Sender, import_id: str, accept: str) -> Answer:
    headers = {**sender.headers, **({"Accept": accept} if accept else {})}
    return gateway.call("GET", f"/api/imports/{import_id}/failed-rows", None, headers)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/csv;q=0.1, */*;q=0.5"])
def test_failed_rows_come_as_they_were_sent_with_their_messages(
    gateway: GatewayProcess, sender: Sender, mixed: str, accept: str
) -> None:
    answer = _failed(gateway, sender, mixed, accept)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.import_id == mixed
    by_index: dict[int, Any] = {item["index"]: item for item in answer.json}
    assert {index: item["row"] for index, item in by_index.items()} == {
        1 + 2 * place: json.loads(text) for place, text in enumerate(BAD)
    }
    assert b'"Gender":10.50' in answer.body, "digits stay as they were sent"
    said = [[message["errorID"] for message in by_index[at]["messages"]] for at in (1, 3, 5)]
    assert said == [[1002, 1001], [1002, 2003], [1001, 1001]]


def test_failed_rows_come_as_csv_that_no_spreadsheet_runs(
    gateway: GatewayProcess, sender: Sender, mixed: str
) -> None:
    answer = _failed(gateway, sender, mixed, "text/csv")
    assert answer.headers["content-type"].lower() == "text/csv; charset=utf-8"
    assert f"failed-rows-{mixed}.csv" in answer.headers["content-disposition"]
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
    gateway: GatewayProcess, sender: Sender, mixed: str
) -> None:
    check_refusal(_failed(gateway, sender, mixed, "text/html"), 406, "text/csv")
