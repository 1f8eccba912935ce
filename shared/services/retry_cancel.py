"""Retrying what failed: a child import at its own place in the order (docs/contracts.md#5).

The child's rows are the failed rows of its parent that are still out, in the order of the parent's
payload; corrected ones stand in the place of those that failed. It runs under the options of its
parent. From then on it is an import like any other, and can be followed, cancelled and retried
itself; which of its rows are as they were sent is kept with its record, for 1101
(`shared.imports.results`). What it brought in is noted at its end (`shared.services.repairs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import ConflictError, GoneError, NotBuiltError, StorageUnavailableError
from shared.imports.json_rows import check_indexes, is_same_row, name_indexes, read_corrections
from shared.imports.registry import import_type
from shared.imports.results import Origins
from shared.imports.sender import NO_SENDER, Sender
from shared.services.accept import ImportAcceptor
from shared.services.background import Offload
from shared.services.chunk_messages import messages_for, queue_for
from shared.services.import_log import ImportLog
from shared.services.status import FailedRows, check_payload, check_results
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Queues

STILL_OPEN = "This import is still running: retry it when it has ended, or cancel it first."
NOTHING_FAILED = "No row of this import failed: there is nothing to retry."
ALL_ARE_IN = (
    "Retries have imported all failed rows of this import: there is nothing to retry. To change "
    "one of the records again, send its row in a new import."
)


class Retrier(Protocol):
    """How the rows of a type are retried whose payload does not hold them as they were sent."""

    async def retry(
        self, parent: ImportRecord, body: bytes, import_id: str, sender: Sender
    ) -> ImportRecord:
        """The child import under that id, accepted; called again with the same id, the same one.

        `parent` has ended with failed rows, and neither its results nor its payload have expired.
        Raises refusals.
        """


class Retrying:
    """Turns failed rows into an import. `special` goes by the name of its type."""

    def __init__(
        self,
        failed_rows: FailedRows,
        intake: ImportAcceptor,
        offload: Offload,
        max_rows: int,
        special: Mapping[str, Retrier],
    ) -> None:
        self._failed_rows = failed_rows
        self._intake = intake
        self._offload = offload
        self._max_rows = max_rows
        self._special = special

    async def retry(
        self,
        parent: ImportRecord,
        body: bytes,
        import_id: str = "",
        sender: Sender = NO_SENDER,
    ) -> ImportRecord:
        """The child import, accepted under `import_id` (a new one by default).

        `sender` is who asks for the retry.
        `body` holds corrected rows as `read_corrections` reads them, or nothing. Raises
        ConflictError for an open parent and where no failed row is still out, GoneError where rows
        or results have expired, and what is wrong with the body.
        """
        _check(parent)
        repaired = await self._failed_rows.repaired_rows(parent)
        if repaired.bit_count() >= parent.counts.failed:
            raise ConflictError(ALL_ARE_IN)
        child = await self._child(parent, body, import_id, repaired, sender)
        log.event(
            "import.retried",
            import_id=child.import_id,
            parent_id=parent.import_id,
            tenant=child.tenant,
            rows=child.rows,
        )
        return child

    async def _child(
        self, parent: ImportRecord, body: bytes, import_id: str, repaired: int, sender: Sender
    ) -> ImportRecord:
        kind = import_type(parent.type_name, parent.type_version)
        special = self._special.get(kind.name)
        if special is not None:
            return await special.retry(parent, body, import_id, sender)
        if not kind.keeps_rows:
            raise NotBuiltError(f"{kind.name} cannot be retried: send them again in a new call.")
        corrections = await self._offload(len(body), read_corrections, body, self._max_rows)
        failed = await self._failed(parent, corrections)
        check_indexes(corrections, failed, repaired)
        size = sum(map(len, failed.values())) + len(body)
        payload, origins = await self._offload(size, _put_together, parent, failed, corrections)
        planned = await self._intake.read(kind, parent.tenant, payload)
        draft = await self._intake.draft_retry(
            kind, parent, failed, origins, planned, import_id, sender
        )
        draft = replace(draft, media_type=parent.media_type)
        return await self._intake.accept_planned(kind, draft, planned)

    async def _failed(self, parent: ImportRecord, corrections: Mapping[int, str]) -> dict[int, str]:
        """The text of every failed row that is still out, by its index, in that order.

        Raises GoneError for rows that cannot be read any more and are not corrected.
        """
        found: dict[int, str] = {}
        lost: list[int] = []
        async for rows in self._failed_rows.chunks(parent):
            found.update((row.index, row.text) for row in rows)
            lost += [row.index for row in rows if row.is_lost and row.index not in corrections]
        if lost:
            raise GoneError(
                f"The rows of index {name_indexes(sorted(lost))} cannot be read any more: "
                'send these rows in the body, as [{"index", "row"}].'
            )
        if not found:
            raise ConflictError(NOTHING_FAILED)
        return dict(sorted(found.items()))


def _check(parent: ImportRecord) -> None:
    if parent.is_open:
        raise ConflictError(STILL_OPEN)
    if not parent.counts.failed:
        raise ConflictError(NOTHING_FAILED)
    check_results(parent)
    check_payload(parent)


def _put_together(
    parent: ImportRecord, failed: Mapping[int, str], corrections: Mapping[int, str]
) -> tuple[bytes, Origins]:
    """The child's payload and where its rows come from."""
    rows: list[str] = []
    numbers: list[int] = []
    for index, text in failed.items():
        row = corrections.get(index, text)
        is_as_sent = index not in corrections or is_same_row(row, text)
        rows.append(row)
        numbers.append((parent.origins.of(index) or parent.number) if is_as_sent else 0)
    return f"[{','.join(rows)}]".encode(), Origins(tuple(numbers))


# Cancelling an import: what is committed stays, the rest ends as 9002 (docs/contracts.md#5).
#
# Cancel is a flag on the record, which every handler reads before it holds back and before each
# transaction. The messages of the chunks without a result are sent at once: those that wait for an
# earlier import need not wait any more, and twice is harmless.

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
                    await self._imports.close(record, to_iso(self._clock.now()))
                    return await self._again(record)
                return record
            if not record.is_open:
                raise ConflictError(HAS_ENDED)
            if await self._imports.cancel(record, to_iso(self._clock.now())):
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
