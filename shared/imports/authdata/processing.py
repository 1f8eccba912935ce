"""Process: a staged batch becomes an import, once (docs/contracts.md#3; docs/design.md#1).

The batch is first closed on its ETag and names its import; then that import is accepted. A call
that finds a closed batch without its import (an earlier call died in between) accepts it under the
same id. An import id is accepted once, so all calls get the same import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from shared import log
from shared.clock import age_of, to_iso
from shared.dependencies import Dependencies
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
from shared.imports.authdata.batch_records import Batch, BatchState
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import AuthRecord
from shared.imports.authdata.processor import Plans
from shared.imports.authdata.staging import EXPIRED, RECORDS_LOST, Staging
from shared.imports.authdata.store import BatchStore, employee_key
from shared.imports.files.corrections import CorrectionsReader
from shared.imports.import_type import Options
from shared.imports.json_rows import (
    RawRow,
    RowText,
    TextPayload,
    check_indexes,
    fold_names,
)
from shared.imports.messages import Message, MessageId
from shared.imports.planning import Plan, plan
from shared.imports.results import Origins, Outcome, RowResult, failed, is_erased
from shared.imports.sender import NO_SENDER, Sender
from shared.services.accept import PlanLimits
from shared.services.background import UpkeepFaults
from shared.services.tenant_work import OPEN_BATCHES, WorkList
from shared.storage.business_records import sort_key_of, tenant_span
from shared.storage.import_records import ImportRecord
from shared.storage.ports import retry_on_conflict

_BYTES_PER_RECORD = 500


class BatchProcessing:
    """Turns a staged batch into an import, and the import into an answer."""

    def __init__(
        self,
        dependencies: Dependencies,
        batches: BatchStore,
        staging: Staging,
        plans: Plans,
    ) -> None:
        self._batches = batches
        self._staging = staging
        self._plans = plans
        self._imports = dependencies.imports
        self._intake = dependencies.intake
        self._reporting = dependencies.reporting
        self._clock = dependencies.clock
        self._ids = dependencies.ids
        self._offload = dependencies.offload
        self._limits = dependencies.limits
        self._work = WorkList(dependencies.tables, OPEN_BATCHES, dependencies.clock)
        self._orphan_age = timedelta(seconds=dependencies.settings.sweep_after_seconds)

    @retry_on_conflict(50, lambda: StorageUnavailableError("the batch keeps changing"))
    async def begin(
        self, tenant: str, file_log_id: str, sender: Sender = NO_SENDER
    ) -> ImportRecord | None:
        """Process a batch and return its accepted import; None for a batch without records.

        `sender` makes the call. Of several calls, that of the one that closes the batch is stored.
        Raises NotFoundError, ConflictError for a batch that was cancelled or expired before it was
        processed, GoneError where its records are lost, StorageUnavailableError.
        """
        batch = await self._staging.find(tenant, file_log_id)
        if batch.state is BatchState.STAGED:
            batch = await self._close(batch, sender)
        return await self.get_import(batch)

    async def get_import(self, batch: Batch) -> ImportRecord | None:
        """The import of a closed batch, accepted now where it was not yet.

        None for a batch without records. Raises ConflictError where the batch never became an
        import, GoneError where the import was deleted.
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
            record = await self._imports.find(batch.tenant, batch.import_id)
            if record is not None:
                return record
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
        results = [row async for row in self._reporting.all_results(record)]
        exceeded: Sequence[str] = ()
        try:
            plan = await self._plans.read(record)
            exceeded = plan.exceeded if plan is not None else ()
        except UnreadableDataError as error:
            log.failure("plan.unreadable", error, import_id=record.import_id)
        size = _BYTES_PER_RECORD * record.rows
        return await self._offload(size, _answer, record, results, exceeded)

    async def note_end(self, record: ImportRecord) -> None:
        """Record in the batch that its import has ended; a failure to do so does no harm."""
        with suppress(PreconditionFailedError, StorageUnavailableError, UnreadableDataError):
            batch = await self._batches.read(record.tenant, record.batch)
            if batch is None or batch.state is not BatchState.PROCESSING:
                return
            state = BatchState.CANCELLED if record.is_cancelled else BatchState.PROCESSED
            await self._batches.change(replace(batch, state=state))

    async def tidy_all(self) -> None:
        """`tidy` for every tenant that may have batches. Raises StorageUnavailableError where
        storage does not answer.
        """
        faults = UpkeepFaults("batches.not_tidied")
        for listed in await self._work.tenants():
            tenant = listed.id
            try:
                await self.clean_up(tenant, faults)
                await self._work.settle(listed, has_work=await self._batches.has_opened(tenant))
            except Exception as error:
                faults.note(error, tenant=tenant)

    async def clean_up(self, tenant: str, faults: UpkeepFaults | None = None) -> None:
        """Expire batches, accept imports whose call died, and delete records that are not needed.

        A fault of one batch does not stop the others.
        """
        faults = faults or UpkeepFaults("batches.not_tidied")
        now = self._clock.now()
        for index_entity in await self._batches.find_opened_before(
            tenant, now - self._orphan_age, now
        ):
            try:
                if await self._tidy_batch(tenant, index_entity.text("Batch")):
                    await self._batches.delete_index(index_entity)
            except Exception as error:
                faults.note(error, tenant=tenant)
            else:
                faults.note_success()

    async def _tidy_batch(self, tenant: str, file_log_id: str) -> bool:
        """Do what can be done for the batch now; returns whether nothing remains to be done."""
        now = self._clock.now()
        try:
            batch = await self._batches.read(tenant, file_log_id)
        except UnreadableDataError as error:
            log.failure("batch.unreadable", error, tenant=tenant)
            await self._batches.delete_unreadable(tenant, file_log_id, to_iso(now))
            return True
        if batch is None:
            return True
        with suppress(PreconditionFailedError):
            if age_of(batch.changed_at, now) is None:
                # A clock was ahead, or the time is unreadable, so the batch's time begins now.
                batch = await self._batches.change(replace(batch, changed_at=to_iso(now)))
            batch = await self._staging.expire_if_due(batch)
        if batch.state is BatchState.STAGED:
            return False
        if batch.state is BatchState.PROCESSING:
            with suppress(GoneError):
                record = await self.get_import(batch)
                if record is not None and record.is_open:
                    return False
        if batch.import_id and (ended := await self._imports.find(tenant, batch.import_id)):
            await self.note_end(ended)
            await self._plans.forget_blob(ended)
        await self._batches.delete_records(batch, to_iso(self._clock.now()))
        return True

    async def forget_before(self, tenant: str, before: datetime) -> int:
        """Delete batches that were tidied up before then; returns their number."""
        return await self._batches.forget_before(tenant, before, self._clock.now())

    async def _close(self, batch: Batch, sender: Sender = NO_SENDER) -> Batch:
        """Close the batch and give it the id of its future import."""
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
        planned = await self._offload(size, plan_records, batch.tenant, records, self._limits)
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


