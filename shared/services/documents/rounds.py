"""Communication rounds: what documents are sent to (docs/contracts.md#4).

In the table `CommunicationRounds`, partition tenant, a row for each code. A round may lie in the
past; only its status says whether it takes documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared import log
from shared.auth.tenant_lookups import PARTITION
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.services.admin.audit import Action, AuditLog
from shared.storage.entities import decode, encode
from shared.storage.names import COMMUNICATION_ROUNDS, TENANTS
from shared.storage.ports import Entity, Insert, Merge, Tables


class RoundStatus(StrEnum):
    """Where a round stands, in the vendor's words."""

    OPEN = "Open"
    IN_PROGRESS = "In Progress"
    CLOSED = "Closed"

    @property
    def takes_documents(self) -> bool:
        """Whether documents may be imported into a round of this status."""
        return self in (RoundStatus.OPEN, RoundStatus.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Round:
    """A communication round."""

    code: str
    status: RoundStatus


class Rounds:
    """The rounds of all tenants."""

    def __init__(self, tables: Tables, audit: AuditLog | None = None) -> None:
        self._tables = tables
        self._audit = audit or AuditLog(tables)

    async def find(self, tenant: str, code: str) -> Round | None:
        """The round of exactly this code."""
        found = await self._tables.get(COMMUNICATION_ROUNDS, encode(tenant), encode(code))
        return None if found is None else _round(found)

    async def list_rounds(self, tenant: str) -> list[Round]:
        """Every round of a tenant, in order of code."""
        found = await self._tables.query(COMMUNICATION_ROUNDS, encode(tenant))
        return sorted((_round(entity) for entity in found), key=lambda each: each.code)

    async def add(self, tenant: str, code: str, status: RoundStatus) -> Round:
        """A new round. Raises InvalidRequestError, ConflictError."""
        made = Round(_checked(code), status)
        target, after = {"code": made.code}, {"status": status.value}
        async with self._audit.act(tenant, Action.ROUND_ADD, target, after=after):
            try:
                await self._tables.write(COMMUNICATION_ROUNDS, Insert(_entity(tenant, made)))
            except PreconditionFailedError:
                raise ConflictError(
                    f"Tenant {tenant} has this round already; change it with `round set`."
                ) from None
        return made

    async def change(self, tenant: str, code: str, status: RoundStatus) -> Round:
        """Another status for a round. Raises InvalidRequestError, NotFoundError."""
        changed = Round(_checked(code), status)
        known = await self.find(tenant, changed.code)
        target = {"code": changed.code}
        before = {"status": known.status.value} if known else None
        after = {"status": status.value}
        async with self._audit.act(tenant, Action.ROUND_SET, target, before=before, after=after):
            try:
                await self._tables.write(COMMUNICATION_ROUNDS, Merge(_entity(tenant, changed)))
            except PreconditionFailedError:
                raise NotFoundError(
                    f"Tenant {tenant} has no round of this code; `round list` shows them."
                ) from None
        return changed


def _checked(code: str) -> str:
    normal = normal_reference(code)
    if normal is None or not normal.isprintable():
        raise InvalidRequestError(
            f"The code of a round must have 1 to {MAX_REFERENCE} characters, all of them visible."
        )
    return normal


def _entity(tenant: str, round_: Round) -> Entity:
    values = {"Code": round_.code, "Status": round_.status.value}
    return Entity(encode(tenant), encode(round_.code), values)


def _round(entity: Entity) -> Round:
    """A round whose status cannot be read takes no documents until `round set` mends it."""
    status, code = RoundStatus.CLOSED, entity.text("Code")
    try:
        status = RoundStatus(entity.text("Status"))
    except ValueError as error:
        log.failure("round.unreadable", error, tenant=entity.partition)
    return Round(code or decode(entity.row), status)


# Features of a tenant that are off until somebody enables them (docs/contracts.md#4).


class Feature(StrEnum):
    """A feature by the name that `manage.py feature` takes."""

    DOCUMENTS = "documents"


class Features:
    """A property of the tenant's record for each feature, read at every call."""

    def __init__(self, tables: Tables, audit: AuditLog | None = None) -> None:
        self._tables = tables
        self._audit = audit or AuditLog(tables)

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
        known = await self.of(tenant)
        if known is None:
            raise NotFoundError(f"There is no tenant {tenant}; `tenant list` shows them all.")
        action = Action.FEATURE_ENABLE if is_on else Action.FEATURE_DISABLE
        before, after = {"enabled": feature in known}, {"enabled": is_on}
        target = {"feature": feature.value}
        async with self._audit.act(tenant, action, target, before=before, after=after):
            await self._tables.write(TENANTS, Merge(change))


def _column(feature: Feature) -> str:
    return f"feature{feature.value.capitalize()}"
