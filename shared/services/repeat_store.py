"""Idempotency records as `repeats` reads and writes them: conditional writes, bodies packed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from shared import log
from shared.clock import Ids
from shared.errors import ConflictError, PreconditionFailedError, UnreadableDataError
from shared.services.moments import age_of, iso
from shared.services.offload import Offload
from shared.storage import idempotency_records as records
from shared.storage.entities import encode
from shared.storage.idempotency_records import MAX_INLINE, KeptAnswer, RepeatRecord
from shared.storage.names import IDEMPOTENCY, IDEMPOTENT_ANSWERS
from shared.storage.ports import Delete, Entity, Insert, ListedBlobs, Merge, Replace, Tables

_READ_AT_ONCE = 1_000
UNREADABLE = (
    "What is kept of this Idempotency-Key cannot be read: look at /api/imports whether the call "
    "was accepted, and send it with a new key if it was not."
)


class RepeatStore:
    """The partition of each tenant in `Idempotency`, and the container of large answers.

    Every write raises PreconditionFailedError where the record is not as it was read.
    """

    def __init__(self, tables: Tables, blobs: ListedBlobs, ids: Ids, offload: Offload) -> None:
        self._tables = tables
        self._blobs = blobs
        self._ids = ids
        self._offload = offload

    async def insert(self, record: RepeatRecord) -> RepeatRecord:
        """The record as it is now stored; fails where the key has one."""
        etag = await self._tables.write(IDEMPOTENCY, Insert(records.to_entity(record)))
        return replace(record, etag=etag)

    async def read(self, tenant: str, key: str) -> RepeatRecord | None:
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
        packed = await self._blobs.read(IDEMPOTENT_ANSWERS, record.spilled)
        if packed is None:
            return record
        with suppress(UnreadableDataError):
            body = await self._offload(len(packed), records.unpack_body, packed)
            return replace(record, answer=replace(record.answer, body=body))
        return record

    async def replace(self, record: RepeatRecord) -> RepeatRecord:
        """The record, which has no answer yet, in place of what was read."""
        etag = await self._tables.write(IDEMPOTENCY, Replace(records.to_entity(record)))
        return replace(record, etag=etag)

    async def renew(self, expired: RepeatRecord, record: RepeatRecord) -> RepeatRecord:
        """The record in place of one that has had its time."""
        renewed = await self.replace(replace(record, etag=expired.etag))
        if expired.spilled:
            await self._blobs.delete(IDEMPOTENT_ANSWERS, expired.spilled)
        return renewed

    async def keep(self, record: RepeatRecord, answer: KeptAnswer) -> None:
        """Put the answer into the record; a large body goes to a blob of its own first."""
        packed = await self._offload(len(answer.body or b""), records.pack_body, answer)
        spilled = f"{record.tenant}/{self._ids.new()}" if len(packed) > MAX_INLINE else ""
        if spilled:
            await self._blobs.put(IDEMPOTENT_ANSWERS, spilled, [packed])
        answered = replace(record, answer=answer, spilled=spilled)
        try:
            await self._tables.write(IDEMPOTENCY, Replace(records.to_entity(answered, packed)))
        except PreconditionFailedError:
            if spilled:
                await self._blobs.delete(IDEMPOTENT_ANSWERS, spilled)
            raise

    async def remove(self, record: RepeatRecord) -> None:
        """Forget the key."""
        await self._tables.write(IDEMPOTENCY, Delete(records.to_entity(record)))

    async def remove_before(self, tenant: str, moment: datetime, now: datetime) -> int:
        """Forget the tenant's keys that were first seen before then; how many those were.

        A key that a clock saw first which was ahead counts as first seen now.
        The blob goes first: a record that is left without it has expired all the same. Then blobs
        that nobody names: a call wrote them, and died before it could name them.
        """
        removed = await self._remove_records(tenant, iso(moment), now)
        for name in await self._blobs.names_before(IDEMPOTENT_ANSWERS, f"{tenant}/", moment):
            await self._blobs.delete(IDEMPOTENT_ANSWERS, name)
        return removed

    async def _remove_records(self, tenant: str, moment: str, now: datetime) -> int:
        removed, after = 0, ""
        first, last = records.KEYS
        while True:
            found = await self._tables.query(
                IDEMPOTENCY,
                encode(tenant),
                first,
                last,
                after=after,
                select=records.EXPIRY_COLUMNS,
                most=_READ_AT_ONCE,
            )
            for entity in found:
                if age_of(entity.text("CreatedAt"), now) is None:
                    await self._correct_time(entity, now)
                elif entity.text("CreatedAt") < moment:
                    removed += await self._removed(entity)
            if len(found) < _READ_AT_ONCE:
                return removed
            after = found[-1].row

    async def _correct_time(self, entity: Entity, now: datetime) -> None:
        corrected = Entity(entity.partition, entity.row, {"CreatedAt": iso(now)}, entity.etag)
        with suppress(PreconditionFailedError):
            await self._tables.write(IDEMPOTENCY, Merge(corrected))

    async def _removed(self, entity: Entity) -> int:
        if entity.text("Spilled"):
            await self._blobs.delete(IDEMPOTENT_ANSWERS, entity.text("Spilled"))
        try:
            await self._tables.write(IDEMPOTENCY, Delete(entity))
        except PreconditionFailedError:
            return 0
        return 1
