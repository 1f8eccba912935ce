"""Retrying licenses: under the action of the first import, whatever format its rows came in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.license_calls import a_license, send
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender
from tests.unit.imports.licenses.license_bodies import golden

pytestmark = pytest.mark.e2e


def _retried(
    gateway: GatewayProcess, sender: Sender, import_id: str, rows: list[Any]
) -> list[tuple[str, list[int]]]:
    """Outcome and message ids of each row of the child import."""
    path = f"/api/imports/{import_id}/retry"
    child = gateway.call("POST", path, json.dumps(rows).encode(), sender.headers)
    assert child.status == 200, child.body
    items = gateway.get(f"{child.json['links']['results']}", sender).json["items"]
    return [
        (item["outcome"], [message["errorID"] for message in item["messages"]])
        for item in sorted(items, key=lambda item: item["index"])
    ]


def test_a_license_as_it_was_sent_does_not_undo_a_later_import(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_license("L1", notes="first"), a_license("L2")]
    parent = send(gateway, sender, rows, "importAction=Update").import_id
    assert _retried(gateway, sender, parent, []) == [("failed", [3005])] * 2
    assert send(gateway, sender, [a_license("L1", notes="later")]).json["newRecords"] == 1
    assert _retried(gateway, sender, parent, [])[0] == ("failed", [1101])
    corrected = [{"index": 0, "row": a_license("L1", notes="corrected")}]
    assert _retried(gateway, sender, parent, corrected) == [("updated", []), ("failed", [3005])]


def test_rows_that_came_as_xml_are_shown_and_retried_as_json(
    gateway: GatewayProcess, sender: Sender
) -> None:
    sent = send(
        gateway, sender, golden("request.xml"), "importAction=Update", Content_Type="text/xml"
    )
    failed = gateway.get(f"/api/imports/{sent.import_id}/failed-rows", sender).json
    assert [item["index"] for item in failed] == [0, 1]
    assert all(item["row"]["companyCode"] for item in failed)
    results = _retried(gateway, sender, sent.import_id, failed)
    assert [(outcome, codes[-1]) for outcome, codes in results] == [("failed", 3005)] * 2
