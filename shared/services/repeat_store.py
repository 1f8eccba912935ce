"""Idempotency records as `repeats` reads and writes them: conditional writes, bodies packed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from shared.clock import Ids
from shared.errors import PreconditionFailedError
from shared.services.moments import iso
from shared.services.offload import Offload
from shared.storage import repeat_records as records
from shared.storage.blobs import ListedBlobs
from shared.storage.keys import encode
from shared.storage.names import IDEMPOTENCY, IDEMPOTENT_ANSWERS
from shared.storage.repeat_records import MAX_INLINE, KeptAnswer, RepeatRecord
from shared.storage.tables import Delete, Entity, Insert, Replace, Tables

_READ_AT_ONCE = 1_000


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

        A body whose blob is gone stays None.
        """
        entity = await self._tables.get(IDEMPOTENCY, *records.keys_of(tenant, key))
        if entity is None:
            return None
        record = records.from_entity(tenant, key, entity)
        if record.answer is None or not record.spilled:
            return record
        packed = await self._blobs.read(IDEMPOTENT_ANSWERS, record.spilled)
        if packed is None:
            return record
        body = await self._offload(len(packed), records.unpack_body, packed)
        return replace(record, answer=replace(record.answer, body=body))

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

    async def remove_before(self, tenant: str, moment: datetime) -> int:
        """Forget the tenant's keys that were first seen before then; how many those were.

        The blob goes first: a record that is left without it has expired all the same. Then blobs
        that nobody names: a call wrote them, and died before it could name them.
        """
        removed = await self._remove_records(tenant, iso(moment))
        for name in await self._blobs.names_before(IDEMPOTENT_ANSWERS, f"{tenant}/", moment):
            await self._blobs.delete(IDEMPOTENT_ANSWERS, name)
        return removed

    async def _remove_records(self, tenant: str, moment: str) -> int:
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
                if entity.text("CreatedAt") < moment:
                    removed += await self._removed(entity)
            if len(found) < _READ_AT_ONCE:
                return removed
            after = found[-1].row

    async def _removed(self, entity: Entity) -> int:
        if entity.text("Spilled"):
            await self._blobs.delete(IDEMPOTENT_ANSWERS, entity.text("Spilled"))
        try:
            await self._tables.write(IDEMPOTENCY, Delete(entity))
        except PreconditionFailedError:
            return 0
        return 1