def plan_records(tenant: str, records: Sequence[AuthRecord], limits: PlanLimits) -> Plan:
    """The plan of the staged records, sorted by employee and cut into chunks.

    Every chunk's span is the whole tenant, because a rename may change any employee. So imports of
    authentication data of one tenant run in order (docs/design.md#1.2).
    """
    texts = [json.dumps(record.pack(), separators=(",", ":")) for record in records]
    rows: list[RawRow] = []
    offset = 0
    for record, text in zip(records, texts, strict=True):
        sort_key = None
        if record.employee_id is not None:
            sort_key = sort_key_of(employee_key(tenant, record.employee_id))
        rows.append(RawRow(record.position, sort_key, offset, offset + len(text)))
        offset += len(text)
    payload = TextPayload("".join(texts), rows)
    planned = plan(payload, chunk_rows=limits.chunk_rows, chunk_bytes=limits.chunk_bytes)
    span = tenant_span(tenant)
    return replace(planned, chunks=tuple(replace(chunk, span=span) for chunk in planned.chunks))


def _answer(
    record: ImportRecord, results: Sequence[RowResult], exceeded: Sequence[str]
) -> dict[str, Any]:
    """The answer in the order of submission; a row without a result was lost."""
    missing = Message(MessageId.COULD_NOT_BE_PROCESSED)
    result_by_index = {row.index: row for row in results}
    ordered = (
        result_by_index.get(index) or failed(index, (None,), missing)
        for index in range(record.rows)
    )
    return vendor_answer(record.batch, ordered, exceeded)


# Retries of authentication data need the rows in the body (docs/contracts.md#3), because the
# gateway has not stored their values.

NEEDS_ROWS = (
    'Authentication values are not kept: send the records that are to be retried as [{"index", '
    '"row"}, …], with all their values.'
)


class AuthdataRetrier:
    """A `Retrier` that takes all rows from the body."""

    def __init__(self, dependencies: Dependencies, staging: Staging) -> None:
        self._staging = staging
        self._intake = dependencies.intake
        self._reporting = dependencies.reporting
        self._offload = dependencies.offload
        self._limits = dependencies.limits

    async def retry(
        self,
        parent: ImportRecord,
        body: bytes,
        import_id: str,
        sender: Sender,
        reader: CorrectionsReader,
    ) -> ImportRecord:
        """Raises InvalidRequestError without rows, or for a row that did not fail."""
        rows: Mapping[int, RowText] = {}
        if body.strip():
            rows = await self._offload(len(body), reader, body, self._limits.max_rows)
        if not rows:
            raise InvalidRequestError(NEEDS_ROWS)
        failed = {
            row.index
            async for row in self._reporting.all_results(parent)
            if row.outcome is Outcome.FAILED and not is_erased(row)
        }
        check_indexes(rows, failed, await self._reporting.repaired_rows(parent))
        records = await self._read_corrections(parent.tenant, rows)
        planned = await self._offload(len(body), plan_records, parent.tenant, records, self._limits)
        draft = await self._intake.draft_retry(
            AUTHDATA, parent, rows, Origins((0,) * len(records)), planned, import_id, sender
        )
        draft = replace(draft, batch=parent.batch)
        check = partial(self._intake.check_not_erased, parent)
        return await self._intake.accept_planned(AUTHDATA, draft, planned, check)

    async def _read_corrections(self, tenant: str, rows: Mapping[int, RowText]) -> list[AuthRecord]:
        """The hashed records in the order of the parent's rows."""
        folded = [fold_names(json.loads(row.text)) for _, row in sorted(rows.items())]
        return await self._staging.read_rows(tenant, folded)
