"""Files of rows dropped by the hundred, with bad ones, two gateways, and one that is killed."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import time
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob.aio import BlobServiceClient

from shared.storage.names import ROW_DONE, ROW_DROP, ROW_PENDING, ROW_REJECTED, ROW_RESULTS
from tests.builders import a_worker
from tests.e2e.bookkeeping import Books
from tests.e2e.gateway_process import started
from tests.e2e.test_large_loads import list_names
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
DROPS = int(os.environ.get("DROPPED_FILES", "40"))
BAD = range(0, DROPS, 10)
REFUSED = range(0, DROPS, 20)
SETTINGS = {
    "LOCAL_HOST_BLOB_SCAN_SECONDS": "0.5",
    "GATEWAY_ROW_DROP_SECONDS": "1",
    "GATEWAY_DOCUMENT_SWEEP_SECONDS": "1",
    "GATEWAY_SWEEP_AFTER_SECONDS": "5",
}


def files(sender: Sender) -> dict[str, bytes]:
    """Two workers each, by turns as JSON and CSV; every tenth is bad, half of these as a whole."""
    made = {}
    for number in range(DROPS):
        rows = [a_worker(f"W{number:04d}{letter}") for letter in "ab"]
        if number in BAD:
            rows[1]["Gender"] = "none"
        text = json.dumps(rows)
        ending = "json"
        if number % 2:
            lines = [f"{row['EmployerRef']};{row['PersonnelRef']};{row['Surname']}" for row in rows]
            text, ending = "\r\n".join(("EmployerRef;PersonnelRef;Surname", *lines)), "csv"
        if number in REFUSED:
            text = text[:-1]
        name = f"{sender.tenant}/{sender.integration.software_key}/workers/{number:04d}.{ending}"
        made[name] = text.encode()
    return made


async def drop_all(storage: str, dropped: dict[str, bytes]) -> None:
    async with BlobServiceClient.from_connection_string(storage) as service:
        container = service.get_container_client(ROW_DROP)
        free = asyncio.Semaphore(16)

        async def put(name: str, content: bytes) -> None:
            async with free:
                await container.upload_blob(name, content)

        await asyncio.gather(*(put(*each) for each in dropped.items()))


async def read_all(storage: str, container: str, prefix: str) -> dict[str, bytes]:
    async with BlobServiceClient.from_connection_string(storage) as service:
        client = service.get_container_client(container)
        names = [blob.name async for blob in client.list_blobs(prefix)]
        return {name: await (await client.download_blob(name)).readall() for name in names}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_files_of_rows_with_a_gateway_that_is_killed(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("dropped")
    sender = a_sender(storage)
    dropped = files(sender)

    def names(container: str) -> list[str]:
        return asyncio.run(list_names(storage, container, f"{sender.tenant}/"))

    with started(storage, tmp_path, **SETTINGS), started(storage, tmp_path, **SETTINGS) as killed:
        asyncio.run(drop_all(storage, dropped))
        begun = time.monotonic()
        wait_until(lambda: len(names(ROW_RESULTS)) >= DROPS // 5, "the first results", 200)
        assert names(ROW_DROP), "all was done before the gateway could be killed"
        killed.kill()
        with started(storage, tmp_path, **SETTINGS):
            wait_until(
                lambda: not names(ROW_DROP) and not names(ROW_PENDING), "all is settled", 300
            )
            print(f"{DROPS} files of rows: {time.monotonic() - begun:.1f} s, one gateway killed")
    results = asyncio.run(read_all(storage, ROW_RESULTS, f"{sender.tenant}/"))
    check_results(results, dropped)
    check_imports(Books(storage), sender.tenant)
    assert len(names(ROW_REJECTED)) == len(REFUSED)
    assert len(names(ROW_DONE)) == DROPS - len(REFUSED)


def check_results(results: dict[str, bytes], dropped: dict[str, bytes]) -> None:
    """Each file has one result, and those with a failed row the row."""
    found: dict[str, list[Any]] = {}
    failed: dict[str, list[dict[str, str]]] = {}
    for place, content in results.items():
        name, _, file = (place.rsplit("/", 2)[0], *place.rsplit("/", 2)[1:])
        if file == "result.json":
            found.setdefault(name, []).append(json.loads(content))
        else:
            assert file == "failed.csv"
            failed[name] = list(csv.DictReader(StringIO(content.decode("utf-8-sig"))))
    assert found.keys() == dropped.keys()
    states = Counter(result["state"] for [result] in found.values())
    failing = len(BAD) - len(REFUSED)
    assert states == {
        "Completed": DROPS - len(BAD),
        "CompletedWithErrors": failing,
        "Rejected": len(REFUSED),
    }
    assert len(failed) == failing
    for name, rows in failed.items():
        [result] = found[name]
        [row] = rows
        assert row["Gender"] == "none"
        assert result["failed"][0]["key"]["PersonnelRef"] == row["PersonnelRef"]
        assert (result["rows"]["new"], result["rows"]["failed"]) == (1, 1)


def check_imports(books: Books, tenant: str) -> None:
    """Each file is one import, and each good row one worker."""
    imports = books.imports(tenant)
    assert len(imports) == DROPS - len(REFUSED)
    assert len({record.sender.source for record in imports}) == len(imports)
    rows = 2 * (DROPS - len(REFUSED))
    assert len(books.workers(tenant)) == rows - (len(BAD) - len(REFUSED))
