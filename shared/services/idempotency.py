"""Idempotency-Key: of all calls with one key, one does the work (docs/contracts.md#0).

A record with states, written first, read second:

    (nothing) ──insert──▶ claimed ──the call has its answer──▶ answered ──keep_seconds──▶ (nothing)
                            │  ▲
                  refused:  │  └── take-over: the claim is older than `take_over_seconds`,
                  removed ◀─┘      or was given up; the import id stays

The import id is in the record from the start. So whoever takes over, and whoever was only slow and
goes on nevertheless, can only make the same import, and what a dead call had accepted is found by
that id. A call that meets a claim joins it: it waits for the answer, and where the import ends
first, or the claimant is dead, it makes the answer itself. The answer that gets into the record
first is the answer of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared import log
from shared.clock import Clock, Ids, age_of, to_iso
from shared.errors import (
    ConflictError,
    KeyReusedError,
    PreconditionFailedError,
    RefusedError,
    StorageUnavailableError,
    UnreadableDataError,
)
from shared.process_stop import ProcessStop
from shared.services.background import Offload
from shared.services.completions import Completions
from shared.storage import idempotency_records as records
from shared.storage.entities import encode
from shared.storage.idempotency_records import MAX_INLINE, IdempotencyRecord, KeptAnswer
from shared.storage.names import IDEMPOTENCY, IDEMPOTENT_ANSWERS
from shared.storage.ports import (
    Delete,
    Entity,
    Insert,
    ListedBlobs,
    Merge,
    Replace,
    Tables,
    query_pages,
)
from shared.storage_time import CALL_SECONDS, CLEAN_UP_SECONDS, storage_time, storage_time_now

# Idempotency records as `IdempotencyKeys` reads and writes them: conditional writes, bodies packed.

_READ_AT_ONCE = 1_000
UNREADABLE = (
    "The record of this Idempotency-Key cannot be read: check in /api/imports whether the call "
    "was accepted, and send it with a new key if it was not."
)


class IdempotencyStore:
    """The partition of each tenant in `Idempotency`, and the container of large answers.

    Every write raises PreconditionFailedError where the record is not as it was read.
    """

    def __init__(self, tables: Tables, blobs: ListedBlobs, ids: Ids, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._ids = ids
        self._offload = offload

    async def insert(self, record: IdempotencyRecord) -> IdempotencyRecord:
        """The record as it is now stored; fails where the key has one."""
        etag = await self._tables.write(IDEMPOTENCY, Insert(records.to_entity(record)))
        return replace(record, etag=etag)

    async def read(self, tenant: str, key: str) -> IdempotencyRecord | None:
        """The record of a key, with the body of its answer; None where there is none.

        A body whose blob is gone or broken stays None. Raises ConflictError for a record that does
        not say which call or import the key stands for.
        """
        entity = await self._tables.get(IDEMPOTENCY, *records.keys_of(tenant, key))
        if entity is None:
            return None
        try:
            record = records.from_entity(tenant, key, entity)
        except UnreadableDataError as error:
            log.failure("repeat.unreadable", error, tenant=tenant)
            raise ConflictError(UNREADABLE) from None
        if record.answer is None or not record.spilled:
            return record
        data = await self._blobs.read(IDEMPOTENT_ANSWERS, record.spilled)
        if data is None:
            return record
        with suppress(UnreadableDataError):
            body = await self._offload(len(data), records.unpack_body, data)
            return replace(record, answer=replace(record.answer, body=body))
        return record

    async def replace(self, record: IdempotencyRecord) -> IdempotencyRecord:
        """The record, which has no answer yet, in place of what was read."""
        etag = await self._tables.write(IDEMPOTENCY, Replace(records.to_entity(record)))
        return replace(record, etag=etag)

    async def renew(
        self, expired_record: IdempotencyRecord, record: IdempotencyRecord
    ) -> IdempotencyRecord:
        """The record in place of one that has had its time."""
        stored_record = await self.replace(replace(record, etag=expired_record.etag))
        if expired_record.spilled:
            await self._blobs.delete(IDEMPOTENT_ANSWERS, expired_record.spilled)
        return stored_record

    async def keep(self, record: IdempotencyRecord, answer: KeptAnswer) -> None:
        """Put the answer into the record; a large body goes to a blob of its own first."""
        body = await self._offload(len(answer.body or b""), records.pack_body, answer)
        blob_name = f"{record.tenant}/{self._ids.new()}" if len(body) > MAX_INLINE else ""
        if blob_name:
            await self._blobs.put(IDEMPOTENT_ANSWERS, blob_name, [body])
        updated = replace(record, answer=answer, spilled=blob_name)
        try:
            await self._tables.write(IDEMPOTENCY, Replace(records.to_entity(updated, body)))
        except PreconditionFailedError:
            if blob_name:
                await self._blobs.delete(IDEMPOTENT_ANSWERS, blob_name)
            raise

    async def remove(self, record: IdempotencyRecord) -> None:
        """Forget the key."""
        await self._tables.write(IDEMPOTENCY, Delete(records.to_entity(record)))

    async def remove_before(self, tenant: str, before: datetime, now: datetime) -> int:
        """Forget the tenant's keys that were first seen before then; how many those were.

        A key that a clock saw first which was ahead counts as first seen now.
        The blob goes first: a record that is left without it has expired all the same. Then blobs
        that nobody names: a call wrote them, and died before it could name them.
        """
        removed = await self._remove_records(tenant, to_iso(before), now)
        for name in await self._blobs.names_before(IDEMPOTENT_ANSWERS, f"{tenant}/", before):
            await self._blobs.delete(IDEMPOTENT_ANSWERS, name)
        return removed

    async def _remove_records(self, tenant: str, before: str, now: datetime) -> int:
        removed = 0
        async for page in query_pages(
            self._tables,
            IDEMPOTENCY,
            encode(tenant),
            *records.KEYS,
            select=records.EXPIRY_COLUMNS,
            most=_READ_AT_ONCE,
        ):
            for entity in page:
                if age_of(entity.text("CreatedAt"), now) is None:
                    corrected = Entity(
                        entity.partition, entity.row, {"CreatedAt": to_iso(now)}, entity.etag
                    )
                    with suppress(PreconditionFailedError):
                        await self._tables.write(IDEMPOTENCY, Merge(corrected))
                elif entity.text("CreatedAt") < before:
                    removed += await self._remove_record(entity)
        return removed

    async def _remove_record(self, entity: Entity) -> int:
        if entity.text("Spilled"):
            await self._blobs.delete(IDEMPOTENT_ANSWERS, entity.text("Spilled"))
        try:
            await self._tables.write(IDEMPOTENCY, Delete(entity))
        except PreconditionFailedError:
            return 0
        return 1


_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 2.0
_GROWTH = 1.5
_LONGEST_RELEASE_PAUSE = 15.0
_MOST_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class KeyedCall:
    """A call with an Idempotency-Key.

    `fingerprints` are hashes of what the key is bound to: the first one is stored, and each of
    them is recognised (several where hashes are keyed and keys are rotated).
    """

    tenant: str
    key: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """What a call knows of its key, from the record as the call has read it.

    `is_mine`: this call does the work under `import_id`, and ends with `finish`, `remove` or
    `give_up` of `IdempotencyKeys`. Else another call has the key, and `answer` is what that call
    was answered with; None while the key is only claimed.
    """

    record: IdempotencyRecord
    is_mine: bool

    @property
    def import_id(self) -> str:
        """The id of the one import that the key stands for."""
        return self.record.import_id

    @property
    def answer(self) -> KeptAnswer | None:
        """The answer that is kept."""
        return self.record.answer


class IdempotencyKeys:
    """What an import endpoint calls where the caller sent an Idempotency-Key."""

    def __init__(
        self,
        *,
        store: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        stop: ProcessStop,
        keep_seconds: float,
        take_over_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._stop = stop
        self._keep = timedelta(seconds=keep_seconds)
        self._take_over_age = timedelta(seconds=take_over_seconds)
        self._completions = Completions()
        self._release_tasks: set[asyncio.Task[None]] = set()

    async def expire(self, tenant: str, before: datetime) -> int:
        """Remove the tenant's records that were made before then; how many those were."""
        return await self._store.remove_before(tenant, before, self._clock.now())

    async def claim(self, call: KeyedCall) -> KeyClaim:
        """The key as this call's own, or as another call has it.

        Raises KeyReusedError where the key is bound to another call, StorageUnavailableError.
        """
        now, owner = to_iso(self._clock.now()), self._ids.new()
        new_record = IdempotencyRecord(
            call.tenant, call.key, call.fingerprints[0], self._ids.new(), owner, now, now
        )
        for _ in range(_MOST_CONFLICTS):
            try:
                return KeyClaim(await self._store.insert(new_record), is_mine=True)
            except PreconditionFailedError:
                pass
            except StorageUnavailableError:
                self._release_later(new_record)
                raise
            existing = await self._store.read(call.tenant, call.key)
            if existing is None:
                continue
            if existing.owner == owner:
                return KeyClaim(existing, is_mine=True)
            age = age_of(existing.created_at, self._clock.now())
            if age is not None and age >= self._keep:
                with suppress(PreconditionFailedError):
                    return KeyClaim(await self._store.renew(existing, new_record), is_mine=True)
                continue
            if existing.fingerprint not in call.fingerprints:
                raise KeyReusedError(
                    "This Idempotency-Key was sent with another call: send a new key, or the "
                    "same method, address, media type and content as before."
                )
            return KeyClaim(existing, is_mine=False)
        raise StorageUnavailableError("too many calls with one key at once")

    async def follow(self, claim: KeyClaim) -> AsyncGenerator[KeyClaim]:
        """The claim of another call, at once and after each pause, until it gives the key back.

        An answer in this process cuts a pause short.
        """
        pause = _FIRST_PAUSE
        current: IdempotencyRecord | None = claim.record
        with self._completions.listening(claim.import_id) as answer_event:
            while current is not None and current.import_id == claim.import_id:
                yield KeyClaim(current, is_mine=False)
                await self._stop.wait_with(answer_event, pause)
                pause = min(_LONGEST_PAUSE, pause * _GROWTH)
                current = await self._store.read(current.tenant, current.key)

    def patience(self, seconds: float) -> Callable[[], bool]:
        """Tells whether a call has waited so many seconds, or the process is about to stop."""
        end = self._clock.elapsed() + seconds
        return lambda: self._clock.elapsed() >= end or self._stop.is_announced

    def is_abandoned(self, claim: KeyClaim) -> bool:
        """Whether the claimant must be thought dead, or gave up."""
        age = age_of(claim.record.claimed_at, self._clock.now())
        return age is None or age >= self._take_over_age

    async def take_over(self, claim: KeyClaim) -> KeyClaim | None:
        """An abandoned claim as this call's own; None where another call was quicker.

        The call before may have got anywhere, even to the end, or still be at it: what is there
        under the import id must be found, not done again.
        """
        current = claim.record
        new_claim = replace(current, owner=self._ids.new(), claimed_at=to_iso(self._clock.now()))
        try:
            stored_record = await self._store.replace(new_claim)
        except PreconditionFailedError:
            existing = await self._store.read(current.tenant, current.key)
            if existing is None or existing.owner != new_claim.owner:
                return None
            stored_record = existing
        log.warning("repeat.taken_over", import_id=current.import_id, tenant=current.tenant)
        return KeyClaim(stored_record, is_mine=True)

    @asynccontextmanager
    async def working(self, claim: KeyClaim) -> AsyncIterator[None]:
        """The time in which the work is done: any error but a refusal gives the claim up."""
        try:
            yield
        except RefusedError:
            raise
        except (Exception, asyncio.CancelledError):
            await self.give_up(claim)
            raise

    async def remove(self, claim: KeyClaim) -> None:
        """Leave the key to the next call, unless this one has lost it already."""
        try:
            with storage_time(CLEAN_UP_SECONDS):
                await self._store.remove(claim.record)
        except PreconditionFailedError:
            return
        except StorageUnavailableError:
            self._release_later(claim.record)

    async def give_up(self, claim: KeyClaim) -> None:
        """Let the next call take over at once, under the same import id."""
        try:
            with storage_time(CLEAN_UP_SECONDS):
                await self._store.replace(replace(claim.record, claimed_at=""))
        except PreconditionFailedError:
            return
        except StorageUnavailableError:
            self._release_later(claim.record)

    def _release_later(self, claim: IdempotencyRecord) -> None:
        """Give a claim up as soon as storage answers: until then, or its take-over, it blocks."""
        task = asyncio.create_task(self._release(claim))
        self._release_tasks.add(task)
        task.add_done_callback(self._release_tasks.discard)

    async def _release(self, claim: IdempotencyRecord) -> None:
        pause, end = 1.0, self._clock.elapsed() + self._take_over_age.total_seconds()
        while self._clock.elapsed() < end:
            await asyncio.sleep(pause)
            pause = min(_LONGEST_RELEASE_PAUSE, pause * _GROWTH)
            try:
                with storage_time(CALL_SECONDS):
                    existing = await self._store.read(claim.tenant, claim.key)
                    if (
                        existing is not None
                        and existing.owner == claim.owner
                        and existing.answer is None
                    ):
                        await self._store.replace(replace(existing, claimed_at=""))
                    return
            except PreconditionFailedError:
                return
            except StorageUnavailableError:
                continue

    async def finish(self, claim: KeyClaim, answer: KeptAnswer) -> KeptAnswer:
        """Put the answer into the record; the one that is there first is the answer of all.

        A storage fault does not cost the caller the answer: the next call makes it again.
        """
        try:
            with storage_time(max(CLEAN_UP_SECONDS, storage_time_now().left)):
                final_answer = await self._store_answer(claim.record, answer)
        except Exception as error:
            log.failure("repeat.not_kept", error, import_id=claim.import_id)
            self._release_later(claim.record)
            return answer
        self._completions.announce(claim.import_id)
        return final_answer

    async def _store_answer(self, claim: IdempotencyRecord, answer: KeptAnswer) -> KeptAnswer:
        record = claim
        for _ in range(_MOST_CONFLICTS):
            try:
                await self._store.keep(record, answer)
                return answer
            except PreconditionFailedError:
                current = await self._store.read(claim.tenant, claim.key)
            if current is None or current.import_id != claim.import_id:
                return answer
            if current.answer is not None:
                return current.answer
            record = current
        return answer
