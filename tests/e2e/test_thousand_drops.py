"""A thousand files dropped at once: each one import, none lost, none twice (issue: must show)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob.aio import BlobServiceClient

from shared.imports.documents.rounds import RoundStatus
from shared.storage.names import DOCUMENT_DROP, DOCUMENT_REJECTED
from tests.builders import a_worker
from tests.documents import ROUND, a_ready_sender
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
DROPS, BAD, WORKERS, EMPLOYERS = 1_000, 50, 100, 2


def names(tenant: str) -> Iterator[tuple[str, bytes]]:
    """What is dropped: every twentieth is bad, in five ways."""
    for number in range(DROPS):
        worker, round_code, end, content = f"W{number % WORKERS}", ROUND, "pdf", b"%PDF-1.7 "
        if number % (DROPS // BAD) == 0:
            kind = number // (DROPS // BAD) % 5
            worker = "nobody" if kind == 0 else worker
            round_code = "closed" if kind == 1 else round_code
            end = "exe" if kind == 2 else end
            content = b"GIF89a" if kind == 3 else b"" if kind == 4 else content
        name = f"{tenant}/{round_code}/{worker}/{number:04d}.{end}"
        yield name, content + str(number).encode() * bool(content)


async def drop_all(storage: str, tenant: str) -> None:
    async with BlobServiceClient.from_connection_string(storage) as service:
        container = service.get_container_client(DOCUMENT_DROP)
        free = asyncio.Semaphore(16)

        async def put(name: str, content: bytes) -> None:
            async with free:
                await container.upload_blob(name, content)

        await asyncio.gather(*(put(*each) for each in names(tenant)))


async def left(storage: str, container: str, prefix: str) -> list[str]:
    async with BlobServiceClient.from_connection_string(storage) as service:
        found = service.get_container_client(container).list_blobs(prefix)
        return [blob.name async for blob in found]


def all_pages(gateway: GatewayProcess, sender: Sender, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    continuation = ""
    while True:
        page = gateway.get(f"{path}pageSize=1000{continuation}", sender).json
        items += page["items"]
        if page["continuation"] is None:
            return items
        continuation = f"&continuation={page['continuation']}"


def test_a_thousand_drops_with_fifty_bad_ones(emulator: Emulator, tmp_path: Path) -> None:
    storage = emulator.account("dropped")
    rounds = (ROUND, RoundStatus.OPEN), ("closed", RoundStatus.CLOSED)
    sender = a_ready_sender(storage, *rounds)
    people = [
        a_worker(f"W{number}", EmployerRef=f"E{number % EMPLOYERS}") for number in range(WORKERS)
    ]
    with started(storage, tmp_path, LOCAL_HOST_BLOB_SCAN_SECONDS="0.5") as gateway:
        gateway.post(sender, people)
        asyncio.run(drop_all(storage, sender.tenant))
        begun = time.monotonic()
        wait_until(
            lambda: gateway.log().count("import.ended ") > DROPS, "all imports have ended", 500
        )
        print(f"{DROPS} drops: {time.monotonic() - begun:.1f} s after the last was there")
        wait_until(
            lambda: not asyncio.run(left(storage, DOCUMENT_DROP, sender.tenant)),
            "the drop is empty",
        )
        documents = all_pages(gateway, sender, "/api/documents?")
        imports = all_pages(gateway, sender, "/api/imports?type=documents&")
    assert len(documents) == len({item["fileName"] for item in documents}) == DROPS - BAD
    states = Counter(item["state"] for item in imports)
    assert states == {"Completed": DROPS - BAD, "CompletedWithErrors": BAD}
    rejected = asyncio.run(left(storage, DOCUMENT_REJECTED, sender.tenant))
    assert len(rejected) == BAD
