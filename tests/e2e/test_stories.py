"""What an integration engineer does: try a file, send it, correct what failed, send that back."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from cli.calls import CallFailedError, ClientCredentials, call, fetch_token, send_document
from cli.documents import SCOPE
from local_host.certificate import make_certificate
from shared.auth.clients import Scope
from shared.imports.documents.rounds import Feature, RoundStatus
from shared.storage.names import DOCUMENT_DROP
from tests.builders import a_worker, body_of, workers
from tests.documents import JPEG, PDF, ROUND, SAMPLES, sha256
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import WORKERS, GatewayProcess, started, started_over_tls
from tests.emulator import Emulator, open_ready_gateway, settings_for
from tests.tenants import Sender, a_sender, new_sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
ROWS = 2_000
BAD = range(20, ROWS, 54)
"""The places of the 37 rows that are bad."""


@pytest.mark.timeout(180)
def test_a_file_with_bad_rows_is_imported_corrected_and_complete(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("ordered")
    sender = a_sender(storage)
    rows = workers(ROWS)
    for number in BAD:
        rows[number]["Gender"] = "unknown"
    with started(storage, tmp_path) as gateway:
        tried = gateway.call("POST", f"{WORKERS}&dryRun=true", body_of(rows), sender.headers)
        assert gateway.get("/api/imports", sender).json["items"] == []
        sent = gateway.post(sender, rows)
        assert sent.results == tried.results, "a dry run answers what the run answers"
        failed = [at for at, result in enumerate(sent.results) if result["errorCount"]]
        assert failed == list(BAD)
        assert len(failed) == 37

        here = f"/api/imports/{sent.import_id}"
        file = gateway.get(f"{here}/failed-rows", sender).json
        assert sorted(item["index"] for item in file) == failed
        for item in file:
            assert item["messages"][0]["fieldName"] == "Gender"
            item["row"]["Gender"] = 1
        answer = gateway.call("POST", f"{here}/retry", body_of(file), sender.headers)
        assert answer.status == 200
        assert answer.json["rows"]["new"] == 37
        assert answer.json["state"] == "Completed"

    books = Books(storage)
    parent, child = books.imports(sender.tenant)
    for record in (parent, child):
        check_counts(record, books.results(record))
    stored = books.workers(sender.tenant)
    assert len(stored) == ROWS
    corrected = [document for document in stored.values() if document.get("Gender") == 1]
    assert len(corrected) == 37


# The smallest whole path: one worker in, its result out.


def test_a_worker_goes_in_and_the_gateway_stops_when_asked(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("killed")
    sender = a_sender(storage)
    with started(storage, tmp_path) as gateway:
        [result] = gateway.post(sender, [a_worker("P1")]).results
        assert result["recordIds"] == [
            {"field": "EmployerRef", "value": "E1"},
            {"field": "PersonnelRef", "value": "P1"},
        ]
        assert result["importStatus"] == "OK"
        assert gateway.stop() == 0


# The story of the vendor's document, whole, on a running gateway over TLS (docs/contracts.md#4).
#
# Enable the feature, open a round, import the worker, get a token, upload, upload again, drop the
# next file, find both in the list with their bytes unchanged.


FIELDS = {
    "workerexternalId": "hr-1",
    "communicationRoundCode": ROUND,
    "isSummary": "false",
    "generationTime": "2026-01-31",
}


@dataclass(frozen=True)
class Stage:
    """A gateway over TLS, a tenant's key pair and its client."""

    gateway: GatewayProcess
    trust: ssl.SSLContext
    storage: str
    sender: Sender
    client: ClientCredentials

    def get(self, path: str, token: str) -> tuple[Message, bytes]:
        address = "127.0.0.1", self.gateway.port
        connection = http.client.HTTPSConnection(*address, context=self.trust, timeout=60)
        with closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.headers, response.read()

    def items(self, path: str, token: str) -> list[dict[str, Any]]:
        _, body = self.get(path, token)
        documents: list[dict[str, Any]] = json.loads(body)["items"]
        return documents


