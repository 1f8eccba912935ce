"""One chunk of an import, from its message to its result record (DESIGN 1, hold back to finish).

However often a message is delivered, whoever else works on the chunk and whatever dies: a row's
effect is there once (its stamp on the record), and the first result record stands (I1, I3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared import log
from shared.clock import Clock
from shared.errors import (
    StorageUnavailableError,
    UnreadableDataError,
    UnreadablePayloadError,
)
from shared.imports.catalogue import import_type
from shared.imports.messages import CANCELLED, COULD_NOT_BE_PROCESSED, UNREADABLE_ROW, Message
from shared.imports.outcomes import RowResult, cap_messages, failed
from shared.imports.payload import ChunkLines, is_whole, screen_lines
from shared.process_stop import ProcessStop
from shared.services.chunk_messages import ChunkMessage, has_queues, queue_for
from shared.services.completions import Completions
from shared.services.hold_back import HoldBack
from shared.services.import_log import ImportLog
from shared.services.moments import iso
from shared.services.offload import to_thread_if_large
from shared.services.payloads import Payloads
from shared.services.results import Results
from shared.services.work import (
    BeforeCommit,
    HandlerTimeUpError,
    ImportCancelledError,
    SupersededError,
    Works,
    ended_code,
)
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Queues
from shared.storage.result_records import ChunkResult

_AFTER_STOP = 1
"""Seconds until a chunk that was handed on by an ending process is visible."""
_FLAG_IS_FRESH = 1.0
"""Seconds for which a read of the cancel flag counts; what is committed meanwhile stays."""


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
        works: Works,
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
        self._works = works
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
            await self._end_rows(message, record, CANCELLED)
            return None
        lines = await self._lines(record, message.chunk)
        try:
            try:
                results = await self._run_lines(record, lines)
            except UnreadablePayloadError:
                lines = await self._lines(record, message.chunk, is_broken=True)
                results = await self._run_lines(record, lines)
        except ImportCancelledError:
            await self._end_rows(message, record, CANCELLED)
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
        return await self._works.of(record).run(record, lines.usable, self._watch(record))

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
        is_readable = self._works.of(record).is_readable
        return await to_thread_if_large(len(data), screen_lines, data, record.rows, is_readable)

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
        ended = await self._works.of(record).end(record, lines.usable, code)
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
        now = iso(self._clock.now())
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
        closing = await self._imports.close(record, iso(self._clock.now()), known)
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
    unreadable = Message(COULD_NOT_BE_PROCESSED, detail=UNREADABLE_ROW)
    by_index = {result.index: result for result in results}
    return [by_index.get(index) or failed(index, nothing, unreadable) for index in lines.order]
