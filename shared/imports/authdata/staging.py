"""Staging: a call's records are evaluated with their whole batch and appended to it.

See docs/contracts.md#3.

The service reads the batch, evaluates it with the new records, and writes it on its ETag. Where
another call has changed the batch, it starts again, so an answer always describes the batch that
the records are in.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared import log
from shared.auth.lookups import PARTITION, CachedLookups
from shared.clock import Clock, age_of, to_iso
from shared.errors import (
    ConflictError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    RefusedError,
    SettingsError,
    StagingUnknownError,
    StorageUnavailableError,
    TooLargeError,
    UnreadableDataError,
)
from shared.imports.authdata.answer import results_of, vendor_answer
from shared.imports.authdata.batch_records import Batch, BatchState, PartData
from shared.imports.authdata.hashing import Hasher
from shared.imports.authdata.model import (
    FIELDS,
    NO_FILE_LOG_ID,
    AuthRecord,
    BatchCall,
    Formats,
    PatternError,
    RecordReader,
    StoredEmployees,
    compile_pattern,
)
from shared.imports.authdata.rules import (
    BatchClassification,
    BatchOptions,
    Thresholds,
    classify,
    percent_text,
)
from shared.imports.authdata.store import BatchStore, Employees
from shared.imports.files.notes import noted_messages
from shared.services.admin.audit import Action, AuditLog
from shared.services.background import KeyedLocks
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Entity, Merge, Tables, reading, retry_on_conflict

if TYPE_CHECKING:
    # It loads pydantic, and this module is read while the app is indexed.
    from shared.dependencies import Dependencies

# A tenant's settings for its batches: thresholds, and formats of the fields.
#
# Both are texts in the tenant's record, so that an operator sees them as configured.

MAX_PERCENT = 1_000
# The batches of a list that are read at the same time.
_READ_AT_ONCE = 10
_NAMES = ("added", "updated", "errors")
_PERCENT = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?) ?%?")


@dataclass(frozen=True, slots=True)
class TenantRules:
    """Thresholds and formats of one tenant."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    formats: Formats = field(default_factory=Formats)


class TenantRuleBook:
    """Reads and changes the rules; a change takes effect within `cache_seconds`."""

    def __init__(
        self,
        tables: Tables,
        clock: Clock,
        cache_seconds: float,
        audit: AuditLog | None = None,
    ) -> None:
        self._tables = tables
        self._audit = audit or AuditLog(tables, clock)
        self._lookups: CachedLookups[TenantRules] = CachedLookups(self._read, clock, cache_seconds)

    async def for_tenant(self, tenant: str) -> TenantRules:
        """The rules of a tenant; those of an unknown one are empty."""
        return await self._lookups.get(tenant) or TenantRules()

    async def set_thresholds(self, tenant: str, changes: Mapping[str, str | None]) -> Thresholds:
        """Set the named thresholds (added, updated, errors), remove those that are None.

        Raises InvalidRequestError, NotFoundError.
        """
        values = {
            _property(name): "" if text is None else percent_text(_parse_percent(name, text))
            for name, text in changes.items()
        }
        stored = (await self._read_stored(tenant)).thresholds
        before = {name: _percent_or_none(getattr(stored, name)) for name in changes}
        after = {name: values[_property(name)] or None for name in changes}
        async with self._audit.act(tenant, Action.THRESHOLD_SET, {}, before=before, after=after):
            await self._merge(tenant, values)
        return (await self._read_stored(tenant)).thresholds

    async def set_formats(self, tenant: str, changes: Mapping[str, str | None]) -> Formats:
        """Set the regular expressions of the named fields, remove those that are None.

        Raises InvalidRequestError, NotFoundError.
        """
        stored = (await self._read_stored(tenant)).formats.patterns
        patterns = dict(stored)
        for name, pattern in changes.items():
            if pattern is None:
                patterns.pop(name, None)
            else:
                patterns[name] = _check_pattern(name, pattern)
        before = {name: stored.get(name) for name in changes}
        after = {name: patterns.get(name) for name in changes}
        async with self._audit.act(tenant, Action.FORMAT_SET, {}, before=before, after=after):
            await self._merge(tenant, {"authdataFormats": json.dumps(patterns)})
        return Formats(patterns)

    async def _merge(self, tenant: str, values: Mapping[str, str]) -> None:
        try:
            await self._tables.write(TENANTS, Merge(Entity(PARTITION, encode(tenant), values)))
        except PreconditionFailedError:
            raise NotFoundError(
                f"There is no tenant {tenant!r}; `tenant list` shows them all."
            ) from None

    async def _read_stored(self, tenant: str) -> TenantRules:
        """The stored rules without the cache; unreadable ones count as not set."""
        try:
            return await self._read(tenant) or TenantRules()
        except UnreadableDataError as error:
            log.failure("tenant_rules.unreadable", error, tenant=tenant)
            return TenantRules()

    async def _read(self, tenant: str) -> TenantRules | None:
        entity = await self._tables.get(TENANTS, PARTITION, encode(tenant))
        if entity is None:
            return None
        return _rules(entity)


