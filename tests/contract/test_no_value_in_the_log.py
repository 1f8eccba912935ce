"""No secret and no personal value reaches a line of the log (I7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import SAMPLE, body_of
from tests.contract.license_calls import LICENSES
from tests.e2e.gateway_process import WORKERS, GatewayProcess
from tests.tenants import Sender
from tests.unit.imports.licenses.license_bodies import license_form, license_xml, sample_rows

pytestmark = pytest.mark.e2e
MARK = "zqxj"
DAYS = {"issuedDate": "1-2-3", "expirationDate": "1-2-3"}
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


def test_no_value_of_a_license_is_logged(gateway: GatewayProcess, sender: Sender) -> None:
    before = len(gateway.log())
    [sample, _] = sample_rows()
    marked = _marked(sample) | {"documents": [_marked(each) for each in sample["documents"]]}
    private = sample | {
        "employeeNumber": MARK,
        "licenseKey": None,
        "serializableLicenseKey": None,
        "licenseNumber": f"{MARK}1",
        "notes": f"{MARK}2",
        "documents": [{"name": f"{MARK}.pdf", "content": "enF4ag=="}],
    }
    bodies = [
        ("application/json", body_of([marked, {**marked, MARK: MARK}])),
        ("application/json", body_of([private])),
        ("application/json", f'[{{"{MARK}": "{MARK}'.encode()),
        ("text/xml", license_xml([private, marked | DAYS])),
        ("text/xml", f"<{MARK}>{MARK}".encode()),
        ("text/xml", f"<!DOCTYPE {MARK}><{MARK}/>".encode()),
        ("application/x-www-form-urlencoded", license_form([marked])),
        ("application/x-www-form-urlencoded", f"{MARK}={MARK}".encode()),
        (f"text/{MARK}", MARK.encode()),
    ]
    for media_type, body in bodies:
        headers = {**sender.headers, "Content-Type": media_type, "Accept": "text/xml"}
        for method, query in (("POST", ""), ("POST", f"?importAction={MARK}"), ("DELETE", "")):
            gateway.call(method, LICENSES + query, body, {**headers, "Idempotency-Key": MARK})
            gateway.call(method, LICENSES + query, body, headers)
        same = f"{LICENSES}?allowSameFile=false"
        gateway.call("POST", same, body, {**sender.headers, "Content-Type": media_type})
    log = gateway.log()[before:]
    assert "import.ended" in log
    assert "call.refused" in log
    assert MARK not in log.lower()
    assert "enF4ag" not in log
