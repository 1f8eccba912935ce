"""Taking turns within one process, where calls would only contend for one thing in storage.

Between processes the conditions of writes decide, as ever; turns save the tries that would be lost.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """A lock for each name, kept as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The lock of that name; it is fair, so the first to wait has the next turn."""
        return self._locks.setdefault(name, asyncio.Lock())
