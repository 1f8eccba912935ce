"""The token endpoint behind HTTP: who asks, for which scopes, and the token (RFC 6749, 4.4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from shared import log
from shared.auth.client_lookups import ClientLookups
from shared.auth.client_secrets import SecretChecker
from shared.auth.clients import Client
from shared.auth.scopes import Scope
from shared.errors import TokenFault, TokenRefusedError

if TYPE_CHECKING:
    from shared.auth.local_tokens import LocalTokens

NO_SUCH_CLIENT = (
    "Client id and secret do not belong together, or the client was revoked: check both."
)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client sent; `scopes` is None where it asked for whatever it may have."""

    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token, the seconds that it lives, and its scopes."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: tuple[str, ...]


class TokenSource(Protocol):
    """An identity provider, as the token endpoint sees it."""

    async def exchange(
        self, client: Client, secret: str, scopes: frozenset[Scope]
    ) -> IssuedToken | None:
        """A token for the right secret, None for a wrong one."""


class LocalTokenSource:
    """The gateway as its own identity provider."""

    def __init__(self, tokens: LocalTokens, secrets: SecretChecker) -> None:
        self._tokens = tokens
        self._secrets = secrets

    async def exchange(
        self, client: Client, secret: str, scopes: frozenset[Scope]
    ) -> IssuedToken | None:
        """See `TokenSource`."""
        if not await self._secrets.is_right(client.secret_hash, secret):
            return None
        token = await self._tokens.issue(client, scopes)
        return IssuedToken(token, self._tokens.terms.lifetime, tuple(sorted(scopes)))


class TokenRequests:
    """Answers token requests; every refusal is a TokenRefusedError."""

    def __init__(self, clients: ClientLookups, source: TokenSource) -> None:
        self._clients = clients
        self._source = source

    async def grant(self, request: TokenRequest) -> IssuedToken:
        """The token. Raises TokenRefusedError, StorageUnavailableError.

        Who does not prove to be the client is not told which scopes it has.
        """
        client = await self._clients.find(request.client_id)
        if client is None:
            raise TokenRefusedError(NO_SUCH_CLIENT, TokenFault.INVALID_CLIENT)
        scopes = _granted(client, request.scopes)
        issued = await self._source.exchange(client, request.client_secret, scopes or client.scopes)
        if issued is None:
            raise TokenRefusedError(NO_SUCH_CLIENT, TokenFault.INVALID_CLIENT)
        if scopes is None:
            names = " ".join(sorted(client.scopes))
            raise TokenRefusedError(
                f"The client may ask for these scopes only: {names}.", TokenFault.INVALID_SCOPE
            )
        log.event("token.issued", tenant=client.tenant)
        return issued


def _granted(client: Client, wanted: Iterable[str] | None) -> frozenset[Scope] | None:
    """The scopes to grant; None where the client asked for one that it does not have."""
    if wanted is None:
        return client.scopes
    names = set(wanted)
    granted = frozenset(scope for scope in client.scopes if scope.value in names)
    return granted if len(granted) == len(names) and granted else None
