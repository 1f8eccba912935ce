"""Rows of one record are worked on in the order of acceptance (DESIGN 1, hold back).

A chunk does not start while a chunk of an earlier import that may touch the same records has no
result. It does not ask again and again: it notes what it waits for (`waiting_chunks`) and its
message is gone. The handler that records the result, or closes the import, sends a new message.

1. A wait always points to a lower number, or to a lower chunk of the same import, so no chunks wait
   in a circle.
2. A chunk waits for one thing at a time, the nearest earlier import that it may meet. Then it looks
   again: in a line of imports of one record, everything before the nearest one is done by then.
3. No wake-up is lost. The chunk first notes that it waits and then reads once more whether it has
   to; the other handler first writes its result and then reads who waits. One of the two sees the
   other. A handler that dies in between gets its message again, and wakes whoever is still noted.
4. All tenants use the same queues, and each has a share of them: so many of its imports of one type
   and size are worked on at a time, and so many chunks of one import. The others wait in the same
   way, for the end of an earlier import or for an earlier chunk of their own.
5. What no message can repeat (the sweep itself died after it closed an import) the sweep finds:
   an import without a new result that has nothing to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from shared import log
from shared.imports.catalogue import IMPORT_TYPES, import_type
from shared.imports.planning import Span
from shared.services.chunk_messages import ChunkMessage, is_small, queue_for
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord, OpenImport
from shared.storage.ports import Queues
from shared.storage.waiting_chunks import WaitingChunk

_SENT_AT_ONCE = 8
_SEEN_FOR_SHARE = 32
"""Fewer than are read at once, so that it is known of each whether it meets one just before."""


class OpenImportsBefore:
    """The open imports of its type before one import; read when asked for, nearest first.

    What was read is kept: no import is accepted at a lower number later, and what is done stays
    done. What looks unfinished may be done by now, so it is read again before a chunk waits for it.
    """

    def __init__(self, imports: ImportLog, record: ImportRecord) -> None:
        self._imports = imports
        self._pages = imports.open_nearest_first(record)
        self._known: list[OpenImport] = []
        self._reading = asyncio.Lock()
        self._fault: Exception | None = None
        self._ended: set[int] = set()
        self._unfinished: dict[int, tuple[ImportRecord, frozenset[int]] | None] = {}

    async def overlapping(self, span: Span) -> AsyncIterator[OpenImport]:
        """Those that may touch the same records, nearest first."""
        position = 0
        while await self._has(position):
            opened = self._known[position]
            position += 1
            if opened.span is not None and opened.span.overlaps(span):
                yield opened

    async def blocking_share(self, rows: int, at_once: int) -> OpenImport | None:
        """The import whose end leaves a place in the tenant's share; None where there is one now.

        That is the last of the `at_once` nearest imports that go to the same queue. Those that wait
        for an earlier import themselves have no message there and do not count, as far as that can
        be seen from the nearest imports.
        """
        found = 0
        for position in range(_SEEN_FOR_SHARE):
            if not await self._has(position):
                return None
            opened = self._known[position]
            if opened.number in self._ended or is_small(opened.rows) is not is_small(rows):
                continue
            found += not may_meet_earlier(opened, self._known[position + 1 :])
            if found == at_once:
                return opened
        return None

    def note_end(self, opened: OpenImport) -> None:
        """It has ended since it was read."""
        self._ended.add(opened.number)

    async def unfinished_chunks(self, opened: OpenImport, span: Span) -> Sequence[int | None]:
        """Its chunks that may still touch records of the span, the last one first.

        Where those are all of its chunks, None stands for them: the end of the import.
        """
        found = await self._read(opened)
        if found is None:
            return []
        record, done = found
        met = {
            chunk.number
            for chunk in record.chunks
            if chunk.span is not None and chunk.span.overlaps(span)
        }
        if not met - done:
            return []
        return [None] if len(met) == len(record.chunks) else sorted(met - done, reverse=True)

    async def _has(self, position: int) -> bool:
        async with self._reading:
            while position >= len(self._known):
                # A generator that has raised says next that it has no more pages. Another chunk of
                # the pass must not take that for an answer.
                if self._fault is not None:
                    raise self._fault
                try:
                    page = await anext(self._pages, None)
                except Exception as error:
                    self._fault = error
                    raise
                if page is None:
                    return False
                self._known += page
        return True

    async def _read(self, opened: OpenImport) -> tuple[ImportRecord, frozenset[int]] | None:
        if opened.number not in self._unfinished:
            record = await self._imports.read(opened.tenant, opened.number)
            if record is None or not record.is_open or record.is_broken:
                self._unfinished[opened.number] = None
            else:
                progress = await self._imports.progress(record.import_id)
                self._unfinished[opened.number] = record, progress.chunks
        return self._unfinished[opened.number]


class HoldBack:
    """Makes chunks wait, and wakes them.

    `at_once` is how many imports of up to 100 rows of one tenant and type are worked on at a time;
    of larger ones a quarter of that, and four times as many chunks of each.
    """

    def __init__(self, imports: ImportLog, queues: Queues, at_once: int) -> None:
        self._imports = imports
        self._queues = queues
        self._at_once = at_once

    def earlier(self, record: ImportRecord) -> OpenImportsBefore:
        """What one pass over the chunks of an import shares."""
        return OpenImportsBefore(self._imports, record)

    def may_wait(self, opened: OpenImport, all_open: Sequence[OpenImport]) -> bool:
        """Whether every missing row of an import may wait for an earlier one of these.

        Then no message of it is lost. Of two imports the one with the lower number never waits for
        the other, so that of all open imports at least one does not wait.
        """
        kind = import_type(opened.type_name)
        earlier = [other for other in all_open if other.number < opened.number]
        if any(other.type_name in kind.waits_for for other in earlier):
            return True
        same_type = [other for other in earlier if other.type_name == opened.type_name]
        same_size = [other for other in same_type if is_small(other.rows) is is_small(opened.rows)]
        is_share_used = len(same_size) >= self._share(opened.rows)
        return is_share_used or may_meet_earlier(opened, same_type)

    async def waits(self, record: ImportRecord, chunk: int, earlier: OpenImportsBefore) -> bool:
        """Whether the chunk has to wait for an import accepted earlier.

        It is noted then, and the chunk's message will be sent. Raises StorageUnavailableError.
        """
        # The share first: it needs the nearest imports only. By the time it lets the chunk through,
        # few earlier imports are open, and to look whether the chunk meets one costs little.
        return (
            await self._waits_for_share(record, chunk, earlier)
            or await self._waits_for_records(record, chunk, earlier)
            or await self._waits_for_own_chunk(record, chunk)
        )

    def _share(self, rows: int) -> int:
        return self._at_once if is_small(rows) else max(1, self._at_once // 4)

    async def _waits_for_share(
        self, record: ImportRecord, chunk: int, earlier: OpenImportsBefore
    ) -> bool:
        share = self._share(record.rows)
        while (opened := await earlier.blocking_share(record.rows, share)) is not None:
            if await self._is_noted(record, chunk, opened, None):
                return True
            earlier.note_end(opened)
        return False

    async def _waits_for_own_chunk(self, record: ImportRecord, chunk: int) -> bool:
        awaited = chunk - 4 * self._at_once
        return awaited >= 0 and await self._is_noted(record, chunk, record, awaited)

    async def _waits_for_records(
        self, record: ImportRecord, chunk: int, earlier: OpenImportsBefore
    ) -> bool:
        """Whether an earlier import may still work on records of the chunk."""
        span = record.chunks[chunk].span
        if span is None:
            return False
        async for opened in earlier.overlapping(span):
            for awaited in await earlier.unfinished_chunks(opened, span):
                if await self._is_noted(record, chunk, opened, awaited):
                    return True
        return False

    async def waits_for_references(self, record: ImportRecord, chunk: int) -> bool:
        """Whether an import is open that could bring what rows of the chunk refer to.

        It is noted then, and the chunk's message will be sent when the nearest such import ends.
        Raises StorageUnavailableError.
        """
        for name in import_type(record.type_name, record.type_version).waits_for:
            async for page in self._imports.open_nearest_first(record, name):
                for opened in page:
                    if await self._is_noted(record, chunk, opened, None):
                        return True
        return False

    async def wake(self, record: ImportRecord, chunk: int | None) -> None:
        """Send the messages of the chunks that wait for this one, or for this import (None).

        Call it when the result is recorded, or the import closed. Doing it twice is harmless.
        Raises StorageUnavailableError; the message of the handler then comes back.
        """
        waiting = await self._imports.waiting_for(record, chunk)
        for at in range(0, len(waiting), _SENT_AT_ONCE):
            some = waiting[at : at + _SENT_AT_ONCE]
            await asyncio.gather(*(self._send_and_forget(each) for each in some))

    async def _send_and_forget(self, waiting: WaitingChunk) -> None:
        queues = (queue for kind in IMPORT_TYPES.values() for queue in kind.queues)
        if not waiting.import_id or waiting.queue not in queues:
            # What is stored of the wait cannot be read; the sweep finds the chunk.
            log.warning("chunk.wait_unreadable", tenant=waiting.tenant, number=waiting.number)
            await self._imports.remove_waiting(waiting)
            return
        message = ChunkMessage(
            waiting.tenant, waiting.number, waiting.import_id, waiting.chunk, looks_back=True
        )
        await self._queues.send(waiting.queue, message.to_text())
        await self._imports.remove_waiting(waiting)
        log.event("chunk.woken", import_id=waiting.import_id, chunk=waiting.chunk)

    async def _is_noted(
        self,
        record: ImportRecord,
        chunk: int,
        opened: OpenImport | ImportRecord,
        awaited: int | None,
    ) -> bool:
        """Whether the chunk waits now; False where what it would wait for is done."""
        kind = import_type(record.type_name, record.type_version)
        waiting = WaitingChunk(
            tenant=record.tenant,
            number=record.number,
            import_id=record.import_id,
            chunk=chunk,
            queue=queue_for(record, kind.queue, kind.bulk_queue),
            awaited_number=opened.number,
            awaited_chunk=awaited,
        )
        await self._imports.add_waiting(waiting)
        # Read after the write: whoever finishes from here on will see the note.
        if awaited is None:
            current = await self._imports.read(opened.tenant, opened.number)
            is_done = current is None or not current.is_open
        else:
            is_done = await self._imports.has_result(opened.import_id, awaited)
        if is_done:
            await self._imports.remove_waiting(waiting)
            return False
        log.event("chunk.waits", import_id=record.import_id, chunk=chunk, number=opened.number)
        return True


def may_meet_earlier(opened: OpenImport, others: Sequence[OpenImport]) -> bool:
    """Whether one of the others was accepted earlier and may touch the same records."""
    span = opened.span
    return span is not None and any(
        other.span is not None and other.number < opened.number and other.span.overlaps(span)
        for other in others
    )
