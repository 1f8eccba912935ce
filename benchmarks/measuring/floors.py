"""The yardsticks: the same entities written to storage and nothing else.

Floor A writes them one by one by the asynchronous SDK, sixteen at a time; floor B by the SDK in
entity-group transactions, four at a time. More at a time is not faster: the SDK's own work on one
processor is what bounds both. Floor C sends the same transactions as texts that are formatted here,
four at a time through `azure-core`: the nearest to what storage itself can do. It is no code of the
gateway, so that it does not become slower or faster with the gateway.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from azure.core import AsyncPipelineClient
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from benchmarks.measuring.meters import Meter, spent
from benchmarks.measuring.waiting import BenchError
from shared.storage.azure_tables import SharedKeyLitePolicy

TABLE = "Floor"
_SINGLE_WRITERS = 16
_TRANSACTION_WRITERS = 4
_MOST_OPERATIONS = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """How long something took, and the processor time of storage's client and of the emulator."""

    seconds: float
    client: float | None
    emulator: float | None


# As the SDK takes it.
Entity = dict[str, Any]

Write = Callable[[TableClient], Awaitable[None]]


def floor_a(connection: str, entities: Sequence[Entity], emulator: Meter) -> Reading:
    """Every entity is an upsert of its own."""

    async def write(table: TableClient) -> None:
        waiting = iter(entities)

        async def work() -> None:
            for entity in waiting:
                await table.upsert_entity(entity, UpdateMode.REPLACE)

        await asyncio.gather(*(work() for _ in range(_SINGLE_WRITERS)))

    return asyncio.run(_measured(connection, write, emulator))


def floor_b(connection: str, entities: Sequence[Entity], emulator: Meter) -> Reading:
    """Inserts in transactions of up to 100, of one partition each; the table has to be empty.

    No upserts: the emulator looks through the partition for each, which an import of new records
    does not ask of it.
    """
    transactions = list(_transactions(entities))

    async def write(table: TableClient) -> None:
        waiting = iter(transactions)

        async def work() -> None:
            for transaction in waiting:
                await table.submit_transaction([("create", entity) for entity in transaction])

        await asyncio.gather(*(work() for _ in range(_TRANSACTION_WRITERS)))

    return asyncio.run(_measured(connection, write, emulator))


def floor_c(connection: str, entities: Sequence[Entity], emulator: Meter) -> Reading:
    """As floor B, but without the SDK."""
    transactions = list(_transactions(entities))
    account = dict(pair.split("=", 1) for pair in connection.strip(";").split(";"))
    endpoint = account["TableEndpoint"]
    policies = [SharedKeyLitePolicy(account["AccountName"], account["AccountKey"])]

    async def write(_: TableClient) -> None:
        waiting = iter(transactions)
        # The gateway does not look for proxies before each request either.
        transport = AioHttpTransport(use_env_settings=False)
        async with AsyncPipelineClient[HttpRequest, AsyncHttpResponse](
            endpoint, policies=policies, transport=transport
        ) as client:

            async def work() -> None:
                for transaction in waiting:
                    response = await client.send_request(
                        _transaction_request(endpoint, transaction)
                    )
                    created = response.content.count(b"HTTP/1.1 204")
                    if response.status_code != 202 or created != len(transaction):
                        raise BenchError(
                            f"floor C: {response.status_code} {response.content[:300]!r}"
                        )

            await asyncio.gather(*(work() for _ in range(_TRANSACTION_WRITERS)))

    return asyncio.run(_measured(connection, write, emulator))


def _transaction_request(endpoint: str, transaction: Sequence[Entity]) -> HttpRequest:
    head = (
        "--changeset_1\r\nContent-Type: application/http\r\n"
        "Content-Transfer-Encoding: binary\r\n\r\n"
        f"POST {endpoint}/{TABLE} HTTP/1.1\r\nContent-Type: application/json\r\n"
        "Accept: application/json;odata=minimalmetadata\r\nPrefer: return-no-content\r\n\r\n"
    )
    operations = "".join(f"{head}{_json_of(entity)}\r\n" for entity in transaction)
    content = (
        "--batch_1\r\nContent-Type: multipart/mixed; boundary=changeset_1\r\n\r\n"
        f"{operations}--changeset_1--\r\n--batch_1--\r\n"
    )
    headers = {
        "Content-Type": "multipart/mixed; boundary=batch_1",
        "x-ms-version": "2019-02-02",
        "DataServiceVersion": "3.0",
        "MaxDataServiceVersion": "3.0;NetFx",
    }
    return HttpRequest("POST", f"{endpoint}/$batch", headers=headers, content=content.encode())


def _json_of(entity: Entity) -> str:
    values: Entity = {}
    for name, value in entity.items():
        if isinstance(value, EntityProperty):
            values[f"{name}@odata.type"] = EdmType(value.edm_type).value
            values[name] = str(value.value)
        elif isinstance(value, bytes):
            values[f"{name}@odata.type"] = "Edm.Binary"
            values[name] = base64.b64encode(value).decode()
        else:
            values[name] = value
    return json.dumps(values)


def single_upserts(connection: str, entities: Sequence[Entity]) -> list[float]:
    """The seconds that each of these upserts took, one after the other."""
    seconds: list[float] = []

    async def write(table: TableClient) -> None:
        for entity in entities:
            started_at = time.perf_counter()
            await table.upsert_entity(entity, UpdateMode.REPLACE)
            seconds.append(time.perf_counter() - started_at)

    asyncio.run(_with_table(connection, write))
    return seconds


async def _measured(connection: str, write: Write, emulator: Meter) -> Reading:
    # The entities live as long as we do: a collector that visits them would slow the floor down.
    gc.collect()
    gc.freeze()
    try:
        own_cpu, storage_cpu = time.process_time(), emulator.processor_seconds()
        started_at = time.perf_counter()
        await _with_table(connection, write)
        seconds = time.perf_counter() - started_at
        cpu_seconds = time.process_time() - own_cpu
        return Reading(seconds, cpu_seconds, spent(storage_cpu, emulator.processor_seconds()))
    finally:
        gc.unfreeze()


async def _with_table(connection: str, write: Write) -> None:
    async with TableServiceClient.from_connection_string(connection) as service:
        await write(service.get_table_client(TABLE))


def _transactions(entities: Sequence[Entity]) -> Iterator[list[Entity]]:
    for _, group in groupby(entities, key=lambda entity: entity["PartitionKey"]):
        of_partition = list(group)
        for at in range(0, len(of_partition), _MOST_OPERATIONS):
            yield of_partition[at : at + _MOST_OPERATIONS]
