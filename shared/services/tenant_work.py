"""Which tenants have work for a timer, in one list: a column of the tenants' own entities.

A process writes the time into the column before it stores work of a tenant, but not again within a
few minutes. The timer asks only for the work of tenants that have a time there, and empties the
column where it has found no work for an hour. So a tenant without work costs no request.

    process   writes the time T, then stores work until T + 20 minutes
    timer     lists the tenants, looks for work, and empties the column as it was listed (by its
              ETag) if T is more than an hour ago: no process relies on T any more

Work of an earlier version has no time in the column, and an entity may have been restored from a
backup. So each run asks for the work of a few tenants without a time too, in turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.auth.lookups import PARTITION
from shared.clock import Clock, age_of, from_iso, to_iso
from shared.errors import PreconditionFailedError
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Entity, Merge, Tables

OPEN_IMPORTS: Final = "importsAt"
OPEN_BATCHES: Final = "batchesAt"
RETENTION: Final = "retentionAt"

_RELIED_ON = timedelta(minutes=20)
_KEPT = timedelta(hours=1)
_MOST_NOTED = 10_000
# Tenants without a time that each run asks too, and the time between two runs.
UNMARKED_PER_RUN: Final = 2
_TURN_SECONDS = 30


class WorkNotes:
    """Notes the work of tenants in one column."""

    def __init__(self, tables: Tables, column: str) -> None:
        self._tables = tables
        self._column = column
        self._noted: OrderedDict[str, str] = OrderedDict()

    async def note(self, tenant: str, at: str) -> None:
        """To be called before work of a tenant is stored. `at` is the present time, as ISO text.

        Raises StorageUnavailableError; then the work must not be stored.
        """
        noted_at = self._noted.get(tenant)
        if noted_at is not None and _time_between(noted_at, at) < _RELIED_ON:
            return
        # Without its entity the tenant has been erased, and what is stored for it goes too.
        with suppress(PreconditionFailedError):
            values = {self._column: at}
            await self._tables.write(TENANTS, Merge(Entity(PARTITION, encode(tenant), values)))
        self._noted[tenant] = at
        self._noted.move_to_end(tenant)
        if len(self._noted) > _MOST_NOTED:
            self._noted.popitem(last=False)

    def forget(self, tenant: str) -> None:
        """Let the next call note the tenant in any case."""
        self._noted.pop(tenant, None)


def _time_between(earlier: str, later: str) -> timedelta:
    """The time between the two; very long if they are not in order."""
    with suppress(ValueError, TypeError):
        between = from_iso(later) - from_iso(earlier)
        if between >= timedelta(0):
            return between
    return timedelta.max


@dataclass(frozen=True, slots=True)
class ListedTenant:
    """A tenant that may have work, and its entity as it was listed."""

    id: str
    entity: Entity


class WorkList:
    """Lists the tenants that may have work in one column, for a timer."""

    def __init__(
        self, tables: Tables, column: str, clock: Clock, unmarked_per_run: int = UNMARKED_PER_RUN
    ) -> None:
        self._tables = tables
        self._column = column
        self._clock = clock
        self._unmarked_per_run = unmarked_per_run

    async def tenants(self) -> Sequence[ListedTenant]:
        """The tenants with a time in the column, and in turn a few of the others."""
        listed = [
            ListedTenant(entity.row, entity)
            for entity in await self._tables.query(TENANTS, PARTITION)
        ]
        marked = [each for each in listed if each.entity.text(self._column)]
        others = [each for each in listed if not each.entity.text(self._column)]
        count = min(self._unmarked_per_run, len(others))
        turn = int(self._clock.now().timestamp()) // _TURN_SECONDS
        first = turn * count % len(others) if others else 0
        return marked + (others[first:] + others[:first])[:count]

    async def settle(self, listed: ListedTenant, *, has_work: bool) -> None:
        """Bring the column up to date, unless a process has noted new work since the list."""
        now = self._clock.now()
        text = listed.entity.text(self._column)
        age = age_of(text, now)
        if age is None and (has_work or text):
            # Never noted, unreadable, or of a clock that was ahead: its time begins now.
            value = to_iso(now)
        elif age is not None and age > _KEPT and not has_work:
            value = ""
        else:
            return
        entity = listed.entity
        with suppress(PreconditionFailedError):
            change = Entity(entity.partition, entity.row, {self._column: value}, entity.etag)
            await self._tables.write(TENANTS, Merge(change))
