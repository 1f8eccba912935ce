"""The one place that decides who is calling (docs/contracts.md#0, who is calling).

    authenticate(headers, permission)             key pair only: workers, assignments, licenses
    authenticate_for(headers, permission, scope)  key pair, or a token of that scope: documents
    authenticate_any(headers, permission)         key pair, or a token of any scope: `/api/imports…`

`permission` is what the integration of a key pair must be allowed (docs/contracts.md#0,
permissions). The operations in `shared.web.openapi` name it too, and a test calls each of them.

The gateway counts wrong credentials. Beyond the budgets of `FailureThrottle` it answers a wrong
credential with 429 in place of 401 or 403. An expired key or token was valid once and is not
counted: its owner has to see the 401 to ask for a new one. Callers of a disabled tenant are refused
with 403 after their credential has been accepted.

If `Authorization: Bearer` is sent to an endpoint that takes tokens, the token alone decides. Any
other Authorization header is ignored beside a key pair, and every Authorization header is ignored
by endpoints that take no token, because proxies and browsers add one without the caller's
knowledge. The returned caller has its tenant and knows which import types it `sees`. Endpoints
need not know which credential it used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import unquote

from shared import log
from shared.auth.clients import Scope
from shared.auth.integrations import (
    MOST_SOFTWARE_KEY,
    OPERATE,
    READ,
    ROW,
    FunctionKey,
    Integration,
    ReadPermission,
    hash_function_key,
    import_permission,
    integration_from_entity,
    integration_keys,
    key_from_entity,
    use_of_key,
)
from shared.auth.lookups import CachedLookups, TenantLookups
from shared.auth.stored_keys import LastUses, StoredKey
from shared.budgets import FailureThrottle
from shared.clock import Clock
from shared.errors import (
    BearerTokenError,
    ExpiredKeyError,
    ExpiredTokenError,
    ForbiddenError,
    InvalidRequestError,
    MissingPermissionError,
    MissingScopeError,
    UnauthenticatedError,
    UnreadableDataError,
    WrongSoftwareKeyError,
)
from shared.imports.import_type import Contract, Options
from shared.imports.sender import CallerKind, NamedCaller, named_caller
from shared.storage.names import FUNCTION_KEYS, INTEGRATIONS
from shared.storage.ports import Tables

# An authenticated caller: an integration with its key pair, or a client with a token. Endpoints
# take either as `AnyCaller`.


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's integration, authenticated by its function key. Holds no secret."""

    tenant: str
    key_name: str
    software_key: str
    integration: Integration
    key_id: str = ""

    @property
    def name(self) -> str:
        """A name that is unique among the callers of the tenant."""
        return f"integration {self.software_key}"

    @property
    def named(self) -> NamedCaller:
        """The caller as imports and the audit log store it."""
        return named_caller(CallerKind.INTEGRATION, self.software_key)

    @property
    def options(self) -> Options:
        """The integration's options for the rules."""
        return self.integration.options

    @property
    def read(self) -> ReadPermission:
        """What it may read of stored records."""
        return self.integration.allowed_read

    def sees(self, type_name: str) -> bool:
        """Whether it may see imports of this type: all of its tenant's, or those it may send."""
        permissions = (READ, OPERATE, import_permission(type_name))
        return any(self.integration.may(each) for each in permissions)

    def check(self, permission: str) -> None:
        """Raises MissingPermissionError if the integration lacks the permission."""
        if not self.integration.may(permission):
            raise missing_permission(permission)


@dataclass(frozen=True, slots=True)
class TokenCaller:
    """A tenant's client, authenticated by a bearer token. Holds no secret."""

    tenant: str
    client_id: str
    scopes: frozenset[Scope]
    secret_id: str = ""

    @property
    def name(self) -> str:
        """A name that is unique among the callers of the tenant."""
        return f"client {self.client_id}"

    @property
    def named(self) -> NamedCaller:
        """The caller as imports and the audit log store it."""
        return named_caller(CallerKind.CLIENT, self.client_id)

    @property
    def options(self) -> Options:
        """The default options: a client has no settings of its own."""
        return Options()

    @property
    def read(self) -> ReadPermission:
        """What it may read of stored records: sensitive values only with both scopes."""
        if Scope.READ_RECORDS not in self.scopes:
            return ReadPermission.NONE
        has_both = Scope.READ_SENSITIVE in self.scopes
        return ReadPermission.FULL if has_both else ReadPermission.MASKED

    def sees(self, type_name: str) -> bool:
        """Whether one of the token's scopes covers imports of this type."""
        return any(scope.type_name == type_name for scope in self.scopes)

    def check(self, permission: str) -> None:
        """A token has scopes in place of permissions."""


AnyCaller = Caller | TokenCaller


