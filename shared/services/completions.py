"""Events within one process for the end of an import, as a shortcut for a waiting call.

On some plans HTTP and queue functions run in different processes, so nothing depends on the events.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Completions:
    """The events of the calls that wait, by import id."""

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
        """Set the events of the calls that wait for the import."""
        for event in self._waiting.get(import_id, ()):
            event.set()
