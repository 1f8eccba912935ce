"""Imports of licenses on a stage, and handlers of theirs that die where a test wants them to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.clock import RandomIds, SystemClock
from shared.imports.import_type import Document
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.processor import LicenseProcessor
from shared.imports.licenses.store import license_from_entity
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.background import to_thread_if_large
from shared.services.chunk_messages import ChunkMessage, messages_for
from shared.services.chunk_processor import HoldBack
from shared.services.record_processor import operation_bytes
from shared.services.results import Payloads
from shared.services.row_processor import BeforeCommit
from shared.storage.business_records import partition_of
from shared.storage.entities import entity_bytes
from shared.storage.import_records import ImportRecord
from shared.storage.ports import (
    MAX_ENTITY_BYTES,
    MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES,
    Delete,
    Operation,
    Tables,
)
from tests.imports import RefusingQueues
from tests.integration.stage import Harness

MERGE, OVERRIDE, REPLACE = LicenseAction.MERGE, LicenseAction.OVERRIDE, LicenseAction.REPLACE


class DiedError(Exception):
    """The process of a handler was killed."""


@dataclass
class DyingTables:
    """The real tables, until so many transactions are in; `is_answered`: and it knew of the last.

    Every transaction is measured: the emulator keeps no limit.
    """

    tables: Tables
    left: int | None = None
    is_answered: bool = True
    transactions: int = 0
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.get, self.query, self.write = self.tables.get, self.tables.query, self.tables.write

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        """See `Tables.transact`."""
        if self.left == 0:
            raise DiedError
        assert len(operations) <= MAX_OPERATIONS
        self.sizes.append(sum(map(operation_bytes, operations)))
        for operation in operations:
            assert isinstance(operation, Delete) or (
                entity_bytes(operation.entity) <= MAX_ENTITY_BYTES
            )
        assert self.sizes[-1] <= MAX_TRANSACTION_BYTES
        await self.tables.transact(table, operations)
        self.transactions += 1
        if self.left is not None:
            self.left -= 1
            if not self.left and not self.is_answered:
                raise DiedError


async def always() -> None:
    """Goes on whatever happens."""


@dataclass(frozen=True)
class LicenseStage:
    """A stage with one import of licenses after another."""

    stage: Harness

    async def accept(self, action: LicenseAction, rows: list[dict[str, Any]]) -> ImportRecord:
        """An accepted import whose messages got lost."""
        gateway, caller = self.stage.gateway, self.stage.sender.caller
        queues = RefusingQueues()
        intake = ImportAcceptor(
            imports=gateway.imports,
            blobs=gateway.account.blobs,
            queues=queues,
            hold_back=HoldBack(gateway.imports, queues, 8),
            clock=SystemClock(),
            ids=RandomIds(),
            offload=to_thread_if_large,
            limits=PlanLimits(100_000, 1_000, 4 * 1024 * 1024),
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
        left = transactions + 1  # the first one notes the company
        tables = DyingTables(self.stage.gateway.account.tables, left, is_answered)
        try:
            await self.handled(record, tables)
        except DiedError:
            return True
        return False

    async def licenses(self, company: str = "C1") -> list[Document]:
        """What is stored, by employee and number."""
        place = partition_of(self.stage.sender.tenant, company)
        tables = self.stage.gateway.account.tables
        found = await tables.query("Licenses", place, "r|", "r|~")
        held = [license_from_entity(entity).document for entity in found]
        return sorted(
            (document for document in held if document is not None),
            key=lambda each: (each.get("employeeNumber", ""), each.get("licenseNumber", "")),
        )

    async def told(self, record: ImportRecord) -> list[tuple[str, list[int]]]:
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
