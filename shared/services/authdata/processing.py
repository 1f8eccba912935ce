"""Process: a staged batch becomes an import, once (docs/contracts.md#3; docs/design.md#1).

The batch is closed first, on its ETag, and names its import from then on; then that import is
accepted. Whoever finds a closed batch without its import (the call died in between) accepts it
under the same id, and an import id is accepted once, so all calls end up with one import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared import log
from shared.clock import Clock, Ids, age_of, to_iso
from shared.errors import (
    AcceptanceUnknownError,
    ConflictError,
    GoneError,
    InvalidRequestError,
    PreconditionFailedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.imports.authdata.answer import vendor_answer
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import AuthRecord
from shared.imports.import_type import Options
from shared.imports.json_rows import Payload, RawRow, check_indexes, fold_names, read_corrections
from shared.imports.messages import Message, MessageId
from shared.imports.planning import Plan, Span, plan
from shared.imports.results import Origins, Outcome, RowResult, failed
from shared.imports.sender import NO_SENDER, Sender
from shared.services.accept import ImportAcceptor, PlanLimits
from shared.services.authdata.processor import Plans
from shared.services.authdata.staging import EXPIRED, RECORDS_LOST, Staging
from shared.services.authdata.store import BatchStore, employee_key
from shared.services.background import Offload
from shared.services.import_log import ImportLog
from shared.services.status import Reporting
from shared.services.upkeep import UpkeepFaults
from shared.storage.authdata_records import Batch, BatchState
from shared.storage.business_records import place_of
from shared.storage.conflicts import retry_on_conflict
from shared.storage.entities import encode
from shared.storage.import_records import ImportRecord

_BYTES_PER_RECORD = 500


class Processing:
    """From a staged batch to the answer of its import."""

    def __init__(
        self,
        *,
        batches: BatchStore,
        staging: Staging,
        plans: Plans,
        imports: ImportLog,
        intake: ImportAcceptor,
        reporting: Reporting,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        limits: PlanLimits,
        orphan_seconds: float,
    ) -> None:
        self._batches = batches
        self._staging = staging
        self._plans = plans
        self._imports = imports
        self._intake = intake
        self._reporting = reporting
        self._clock = clock
        self._ids = ids
        self._offload = offload
        self._limits = limits
        self._orphaned = timedelta(seconds=orphan_seconds)

    @retry_on_conflict(50, lambda: StorageUnavailableError("the batch keeps changing"))
    async def begin(
        self, tenant: str, file_log_id: str, sender: Sender = NO_SENDER
    ) -> ImportRecord | None:
        """The import of a batch, accepted by now; None for a batch without any record.

        `sender` is who asks for it; of several calls the one that closes the batch counts.
        Raises NotFoundError, ConflictError for a batch that was cancelled or has expired before
        it was processed, GoneError where its records are lost, StorageUnavailableError.
        """
        batch = await self._staging.find(tenant, file_log_id)
        if batch.state is BatchState.STAGED:
            batch = await self._closed(batch, sender)
        return await self.import_of(batch)

    async def import_of(self, batch: Batch) -> ImportRecord | None:
        """The import of a batch that is not staged any more, accepted now where it was not.

        None for a batch without records. Raises ConflictError where there was never one, GoneError
        where it is there no more.
        """
        match batch.state:
            case BatchState.EXPIRED:
                raise ConflictError(EXPIRED)
            case BatchState.CANCELLED if batch.is_lost:
                raise GoneError(RECORDS_LOST)
            case BatchState.CANCELLED if not batch.import_id:
                raise ConflictError("The batch was cancelled by a threshold: stage a new one.")
            case _:
                pass
        if not batch.import_id:
            return None
        try:
            found = await self._imports.find(batch.tenant, batch.import_id)
            if found is not None:
                return found
            if batch.state is not BatchState.PROCESSING:
                raise GoneError(
                    "The import of this batch has expired: ask for the batch, which is still known."
                )
            return await self._accept(batch)
        except StorageUnavailableError as error:
            # A closed batch is accepted by the next call, or by the upkeep.
            raise AcceptanceUnknownError(batch.import_id) from error

    async def answer(self, record: ImportRecord) -> dict[str, Any]:
        """The answer to the whole batch of an ended import. Raises GoneError."""
        found = [row async for row in self._reporting.all_results(record)]
        exceeded: Sequence[str] = ()
        try:
            planned = await self._plans.read(record)
            exceeded = planned.exceeded if planned is not None else ()
        except UnreadableDataError as error:
            log.failure("plan.unreadable", error, import_id=record.import_id)
        size = _BYTES_PER_RECORD * record.rows
        return await self._offload(size, _answer, record, found, exceeded)

    async def note_end(self, record: ImportRecord) -> None:
        """Let the batch say that its import has ended. Nothing depends on it being said."""
        with suppress(PreconditionFailedError, StorageUnavailableError, UnreadableDataError):
            batch = await self._batches.read(record.tenant, record.batch)
            if batch is None or batch.state is not BatchState.PROCESSING:
                return
            state = BatchState.CANCELLED if record.is_cancelled else BatchState.PROCESSED
            await self._batches.change(replace(batch, state=state))

    async def tidy_all(self, tenants: Sequence[str]) -> None:
        """`tidy` for every tenant. Raises StorageUnavailableError where storage is away."""
        faults = UpkeepFaults("batches.not_tidied")
        for tenant in tenants:
            try:
                await self.tidy(tenant, faults)
            except Exception as error:
                faults.note(error, tenant=tenant)

    async def tidy(self, tenant: str, faults: UpkeepFaults | None = None) -> None:
        """Expire batches, accept the imports of those whose call died, remove what is done with.

        A fault of one batch does not keep the others waiting.
        """
        faults = faults or UpkeepFaults("batches.not_tidied")
        now = self._clock.now()
        for noted in await self._batches.noted_before(tenant, now - self._orphaned, now):
            try:
                if await self._is_tidy(tenant, noted.text("Batch")):
                    await self._batches.delete_index(noted)
            except Exception as error:
                faults.note(error, tenant=tenant)
            else:
                faults.note_success()

    async def _is_tidy(self, tenant: str, file_log_id: str) -> bool:
        """Whether nothing of the batch is left to be done, after doing what can be done now."""
        now = self._clock.now()
        try:
            batch = await self._batches.read(tenant, file_log_id)
        except UnreadableDataError as error:
            log.failure("batch.unreadable", error, tenant=tenant)
            await self._batches.forget_unreadable(tenant, file_log_id, to_iso(now))
            return True
        if batch is None:
            return True
        with suppress(PreconditionFailedError):
            if age_of(batch.changed_at, now) is None:
                # A clock that was ahead, or an unreadable time: the batch's time begins now.
                batch = await self._batches.change(replace(batch, changed_at=to_iso(now)))
            batch = await self._staging.expire_if_due(batch)
        if batch.state is BatchState.STAGED:
            return False
        if batch.state is BatchState.PROCESSING:
            with suppress(GoneError):
                record = await self.import_of(batch)
                if record is not None and record.is_open:
                    return False
        if batch.import_id and (ended := await self._imports.find(tenant, batch.import_id)):
            await self.note_end(ended)
            await self._plans.forget_blob(ended)
        await self._batches.forget_records(batch, to_iso(self._clock.now()))
        return True

    async def forget_before(self, tenant: str, before: datetime) -> int:
        """Forget batches that were done with before then; how many those were."""
        return await self._batches.forget_before(tenant, before, self._clock.now())

    async def _closed(self, batch: Batch, sender: Sender = NO_SENDER) -> Batch:
        """The batch closed to records, with the id of the import that it becomes."""
        now = to_iso(self._clock.now())
        if not batch.rows:
            return await self._batches.change(
                replace(batch, state=BatchState.PROCESSED, changed_at=now)
            )
        import_id = self._ids.new()
        return await self._batches.change(
            replace(
                batch,
                state=BatchState.PROCESSING,
                import_id=import_id,
                changed_at=now,
                sender=sender,
            )
        )

    async def _accept(self, batch: Batch) -> ImportRecord:
        try:
            records = await self._batches.records(batch)
        except UnreadableDataError:
            with suppress(PreconditionFailedError):
                await self._staging.cancel_lost(batch)
            raise GoneError(RECORDS_LOST) from None
        size = _BYTES_PER_RECORD * len(records)
        planned = await self._offload(size, plan_of, batch.tenant, records, self._limits)
        draft = ImportRecord(
            tenant=batch.tenant,
            number=0,
            import_id=batch.import_id,
            type_name=AUTHDATA.name,
            rows=planned.rows,
            chunks=planned.chunks,
            options=Options(),
            accepted_at=to_iso(self._clock.now()),
            batch=batch.file_log_id,
            sender=batch.sender,
        )
        return await self._intake.accept_planned(AUTHDATA, draft, planned)


def plan_of(tenant: str, records: Sequence[AuthRecord], limits: PlanLimits) -> Plan:
    """The staged records as a payload, sorted by employee and cut into chunks.

    Every chunk stands for the whole tenant: a rename may touch any employee, so imports of
    authentication data of one tenant run one after another (docs/design.md#1.2).
    """
    texts = [json.dumps(record.pack(), separators=(",", ":")) for record in records]
    rows: list[RawRow] = []
    at = 0
    for record, text in zip(records, texts, strict=True):
        place = None
        if record.employee_id is not None:
            place = place_of(employee_key(tenant, record.employee_id))
        rows.append(RawRow(record.position, place, at, at + len(text)))
        at += len(text)
    payload = Payload("".join(texts), rows)
    cut = plan(payload, chunk_rows=limits.chunk_rows, chunk_bytes=limits.chunk_bytes)
    whole = Span(f"{encode(tenant)} ", f"{encode(tenant)} ~")
    return replace(cut, chunks=tuple(replace(chunk, span=whole) for chunk in cut.chunks))


def _answer(
    record: ImportRecord, found: Sequence[RowResult], exceeded: Sequence[str]
) -> dict[str, Any]:
    """In the order of submission; a row of which no result tells was lost."""
    lost = Message(MessageId.COULD_NOT_BE_PROCESSED)
    results = {row.index: row for row in found}
    ordered = (results.get(at) or failed(at, (None,), lost) for at in range(record.rows))
    return vendor_answer(record.batch, ordered, exceeded)


# Retrying records of authentication data: only with the rows in the body (docs/contracts.md#3).
#
# The gateway kept no value, so it cannot send a record again; who has the values can.

NEEDS_ROWS = (
    'Authentication values are not kept: send the records that are to be retried as [{"index", '
    '"row"}, …], with all their values.'
)


class AuthdataRetrier:
    """A `Retrier` whose rows come from the body alone."""

    def __init__(
        self,
        staging: Staging,
        intake: ImportAcceptor,
        reporting: Reporting,
        offload: Offload,
        limits: PlanLimits,
    ) -> None:
        self._staging = staging
        self._intake = intake
        self._reporting = reporting
        self._offload = offload
        self._limits = limits

    async def retry(
        self, parent: ImportRecord, body: bytes, import_id: str, sender: Sender
    ) -> ImportRecord:
        """See `Retrier`. Raises InvalidRequestError without rows, or for one that did not fail."""
        rows = await self._offload(len(body), read_corrections, body, self._limits.max_rows)
        if not rows:
            raise InvalidRequestError(NEEDS_ROWS)
        failed = {
            row.index
            async for row in self._reporting.all_results(parent)
            if row.outcome is Outcome.FAILED
        }
        check_indexes(rows, failed, await self._reporting.repaired_rows(parent))
        records = await self._records(parent.tenant, rows)
        planned = await self._offload(len(body), plan_of, parent.tenant, records, self._limits)
        draft = await self._intake.draft_retry(
            AUTHDATA, parent, rows, Origins((0,) * len(records)), planned, import_id, sender
        )
        draft = replace(draft, batch=parent.batch)
        return await self._intake.accept_planned(AUTHDATA, draft, planned)

    async def _records(self, tenant: str, rows: Mapping[int, str]) -> list[AuthRecord]:
        """The records in the order of the parent, hashed; they are records of this day."""
        folded = [fold_names(json.loads(text)) for _, text in sorted(rows.items())]
        return await self._staging.read_rows(tenant, folded)
