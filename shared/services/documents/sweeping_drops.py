"""The sweep of the drop container: what the blob trigger has missed is taken in all the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import chain, zip_longest

from shared import log
from shared.clock import Clock
from shared.errors import GatewayError
from shared.imports.documents.drop_paths import plain_name
from shared.services.documents.drops import Drops
from shared.storage.document_blobs import DocumentBlobs, Drop

_MOST_IN_A_TURN = 500
_MOST_LISTED = 20_000
_AT_ONCE = 8
_SECONDS_PER_SWEPT_DROP = 60
_LONGEST_WAIT = timedelta(seconds=60)
"""After this time without a change a drop is taken in also while a lease is held on it."""


class DropSweep:
    """Takes in drops that have lain for `quiet_seconds`, at most a minute."""

    def __init__(
        self,
        files: DocumentBlobs,
        drops: Drops,
        clock: Clock,
        quiet_seconds: float,
        tenants: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._files = files
        self._drops = drops
        self._clock = clock
        self._quiet = min(timedelta(seconds=quiet_seconds), _LONGEST_WAIT)
        self._tenants = tenants
        self._turn = 0

    async def run(self) -> None:
        """Look at the container once; a drop that cannot be taken in does not hold up the rest."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def take_in(drop: Drop) -> None:
            async with free:
                await self._take_in(drop)

        drops = drops_of_turn(await self._found(), self._turn)
        self._turn += 1
        await asyncio.gather(*(take_in(drop) for drop in drops))

    async def _take_in(self, drop: Drop) -> None:
        try:
            async with asyncio.timeout(_SECONDS_PER_SWEPT_DROP):
                await self._drops.take_in(drop.name)
        except Exception as error:
            log.failure("drop.failed", error, drop=plain_name(drop.name))
        else:
            log.warning("sweep.drop_taken_in", drop=plain_name(drop.name))

    async def _found(self) -> list[Drop]:
        try:
            return await self._list("")
        except GatewayError as error:
            log.failure("sweep.drops_not_listed", error)
        # A list that fails as a whole may be readable in parts (an emulator fails on names that XML
        # cannot hold), so that the drops of one tenant do not hold up those of the others.
        found: list[Drop] = []
        for tenant in await self._tenants():
            try:
                found += await self._list(f"{tenant}/")
            except GatewayError as error:
                log.failure("sweep.drops_not_listed", error, tenant=tenant)
        return found

    async def _list(self, prefix: str) -> list[Drop]:
        now = self._clock.now()
        drops: list[Drop] = []
        async for drop in self._files.drops_before(now - self._quiet, prefix):
            if not drop.is_leased or drop.changed_at <= now - _LONGEST_WAIT:
                drops.append(drop)
            if len(drops) == _MOST_LISTED:
                break
        return drops


def drops_of_turn(drops: Sequence[Drop], turn: int) -> list[Drop]:
    """The drops of the turn of this number, of each tenant one after another.

    Each turn begins where the last one ended, so that drops that fail every time do not keep the
    same others out of every turn.
    """
    by_tenant: dict[str, list[Drop]] = defaultdict(list)
    for drop in drops:
        by_tenant[drop.name.partition("/")[0]].append(drop)
    share = max(1, _MOST_IN_A_TURN // max(1, len(by_tenant)))
    for its_drops in by_tenant.values():
        first = turn * share % len(its_drops)
        its_drops[:] = its_drops[first:] + its_drops[:first]
    turns = chain.from_iterable(zip_longest(*by_tenant.values()))
    return [drop for drop in turns if drop is not None][:_MOST_IN_A_TURN]
