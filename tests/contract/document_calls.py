"""Uploads of documents to the gateway that the tests of the contract talk to."""

from __future__ import annotations

from typing import Any

from tests.documents import Form, upload_headers
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender

UPLOAD = "/api/import/documents"
CLOSED = "2025-12"


def send(gateway: GatewayProcess, sender: Sender, form: Form, **headers: str) -> Answer:
    return gateway.call("POST", UPLOAD, form.body(), upload_headers(sender, **headers))


def item_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    [item] = answer.json["items"]
    return dict(item)
