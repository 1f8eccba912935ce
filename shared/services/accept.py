"""Accepting a payload: parse, plan, write, send messages (docs/design.md#1.1).

The payload is written first, then the import record, then the messages. The record is the point of
acceptance: once it is written, the import will complete whatever crashes; before that, nothing has
happened.
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
from shared.errors import DataKeysNotSetError
from shared.imports.files.profile import NO_PROFILE, ProfileRef
from shared.imports.files.text import is_zip
from shared.imports.import_type import ImportType, Options
from shared.imports.json_rows import Payload, Reader, read_payload
from shared.imports.planning import Plan, plan
from shared.imports.results import Origins, row_set, select_rows
from shared.imports.sender import NO_SENDER, Sender
from shared.services.background import UNPACKED, Offload, SmallImportsFirst, is_loop_thread
from shared.services.chunk_messages import AcceptedImports, ChunkMessage, is_small, queue_for
from shared.services.chunk_processor import HoldBack, OpenImportsBefore
from shared.services.early_polls import EarlyPolls
from shared.services.import_log import AcceptanceCheck, ImportLog
from shared.services.record_processor import sort_key_reader
from shared.storage.business_records import tenant_span
from shared.storage.import_records import ImportRecord, Parent
from shared.storage.names import IMPORT_PAYLOADS
from shared.storage.ports import Blobs, Queues
from shared.storage_time import storage_time_now
from shared.telemetry import traced

# Up to this size a payload is stored in the import record, which saves one write.
INLINE_BYTES = 24 * 1024
_CONCURRENT_SENDS = 8
_SENDS_BESIDE_SMALL_IMPORTS = 2


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """The limits of a payload and of its chunks; sizes in bytes."""

    max_rows: int
    chunk_rows: int
    chunk_bytes: int


class ImportAcceptor:
    """Turns the payload of an authenticated caller into an accepted import."""

    def __init__(
        self,
        *,
        imports: ImportLog,
        accepted: AcceptedImports,
        blobs: Blobs,
        queues: Queues,
        hold_back: HoldBack,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        small_first: SmallImportsFirst,
        limits: PlanLimits,
        can_seal: bool,
    ) -> None:
        """`can_seal`: whether GATEWAY_DATA_KEYS is set."""
        self._can_seal = can_seal
        self._imports = imports
        self._accepted = accepted
        self._blobs = blobs
        self._queues = queues
        self._early_polls = EarlyPolls(queues)
        self._hold_back = hold_back
        self._clock = clock
        self._ids = ids
        self._offload = offload
        self._small_first = small_first
        self._limits = limits

    async def accept(
        self,
        kind: ImportType,
        caller: AnyCaller,
        body: bytes,
        import_id: str = "",
        sender: Sender = NO_SENDER,
        reader: Reader = read_payload,
        profile: ProfileRef = NO_PROFILE,
    ) -> ImportRecord | None:
        """Read a payload and accept it. Returns None for a payload without rows.

        `import_id` is that of the call's Idempotency-Key, by default a new one. If the same payload
        is accepted twice under one id, even by two calls at once, it is one import.

        Raises what `read` raises, and StorageUnavailableError if storage does not answer before the
        import is accepted.
        """
        self._ask_for_early_poll(kind, len(body))
        plan = await self.read(kind, caller.tenant, body, reader)
        if not plan.rows:
            return None
        draft = self.draft(kind, caller.tenant, plan, caller.options, import_id, sender)
        draft = replace(draft, profile=profile)
        return await self.accept_planned(kind, draft, plan)

    def check_can_seal(self, kind: ImportType, tenant: str) -> None:
        """Raises DataKeysNotSetError for a type with sensitive fields that cannot be sealed."""
        if kind.sealed_names and not self._can_seal:
            log.warning("data_keys.missing", tenant=tenant, reason="GATEWAY_DATA_KEYS")
            raise DataKeysNotSetError

    async def check_not_erased(self, parent: ImportRecord) -> None:
        """See `ImportLog.check_not_erased`."""
        await self._imports.check_not_erased(parent)

    @traced("import.read")
    async def read(
        self, kind: ImportType, tenant: str, body: bytes, reader: Reader = read_payload
    ) -> Plan:
        """Read and plan a payload in the format of `reader`.

        Raises InvalidRequestError, UnsupportedPayloadError or TooLargeError.
        """
        size = len(body) * (UNPACKED if is_zip(body) else 1)
        return await self._offload(size, self._read_plan, kind, tenant, body, reader)

    async def plan_payload(self, size: int, make_payload: Callable[[], Payload]) -> Plan:
        """Plan rows that the gateway makes itself; `size` is about that of their text."""
        return await self._offload(size, lambda: self._plan(make_payload()))

    def draft(
        self,
        kind: ImportType,
        tenant: str,
        plan: Plan,
        options: Options,
        import_id: str = "",
        sender: Sender = NO_SENDER,
    ) -> ImportRecord:
        """Make the record of an import of this plan, before it is accepted."""
        return ImportRecord(
            tenant=tenant,
            number=0,
            import_id=import_id or self._ids.new(),
            type_name=kind.name,
            type_version=kind.version,
            rows=plan.rows,
            skipped=plan.payload.skipped,
            chunks=plan.chunks,
            options=kind.options_of(options),
            accepted_at=to_iso(self._clock.now()),
            sender=sender,
        )

    async def draft_retry(
        self,
        kind: ImportType,
        parent: ImportRecord,
        rows: Collection[int],
        origins: Origins,
        plan: Plan,
        import_id: str,
        sender: Sender = NO_SENDER,
    ) -> ImportRecord:
        """Make the record of a retry of these rows of an import, with the options of the import.

        Raises ConflictError if the retry has too many ancestors.
        """
        draft = self.draft(kind, parent.tenant, plan, parent.options, import_id, sender)
        return replace(
            draft,
            undoes=parent.undoes,
            undone_rows=select_rows(parent.undone_rows, row_set(rows)) if parent.is_undo else 0,
            parent=Parent(parent.import_id, parent.number),
            profile=parent.profile,
            lineage=await self._imports.repairs.lineage(parent, row_set(rows)),
            origins=origins,
        )

    @traced("import.accept")
    async def accept_planned(
        self,
        kind: ImportType,
        draft: ImportRecord,
        plan: Plan,
        check: AcceptanceCheck | None = None,
    ) -> ImportRecord:
        """Accept the import of a plan, and send its messages if its type has queues.

        `draft` has no number yet, and no lines of a small payload. `check` is that of
        `ImportLog.accept`. If it is accepted twice under one import id, it is one import. Raises
        StorageUnavailableError, and DataKeysNotSetError for a type with sensitive fields where they
        cannot be sealed.
        """
        self.check_can_seal(kind, draft.tenant)
        with self._small_first.working(is_small=is_small(draft.rows)):
            return await self._accept_planned(kind, draft, plan, check)

    async def _accept_planned(
        self, kind: ImportType, draft: ImportRecord, plan: Plan, check: AcceptanceCheck | None
    ) -> ImportRecord:
        if draft.is_undo and kind.undo_covers_tenant:
            span = tenant_span(draft.tenant)
            draft = replace(
                draft, chunks=tuple(replace(chunk, span=span) for chunk in draft.chunks)
            )
        if not is_small(draft.rows):
            self._ask_for_early_poll(kind, plan.size)
        record = await self._write_payload_and_record(draft, plan, check)
        log.event(
            "import.accepted",
            import_id=record.import_id,
            tenant=record.tenant,
            type=record.type_name,
            number=record.number,
            rows=record.rows,
            chunks=len(record.chunks),
        )
        if not kind.has_queues:
            return record
        try:
            await self._send_messages(record, queue_for(record, kind.queue, kind.bulk_queue))
        except Exception as error:
            # The sweep sends the missing messages some minutes later, so the call does not wait for
            # the rows.
            log.failure("import.messages_missing", error, import_id=record.import_id)
            storage_time_now().spend(math.inf)
        return record

    def _ask_for_early_poll(self, kind: ImportType, size: int) -> None:
        if kind.has_queues:
            self._early_polls.ask(kind.bulk_queue, size)

    def _read_plan(self, kind: ImportType, tenant: str, body: bytes, reader: Reader) -> Plan:
        sort_key = sort_key_reader(kind, tenant)
        if is_loop_thread():
            return self._plan(reader(body, sort_key, self._limits.max_rows))
        with self._small_first.turns_of_thread() as next_turn:

            def sort_key_in_turn(row: Mapping[str, Any]) -> str | None:
                next_turn()
                return sort_key(row)

            return self._plan(reader(body, sort_key_in_turn, self._limits.max_rows))

    def _plan(self, payload: Payload) -> Plan:
        return plan(
            payload,
            chunk_rows=self._limits.chunk_rows,
            chunk_bytes=self._limits.chunk_bytes,
        )

    async def _write_payload_and_record(
        self, draft: ImportRecord, plan: Plan, check: AcceptanceCheck | None
    ) -> ImportRecord:
        if plan.size <= INLINE_BYTES:
            lines = b"".join(plan.parts()).decode()
            return await self._imports.accept(replace(draft, inline=lines), check)
        await self._blobs.put(IMPORT_PAYLOADS, draft.blob_name, plan.parts())
        return await self._imports.accept(draft, check)

    async def _send_messages(self, record: ImportRecord, queue: str) -> None:
        """Send a message for each chunk that may start; the others wait for an earlier import."""
        earlier = self._hold_back.earlier(record)
        chunks = list(record.chunks)
        with self._small_first.turns(is_small=is_small(record.rows)) as next_turn:
            while chunks:
                has_small_beside = await next_turn()
                most = _SENDS_BESIDE_SMALL_IMPORTS if has_small_beside else _CONCURRENT_SENDS
                batch, chunks = chunks[:most], chunks[most:]
                await asyncio.gather(
                    *(
                        self._send_message_or_wait(record, chunk.number, queue, earlier)
                        for chunk in batch
                    )
                )

    async def _send_message_or_wait(
        self, record: ImportRecord, chunk: int, queue: str, earlier: OpenImportsBefore
    ) -> None:
        if not await self._hold_back.waits(record, chunk, earlier):
            message = ChunkMessage(record.tenant, record.number, record.import_id, chunk)
            self._accepted.keep(record)
            await self._queues.send(queue, message.to_text())