@reading("thresholds or formats of the tenant")
def _rules(entity: Entity) -> TenantRules:
    """Raises UnreadableDataError, because a batch must not be processed without its thresholds."""
    texts = (entity.text(_property(name)) for name in _NAMES)
    added, updated, errors = (Decimal(text) if text else None for text in texts)
    patterns = json.loads(entity.text("authdataFormats", "{}"))
    if not all(isinstance(pattern, str) for pattern in patterns.values()):
        raise ValueError("a format is no text")
    return TenantRules(Thresholds(added, updated, errors), Formats(patterns))


def _property(name: str) -> str:
    return f"threshold{name.capitalize()}"


def _percent_or_none(percent: Decimal | None) -> str | None:
    return None if percent is None else percent_text(percent)


def _parse_percent(name: str, text: str) -> Decimal:
    error = InvalidRequestError(
        f"The threshold {name} must be a percentage from 0 to {MAX_PERCENT}, such as 5 or 2.5."
    )
    match = _PERCENT.fullmatch(text.strip())
    if match is None or Decimal(match[1]) > MAX_PERCENT:
        raise error
    return Decimal(match[1])


def _check_pattern(name: str, pattern: str) -> str:
    if name not in FIELDS:
        raise InvalidRequestError(f"There is no field {name!r}; name one of {', '.join(FIELDS)}.")
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise InvalidRequestError(f"The format of {name} {error}; correct it.") from None
    return pattern


_MAX_TRIES = 50
_MAX_PARTS = 5_000
_BYTES_PER_RECORD = 500

NO_SUCH_BATCH = (
    "There is no batch of this fileLogId: check the id, and that it is one of this tenant."
)
RECORDS_LOST = (
    "Records that were staged into this batch are lost, so it cannot be processed: stage all of "
    "them again, as a new batch."
)
EXPIRED = "The batch was not processed in time and has expired: stage its records again."


@dataclass(frozen=True, slots=True)
class StageResult:
    """The result of a stage call; `is_staged` where the batch waits for its Process call."""

    file_log_id: str
    answer: dict[str, Any]
    is_staged: bool


