"""Every import says who had it made, from which file, and which imports had the same body."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from cli.app import app
from cli.environment import command_caller
from shared.auth.clients import Scope
from shared.imports.sender import MOST_SOURCE, source_name
from shared.storage.names import DOCUMENT_DROP
from tests.builders import a_worker, body_of
from tests.contract.calls import (
    AUTHDATA,
    STAGE,
    a_license,
    process_authdata,
    send_authdata,
    send_document,
    send_licenses,
)
from tests.documents import MEDIA_TYPE, PDF, ROUND, Form, a_ready_sender
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import DATA_KEYS
from tests.integration.harness import an_employee
from tests.tenants import Sender, a_token_client
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
HASH = re.compile(r"[0-9a-f]{64}")
HEADER = "Content-Disposition"


def who(gateway: GatewayProcess, sender: Sender, import_id: str) -> tuple[Any, Any, Any]:
    """Caller, source and hash of an import; the list says the same as the import itself."""
    shown = gateway.get(f"/api/imports/{import_id}", sender).json
    listed = gateway.get("/api/imports?pageSize=1000", sender).json["items"]
    [item] = [item for item in listed if item["importId"] == import_id]
    names = ("caller", "source", "bodySha256")
    assert [item[name] for name in names] == [shown[name] for name in names]
    return shown["caller"], shown["source"], shown["bodySha256"]


def integration(sender: Sender) -> dict[str, str]:
    return {"integration": sender.integration.software_key}


def test_rows_of_an_integration(gateway: GatewayProcess, sender: Sender) -> None:
    body = body_of([a_worker("P1")])
    named = {HEADER: 'attachment; filename="january.json"'}
    first = gateway.post(sender, body, **named)
    caller, source, digest = who(gateway, sender, first.import_id)
    assert (caller, source) == (integration(sender), "january.json")
    assert HASH.fullmatch(digest)
    assert digest != hashlib.sha256(body).hexdigest(), "rows could be guessed from a plain hash"
    again = gateway.post(sender, body)
    assert who(gateway, sender, again.import_id) == (integration(sender), None, digest)
    other = gateway.post(sender, [a_worker("P2")])
    assert who(gateway, sender, other.import_id)[2] not in (None, digest)


def test_the_first_call_of_an_idempotency_key_counts(
    gateway: GatewayProcess, sender: Sender
) -> None:
    body, key = body_of([a_worker()]), {"Idempotency-Key": "k1"}
    first = gateway.post(sender, body, **key, **{HEADER: "attachment; filename=a.json"})
    again = gateway.post(sender, body, **key, **{HEADER: "attachment; filename=b.json"})
    assert again.import_id == first.import_id
    assert who(gateway, sender, first.import_id)[1] == "a.json"


@pytest.mark.parametrize(
    ("header", "source"),
    [
        ("attachment; filename*=UTF-8''M%C3%BCller%20%28neu%29.csv", "Müller (neu).csv"),
        ('attachment; filename="Müller.csv"', "Müller.csv"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        (r'attachment; filename="C:\\Users\\a\\rows.csv"', "rows.csv"),
        ("attachment; filename*=UTF-8''a%1b%5B31m%E2%80%AEb.csv", r"a\x1b[31m\u202eb.csv"),
        (f'attachment; filename="{"x" * 400}.csv"', f"{'x' * (MOST_SOURCE - 4)}.csv"),
        ("attachment; filename*=UTF-8''%ff%fe", None),
        ('attachment; filename="   "', None),
        ("attachment", None),
        (";;;=;\"'", None),
        ("a" * 5_000, None),
    ],
)
def test_the_name_of_the_file_is_that_of_the_header_made_harmless(
    gateway: GatewayProcess, sender: Sender, header: str, source: str | None
) -> None:
    sent = header.encode().decode("latin-1")
    answer = gateway.post(sender, [a_worker()], **{HEADER: sent})
    assert answer.status == 200
    file_name = who(gateway, sender, answer.import_id)[1]
    if source is None:
        assert file_name is None or file_name.isprintable()
    else:
        assert file_name == source


def test_a_name_stays_bounded_and_printable() -> None:
    for name in ("\x00" * 5_000, "\ud800" * 300, "a/" * 3_000, "\u202e.csv", ""):
        source = source_name(name)
        assert len(source) <= MOST_SOURCE
        assert source.isprintable()


def test_licenses_and_their_deletion(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [a_license()]
    named = {"Content_Disposition": "attachment; filename=licenses.json"}
    imported = send_licenses(gateway, sender, rows, **named)
    caller, source, digest = who(gateway, sender, imported.import_id)
    assert (caller, source) == (integration(sender), "licenses.json")
    refused = send_licenses(gateway, sender, rows, "allowSameFile=false")
    assert refused.status == 409, "the file is still found by its hash"
    again = send_licenses(gateway, sender, rows)
    assert who(gateway, sender, again.import_id) == (integration(sender), None, digest)
    body = json.dumps(rows).encode()
    gone = send_licenses(gateway, sender, body, method="DELETE")
    if gone.status == 200:
        assert who(gateway, sender, gone.import_id)[0] == integration(sender)


def test_authentication_data_of_a_client(gateway: GatewayProcess, storage: str) -> None:
    client = a_token_client(storage, gateway.url, "", Scope.IMPORT_AUTHDATA)
    rows = [an_employee("E1")]
    headers = {"Content-Type": "application/json", **client.headers}
    body = json.dumps({"employee": rows}).encode()
    named = {HEADER: "attachment; filename=auth.json"}
    done = gateway.call("POST", AUTHDATA, body, {**headers, **named})
    shown = gateway.call("GET", f"/api/imports/{done.import_id}", None, client.headers).json
    assert shown["caller"] == {"client": client.client.client_id}
    assert shown["source"] == "auth.json"
    assert HASH.fullmatch(shown["bodySha256"])
    assert shown["bodySha256"] != hashlib.sha256(body).hexdigest()


def test_a_batch_is_of_the_caller_that_has_it_processed(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    client = a_token_client(storage, gateway.url, sender.tenant, Scope.IMPORT_AUTHDATA)
    staged = send_authdata(gateway, sender, [an_employee("E1")], STAGE)
    batch = staged.json["fileLogId"]
    done = gateway.call("POST", f"{AUTHDATA}/{batch}", None, dict(client.headers))
    assert done.status == 200
    again = process_authdata(gateway, sender, batch)
    assert again.import_id == done.import_id
    expected = ({"client": client.client.client_id}, None, None)
    assert who(gateway, sender, done.import_id) == expected


def test_documents_of_an_integration_and_of_a_client(gateway: GatewayProcess, storage: str) -> None:
    sender = a_ready_sender(storage)
    gateway.post(sender, [a_worker("P1", ExternalWorkerRef="P1")])
    sent = send_document(gateway, sender, Form())
    caller, source, digest = who(gateway, sender, sent.import_id)
    assert (caller, source) == (integration(sender), "payslip.pdf")
    client = a_token_client(storage, gateway.url, sender.tenant, Scope.IMPORT_INBOX)
    headers = {"Content-Type": MEDIA_TYPE, **client.headers}
    form = Form(file_name="other.pdf")
    other = gateway.call("POST", "/api/import/documents", form.body(), headers)
    assert who(gateway, sender, other.import_id) == (
        {"client": client.client.client_id},
        "other.pdf",
        digest,
    )


def test_a_dropped_file(gateway: GatewayProcess, storage: str) -> None:
    sender = a_ready_sender(storage)
    gateway.post(sender, [a_worker("P1", ExternalWorkerRef="P1")])
    sent = send_document(gateway, sender, Form())
    digest = who(gateway, sender, sent.import_id)[2]
    path = f"{sender.tenant}/{ROUND}/P1/dropped.pdf"
    with BlobServiceClient.from_connection_string(storage) as service:
        service.get_blob_client(DOCUMENT_DROP, path).upload_blob(PDF)

    def look() -> str | None:
        items = gateway.get("/api/imports?type=documents", sender).json["items"]
        return next((item["importId"] for item in items if item["source"] == "dropped.pdf"), None)

    import_id = wait_until(look, "the import of the drop", 60)
    assert who(gateway, sender, import_id) == ({"drop": path}, "dropped.pdf", digest)


Run = Callable[..., Any]


@pytest.fixture(name="run")
def fixture_run(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of manage.py in this process; the document that it prints."""
    monkeypatch.setenv("AzureWebJobsStorage", storage)
    monkeypatch.setenv("GATEWAY_DATA_KEYS", DATA_KEYS)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))

    def run(*words: str) -> Any:
        ran = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
        return json.loads(ran.stdout)

    return run


