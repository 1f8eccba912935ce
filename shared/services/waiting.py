"""Waiting for an import to end: by news within the process, and by looking with growing pauses."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shared.clock import Clock
from shared.errors import StorageUnavailableError
from shared.process_stop import ProcessStop
from shared.services.completions import Completions
from shared.services.import_log import ImportLog
from shared.storage.import_records import ImportRecord
from shared.storage_time import storage_time_now

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 2.0
_GROWTH = 1.5
_SHORTEST_READ = 1.0


class Waiting:
    """What a call does between acceptance and its answer."""

    def __init__(
        self, imports: ImportLog, completions: Completions, clock: Clock, stop: ProcessStop
    ) -> None:
        self._stop = stop
        self._imports = imports
        self._completions = completions
        self._clock = clock

    async def until_ended(self, record: ImportRecord, seconds: float) -> bool:
        """Whether the import ended within so many seconds.

        A short storage fault is waited out: the import is accepted, and goes on by itself. Where
        storage does not answer for as long as a call waits for it, the wait is over. Where the end
        of the process is announced, the import is looked at once more and not waited for.
        """
        end = self._clock.elapsed() + seconds
        pause = _FIRST_PAUSE
        with self._completions.listening(record.import_id) as ended:
            while (left := end - self._clock.elapsed()) > 0 and storage_time_now().left > 0:
                await self._stop.wait_with(ended, min(pause, left))
                if self._stop.is_announced:
                    end = self._clock.elapsed()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(_SHORTEST_READ, end - self._clock.elapsed())):
                        if ended.is_set() or await self._has_ended(record):
                            return True
                pause = min(_LONGEST_PAUSE, pause * _GROWTH)
        return False

    async def _has_ended(self, record: ImportRecord) -> bool:
        try:
            current = await self._imports.read(record.tenant, record.number)
        except StorageUnavailableError:
            return False
        return current is not None and not current.is_open
