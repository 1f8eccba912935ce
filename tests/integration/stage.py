"""A test's stage on real storage: a gateway's services, a pump for its queues, one tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from azure.storage.queue.aio import QueueServiceClient

from shared.bootstrap import open_gateway
from shared.gateway import Gateway
from shared.imports.results import RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.storage.business_records import StoredRecord, from_entity, partition_of, row_of
from shared.storage.import_records import ImportRecord, acceptance_operations, record_row
from shared.storage.ports import Delete, Entity, Merge
from shared.storage.result_records import result_row
from shared.storage.waiting_chunks import WaitingChunk
from tests.builders import body_of
from tests.emulator import settings_for
from tests.imports import accept_without_messages
from tests.integration.pump import Pump
from tests.tenants import Sender, new_sender
from tests.waiting import until


@dataclass(frozen=True)
class Harness:
    """What a test plays with."""

    gateway: Gateway
    pump: Pump
    sender: Sender

    async def accept(self, rows: list[Any]) -> ImportRecord:
        """An import whose messages are on the queue."""
        record = await self.gateway.intake.accept(WORKERS, self.sender.caller, body_of(rows))
        assert record is not None
        return record

    async def accept_quietly(self, rows: list[Any], chunk_rows: int = 1_000) -> ImportRecord:
        """An import whose messages got lost."""
        return await accept_without_messages(
            self.gateway, self.sender.caller, body_of(rows), chunk_rows
        )

    async def drain(self) -> None:
        """Deliver messages until the tenant has no open import."""
        tenant = self.sender.tenant

        async def has_ended() -> bool:
            for message in await self.messages():
                await self.gateway.chunks.process(message)
            return not await self.gateway.imports.open_of(tenant)

        await until(has_ended, f"the end of the imports of {tenant}")

    async def messages(self) -> list[ChunkMessage]:
        """Take the tenant's messages that are visible now off the queues; others' are dropped."""
        taken = await self.pump.take()
        return [message for message in taken if message.tenant == self.sender.tenant]

    async def waiting(self) -> list[str]:
        """The row keys of the tenant's chunks that wait."""
        tables = self.gateway.account.tables
        found = await tables.query("Imports", self.sender.tenant, "wait|", "wait|~")
        return [entity.row for entity in found]

    async def make_wait(self, record: ImportRecord, awaited: ImportRecord) -> None:
        """As if the first chunk had not been woken yet at the end of that import."""
        chunk = WaitingChunk(
            record.tenant, record.number, record.import_id, 0, "import-workers", awaited.number
        )
        await self.gateway.imports.add_waiting(chunk)

    async def results(self, record: ImportRecord) -> dict[int, RowResult]:
        """The results of an import by index; each index once."""
        found = [row async for row in self.gateway.reporting.all_results(record)]
        assert len({row.index for row in found}) == len(found)
        return {row.index: row for row in found}

    async def codes(self, record: ImportRecord) -> list[list[int]]:
        """The message ids of each row, in the order of the payload."""
        results = await self.results(record)
        return [[message.id for message in results[at].messages] for at in sorted(results)]

    async def stored(self, reference: str, employer: str = "E1") -> StoredRecord | None:
        """The record of a worker, a tombstone too."""
        place = partition_of(self.sender.tenant, employer), row_of(reference)
        entity = await self.gateway.account.tables.get("Workers", *place)
        return None if entity is None else from_entity(entity)

    async def forget_workers(self, employer: str = "E1") -> None:
        """Remove every worker of an employer, as if there had never been one."""
        tables = self.gateway.account.tables
        place = partition_of(self.sender.tenant, employer)
        for entity in await tables.query("Workers", place):
            await tables.write("Workers", Delete(entity))

    async def forget(self, table: str, partition: str, row: str) -> None:
        """Remove an entity behind the back of the gateway."""
        await self.gateway.account.tables.write(table, Delete(Entity(partition, row, {})))

    async def forget_closing(self, record: ImportRecord) -> None:
        """As if the handler of the last chunk had died before it closed the import."""
        tables = self.gateway.account.tables
        *_, opened = acceptance_operations(record)
        row = record_row(record.number)
        await tables.write("Imports", Merge(Entity(record.tenant, row, {"EndedAt": ""})))
        await tables.write("Imports", opened)

    async def forget_end(self, record: ImportRecord) -> None:
        """As if the handlers had died before they wrote their results."""
        tables = self.gateway.account.tables
        for chunk in record.chunks:
            row = result_row(chunk.number)
            await tables.write("ImportResults", Delete(Entity(record.import_id, row, {})))
        await self.forget_closing(record)

    async def again(self, record: ImportRecord) -> ImportRecord:
        """The record of an import as it is now."""
        found = await self.gateway.imports.read(record.tenant, record.number)
        assert found is not None
        return found


def play(storage: str, scenario: Callable[[Harness], Awaitable[None]], **settings: int) -> None:
    """Run a test on a stage of its own; `settings` by the names of `Settings`."""

    async def run() -> None:
        async with (
            open_gateway(settings_for(storage, **settings)) as gateway,
            QueueServiceClient.from_connection_string(storage) as service,
        ):
            pump = Pump(service)
            await pump.take()
            await scenario(Harness(gateway, pump, await new_sender(gateway)))

    asyncio.run(run())
