"""Tokens that Entra ID issued to applications (identity provider `entra`).

Of both versions: the older one names its application in `appid`, the newer one in `azp`, and each
has an issuer of its own (LIBRARIES 6). What an application may do stands in `roles`. A token that
Entra issued for a user is none of an application, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from shared.auth.clients import known_scopes, normal_client_id
from shared.auth.entra_authority import ALGORITHM
from shared.auth.entra_keys import EntraKeys
from shared.auth.local_tokens import LEEWAY_SECONDS
from shared.auth.token_faults import (
    TokenClaims,
    check_claim_types,
    key_id_of,
    refusing_faults,
)
from shared.errors import BearerTokenError

CLAIMS = ("iss", "aud", "sub", "tid", "ver", "iat", "nbf", "exp")
"""Every claim that a token of an application has in either version."""
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
                "The token is one of a user: get one for the application, from /connect/token."
            )
        application, roles = claims.get(_CALLER[version], ""), claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise jwt.InvalidTokenError("roles is no list of texts")
        check_claim_types(claims, (_CALLER[version],), ())
        return TokenClaims(normal_client_id(application), known_scopes(roles))
