"""Token requests with client credentials (RFC 6749, 4.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from shared import log
from shared.auth.clients import Client, ClientLookups, Scope, SecretChecker, may_match_any
from shared.auth.lookups import TenantLookups, disabled_message
from shared.auth.stored_keys import StoredKey
from shared.clock import Clock, SystemClock
from shared.errors import TokenFault, TokenRefusedError

if TYPE_CHECKING:
    from shared.auth.local_tokens import LocalTokens

EXPIRED = "The secret of this client has expired: send the new one, or ask for one."
NO_SUCH_CLIENT = "Client id and secret do not match, or the client was revoked: check both."


@dataclass(frozen=True, slots=True)
class Credentials:
    """One reading of the credentials that a client sent."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request. `scopes` is None if the client asked for all scopes that it has.

    A header does not show whether its client encodes id and secret. If that makes a difference,
    `other_readings` are the less likely readings of the same header.
    """

    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] | None
    other_readings: tuple[Credentials, ...] = ()

    @property
    def readings(self) -> tuple[Credentials, ...]:
        """Every reading of the credentials, the most likely one first."""
        return (Credentials(self.client_id, self.client_secret), *self.other_readings)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token, its lifetime in seconds, and its scopes."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: tuple[str, ...]


# A client, or None for an unknown id, and the secret that was sent with that id.
ClientClaim = tuple[Client | None, str]


class TokenSource(Protocol):
    """The part of an identity provider that issues tokens."""

    def choose(self, claims: Sequence[ClientClaim]) -> tuple[Client, str] | None:
        """The claim to request a token for; None if no claim can be right.

        An unknown client of the gateway's own takes as much time as a known one, so that the time
        of a refusal does not show which ids are in use. Entra's application ids are no secret.
        """

    async def exchange(
        self, client: Client, secret: str, scopes: frozenset[Scope]
    ) -> IssuedToken | None:
        """Issue a token for the right secret; None for a wrong one."""


class LocalTokenSource:
    """The gateway as its own identity provider."""

    def __init__(
        self,
        tokens: LocalTokens,
        secrets: SecretChecker,
        clock: Clock | None = None,
        note_use: Callable[[Client, StoredKey], None] = lambda _client, _secret: None,
    ) -> None:
        """`note_use` is called for each token, and returns at once."""
        self._tokens = tokens
        self._secrets = secrets
        self._clock = clock or SystemClock()
        self._note_use = note_use

    def choose(self, claims: Sequence[ClientClaim]) -> tuple[Client, str] | None:
        """See `TokenSource`. The quick hash chooses, so at most one slow hash is computed."""
        choice = None
        for client, secret in claims:
            is_likely = may_match_any(client.secrets if client else (), secret)
            if is_likely and client is not None and choice is None:
                choice = client, secret
        return choice

    async def exchange(
        self, client: Client, secret: str, scopes: frozenset[Scope]
    ) -> IssuedToken | None:
        """See `TokenSource`. Raises TokenRefusedError for a secret that has expired."""
        stored = await self._secrets.find(client.secrets, secret)
        if stored is None:
            return None
        if stored.has_expired(self._clock.now()):
            raise TokenRefusedError(EXPIRED, TokenFault.INVALID_CLIENT)
        token = await self._tokens.issue(client, scopes, stored)
        self._note_use(client, stored)
        return IssuedToken(token, self._tokens.lifetime(stored), tuple(sorted(scopes)))


class TokenRequests:
    """Answers token requests. Every refusal is a TokenRefusedError."""

    def __init__(self, clients: ClientLookups, source: TokenSource, tenants: TenantLookups) -> None:
        self._clients = clients
        self._source = source
        self._tenants = tenants

    async def grant(self, request: TokenRequest) -> IssuedToken:
        """Issue a token. Raises TokenRefusedError, StorageUnavailableError.

        Callers without the right secret do not learn the scopes of a client, or that its tenant is
        disabled.
        """
        readings = request.readings
        clients = await asyncio.gather(*(self._clients.read(each.client_id) for each in readings))
        secrets = [each.client_secret for each in readings]
        choice = self._source.choose(list(zip(clients, secrets, strict=True)))
        if choice is None:
            raise TokenRefusedError(NO_SUCH_CLIENT, TokenFault.INVALID_CLIENT)
        client, secret = choice
        scopes = _scopes_to_grant(client, request.scopes)
        token = await self._source.exchange(client, secret, scopes or client.scopes)
        if token is None:
            raise TokenRefusedError(NO_SUCH_CLIENT, TokenFault.INVALID_CLIENT)
        if await self._tenants.is_disabled(client.tenant):
            raise TokenRefusedError(disabled_message(client.tenant), TokenFault.UNAUTHORIZED_CLIENT)
        if scopes is None:
            names = " ".join(sorted(client.scopes))
            raise TokenRefusedError(
                f"The client may ask for these scopes only: {names}.", TokenFault.INVALID_SCOPE
            )
        log.event("token.issued", tenant=client.tenant)
        return token


def _scopes_to_grant(client: Client, requested: Iterable[str] | None) -> frozenset[Scope] | None:
    """The scopes to grant; None if the client asked for one that it does not have."""
    if requested is None:
        return client.scopes
    names = set(requested)
    scopes = frozenset(scope for scope in client.scopes if scope.value in names)
    return scopes if len(scopes) == len(names) and scopes else None
