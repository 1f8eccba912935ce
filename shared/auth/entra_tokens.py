"""Tokens that Entra ID issued to applications (identity provider `entra`).

Of both versions: the older one names its application in `appid`, the newer one in `azp`, and each
has an issuer of its own (docs/platform.md#entra). What an application may do stands in `roles`. A
token that Entra issued for a user is none of an application, and is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from shared import log
from shared.auth.bearer import TokenClaims, check_claim_types, key_id_of, refusing_faults
from shared.auth.clients import known_scopes, normal_client_id
from shared.auth.entra import ALGORITHM, Metadata
from shared.auth.local_tokens import LEEWAY_SECONDS
from shared.clock import Clock
from shared.errors import BearerTokenError, IdentityProviderUnavailableError

# The metadata of Entra as a gateway remembers it.
#
# Read again every hour; a token that names an unknown key makes it read again too, but at most
# once a minute, so that made-up tokens cannot make the gateway flood Entra. Where Entra does not
# answer, what is remembered goes on counting for a day.

REFRESH_SECONDS = 3_600.0
# Between two attempts for an unknown key.
PAUSE_SECONDS = 60.0
MOST_AGE_SECONDS = 86_400.0
# Between two attempts where nothing is known yet.
_FAILED_PAUSE_SECONDS = 5.0


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


# Every claim that a token of an application has in either version.
CLAIMS = ("iss", "aud", "sub", "tid", "ver", "iat", "nbf", "exp")
_TEXTS = ("iss", "aud", "sub", "tid")
_TIMES = ("iat", "nbf", "exp")
_MEDIA_TYPE = "jwt"
_CALLER = {"1.0": "appid", "2.0": "azp"}


class EntraTokens:
    """Reads tokens of one directory for one of these audiences."""

    def __init__(self, keys: EntraKeys, tenant: str, audiences: tuple[str, ...]) -> None:
        self._keys = keys
        self._tenant = tenant
        self._audiences = audiences

    async def read(self, token: str) -> TokenClaims:
        """What a token says. Raises BearerTokenError, IdentityProviderUnavailableError."""
        with refusing_faults():
            key = await self._keys.find(key_id_of(token, ALGORITHM, _MEDIA_TYPE))
            if key is None:
                raise BearerTokenError(
                    "The token was signed with a key that Entra does not publish for this "
                    "directory: get a new one from /connect/token."
                )
            issuers = (await self._keys.metadata()).issuers
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[ALGORITHM],
                audience=self._audiences,
                issuer=list(issuers.values()),
                leeway=LEEWAY_SECONDS,
                options={"require": list(CLAIMS)},
            )
            return self._checked(claims, issuers)

    def _checked(self, claims: Mapping[str, Any], issuers: Mapping[str, str]) -> TokenClaims:
        check_claim_types(claims, _TEXTS, _TIMES)
        version = claims["ver"]
        if not isinstance(version, str) or version not in _CALLER:
            raise jwt.InvalidIssuerError("an unknown version")
        if claims["iss"] != issuers[version] or claims["tid"] != self._tenant:
            raise jwt.InvalidIssuerError("another version's, or of another directory")
        if "scp" in claims or claims.get("idtyp", "app") != "app":
            raise BearerTokenError(
                "The token belongs to a user: get one for the application, from /connect/token."
            )
        application, roles = claims.get(_CALLER[version], ""), claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise jwt.InvalidTokenError("roles is no list of texts")
        check_claim_types(claims, (_CALLER[version],), ())
        return TokenClaims(normal_client_id(application), known_scopes(roles))
