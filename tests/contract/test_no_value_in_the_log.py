"""No secret and no personal value reaches a line of the log (I7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import SAMPLE, body_of
from tests.e2e.gateway_process import WORKERS, GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
MARK = "zqxj"
OWN_SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "workers.json"


def _marked(value: Any) -> Any:
    """The value with every text in it marked, and so mostly wrong."""
    if isinstance(value, dict):
        return {name: _marked(item) for name, item in value.items()}
    return f"{MARK}{value}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def test_no_value_of_a_call_is_logged(gateway: GatewayProcess, sender: Sender) -> None:
    [sample] = json.loads(SAMPLE.read_text("utf-8"))
    marked = _marked(sample)
    headers = {**sender.headers, "X-Correlation-Id": f"{MARK} no id", "Referer": MARK}
    bodies = [
        body_of([marked]),
        body_of([{**marked, MARK: MARK}, {"EmployerRef": MARK, "PersonnelRef": MARK}]),
        body_of([{**sample, "PersonnelRef": MARK, "Surname": MARK * 5_000}]),
        f'[{{"Surname": "{MARK}", "Surname": "{MARK}"}}]'.encode(),
        f'[{{"Surname": "{MARK}'.encode(),
        f'["{MARK}"]'.encode(),
    ]
    for body in bodies:
        for address in (WORKERS, f"{WORKERS}&{MARK}={MARK}", f"/api/import/{MARK}"):
            gateway.call("POST", address, body, headers)
    gateway.call("POST", WORKERS, bodies[0], {**headers, "X-Software-Key": MARK})
    gateway.call("POST", WORKERS, bodies[0], {"X-Functions-Key": MARK, "X-Software-Key": MARK})
    gateway.call("POST", WORKERS, bodies[0], {**headers, "Authorization": f"Bearer {MARK}"})
    gateway.get(f"/api/imports/{MARK}", sender)

    log = gateway.log()
    assert "import.accepted" in log
    assert "call.refused" in log
    assert MARK not in log.lower()
    assert sender.function_key not in log
    assert sender.integration.software_key not in log


def test_no_value_of_a_sample_is_logged(gateway: GatewayProcess, sender: Sender) -> None:
    rows = json.loads(SAMPLE.read_text("utf-8")) + json.loads(OWN_SAMPLE.read_text("utf-8"))
    before = len(gateway.log())
    assert gateway.post(sender, rows).status == 200
    log = gateway.log()[before:]
    assert "import.ended" in log
    values = {text for row in rows for text in _texts(row) if len(text) >= 6}
    assert len(values) > 50
    assert [value for value in values if value in log] == []
