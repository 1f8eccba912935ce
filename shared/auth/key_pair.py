"""The key pair `X-Functions-Key` + `X-Software-Key` (CONTRACTS 0 and 1).

In this order, each refusal with its own words:

    401  no function key, or one that nobody has
    403  Key name does not match Software Key
    403  Integration missing for Software Key or disabled   (a missing X-Software-Key too)

A software key may hold any character, but HTTP knows no encoding of header values: a host hands
them on as UTF-8 or byte by byte as Latin-1, and a browser refuses to send what is not Latin-1. So
the header counts in each of these readings: as it came, its bytes as UTF-8, and percent-decoded;
blanks around it and the choice of Unicode form do not matter. This is safe because the function key
alone is the secret: the software key is only compared with that key's own name.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

from shared import log
from shared.auth.caller import Caller
from shared.auth.function_keys import ROW, FunctionKey, hash_function_key, key_from_entity
from shared.auth.integration import Integration, integration_from_entity, integration_keys
from shared.auth.lookups import CachedLookups
from shared.clock import Clock
from shared.errors import (
    ForbiddenError,
    UnauthenticatedError,
    UnreadableDataError,
    WrongSoftwareKeyError,
)
from shared.storage.names import FUNCTION_KEYS, INTEGRATIONS
from shared.storage.ports import Tables

FUNCTION_KEY_HEADER = "x-functions-key"
AUTHORIZATION_HEADER = "authorization"
SOFTWARE_KEY_HEADER = "x-software-key"


@dataclass(frozen=True, slots=True)
class _Credential:
    """What storage knows of a function key."""

    key: FunctionKey
    integration: Integration | None


class KeyPairAuthenticator:
    """Finds the caller of a key pair; remembers look-ups for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self.lookups: CachedLookups[_Credential] = CachedLookups(self._read, clock, cache_seconds)

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """The caller. `headers` has lower-case names, as the host gives them.

        Raises UnauthenticatedError, ForbiddenError, StorageUnavailableError.
        """
        credential = await self._identify(headers)
        software_key = headers.get(SOFTWARE_KEY_HEADER, "").strip()
        key = credential.key
        if software_key and not _names(software_key, key.name):
            raise WrongSoftwareKeyError("Key name does not match Software Key")
        integration = credential.integration
        if not software_key or integration is None or not integration.enabled:
            raise ForbiddenError("Integration missing for Software Key or disabled")
        return Caller(key.tenant, key.name, integration.software_key, integration)

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
        return credential

    async def _read(self, key_hash: str) -> _Credential | None:
        entity = await self._tables.get(FUNCTION_KEYS, key_hash, ROW)
        if entity is None:
            return None
        key = key_from_entity(entity)
        stored = await self._tables.get(INTEGRATIONS, *integration_keys(key.tenant, key.name))
        if stored is None:
            return _Credential(key, None)
        try:
            integration = integration_from_entity(stored)
        except UnreadableDataError as error:
            # It says nothing that can be relied on: refused as one that is disabled.
            log.failure("integration.unreadable", error, tenant=key.tenant)
            return _Credential(key, None)
        if not hmac.compare_digest(integration.key_hash, key_hash):
            return None
        return _Credential(key, integration)


_LONGEST_IN_NFC = 4
"""Characters that NFC makes one of at most; normalising a long run of marks is quadratic."""
_LONGEST_ESCAPED = 12
"""Characters of one that is percent-encoded in UTF-8."""


def _names(header: str, name: str) -> bool:
    """Whether the value of a header names this software key, in one of the readings above."""
    if len(header) > len(name) * _LONGEST_IN_NFC * _LONGEST_ESCAPED:
        return False
    readings = {header}
    with suppress(UnicodeError):
        readings.add(header.encode("latin-1").decode("utf-8"))
    if "%" in header:
        readings.add(unquote(header))
    trimmed = (reading.strip() for reading in readings)
    return any(
        unicodedata.normalize("NFC", text) == name
        for text in trimmed
        if len(text) <= len(name) * _LONGEST_IN_NFC
    )
