"""Retention: what has been kept long enough goes (DESIGN 6; CONTRACTS 5).

It is a list of small steps, each with a time of its own; whoever stores something that is not kept
for ever adds a step in `shared/composition/retention.py`. A step goes through one tenant at a time
and yields whenever something has gone, so that a run can stop between two things; what it leaves,
the next run finds. Every step can be repeated, and can be run by two processes at once.

The timer runs it every hour; each tenant has its turn once a day. `manage.py purge` runs it by
hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared import log
from shared.clock import Clock
from shared.errors import StorageUnavailableError
from shared.services.moments import from_iso, iso
from shared.storage.names import IMPORTS
from shared.storage.tables import Entity, Tables, Upsert

Expire = Callable[[str, datetime], AsyncIterator[int]]
"""expire(tenant, before): lets go what has had its time before that moment; yields how many things
have gone since it yielded last.
"""

_MARK = "retention"
"""Row key, in the tenant's partition of `Imports`, of the entity that says when it had its turn."""
_EVERY = timedelta(hours=23)
"""A little under a day, or a tenant's hour would move on."""
_SECONDS = 240.0
"""How long a run of the timer goes on: some plans of the platform give a function five minutes."""


@dataclass(frozen=True, slots=True)
class RetentionStep:
    """One kind of thing that goes after its time.

    `name` is what `manage.py purge` calls it. `least` is how long it is kept whatever a purge by
    hand asks for: what may belong to a call that is still running.
    """

    name: str
    keep: timedelta
    expire: Expire
    least: timedelta = timedelta(0)


def counted(expire: Callable[[str, datetime], Awaitable[int]]) -> Expire:
    """A step's `expire` from a function that does it in one go and returns how many went."""

    async def steps(tenant: str, before: datetime) -> AsyncIterator[int]:
        yield await expire(tenant, before)

    return steps


class Retention:
    """Runs the steps. `tenants` lists the ids of all tenants."""

    def __init__(
        self,
        steps: Sequence[RetentionStep],
        tables: Tables,
        clock: Clock,
        tenants: Callable[[], Awaitable[list[str]]],
        seconds: float = _SECONDS,
    ) -> None:
        self._steps = steps
        self._tables = tables
        self._clock = clock
        self._tenants = tenants
        self._seconds = seconds

    async def run(self) -> None:
        """Give every tenant that has not had one today its turn, while there is time."""
        end = self._clock.elapsed() + self._seconds
        for tenant in await self._tenants():
            if not await self._is_due(tenant):
                continue
            for step in self._steps:
                went = await self._run_step(step, tenant, step.keep, end)
                if went is None:
                    return
                if went:
                    log.event("retention.expired", tenant=tenant, step=step.name, done=went)
            await self._note_turn(tenant)

    async def purge(self, tenants: Sequence[str], keep: timedelta | None) -> dict[str, int]:
        """Run every step for these tenants now; how many things went, by the name of the step.

        `keep` takes the place of the times of the settings. Raises StorageUnavailableError.
        """
        went: Counter[str] = Counter({step.name: 0 for step in self._steps})
        for tenant in tenants:
            for step in self._steps:
                time = step.keep if keep is None else max(keep, step.least)
                went[step.name] += await self._run_step(step, tenant, time, None) or 0
        return dict(went)

    async def _run_step(
        self, step: RetentionStep, tenant: str, keep: timedelta, end: float | None
    ) -> int | None:
        """How many things went; None where the time is up. One step's fault stops no other."""
        went = 0
        try:
            async for some in step.expire(tenant, self._clock.now() - keep):
                went += some
                if end is not None and self._clock.elapsed() > end:
                    return None
        except StorageUnavailableError:
            raise
        except Exception as error:
            log.failure("retention.failed", error, tenant=tenant, step=step.name)
        return went

    async def _is_due(self, tenant: str) -> bool:
        mark = await self._tables.get(IMPORTS, tenant, _MARK)
        return mark is None or self._clock.now() - from_iso(mark.text("At")) >= _EVERY

    async def _note_turn(self, tenant: str) -> None:
        mark = Entity(tenant, _MARK, {"At": iso(self._clock.now())})
        await self._tables.write(IMPORTS, Upsert(mark))
