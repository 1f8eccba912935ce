"""Idempotency-Key: one of all calls with a key does the work (docs/contracts.md#0).

The record of a key has states:

    (nothing) ──insert──▶ claimed ──the call has its answer──▶ answered ──keep_seconds──▶ (nothing)
                            │  ▲
                  refused:  │  └── take-over: the claim is older than `take_over_seconds`,
                  removed ◀─┘      or was released; the import id stays

The import id is in the record from the start. So a call that takes over, and a slow call that
continues nevertheless, can only make the same import, and the import of a crashed call is found by
that id. A call that finds the claim of another call waits for its answer. If the import ends first,
or the other call has crashed, it makes the answer itself. The answer that is stored first is the
answer of all calls.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
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
from shared.imports.authdata.hashing import HashKey
from shared.process_stop import ProcessStop
from shared.services.background import Completions, Offload, to_thread_if_large
from shared.storage import idempotency_records as records
from shared.storage.entities import encode, join_bytes
from shared.storage.idempotency_records import MAX_INLINE, IdempotencyRecord, KeptAnswer
from shared.storage.names import IDEMPOTENCY, IDEMPOTENT_ANSWERS, SIGNING_KEYS
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

# Reading and writing the records: conditional writes, compressed bodies.

_READ_AT_ONCE = 1_000
_READ_FEW = 20
UNREADABLE = (
    "The record of this Idempotency-Key cannot be read: check in /api/imports whether the call "
    "was accepted, and send it with a new key if it was not."
)


class IdempotencyStore:
    """The partition of each tenant in `Idempotency`, and the container of large answers.

    Every write raises PreconditionFailedError if the record has changed since it was read.
    """

    def __init__(self, tables: Tables, blobs: ListedBlobs, ids: Ids, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._ids = ids
        self._offload = offload

    async def insert(self, record: IdempotencyRecord) -> IdempotencyRecord:
        """Insert a record and return it as stored. Fails if the key has a record."""
        etag = await self._tables.write(IDEMPOTENCY, Insert(records.to_entity(record)))
        return replace(record, etag=etag)

    async def read(self, tenant: str, key: str) -> IdempotencyRecord | None:
        """The record of a key, with the body of its answer; None if there is none.

        A body whose blob is missing or broken stays None. Raises ConflictError for a record whose
        call or import cannot be read.
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
        """Replace the record as it was read. It has no answer yet."""
        etag = await self._tables.write(IDEMPOTENCY, Replace(records.to_entity(record)))
        return replace(record, etag=etag)

    async def renew(
        self, expired_record: IdempotencyRecord, record: IdempotencyRecord
    ) -> IdempotencyRecord:
        """Replace an expired record, and delete its blob."""
        stored_record = await self.replace(replace(record, etag=expired_record.etag))
        if expired_record.spilled:
            await self._blobs.delete(IDEMPOTENT_ANSWERS, expired_record.spilled)
        return stored_record

    async def keep(self, record: IdempotencyRecord, answer: KeptAnswer) -> None:
        """Store the answer in the record. A large body is first written to its own blob."""
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
        """Delete the record of the key."""
        await self._tables.write(IDEMPOTENCY, Delete(records.to_entity(record)))

    async def forget_bodies(
        self, tenant: str, is_of_person: Callable[[str, bytes], bool]
    ) -> AsyncIterator[str]:
        """Delete the bodies of the stored answers of which `is_of_person(import id, body)` is true;
        yields the row key of each.

        A repeated call is then refused with 410, so that nothing is done twice.
        """
        async for page in query_pages(
            self._tables, IDEMPOTENCY, encode(tenant), *records.KEYS, most=_READ_FEW
        ):
            for entity in page:
                body = await self._stored_body(entity)
                if body is None or not is_of_person(entity.text("ImportId"), body):
                    continue
                if entity.text("Spilled"):
                    await self._blobs.delete(IDEMPOTENT_ANSWERS, entity.text("Spilled"))
                try:
                    await self._tables.write(IDEMPOTENCY, Replace(records.without_body(entity)))
                except PreconditionFailedError:
                    continue  # the next pass looks at it again
                yield entity.row

    async def _stored_body(self, entity: Entity) -> bytes | None:
        packed: bytes | None = join_bytes("Body", entity.values)
        if entity.text("Spilled"):
            packed = await self._blobs.read(IDEMPOTENT_ANSWERS, entity.text("Spilled"))
        if not packed:
            return None
        try:
            return await self._offload(len(packed), records.unpack_body, packed)
        except UnreadableDataError:
            return packed

    async def remove_before(self, tenant: str, before: datetime, now: datetime) -> int:
        """Delete the tenant's records that were created before then; returns their number.

        The time of a record in the future, from a clock that was ahead, is corrected to now. The
        blob of a record is deleted before the record. Blobs without a record, whose call crashed
        before it could write the record, are deleted too.
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

    `fingerprints` are hashes of the call, one for each hash key. The first one is stored, and each
    of them is recognised.
    """

    tenant: str
    key: str
    fingerprints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The claim of a key, from the record as the call has read it.

    `is_mine`: this call does the work under `import_id`, and ends with `finish`, `remove` or
    `give_up` of `IdempotencyKeys`. Otherwise another call has the key, and `answer` is the answer
    of that call, or None while the key is only claimed.
    """

    record: IdempotencyRecord
    is_mine: bool

    @property
    def import_id(self) -> str:
        """The id of the import of the key."""
        return self.record.import_id

    @property
    def answer(self) -> KeptAnswer | None:
        """The stored answer."""
        return self.record.answer


class IdempotencyKeys:
    """Claims keys and stores answers, for endpoints whose caller sent an Idempotency-Key."""

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
        """Delete the tenant's records that were created before then; returns their number."""
        return await self._store.remove_before(tenant, before, self._clock.now())

    async def claim(self, call: KeyedCall) -> KeyClaim:
        """Claim the key for this call, or return the claim of another call.

        Raises KeyReusedError if the key belongs to another call, StorageUnavailableError.
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
        """Yield the claim of another call, now and after each pause, until it releases the key.

        An answer in this process ends a pause early.
        """
        pause = _FIRST_PAUSE
        current: IdempotencyRecord | None = claim.record
        with self._completions.listening(claim.import_id) as answer_event:
            while current is not None and current.import_id == claim.import_id:
                yield KeyClaim(current, is_mine=False)
                await self._stop.wait_with(answer_event, pause)
                pause = min(_LONGEST_PAUSE, pause * _GROWTH)
                current = await self._store.read(current.tenant, current.key)

    def make_timeout(self, seconds: float) -> Callable[[], bool]:
        """Make a function that is true after so many seconds, or when the process is stopping."""
        end = self._clock.elapsed() + seconds
        return lambda: self._clock.elapsed() >= end or self._stop.is_announced

    def is_abandoned(self, claim: KeyClaim) -> bool:
        """Whether the claim was released, or is so old that its call counts as crashed."""
        age = age_of(claim.record.claimed_at, self._clock.now())
        return age is None or age >= self._take_over_age

    async def take_over(self, claim: KeyClaim) -> KeyClaim | None:
        """Take over an abandoned claim; None if another call was faster.

        The call before may have completed any part of the work, or still be running. Existing data
        of the import id must be found, not written again.
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
        """Release the claim if the block raises any error other than a refusal."""
        try:
            yield
        except RefusedError:
            raise
        except (Exception, asyncio.CancelledError):
            await self.give_up(claim)
            raise

    async def remove(self, claim: KeyClaim) -> None:
        """Delete the record, unless this call has lost the claim already."""
        try:
            with storage_time(CLEAN_UP_SECONDS):
                await self._store.remove(claim.record)
        except PreconditionFailedError:
            return
        except StorageUnavailableError:
            self._release_later(claim.record)

    async def give_up(self, claim: KeyClaim) -> None:
        """Release the claim, so that the next call takes over with the same import id."""
        try:
            with storage_time(CLEAN_UP_SECONDS):
                await self._store.replace(replace(claim.record, claimed_at=""))
        except PreconditionFailedError:
            return
        except StorageUnavailableError:
            self._release_later(claim.record)

    def _release_later(self, claim: IdempotencyRecord) -> None:
        """Release a claim when storage answers. Until then it blocks other calls."""
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
        """Store the answer, and return the first stored answer, which is that of all calls.

        If storage fails, the caller still gets the answer, and the next call makes it again.
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


# The keys for hashes of call contents, so that a content cannot be guessed from its hash.
#
# An attacker could find a short body by hashing likely ones, even after its rows have been
# deleted. The keys of GATEWAY_AUTHDATA_KEYS are outside the storage account, so the hashes use
# the current one of them. If none is set, the gateway makes a key and stores it.

PARTITION, ROW = "fingerprints", "key"
_BYTES = 32
_TRIES = 5


class FingerprintKeys:
    """Finds the secrets. Makes the one in storage once, and caches it."""

    def __init__(self, tables: Tables, configured: Sequence[HashKey]) -> None:
        self._tables = tables
        self._configured = tuple(key.secret for key in configured)
        self._own_secret = b""

    async def secrets(self) -> tuple[bytes, ...]:
        """The secret to hash with, then the others to compare with.

        The others include the gateway's own key, for hashes from before GATEWAY_AUTHDATA_KEYS was
        set, and an empty one, for hashes of earlier versions, which had no key.
        Raises StorageUnavailableError.
        """
        if not self._own_secret:
            self._own_secret = await self._read_or_make()
        return (*self._configured, self._own_secret, b"")

    async def body_hash(self, body: bytes) -> str:
        """The hash of a body, to store. Imports of the same body have the same hash."""
        return await self.keyed(await to_thread_if_large(len(body), _sha256, body))

    async def keyed(self, digest: bytes) -> str:
        """The hash to store, of a content with this SHA-256."""
        if not self._configured and not self._own_secret:
            self._own_secret = await self._read_or_make()
        return hmac.digest((*self._configured, self._own_secret)[0], digest, "sha256").hex()

    async def body_hashes(self, body: bytes) -> tuple[str, ...]:
        """The hashes of a whole body: the one to store, then the others to search for."""
        keys = await self.secrets()
        digest = await to_thread_if_large(len(body), _sha256, body)
        keyed = [hmac.digest(key, digest, "sha256").hex() for key in keys if key]
        return (*keyed, digest.hex())

    async def _read_or_make(self) -> bytes:
        for _ in range(_TRIES):
            entity = await self._tables.get(SIGNING_KEYS, PARTITION, ROW)
            secret = b"" if entity is None else _decoded(entity.text("key"))
            if len(secret) == _BYTES:
                return secret
            text = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
            # A key that cannot be read is replaced, since its hashes are lost in any case.
            etag = "" if entity is None else entity.etag
            new_entity = Entity(PARTITION, ROW, {"key": text}, etag)
            # Another process may be faster, so the key is read again.
            with suppress(PreconditionFailedError):
                await self._tables.write(
                    SIGNING_KEYS, Insert(new_entity) if entity is None else Replace(new_entity)
                )
        raise ConflictError(
            "Other processes are changing the key for hashes of bodies: send the call again."
        )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
