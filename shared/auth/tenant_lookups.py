"""Whether a tenant is enabled, for a call, a token request or a dropped file."""

from __future__ import annotations

from typing import Final

from shared.auth.lookups import CachedLookups
from shared.clock import Clock
from shared.errors import ForbiddenError
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Tables

# All tenants share a partition: they are few, and listed in order of their id.
PARTITION: Final = "tenants"

# The property of a tenant's record; a tenant without it is enabled.
DISABLED: Final = "disabled"


class TenantLookups:
    """Finds out whether tenants are enabled. Caches the answers for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups = CachedLookups(self._read, clock, cache_seconds)

    async def is_disabled(self, tenant: str) -> bool:
        """Whether an administrator has disabled it. Raises StorageUnavailableError."""
        return await self._lookups.get(tenant) or False

    async def check_enabled(self, tenant: str) -> None:
        """Raises ForbiddenError for a disabled tenant, StorageUnavailableError."""
        if await self.is_disabled(tenant):
            raise ForbiddenError(disabled_message(tenant))

    async def _read(self, tenant: str) -> bool | None:
        entity = await self._tables.get(TENANTS, PARTITION, encode(tenant))
        return None if entity is None else entity.flag(DISABLED)


def disabled_message(tenant: str) -> str:
    """The message for callers of a disabled tenant; no quotes, because OAuth errors allow none."""
    return (
        f"The tenant {tenant} is disabled, so the gateway takes no calls for it and nothing was "
        "done. Ask the operator of the gateway to enable it."
    )
