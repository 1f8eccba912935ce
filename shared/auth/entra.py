"""Tokens that Entra ID issued (identity provider `entra`), and the metadata to check them with.

The gateway reads the metadata of both token versions, since an application's registration decides
which version it gets (docs/platform.md#entra). The issuer of the older version is on another host,
and every national cloud has its own. All functions here block, so callers run them in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests

from shared import log
from shared.auth.bearer import (
    LEEWAY_SECONDS,
    TokenClaims,
    check_claim_types,
    key_id_of,
    token_refusals,
)
from shared.auth.clients import known_scopes, normal_client_id
from shared.clock import Clock
from shared.errors import BearerTokenError, IdentityProviderUnavailableError

ALGORITHM = "RS256"
_SECONDS = 10
_PASSED_ON = {"kty": "RSA", "use": "sig", "alg": ALGORITHM}

NewSession = Callable[[], requests.Session]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Issuers by version of the token, keys by their id."""

    issuers: Mapping[str, str]
    keys: Mapping[str, jwt.PyJWK]

    @property
    def jwks(self) -> list[dict[str, str]]:
        """The keys as JSON Web Keys, without the certificates that Entra adds."""
        algorithm = jwt.algorithms.RSAAlgorithm
        return [
            {**_PASSED_ON, "kid": kid, "n": numbers["n"], "e": numbers["e"]}
            for kid, key in self.keys.items()
            if (numbers := algorithm.to_jwk(key.key, as_dict=True))
        ]


class EntraAuthority:
    """A directory of Entra ID, or a stand-in with the same metadata."""

    def __init__(self, address: str, tenant: str, new_session: NewSession) -> None:
        self.address = f"{address}/{tenant}"
        self.tenant = tenant
        self._new_session = new_session

    def session(self) -> requests.Session:
        """Open a session with a timeout. Each task gets a new one, so that no cookie is kept."""
        session = self._new_session()
        session.request = partial(session.request, timeout=_SECONDS)  # type: ignore[method-assign]
        return session

    def read_metadata(self) -> Metadata:
        """Read the metadata and the keys. Raises IdentityProviderUnavailableError."""
        try:
            with self.session() as session:
                metadata = {
                    version: _get_json(
                        session, f"{self.address}{path}/.well-known/openid-configuration"
                    )
                    for version, path in (("1.0", ""), ("2.0", "/v2.0"))
                }
                addresses = dict.fromkeys(document["jwks_uri"] for document in metadata.values())
                key_sets = [_get_json(session, address)["keys"] for address in addresses]
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise IdentityProviderUnavailableError("the metadata cannot be read") from error
        keys = [
            key
            for key_set in key_sets
            for jwk in key_set
            if (key := _signature_key(jwk)) is not None
        ]
        return Metadata(
            issuers={version: str(document["issuer"]) for version, document in metadata.items()},
            keys={str(key.key_id): key for key in keys},
        )


def _get_json(session: requests.Session, address: str) -> dict[str, Any]:
    if urlsplit(address).scheme != "https":
        raise ValueError("an address that is not https")
    answer = session.get(address, allow_redirects=False)
    answer.raise_for_status()
    document = answer.json()
    if answer.status_code != requests.codes.ok or not isinstance(document, dict):
        raise ValueError("no document")
    return document


def _signature_key(jwk: Any) -> jwt.PyJWK | None:
    """Read a published key. Returns None for a key of another kind, which is ignored."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return None
    description = (jwk.get("kty"), jwk.get("use", "sig"), jwk.get("alg", ALGORITHM))
    if description != ("RSA", "sig", ALGORITHM):
        return None
    try:
        return jwt.PyJWK.from_dict({**jwk, "alg": ALGORITHM})
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


# Tokens that Entra ID issued to applications (identity provider `entra`).
#
# There are two token versions. The older one names its application in `appid`, the newer one in
# `azp`, and each has its own issuer (docs/platform.md#entra). The claim `roles` lists the scopes
# of the application. The gateway refuses tokens that Entra issued for a user.

# How long the gateway caches the metadata of Entra.
#
# It is read again every hour, and when a token names an unknown key, but then at most once a
# minute, so that made-up tokens cannot make the gateway flood Entra. If Entra does not answer, the
# cached metadata is used for up to a day.

REFRESH_SECONDS = 3_600.0
# The pause between two attempts for an unknown key.
PAUSE_SECONDS = 60.0
MOST_AGE_SECONDS = 86_400.0
# The pause between two attempts while no metadata has been read yet.
_FAILED_PAUSE_SECONDS = 5.0


class EntraKeys:
    """Caches issuers and keys for all calls; `read` fetches them in a thread."""

    def __init__(self, read: Callable[[], Metadata], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._known: Metadata | None = None
        self._known_at = 0.0
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """The cached metadata. Raises IdentityProviderUnavailableError if there is none."""
        if self._known is None:
            await self._refresh(_FAILED_PAUSE_SECONDS)
        elif self._age > REFRESH_SECONDS:
            await self._refresh(PAUSE_SECONDS)
        if self._known is None or self._age > MOST_AGE_SECONDS:
            raise IdentityProviderUnavailableError("the keys of Entra are not known")
        return self._known

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """Find the key of that id. The metadata is read again if it has no such key."""
        key = (await self.metadata()).keys.get(kid)
        if key is None:
            await self._refresh(PAUSE_SECONDS)
            key = (await self.metadata()).keys.get(kid)
        return key

    @property
    def _age(self) -> float:
        return self._clock.elapsed() - self._known_at

    async def _refresh(self, pause: float) -> None:
        """Read the metadata, unless the last attempt was less than `pause` seconds ago."""
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


# The claims that every token of an application has, in either version.
CLAIMS = ("iss", "aud", "sub", "tid", "ver", "iat", "nbf", "exp")
_TEXTS = ("iss", "aud", "sub", "tid")
_TIMES = ("iat", "nbf", "exp")
_MEDIA_TYPE = "jwt"
_APPLICATION_CLAIM = {"1.0": "appid", "2.0": "azp"}


class EntraTokens:
    """Reads the tokens of one directory that are issued for one of these audiences."""

    def __init__(self, keys: EntraKeys, tenant: str, audiences: tuple[str, ...]) -> None:
        self._keys = keys
        self._tenant = tenant
        self._audiences = audiences

    async def read(self, token: str) -> TokenClaims:
        """Read the claims. Raises BearerTokenError, IdentityProviderUnavailableError."""
        with token_refusals():
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
            return self._read_claims(claims, issuers)

    def _read_claims(self, claims: Mapping[str, Any], issuers: Mapping[str, str]) -> TokenClaims:
        check_claim_types(claims, _TEXTS, _TIMES)
        version = claims["ver"]
        if not isinstance(version, str) or version not in _APPLICATION_CLAIM:
            raise jwt.InvalidIssuerError("an unknown version")
        if claims["iss"] != issuers[version] or claims["tid"] != self._tenant:
            raise jwt.InvalidIssuerError("another version's, or of another directory")
        if "scp" in claims or claims.get("idtyp", "app") != "app":
            raise BearerTokenError(
                "The token belongs to a user: get one for the application, from /connect/token."
            )
        application, roles = claims.get(_APPLICATION_CLAIM[version], ""), claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise jwt.InvalidTokenError("roles is no list of texts")
        check_claim_types(claims, (_APPLICATION_CLAIM[version],), ())
        return TokenClaims(normal_client_id(application), known_scopes(roles))
