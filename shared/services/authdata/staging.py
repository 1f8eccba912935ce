"""Staging: what a call brings is judged with its whole batch and appended to it.

See docs/contracts.md#3.

The batch is read, judged with the new records, and written on its ETag; where another call was
quicker, all of that is done again, so an answer always tells of the batch that it went into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from shared import log
from shared.auth.lookups import CachedLookups
from shared.auth.tenant_lookups import PARTITION
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
from shared.imports.authdata.hashing import Hasher, HashKey
from shared.imports.authdata.model import (
    FIELDS,
    NO_FILE_LOG_ID,
    AuthRecord,
    BatchCall,
    Formats,
    RecordReader,
    Stored,
)
from shared.imports.authdata.patterns import PatternError, compile_pattern
from shared.imports.authdata.rules import (
    BatchOptions,
    Classified,
    Thresholds,
    classify,
    percent_text,
)
from shared.services.admin.audit import Action, AuditLog
from shared.services.authdata.store import BatchStore, Employees
from shared.services.background import KeyedLocks, Offload
from shared.storage.authdata_records import Batch, BatchState, PartData
from shared.storage.conflicts import retry_on_conflict
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Entity, Merge, Tables, reading

# What a tenant says about its batches: thresholds, and the formats of the fields.
#
# Both are properties of the tenant's record, as text, so that an operator sees what was
# configured.

MOST_PERCENT = 1_000
_NAMES = ("added", "updated", "errors")
_PERCENT = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4})?) ?%?")


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What holds for the batches of one tenant."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    formats: Formats = field(default_factory=Formats)


class TenantRuleBook:
    """Reads and changes the rules; a change is in force within `cache_seconds`."""

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

    async def of(self, tenant: str) -> TenantRules:
        """The rules of a tenant; those of an unknown one are empty."""
        return await self._lookups.get(tenant) or TenantRules()

    async def set_thresholds(self, tenant: str, changes: Mapping[str, str | None]) -> Thresholds:
        """Set the named thresholds (added, updated, errors), remove those that are None.

        Raises InvalidRequestError, NotFoundError.
        """
        values = {
            _property(name): "" if text is None else percent_text(_percent(name, text))
            for name, text in changes.items()
        }
        known = (await self._now(tenant)).thresholds
        before = {name: _percent_or_none(getattr(known, name)) for name in changes}
        after = {name: values[_property(name)] or None for name in changes}
        async with self._audit.act(tenant, Action.THRESHOLD_SET, {}, before=before, after=after):
            await self._merge(tenant, values)
        return (await self._now(tenant)).thresholds

    async def set_formats(self, tenant: str, changes: Mapping[str, str | None]) -> Formats:
        """Set the regular expressions of the named fields, remove those that are None.

        Raises InvalidRequestError, NotFoundError.
        """
        known = (await self._now(tenant)).formats.patterns
        patterns = dict(known)
        for name, pattern in changes.items():
            if pattern is None:
                patterns.pop(name, None)
            else:
                patterns[name] = _checked_pattern(name, pattern)
        before = {name: known.get(name) for name in changes}
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

    async def _now(self, tenant: str) -> TenantRules:
        """The rules as they are stored; those that cannot be read count as not set."""
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
    """Raises UnreadableDataError: without its thresholds a batch must not be processed."""
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


def _percent(name: str, text: str) -> Decimal:
    wrong = InvalidRequestError(
        f"The threshold {name} must be a percentage from 0 to {MOST_PERCENT}, such as 5 or 2.5."
    )
    match = _PERCENT.fullmatch(text.strip())
    if match is None or Decimal(match[1]) > MOST_PERCENT:
        raise wrong
    return Decimal(match[1])


def _checked_pattern(name: str, pattern: str) -> str:
    if name not in FIELDS:
        raise InvalidRequestError(f"There is no field {name!r}; name one of {', '.join(FIELDS)}.")
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise InvalidRequestError(f"The format of {name} {error}; correct it.") from None
    return pattern


_MOST_TRIES = 50
_MOST_PARTS = 5_000
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
class Staged:
    """What came of a stage call; `is_staged` where the batch waits for its Process call."""

    file_log_id: str
    answer: dict[str, Any]
    is_staged: bool


class Staging:
    """The use cases before Process: stage and review."""

    def __init__(
        self,
        *,
        batches: BatchStore,
        employees: Employees,
        rules: TenantRuleBook,
        keys: Sequence[HashKey],
        clock: Clock,
        offload: Offload,
        max_rows: int,
        batch_seconds: float,
    ) -> None:
        self._batches = batches
        self._employees = employees
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._offload = offload
        self._max_rows = max_rows
        self._patience = timedelta(seconds=batch_seconds)
        self._turns = KeyedLocks()

    async def stage(self, tenant: str, call: BatchCall, call_id: str) -> Staged:
        """Judge the records of a call, and append them where it commits.

        `call_id` makes the call once: the same call under the same id is in once. It is also the
        id of a new batch. Within a process the calls of a batch take turns.
        Raises ConflictError for a batch that takes no more, TooLargeError, SettingsError without
        hash keys, StorageUnavailableError, and StagingUnknownError where the records may be in.
        """
        rules = await self._rules.of(tenant)
        size = _BYTES_PER_RECORD * len(call.rows)
        records = await self._offload(size, self._read_all, tenant, call, rules.formats)
        append = _Append(call, call_id, call.file_log_id or (call_id if call.commit else ""))
        try:
            async with self._turns.take(f"{tenant} {append.batch_id or call_id}"):
                return await self._append(tenant, append, records, rules)
        except RefusedError:
            # What may have been appended is not taken away from its batch.
            if append.added is not None and not append.may_be_in:
                await self._batches.discard(append.added)
            raise
        except StorageUnavailableError as error:
            if append.may_be_in:
                raise StagingUnknownError(append.batch_id) from error
            raise

    @retry_on_conflict(
        _MOST_TRIES, lambda: StorageUnavailableError("too many calls append to this batch at once")
    )
    async def _append(
        self, tenant: str, append: _Append, records: Sequence[AuthRecord], rules: TenantRules
    ) -> Staged:
        batch = await self._read(tenant, append.batch_id) if append.batch_id else None
        batch = batch or self._new(tenant, append.batch_id)
        is_done = batch.has_seen(append.id)
        if not is_done:
            batch = await self.expire_if_due(batch)
            self._check_open(batch, len(records))
        try:
            judged = await self._judge(_before(batch, append.id), records, rules)
        except GoneError:
            await self.cancel_lost(batch)
            raise
        if is_done or not append.call.commit:
            is_staged = is_done and batch.closed_by != append.id
            return await self._staged(judged, append.batch_id or NO_FILE_LOG_ID, is_staged)
        if judged.classified.exceeded:
            return await self._cancel(batch, append, judged)
        if append.added is None:
            append.added = await self._batches.pack(tenant, append.id, records)
        try:
            await self._batches.append(batch, append.added, to_iso(self._clock.now()))
        except StorageUnavailableError:
            append.may_be_in = True
            raise
        log.event("batch.appended", tenant=tenant, rows=len(records))
        return await self._staged(judged, batch.file_log_id, is_staged=True)

    async def review(self, batch: Batch) -> dict[str, Any]:
        """The answer to a whole batch that is staged, as Process would decide it now."""
        judged = await self.judge_batch(batch)
        return await self._offload(judged.size, judged.whole, batch.file_log_id)

    async def judge_batch(self, batch: Batch) -> Judged:
        """A whole batch as Process would decide it now."""
        return await self._judge(batch, [], await self._rules.of(batch.tenant))

    async def judge_call(self, tenant: str, call: BatchCall) -> Judged:
        """A call with the batch that it would go into; nothing is written. Raises as `stage`."""
        rules = await self._rules.of(tenant)
        size = _BYTES_PER_RECORD * len(call.rows)
        records = await self._offload(size, self._read_all, tenant, call, rules.formats)
        file_log_id = call.file_log_id or ""
        batch = await self._read(tenant, file_log_id) if file_log_id else None
        batch = batch or self._new(tenant, file_log_id)
        self._check_open(batch, len(records))
        return await self._judge(batch, records, rules)

    async def read_rows(self, tenant: str, rows: Sequence[Mapping[str, Any]]) -> list[AuthRecord]:
        """Rows in the clear, names in lower case, as hashed records. Raises SettingsError."""
        rules = await self._rules.of(tenant)
        call = BatchCall(None, validate=True, allow_no_auth=False, commit=True, rows=rows)
        size = _BYTES_PER_RECORD * len(rows)
        return await self._offload(size, self._read_all, tenant, call, rules.formats)

    @retry_on_conflict(_MOST_TRIES, lambda: StorageUnavailableError("the batch keeps changing"))
    async def find(self, tenant: str, file_log_id: str) -> Batch:
        """The batch of that id, expired where its time is over.

        Raises NotFoundError, and GoneError where it cannot be read.
        """
        batch = await self._read(tenant, file_log_id)
        if batch is None:
            raise NotFoundError(NO_SUCH_BATCH)
        return await self.expire_if_due(batch)

    async def cancel_lost(self, batch: Batch) -> None:
        """End a batch whose records are lost. Raises PreconditionFailedError where it moved on."""
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
        """The batch as it now is. Raises PreconditionFailedError where it moved on."""
        if not self.is_due(batch):
            return batch
        log.event("batch.expired", tenant=batch.tenant, rows=batch.rows)
        return await self._batches.change(replace(batch, state=BatchState.EXPIRED))

    def _new(self, tenant: str, file_log_id: str) -> Batch:
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
        return [reader.read(at, row) for at, row in enumerate(call.rows)]

    def is_due(self, batch: Batch) -> bool:
        """Whether a staged batch has waited too long for its Process call."""
        age = age_of(batch.changed_at, self._clock.now())
        is_old = age is not None and age >= self._patience
        return batch.state is BatchState.STAGED and bool(batch.etag) and is_old

    def _check_open(self, batch: Batch, more: int) -> None:
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
        if batch.rows + more > self._max_rows or len(batch.parts) >= _MOST_PARTS:
            raise TooLargeError(
                f"The batch would have {batch.rows + more} records from {len(batch.parts) + 1} "
                f"calls and the limits are {self._max_rows} and {_MOST_PARTS}: process it, and "
                "send the rest as another batch."
            )

    async def _judge(
        self, batch: Batch, records: Sequence[AuthRecord], rules: TenantRules
    ) -> Judged:
        """Raises GoneError where records of the batch are lost."""
        try:
            earlier = await self._batches.records(batch) if batch.parts else []
        except UnreadableDataError:
            raise GoneError(RECORDS_LOST) from None
        before = len(earlier)
        every = [*earlier, *(replace(each, position=before + each.position) for each in records)]
        is_counted = rules.thresholds.ask_for_stored
        known = await self._employees.known_to(batch.tenant, every, is_counted=is_counted)
        size = _BYTES_PER_RECORD * len(every)
        options = BatchOptions(rules.thresholds)
        classified = await self._offload(size, classify, every, known, options)
        return Judged(classified, known, before)

    async def _cancel(self, batch: Batch, append: _Append, judged: Judged) -> Staged:
        """A threshold is exceeded: nothing is staged, and a batch that has an id is closed.

        Raises PreconditionFailedError where the batch moved on.
        """
        log.event("batch.cancelled", tenant=batch.tenant, rows=batch.rows)
        if append.call.file_log_id is None:
            return await self._staged(judged, NO_FILE_LOG_ID, is_staged=False)
        exceeded = judged.classified.exceeded
        await self._batches.change(
            replace(batch, state=BatchState.CANCELLED, exceeded=exceeded, closed_by=append.id)
        )
        return await self._staged(judged, batch.file_log_id, is_staged=False)

    async def _staged(self, judged: Judged, file_log_id: str, is_staged: bool) -> Staged:
        """What came of a call, with the answer to it."""
        answer = await self._offload(judged.size, judged.answer, file_log_id)
        return Staged(file_log_id, answer, is_staged)


@dataclass(slots=True)
class _Append:
    """A call on its way into its batch; `added` is what is packed of it, once.

    `may_be_in`: its records were sent to storage, and the answer was lost.
    """

    call: BatchCall
    id: str
    batch_id: str
    added: PartData | None = None
    may_be_in: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch with a call's records at its end; `before` of them were there already.

    `known` is what is stored of the employees that it touches.
    """

    classified: Classified
    known: Stored
    before: int

    @property
    def size(self) -> int:
        """About how many bytes there are to look at."""
        return _BYTES_PER_RECORD * len(self.classified.verdicts)

    def answer(self, file_log_id: str) -> dict[str, Any]:
        """The answer to the call."""
        results = results_of(self.classified)[self.before :]
        return vendor_answer(file_log_id, results, self.classified.exceeded, self.before)

    def whole(self, file_log_id: str) -> dict[str, Any]:
        """The answer to the batch."""
        return vendor_answer(file_log_id, results_of(self.classified), self.classified.exceeded)


def _before(batch: Batch, call_id: str) -> Batch:
    """The batch as it was before a call, where that call is in already."""
    ids = [part.id for part in batch.parts]
    return replace(batch, parts=batch.parts[: ids.index(call_id)]) if call_id in ids else batch


def refuse_expired(batch: Batch) -> None:
    """Raises GoneError where the records of a batch have expired, or are lost."""
    if batch.state is BatchState.EXPIRED:
        raise GoneError(EXPIRED)
    if batch.is_lost:
        raise GoneError(RECORDS_LOST)
