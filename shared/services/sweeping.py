"""The sweep: what somebody started and died over is taken up again (DESIGN 6).

An open import that has had no new result for a while has lost messages, or its last handler died
before it closed the import: the messages of the chunks without a result are sent again, naming the
earlier imports that are still open, and a forgotten closing is made up for. Sent twice is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from shared import log
from shared.clock import Clock
from shared.errors import StorageUnavailableError
from shared.imports.catalogue import import_type
from shared.imports.definition import ImportType
from shared.services.chunk_messages import ChunkMessage, messages_for, queue_for
from shared.services.completions import Completions
from shared.services.hold_back import HoldBack
from shared.services.import_log import ImportLog
from shared.services.moments import from_iso, iso
from shared.storage.import_records import ImportRecord, OpenImport
from shared.storage.queues import Queues


class Sweep:
    """What the timer calls. `tenants` lists the ids of all tenants.

    `run_here` does the work of types without queues, once they are open for `here_seconds`.
    """

    def __init__(
        self,
        *,
        imports: ImportLog,
        queues: Queues,
        hold_back: HoldBack,
        completions: Completions,
        clock: Clock,
        tenants: Callable[[], Awaitable[list[str]]],
        quiet_seconds: float,
        run_here: Callable[[ChunkMessage], Awaitable[None]],
        here_seconds: float,
    ) -> None:
        self._imports = imports
        self._queues = queues
        self._hold_back = hold_back
        self._completions = completions
        self._clock = clock
        self._tenants = tenants
        self._quiet = timedelta(seconds=quiet_seconds)
        self._run_here = run_here
        self._quiet_here = timedelta(seconds=here_seconds)

    async def run(self) -> None:
        """Look at every tenant's open imports once."""
        for tenant in await self._tenants():
            opened_imports = await self._imports.open_of(tenant)
            for opened in opened_imports:
                try:
                    await self._look_at(opened, opened_imports)
                except StorageUnavailableError:
                    raise
                except Exception as error:
                    log.failure("sweep.passed_over", error, import_id=opened.import_id)

    async def _look_at(self, opened: OpenImport, all_open: Sequence[OpenImport]) -> None:
        record = await self._imports.read(opened.tenant, opened.number)
        if record is None or not record.is_open:
            return
        progress = await self._imports.progress(record.import_id)
        missing = [chunk for chunk in range(len(record.chunks)) if chunk not in progress.chunks]
        if not missing:
            await self._close(record)
            return
        if not import_type(record.type_name).has_queues:
            await self._finish_here(record, missing)
            return
        moved = max(record.accepted_at, record.swept_at, progress.newest)
        is_quiet = self._clock.now() - from_iso(moved) >= self._quiet
        if is_quiet and (record.is_cancelled or not _may_wait(opened, all_open)):
            await self._send_missing(record, missing, all_open)

    async def _finish_here(self, record: ImportRecord, missing: list[int]) -> None:
        """Do the work of a type without queues, whose call or trigger has died over it."""
        if self._clock.now() - from_iso(record.accepted_at) < self._quiet_here:
            return
        for chunk in missing:
            message = ChunkMessage(record.tenant, record.number, record.import_id, chunk)
            await self._run_here(message)
        log.warning("sweep.finished", import_id=record.import_id, tenant=record.tenant)

    async def _close(self, record: ImportRecord) -> None:
        closing = await self._imports.close(record, iso(self._clock.now()))
        if closing is not None and closing.is_first:
            log.warning("sweep.closed", import_id=record.import_id, tenant=record.tenant)
            self._completions.announce(record.import_id)
        if import_type(record.type_name).has_queues:
            await self._hold_back.wake(record, None)

    async def _send_missing(
        self, record: ImportRecord, missing: list[int], all_open: Sequence[OpenImport]
    ) -> None:
        if not await self._imports.mark_swept(record, iso(self._clock.now())):
            return
        kind: ImportType = import_type(record.type_name)
        earlier = [
            other
            for other in all_open
            if other.type_name == record.type_name and other.number < record.number
        ]
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        for message in messages_for(record, earlier, missing):
            await self._queues.send(queue, message.to_text())
        log.warning(
            "sweep.sent_again",
            import_id=record.import_id,
            tenant=record.tenant,
            chunks=len(missing),
        )


def _may_wait(opened: OpenImport, all_open: Sequence[OpenImport]) -> bool:
    """Whether every missing row may wait for an earlier import: then no message is lost.

    Of two imports that look like this to each other, the one with the lower number does not wait.
    """
    sources = import_type(opened.type_name).waits_for
    return any(
        other.type_name in sources
        or (
            other.type_name == opened.type_name
            and other.span is not None
            and opened.span is not None
            and other.span.overlaps(opened.span)
        )
        for other in all_open
        if other.number < opened.number
    )
