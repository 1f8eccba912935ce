"""One chunk of an import, from its message to its result record (docs/design.md#1).

However often a message is delivered, whoever else works on the chunk and whatever dies: a row's
effect is there once (its stamp on the record), and the first result record stands (I1, I3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import (
    StorageUnavailableError,
    UnreadableDataError,
    UnreadablePayloadError,
)
from shared.imports.json_rows import ChunkLines, drop_broken_lines, is_whole
from shared.imports.messages import UNREADABLE_ROW, Message, MessageId
from shared.imports.planning import Span
from shared.imports.registry import IMPORT_TYPES, import_type
from shared.imports.results import RowResult, cap_messages, failed
from shared.process_stop import ProcessStop
from shared.services.background import to_thread_if_large
from shared.services.chunk_messages import ChunkMessage, has_queues, is_small, queue_for
from shared.services.completions import Completions
from shared.services.import_log import ImportLog
from shared.services.results import Payloads, Results
from shared.services.row_processor import (
    BeforeCommit,
    HandlerTimeUpError,
    ImportCancelledError,
    Processors,
    SupersededError,
    ended_code,
)
from shared.storage.import_records import ImportRecord, OpenImport
from shared.storage.ports import Queues
from shared.storage.result_records import ChunkResult
from shared.storage.waiting_chunks import WaitingChunk

# Rows of one record are worked on in the order of acceptance (docs/design.md#1.3).
#
# A chunk does not start while a chunk of an earlier import that may touch the same records has no
# result. It does not ask again and again: it notes what it waits for (`waiting_chunks`) and its
# message is gone. The handler that records the result, or closes the import, sends a new message.
#
# 1. A wait always points to a lower number, or to a lower chunk of the same import, so no chunks
#    wait in a circle.
# 2. A chunk waits for one thing at a time, the nearest earlier import that it may meet. Then it
#    looks again: in a line of imports of one record, everything before the nearest one is done by
#    then.
# 3. No wake-up is lost. The chunk first notes that it waits and then reads once more whether it
#    has to; the other handler first writes its result and then reads who waits. One of the two
#    sees the other. A handler that dies in between gets its message again, and wakes whoever is
#    still noted.
# 4. All tenants use the same queues, and each has a share of them: so many of its imports of one
#    type and size are worked on at a time, and so many chunks of one import. The others wait in
#    the same way, for the end of an earlier import or for an earlier chunk of their own.
# 5. What no message can repeat (the sweep itself died after it closed an import) the sweep finds:
#    an import without a new result that has nothing to wait for.

_SENT_AT_ONCE = 8
# Fewer than are read at once, so that it is known of each whether it meets one just before.
_SEEN_FOR_SHARE = 32


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


# Seconds until a chunk that was handed on by an ending process is visible.
_AFTER_STOP = 1
# Seconds for which a read of the cancel flag counts; what is committed meanwhile stays.
_FLAG_IS_FRESH = 1.0


class ChunkProcessor:
    """What the queue triggers and the poison triggers call."""

    def __init__(
        self,
        *,
        payloads: Payloads,
        queues: Queues,
        hold_back: HoldBack,
        imports: ImportLog,
        results: Results,
        processors: Processors,
        completions: Completions,
        clock: Clock,
        stop: ProcessStop,
        handler_seconds: float,
    ) -> None:
        self._payloads = payloads
        self._queues = queues
        self._hold_back = hold_back
        self._imports = imports
        self._results = results
        self._processors = processors
        self._completions = completions
        self._clock = clock
        self._stop = stop
        self._handler_seconds = handler_seconds

    async def process(self, message: ChunkMessage) -> None:
        """Work on a chunk: run its rows, or note what it waits for.

        Raises StorageUnavailableError when storage does not answer: the message then comes back.
        """
        record = await self._to_be_done(message)
        if record is None:
            return
        if message.looks_back and not record.is_cancelled:
            earlier = self._hold_back.earlier(record)
            if await self._hold_back.waits(record, message.chunk, earlier):
                return
        await self._work_on(message, record)

    async def work_at_once(self, record: ImportRecord) -> Sequence[RowResult] | None:
        """Do the only chunk of an import that was accepted just now and goes through no queue.

        Its results; None where somebody else has written them, or has to. Raises
        StorageUnavailableError when storage does not answer: the sweep then does it.
        """
        message = ChunkMessage(record.tenant, record.number, record.import_id, 0)
        return await self._work_on(message, record)

    async def _work_on(
        self, message: ChunkMessage, record: ImportRecord
    ) -> Sequence[RowResult] | None:
        """`_run`, and what follows from whatever stops it."""
        try:
            return await self._run(message, record)
        except HandlerTimeUpError:
            await self._send_again(message, record)
        except SupersededError:
            if not await self._gives_way(message, record):
                # Later imports wait for this chunk, so none of them has written what says so.
                return await self._work_on(message, replace(record, trusts_later_stamps=False))
        except UnreadableDataError as error:
            # Trying again would not help, and later imports wait for this one.
            log.failure("chunk.unreadable", error, import_id=record.import_id, chunk=message.chunk)
            await self._end_rows(message, record, ended_code(record))
        return None

    async def end_as_failed(self, message: ChunkMessage) -> None:
        """End the rows of a chunk that failed too often: those with its stamp keep their outcome.

        Runs no rule, and needs neither payload nor stored records to be readable. Raises
        StorageUnavailableError when storage does not answer.
        """
        record = await self._to_be_done(message)
        if record is None:
            return
        log.warning("chunk.poisoned", import_id=record.import_id, chunk=message.chunk)
        await self._end_rows(message, record, ended_code(record))

    async def _to_be_done(self, message: ChunkMessage) -> ImportRecord | None:
        """The record of an open import whose chunk has no result yet; else None."""
        record = await self._imports.read(message.tenant, message.number)
        if (
            record is None
            or record.import_id != message.import_id
            or not (record.is_broken or 0 <= message.chunk < len(record.chunks))
        ):
            log.event("chunk.dropped", import_id=message.import_id, chunk=message.chunk)
            return None
        # Here the handler may have died that had the message before: what it began is finished.
        if not record.is_open:
            log.event("chunk.dropped", import_id=message.import_id, chunk=message.chunk)
            await self._wake(record, None)
            return None
        if record.is_broken:
            log.warning("import.broken", import_id=record.import_id, tenant=record.tenant)
            await self._close_and_wake(message, record)
            return None
        if await self._imports.has_result(record.import_id, message.chunk):
            await self._close_and_wake(message, record)
            return None
        return record

    async def _run(self, message: ChunkMessage, record: ImportRecord) -> Sequence[RowResult] | None:
        """The results that this run has recorded; None where it has recorded none."""
        if record.is_cancelled:
            await self._end_rows(message, record, MessageId.CANCELLED)
            return None
        lines = await self._lines(record, message.chunk)
        try:
            try:
                results = await self._run_lines(record, lines)
            except UnreadablePayloadError:
                lines = await self._lines(record, message.chunk, is_broken=True)
                results = await self._run_lines(record, lines)
        except ImportCancelledError:
            await self._end_rows(message, record, MessageId.CANCELLED)
            return None
        if len(results) < lines.rows:
            if not await self._hold_back.waits_for_references(record, message.chunk):
                await self._send_again(message, record)
            return None
        results = _in_order(record, lines, results)
        return results if await self._finish(message, record, results) else None

    async def _run_lines(self, record: ImportRecord, lines: ChunkLines) -> Sequence[RowResult]:
        if not lines.rows:
            return ()
        record = await self._imports.repairs.with_retries(record)
        return await self._processors.for_import(record).run(
            record, lines.usable, self._watch(record)
        )

    async def _lines(
        self, record: ImportRecord, number: int, *, is_broken: bool = False
    ) -> ChunkLines:
        """The lines of a chunk, without those that are broken. Raises PayloadGoneError.

        `is_broken`: the right number of lines is there, but one of them cannot be read.
        """
        data = await self._payloads.lines(record, number)
        rows = record.chunks[number].rows
        if not is_broken and is_whole(data, rows, record.rows):
            return ChunkLines(data, rows)
        log.warning("payload.broken", import_id=record.import_id, chunk=number)
        is_readable = self._processors.for_import(record).is_readable
        return await to_thread_if_large(
            len(data), drop_broken_lines, data, record.rows, is_readable
        )

    async def _end_rows(self, message: ChunkMessage, record: ImportRecord, code: int) -> None:
        """End the rows of a chunk, whatever is broken: this is the last thing that is tried.

        Raises StorageUnavailableError.
        """
        results: Sequence[RowResult] = ()
        try:
            lines = await self._lines(record, message.chunk)
            try:
                results = await self._end_lines(record, lines, code)
            except UnreadablePayloadError:
                lines = await self._lines(record, message.chunk, is_broken=True)
                results = await self._end_lines(record, lines, code)
        except StorageUnavailableError:
            raise
        except Exception as error:
            log.failure("chunk.lost", error, import_id=record.import_id, chunk=message.chunk)
        await self._finish(message, record, results)

    async def _end_lines(
        self, record: ImportRecord, lines: ChunkLines, code: int
    ) -> Sequence[RowResult]:
        if not lines.rows:
            return _in_order(record, lines, ())
        ended = await self._processors.for_import(record).end(record, lines.usable, code)
        return _in_order(record, lines, ended)

    def _watch(self, record: ImportRecord) -> BeforeCommit:
        """Looks at the cancel flag (at most a second old) and at the time that is left.

        The announced end of the process is the end of that time, but not for a chunk without a
        queue: it is a document, which is quicker done than handed on.
        """
        started = looked = self._clock.elapsed()
        has_queues = import_type(record.type_name, record.type_version).has_queues

        async def before_commit() -> None:
            nonlocal looked
            now = self._clock.elapsed()
            if now - started > self._handler_seconds or (has_queues and self._stop.is_announced):
                raise HandlerTimeUpError
            if now - looked > _FLAG_IS_FRESH:
                current = await self._imports.read(record.tenant, record.number)
                looked = now
                if current is not None and current.is_cancelled:
                    raise ImportCancelledError
                if current is None or not current.is_open:
                    raise SupersededError

        return before_commit

    async def _finish(
        self,
        message: ChunkMessage,
        record: ImportRecord,
        results: Sequence[RowResult],
    ) -> bool:
        """Record the chunk's results and close; whether these were the first.

        Rows of the chunk without a result are lost: they count as failed.
        """
        now = to_iso(self._clock.now())
        lost = max(0, record.chunks[message.chunk].rows - len(results))
        kept = tuple(cap_messages(results))
        is_of_retry = bool(record.lineage)
        result = ChunkResult(record.import_id, message.chunk, kept, now, lost, is_of_retry)
        is_first = await self._results.add(result)
        log.event("chunk.done", import_id=record.import_id, chunk=message.chunk, rows=len(results))
        await self._close_and_wake(message, record, result if is_first else None)
        return is_first

    async def _close_and_wake(
        self, message: ChunkMessage, record: ImportRecord, only: ChunkResult | None = None
    ) -> None:
        """Close the import if this was its last chunk, and wake what waited for it.

        `only` is the chunk's result where this handler has recorded it.
        """
        known = [only.counts] if only is not None else []
        closing = await self._imports.close(record, to_iso(self._clock.now()), known)
        if closing is not None and closing.is_first:
            log.event(
                "import.ended",
                import_id=record.import_id,
                new=closing.counts.new,
                updated=closing.counts.updated,
                unchanged=closing.counts.unchanged,
                failed=closing.counts.failed,
            )
            self._completions.announce(record.import_id)
        await self._wake(record, message.chunk if closing is None else None)

    async def _wake(self, record: ImportRecord, chunk: int | None) -> None:
        """What is done at once, without a queue, is not waited for."""
        if has_queues(record):
            await self._hold_back.wake(record, chunk)

    async def _send_again(self, message: ChunkMessage, record: ImportRecord) -> None:
        kind = import_type(record.type_name, record.type_version)
        if not kind.has_queues:
            log.event("chunk.left_to_the_sweep", import_id=record.import_id, chunk=message.chunk)
            return
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        # A host that still takes messages while this process ends must not get it at once again.
        delay = _AFTER_STOP if self._stop.is_announced else 0
        await self._queues.send(queue, message.to_text(), delay=delay)

    async def _gives_way(self, message: ChunkMessage, record: ImportRecord) -> bool:
        """Whether the chunk has its result, so that a later import may have written here."""
        if await self._imports.has_result(record.import_id, message.chunk):
            await self._close_and_wake(message, record)
            return True
        current = await self._imports.read(record.tenant, record.number)
        return current is None or not current.is_open


def _in_order(
    record: ImportRecord, lines: ChunkLines, results: Sequence[RowResult]
) -> Sequence[RowResult]:
    """With the rows whose lines are broken, in the order of the lines."""
    if lines.order is None:
        return results
    nothing = (None,) * len(import_type(record.type_name, record.type_version).rules.key_fields)
    unreadable = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=UNREADABLE_ROW)
    by_index = {result.index: result for result in results}
    return [by_index.get(index) or failed(index, nothing, unreadable) for index in lines.order]
