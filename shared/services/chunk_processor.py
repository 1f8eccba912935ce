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

_CONCURRENT_SENDS = 8
# Fewer than are read at once, so that it is known of each whether it meets one just before.
_MOST_SCANNED_FOR_SHARE = 32


class OpenImportsBefore:
    """The open imports of its type before one import; read when asked for, nearest first.

    What was read is kept: no import is accepted at a lower number later, and what is done stays
    done. What looks unfinished may be done by now, so it is read again before a chunk waits for it.
    """

    def __init__(self, imports: ImportLog, record: ImportRecord) -> None:
        self._imports = imports
        self._pages = imports.open_nearest_first(record)
        self._open_imports: list[OpenImport] = []
        self._reading = asyncio.Lock()
        self._fault: Exception | None = None
        self._ended: set[int] = set()
        self._unfinished: dict[int, tuple[ImportRecord, frozenset[int]] | None] = {}

    async def overlapping(self, span: Span) -> AsyncIterator[OpenImport]:
        """Those that may touch the same records, nearest first."""
        position = 0
        while await self._has(position):
            open_import = self._open_imports[position]
            position += 1
            if open_import.span is not None and open_import.span.overlaps(span):
                yield open_import

    async def blocking_share(self, rows: int, share: int) -> OpenImport | None:
        """The import whose end leaves a place in the tenant's share; None where there is one now.

        That is the last of the `share` nearest imports that go to the same queue. Those that wait
        for an earlier import themselves have no message there and do not count, as far as that can
        be seen from the nearest imports.
        """
        counted = 0
        for position in range(_MOST_SCANNED_FOR_SHARE):
            if not await self._has(position):
                return None
            open_import = self._open_imports[position]
            if open_import.number in self._ended or is_small(open_import.rows) is not is_small(
                rows
            ):
                continue
            counted += not may_overlap_earlier(open_import, self._open_imports[position + 1 :])
            if counted == share:
                return open_import
        return None

    def note_end(self, open_import: OpenImport) -> None:
        """It has ended since it was read."""
        self._ended.add(open_import.number)

    async def unfinished_chunks(self, open_import: OpenImport, span: Span) -> Sequence[int | None]:
        """Its chunks that may still touch records of the span, the last one first.

        Where those are all of its chunks, None stands for them: the end of the import.
        """
        progress = await self._read(open_import)
        if progress is None:
            return []
        record, done_chunks = progress
        overlapping = {
            chunk.number
            for chunk in record.chunks
            if chunk.span is not None and chunk.span.overlaps(span)
        }
        if not overlapping - done_chunks:
            return []
        return (
            [None]
            if len(overlapping) == len(record.chunks)
            else sorted(overlapping - done_chunks, reverse=True)
        )

    async def _has(self, position: int) -> bool:
        async with self._reading:
            while position >= len(self._open_imports):
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
                self._open_imports += page
        return True

    async def _read(self, open_import: OpenImport) -> tuple[ImportRecord, frozenset[int]] | None:
        if open_import.number not in self._unfinished:
            record = await self._imports.read(open_import.tenant, open_import.number)
            if record is None or not record.is_open or record.is_broken:
                self._unfinished[open_import.number] = None
            else:
                progress = await self._imports.progress(record.import_id)
                self._unfinished[open_import.number] = record, progress.chunks
        return self._unfinished[open_import.number]


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

    def may_wait(self, open_import: OpenImport, all_open: Sequence[OpenImport]) -> bool:
        """Whether every missing row of an import may wait for an earlier one of these.

        Then no message of it is lost. Of two imports the one with the lower number never waits for
        the other, so that of all open imports at least one does not wait.
        """
        kind = import_type(open_import.type_name)
        earlier = [each for each in all_open if each.number < open_import.number]
        if any(each.type_name in kind.waits_for for each in earlier):
            return True
        same_type = [each for each in earlier if each.type_name == open_import.type_name]
        same_size = [
            each for each in same_type if is_small(each.rows) is is_small(open_import.rows)
        ]
        is_share_used = len(same_size) >= self._share(open_import.rows)
        return is_share_used or may_overlap_earlier(open_import, same_type)

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
        while (open_import := await earlier.blocking_share(record.rows, share)) is not None:
            if await self._add_wait(record, chunk, open_import, None):
                return True
            earlier.note_end(open_import)
        return False

    async def _waits_for_own_chunk(self, record: ImportRecord, chunk: int) -> bool:
        awaited_chunk = chunk - 4 * self._at_once
        return awaited_chunk >= 0 and await self._add_wait(record, chunk, record, awaited_chunk)

    async def _waits_for_records(
        self, record: ImportRecord, chunk: int, earlier: OpenImportsBefore
    ) -> bool:
        """Whether an earlier import may still work on records of the chunk."""
        span = record.chunks[chunk].span
        if span is None:
            return False
        async for open_import in earlier.overlapping(span):
            for awaited_chunk in await earlier.unfinished_chunks(open_import, span):
                if await self._add_wait(record, chunk, open_import, awaited_chunk):
                    return True
        return False

    async def waits_for_references(self, record: ImportRecord, chunk: int) -> bool:
        """Whether an import is open that could bring what rows of the chunk refer to.

        It is noted then, and the chunk's message will be sent when the nearest such import ends.
        Raises StorageUnavailableError.
        """
        for name in import_type(record.type_name, record.type_version).waits_for:
            async for page in self._imports.open_nearest_first(record, name):
                for open_import in page:
                    if await self._add_wait(record, chunk, open_import, None):
                        return True
        return False

    async def wake(self, record: ImportRecord, chunk: int | None) -> None:
        """Send the messages of the chunks that wait for this one, or for this import (None).

        Call it when the result is recorded, or the import closed. Doing it twice is harmless.
        Raises StorageUnavailableError; the message of the handler then comes back.
        """
        waiting = await self._imports.waiting_for(record, chunk)
        for at in range(0, len(waiting), _CONCURRENT_SENDS):
            batch = waiting[at : at + _CONCURRENT_SENDS]
            await asyncio.gather(*(self._wake_chunk(each) for each in batch))

    async def _wake_chunk(self, waiting: WaitingChunk) -> None:
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

    async def _add_wait(
        self,
        record: ImportRecord,
        chunk: int,
        earlier: OpenImport | ImportRecord,
        awaited_chunk: int | None,
    ) -> bool:
        """Whether the chunk waits now; False where what it would wait for is done."""
        kind = import_type(record.type_name, record.type_version)
        waiting = WaitingChunk(
            tenant=record.tenant,
            number=record.number,
            import_id=record.import_id,
            chunk=chunk,
            queue=queue_for(record, kind.queue, kind.bulk_queue),
            awaited_number=earlier.number,
            awaited_chunk=awaited_chunk,
        )
        await self._imports.add_waiting(waiting)
        # Read after the write: whoever finishes from here on will see the note.
        if awaited_chunk is None:
            current = await self._imports.read(earlier.tenant, earlier.number)
            is_done = current is None or not current.is_open
        else:
            is_done = await self._imports.has_result(earlier.import_id, awaited_chunk)
        if is_done:
            await self._imports.remove_waiting(waiting)
            return False
        log.event("chunk.waits", import_id=record.import_id, chunk=chunk, number=earlier.number)
        return True


