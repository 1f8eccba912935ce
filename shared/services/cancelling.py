"""Cancelling an import: what is committed stays, the rest ends as 9002 (CONTRACTS 5).

Cancel is a flag on the record, which every handler reads before it holds back and before each
transaction. The messages of the chunks without a result are sent at once: those that wait for an
earlier import need not wait any more, and twice is harmless.
"""

from __future__ import annotations

from shared import log
from shared.clock import Clock
from shared.errors import ConflictError, StorageUnavailableError
from shared.imports.catalogue import import_type
from shared.services.chunk_messages import messages_for, queue_for
from shared.services.import_log import ImportLog
from shared.services.moments import iso
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Queues

HAS_ENDED = "This import has ended: there is nothing left to cancel."
AT_ONCE = (
    "Imports of this type are done at once and cannot be cancelled: there is nothing left to stop."
)
_MOST_TRIES = 20


class Cancelling:
    """Asks the handlers of an import to stop."""

    def __init__(self, imports: ImportLog, queues: Queues, clock: Clock) -> None:
        self._imports = imports
        self._queues = queues
        self._clock = clock

    async def cancel(self, record: ImportRecord) -> ImportRecord:
        """The record with the cancel on it; one that is cancelled already stays as it is.

        A record that was not read but accepted just now is read first: the write is conditional.
        Raises ConflictError where the import has ended.
        """
        if (
            not record.is_broken
            and not import_type(record.type_name, record.type_version).has_queues
        ):
            raise ConflictError(AT_ONCE)
        if not record.etag:
            record = await self._again(record)
        for _ in range(_MOST_TRIES):
            if record.is_cancelled:
                if record.is_broken and record.is_open:
                    await self._imports.close(record, iso(self._clock.now()))
                    return await self._again(record)
                return record
            if not record.is_open:
                raise ConflictError(HAS_ENDED)
            if await self._imports.cancel(record, iso(self._clock.now())):
                log.event("import.cancelled", import_id=record.import_id, tenant=record.tenant)
                if not record.is_broken:
                    await self._send_messages(record)
                    return await self._again(record)
            record = await self._again(record)
        raise StorageUnavailableError("the record of an import keeps changing")

    async def _again(self, record: ImportRecord) -> ImportRecord:
        return await self._imports.read(record.tenant, record.number) or record

    async def _send_messages(self, record: ImportRecord) -> None:
        """What storage refuses here, the sweep makes up for: the cancel stands."""
        kind = import_type(record.type_name, record.type_version)
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        try:
            done = (await self._imports.progress(record.import_id)).chunks
            missing = [chunk.number for chunk in record.chunks if chunk.number not in done]
            for message in messages_for(record, (), missing):
                await self._queues.send(queue, message.to_text())
        except StorageUnavailableError as error:
            log.failure("cancel.messages_missing", error, import_id=record.import_id)
