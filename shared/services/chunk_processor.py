"""Processing one chunk of an import, from its message to its result record (docs/design.md#1).

Messages may be delivered twice, two handlers may process the same chunk, and any of them may crash:
a row still takes effect once (by its stamp on the record), and the first result record counts
(I1, I3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from shared import log, telemetry
from shared.clock import Clock, age_of, to_iso
from shared.errors import (
    StorageUnavailableError,
    UnreadableDataError,
    UnreadablePayloadError,
)
from shared.imports.json_rows import ChunkLines, drop_broken_lines, is_whole
from shared.imports.messages import UNREADABLE_ROW, Message, MessageId
from shared.imports.planning import Span
from shared.imports.registry import IMPORT_TYPES, import_type, types_referring_to
from shared.imports.results import (
    RowResult,
    cap_messages,
    failed,
    pack_result,
    unpack_result,
)
from shared.process_stop import ProcessStop
from shared.services.background import (
    Completions,
    NextTurn,
    SmallImportsFirst,
    to_thread_if_large,
)
from shared.services.chunk_messages import (
    AcceptedImports,
    ChunkMessage,
    is_small,
    may_hold_back,
    queue_for,
)
from shared.services.import_log import ImportLog
from shared.services.import_watch import ImportWatch, WatchedImport
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

# Rows of one record are processed in the order of acceptance (docs/design.md#1.3).
#
# A chunk does not start while a chunk of an earlier import that may touch the same records has no
# result. It does not poll: it adds an entity (`waiting_chunks`) and its message is deleted. The
# handler that records the result, or closes the import, sends a new message.
#
# 1. A chunk only waits for a lower import number, or for a lower chunk of the same import, so no
#    chunks wait in a circle.
# 2. A chunk waits for one import at a time, the nearest earlier one that it may overlap. Then it
#    checks again. In a sequence of imports of one record, all imports before the nearest one have
#    ended by then.
# 3. No wake-up is lost. The waiting chunk first writes its entity and then reads again whether it
#    has to wait. The other handler first writes its result and then reads the waiting chunks. So
#    one of the two sees the other. If that handler crashes in between, its message comes back, and
#    it wakes the remaining chunks.
# 4. All tenants use the same queues, and each has a share: a number of its imports of one type and
#    size are processed at a time, and a number of chunks of one import. The others wait in the same
#    way, for the end of an earlier import or for an earlier chunk of their own.
# 5. An undo may remove or restore records that others refer to. So it waits for the end of every
#    earlier import of a type that refers to its own, and their later imports wait for its end.
# 6. If no message can be repeated (the sweep itself crashed after it closed an import), the sweep
#    finds an import without a new result that has nothing to wait for.

_CONCURRENT_SENDS = 8
# Fewer than one page of open imports, so that the next import of each is known too.
_MOST_SCANNED_FOR_SHARE = 32


class OpenImportsBefore:
    """The open imports of the same type before one import, read on demand, nearest first.

    They are cached: no import is accepted at a lower number later, and an ended import stays ended.
    An import that looks unfinished may have ended by now, so it is read again before a chunk waits
    for it.
    """

    def __init__(self, imports: ImportLog, record: ImportRecord) -> None:
        self._imports = imports
        self._record = record
        self._pages = imports.open_nearest_first(record)
        self._open_imports: list[OpenImport] = []
        self._reading = asyncio.Lock()
        self._has_read_few = False
        self._fault: Exception | None = None
        self._ended: set[int] = set()
        self._of_other_types: dict[str, Sequence[OpenImport]] = {}
        kind = import_type(record.type_name, record.type_version)
        self._referred = kind.waits_for
        self._referring = types_referring_to(kind.name) if record.is_undo else ()
        self._unfinished: dict[int, tuple[ImportRecord, frozenset[int]] | None] = {}

    async def overlapping(self, span: Span) -> AsyncIterator[OpenImport]:
        """Yield the imports that may touch the same records, nearest first."""
        position = 0
        while await self._has(position):
            open_import = self._open_imports[position]
            position += 1
            if open_import.span is not None and open_import.span.overlaps(span):
                yield open_import

    async def blocking_share(self, rows: int, share: int) -> OpenImport | None:
        """The import whose end leaves a place in the tenant's share; None where there is one now.

        That is the last of the `share` nearest imports that go to the same queue. Imports that wait
        for an earlier one themselves have no message there and do not count, if that is known from
        the nearest imports.
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

    async def across_references(self) -> Sequence[OpenImport]:
        """The imports of other types that decide what the import finds under its references.

        These are undos of the types that it refers to and, if it is an undo, all imports of the
        types that refer to its own; the nearest of each type first.
        """
        open_imports: list[OpenImport] = []
        for name in self._referred:
            open_imports += [each for each in await self._open_of_type(name) if each.is_undo]
        for name in self._referring:
            open_imports += await self._open_of_type(name)
        return open_imports

    async def _open_of_type(self, name: str) -> Sequence[OpenImport]:
        async with self._reading:
            await self._read_few()
            if name not in self._of_other_types:
                pages = self._imports.open_nearest_first(self._record, name)
                self._of_other_types[name] = [each async for page in pages for each in page]
        return self._of_other_types[name]

    async def _read_few(self) -> None:
        """Read the imports of all types at once, unless they are many.

        So the log learns when nothing is open.
        """
        if self._has_read_few:
            return
        others = (*self._referred, *self._referring)
        if not others and self._imports.had_many_open(self._record):
            return
        few = await self._imports.few_open_before(self._record)
        self._has_read_few = True
        if few is None:
            return
        earlier = sorted(few, key=lambda each: -each.number)
        for name in others:
            self._of_other_types[name] = [each for each in earlier if each.type_name == name]
        own = [each for each in earlier if each.type_name == self._record.type_name]
        self._pages = _one_page(own)

    def note_end(self, open_import: OpenImport) -> None:
        """Note that an import has ended since it was read."""
        self._ended.add(open_import.number)

    async def unfinished_chunks(self, open_import: OpenImport, span: Span) -> Sequence[int | None]:
        """The chunks of an import that may still touch records of the span, the last one first.

        If these are all of its chunks, the result is [None], which stands for the import's end.
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
                # After an error, the generator reports that it has no more pages. Another chunk
                # must not take that for an answer, so the error is raised again.
                if self._fault is not None:
                    raise self._fault
                try:
                    await self._read_few()
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


async def _one_page(page: list[OpenImport]) -> AsyncIterator[list[OpenImport]]:
    yield page


class HoldBack:
    """Makes chunks wait, and wakes them.

    `at_once` is the number of imports of up to 100 rows of one tenant and type that are processed
    at a time. Of larger imports it is a quarter of that, and of each import four times as many
    chunks.
    """

    def __init__(self, imports: ImportLog, queues: Queues, at_once: int) -> None:
        self._imports = imports
        self._queues = queues
        self._at_once = at_once

    def earlier(self, record: ImportRecord) -> OpenImportsBefore:
        """The open imports before this one, to be shared by one pass over its chunks."""
        return OpenImportsBefore(self._imports, record)

    def may_wait(self, open_import: OpenImport, all_open: Sequence[OpenImport]) -> bool:
        """Whether every missing chunk of an import may wait for an earlier one of these imports.

        Then none of its messages is lost. An import never waits for one with a higher number, so at
        least one of all open imports does not wait.
        """
        kind = import_type(open_import.type_name)
        earlier = [each for each in all_open if each.number < open_import.number]
        if any(each.type_name in kind.waits_for for each in earlier):
            return True
        if open_import.is_undo:
            referring = types_referring_to(kind.name)
            if any(each.type_name in referring for each in earlier):
                return True
        same_type = [each for each in earlier if each.type_name == open_import.type_name]
        same_size = [
            each for each in same_type if is_small(each.rows) is is_small(open_import.rows)
        ]
        is_share_used = len(same_size) >= self._share(open_import.rows)
        return is_share_used or may_overlap_earlier(open_import, same_type)

    async def waits(self, record: ImportRecord, chunk: int, earlier: OpenImportsBefore) -> bool:
        """Whether the chunk has to wait for an import accepted earlier.

        If so, its message will be sent later. Raises StorageUnavailableError.
        """
        # The share is checked first, because it needs the nearest imports only. When the share has
        # a place, few earlier imports are open, and the check for overlaps is cheap.
        return (
            await self._waits_for_share(record, chunk, earlier)
            or await self._waits_for_records(record, chunk, earlier)
            or await self._waits_across_references(record, chunk, earlier)
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
        """Whether an earlier import may still write records of the chunk."""
        span = record.chunks[chunk].span
        if span is None:
            return False
        async for open_import in earlier.overlapping(span):
            for awaited_chunk in await earlier.unfinished_chunks(open_import, span):
                if await self._add_wait(record, chunk, open_import, awaited_chunk):
                    return True
        return False

    async def _waits_across_references(
        self, record: ImportRecord, chunk: int, earlier: OpenImportsBefore
    ) -> bool:
        for open_import in await earlier.across_references():
            if await self._add_wait(record, chunk, open_import, None):
                return True
        return False

    async def waits_for_references(self, record: ImportRecord, chunk: int) -> bool:
        """Whether an open import may create records that rows of the chunk refer to.

        If so, the chunk's message will be sent when the nearest such import ends. Raises
        StorageUnavailableError.
        """
        for name in import_type(record.type_name, record.type_version).waits_for:
            async for page in self._imports.open_nearest_first(record, name):
                for open_import in page:
                    if await self._add_wait(record, chunk, open_import, None):
                        return True
        return False

    async def wake(self, record: ImportRecord, chunk: int | None) -> None:
        """Send the messages of the chunks that wait for this chunk, or for this import (None).

        To be called when the result is recorded or the import closed. Calling it twice is harmless.
        Raises StorageUnavailableError; the message of the handler then comes back.
        """
        waiting = await self._imports.waiting_for(record, chunk)
        for at in range(0, len(waiting), _CONCURRENT_SENDS):
            batch = waiting[at : at + _CONCURRENT_SENDS]
            await asyncio.gather(*(self._wake_chunk(each) for each in batch))

    async def _wake_chunk(self, waiting: WaitingChunk) -> None:
        queues = (queue for kind in IMPORT_TYPES.values() for queue in kind.queues)
        if not waiting.import_id or waiting.queue not in queues:
            # The entity cannot be read. The sweep finds the chunk.
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
        """Make the chunk wait; False if the awaited import or chunk has ended meanwhile."""
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
        # Read after the write: a handler that finishes from here on will see the waiting chunk.
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
    """Whether one of these imports was accepted earlier and may touch the same records."""
    span = open_import.span
    return span is not None and any(
        each.span is not None and each.number < open_import.number and each.span.overlaps(span)
        for each in all_open
    )


# Seconds until a message that an ending process has requeued is visible.
_DELAY_AFTER_STOP = 1


class ChunkProcessor:
    """Processes chunks, for the queue triggers and for poisoned messages."""

    def __init__(
        self,
        *,
        payloads: Payloads,
        queues: Queues,
        hold_back: HoldBack,
        imports: ImportLog,
        accepted: AcceptedImports,
        results: Results,
        processors: Processors,
        completions: Completions,
        small_first: SmallImportsFirst,
        clock: Clock,
        stop: ProcessStop,
        handler_seconds: float,
        sweep_seconds: float,
        on_ended: Callable[[ImportRecord], Awaitable[None]] | None = None,
    ) -> None:
        """`sweep_seconds` is how long the sweep waits for a sign of an import. `on_ended` is called
        with each import that has ended, once or more often. It raises nothing.
        """
        self._watch = ImportWatch(imports, clock, sweep_seconds)
        self._payloads = payloads
        self._queues = queues
        self._hold_back = hold_back
        self._imports = imports
        self._accepted = accepted
        self._results = results
        self._processors = processors
        self._completions = completions
        self._small_first = small_first
        self._clock = clock
        self._stop = stop
        self._handler_seconds = handler_seconds
        self._on_ended = on_ended

    async def process(self, message: ChunkMessage) -> None:
        """Process a chunk, or make it wait.

        Raises StorageUnavailableError if storage does not answer. The message then comes back.
        """
        record = await self._find_unfinished(message)
        if record is None:
            return
        if record.is_cancelled:
            self._watch.note_cancelled(record)
        elif message.looks_back:
            earlier = self._hold_back.earlier(record)
            if await self._hold_back.waits(record, message.chunk, earlier):
                return
        await self._process_chunk(message, record)

    async def process_directly(self, record: ImportRecord) -> Sequence[RowResult] | None:
        """Process the only chunk of a new import that goes through no queue.

        Returns its results, or None if another handler has recorded them or the sweep has to.
        Raises StorageUnavailableError if storage does not answer. The sweep then processes it.
        """
        message = ChunkMessage(record.tenant, record.number, record.import_id, 0)
        return await self._process_chunk(message, record)

    async def _process_chunk(
        self, message: ChunkMessage, record: ImportRecord
    ) -> Sequence[RowResult] | None:
        """Run a chunk, and handle the errors that stop it."""
        waited = age_of(record.accepted_at, self._clock.now())
        telemetry.note(
            telemetry.QUEUE_WAIT, waited.total_seconds() if waited else 0, type=record.type_name
        )
        started_at = self._clock.elapsed()
        try:
            with (
                telemetry.span(
                    "chunk.process",
                    record.trace,
                    import_id=record.import_id,
                    tenant=record.tenant,
                    type=record.type_name,
                    chunk=message.chunk,
                ),
                self._small_first.working(is_small=is_small(record.rows)),
                self._small_first.turns(is_small=is_small(record.rows)) as next_turn,
            ):
                results = await self._run(message, record, next_turn)
            seconds = self._clock.elapsed() - started_at
            telemetry.note(telemetry.CHUNK_DURATION, seconds, type=record.type_name)
            return results
        except HandlerTimeUpError:
            await self._requeue(message, record)
        except SupersededError:
            if not await self._is_superseded(message, record):
                # Later imports wait for this chunk, so the stamp of a later import is broken.
                return await self._process_chunk(
                    message, replace(record, trusts_later_stamps=False)
                )
        except UnreadableDataError as error:
            # A retry would not help, and later imports wait for this one.
            log.failure("chunk.unreadable", error, import_id=record.import_id, chunk=message.chunk)
            await self._end_rows(message, record, ended_code(record))
        return None

    async def end_as_failed(self, message: ChunkMessage) -> None:
        """End the rows of a chunk that failed too often. Committed rows keep their outcome.

        Runs no rule, and works even if the payload or stored records cannot be read. Raises
        StorageUnavailableError if storage does not answer.
        """
        record = await self._find_unfinished(message)
        if record is None:
            return
        log.warning("chunk.poisoned", import_id=record.import_id, chunk=message.chunk)
        await self._end_rows(message, record, ended_code(record))

    async def _find_unfinished(self, message: ChunkMessage) -> ImportRecord | None:
        """The record of the open import if the chunk has no result yet, else None."""
        accepted = self._accepted.take(message)
        if accepted is not None:
            return accepted
        record = await self._imports.read(message.tenant, message.number)
        if (
            record is None
            or record.import_id != message.import_id
            or not (record.is_broken or 0 <= message.chunk < len(record.chunks))
        ):
            log.event("chunk.dropped", import_id=message.import_id, chunk=message.chunk)
            return None
        # An earlier handler of the message may have crashed here, so its last steps are repeated.
        if not record.is_open:
            log.event("chunk.dropped", import_id=message.import_id, chunk=message.chunk)
            await self._wake(record, None)
            await self._follow_up(record)
            return None
        if record.is_broken:
            log.warning("import.broken", import_id=record.import_id, tenant=record.tenant)
            await self._close_and_wake(message, record)
            return None
        if await self._imports.has_result(record.import_id, message.chunk):
            await self._close_and_wake(message, record)
            return None
        return record

    async def _run(
        self, message: ChunkMessage, record: ImportRecord, next_turn: NextTurn
    ) -> Sequence[RowResult] | None:
        """Run the rows of a chunk. Returns the recorded results, or None if none were recorded."""
        if record.is_cancelled:
            await self._end_rows(message, record, MessageId.CANCELLED)
            return None
        await next_turn()
        lines = await self._lines(record, message.chunk)
        try:
            try:
                results = await self._run_lines(record, lines, next_turn)
            except UnreadablePayloadError:
                lines = await self._lines(record, message.chunk, is_broken=True)
                results = await self._run_lines(record, lines, next_turn)
        except ImportCancelledError:
            await self._end_rows(message, record, MessageId.CANCELLED)
            return None
        if len(results) < lines.rows:
            if not await self._hold_back.waits_for_references(record, message.chunk):
                await self._requeue(message, record)
            return None
        results = _in_order(record, lines, results)
        await next_turn()
        return results if await self._finish(message, record, results) else None

    async def _run_lines(
        self, record: ImportRecord, lines: ChunkLines, next_turn: NextTurn
    ) -> Sequence[RowResult]:
        if not lines.rows:
            return ()
        with self._watch.watching(record) as watched:
            record = await self._imports.repairs.with_retries(record)
            return await self._processors.for_import(record).run(
                record, lines.usable, self._commit_guard(record, watched, next_turn)
            )

    async def _lines(
        self, record: ImportRecord, number: int, *, is_broken: bool = False
    ) -> ChunkLines:
        """The lines of a chunk, without those that are broken. Raises PayloadGoneError.

        `is_broken`: the number of lines is right, but one of them cannot be read.
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
        """End the rows of a chunk, whatever is broken, since no other attempt follows.

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
        except (StorageUnavailableError, HandlerTimeUpError):
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

    def _commit_guard(
        self, record: ImportRecord, watched: WatchedImport, next_turn: NextTurn
    ) -> BeforeCommit:
        """Make the function that checks the remaining time and the cancel flag before each commit,
        and lets small imports go first.

        The announced end of the process ends that time too, but not for a chunk without a queue,
        which is a document and quickly done.
        """
        started_at = self._clock.elapsed()
        has_queues = import_type(record.type_name, record.type_version).has_queues

        async def before_commit() -> bool:
            is_beside_small_imports = await next_turn()
            is_time_up = self._clock.elapsed() - started_at > self._handler_seconds
            if is_time_up or (has_queues and self._stop.is_announced):
                raise HandlerTimeUpError
            await watched.check()
            return is_beside_small_imports

        return before_commit

    async def _finish(
        self,
        message: ChunkMessage,
        record: ImportRecord,
        results: Sequence[RowResult],
    ) -> bool:
        """Record the chunk's results and close the import; whether these were the first results.

        Rows of the chunk without a result are lost and count as failed.
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
        """Close the import if this was its last chunk, and wake the waiting chunks.

        `result` is the chunk's result if this handler has recorded it.
        """
        known_counts = [result.counts] if result is not None else []
        closing = await self._imports.close(record, to_iso(self._clock.now()), known_counts)
        if closing is not None and closing.is_first:
            self._completions.announce(record.import_id, _all_results(record, result))
        if closing is None or not closing.is_unawaited:
            await self._wake(record, message.chunk if closing is None else None)
        if closing is not None:
            await self._follow_up(record)

    async def _follow_up(self, record: ImportRecord) -> None:
        """Do what follows the end of an import."""
        if self._on_ended is not None:
            await self._on_ended(record)

    async def _wake(self, record: ImportRecord, chunk: int | None) -> None:
        """Wake the waiting chunks, if chunks wait for imports of this type."""
        if may_hold_back(record):
            await self._hold_back.wake(record, chunk)

    async def _requeue(self, message: ChunkMessage, record: ImportRecord) -> None:
        kind = import_type(record.type_name, record.type_version)
        if not kind.has_queues:
            log.event("chunk.left_to_the_sweep", import_id=record.import_id, chunk=message.chunk)
            return
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        # The host may still receive messages while this process ends, so the message is delayed.
        delay = _DELAY_AFTER_STOP if self._stop.is_announced else 0
        await self._queues.send(queue, message.to_text(), delay=delay)

    async def _is_superseded(self, message: ChunkMessage, record: ImportRecord) -> bool:
        """Whether the chunk has its result already, so that a later import may have written."""
        if await self._imports.has_result(record.import_id, message.chunk):
            await self._close_and_wake(message, record)
            return True
        current = await self._imports.read(record.tenant, record.number)
        return current is None or not current.is_open


def _all_results(record: ImportRecord, result: ChunkResult | None) -> Sequence[RowResult] | None:
    """The results of a small import of one chunk as they are stored, for the call that waits."""
    if result is None or len(result.results) != record.rows or not is_small(record.rows):
        return None
    return [unpack_result(pack_result(row)) for row in result.results]


def _in_order(
    record: ImportRecord, lines: ChunkLines, results: Sequence[RowResult]
) -> Sequence[RowResult]:
    """Add the failed results of broken lines, in the order of the lines."""
    if lines.order is None:
        return results
    no_key = (None,) * len(import_type(record.type_name, record.type_version).rules.key_fields)
    unreadable = Message(MessageId.COULD_NOT_BE_PROCESSED, detail=UNREADABLE_ROW)
    by_index = {result.index: result for result in results}
    return [by_index.get(index) or failed(index, no_key, unreadable) for index in lines.order]