class Staging:
    """The calls before Process: stage and review."""

    def __init__(
        self,
        dependencies: Dependencies,
        batches: BatchStore,
        employees: Employees,
        rules: TenantRuleBook,
    ) -> None:
        self._batches = batches
        self._employees = employees
        self._rules = rules
        self._keys = dependencies.settings.authdata_keys
        self._clock = dependencies.clock
        self._offload = dependencies.offload
        self._max_rows = dependencies.limits.max_rows
        self._expiry = timedelta(seconds=dependencies.settings.batch_seconds)
        self._locks = KeyedLocks()

    async def stage(self, tenant: str, call: BatchCall, call_id: str) -> StageResult:
        """Evaluate the records of a call, and append them if the call commits.

        A repeated call with the same `call_id` appends its records only once. `call_id` is also the
        id of a new batch. Within a process the calls of a batch run one at a time.
        Raises ConflictError for a closed batch, TooLargeError, SettingsError without hash keys,
        StorageUnavailableError, and StagingUnknownError where the records may be stored.
        """
        rules = await self._rules.for_tenant(tenant)
        size = _BYTES_PER_RECORD * len(call.rows)
        records = await self._offload(size, self._read_all, tenant, call, rules.formats)
        append = _AppendAttempt(call, call_id, call.file_log_id or (call_id if call.commit else ""))
        try:
            async with self._locks.take(f"{tenant} {append.batch_id or call_id}"):
                return await self._append(tenant, append, records, rules)
        except RefusedError:
            # A blob that may be in a batch must not be deleted.
            if append.added is not None and not append.may_be_stored:
                await self._batches.discard(append.added)
            raise
        except StorageUnavailableError as error:
            if append.may_be_stored:
                raise StagingUnknownError(append.batch_id) from error
            raise

    @retry_on_conflict(
        _MAX_TRIES, lambda: StorageUnavailableError("too many calls append to this batch at once")
    )
    async def _append(
        self, tenant: str, append: _AppendAttempt, records: Sequence[AuthRecord], rules: TenantRules
    ) -> StageResult:
        batch = await self._read(tenant, append.batch_id) if append.batch_id else None
        batch = batch or self._new_batch(tenant, append.batch_id)
        is_done = batch.has_seen(append.id)
        if not is_done:
            batch = await self.expire_if_due(batch)
            self._check_open(batch, len(records))
        try:
            evaluated = await self._evaluate(_batch_before(batch, append.id), records, rules)
        except GoneError:
            await self.cancel_lost(batch)
            raise
        if is_done or not append.call.commit:
            is_staged = is_done and batch.closed_by != append.id
            return await self._stage_result(evaluated, append.batch_id or NO_FILE_LOG_ID, is_staged)
        if evaluated.classified.exceeded:
            return await self._cancel(batch, append, evaluated)
        if append.added is None:
            append.added = await self._batches.pack(tenant, append.id, records)
        try:
            await self._batches.append(batch, append.added, to_iso(self._clock.now()))
        except StorageUnavailableError:
            append.may_be_stored = True
            raise
        log.event("batch.appended", tenant=tenant, rows=len(records))
        return await self._stage_result(evaluated, batch.file_log_id, is_staged=True)

    async def review(self, batch: Batch) -> dict[str, Any]:
        """The answer to a whole staged batch, as Process would decide it now."""
        evaluated = await self.evaluate_batch(batch)
        return await self._offload(evaluated.size, evaluated.batch_answer, batch.file_log_id)

    async def evaluate_batch(self, batch: Batch) -> EvaluatedBatch:
        """Evaluate a whole batch as Process would decide it now."""
        return await self._evaluate(batch, [], await self._rules.for_tenant(batch.tenant))

    async def evaluate_call(self, tenant: str, call: BatchCall) -> EvaluatedBatch:
        """Evaluate a call with its batch without writing. Raises the same as `stage`."""
        rules = await self._rules.for_tenant(tenant)
        size = _BYTES_PER_RECORD * len(call.rows)
        records = await self._offload(size, self._read_all, tenant, call, rules.formats)
        file_log_id = call.file_log_id or ""
        batch = await self._read(tenant, file_log_id) if file_log_id else None
        batch = batch or self._new_batch(tenant, file_log_id)
        self._check_open(batch, len(records))
        return await self._evaluate(batch, records, rules)

    async def read_rows(self, tenant: str, rows: Sequence[Mapping[str, Any]]) -> list[AuthRecord]:
        """Hash rows in the clear, whose names are in lower case. Raises SettingsError."""
        rules = await self._rules.for_tenant(tenant)
        call = BatchCall(None, validate=True, allow_no_auth=False, commit=True, rows=rows)
        size = _BYTES_PER_RECORD * len(rows)
        return await self._offload(size, self._read_all, tenant, call, rules.formats)

    @retry_on_conflict(_MAX_TRIES, lambda: StorageUnavailableError("the batch keeps changing"))
    async def find(self, tenant: str, file_log_id: str) -> Batch:
        """The batch of that id; it expires here if it is due.

        Raises NotFoundError, and GoneError where it is unreadable.
        """
        batch = await self._read(tenant, file_log_id)
        if batch is None:
            raise NotFoundError(NO_SUCH_BATCH)
        return await self.expire_if_due(batch)

    async def page(self, tenant: str, after: str, since: str, most: int) -> tuple[list[Batch], str]:
        """At most `most` batches of a tenant, and the place to go on after; "" where all are read.

        A batch that is unreadable, or was removed meanwhile, is left out.
        """
        found = await self._batches.page_of_ids(tenant, after, since, most)
        batches: list[Batch] = []
        for start in range(0, len(found), _READ_AT_ONCE):
            read = (
                self._read_if_readable(tenant, file_log_id)
                for _, file_log_id in found[start : start + _READ_AT_ONCE]
            )
            batches += [batch for batch in await asyncio.gather(*read) if batch is not None]
        return batches, found[-1][0] if len(found) == most else ""

    async def _read_if_readable(self, tenant: str, file_log_id: str) -> Batch | None:
        with suppress(GoneError):
            batch = await self._read(tenant, file_log_id)
            if batch is not None and self.is_due(batch):
                return replace(batch, state=BatchState.EXPIRED)
            return batch
        return None

    async def cancel_lost(self, batch: Batch) -> None:
        """End a batch whose records are lost. Raises PreconditionFailedError if it has changed."""
        log.warning("batch.records_lost", tenant=batch.tenant, rows=batch.rows)
        if batch.state in (BatchState.STAGED, BatchState.PROCESSING):
            await self._batches.change(replace(batch, state=BatchState.CANCELLED, is_lost=True))

    async def _read(self, tenant: str, file_log_id: str) -> Batch | None:
        try:
            return await self._batches.read(tenant, file_log_id)
        except UnreadableDataError as error:
            log.failure("batch.unreadable", error, tenant=tenant)
            raise GoneError(RECORDS_LOST) from None

    async def expire_if_due(self, batch: Batch) -> Batch:
        """Expire the batch if it is due. Raises PreconditionFailedError where it has changed."""
        if not self.is_due(batch):
            return batch
        log.event("batch.expired", tenant=batch.tenant, rows=batch.rows)
        return await self._batches.change(replace(batch, state=BatchState.EXPIRED))

    def _new_batch(self, tenant: str, file_log_id: str) -> Batch:
        now = to_iso(self._clock.now())
        return Batch(tenant, file_log_id, opened_at=now, changed_at=now)

    def _read_all(self, tenant: str, call: BatchCall, formats: Formats) -> list[AuthRecord]:
        if not self._keys:
            raise SettingsError(
                ["GATEWAY_AUTHDATA_KEYS is not set: authentication data cannot be taken."]
            )
        reader = RecordReader(
            Hasher(self._keys, tenant),
            formats.compiled() if call.validate else {},
            allow_no_auth=call.allow_no_auth,
        )
        records = [reader.read(position, row) for position, row in enumerate(call.rows)]
        if not call.notes:
            return records
        return [
            replace(record, messages=noted_messages(record.messages, notes))
            for record, notes in zip(records, call.notes, strict=True)
        ]

    def is_due(self, batch: Batch) -> bool:
        """Whether a staged batch has waited too long for its Process call."""
        age = age_of(batch.changed_at, self._clock.now())
        is_old = age is not None and age >= self._expiry
        return batch.state is BatchState.STAGED and bool(batch.etag) and is_old

    def _check_open(self, batch: Batch, added: int) -> None:
        match BatchState.EXPIRED if self.is_due(batch) else batch.state:
            case BatchState.STAGED:
                pass
            case BatchState.EXPIRED:
                raise ConflictError(EXPIRED)
            case _ if batch.is_lost:
                raise GoneError(RECORDS_LOST)
            case _:
                state = batch.state.value
                raise ConflictError(
                    f"The batch of this fileLogId takes no more records ({state}): leave fileLogId "
                    "out, or send a new one."
                )
        if batch.rows + added > self._max_rows or len(batch.parts) >= _MAX_PARTS:
            raise TooLargeError(
                f"The batch would have {batch.rows + added} records from {len(batch.parts) + 1} "
                f"calls and the limits are {self._max_rows} and {_MAX_PARTS}: process it, and "
                "send the rest as another batch."
            )

    async def _evaluate(
        self, batch: Batch, records: Sequence[AuthRecord], rules: TenantRules
    ) -> EvaluatedBatch:
        """Raises GoneError where records of the batch are lost."""
        try:
            earlier_records = await self._batches.records(batch) if batch.parts else []
        except UnreadableDataError:
            raise GoneError(RECORDS_LOST) from None
        before = len(earlier_records)
        all_records = [
            *earlier_records,
            *(replace(record, position=before + record.position) for record in records),
        ]
        is_counted = rules.thresholds.needs_stored_count
        stored = await self._employees.load_for_records(
            batch.tenant, all_records, is_counted=is_counted
        )
        size = _BYTES_PER_RECORD * len(all_records)
        options = BatchOptions(rules.thresholds)
        classified = await self._offload(size, classify, all_records, stored, options)
        return EvaluatedBatch(classified, stored, before)

    async def _cancel(
        self, batch: Batch, append: _AppendAttempt, evaluated: EvaluatedBatch
    ) -> StageResult:
        """Answer a call that exceeds a threshold: stage nothing, and close a batch that has an id.

        Raises PreconditionFailedError where the batch has changed.
        """
        log.event("batch.cancelled", tenant=batch.tenant, rows=batch.rows)
        if append.call.file_log_id is None:
            return await self._stage_result(evaluated, NO_FILE_LOG_ID, is_staged=False)
        exceeded = evaluated.classified.exceeded
        await self._batches.change(
            replace(batch, state=BatchState.CANCELLED, exceeded=exceeded, closed_by=append.id)
        )
        return await self._stage_result(evaluated, batch.file_log_id, is_staged=False)

    async def _stage_result(
        self, evaluated: EvaluatedBatch, file_log_id: str, is_staged: bool
    ) -> StageResult:
        """The result of a call with its answer."""
        answer = await self._offload(evaluated.size, evaluated.answer, file_log_id)
        return StageResult(file_log_id, answer, is_staged)


