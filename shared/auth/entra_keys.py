"""The metadata of Entra as a gateway remembers it.

Read again every hour; a token that names an unknown key makes it read again too, but at most once
a minute, so that made-up tokens cannot make the gateway flood Entra. Where Entra does not answer,
what is remembered goes on counting for a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import jwt

from shared import log
from shared.auth.entra_authority import Metadata
from shared.clock import Clock
from shared.errors import IdentityProviderUnavailableError

REFRESH_SECONDS = 3_600.0
PAUSE_SECONDS = 60.0
"""Between two attempts for an unknown key."""
MOST_AGE_SECONDS = 86_400.0
_FAILED_PAUSE_SECONDS = 5.0
"""Between two attempts where nothing is known yet."""


class EntraKeys:
    """Issuers and keys, fetched in a thread by `read` and shared by all calls."""

    def __init__(self, read: Callable[[], Metadata], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._known: Metadata | None = None
        self._known_at = 0.0
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """What is known. Raises IdentityProviderUnavailableError where nothing is."""
        if self._known is None:
            await self._try_again(_FAILED_PAUSE_SECONDS)
        elif self._age > REFRESH_SECONDS:
            await self._try_again(PAUSE_SECONDS)
        if self._known is None or self._age > MOST_AGE_SECONDS:
            raise IdentityProviderUnavailableError("the keys of Entra are not known")
        return self._known

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id; None where there is none, as far as is known."""
        found = (await self.metadata()).keys.get(kid)
        if found is None:
            await self._try_again(PAUSE_SECONDS)
            found = (await self.metadata()).keys.get(kid)
        return found

    @property
    def _age(self) -> float:
        return self._clock.elapsed() - self._known_at

    async def _try_again(self, pause: float) -> None:
        """Read, unless somebody did less than `pause` seconds ago; who waited for it has it too."""
        async with self._reading:
            now = self._clock.elapsed()
            if self._tried_at is not None and now - self._tried_at < pause:
                return
            self._tried_at = now
            try:
                self._known = await asyncio.to_thread(self._read)
                self._known_at = now
            except IdentityProviderUnavailableError as error:
                log.failure("entra.metadata_missing", error)
