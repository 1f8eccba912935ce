"""Bearer tokens: the Authorization header of a call, and whose token it is.

A token with a right signature is not enough: its client is looked up, so that a revoked one stops
within seconds, and not only when its last token expires.
"""

from __future__ import annotations

import re

from shared.auth.caller import TokenCaller
from shared.auth.client_lookups import ClientLookups
from shared.auth.clients import Client
from shared.auth.token_faults import TokenClaims, TokenReader
from shared.errors import BearerTokenError

MOST_CHARACTERS = 16_384
"""Of the header; tokens of Entra with many roles have some thousands."""
_BEARER = re.compile(r"\s*bearer +([A-Za-z0-9_.=-]+)\s*", re.IGNORECASE)


class BearerAuthenticator:
    """Finds the caller of a bearer token."""

    def __init__(self, tokens: TokenReader, clients: ClientLookups) -> None:
        self._tokens = tokens
        self._clients = clients

    async def authenticate(self, authorization: str) -> TokenCaller:
        """The caller, by the value of its Authorization header. Raises BearerTokenError."""
        claims = await self._tokens.read(_token_in(authorization))
        client = await self._clients.find(claims.client_id)
        if client is None or not _is_of(claims, client):
            raise BearerTokenError(
                "The client of this token is not known, or was revoked: ask for a client."
            )
        return TokenCaller(client.tenant, client.client_id, claims.scopes & client.scopes)


def _token_in(authorization: str) -> str:
    found = None
    if len(authorization) <= MOST_CHARACTERS:
        found = _BEARER.fullmatch(authorization)
    if found is None:
        raise BearerTokenError(
            "Authorization must be `Bearer` and one token from /connect/token, or be left out."
        )
    return found[1]


def _is_of(claims: TokenClaims, client: Client) -> bool:
    """Whether the token was issued to this very client; see `shared.auth.clients`."""
    return claims.tenant in (None, client.tenant) and claims.registration in (
        None,
        client.registration,
    )
