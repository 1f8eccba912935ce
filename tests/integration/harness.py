"""A test's stage on real storage: a gateway's services, a pump for its queues, one tenant."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import ClientSession
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue import AccountSasPermissions, ResourceTypes, generate_account_sas
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from shared.auth.callers import Caller
from shared.clock import RandomIds, SystemClock
from shared.errors import StorageUnavailableError
from shared.gateway import Gateway
from shared.imports.authdata.model import BatchCall, Employee
from shared.imports.authdata.staging import StageResult
from shared.imports.import_type import Document
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.processor import LicenseProcessor
from shared.imports.licenses.store import license_from_entity
from shared.imports.registry import IMPORT_TYPES
from shared.imports.results import RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.background import SmallImportsFirst, to_thread_if_large
from shared.services.chunk_messages import AcceptedImports, ChunkMessage, messages_for
from shared.services.chunk_processor import HoldBack
from shared.services.early_polls import EARLY_POLL
from shared.services.record_processor import operation_bytes
from shared.services.results import Payloads
from shared.services.row_processor import BeforeCommit
from shared.storage import business_records
from shared.storage.business_records import StoredRecord, from_entity, partition_of, row_of
from shared.storage.entities import entity_bytes
from shared.storage.import_records import ImportRecord, acceptance_operations, record_row
from shared.storage.ports import (
    MAX_ENTITY_BYTES,
    MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES,
    Delete,
    Entity,
    Merge,
    Operation,
    Tables,
)
from shared.storage.result_records import result_row
from shared.storage.waiting_chunks import WaitingChunk
from tests.builders import body_of
from tests.emulator import open_ready_gateway, settings_for
from tests.memory_storage import ForwardingTables
from tests.tenants import Sender, new_sender, new_tenant
from tests.waiting import until


@dataclass(frozen=True)
class TenantHarness:
    """A gateway's services, its queues, and a tenant whose messages the test delivers."""

    gateway: Gateway
    pump: Pump
    tenant: str

    async def drain(self) -> None:
        """Deliver messages until the tenant has no open import."""

        async def has_ended() -> bool:
            for message in await self.messages():
                await self.gateway.chunks.process(message)
            return not await self.gateway.imports.open_of(self.tenant)

        await until(has_ended, f"the end of the imports of {self.tenant}")

    async def messages(self) -> list[ChunkMessage]:
        """Take the tenant's messages that are visible now off the queues; others' are dropped."""
        return [message for message in await self.pump.take() if message.tenant == self.tenant]

    async def again(self, record: ImportRecord) -> ImportRecord:
        """The record of an import as it is now."""
        stored = await self.gateway.imports.read(record.tenant, record.number)
        assert stored is not None
        return stored


@dataclass(frozen=True)
class Harness(TenantHarness):
    """What a test works with; the tenant is that of the sender."""

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

    async def waiting(self) -> list[str]:
        """The row keys of the tenant's chunks that wait."""
        tables = self.gateway.account.tables
        entities = await tables.query("Imports", self.sender.tenant, "wait|", "wait|~")
        return [entity.row for entity in entities]

    async def make_wait(self, record: ImportRecord, awaited: ImportRecord) -> None:
        """As if the first chunk had not been woken yet at the end of that import."""
        chunk = WaitingChunk(
            record.tenant, record.number, record.import_id, 0, "import-workers", awaited.number
        )
        await self.gateway.imports.add_waiting(chunk)

    async def results(self, record: ImportRecord) -> dict[int, RowResult]:
        """The results of an import by index; each index once."""
        rows = [row async for row in self.gateway.reporting.all_results(record)]
        assert len({row.index for row in rows}) == len(rows)
        return {row.index: row for row in rows}

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


