"""Retry and cancel. A retry is a child import with its own number (docs/contracts.md#5).

The child's rows are the failed rows of its parent that no retry has imported, in the order of the
parent's payload. Corrected rows replace those that failed. The child has the options of its parent.
Otherwise it is an import like any other, and can be followed, cancelled and retried itself. Its
record knows which of its rows are unchanged, for 1101 (`shared.imports.results`). At its end it
records which rows it has imported (`shared.services.results`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from shared import log
from shared.clock import Clock, to_iso
from shared.errors import (
    ConflictError,
    GoneError,
    InvalidRequestError,
    NotBuiltError,
    StorageUnavailableError,
)
from shared.imports.files.corrections import CorrectionsReader, read_corrections
from shared.imports.files.formats import MAX_UNPACKED
from shared.imports.files.mapping import ProfileMapping, cell_faults, is_same_sent
from shared.imports.files.notes import Notes
from shared.imports.json_rows import (
    Payload,
    RowText,
    SortKey,
    StoredBytes,
    check_indexes,
    is_same_row,
    max_stored_bytes,
    name_indexes,
    read_payload,
)
from shared.imports.registry import import_type
from shared.imports.results import Origins
from shared.imports.sender import NO_SENDER, NamedCaller, Sender
from shared.services.accept import ImportAcceptor
from shared.services.background import Offload
from shared.services.chunk_messages import (
    AcceptedImports,
    RunDirectly,
    messages_for,
    queue_for,
    run_without_queues,
)
from shared.services.failed_rows import RowMasks, row_masks
from shared.services.import_log import ImportLog
from shared.services.status import FailedRow, FailedRows, check_payload, check_results
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Queues

STILL_OPEN = "This import is still running: retry it when it has ended, or cancel it first."
NOTHING_FAILED = "No row of this import failed: there is nothing to retry."
UNDO_HAS_NO_CORRECTIONS = (
    "This import is an undo, whose rows cannot be corrected: send an empty body to retry it, or "
    "the wanted rows in a new import."
)
ALL_ARE_IN = (
    "Retries have imported all failed rows of this import: there is nothing to retry. To change "
    "one of the records again, send its row in a new import."
)

PROFILE_UNREADABLE = (
    "The mapping profile of this import cannot be read, so its rows cannot be corrected: send the "
    "wanted rows in a new import."
)
ALL_ARE_ERASED = (
    "The failed rows that are left were erased with the data of their persons (9004): there is "
    "nothing to retry."
)


class Retrier(Protocol):
    """Retries the rows of a type whose payload does not contain them as they were sent."""

    async def retry(
        self,
        parent: ImportRecord,
        body: bytes,
        import_id: str,
        sender: Sender,
        reader: CorrectionsReader,
    ) -> ImportRecord:
        """Accept the child import under that id. Called again with the same id, it is the same one.

        `parent` has ended with failed rows, and neither its results nor its payload have expired.
        Raises refusals.
        """


class Retrying:
    """Turns failed rows into an import. `special` maps the name of a type to its retrier,
    `run_directly` processes an import of a type without queues.
    """

    def __init__(
        self,
        failed_rows: FailedRows,
        intake: ImportAcceptor,
        offload: Offload,
        max_rows: int,
        special: Mapping[str, Retrier],
        run_directly: RunDirectly,
    ) -> None:
        self._failed_rows = failed_rows
        self._intake = intake
        self._offload = offload
        self._max_rows = max_rows
        self._special = special
        self._run_directly = run_directly

    async def retry(
        self,
        parent: ImportRecord,
        body: bytes,
        import_id: str = "",
        sender: Sender = NO_SENDER,
        reader: CorrectionsReader = read_corrections,
    ) -> ImportRecord:
        """Accept the child import under `import_id`, by default a new one.

        `body` contains corrected rows for `reader`, or nothing. `sender` asks for the retry. Raises
        ConflictError if the parent is open or no failed row is left, GoneError if rows or results
        have expired, and the errors of `reader`.
        """
        if parent.is_open:
            raise ConflictError(STILL_OPEN)
        if not parent.counts.failed:
            raise ConflictError(NOTHING_FAILED)
        check_results(parent)
        check_payload(parent)
        repaired = await self._failed_rows.repaired_rows(parent)
        if repaired.bit_count() >= parent.counts.failed:
            raise ConflictError(ALL_ARE_IN)
        child = await self._accept_child(parent, body, import_id, repaired, sender, reader)
        log.event(
            "import.retried",
            import_id=child.import_id,
            parent_id=parent.import_id,
            tenant=child.tenant,
            rows=child.rows,
        )
        await run_without_queues(child, self._run_directly)
        return child

    async def _accept_child(
        self,
        parent: ImportRecord,
        body: bytes,
        import_id: str,
        repaired: int,
        sender: Sender,
        reader: CorrectionsReader,
    ) -> ImportRecord:
        kind = import_type(parent.type_name, parent.type_version)
        if not parent.is_undo:
            special = self._special.get(kind.name)
            if special is not None:
                return await special.retry(parent, body, import_id, sender, reader)
            if not kind.keeps_rows:
                raise NotBuiltError(
                    f"{kind.name} cannot be retried: send them again in a new call."
                )
        corrections: Mapping[int, RowText] = {}
        if body.strip():
            corrections = await self._offload(len(body), reader, body, self._max_rows)
        if corrections and parent.is_undo:
            raise InvalidRequestError(UNDO_HAS_NO_CORRECTIONS)
        mapping = await self._failed_rows.mapping_of(parent)
        if corrections and parent.profile.name and mapping is None:
            raise GoneError(PROFILE_UNREADABLE)
        failed_rows = await self._read_failed_rows(parent, corrections)
        check_indexes(corrections, failed_rows, repaired)
        size = sum(len(row.text) for row in failed_rows.values()) + len(body)
        is_mapped = bool(parent.profile.name)
        masks = row_masks(kind.rules, mapping, is_mapped=is_mapped) if corrections else None
        payload = await self._offload(
            size, _build_payload, parent, failed_rows, corrections, mapping, masks
        )
        origins = payload.origins
        plan = await self._intake.read(kind, parent.tenant, payload.body, payload.read)
        draft = await self._intake.draft_retry(
            kind, parent, failed_rows, origins, plan, import_id, sender
        )
        draft = replace(draft, media_type=parent.media_type)
        check = partial(self._intake.check_not_erased, parent)
        return await self._intake.accept_planned(kind, draft, plan, check)

    async def _read_failed_rows(
        self, parent: ImportRecord, corrections: Mapping[int, RowText]
    ) -> dict[int, FailedRow]:
        """Every failed row that no retry has imported, by its index, in that order.

        Raises GoneError for rows that cannot be read any more and are not corrected.
        """
        failed_rows: dict[int, FailedRow] = {}
        lost_rows: list[int] = []
        async for rows in self._failed_rows.chunks(parent):
            failed_rows.update((row.index, row) for row in rows)
            lost_rows += [row.index for row in rows if row.is_lost and row.index not in corrections]
        if lost_rows:
            raise GoneError(
                f"The rows of index {name_indexes(sorted(lost_rows))} cannot be read any more: "
                'send these rows in the body, as [{"index", "row"}].'
            )
        if not failed_rows:
            raise ConflictError(ALL_ARE_ERASED if parent.erased_by else NOTHING_FAILED)
        return dict(sorted(failed_rows.items()))


def _is_same(correction: RowText, sent: str, mapping: ProfileMapping | None) -> bool:
    """Whether a row came back as it was sent; a cell that was refused is not in its text."""
    is_same = is_same_row if mapping is None else is_same_sent
    return is_same(correction.text, sent) and not cell_faults(correction)


@dataclass(frozen=True, slots=True)
class _RetryPayload:
    """The rows of a retry as a JSON array, with their notes and their origins."""

    body: bytes
    notes: Mapping[int, str]
    origins: Origins

    def read(self, body: bytes, sort_key: SortKey, max_rows: int) -> Payload:
        """A `Reader` of the body."""
        return replace(read_payload(body, sort_key, max_rows), notes=self.notes)


def _build_payload(
    parent: ImportRecord,
    failed_rows: Mapping[int, FailedRow],
    corrections: Mapping[int, RowText],
    mapping: ProfileMapping | None,
    masks: RowMasks | None,
) -> _RetryPayload:
    """Build the child's payload.

    A corrected row of an import with a profile is in the layout of its sender. A mask that a row
    was shown with stands for the value itself. Raises InvalidRequestError for a row that the
    profile cannot be applied to, TooLargeError for rows that are too large together.
    """
    stored_bytes = StoredBytes(max_stored_bytes(MAX_UNPACKED))
    rows: list[str] = []
    numbers: list[int] = []
    notes: dict[int, str] = {}
    for place, (index, failed_row) in enumerate(failed_rows.items()):
        sent = failed_row.notes.sent or failed_row.text
        corrected = corrections.get(index, RowText(sent))
        if index in corrections and masks is not None:
            corrected = corrected._replace(text=masks.unmasked(corrected.text, sent))
        row = RowText(failed_row.text, failed_row.notes.to_text())
        number = parent.origins.find(index) or parent.number
        if index in corrections and not _is_same(corrected, sent, mapping):
            line, number = failed_row.notes.line, 0
            if mapping is None:
                lists = Notes.from_text(corrected.notes).lists
                notes_of_row = Notes(line, cell_faults(corrected), lists=lists)
                row = RowText(corrected.text, notes_of_row.to_text())
            else:
                row = mapping.corrected(corrected, index, failed_row.notes)
        stored_bytes.add(len(row.text) + len(row.notes))
        rows.append(row.text)
        numbers.append(number)
        if row.notes:
            notes[place] = row.notes
    return _RetryPayload(f"[{','.join(rows)}]".encode(), notes, Origins(tuple(numbers)))


# Cancelling an import: committed rows stay, the others end as 9002 (docs/contracts.md#5).
#
# Cancel sets a flag in the record, which every handler reads before a chunk waits and before each
# transaction. The messages of all chunks without a result are sent immediately, because chunks that
# wait for an earlier import need not wait any more. A message that is sent twice is harmless.

HAS_ENDED = "This import has ended: there is nothing left to cancel."
AT_ONCE = (
    "Imports of this type are done at once and cannot be cancelled: there is nothing left to stop."
)
_MOST_TRIES = 20


class Cancelling:
    """Asks the handlers of an import to stop."""

    def __init__(
        self, imports: ImportLog, accepted: AcceptedImports, queues: Queues, clock: Clock
    ) -> None:
        self._accepted = accepted
        self._imports = imports
        self._queues = queues
        self._clock = clock

    async def cancel(self, record: ImportRecord, caller: NamedCaller | None = None) -> ImportRecord:
        """Cancel an import for a caller, unless it is cancelled already, and return its record.

        A record that was not read but just accepted is read first, because the write is
        conditional. Raises ConflictError if the import has ended.
        """
        if (
            not record.is_broken
            and not import_type(record.type_name, record.type_version).has_queues
        ):
            raise ConflictError(AT_ONCE)
        if not record.etag:
            record = await self._read_again(record)
        for _ in range(_MOST_TRIES):
            if record.is_cancelled:
                if record.is_broken and record.is_open:
                    await self._imports.close(record, to_iso(self._clock.now()))
                    return await self._read_again(record)
                return record
            if not record.is_open:
                raise ConflictError(HAS_ENDED)
            self._accepted.forget(record)
            if await self._imports.cancel(record, to_iso(self._clock.now()), caller):
                log.event("import.cancelled", import_id=record.import_id, tenant=record.tenant)
                if not record.is_broken:
                    await self._send_messages(record)
                    return await self._read_again(record)
            record = await self._read_again(record)
        raise StorageUnavailableError("the record of an import keeps changing")

    async def _read_again(self, record: ImportRecord) -> ImportRecord:
        return await self._imports.read(record.tenant, record.number) or record

    async def _send_messages(self, record: ImportRecord) -> None:
        """Send the messages of the missing chunks. If storage fails here, the sweep sends them."""
        kind = import_type(record.type_name, record.type_version)
        queue = queue_for(record, kind.queue, kind.bulk_queue)
        try:
            done_chunks = (await self._imports.progress(record.import_id)).chunks
            missing = [chunk.number for chunk in record.chunks if chunk.number not in done_chunks]
            for message in messages_for(record, (), missing):
                await self._queues.send(queue, message.to_text())
        except StorageUnavailableError as error:
            log.failure("cancel.messages_missing", error, import_id=record.import_id)