@pytest.fixture(name="stage")
def fixture_stage(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    storage = emulator.account("documents")
    certificate = make_certificate(tmp_path / "tls")
    monkeypatch.setenv("GATEWAY_CA_FILE", str(certificate))

    async def create() -> tuple[Sender, ClientCredentials]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            sender = await new_sender(opened)
            name = f"Inbox of {sender.tenant}"
            issued = await opened.clients.add(sender.tenant, name, [Scope.IMPORT_INBOX])
            return sender, ClientCredentials(issued.client.client_id, issued.client_secret)

    sender, client = asyncio.run(create())
    scan = {"LOCAL_HOST_BLOB_SCAN_SECONDS": "0.2"}
    with started_over_tls(storage, tmp_path, certificate, **scan) as gateway:
        trust = ssl.create_default_context(cafile=str(certificate))
        yield Stage(gateway, trust, storage, sender, client)


@pytest.fixture(name="drop")
def fixture_drop(stage: Stage) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(stage.storage) as service:
        yield service.get_container_client(DOCUMENT_DROP)


def administer(stage: Stage, change: Callable[[Any, str], Any]) -> None:
    """What `manage.py` does, which is tested elsewhere."""

    async def done() -> None:
        async with open_ready_gateway(settings_for(stage.storage)) as opened:
            await change(opened.documents, stage.sender.tenant)

    asyncio.run(done())


def upload(stage: Stage, token: str, file: Path) -> dict[str, Any]:
    credentials = {"Authorization": f"Bearer {token}"}
    return send_document(stage.gateway.url, credentials, file, FIELDS)


def test_from_the_first_upload_to_the_bytes_read_back(
    stage: Stage, drop: ContainerClient, tmp_path: Path
) -> None:
    token = fetch_token(stage.gateway.url, stage.client, SCOPE)
    draft = tmp_path / "payslip.pdf"
    draft.write_bytes(b"%PDF-1.7 draft")
    with pytest.raises(CallFailedError, match="ask the operator of the gateway to enable it"):
        upload(stage, token, draft)
    administer(stage, lambda app, tenant: app.features.switch(tenant, Feature.DOCUMENTS, True))
    with pytest.raises(CallFailedError, match="round was not found"):
        upload(stage, token, draft)
    administer(stage, lambda app, tenant: app.rounds.add(tenant, ROUND, RoundStatus.OPEN))
    with pytest.raises(CallFailedError, match="Worker was not found"):
        upload(stage, token, draft)
    workers = body_of([a_worker("P1", ExternalWorkerRef="hr-1")])
    address = f"{stage.gateway.url}/api/import/workers"
    headers = {"Content-Type": "application/json", **stage.sender.headers}
    assert call("POST", address, headers, workers).status == 200

    first = upload(stage, token, draft)
    again = upload(stage, token, SAMPLES / "payslip.pdf")
    assert first["overridden"] is False
    assert (again["documentId"], again["overridden"]) == (first["documentId"], True)

    name = f"{stage.sender.tenant}/{ROUND}/hr-1/photo%20one.jpg"
    drop.upload_blob(name, JPEG, metadata={"generationtime": "2026-01-30T12:00:00+02:00"})
    listed = wait_until(
        lambda: documents if len(documents := stage.items("/api/documents", token)) == 2 else None,
        "both are listed",
    )
    by_name = {item["fileName"]: item for item in listed}
    assert by_name["photo one.jpg"]["generationTime"] == "2026-01-30T10:00:00.000Z"
    for file_name, content in (("payslip.pdf", PDF), ("photo one.jpg", JPEG)):
        answer_headers, body = stage.get(by_name[file_name]["links"]["content"], token)
        assert sha256(body) == sha256(content)
        assert str(answer_headers["Content-Disposition"]).startswith("attachment")
        assert answer_headers.get_all("X-Content-Type-Options") == ["nosniff"]
    wait_until(lambda: not list(drop.list_blobs(stage.sender.tenant)), "the drop is empty")
    imports = stage.items("/api/imports", token)
    assert [item["state"] for item in imports] == ["Completed"] * 3 + ["CompletedWithErrors"] * 2
