"""The story of the vendor's document, whole, on a running gateway (CONTRACTS 4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from shared.storage.names import DOCUMENT_DROP
from tests.builders import a_worker
from tests.documents import (
    JPEG,
    PDF,
    ROUND,
    Form,
    a_ready_sender,
    sha256,
    upload_headers,
)
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
UPLOAD = "/api/import/documents"


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("documents")


@pytest.fixture(name="gateway", scope="module")
def fixture_gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(
        storage, tmp_path_factory.mktemp("documents"), LOCAL_HOST_BLOB_SCAN_SECONDS="0.2"
    ) as process:
        yield process


@pytest.fixture(name="drop", scope="module")
def fixture_drop(storage: str) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(storage) as service:
        yield service.get_container_client(DOCUMENT_DROP)


def upload(gateway: GatewayProcess, sender: Sender, form: Form) -> dict[str, object]:
    answer = gateway.call("POST", UPLOAD, form.body(), upload_headers(sender))
    assert answer.status == 200, answer.body
    assert {name: answer.json[name] for name in ("pageNumber", "pageSize", "totalCount")} == {
        "pageNumber": 1,
        "pageSize": 1,
        "totalCount": 1,
    }
    [item] = answer.json["items"]
    assert list(item) == ["documentId", "overridden", "importTime"]
    return dict(item)


def test_from_the_first_upload_to_the_bytes_read_back(
    gateway: GatewayProcess, storage: str, drop: ContainerClient
) -> None:
    sender = a_ready_sender(storage)
    gateway.post(sender, [a_worker("P1", ExternalWorkerRef="hr-1")])
    first = upload(gateway, sender, Form(worker="hr-1", content=b"%PDF-1.7 first"))
    assert first["overridden"] is False
    again = upload(gateway, sender, Form(worker="hr-1", content=PDF))
    assert (again["documentId"], again["overridden"]) == (first["documentId"], True)

    name = f"{sender.tenant}/{ROUND}/hr-1/photo%20one.jpg"
    drop.upload_blob(name, JPEG, metadata={"generationtime": "2026-01-30T12:00:00+02:00"})
    listed = wait_until(
        lambda: (
            found
            if len(found := gateway.get("/api/documents", sender).json["items"]) == 2
            else None
        ),
        "the dropped file is listed",
    )
    by_name = {item["fileName"]: item for item in listed}
    assert by_name["photo one.jpg"]["generationTime"] == "2026-01-30T10:00:00.000Z"
    for file_name, content in (("payslip.pdf", PDF), ("photo one.jpg", JPEG)):
        answer = gateway.get(by_name[file_name]["links"]["content"], sender)
        assert sha256(answer.body) == sha256(content)
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
    wait_until(lambda: not list(drop.list_blobs(sender.tenant)), "the drop is empty")
    imports = gateway.get("/api/imports?type=documents", sender).json["items"]
    assert [item["state"] for item in imports] == ["Completed"] * 3