def may_overlap_earlier(open_import: OpenImport, all_open: Sequence[OpenImport]) -> bool:
    """Whether one of the others was accepted earlier and may touch the same records."""
    span = open_import.span
    return span is not None and any(
        each.span is not None and each.number < open_import.number and each.span.overlaps(span)
        for each in all_open
    )


# Seconds until a chunk that was handed on by an ending process is visible.
_DELAY_AFTER_STOP = 1
# Seconds for which a read of the cancel flag counts; what is committed meanwhile stays.
_CANCEL_FLAG_SECONDS = 1.0


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
        record = await self._find_unfinished(message)
        if record is None:
            return
        if message.looks_back and not record.is_cancelled:
            earlier = self._hold_back.earlier(record)
            if await self._hold_back.waits(record, message.chunk, earlier):
                return
        await self._process_chunk(message, record)

    async def process_directly(self, record: ImportRecord) -> Sequence[RowResult] | None:
        """Do the only chunk of an import that was accepted just now and goes through no queue.

        Its results; None where somebody else has written them, or has to. Raises
        StorageUnavailableError when storage does not answer: the sweep then does it.
        """
        message = ChunkMessage(record.tenant, record.number, record.import_id, 0)
        return await self._process_chunk(message, record)

    async def _process_chunk(
        self, message: ChunkMessage, record: ImportRecord
    ) -> Sequence[RowResult] | None:
        """`_run`, and what follows from whatever stops it."""
        try:
            return await self._run(message, record)
        except HandlerTimeUpError:
            await self._requeue(message, record)
        except SupersededError:
            if not await self._is_superseded(message, record):
                # Later imports wait for this chunk, so none of them has written what says so.
                return await self._process_chunk(
                    message, replace(record, trusts_later_stamps=False)
                )
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
        record = await self._find_unfinished(message)
        if record is None:
            return
        log.warning("chunk.poisoned", import_id=record.import_id, chunk=message.chunk)
        await self._end_rows(message, record, ended_code(record))

    async def _find_unfinished(self, message: ChunkMessage) -> ImportRecord | None:
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
                await self._requeue(message, record)
            return None
        results = _in_order(record, lines, results)
        return results if await self._finish(message, record, results) else None

    async def _run_lines(self, record: ImportRecord, lines: ChunkLines) -> Sequence[RowResult]:
        if not lines.rows:
            return ()
        record = await self._imports.repairs.with_retries(record)
        return await self._processors.for_import(record).run(
            record, lines.usable, self._commit_guard(record)
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
        results = await self._processors.for_import(record).end(record, lines.usable, code)
        return _in_order(record, lines, results)

    def _commit_guard(self, record: ImportRecord) -> BeforeCommit:
        """Looks at the cancel flag (at most a second old) and at the time that is left.

        The announced end of the process is the end of that time, but not for a chunk without a
        queue: it is a document, which is quicker done than handed on.
        """
        started_at = flag_read_at = self._clock.elapsed()
        has_queues = import_type(record.type_name, record.type_version).has_queues

        async def before_commit() -> None:
            nonlocal flag_read_at
            now = self._clock.elapsed()
            if now - started_at > self._handler_seconds or (has_queues and self._stop.is_announced):
                raise HandlerTimeUpError
            if now - flag_read_at > _CANCEL_FLAG_SECONDS:
                current = await self._imports.read(record.tenant, record.number)
                flag_read_at = now
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
        lost_rows = max(0, record.chunks[message.chunk].rows - len(results))
        capped = tuple(cap_messages(results))
        is_of_retry = bool(record.lineage)
        result = ChunkResult(record.import_id, message.chunk, capped, now, lost_rows, is_of_retry)
        is_first = await self._results.add(result)
        log.event("chunk.done", import_id=record.import_id, chunk=message.chunk, rows=len(results))
        await self._close_and_wake(message, record, result if is_first else None)
        return is_first

    async def _close_and_wake(
        self, message: ChunkMessage, record: ImportRecord, result: ChunkResult | None = None
    ) -> None:
        """Close the import if this was its last chunk, and wake what waited for it.

        `result` is the chunk's result where this handler has recorded it.
        """
        known_counts = [result.counts] if result is not None else []
        closing = await self._imports.close(record, to_iso(self._clock.now()), known_counts)
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

    async def _requeue(self, message: ChunkMessage, record: ImportRecord) -> None:
        kind = import_type(record.type_name, record.type_version)
        if not kind.has_queues:
            log.event("chunk.left_to_the_sweep", import_id=record.import_id, chunk=message.chunk)
            return
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        # A host that still takes messages while this process ends must not get it at once again.
        delay = _DELAY_AFTER_STOP if self._stop.is_announced else 0
        await self._queues.send(queue, message.to_text(), delay=delay)

    async def _is_superseded(self, message: ChunkMessage, record: ImportRecord) -> bool:
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
    no_key = (None,) * len(import_type(record.type_name, record.type_version).rules.key_fields)
    unreadable = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=UNREADABLE_ROW)
    by_index = {result.index: result for result in results}
    return [by_index.get(index) or failed(index, no_key, unreadable) for index in lines.order]