def missing_permission(permission: str) -> MissingPermissionError:
    """The refusal of an integration that lacks the permission."""
    return MissingPermissionError(
        f"This integration lacks the permission {permission} for this call: ask the "
        "administrator of the gateway to add it to the integration."
    )


def check_database(caller: AnyCaller, contract: Contract) -> None:
    """The integration's database must be active, where the contract asks for one.

    See docs/contracts.md#1. Raises ForbiddenError with the vendor's words.
    """
    if not contract.needed_database_version or isinstance(caller, TokenCaller):
        return
    if not caller.integration.database.active:
        raise ForbiddenError("Pay and Bill Database not active")


def check_database_version(caller: Caller, contract: Contract) -> None:
    """The integration's database must not be older than the contract asks for.

    Raises InvalidRequestError with the vendor's words.
    """
    if caller.integration.database.version < contract.needed_database_version:
        raise InvalidRequestError("Invalid DB Version")


# The key pair `X-Functions-Key` + `X-Software-Key` (docs/contracts.md#0 and docs/contracts.md#1).
#
# The checks run in this order, and each refusal has its own message:
#
#     401  no function key, or an unknown one
#     403  Key name does not match Software Key
#     403  Integration missing for Software Key or disabled   (a missing X-Software-Key too)
#
# A software key may hold any character, but HTTP defines no encoding of header values. A host
# passes them on as UTF-8 or byte by byte as Latin-1, and a browser refuses to send characters
# outside Latin-1. So the gateway accepts the header in each of these readings: as it came, its
# bytes as UTF-8, and percent-decoded. Blanks around it and the Unicode form do not matter. This is
# safe because only the function key is secret. The software key is only compared with the name of
# that key.

FUNCTION_KEY_HEADER = "x-functions-key"
AUTHORIZATION_HEADER = "authorization"
SOFTWARE_KEY_HEADER = "x-software-key"
NO_INTEGRATION = "Integration missing for Software Key or disabled"


@dataclass(frozen=True, slots=True)
class _Credential:
    """The stored function key, and its integration if that can be read, with what it says of it."""

    key: FunctionKey
    integration: Integration | None
    stored_key: StoredKey | None = None