def test_a_retry_says_who_asked_for_it(
    gateway: GatewayProcess, sender: Sender, run: Run, tmp_path: Path
) -> None:
    rows = [a_worker("P1"), a_worker("P2", Gender="x"), a_worker("P3", Gender="x")]
    parent = gateway.post(sender, rows, **{HEADER: "attachment; filename=rows.json"}).import_id
    retried = gateway.call("POST", f"/api/imports/{parent}/retry", None, dict(sender.headers))
    assert who(gateway, sender, retried.import_id) == (integration(sender), None, None)
    file = tmp_path / "corrected.json"
    file.write_text(json.dumps([{"index": 1, "row": a_worker("P2")}]))
    here = ("--tenant", sender.tenant)
    child = run("imports", "retry", *here, parent, "--rows", str(file), "--wait", "60")
    caller, source, digest = who(gateway, sender, child["importId"])
    assert caller == command_caller().to_document()
    assert re.fullmatch(r"\S+@\S+", caller["command"])
    assert source == "corrected.json"
    assert HASH.fullmatch(digest)
    shown = CliRunner().invoke(app, ["imports", "show", *here, child["importId"]]).stdout
    assert f"Caller    command {caller['command']}" in shown
    assert "Source    corrected.json" in shown
    listed = CliRunner().invoke(app, ["imports", "list", *here]).stdout
    assert "CALLER" in listed
    assert f"integration {sender.integration.software_key}" in listed
    # The lists of one caller have no other caller's imports.
    command = caller["command"]
    for name, expected in ((command, 1), (f"command {command}", 1), ("nobody", 0)):
        found = run("imports", "list", *here, "--caller", name)["imports"]
        asked = gateway.get(f"/api/imports?{urlencode({'caller': name})}", sender).json["items"]
        assert [each["importId"] for each in found] == [child["importId"]] * expected
        assert asked == found
    own = gateway.get(f"/api/imports?caller={sender.integration.software_key}", sender).json
    assert [each["importId"] for each in own["items"]] == [retried.import_id, parent]


def test_the_import_command_names_its_file(
    gateway: GatewayProcess, sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'Löhne; 2026 "neu".json'
    file.write_text(json.dumps([a_worker("P1")]))
    monkeypatch.setenv("GATEWAY_URL", gateway.url)
    monkeypatch.setenv("GATEWAY_FUNCTIONS_KEY", sender.function_key)
    monkeypatch.setenv("GATEWAY_SOFTWARE_KEY", sender.integration.software_key)
    ran = CliRunner().invoke(app, ["import", "workers", str(file)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    [item] = gateway.get("/api/imports", sender).json["items"]
    assert (item["caller"], item["source"]) == (integration(sender), file.name)
