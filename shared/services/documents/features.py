"""Features of a tenant that are off until somebody enables them (CONTRACTS 4)."""

from __future__ import annotations

from enum import StrEnum

from shared.auth.tenant_lookups import PARTITION
from shared.errors import NotFoundError, PreconditionFailedError
from shared.storage.entities import encode
from shared.storage.names import TENANTS
from shared.storage.ports import Entity, Merge, Tables


class Feature(StrEnum):
    """A feature by the name that `manage.py feature` takes."""

    DOCUMENTS = "documents"


class Features:
    """A property of the tenant's record for each feature, read at every call."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def is_enabled(self, tenant: str, feature: Feature) -> bool:
        """Whether the tenant has the feature; False too where there is no such tenant."""
        return feature in (await self.of(tenant) or ())

    async def of(self, tenant: str) -> frozenset[Feature] | None:
        """The features that a tenant has enabled; None where there is no such tenant."""
        entity = await self._tables.get(TENANTS, PARTITION, encode(tenant))
        if entity is None:
            return None
        return frozenset(feature for feature in Feature if entity.flag(_column(feature)))

    async def switch(self, tenant: str, feature: Feature, is_on: bool) -> None:
        """Enable or disable a feature. Raises NotFoundError."""
        change = Entity(PARTITION, encode(tenant), {_column(feature): is_on})
        try:
            await self._tables.write(TENANTS, Merge(change))
        except PreconditionFailedError:
            raise NotFoundError(
                f"There is no tenant {tenant}; `tenant list` shows them all."
            ) from None


def _column(feature: Feature) -> str:
    return f"feature{feature.value.capitalize()}"
