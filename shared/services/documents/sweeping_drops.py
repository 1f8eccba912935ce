"""The sweep of the drop container: what the blob trigger has missed is taken in all the same."""

from __future__ import annotations

from datetime import timedelta

from shared import log
from shared.clock import Clock
from shared.services.documents.drops import Drops
from shared.storage.document_blobs import DocumentBlobs

_MOST_AT_ONCE = 500


class DropSweep:
    """Takes in drops that have lain for `quiet_seconds`."""

    def __init__(
        self, files: DocumentBlobs, drops: Drops, clock: Clock, quiet_seconds: float
    ) -> None:
        self._files = files
        self._drops = drops
        self._clock = clock
        self._quiet = timedelta(seconds=quiet_seconds)

    async def run(self) -> None:
        """Look at the container once; a drop that cannot be taken in does not hold up the rest."""
        before = self._clock.now() - self._quiet
        for drop in await self._files.drops_before(before, _MOST_AT_ONCE):
            try:
                await self._drops.take_in(drop.name)
            except Exception as error:
                log.failure("drop.failed", error)
            else:
                log.warning("sweep.drop_taken_in")
