"""What the control calls have in common: refusals, and a gate that holds other calls back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class RefusedCallError(Exception):
    """A control call is refused. `errors` has a sentence for each thing that is wrong with it."""

    def __init__(self, status: int, message: str, errors: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = list(errors)


class Gate:
    """Lets calls of the app through, or holds them while a control call changes what they use."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._closing = asyncio.Lock()
        self._inside = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    async def wait_until_open(self) -> None:
        """Wait until a call may pass."""
        while not self._open.is_set():
            await self._open.wait()

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Pass when the gate is open, and keep others from changing anything during the block."""
        await self.wait_until_open()
        self._inside += 1
        self._is_empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._is_empty.set()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """No further call passes during the block; one block at a time."""
        async with self._closing:
            self._open.clear()
            try:
                await self._is_empty.wait()
                yield
            finally:
                self._open.set()