@asynccontextmanager
async def _opened(storage: str, **settings: Any) -> AsyncIterator[tuple[Gateway, Pump]]:
    """A gateway's services and its queues, with no message on them."""
    async with (
        open_ready_gateway(settings_for(storage, **settings)) as gateway,
        QueueServiceClient.from_connection_string(storage) as service,
        ClientSession() as session,
    ):
        pump = Pump(service, session)
        await pump.take()
        yield gateway, pump


def play(storage: str, scenario: Callable[[Harness], Awaitable[None]], **settings: int) -> None:
    """Run a test with a harness of its own; `settings` by the names of `Settings`."""

    async def run() -> None:
        async with _opened(storage, **settings) as (gateway, pump):
            sender = await new_sender(gateway)
            await scenario(Harness(gateway, pump, sender.tenant, sender))

    asyncio.run(run())


# Takes the messages off the real queues, so that a test decides what is delivered and how often.
#
# No gateway process works on the account `delivered`.


QUEUES = tuple(queue for kind in IMPORT_TYPES.values() for queue in kind.queues)


class Pump:
    """The queues of one storage account.

    Most of them are empty most of the time. So they are asked first whether they have a message, by
    a request that costs a fifth of one of the SDK.
    """

    def __init__(self, service: QueueServiceClient, session: ClientSession) -> None:
        self._queues = [service.get_queue_client(name) for name in QUEUES]
        self._session = session
        signature = generate_account_sas(
            str(service.account_name),
            service.credential.account_key,
            ResourceTypes(object=True),
            AccountSasPermissions(read=True),
            datetime.now(UTC) + timedelta(days=1),
        )
        self._signature = {"peekonly": "true", **dict(parse_qsl(signature))}

    async def take(self) -> list[ChunkMessage]:
        """Every message that is visible now."""
        batches = await asyncio.gather(*(self._take_from(queue) for queue in self._queues))
        return [message for batch in batches for message in batch]

    async def _has_message(self, queue: QueueClient) -> bool:
        address = f"{queue.primary_endpoint}/messages"
        async with self._session.get(address, params=self._signature) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return "<QueueMessage>" in text

    async def _take_from(self, queue: QueueClient) -> list[ChunkMessage]:
        messages: list[ChunkMessage] = []
        if not await self._has_message(queue):
            return messages
        async for message in queue.receive_messages(max_messages=32):
            text = base64.b64decode(message.content).decode()
            if text != EARLY_POLL:
                messages.append(ChunkMessage.from_text(text))
            await queue.delete_message(message)
        return messages


# Imports of licenses on a stage, and handlers of theirs that die where a test wants them to.


MERGE, OVERRIDE, REPLACE = LicenseAction.MERGE, LicenseAction.OVERRIDE, LicenseAction.REPLACE


class DiedError(Exception):
    """The process of a handler was killed."""


class DyingTables(ForwardingTables):
    """The real tables, until so many transactions are in; `is_answered`: and it knew of the last.

    Every transaction is measured: the emulator keeps no limit.
    """

    def __init__(
        self, tables: Tables, remaining: int | None = None, *, is_answered: bool = True
    ) -> None:
        super().__init__(tables)
        self.remaining = remaining
        self.is_answered = is_answered
        self.transactions = 0
        self.sizes: list[int] = []

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        if self.remaining == 0:
            raise DiedError
        assert len(operations) <= MAX_OPERATIONS
        self.sizes.append(sum(map(operation_bytes, operations)))
        for operation in operations:
            assert isinstance(operation, Delete) or (
                entity_bytes(operation.entity) <= MAX_ENTITY_BYTES
            )
        assert self.sizes[-1] <= MAX_TRANSACTION_BYTES
        await super().transact(table, operations)
        self.transactions += 1
        if self.remaining is not None:
            self.remaining -= 1
            if not self.remaining and not self.is_answered:
                raise DiedError


async def always() -> None:
    """Goes on whatever happens."""


