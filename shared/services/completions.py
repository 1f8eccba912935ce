"""News within one process that an import has ended: a shortcut for the call that waits for it.

On some plans HTTP and queue functions live in different processes, so nothing depends on it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Completions:
    """Who waits for which import."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[asyncio.Event]] = defaultdict(list)

    @contextmanager
    def listening(self, import_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the import ends in this process."""
        event = asyncio.Event()
        self._waiting[import_id].append(event)
        try:
            yield event
        finally:
            self._waiting[import_id].remove(event)
            if not self._waiting[import_id]:
                del self._waiting[import_id]

    def announce(self, import_id: str) -> None:
        """Wake whoever waits for the import."""
        for event in self._waiting.get(import_id, ()):
            event.set()
