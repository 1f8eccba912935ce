"""Authentication values exist in the memory of a call only (docs/contracts.md#3, secrets).

Marked values go in by every road; then every table, queue and blob of the account, the log, and
every answer is searched, for the values and for what a value would look like in JSON or base64.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from tests.contract.authdata_calls import AUTHDATA, STAGE, process, send
from tests.e2e.gateway_process import GatewayProcess
from tests.integration.authdata_stage import Row, an_employee
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
MARK = "Zq7xJ0-secret"
SEEN = "Zq7xJ0-employee"
"""An employee id, which is kept: it shows that the search finds what there is."""
FORMS = (
    MARK.encode(),
    MARK.lower().encode(),
    *(base64.b64encode(b"x" * lead + MARK.encode())[4:-4] for lead in range(3)),
)


def test_no_value_is_in_storage_log_or_answer(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    secret = {"employeeStatus": "on", "authValue1": MARK, "authValue2": f"{MARK}2"}
    rows: list[Row] = [
        {"employeeId": "E1", **secret},
        {"employeeId": "E1", **secret, "authValue3": f"{MARK}3"},
        {"employeeId": "", **secret},
        {"employeeId": "E2", "authValue1": MARK * 20},
        {"employeeId": "E3", "authValue1": [MARK]},
        an_employee(SEEN, "other"),
        *(an_employee(f"F{at}", f"{MARK}{at}", "x" * 90) for at in range(200)),
    ]
    answers = [
        send(gateway, sender, rows, STAGE, {"Idempotency-Key": MARK[:4]}),
        send(gateway, sender, rows, STAGE, commit=False),
        send(gateway, sender, rows),
        send(gateway, sender, rows[:1], fileLogId=MARK),
        send(gateway, sender, rows[:1], validate=MARK),
        gateway.call("POST", STAGE, f'{{"employee":[{{"authValue1":"{MARK}"'.encode(),
                     sender.headers),
        gateway.call("POST", STAGE, f'{{"employee":["{MARK}"]}}'.encode(), sender.headers),
        gateway.call("GET", f"{AUTHDATA}/{uuid.uuid4()}", None, sender.headers),
    ]  # fmt: skip
    done = process(gateway, sender, answers[0].json["fileLogId"])
    import_id = done.headers["x-import-id"]
    assert done.json["totalErrors"] == 3
    retried = json.dumps([{"index": 2, "row": {"employeeId": "E9", **secret}}]).encode()
    keyed = {**sender.headers, "Idempotency-Key": "retry"}
    answers += [
        done,
        gateway.call("POST", f"/api/imports/{import_id}/retry", retried, keyed),
        *(
            gateway.get(f"/api/imports/{import_id}{what}", sender)
            for what in ("", "/results?pageSize=1000", "/answer", "/failed-rows")
        ),
    ]
    for answer in answers:
        check_clean("an answer", answer.body)
        check_clean("a header", json.dumps(dict(answer.headers)).encode())
    check_clean("the log", gateway.log().encode())
    places = asyncio.run(everything(storage))
    assert len(places) > 100
    kept = {place.split()[0] for place, data in places.items() if SEEN.encode() in data}
    assert kept == {"AuthData", "AuthStaging", "ImportResults", "Idempotency", "blob"}
    for place, data in places.items():
        check_clean(place, data)


def check_clean(place: str, data: bytes) -> None:
    folded = data.lower()
    assert [form for form in FORMS if form in data or form.lower() in folded] == [], place


async def everything(storage: str) -> Mapping[str, bytes]:
    """Every entity, message and blob of the account; what is compressed is expanded."""
    return {place: data async for place, data in _walk(storage)}


async def _walk(storage: str) -> AsyncIterator[tuple[str, bytes]]:
    async with TableServiceClient.from_connection_string(storage) as tables:
        async for table in tables.list_tables():
            async for entity in tables.get_table_client(table.name).list_entities():
                for name, value in entity.items():
                    place = f"{table.name} {entity['PartitionKey']} {entity['RowKey']} {name}"
                    yield place, _expanded(value)
    async with BlobServiceClient.from_connection_string(storage) as blobs:
        async for container in blobs.list_containers():
            client = blobs.get_container_client(container.name)
            async for blob in client.list_blobs(include=["metadata"]):
                read = await client.download_blob(blob.name)
                yield f"blob {container.name} {blob.name}", _expanded(await read.readall())
                yield f"metadata {blob.name}", json.dumps(blob.metadata or {}).encode()
    async with QueueServiceClient.from_connection_string(storage) as queues:
        async for queue in queues.list_queues():
            peeked = await queues.get_queue_client(queue.name).peek_messages(max_messages=32)
            for message in peeked:
                yield f"queue {queue.name} {message.id}", base64.b64decode(message.content)


def _expanded(value: Any) -> bytes:
    """Text as UTF-8, and compressed bytes as what they hold, with the bytes themselves."""
    data = value if isinstance(value, bytes) else str(value).encode()
    parts = [data]
    rest = data
    while rest:
        expander = zlib.decompressobj()
        try:
            parts.append(expander.decompress(rest))
        except zlib.error:
            break
        rest = expander.unused_data
    return b"\n".join(parts)
