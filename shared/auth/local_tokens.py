"""The gateway's own tokens, which it signs and checks itself (identity provider `local`).

The algorithm is fixed, and every claim is required and strictly checked. RFC 9068 defines the
names of the claims; `tenant` and `reg` (the client's registration) are our own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt

from shared.auth.bearer import TokenClaims, check_claim_types, key_id_of, token_refusals
from shared.auth.clients import Client, Scope, known_scopes
from shared.auth.signing_keys import ALGORITHM, KeyStore
from shared.clock import Clock, Ids
from shared.errors import BearerTokenError

# How far the clocks of two machines may differ.
LEEWAY_SECONDS = 30

# The required claims of a token.
CLAIMS = ("iss", "aud", "sub", "tenant", "reg", "scope", "iat", "exp", "jti")
_TEXTS = ("iss", "aud", "sub", "tenant", "reg", "scope", "jti")
_TIMES = ("iat", "exp", "nbf")
# The `typ` of access tokens (RFC 9068, 2.1).
MEDIA_TYPE = "at+jwt"
# The upper limit of GATEWAY_TOKEN_SECONDS.
LONGEST_LIFE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """The values that all tokens of a gateway share. The lifetime is in seconds."""

    issuer: str
    audience: str
    lifetime: int


class LocalTokens:
    """Issues and reads tokens with the ring of signing keys."""

    def __init__(self, keys: KeyStore, clock: Clock, ids: Ids, terms: TokenTerms) -> None:
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self.terms = terms

    async def issue(self, client: Client, scopes: Iterable[Scope]) -> str:
        """Issue a signed token to the client for these scopes."""
        key = await self._keys.signing()
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.terms.issuer,
            "aud": self.terms.audience,
            "sub": client.client_id,
            "tenant": client.tenant,
            "reg": client.registration,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + self.terms.lifetime,
            "jti": self._ids.new(),
        }
        header = {"kid": key.kid, "typ": MEDIA_TYPE}
        return jwt.encode(claims, key.private, ALGORITHM, header)

    async def read(self, token: str) -> TokenClaims:
        """Read the claims. Raises BearerTokenError."""
        with token_refusals():
            key = await self._keys.find(key_id_of(token, ALGORITHM, MEDIA_TYPE))
            if key is None:
                raise BearerTokenError(
                    "The token was signed with a key that the gateway does not accept, or no "
                    "longer accepts: get a new one from /connect/token."
                )
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                audience=self.terms.audience,
                issuer=self.terms.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": list(CLAIMS), "strict_aud": True},
            )
            check_claim_types(claims, _TEXTS, _TIMES)
            if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
                raise jwt.InvalidTokenError("valid for longer than any token")
        return TokenClaims(
            client_id=claims["sub"],
            scopes=known_scopes(claims["scope"].split()),
            tenant=claims["tenant"],
            registration=claims["reg"],
        )
