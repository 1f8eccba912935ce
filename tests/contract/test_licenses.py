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
