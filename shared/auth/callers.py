"""The one place that decides who is calling (CONTRACTS 0, who is calling).

    authenticate(headers)             key pair only: workers, assignments, licenses
    authenticate_for(headers, scope)  key pair, or a token of that scope: documents, authdata
    authenticate_any(headers)         key pair, or a token of any scope: `/api/imports…`

A wrong credential is counted, and past the budgets of `FailureThrottle` it is refused with 429 in
place of 401 or 403. An expired token was right once and is not counted: its owner has to see the
401 to ask for a new one. The callers of a disabled tenant are refused with 403 once they have
shown a right credential.

Where `Authorization: Bearer` is sent to an endpoint that takes tokens, it alone decides. Any other
Authorization is passed over beside a key pair, and so is every Authorization where no token is
taken: proxies and browsers add one that the caller does not know of. The caller that comes back
says which tenant it is and what it `sees`; an endpoint need not know which way it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from shared.auth.caller import AnyCaller, Caller, TokenCaller
from shared.auth.failure_throttle import FailureThrottle
from shared.auth.key_pair import AUTHORIZATION_HEADER, FUNCTION_KEY_HEADER, KeyPairAuthenticator
from shared.auth.scopes import Scope
from shared.auth.tenant_lookups import TenantLookups
from shared.errors import (
    BearerTokenError,
    ExpiredTokenError,
    MissingScopeError,
    UnauthenticatedError,
    WrongSoftwareKeyError,
)

NO_CREDENTIAL = (
    "Send a token from /connect/token as `Authorization: Bearer …`, or X-Functions-Key with "
    "X-Software-Key."
)
# A host joins several headers of one name with commas; a Bearer among them decides too.
_BEARER = re.compile(r"(?:^|,)\s*bearer(?![A-Za-z0-9_-])", re.IGNORECASE)


class BearerTokens(Protocol):
    """Finds the caller of a bearer token."""

    async def authenticate(self, authorization: str) -> TokenCaller:
        """The caller, by the value of its Authorization header.

        Raises BearerTokenError, StorageUnavailableError.
        """


class Callers:
    """Finds the caller of an HTTP call; header names are lower case, as the host gives them.

    Every method raises UnauthenticatedError, ForbiddenError, TooManyRequestsError,
    StorageUnavailableError.
    """

    def __init__(
        self,
        key_pairs: KeyPairAuthenticator,
        tokens: BearerTokens,
        tenants: TenantLookups,
        failures: FailureThrottle,
    ) -> None:
        self._key_pairs = key_pairs
        self._tokens = tokens
        self._tenants = tenants
        self._failures = failures

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """The caller of an endpoint that takes the key pair only."""
        try:
            caller = await self._key_pairs.authenticate(headers)
        except (UnauthenticatedError, WrongSoftwareKeyError):
            key = headers.get(FUNCTION_KEY_HEADER, "").strip()
            if key:
                self._failures.count(headers, "function key", key)
            raise
        await self._tenants.check_enabled(caller.tenant)
        return caller

    async def authenticate_for(self, headers: Mapping[str, str], scope: Scope) -> AnyCaller:
        """The caller of an endpoint that takes the key pair or a token of this scope.

        Raises MissingScopeError for a token without it.
        """
        caller = await self.authenticate_any(headers)
        if isinstance(caller, TokenCaller) and scope not in caller.scopes:
            raise MissingScopeError(
                f"The token is not good for this: ask /connect/token for scope {scope}, which "
                "the client must have.",
                scope,
            )
        return caller

    async def authenticate_any(self, headers: Mapping[str, str]) -> AnyCaller:
        """The caller of an endpoint that takes the key pair or a token of any scope."""
        authorization = headers.get(AUTHORIZATION_HEADER)
        has_key = bool(headers.get(FUNCTION_KEY_HEADER, "").strip())
        if authorization is not None and (_BEARER.search(authorization) or not has_key):
            return await self._of_token(headers)
        if not has_key:
            raise BearerTokenError(NO_CREDENTIAL, is_sent=False)
        try:
            return await self.authenticate(headers)
        except UnauthenticatedError as error:
            raise BearerTokenError(error.message, is_sent=False) from None

    async def _of_token(self, headers: Mapping[str, str]) -> TokenCaller:
        sent = headers[AUTHORIZATION_HEADER]
        try:
            caller = await self._tokens.authenticate(sent)
        except ExpiredTokenError:
            raise
        except BearerTokenError:
            self._failures.count(headers, "token", sent)
            raise
        await self._tenants.check_enabled(caller.tenant)
        return caller
