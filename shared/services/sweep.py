"""The sweep continues interrupted imports (docs/design.md#6).

If an open import has had no new result for a while, its messages were lost, or its last handler
crashed before it closed the import. The sweep sends the messages of the chunks without a result
again, or closes the import. A message that is sent twice is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from shared import log, telemetry
from shared.clock import Clock, age_of, to_iso
from shared.errors import StorageUnavailableError
from shared.imports.import_type import ImportType
from shared.imports.registry import import_type
from shared.services.background import Completions, UpkeepFaults
from shared.services.chunk_messages import ChunkMessage, may_hold_back, messages_for, queue_for
from shared.services.chunk_processor import HoldBack
from shared.services.import_log import ImportLog
from shared.services.tenant_work import WorkList
from shared.storage.import_records import ImportRecord, OpenImport
from shared.storage.ports import Queues


class Sweep:
    """Continues interrupted imports, for the timer. `work` lists the tenants that may have some.

    `run_here` processes imports of types without queues that are open for `here_seconds`.
    `end_here` ends their rows if that fails.
    """

    def __init__(
        self,
        *,
        imports: ImportLog,
        queues: Queues,
        hold_back: HoldBack,
        completions: Completions,
        clock: Clock,
        work: WorkList,
        quiet_seconds: float,
        run_here: Callable[[ChunkMessage], Awaitable[None]],
        end_here: Callable[[ChunkMessage], Awaitable[None]],
        here_seconds: float,
    ) -> None:
        self._imports = imports
        self._queues = queues
        self._hold_back = hold_back
        self._completions = completions
        self._clock = clock
        self._work = work
        self._quiet = timedelta(seconds=quiet_seconds)
        self._run_here = run_here
        self._end_here = end_here
        self._quiet_here = timedelta(seconds=here_seconds)

    async def run(self) -> None:
        """Check the open imports of all tenants that may have some once."""
        faults = UpkeepFaults("sweep.passed_over")
        count = 0
        for listed in await self._work.tenants():
            tenant = listed.id
            try:
                open_imports = await self._imports.open_of(tenant)
                count += sum(not each.is_barrier for each in open_imports)
                for open_import in open_imports:
                    await self._check_import(open_import, open_imports, faults)
                await self._work.settle(listed, has_work=bool(open_imports))
            except Exception as error:
                faults.note(error, tenant=tenant)
        telemetry.note(telemetry.OPEN_IMPORTS, count)

    async def _check_import(
        self, open_import: OpenImport, all_open: Sequence[OpenImport], faults: UpkeepFaults
    ) -> None:
        try:
            await self._repair_import(open_import, all_open)
        except Exception as error:
            faults.note(error, tenant=open_import.tenant, import_id=open_import.import_id)
        else:
            faults.note_success()

    async def _repair_import(self, open_import: OpenImport, all_open: Sequence[OpenImport]) -> None:
        record = await self._imports.read(open_import.tenant, open_import.number)
        if record is None or not record.is_open:
            # It has ended, or its record is lost. Rows that wait for it would wait for ever.
            await self._imports.forget_open(open_import)
            return
        if open_import.is_barrier:
            # The import has an entity under its own type too.
            return
        if record.is_broken:
            await self._close(record)
            return
        progress = await self._imports.progress(record.import_id)
        missing = [chunk for chunk in range(len(record.chunks)) if chunk not in progress.chunks]
        if not missing:
            await self._close(record)
            return
        if not import_type(record.type_name, record.type_version).has_queues:
            await self._process_here(record, missing)
            return
        times = (record.accepted_at, record.swept_at, *progress.times)
        may_wait = not record.is_cancelled and self._hold_back.may_wait(open_import, all_open)
        if not may_wait and self._is_past(self._quiet, *times):
            await self._send_missing(record, missing, all_open)

    async def _process_here(self, record: ImportRecord, missing: list[int]) -> None:
        """Process an import of a type without queues, whose call or trigger has crashed."""
        if not self._is_past(self._quiet_here, record.accepted_at, record.swept_at):
            return
        for chunk in missing:
            message = ChunkMessage(record.tenant, record.number, record.import_id, chunk)
            try:
                await self._run_here(message)
            except StorageUnavailableError:
                raise
            except Exception as error:
                # These types have no poison queue, so the rows would fail again at every sweep.
                log.failure("sweep.failed", error, import_id=record.import_id, chunk=chunk)
                await self._end_here(message)
        current = await self._imports.read(record.tenant, record.number)
        if current is None or not current.is_open:
            log.warning("sweep.finished", import_id=record.import_id, tenant=record.tenant)

    def _is_past(self, pause: timedelta, *times: str) -> bool:
        """Whether all these times are at least `pause` ago. Times that are not set do not count."""
        now = self._clock.now()
        ages = (age_of(time, now) for time in times)
        return all(age >= pause for age in ages if age is not None)

    async def _close(self, record: ImportRecord) -> None:
        closing = await self._imports.close(record, to_iso(self._clock.now()))
        if closing is not None and closing.is_first:
            log.warning("sweep.closed", import_id=record.import_id, tenant=record.tenant)
            self._completions.announce(record.import_id)
        if may_hold_back(record):
            await self._hold_back.wake(record, None)

    async def _send_missing(
        self, record: ImportRecord, missing: list[int], all_open: Sequence[OpenImport]
    ) -> None:
        if not await self._imports.mark_swept(record, to_iso(self._clock.now())):
            return
        kind: ImportType = import_type(record.type_name, record.type_version)
        earlier = [
            open_import
            for open_import in all_open
            if open_import.type_name == record.type_name and open_import.number < record.number
        ]
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        # What it finds under its references depends on imports of other types.
        looks_back = record.is_undo or bool(kind.references)
        for message in messages_for(record, earlier, missing, looks_back=looks_back):
            await self._queues.send(queue, message.to_text())
        log.warning(
            "sweep.sent_again",
            import_id=record.import_id,
            tenant=record.tenant,
            chunks=len(missing),
        )
