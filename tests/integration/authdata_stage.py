"""A test's stage for authentication data: calls of the services, and what is left in the tables."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from azure.storage.queue.aio import QueueServiceClient

from shared.bootstrap import open_gateway
from shared.gateway import Gateway
from shared.imports.authdata.model import BatchCall, Employee
from shared.imports.authdata.staging import StageResult
from shared.services.chunk_messages import ChunkMessage
from shared.storage import business_records
from shared.storage.business_records import StoredRecord
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Entity
from tests.emulator import settings_for
from tests.integration.pump import Pump
from tests.tenants import new_tenant
from tests.waiting import until

Row = dict[str, Any]


def an_employee(employee_id: str, *values: str | None, status: str | None = None) -> Row:
    """A record as sent; its values are made from its id unless given."""
    sent = values or (f"{employee_id}-one", f"{employee_id}-two", None)
    names = ("authValue1", "authValue2", "authValue3")
    return {
        "employeeId": employee_id,
        "employeeStatus": status,
        **dict(zip(names, sent, strict=False)),
    }


@dataclass(frozen=True)
class AuthdataStage:
    """What a test plays with."""

    gateway: Gateway
    pump: Pump
    tenant: str

    async def stage(
        self, rows: Sequence[Row], file_log_id: str | None = None, **changes: Any
    ) -> StageResult:
        """A stage call; `changes` are fields of `BatchCall`, or its `call_id`."""
        call_id = changes.pop("call_id", None) or str(uuid.uuid4())
        folded = [{name.lower(): value for name, value in row.items()} for row in rows]
        asked = {"validate": True, "allow_no_auth": False, "commit": True, **changes}
        call = BatchCall(file_log_id=file_log_id, rows=folded, **asked)
        return await self.gateway.authdata.staging.stage(self.tenant, call, call_id)

    async def begin(self, file_log_id: str) -> ImportRecord:
        """A Process call up to its import."""
        record = await self.gateway.authdata.processing.begin(self.tenant, file_log_id)
        assert record is not None
        return record

    async def process(self, file_log_id: str) -> dict[str, Any]:
        """A Process call with its answer."""
        record = await self.begin(file_log_id)
        await self.drain()
        return await self.answer(record)

    async def imported(self, rows: Sequence[Row], **changes: Any) -> dict[str, Any]:
        """Both steps."""
        staged = await self.stage(rows, **changes)
        assert staged.is_staged
        return await self.process(staged.file_log_id)

    async def answer(self, record: ImportRecord) -> dict[str, Any]:
        """The answer of an ended import."""
        ended = await self.again(record)
        assert not ended.is_open
        return await self.gateway.authdata.processing.answer(ended)

    async def review(self, file_log_id: str) -> dict[str, Any]:
        batch = await self.gateway.authdata.staging.find(self.tenant, file_log_id)
        return await self.gateway.authdata.staging.review(batch)

    async def again(self, record: ImportRecord) -> ImportRecord:
        """The record of an import as it is now."""
        found = await self.gateway.imports.read(record.tenant, record.number)
        assert found is not None
        return found

    async def drain(self) -> None:
        """Deliver messages until the tenant has no open import."""

        async def has_ended() -> bool:
            for message in await self.messages():
                await self.gateway.chunks.process(message)
            return not await self.gateway.imports.open_of(self.tenant)

        await until(has_ended, f"the end of the imports of {self.tenant}")

    async def messages(self) -> list[ChunkMessage]:
        """Take the tenant's messages that are visible now."""
        return [message for message in await self.pump.take() if message.tenant == self.tenant]

    async def entities(self, table: str = "AuthData") -> list[Entity]:
        """Everything in the tenant's own partition of a table, with ETags."""
        return await self.gateway.account.tables.query(table, self.tenant)

    async def stored(self) -> dict[str, StoredRecord]:
        """Every employee record of the tenant by row key, tombstones too."""
        found = [each for each in await self.entities() if each.row.startswith("r|")]
        return {each.row: business_records.from_entity(each) for each in found}

    async def employees(self) -> dict[str, Employee]:
        """The employees of the tenant; each has exactly its own look-up."""
        documents = [each.document for each in (await self.stored()).values() if each.document]
        employees = [Employee.from_document(document) for document in documents]
        lookups = [each.row for each in await self.entities() if each.row.startswith("x|")]
        expected = [f"x|{each.triple}|{each.employee_id}" for each in employees if each.triple]
        assert sorted(lookups) == sorted(expected)
        return {employee.employee_id: employee for employee in employees}


def play(
    storage: str, scenario: Callable[[AuthdataStage], Awaitable[None]], **settings: Any
) -> None:
    """Run a test on a stage of its own; `settings` by the names of `Settings`."""

    async def run() -> None:
        wanted = {"cache_seconds": 0, **settings}
        async with (
            open_gateway(settings_for(storage, **wanted)) as gateway,
            QueueServiceClient.from_connection_string(storage) as service,
        ):
            pump = Pump(service)
            await pump.take()
            await scenario(AuthdataStage(gateway, pump, await new_tenant(gateway)))

    asyncio.run(run())
