"""What is dropped or looks wrong is counted, listed and grouped (docs/contracts.md#5)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.message_groups import MAX_GROUPS, MAX_INDEXES
from tests.builders import a_worker
from tests.contract.license_calls import a_license
from tests.contract.license_calls import send as send_licenses
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
LEFT_BEFORE_START = {"LeavingDate": "2020-01-01", "StartDate": "2021-01-01"}


@pytest.fixture(name="mixed")
def fixture_mixed(gateway: GatewayProcess, sender: Sender) -> str:
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
    gateway: GatewayProcess, sender: Sender, mixed: str
) -> None:
    for shown in (
        gateway.get(f"/api/imports/{mixed}", sender).json,
        gateway.get("/api/imports", sender).json["items"][0],
    ):
        rows = shown["rows"]
        warned = _listed(gateway, sender, mixed, "severity=warning")
        assert (rows["failed"], rows["warnings"], rows["infos"]) == (2, len(warned), 60)
        assert {7, 30} <= set(warned) <= {7, 8, 30}


def _listed(gateway: GatewayProcess, sender: Sender, import_id: str, query: str) -> list[int]:
    """The indexes of the rows, page by page."""
    address = f"/api/imports/{import_id}/results?pageSize=7&{query}"
    found: list[int] = []
    continuation = ""
    while True:
        page = gateway.get(f"{address}{continuation}", sender).json
        found += [item["index"] for item in page["items"]]
        if page["continuation"] is None:
            return sorted(found)
        continuation = f"&continuation={page['continuation']}"


@pytest.mark.parametrize("severity", ["info", "INFO", "Info"])
def test_results_are_listed_by_severity(
    gateway: GatewayProcess, sender: Sender, mixed: str, severity: str
) -> None:
    assert _listed(gateway, sender, mixed, f"severity={severity}") == list(range(60))
    assert _listed(gateway, sender, mixed, "severity=error") == [8, 50]
    assert _listed(gateway, sender, mixed, "severity=info&outcome=failed") == [8, 50]
    assert 7 in _listed(gateway, sender, mixed, "severity=warning&outcome=new")
    refused = gateway.get(f"/api/imports/{mixed}/results?severity=fatal", sender)
    check_refusal(refused, 400, "error, warning, info")


def test_messages_come_in_groups(gateway: GatewayProcess, sender: Sender, mixed: str) -> None:
    found = _groups(gateway, sender, mixed)
    assert (found["leftOut"], found["continuation"]) == (0, None)
    kinds = [item["messageType"] for item in found["items"]]
    assert kinds == sorted(kinds, key=["Error", "Warning", "Info"].index)
    [unknown] = [item for item in found["items"] if item["errorID"] == 1007]
    assert unknown["fieldName"] == "Forename1"
    assert unknown["count"] == 60
    assert unknown["firstIndexes"] == list(range(MAX_INDEXES))
    assert unknown["advice"]
    [wrong] = [item for item in found["items"] if item["messageType"] == "Error"]
    assert (wrong["fieldName"], wrong["count"], wrong["firstIndexes"]) == ("Gender", 2, [8, 50])
    for severity in ("error", "warning", "info"):
        some = _groups(gateway, sender, mixed, f"?severity={severity}")["items"]
        assert some == [item for item in found["items"] if item["messageType"].lower() == severity]
    refused = gateway.get(f"/api/imports/{mixed}/failures?severity=all", sender)
    check_refusal(refused, 400, "error, warning, info")


def test_fields_without_end_make_no_groups_without_end(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"P{at}", **{f"x{at}_{n}": 1 for n in range(15)}) for at in range(40)]
    found = _groups(gateway, sender, gateway.post(sender, rows).import_id)
    assert len(found["items"]) == MAX_GROUPS
    assert found["leftOut"] == 40 * 15 - MAX_GROUPS


def test_an_import_of_another_type_is_counted_and_grouped_too(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = send_licenses(gateway, sender, [a_license("L1", Licence="x"), a_license("L2")])
    rows = gateway.get(f"/api/imports/{answer.import_id}", sender).json["rows"]
    assert (rows["new"], rows["warnings"], rows["infos"]) == (2, 0, 1)
    [group] = _groups(gateway, sender, answer.import_id)["items"]
    assert (group["fieldName"], group["firstIndexes"]) == ("Licence", [0])


def test_groups_of_another_tenant_are_not_found(
    gateway: GatewayProcess, sender: Sender, mixed: str, unused_senders: Any
) -> None:
    other = next(unused_senders)
    assert gateway.get(f"/api/imports/{mixed}", sender).status == 200
    check_refusal(gateway.get(f"/api/imports/{mixed}/failures", other), 404)
