"""Accepting a payload: parse, plan, write it down, ask for the work (docs/design.md#1.1).

The payload is written first, then the import record, then the messages. The record is the point of
acceptance: with it in, the import will complete whatever dies; without it nothing has happened.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared import log
from shared.auth.callers import AnyCaller
from shared.clock import Clock, Ids, to_iso
from shared.imports.import_type import ImportType, Options
from shared.imports.json_rows import Payload, read_payload
from shared.imports.planning import Plan, plan
from shared.imports.results import Origins
from shared.imports.row_sets import row_set
from shared.imports.sender import NO_SENDER, Sender
from shared.services.background import Offload
from shared.services.chunk_messages import ChunkMessage, queue_for
from shared.services.chunk_processor import HoldBack, OpenImportsBefore
from shared.services.import_log import AcceptanceCheck, ImportLog
from shared.services.record_processor import place_in
from shared.storage.import_records import ImportRecord, Parent
from shared.storage.names import IMPORT_PAYLOADS
from shared.storage.ports import Blobs, Queues
from shared.storage_time import storage_time_now

Place = Callable[[Mapping[str, Any]], str | None]
"""Where a row belongs, from its names in lower case."""
Reader = Callable[[bytes, Place, int], Payload]
"""From the bytes of a call to its rows, of which there may be so many (`payload.read_payload`)."""

INLINE_BYTES = 24 * 1024
"""Up to this size a payload sits in the import record: one write less."""
_SENT_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What a payload may be and how it is cut; sizes in bytes."""

    max_rows: int
    chunk_rows: int
    chunk_bytes: int


class ImportAcceptor:
    """Turns the payload of a known caller into an accepted import."""

    def __init__(
        self,
        *,
        imports: ImportLog,
        blobs: Blobs,
        queues: Queues,
        hold_back: HoldBack,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        limits: PlanLimits,
    ) -> None:
        self._imports = imports
        self._blobs = blobs
        self._queues = queues
        self._hold_back = hold_back
        self._clock = clock
        self._ids = ids
        self._offload = offload
        self._limits = limits

    async def accept(
        self,
        kind: ImportType,
        caller: AnyCaller,
        body: bytes,
        import_id: str = "",
        sender: Sender = NO_SENDER,
    ) -> ImportRecord | None:
        """Read a payload in JSON and accept it; None for one without rows, which is no import.

        `import_id` is the one that the call's Idempotency-Key stands for; a new one by default.
        Accepted twice under one id, also by two calls at once, the same payload is one import.

        Raises what `read` raises, and StorageUnavailableError when storage does not answer before
        the import is accepted.
        """
        planned = await self.read(kind, caller.tenant, body)
        if not planned.rows:
            return None
        draft = self.draft(kind, caller.tenant, planned, caller.options, import_id, sender)
        return await self.accept_planned(kind, draft, planned)

    async def read(
        self, kind: ImportType, tenant: str, body: bytes, reader: Reader = read_payload
    ) -> Plan:
        """The plan of a payload that `reader` understands.

        Raises InvalidRequestError, UnsupportedPayloadError or TooLargeError.
        """
        return await self._offload(len(body), self._plan, kind, tenant, body, reader)

    def draft(
        self,
        kind: ImportType,
        tenant: str,
        planned: Plan,
        options: Options,
        import_id: str = "",
        sender: Sender = NO_SENDER,
    ) -> ImportRecord:
        """The record of an import of this plan before it is accepted."""
        return ImportRecord(
            tenant=tenant,
            number=0,
            import_id=import_id or self._ids.new(),
            type_name=kind.name,
            type_version=kind.version,
            rows=planned.rows,
            chunks=planned.chunks,
            options=options,
            accepted_at=to_iso(self._clock.now()),
            sender=sender,
        )

    async def draft_retry(
        self,
        kind: ImportType,
        parent: ImportRecord,
        rows: Collection[int],
        origins: Origins,
        planned: Plan,
        import_id: str,
        sender: Sender = NO_SENDER,
    ) -> ImportRecord:
        """The record of a retry of these rows of an import, under its options.

        Raises ConflictError for a retry of a retry, too many times over.
        """
        return replace(
            self.draft(kind, parent.tenant, planned, parent.options, import_id, sender),
            parent=Parent(parent.import_id, parent.number),
            lineage=await self._imports.repairs.lineage(parent, row_set(rows)),
            origins=origins,
        )

    async def accept_planned(
        self,
        kind: ImportType,
        draft: ImportRecord,
        planned: Plan,
        check: AcceptanceCheck | None = None,
    ) -> ImportRecord:
        """The accepted import of a plan; `draft` lacks its number, and a small payload's lines.

        `check` is that of `ImportLog.accept`.

        Accepted twice under one import id, it is one import. Raises StorageUnavailableError.
        """
        record = await self._write_down(draft, planned, check)
        log.event(
            "import.accepted",
            import_id=record.import_id,
            tenant=record.tenant,
            type=record.type_name,
            number=record.number,
            rows=record.rows,
            chunks=len(record.chunks),
        )
        try:
            await self._ask_for_work(kind, record)
        except Exception as error:
            # The sweep sends what is missing, in minutes: the call need not wait for the rows.
            log.failure("import.messages_missing", error, import_id=record.import_id)
            storage_time_now().spend(math.inf)
        return record

    def _plan(self, kind: ImportType, tenant: str, body: bytes, reader: Reader) -> Plan:
        payload = reader(body, place_in(kind, tenant), self._limits.max_rows)
        return plan(
            payload,
            chunk_rows=self._limits.chunk_rows,
            chunk_bytes=self._limits.chunk_bytes,
        )

    async def _write_down(
        self, draft: ImportRecord, planned: Plan, check: AcceptanceCheck | None
    ) -> ImportRecord:
        if planned.size <= INLINE_BYTES:
            lines = b"".join(planned.lines()).decode()
            return await self._imports.accept(replace(draft, inline=lines), check)
        await self._blobs.put(IMPORT_PAYLOADS, draft.blob_name, planned.lines())
        return await self._imports.accept(draft, check)

    async def _ask_for_work(self, kind: ImportType, record: ImportRecord) -> None:
        """Send a message for each chunk that may start; the others wait for an earlier import."""
        earlier = self._hold_back.earlier(record)
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        for at in range(0, len(record.chunks), _SENT_AT_ONCE):
            some = record.chunks[at : at + _SENT_AT_ONCE]
            await asyncio.gather(
                *(self._ask_for_chunk(record, chunk.number, queue, earlier) for chunk in some)
            )

    async def _ask_for_chunk(
        self, record: ImportRecord, chunk: int, queue: str, earlier: OpenImportsBefore
    ) -> None:
        if not await self._hold_back.waits(record, chunk, earlier):
            message = ChunkMessage(record.tenant, record.number, record.import_id, chunk)
            await self._queues.send(queue, message.to_text())
