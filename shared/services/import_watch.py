"""Watching imports for their cancel flag and their end, once for all handlers of this process.

A handler asks before each commit. The flag is read when the last read is a second old, so rows that
are committed meanwhile stay. In a longer import it is read every five seconds, and less often, down
to every half minute, only where storage is so slow that few commits fall into that time: so the
reads are few beside the commits, however long an import takes.

While handlers commit and no chunk ends, the watch notes now and then that the import goes on. So
the sweep does not send messages again that handlers are still working on (docs/design.md#6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.clock import Clock, to_iso
from shared.services.import_log import ImportLog
from shared.services.row_processor import ImportCancelledError, SupersededError
from shared.storage.import_records import ImportFlags, ImportRecord

# Seconds between two reads, and the share of the time that the import has been watched.
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_SHARE = 0.25
# The pause where handlers have asked so often since the last read.
_USUAL_PAUSE = 5.0
_MANY_CHECKS = 24
# The part of the sweep's waiting time after which an import without a new result is noted.
_NOTED_EACH = 1 / 3


def longest_until_noticed(open_seconds: float) -> float:
    """The seconds after which every handler has seen the end of an import at its next commit.

    `open_seconds` is how long the import was open by then.
    """
    grown = open_seconds * _SHARE / (1 - _SHARE)
    return min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, grown))


class ImportWatch:
    """The imports that handlers of this process are working on."""

    def __init__(self, imports: ImportLog, clock: Clock, sweep_seconds: float) -> None:
        """`sweep_seconds` is how long the sweep waits for a sign of an import."""
        self._imports = imports
        self._clock = clock
        self._noted_each = sweep_seconds * _NOTED_EACH
        self._watched: dict[tuple[str, int], WatchedImport] = {}

    def note_cancelled(self, record: ImportRecord) -> None:
        """Stop the handlers of an import whose record was just read and is cancelled."""
        watched = self._watched.get((record.tenant, record.number))
        if watched is not None:
            watched.flags = ImportFlags(is_open=record.is_open, is_cancelled=True)

    @contextmanager
    def watching(self, record: ImportRecord) -> Iterator[WatchedImport]:
        """Watch an import that was just read, for as long as a handler works on it."""
        key = record.tenant, record.number
        now = self._clock.elapsed()
        watched = self._watched.get(key)
        if watched is None:
            watched = WatchedImport(self._imports, self._clock, record, self._noted_each, now)
            self._watched[key] = watched
        watched.read_at = max(watched.read_at, now)
        watched.handlers += 1
        try:
            yield watched
        finally:
            watched.handlers -= 1
            if not watched.handlers:
                del self._watched[key]


@dataclass(slots=True)
class WatchedImport:
    """What is known of one import. Times are of the process."""

    _imports: ImportLog
    _clock: Clock
    _record: ImportRecord
    _noted_each: float
    began_at: float
    read_at: float = 0.0
    noted_at: float = field(init=False)
    handlers: int = 0
    flags: ImportFlags | None = None
    _checks: int = 0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.noted_at = self.began_at

    async def check(self) -> None:
        """Raises ImportCancelledError, or SupersededError if the import has ended.

        Raises StorageUnavailableError.
        """
        self._checks += 1
        if self._is_due():
            # Who waits for the lock finds that the flag has been read meanwhile.
            async with self._reading:
                if self._is_due():
                    await self._read()
        if self.flags is None:
            return
        if self.flags.is_cancelled:
            raise ImportCancelledError
        if not self.flags.is_open:
            raise SupersededError

    def _is_due(self) -> bool:
        now = self._clock.elapsed()
        since_read = now - self.read_at
        pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, (now - self.began_at) * _SHARE))
        return since_read > pause or (since_read > _USUAL_PAUSE and self._checks >= _MANY_CHECKS)

    async def _read(self) -> None:
        now = self._clock.elapsed()
        if now - self.noted_at > self._noted_each:
            self.noted_at = now
            await self._imports.note_progress(self._record, to_iso(self._clock.now()))
        self.flags = await self._imports.flags_of(self._record)
        self.read_at = now
        self._checks = 0
