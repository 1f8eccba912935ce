"""Bearer tokens: the Authorization header of a call, and whose token it is.

A valid signature is not enough. The gateway looks up the client of each token, so that a revoked
client is refused within seconds, and not only when its last token expires.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from shared.auth.callers import TokenCaller
from shared.auth.clients import Client, ClientLookups, Scope
from shared.clock import Clock, SystemClock
from shared.errors import BearerTokenError, ExpiredTokenError

# How far the clocks of two machines may differ.
LEEWAY_SECONDS = 30
# Unix seconds of the year 5138. No issuer sets a later time.
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
    """The claims about the client in a token with a valid signature.

    `tenant` and `registration` are those that the client had when the gateway issued the token.
    They are None in a token of another issuer, which does not know them. `secret_id` is the secret
    that the token was issued for; None in a token of an earlier version too.
    """

    client_id: str
    scopes: frozenset[Scope]
    tenant: str | None = None
    registration: str | None = None
    secret_id: str | None = None


class TokenReader(Protocol):
    """Checks everything about a token except whether its client still exists."""

    async def read(self, token: str) -> TokenClaims:
        """Read the claims. Raises BearerTokenError, StorageUnavailableError."""


def key_id_of(token: str, algorithm: str, media_type: str) -> str:
    """The id of the key that signed the token, from its header.

    Raises jwt.PyJWTError for any other algorithm, and for a `typ` other than `media_type`. A token
    that was signed with the same key for another purpose is not an access token (RFC 8725, 3.11).
    """
    header = jwt.get_unverified_header(token)
    if header.get("alg") != algorithm:
        raise jwt.InvalidAlgorithmError("another algorithm")
    token_type = header.get("typ")
    if (
        not isinstance(token_type, str)
        or token_type.lower().removeprefix("application/") != media_type
    ):
        raise jwt.InvalidTokenError("another type of token")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise jwt.InvalidTokenError("no key id")
    return kid


def check_claim_types(
    claims: Mapping[str, Any], texts: Iterable[str], times: Iterable[str]
) -> None:
    """Raise jwt.PyJWTError if a claim does not have the type that its issuer gives it.

    The JWT library is less strict: it also accepts a time as text, and an audience as a list.
    """
    for name in texts:
        claim = claims.get(name)
        if not isinstance(claim, str) or not _is_encodable(claim):
            raise jwt.InvalidTokenError(f"{name} is no text")
    for name in times:
        # `type`, since True is an int.
        if name in claims and (type(claims[name]) is not int or not 0 <= claims[name] < _FAR_OFF):
            raise jwt.InvalidTokenError(f"{name} is no time")


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raise jwt.PyJWTError for a token that has expired or is not valid yet.

    The times are whole numbers, which `check_claim_types` has checked.
    """
    if max(claims["iat"], claims.get("nbf", 0)) > now + LEEWAY_SECONDS:
        raise jwt.ImmatureSignatureError
    if claims["exp"] <= now - LEEWAY_SECONDS:
        raise jwt.ExpiredSignatureError


def _is_encodable(text: str) -> bool:
    """Whether the text has no lone surrogates, which storage cannot look up."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def token_refusals() -> Iterator[None]:
    """Translate errors of the JWT library into BearerTokenError, which quotes nothing of the token.

    The library raises RecursionError for a header that is nested too deeply.
    """
    try:
        yield
    except (jwt.PyJWTError, RecursionError) as fault:
        message = next(
            (sentence for kind, sentence in _SENTENCES if isinstance(fault, kind)), NOT_VALID
        )
        # The library checks the signature before the time, so the token was valid once.
        is_expired = isinstance(fault, jwt.ExpiredSignatureError)
        raise (ExpiredTokenError if is_expired else BearerTokenError)(message) from None


# The longest Authorization header. Tokens of Entra with many roles have some thousand characters.
MOST_CHARACTERS = 16_384
_BEARER = re.compile(r"\s*bearer +([A-Za-z0-9_.=-]+)\s*", re.IGNORECASE)


class BearerAuthenticator:
    """Finds the caller of a bearer token."""

    def __init__(
        self,
        tokens: TokenReader,
        clients: ClientLookups,
        clock: Clock | None = None,
        note_use: Callable[[Client], None] = lambda _client: None,
    ) -> None:
        """`note_use` is called for each accepted token, and returns at once."""
        self._tokens = tokens
        self._clients = clients
        self._clock = clock or SystemClock()
        self._note_use = note_use

    async def authenticate(self, authorization: str) -> TokenCaller:
        """Find the caller by the value of its Authorization header. Raises BearerTokenError."""
        match = None
        if len(authorization) <= MOST_CHARACTERS:
            match = _BEARER.fullmatch(authorization)
        if match is None:
            raise BearerTokenError(
                "Authorization must be `Bearer` and one token from /connect/token, or be left out."
            )
        claims = await self._tokens.read(match[1])
        client = await self._clients.find(claims.client_id)
        # Whether the token was issued to this very client; see `shared.auth.clients`.
        if client is None or not (
            claims.tenant in (None, client.tenant)
            and claims.registration
            in (
                None,
                client.registration,
            )
        ):
            raise BearerTokenError(
                "The client of this token is not known, or was revoked: ask the "
                "operator of the gateway for a client."
            )
        secret_id = claims.secret_id
        if secret_id is not None and not client.has_valid_secret(secret_id, self._clock.now()):
            raise ExpiredTokenError(
                "The secret that this token was issued for was revoked, or has expired: get a new "
                "token with the client's present secret."
            )
        self._note_use(client)
        scopes = claims.scopes & client.scopes
        return TokenCaller(client.tenant, client.client_id, scopes, secret_id or "")