@dataclass(slots=True)
class _AppendAttempt:
    """The attempts to append a call; `added` are its records, packed once.

    `may_be_stored` says that its records were sent to storage and the answer was lost.
    """

    call: BatchCall
    id: str
    batch_id: str
    added: PartData | None = None
    may_be_stored: bool = False


@dataclass(frozen=True, slots=True)
class EvaluatedBatch:
    """A classified batch with a call's records at its end, after `before` earlier records.

    `stored` are the stored employees that the batch concerns.
    """

    classified: BatchClassification
    stored: StoredEmployees
    before: int

    @property
    def size(self) -> int:
        """About the bytes of the batch."""
        return _BYTES_PER_RECORD * len(self.classified.classifications)

    def answer(self, file_log_id: str) -> dict[str, Any]:
        """The answer to the call."""
        results = results_of(self.classified)[self.before :]
        return vendor_answer(file_log_id, results, self.classified.exceeded, self.before)

    def batch_answer(self, file_log_id: str) -> dict[str, Any]:
        """The answer to the batch."""
        return vendor_answer(file_log_id, results_of(self.classified), self.classified.exceeded)


def _batch_before(batch: Batch, call_id: str) -> Batch:
    """The batch before a call, where that call is already appended."""
    ids = [part.id for part in batch.parts]
    return replace(batch, parts=batch.parts[: ids.index(call_id)]) if call_id in ids else batch


def refuse_expired(batch: Batch) -> None:
    """Raises GoneError where the records of a batch have expired, or are lost."""
    if batch.state is BatchState.EXPIRED:
        raise GoneError(EXPIRED)
    if batch.is_lost:
        raise GoneError(RECORDS_LOST)