class KeyPairAuthenticator:
    """Finds the caller of a key pair. Caches look-ups for `cache_seconds`.

    Each look-up knows when its key expires, so an expired key is refused at once.
    """

    def __init__(
        self, tables: Tables, clock: Clock, cache_seconds: float, uses: LastUses | None = None
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._uses = uses
        self.lookups: CachedLookups[_Credential] = CachedLookups(self._read, clock, cache_seconds)

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """Find the caller. `headers` has lower-case names, as the host passes them.

        Raises UnauthenticatedError, ForbiddenError, StorageUnavailableError.
        """
        credential = await self._identify(headers)
        software_key = headers.get(SOFTWARE_KEY_HEADER, "").strip()
        key = credential.key
        if software_key and not _matches_software_key(software_key, key.name):
            raise WrongSoftwareKeyError("Key name does not match Software Key")
        integration = credential.integration
        if not software_key or integration is None or not integration.enabled:
            raise ForbiddenError(NO_INTEGRATION)
        stored_key = credential.stored_key
        assert stored_key is not None
        if self._uses is not None:
            self._uses.note(
                stored_key,
                lambda at: self._tables.write(FUNCTION_KEYS, use_of_key(stored_key.hash, at)),
            )
        return Caller(key.tenant, key.name, integration.software_key, integration, stored_key.id)

    async def _identify(self, headers: Mapping[str, str]) -> _Credential:
        key = headers.get(FUNCTION_KEY_HEADER, "").strip()
        if not key and AUTHORIZATION_HEADER in headers:
            raise UnauthenticatedError(
                "This endpoint takes no bearer token: send X-Functions-Key and X-Software-Key."
            )
        if not key:
            raise UnauthenticatedError("Send your function key in the header X-Functions-Key.")
        credential = await self.lookups.get(hash_function_key(key))
        if credential is None:
            raise UnauthenticatedError(
                "The function key in X-Functions-Key is not known: check it, or ask for the new "
                "one if it was rotated."
            )
        stored_key = credential.stored_key
        if stored_key is not None and stored_key.has_expired(self._clock.now()):
            raise ExpiredKeyError(
                "The function key in X-Functions-Key has expired: send the new one, or ask the "
                "administrator of the gateway for one."
            )
        return credential

    async def _read(self, key_hash: str) -> _Credential | None:
        key_entity = await self._tables.get(FUNCTION_KEYS, key_hash, ROW)
        if key_entity is None:
            return None
        key = key_from_entity(key_entity)
        integration = await find_integration(self._tables, key.tenant, key.name)
        if integration is None:
            return _Credential(key, None)
        stored_key = integration.find_key(key_hash)
        if stored_key is None:
            return None
        return _Credential(key, integration, replace(stored_key, used_at=key.used_at))


async def find_integration(tables: Tables, tenant: str, software_key: str) -> Integration | None:
    """The integration of this software key, blanks around it and its Unicode form aside.

    None where there is none, or where it cannot be read. Raises StorageUnavailableError.
    """
    name = software_key.strip()
    if len(name) > MOST_SOFTWARE_KEY * _LONGEST_IN_NFC:
        return None
    name = unicodedata.normalize("NFC", name)
    if not 0 < len(name) <= MOST_SOFTWARE_KEY:
        return None
    entity = await tables.get(INTEGRATIONS, *integration_keys(tenant, name))
    if entity is None:
        return None
    try:
        return integration_from_entity(entity)
    except UnreadableDataError as error:
        # Treated like a disabled integration, since nothing in it can be relied on.
        log.failure("integration.unreadable", error, tenant=tenant)
        return None


# NFC composes at most so many characters into one. Longer text is not normalised, because
# normalising a long run of combining marks takes quadratic time.
_LONGEST_IN_NFC = 4
# The percent-encoded length of the longest UTF-8 character.
_LONGEST_ESCAPED = 12


def _matches_software_key(header: str, name: str) -> bool:
    """Whether the header value is this software key in one of the readings above."""
    if len(header) > len(name) * _LONGEST_IN_NFC * _LONGEST_ESCAPED:
        return False
    readings = {header}
    with suppress(UnicodeError):
        readings.add(header.encode("latin-1").decode("utf-8"))
    if "%" in header:
        readings.add(unquote(header))
    candidates = (reading.strip() for reading in readings)
    return any(
        unicodedata.normalize("NFC", text) == name
        for text in candidates
        if len(text) <= len(name) * _LONGEST_IN_NFC
    )


NO_CREDENTIAL = (
    "Send a token from /connect/token as `Authorization: Bearer …`, or X-Functions-Key with "
    "X-Software-Key."
)
# A host joins several headers of one name with commas. A Bearer credential among them counts too.
_BEARER = re.compile(r"(?:^|,)\s*bearer(?![A-Za-z0-9_-])", re.IGNORECASE)


class BearerTokens(Protocol):
    """Finds the caller of a bearer token."""

    async def authenticate(self, authorization: str) -> TokenCaller:
        """Find the caller by the value of its Authorization header.

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

    async def authenticate(self, headers: Mapping[str, str], permission: str) -> Caller:
        """The caller of an endpoint that takes the key pair only.

        Raises MissingPermissionError for an integration without that permission.
        """
        try:
            caller = await self._key_pairs.authenticate(headers)
        except ExpiredKeyError:
            raise
        except (UnauthenticatedError, WrongSoftwareKeyError):
            key = headers.get(FUNCTION_KEY_HEADER, "").strip()
            if key:
                self._failures.count(headers, "function key", key)
            raise
        await self._tenants.check_enabled(caller.tenant)
        caller.check(permission)
        return caller

    async def authenticate_for(
        self, headers: Mapping[str, str], permission: str, scope: Scope
    ) -> AnyCaller:
        """The caller of an endpoint that takes the key pair or a token of this scope.

        Raises MissingScopeError for a token without it, MissingPermissionError.
        """
        caller = await self.authenticate_any(headers, permission)
        if isinstance(caller, TokenCaller) and scope not in caller.scopes:
            raise MissingScopeError(
                f"The token lacks the scope for this: ask /connect/token for scope {scope}, which "
                "the client must have.",
                scope,
            )
        return caller

    async def authenticate_any(self, headers: Mapping[str, str], permission: str) -> AnyCaller:
        """The caller of an endpoint that takes the key pair or a token of any scope."""
        authorization = headers.get(AUTHORIZATION_HEADER)
        has_key = bool(headers.get(FUNCTION_KEY_HEADER, "").strip())
        if authorization is not None and (_BEARER.search(authorization) or not has_key):
            return await self._of_token(headers)
        if not has_key:
            raise BearerTokenError(NO_CREDENTIAL, is_sent=False)
        try:
            return await self.authenticate(headers, permission)
        except UnauthenticatedError as error:
            raise BearerTokenError(error.message, is_sent=False) from None

    async def _of_token(self, headers: Mapping[str, str]) -> TokenCaller:
        authorization = headers[AUTHORIZATION_HEADER]
        try:
            caller = await self._tokens.authenticate(authorization)
        except ExpiredTokenError:
            raise
        except BearerTokenError:
            self._failures.count(headers, "token", authorization)
            raise
        await self._tenants.check_enabled(caller.tenant)
        return caller