@dataclass(frozen=True)
class LicenseHarness:
    """A stage with one import of licenses after another."""

    stage: Harness

    async def accept(self, action: LicenseAction, rows: list[dict[str, Any]]) -> ImportRecord:
        """An accepted import whose messages got lost."""
        gateway, caller = self.stage.gateway, self.stage.sender.caller
        queues = RefusingQueues()
        intake = ImportAcceptor(
            imports=gateway.imports,
            accepted=AcceptedImports(SystemClock()),
            blobs=gateway.account.blobs,
            queues=queues,
            hold_back=HoldBack(gateway.imports, queues, 8),
            clock=SystemClock(),
            ids=RandomIds(),
            offload=to_thread_if_large,
            small_first=SmallImportsFirst(),
            limits=PlanLimits(100_000, 1_000, 4 * 1024 * 1024),
            can_seal=True,
        )
        planned = await intake.read(LICENSES, caller.tenant, json.dumps(rows).encode())
        options = replace(caller.options, action=action.value)
        draft = intake.draft(LICENSES, caller.tenant, planned, options)
        return await intake.accept_planned(LICENSES, draft, planned)

    def message(self, record: ImportRecord) -> ChunkMessage:
        """The message of the import's one chunk."""
        [message] = messages_for(record, [], [0])
        return message

    async def done(self, action: LicenseAction, rows: list[dict[str, Any]]) -> ImportRecord:
        """An import that has ended."""
        record = await self.accept(action, rows)
        await self.stage.gateway.chunks.process(self.message(record))
        return record

    async def handled(
        self, record: ImportRecord, tables: DyingTables, before_commit: BeforeCommit = always
    ) -> None:
        """A handler of a process of its own, which may die."""
        account = self.stage.gateway.account
        work = LicenseProcessor(
            tables=tables, blobs=account.blobs, clock=SystemClock(), offload=to_thread_if_large
        )
        lines = await Payloads(account.blobs).lines(record, 0)
        await work.run(record, lines, before_commit)

    async def killed(
        self, record: ImportRecord, transactions: int, *, is_answered: bool = True
    ) -> bool:
        """A handler that gets so far; whether it was killed there, or came to its end."""
        remaining = transactions + 1  # the first one notes the company
        tables = DyingTables(self.stage.gateway.account.tables, remaining, is_answered=is_answered)
        try:
            await self.handled(record, tables)
        except DiedError:
            return True
        return False

    async def licenses(self, company: str = "C1") -> list[Document]:
        """What is stored, by employee and number."""
        place = partition_of(self.stage.sender.tenant, company)
        tables = self.stage.gateway.account.tables
        entities = await tables.query("Licenses", place, "r|", "r|~")
        documents = [license_from_entity(entity).document for entity in entities]
        return sorted(
            (document for document in documents if document is not None),
            key=lambda each: (each.get("employeeNumber", ""), each.get("licenseNumber", "")),
        )

    async def outcomes(self, record: ImportRecord) -> list[tuple[str, list[int]]]:
        """Outcome and message ids of each row, in the order of the payload."""
        results = await self.stage.results(record)
        return [
            (results[at].outcome.value, [message.id for message in results[at].messages])
            for at in sorted(results)
        ]


def of_employees(count: int, **fields: Any) -> list[dict[str, Any]]:
    """One license for each of so many employees."""
    return [a_row(f"L{at:03d}", f"{at:03d}", **fields) for at in range(count)]


def of_one(numbers: range, **fields: Any) -> list[dict[str, Any]]:
    """So many licenses of one employee."""
    return [a_row(f"L{at:03d}", "7", **fields) for at in numbers]


def a_row(number: str, employee: str, **fields: Any) -> dict[str, Any]:
    return {"companyCode": "C1", "employeeNumber": employee, "licenseNumber": number, **fields}


