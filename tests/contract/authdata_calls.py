"""Calls of authentication data over HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.integration.authdata_stage import Row
from tests.tenants import Sender

AUTHDATA = "/api/admin/authdata"
STAGE = f"{AUTHDATA}/stage"


def send(
    gateway: GatewayProcess,
    sender: Sender,
    rows: Sequence[Row],
    address: str = AUTHDATA,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Answer:
    """Stage, or stage and process; `fields` are properties of the body."""
    body = json.dumps({**fields, "employee": rows}, ensure_ascii=False).encode()
    sent = {"Content-Type": "application/json", **sender.headers, **(headers or {})}
    return gateway.call("POST", address, body, sent)


def process(gateway: GatewayProcess, sender: Sender, batch: str, **headers: str) -> Answer:
    """A Process call."""
    return gateway.call("POST", f"{AUTHDATA}/{batch}", None, {**sender.headers, **headers})
