"""The story of the vendor's document, whole, on a running gateway over TLS (docs/contracts.md#4).

Enable the feature, open a round, import the worker, get a token, upload, upload again, drop the
next file, find both in the list with their bytes unchanged.
"""

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
from shared.bootstrap import open_gateway
from shared.imports.documents.rounds import Feature, RoundStatus
from shared.storage.names import DOCUMENT_DROP
from tests.builders import a_worker, body_of
from tests.documents import JPEG, PDF, ROUND, SAMPLES, sha256
from tests.e2e.gateway_process import GatewayProcess, started_over_tls
from tests.emulator import Emulator, settings_for
from tests.tenants import Sender, new_sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
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
        found: list[dict[str, Any]] = json.loads(body)["items"]
        return found


@pytest.fixture(name="stage")
def fixture_stage(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    storage = emulator.account("documents")
    certificate = make_certificate(tmp_path / "tls")
    monkeypatch.setenv("GATEWAY_CA_FILE", str(certificate))

    async def made() -> tuple[Sender, ClientCredentials]:
        async with open_gateway(settings_for(storage)) as opened:
            sender = await new_sender(opened)
            name = f"Inbox of {sender.tenant}"
            issued = await opened.clients.add(sender.tenant, name, [Scope.IMPORT_INBOX])
            return sender, ClientCredentials(issued.client.client_id, issued.client_secret)

    sender, client = asyncio.run(made())
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
        async with open_gateway(settings_for(stage.storage)) as opened:
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
        lambda: found if len(found := stage.items("/api/documents", token)) == 2 else None,
        "both are listed",
    )
    by_name = {item["fileName"]: item for item in listed}
    assert by_name["photo one.jpg"]["generationTime"] == "2026-01-30T10:00:00.000Z"
    for file_name, content in (("payslip.pdf", PDF), ("photo one.jpg", JPEG)):
        told, body = stage.get(by_name[file_name]["links"]["content"], token)
        assert sha256(body) == sha256(content)
        assert str(told["Content-Disposition"]).startswith("attachment")
        assert told.get_all("X-Content-Type-Options") == ["nosniff"]
    wait_until(lambda: not list(drop.list_blobs(stage.sender.tenant)), "the drop is empty")
    imports = stage.items("/api/imports", token)
    assert [item["state"] for item in imports] == ["Completed"] * 3 + ["CompletedWithErrors"] * 2