# A test's stage for authentication data: calls of the services, and what is left in the tables.


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
class AuthdataHarness(TenantHarness):
    """What a test of authentication data works with."""

    async def stage(
        self, rows: Sequence[Row], file_log_id: str | None = None, **changes: Any
    ) -> StageResult:
        """A stage call; `changes` are fields of `BatchCall`, or its `call_id`."""
        call_id = changes.pop("call_id", None) or str(uuid.uuid4())
        folded = [{name.lower(): value for name, value in row.items()} for row in rows]
        options = {"validate": True, "allow_no_auth": False, "commit": True, **changes}
        call = BatchCall(file_log_id=file_log_id, rows=folded, **options)
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

    async def entities(self, table: str = "AuthData") -> list[Entity]:
        """Everything in the tenant's own partition of a table, with ETags."""
        return await self.gateway.account.tables.query(table, self.tenant)

    async def stored(self) -> dict[str, StoredRecord]:
        """Every employee record of the tenant by row key, tombstones too."""
        records = [each for each in await self.entities() if each.row.startswith("r|")]
        return {each.row: business_records.from_entity(each) for each in records}

    async def employees(self) -> dict[str, Employee]:
        """The employees of the tenant; each has exactly its own look-up."""
        documents = [each.document for each in (await self.stored()).values() if each.document]
        employees = [Employee.from_document(document) for document in documents]
        lookups = [each.row for each in await self.entities() if each.row.startswith("x|")]
        expected = [f"x|{each.triple}|{each.employee_id}" for each in employees if each.triple]
        assert sorted(lookups) == sorted(expected)
        return {employee.employee_id: employee for employee in employees}


def play_authdata(
    storage: str, scenario: Callable[[AuthdataHarness], Awaitable[None]], **settings: Any
) -> None:
    """`play` for authentication data; the rules of a tenant are not cached."""

    async def run() -> None:
        async with _opened(storage, **{"cache_seconds": 0, **settings}) as (gateway, pump):
            await scenario(AuthdataHarness(gateway, pump, await new_tenant(gateway)))

    asyncio.run(run())


# How often storage is asked: a tally in front of the tables.


class CountedTables(ForwardingTables):
    """The real tables, with the point reads and the queries counted."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.reads = 0
        self.queries = 0

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        self.reads += 1
        return await super().get(table, partition, row)

    async def query(self, *keys: Any, **options: Any) -> list[Entity]:
        self.queries += 1
        return await super().query(*keys, **options)


async def set_columns(
    storage: str, table: str, partition: str, row: str, columns: Mapping[str, Any]
) -> None:
    """Write columns of an entity as no code of the gateway would; None removes a column."""
    async with TableServiceClient.from_connection_string(storage) as service:
        client = service.get_table_client(table)
        entity = dict(await client.get_entity(partition, row))
        entity |= columns
        await client.upsert_entity(
            {name: value for name, value in entity.items() if value is not None}, mode="replace"
        )


# Imports that are accepted and not worked on: the test delivers their messages itself.


class RefusingQueues:
    """A queue service that is away: what is sent there is lost."""

    async def send(self, queue: str, text: str, *, delay: int = 0, expires: int = -1) -> None:
        """See `Queues.send`."""
        raise StorageUnavailableError("the queue is away")


async def accept_without_messages(
    gateway: Gateway, caller: Caller, body: bytes, chunk_rows: int = 1_000
) -> ImportRecord:
    """An accepted import of workers whose messages got lost on the way."""
    queues = RefusingQueues()
    intake = ImportAcceptor(
        imports=gateway.imports,
        accepted=AcceptedImports(SystemClock()),
        blobs=gateway.account.blobs,
        queues=queues,
        hold_back=HoldBack(gateway.imports, queues, 8),
        clock=SystemClock(),
        ids=RandomIds(),
        offload=to_thread_if_large,
        small_first=SmallImportsFirst(),
        limits=PlanLimits(100_000, chunk_rows, 4 * 1024 * 1024),
        can_seal=True,
    )
    record = await intake.accept(WORKERS, caller, body)
    assert record is not None
    return record
