"""The largest document, by call and by drop, with the memory it takes; one byte more is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from shared.settings import Settings
from shared.storage.names import DOCUMENT_DROP, DOCUMENT_REJECTED
from shared.storage_account import StorageAccount
from tests.builders import a_worker
from tests.contract.calls import check_refusal
from tests.documents import ROUND, Form, a_ready_sender, sha256, upload_headers
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
MOST = Settings(storage=StorageAccount()).max_document_bytes
MIB = 1024 * 1024
CONTENT = (b"%PDF-1.7\n" + bytes(range(256)) * (MOST // 256 + 1))[:MOST]


@pytest.fixture(name="storage")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("documents")


@pytest.fixture(name="service")
def fixture_service(storage: str) -> Iterator[BlobServiceClient]:
    with BlobServiceClient.from_connection_string(storage) as service:
        yield service


def test_the_largest_document_goes_in_both_ways(
    storage: str, service: BlobServiceClient, tmp_path: Path
) -> None:
    sender = a_ready_sender(storage)
    drop = service.get_container_client(DOCUMENT_DROP)
    with started(storage, tmp_path, LOCAL_HOST_BLOB_SCAN_SECONDS="0.2") as gateway:
        gateway.post(sender, [a_worker("P1")])

        def send(form: Form) -> int:
            body, headers = form.body(), upload_headers(sender)
            before = gateway.peak_memory()
            answer = gateway.call("POST", "/api/import/documents", body, headers)
            assert answer.status == 200, answer.body
            return gateway.peak_memory() - before

        def dropped(name: str, content: bytes) -> int:
            before = gateway.peak_memory()
            drop.upload_blob(f"{sender.tenant}/{ROUND}/P1/{name}", content)
            wait_until(lambda: not list(drop.list_blobs(sender.tenant)), "the drop is empty")
            return gateway.peak_memory() - before

        send(Form(file_name="small.pdf"))
        dropped("first.pdf", b"%PDF-1.7")
        by_call = send(Form(file_name="call.pdf", content=CONTENT))
        by_drop = dropped("drop.pdf", CONTENT)
        print(f"peak: {by_call / MIB:.0f} MiB by call, {by_drop / MIB:.0f} MiB more by drop")
        # The body, as the host has put it together; of a drop what the host hands on.
        assert by_call < 4 * MOST
        assert by_drop < 4 * MOST
        check_stored(gateway, sender.headers, {"call.pdf", "drop.pdf", "first.pdf", "small.pdf"})

        body = Form(content=CONTENT + b"x").body()
        answer = gateway.call("POST", "/api/import/documents", body, upload_headers(sender))
        check_refusal(answer, 413, f"the limit is {MOST}")
        dropped("over.pdf", CONTENT + b"x")
    rejected = service.get_container_client(DOCUMENT_REJECTED)
    assert len(list(rejected.list_blobs(f"{sender.tenant}/"))) == 1


def check_stored(gateway: GatewayProcess, headers: Mapping[str, str], names: set[str]) -> None:
    listed = gateway.call("GET", "/api/documents", None, headers).json["items"]
    assert {item["fileName"] for item in listed} == names
    for item in listed:
        if item["size"] == MOST:
            answer = gateway.call("GET", item["links"]["content"], None, headers)
            assert sha256(answer.body) == sha256(CONTENT)
