"""Communication rounds, which receive documents (docs/contracts.md#4).

The table `CommunicationRounds` has a partition for each tenant and a row for each code. A round may
be in the past; only its status decides whether it takes documents.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from shared import log
from shared.auth.lookups import PARTITION
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.services.admin.audit import Action, AuditLog
from shared.services.record_repair import SETUP, BrokenEntry, Repair, RepairContext
from shared.storage.entities import decode, encode
from shared.storage.names import COMMUNICATION_ROUNDS, TENANTS
from shared.storage.ports import Entity, Insert, Merge, Tables


class RoundStatus(StrEnum):
    """The status of a round, in the vendor's words."""

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
        entity = await self._tables.get(COMMUNICATION_ROUNDS, encode(tenant), encode(code))
        return None if entity is None else _round_from_entity(entity)

    async def list_rounds(self, tenant: str) -> list[Round]:
        """Every round of a tenant, in order of code."""
        entities = await self._tables.query(COMMUNICATION_ROUNDS, encode(tenant))
        return sorted(
            (_round_from_entity(entity) for entity in entities), key=lambda round_: round_.code
        )

    async def add(self, tenant: str, code: str, status: RoundStatus) -> Round:
        """Add a round. Raises InvalidRequestError, ConflictError."""
        new_round = Round(_check_code(code), status)
        target, after = {"code": new_round.code}, {"status": status.value}
        async with self._audit.act(tenant, Action.ROUND_ADD, target, after=after):
            try:
                await self._tables.write(
                    COMMUNICATION_ROUNDS, Insert(round_to_entity(tenant, new_round))
                )
            except PreconditionFailedError:
                raise ConflictError(
                    f"Tenant {tenant} has this round already: set its status instead."
                ) from None
        return new_round

    async def change(self, tenant: str, code: str, status: RoundStatus) -> Round:
        """Change the status of a round. Raises InvalidRequestError, NotFoundError."""
        changed = Round(_check_code(code), status)
        stored = await self.find(tenant, changed.code)
        target = {"code": changed.code}
        before = {"status": stored.status.value} if stored else None
        after = {"status": status.value}
        async with self._audit.act(tenant, Action.ROUND_SET, target, before=before, after=after):
            try:
                await self._tables.write(
                    COMMUNICATION_ROUNDS, Merge(round_to_entity(tenant, changed))
                )
            except PreconditionFailedError:
                raise NotFoundError(
                    f"Tenant {tenant} has no round of this code: check it in the list of rounds."
                ) from None
        return changed


def _check_code(code: str) -> str:
    normal = normal_reference(code)
    if normal is None or not normal.isprintable():
        raise InvalidRequestError(
            f"The code of a round must have 1 to {MAX_REFERENCE} characters, all of them visible."
        )
    return normal


def round_to_entity(tenant: str, round_: Round) -> Entity:
    """The entity of a round."""
    values = {"Code": round_.code, "Status": round_.status.value}
    return Entity(encode(tenant), encode(round_.code), values)


def _round_from_entity(entity: Entity) -> Round:
    """A round with an unreadable status counts as closed until `round set` repairs it."""
    status, code = RoundStatus.CLOSED, entity.text("Code")
    try:
        status = RoundStatus(entity.text("Status"))
    except ValueError as error:
        log.failure("round.unreadable", error, tenant=entity.partition)
    return Round(code or decode(entity.row), status)


# Features of a tenant that are off until an operator enables them (docs/contracts.md#4).


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
        return feature in (await self.find(tenant) or ())

    async def find(self, tenant: str) -> frozenset[Feature] | None:
        """The features that a tenant has enabled; None where there is no such tenant."""
        entity = await self._tables.get(TENANTS, PARTITION, encode(tenant))
        if entity is None:
            return None
        return frozenset(feature for feature in Feature if entity.flag(feature_column(feature)))

    async def switch(self, tenant: str, feature: Feature, is_on: bool) -> None:
        """Enable or disable a feature. Raises NotFoundError."""
        change = Entity(PARTITION, encode(tenant), {feature_column(feature): is_on})
        enabled = await self.find(tenant)
        if enabled is None:
            raise NotFoundError(f"There is no tenant {tenant}; `tenant list` shows them all.")
        action = Action.FEATURE_ENABLE if is_on else Action.FEATURE_DISABLE
        before, after = {"enabled": feature in enabled}, {"enabled": is_on}
        target = {"feature": feature.value}
        async with self._audit.act(tenant, action, target, before=before, after=after):
            await self._tables.write(TENANTS, Merge(change))


def feature_column(feature: Feature) -> str:
    """The property of a tenant's record that says whether the tenant has the feature."""
    return f"feature{feature.value.capitalize()}"


# Finds communication rounds that cannot be read (`manage.py records`).


async def find_broken_rounds(context: RepairContext, tenant: str) -> AsyncIterator[BrokenEntry]:
    async for entity in context.entities(COMMUNICATION_ROUNDS, encode(tenant)):
        if entity.text("Status") not in list(RoundStatus):
            fault = "the status of the round cannot be read; mend it with `round set`"
            yield BrokenEntry(SETUP, decode(entity.row), fault, Repair.NONE)
