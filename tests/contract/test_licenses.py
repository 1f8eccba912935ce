"""Licenses v1 over HTTP: the vendor's samples, formats, importAction, matching, allowSameFile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender
from tests.unit.imports.licenses.license_bodies import KEY, golden

pytestmark = pytest.mark.e2e

LICENSES = "/v1/imports/licenses"


def a_license(number: str = "L1", employee: str = "7", **changes: Any) -> dict[str, Any]:
    """A license with a natural key that goes in without an error."""
    return {
        "companyCode": "C1",
        "employeeNumber": employee,
        "licenseTypeCode": "RN",
        "licenseNumber": number,
        **changes,
    }


def send(
    gateway: GatewayProcess,
    sender: Sender,
    rows: list[Any] | bytes,
    query: str = "",
    method: str = "POST",
    path: str = LICENSES,
    **headers: str,
) -> Answer:
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    sent = {"Content-Type": "application/json", **sender.headers}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.call(method, f"{path}?{query}", body, sent)


def test_a_dry_run_answers_what_the_run_answers_without_its_id(
    gateway: GatewayProcess, sender: Sender
) -> None:
    send(gateway, sender, [a_license("L1", notes="old"), a_license("L2")])
    rows = [
        a_license("L1", notes="new"),
        a_license("L2"),
        a_license("L3", documents=[{"name": "n", "content": "SGVsbG8="}]),
        {"companyCode": "C1"},
        a_license("L3", expirationDate="2024-02-30"),
    ]
    for number, action in enumerate(("Insert", "Merge", "Replace"), 1):
        query = f"importAction={action}"
        dry = send(gateway, sender, rows, f"{query}&dryRun=true")
        assert "x-import-id" not in dry.headers
        assert len(gateway.get("/api/imports", sender).json["items"]) == number
        real = send(gateway, sender, rows, query)
        assert dry.json == {**real.json, "importKey": "<empty>"}


def test_a_dry_run_answers_xml_too(gateway: GatewayProcess, sender: Sender) -> None:
    body, xml = golden("request.xml"), {"Content_Type": "application/xml", "Accept": "text/xml"}
    dry = send(gateway, sender, body, "dryRun=true", **xml)
    real = send(gateway, sender, body, **xml)
    before, _, named = real.body.partition(b"<ImportKey")
    assert dry.status == 200
    assert dry.body.startswith(before)
    assert real.headers["x-import-id"].encode() in named
    assert send(gateway, sender, body, "dryRun=true&view=rows", **xml).status == 406


def test_the_rows_of_a_dry_run_show_what_changes(gateway: GatewayProcess, sender: Sender) -> None:
    document = {"name": "n", "content": "SGVsbG8="}
    send(gateway, sender, [a_license("L1", notes="old", documents=[document])])
    rows = [a_license("L1", notes="new", documents=[{**document, "content": "V29ybGQ="}])]
    answer = send(gateway, sender, rows, "dryRun=true&view=rows")
    [item] = answer.json["items"]
    changed = {change["field"]: (change["before"], change["after"]) for change in item["changes"]}
    assert set(changed) == {"notes", "documents[0].sha256"}
    assert changed["notes"] == ("old", "new")


def test_a_dry_run_refuses_the_same_file_and_does_not_note_it(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows, strict = [a_license("L1")], "allowSameFile=false"
    for query in (f"{strict}&dryRun=true", f"{strict}&dryRun=true", strict):
        assert send(gateway, sender, rows, query).status == 200
    for query in (f"{strict}&dryRun=true", strict):
        assert send(gateway, sender, rows, query).status == 409


def test_the_vendors_json_sample(gateway: GatewayProcess, sender: Sender) -> None:
    answer = send(gateway, sender, golden("request.json"))
    assert answer.status == 200, answer.body
    assert answer.json == {
        "newRecords": 1,
        "updatedRecords": 1,
        "errors": [],
        "newRecordKeys": [{"index": 0, "key": KEY}],
        "updatedRecordKeys": [{"index": 1, "key": KEY}],
        "importKey": answer.headers["x-import-id"],
    }
