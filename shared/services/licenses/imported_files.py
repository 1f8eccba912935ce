"""Which contents a tenant has imported already (CONTRACTS 2, allowSameFile).

Every import notes the SHA-256 of its body and action before it is accepted:

    PartitionKey   tenant        RowKey   <sha-256>|<import id>        ClaimedAt   ISO text
                                          <sha-256>|                   the gate

Each note is written together with the gate. A call that must not be the same as another one reads
the notes first and passes the gate only as it was read, so of two calls at once the second one
finds the note of the first.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from shared.clock import Clock
from shared.errors import ConflictError, PreconditionFailedError, StorageUnavailableError
from shared.services.import_log import ImportLog
from shared.services.moments import age_of, iso
from shared.services.offload import to_thread_if_large
from shared.storage.keys import encode
from shared.storage.names import IMPORTED_FILES
from shared.storage.tables import Delete, Entity, Insert, Merge, Replace, Tables, Upsert

_ACCEPTED_WITHIN = timedelta(minutes=5)
"""A call that notes its content has its import by then, or is dead."""
_MOST_CONFLICTS = 50


class ImportedFiles:
    """The table `ImportedFiles`."""

    def __init__(self, tables: Tables, imports: ImportLog, clock: Clock) -> None:
        self._tables = tables
        self._imports = imports
        self._clock = clock

    async def note(
        self, tenant: str, action: str, body: bytes, import_id: str, *, allow_same: bool
    ) -> None:
        """Note the content of an import that is about to be accepted.

        Raises ConflictError, and notes nothing, where it must not be the same as that of an import
        which runs or ended without errors.
        """
        content = await _content(action, body)
        values = {"ClaimedAt": iso(self._clock.now())}
        note = Upsert(Entity(tenant, f"{content}|{encode(import_id)}", values))
        gate = Entity(tenant, f"{content}|", values)
        if allow_same:
            await self._tables.transact(IMPORTED_FILES, [note, Upsert(gate)])
            return
        for _ in range(_MOST_CONFLICTS):
            seen = await self._check(tenant, content, import_id)
            passed = Replace(replace(gate, etag=seen)) if seen else Insert(gate)
            with suppress(PreconditionFailedError):
                await self._tables.transact(IMPORTED_FILES, [note, passed])
                return
        raise StorageUnavailableError("the same content is imported by too many at once")

    async def check(self, tenant: str, action: str, body: bytes) -> None:
        """Note nothing, and raise ConflictError where an import must not have this content now."""
        await self._check(tenant, await _content(action, body), "")

    async def take_back(self, tenant: str, action: str, body: bytes, import_id: str) -> None:
        """Forget the note of an import that was not accepted, if storage lets us."""
        content = await _content(action, body)
        with suppress(StorageUnavailableError):
            await self.forget(Entity(tenant, f"{content}|{encode(import_id)}", {}))

    async def remove_before(self, tenant: str, before: datetime) -> int:
        """Forget what was noted before then; how many notes that were."""
        noted = await self._tables.query(IMPORTED_FILES, tenant)
        now = self._clock.now()
        for entity in noted:
            if age_of(entity.text("ClaimedAt"), now) is None:
                # A clock that was ahead: the note's time begins now.
                corrected = Entity(entity.partition, entity.row, {"ClaimedAt": iso(now)})
                with suppress(PreconditionFailedError):
                    await self._tables.write(IMPORTED_FILES, Merge(corrected))
        old = [entity for entity in noted if entity.text("ClaimedAt") < iso(before)]
        for entity in old:
            await self.forget(entity)
        return len(old)

    async def forget(self, entity: Entity) -> None:
        """Take a note back."""
        with suppress(PreconditionFailedError):
            await self._tables.write(
                IMPORTED_FILES, Delete(Entity(entity.partition, entity.row, {}))
            )

    async def _check(self, tenant: str, content: str, import_id: str) -> str:
        """The version of the gate. Raises ConflictError where an import stands in the way."""
        first, last = f"{content}|", f"{content}|~"
        seen = ""
        for noted in await self._tables.query(IMPORTED_FILES, tenant, first, last):
            other = noted.row.removeprefix(first)
            if not other:
                seen = noted.etag
            elif other != encode(import_id) and await self._stands(noted, other):
                raise ConflictError(
                    f"The same content was imported before, as import {other}: change it, or send "
                    "it with allowSameFile=true."
                )
        return seen

    async def _stands(self, noted: Entity, import_id: str) -> bool:
        """Whether it runs or is about to, or has ended without errors."""
        record = await self._imports.find(noted.partition, import_id)
        if record is None:
            age = age_of(noted.text("ClaimedAt"), self._clock.now())
            return age is not None and age < _ACCEPTED_WITHIN
        return record.is_open or not record.counts.failed


async def _content(action: str, body: bytes) -> str:
    return await to_thread_if_large(len(body), _digest, action, body)


def _digest(action: str, body: bytes) -> str:
    digest = hashlib.sha256(f"{action}\n".encode())
    digest.update(body)
    return digest.hexdigest()
