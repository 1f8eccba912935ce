"""Which contents a tenant has imported already (CONTRACTS 2, allowSameFile).

Every import notes the SHA-256 of its body and action before it is accepted, so of two calls with
the same content at once the second one finds the first:

    PartitionKey   tenant        RowKey   <sha-256>|<import id>        ClaimedAt   ISO text
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime, timedelta

from shared.clock import Clock
from shared.errors import ConflictError, PreconditionFailedError
from shared.services.import_log import ImportLog
from shared.services.moments import from_iso, iso
from shared.storage.keys import encode
from shared.storage.names import IMPORTED_FILES
from shared.storage.tables import Delete, Entity, Tables, Upsert

_ACCEPTED_WITHIN = timedelta(minutes=5)
"""A call that notes its content has its import by then, or is dead."""


_BEHIND_ALL = "~"
"""In place of an import id: whoever noted the content was before."""


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
        content = _content(action, body)
        entity = Entity(tenant, f"{content}|{encode(import_id)}", {"ClaimedAt": self._now()})
        await self._tables.write(IMPORTED_FILES, Upsert(entity))
        if allow_same:
            return
        other = await self._same(entity, content)
        if other is not None:
            await self.forget(entity)
            raise _conflict(other)

    async def check(self, tenant: str, action: str, body: bytes) -> None:
        """Note nothing, and raise ConflictError where an import must not have this content now."""
        content = _content(action, body)
        other = await self._same(Entity(tenant, f"{content}|{_BEHIND_ALL}", {}), content)
        if other is not None:
            raise _conflict(other)

    async def remove_before(self, tenant: str, before: datetime) -> int:
        """Forget what was noted before then; how many notes that were."""
        noted = await self._tables.query(IMPORTED_FILES, tenant)
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

    async def _same(self, mine: Entity, content: str) -> str | None:
        """Another import of this content that stands in the way."""
        first, last = f"{content}|", f"{content}|~"
        for noted in await self._tables.query(IMPORTED_FILES, mine.partition, first, last):
            other = noted.row.removeprefix(first)
            if noted.row != mine.row and await self._stands(noted, other, mine.row > noted.row):
                return other
        return None

    async def _stands(self, noted: Entity, import_id: str, is_before_mine: bool) -> bool:
        """Whether it runs, or has ended without errors; of two that begin at once the first."""
        record = await self._imports.find(noted.partition, import_id)
        if record is None:
            age = self._clock.now() - from_iso(noted.text("ClaimedAt"))
            return is_before_mine and age < _ACCEPTED_WITHIN
        return record.is_open or not record.counts.failed

    def _now(self) -> str:
        return iso(self._clock.now())


def _content(action: str, body: bytes) -> str:
    return hashlib.sha256(f"{action}\n".encode() + body).hexdigest()


def _conflict(other: str) -> ConflictError:
    return ConflictError(
        f"The same content was imported before, as import {other}: change it, or send it "
        "with allowSameFile=true."
    )
