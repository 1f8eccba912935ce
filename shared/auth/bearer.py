"""Bearer tokens: the Authorization header of a call, and whose token it is.

A token with a right signature is not enough: its client is looked up, so that a revoked one stops
within seconds, and not only when its last token expires.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from shared.auth.callers import TokenCaller
from shared.auth.clients import Client, ClientLookups, Scope
from shared.errors import BearerTokenError, ExpiredTokenError

# What a read token says, and what callers are told of one that does not count.

# Seconds: no time that an issuer sets is beyond it (the year 5138).
_FAR_OFF = 10**11
NOT_VALID = "The token is not valid here: get one from /connect/token of this gateway."
_SENTENCES: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired: get a new one from /connect/token."),
    (
        jwt.ImmatureSignatureError,
        "The token is of a time to come: set the clock of the machine that issued it.",
    ),
    (
        jwt.InvalidAudienceError,
        "The token is for another audience: get one from /connect/token of this gateway.",
    ),
    (
        jwt.InvalidIssuerError,
        "The token is of another issuer: get one from /connect/token of this gateway.",
    ),
)


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token with a right signature says of its client.

    `tenant` and `registration` are those that the client had when the gateway issued the token;
    None where another party issued it, who does not know them.
    """

    client_id: str
    scopes: frozenset[Scope]
    tenant: str | None = None
    registration: str | None = None


class TokenReader(Protocol):
    """Checks everything about a token but whether its client is still there."""

    async def read(self, token: str) -> TokenClaims:
        """What it says. Raises BearerTokenError, StorageUnavailableError."""


def key_id_of(token: str, algorithm: str, media_type: str) -> str:
    """The id of the key that a token names.

    Raises jwt.PyJWTError for any other algorithm, and for a `typ` other than `media_type`: what
    was signed with the same key for another purpose is no access token (RFC 8725, 3.11).
    """
    header = jwt.get_unverified_header(token)
    if header.get("alg") != algorithm:
        raise jwt.InvalidAlgorithmError("another algorithm")
    named = header.get("typ")
    if not isinstance(named, str) or named.lower().removeprefix("application/") != media_type:
        raise jwt.InvalidTokenError("another type of token")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise jwt.InvalidTokenError("no key id")
    return kid


def check_claim_types(
    claims: Mapping[str, Any], texts: Iterable[str], times: Iterable[str]
) -> None:
    """Raise jwt.PyJWTError where a claim is of another type than its issuer gives it.

    The library also takes a time as text, and an audience as a list.
    """
    for name in texts:
        claim = claims.get(name)
        if not isinstance(claim, str) or not _is_encodable(claim):
            raise jwt.InvalidTokenError(f"{name} is no text")
    for name in times:
        # `type`, since True is an int.
        if name in claims and (type(claims[name]) is not int or not 0 <= claims[name] < _FAR_OFF):
            raise jwt.InvalidTokenError(f"{name} is no time")


def _is_encodable(text: str) -> bool:
    """Whether it is without halves of surrogate pairs, which storage cannot look up."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def refusing_faults() -> Iterator[None]:
    """What the library has against a token becomes a refusal that quotes nothing of it.

    A header that is nested without end is one of its faults that it does not call one.
    """
    try:
        yield
    except (jwt.PyJWTError, RecursionError) as fault:
        told = next((said for kind, said in _SENTENCES if isinstance(fault, kind)), NOT_VALID)
        # The signature has been checked before the time.
        is_expired = isinstance(fault, jwt.ExpiredSignatureError)
        raise (ExpiredTokenError if is_expired else BearerTokenError)(told) from None


# Of the header; tokens of Entra with many roles have some thousands.
MOST_CHARACTERS = 16_384
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
                "The client of this token is not known, or was revoked: ask the "
                "operator of the gateway for a client."
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
