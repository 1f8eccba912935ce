"""Tenants, their integrations and function keys, for the administrator's commands.

Every write is conditional. The integration records its keys, so one write decides about adding,
revoking or rotating one. A new key's entity is inserted before that write, and an old one's is
deleted after it. A crash may leave either entity behind, but it is not valid without the
integration. A running gateway sees a change when its look-ups have expired
(`GATEWAY_CACHE_SECONDS`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.auth.integrations import (
    MOST_SOFTWARE_KEY,
    ROW,
    FunctionKey,
    Integration,
    hash_function_key,
    integration_from_any_entity,
    integration_keys,
    integration_to_entity,
    key_from_entity,
    key_to_entity,
    new_function_key,
)
from shared.auth.lookups import DISABLED, PARTITION
from shared.auth.stored_keys import KeyNoun, StoredKey, expiry_text, with_key, without_key
from shared.clock import Clock, to_iso
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from shared.services.admin.audit import Action, AuditLog
from shared.storage.entities import encode
from shared.storage.names import FUNCTION_KEYS, INTEGRATIONS, TENANTS
from shared.storage.ports import (
    Delete,
    Entity,
    Insert,
    Merge,
    Replace,
    Tables,
    Value,
    retry_on_conflict,
)

# A tenant's id: a slug `[a-z0-9-]{3,40}` made from its name (docs/contracts.md#4, blob drop).

MOST = 40
_FALLBACK = "tenant"
_SLUG = re.compile(r"[a-z0-9-]{3,40}")
# Latin letters that Unicode does not take apart into a plain letter and a mark.
_PLAIN = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})


def slug_of(name: str) -> str:
    """The slug of a name in any script. A slug that is too short gets the prefix `tenant`."""
    decomposed = unicodedata.normalize("NFKD", name.casefold().translate(_PLAIN))
    plain = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not slug:
        return _FALLBACK
    if len(slug) < 3:
        slug = f"{_FALLBACK}-{slug}"
    return slug[:MOST].rstrip("-")


def numbered_slug(slug: str, number: int) -> str:
    """`slug` for number 1, else with the number appended, at most 40 characters.

    Raises InvalidRequestError if `slug` is not valid.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidRequestError("A tenant's id must have 3 to 40 characters of a-z, 0-9 and -.")
    if number == 1:
        return slug
    tail = f"-{number}"
    return slug[: MOST - len(tail)].rstrip("-") + tail


# The partition with the ids of erased tenants, which no other tenant ever gets.
ERASED_PARTITION = "erased"
MOST_NAME = 200
_MOST_CLASHES = 1_000


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant: its slug, its name, and its time of creation (ISO text, UTC).

    Calls of a disabled tenant are refused. Imports that were accepted before are still processed.
    """

    id: str
    name: str
    created_at: str
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """An integration with its new function key in the clear, which is shown once."""

    integration: Integration
    function_key: str = field(repr=False)

    @property
    def key(self) -> StoredKey:
        """What is stored of the key."""
        return self.integration.keys[0]


@dataclass(frozen=True, slots=True)
class _NewKey:
    """A new function key in the clear, and what is stored of it."""

    clear: str = field(repr=False)
    stored: StoredKey


class TenantService:
    """The administration of tenants, integrations and function keys."""

    def __init__(self, tables: Tables, clock: Clock, audit: AuditLog | None = None) -> None:
        self._tables = tables
        self._clock = clock
        self._audit = audit or AuditLog(tables, clock)

    async def create(
        self, name: str, slug: str | None = None, *, allows_same_name: bool = False
    ) -> Tenant:
        """A new tenant. Its id is `slug`, or made from the name, with a number on a clash.

        Raises InvalidRequestError, and ConflictError where a given `slug` is taken, or where
        another tenant has the name already and that is not allowed.
        """
        title = _clean(name, "name of the tenant", MOST_NAME)
        base = slug or slug_of(title)
        created_at = to_iso(self._clock.now())
        for number in range(1, _MOST_CLASHES):
            # Checked again after each clash: of two calls with the same name, which compute the
            # same id, the slower one then finds the tenant of the faster one.
            if not allows_same_name:
                await self._refuse_same_name(title, "Nothing was created")
            tenant = Tenant(numbered_slug(base, number), title, created_at)
            was_erased = await self._tables.get(TENANTS, ERASED_PARTITION, encode(tenant.id))
            with suppress(PreconditionFailedError):
                if was_erased is not None:
                    raise PreconditionFailedError
                # In the gateway's log: if the id is taken, the tenant of this id is another one.
                target, after = {"tenant": tenant.id}, {"name": tenant.name}
                async with self._audit.act("", Action.TENANT_CREATE, target, after=after):
                    await self._tables.write(TENANTS, Insert(tenant_to_entity(tenant)))
                return tenant
            if slug is not None:
                raise ConflictError(f"There is, or was, a tenant {slug}: choose another id.")
        raise ConflictError("Too many tenants have this name; choose another.")

    async def rename(
        self, reference: str, name: str, *, allows_same_name: bool = False
    ) -> tuple[Tenant, bool]:
        """Give a tenant another name, and say whether that changed anything; its id stays.

        Raises NotFoundError, InvalidRequestError, and ConflictError as `create` does.
        """
        tenant = await self.find(reference)
        title = _clean(name, "name of the tenant", MOST_NAME)
        if title == tenant.name:
            return tenant, False
        if not allows_same_name:
            await self._refuse_same_name(title, "Nothing was renamed", except_id=tenant.id)
        before, after = {"name": tenant.name}, {"name": title}
        async with self._audit.act(tenant.id, Action.TENANT_RENAME, {}, before=before, after=after):
            await self._merge(tenant.id, {"name": title})
        return replace(tenant, name=title), True

    async def switch(self, reference: str, *, is_enabled: bool) -> tuple[Tenant, bool]:
        """Enable or disable a tenant, and say whether that changed anything.

        Raises NotFoundError, ConflictError.
        """
        tenant = await self.find(reference)
        if tenant.is_enabled is is_enabled:
            return tenant, False
        action = Action.TENANT_ENABLE if is_enabled else Action.TENANT_DISABLE
        before, after = {"enabled": not is_enabled}, {"enabled": is_enabled}
        async with self._audit.act(tenant.id, action, {}, before=before, after=after):
            await self._merge(tenant.id, {DISABLED: not is_enabled})
        return replace(tenant, is_enabled=is_enabled), True

    async def _refuse_same_name(self, title: str, outcome: str, except_id: str = "") -> None:
        namesakes = [
            f"{tenant.id} (created {tenant.created_at})"
            for tenant in await self.list_tenants()
            if tenant.id != except_id and _comparable_name(tenant.name) == _comparable_name(title)
        ]
        if namesakes:
            raise ConflictError(
                f"The name {title!r} is taken already, by tenant {', '.join(namesakes)}. "
                f"{outcome}: use that tenant, choose another name, or add --allow-same-name."
            )

    async def _merge(self, tenant: str, values: Mapping[str, Value]) -> None:
        try:
            await self._tables.write(TENANTS, Merge(Entity(PARTITION, encode(tenant), values)))
        except PreconditionFailedError:
            raise NotFoundError(
                f"There is no tenant {tenant!r}; `tenant list` shows them all."
            ) from None

    async def list_tenants(self) -> list[Tenant]:
        """Every tenant, in order of id."""
        return [_tenant_from_entity(item) for item in await self._tables.query(TENANTS, PARTITION)]

    async def list_ids(self) -> list[str]:
        """The ids of every tenant."""
        return [tenant.id for tenant in await self.list_tenants()]

    async def find(self, reference: str) -> Tenant:
        """The tenant of this id, or else the one of exactly this name.

        Raises NotFoundError, and ConflictError where several have the name.
        """
        entity = await self._tables.get(TENANTS, PARTITION, encode(reference))
        if entity is not None:
            return _tenant_from_entity(entity)
        name = unicodedata.normalize("NFC", reference.strip())
        matching = [tenant for tenant in await self.list_tenants() if tenant.name == name]
        if len(matching) == 1:
            return matching[0]
        if matching:
            ids = ", ".join(tenant.id for tenant in matching)
            raise ConflictError(f"Several tenants have this name; use the id: {ids}.")
        raise NotFoundError(f"There is no tenant {reference!r}; `tenant list` shows them all.")

    async def add_integration(
        self, integration: Integration, expires: datetime | None = None
    ) -> IssuedKey:
        """Store a new integration of an existing tenant and issue its function key.

        `expires` is when the key does, aware, in UTC. Raises InvalidRequestError,
        NotFoundError, and ConflictError where the software key is taken in this tenant.
        """
        tenant = await self.find(integration.tenant)
        cleaned = _clean_integration(replace(integration, tenant=tenant.id))
        conflict = ConflictError(
            f"Tenant {tenant.id} has an integration with this software key already; set "
            "that one anew, or give it a new key."
        )
        if await self._read(cleaned.tenant, cleaned.software_key) is not None:
            raise conflict
        target, after = {"softwareKey": cleaned.software_key}, integration_settings(cleaned)
        new = self._new_key(expires)
        async with self._audit.act(tenant.id, Action.INTEGRATION_ADD, target, after=after):
            issued_key = await self._issue(cleaned, new, (new.stored,))
            try:
                await self._tables.write(
                    INTEGRATIONS, Insert(integration_to_entity(issued_key.integration))
                )
            except PreconditionFailedError:
                await self._forget_key(issued_key.key.hash)
                raise conflict from None
        return issued_key

    async def list_integrations(self, tenant: str) -> list[Integration]:
        """The integrations of a tenant, in order of software key. Raises NotFoundError."""
        owner = await self.find(tenant)
        entities = await self._tables.query(INTEGRATIONS, encode(owner.id))
        return sorted(
            (integration_from_any_entity(entity) for entity in entities),
            key=lambda integration: integration.software_key,
        )

    @retry_on_conflict(
        5, lambda: ConflictError("Other commands are changing the integration; try again.")
    )
    async def change_integration(
        self, tenant: str, software_key: str, change: Callable[[Integration], Integration]
    ) -> Integration:
        """Replace an integration by `change` of it; retried if another command was faster.

        Raises NotFoundError, InvalidRequestError, ConflictError.
        """
        owner = await self.find(tenant)
        current = await self._find_integration(owner.id, software_key)
        stored = integration_from_any_entity(current)
        integration = _clean_integration(change(stored))
        before, after = integration_settings(stored), integration_settings(integration)
        action = Action.INTEGRATION_SET
        if before | {"enabled": integration.enabled} == after != before:
            is_enabled = integration.enabled
            action = Action.INTEGRATION_ENABLE if is_enabled else Action.INTEGRATION_DISABLE
        target = {"softwareKey": integration.software_key}
        async with self._audit.act(owner.id, action, target, before=before, after=after):
            entity = integration_to_entity(integration, current.etag)
            await self._tables.write(INTEGRATIONS, Replace(entity))
        return integration

    async def rotate_key(
        self, tenant: str, software_key: str, expires: datetime | None = None
    ) -> IssuedKey:
        """Issue a new function key for an integration. The old ones stop when look-ups expire.

        Raises NotFoundError, InvalidRequestError, and ConflictError if another rotation was faster.
        """
        return await self._add_key(
            tenant, software_key, Action.KEY_ROTATE, expires, lambda _keys, new: (new,)
        )

    async def add_key(
        self, tenant: str, software_key: str, expires: datetime | None = None
    ) -> IssuedKey:
        """Issue a second function key for an integration, beside the one that it has.

        Raises NotFoundError, InvalidRequestError, and ConflictError if it has two valid keys, or
        if another change was faster.
        """
        return await self._add_key(
            tenant,
            software_key,
            Action.KEY_ADD,
            expires,
            lambda keys, new: with_key(keys, new, self._clock.now(), KeyNoun.FUNCTION_KEY),
        )

    async def list_keys(self, tenant: str, software_key: str) -> list[StoredKey]:
        """The function keys of an integration with their last use, the newest first.

        Raises NotFoundError.
        """
        owner = await self.find(tenant)
        entity = await self._find_integration(owner.id, software_key)
        return await self._with_last_uses(integration_from_any_entity(entity).keys)

    @retry_on_conflict(
        5, lambda: ConflictError("Other commands are changing the integration; try again.")
    )
    async def revoke_key(self, tenant: str, software_key: str, key_id: str) -> StoredKey:
        """Revoke a function key of an integration; it stops when look-ups expire.

        Raises NotFoundError, and ConflictError if no other key is valid.
        """
        owner = await self.find(tenant)
        current = await self._find_integration(owner.id, software_key)
        integration = integration_from_any_entity(current)
        target = {"softwareKey": integration.software_key, "key": key_id}
        async with self._audit.act(owner.id, Action.KEY_REVOKE, target):
            keys = without_key(integration.keys, key_id, self._clock.now(), KeyNoun.FUNCTION_KEY)
            entity = integration_to_entity(replace(integration, keys=keys), current.etag)
            await self._tables.write(INTEGRATIONS, Replace(entity))
        [revoked] = await self._with_last_uses(
            [key for key in integration.keys if key.id == key_id]
        )
        await self._forget_key(revoked.hash)
        return revoked

    async def _with_last_uses(self, keys: Sequence[StoredKey]) -> list[StoredKey]:
        entities = [await self._tables.get(FUNCTION_KEYS, key.hash, ROW) for key in keys]
        return [
            replace(key, used_at=key_from_entity(entity).used_at) if entity is not None else key
            for key, entity in zip(keys, entities, strict=True)
        ]

    async def _add_key(
        self,
        tenant: str,
        software_key: str,
        action: Action,
        expires: datetime | None,
        change: Callable[[Sequence[StoredKey], StoredKey], tuple[StoredKey, ...]],
    ) -> IssuedKey:
        """Issue a key; `change` makes the keys of the integration from the former and the new."""
        owner = await self.find(tenant)
        current = await self._find_integration(owner.id, software_key)
        integration = integration_from_any_entity(current)
        new = self._new_key(expires)
        target = {"softwareKey": integration.software_key}
        after = {"key": new.stored.id, "expiresAt": new.stored.expires_at or None}
        async with self._audit.act(owner.id, action, target, after=after):
            keys = change(integration.keys, new.stored)
            issued_key = await self._issue(integration, new, keys)
            try:
                entity = integration_to_entity(issued_key.integration, current.etag)
                await self._tables.write(INTEGRATIONS, Replace(entity))
            except PreconditionFailedError:
                await self._forget_key(new.stored.hash)
                raise ConflictError("The integration was changed meanwhile; try again.") from None
        for key in integration.keys:
            if key not in keys:
                await self._forget_key(key.hash)
        return issued_key

    def _new_key(self, expires: datetime | None) -> _NewKey:
        now, clear = self._clock.now(), new_function_key()
        stored = StoredKey(hash_function_key(clear), to_iso(now), expiry_text(expires, now))
        return _NewKey(clear, stored)

    async def _issue(
        self, integration: Integration, new: _NewKey, keys: tuple[StoredKey, ...]
    ) -> IssuedKey:
        key = FunctionKey(new.stored.hash, integration.tenant, integration.software_key)
        await self._tables.write(FUNCTION_KEYS, Insert(key_to_entity(key)))
        return IssuedKey(replace(integration, keys=keys), new.clear)

    async def _forget_key(self, key_hash: str) -> None:
        """Delete a key's entity. Errors are ignored, because the key is not valid anyway."""
        with suppress(PreconditionFailedError, StorageUnavailableError):
            await self._tables.write(
                FUNCTION_KEYS, Delete(key_to_entity(FunctionKey(key_hash, "", "")))
            )

    async def _read(self, tenant: str, software_key: str) -> Entity | None:
        name = unicodedata.normalize("NFC", software_key.strip())
        if not 1 <= len(name) <= MOST_SOFTWARE_KEY:
            # Longer than a row key may be.
            return None
        return await self._tables.get(INTEGRATIONS, *integration_keys(tenant, name))

    async def _find_integration(self, tenant: str, software_key: str) -> Entity:
        entity = await self._read(tenant, software_key)
        if entity is None:
            raise NotFoundError(
                f"Tenant {tenant} has no integration with this software key: "
                "check it in the list of integrations."
            )
        return entity


def integration_settings(integration: Integration) -> dict[str, Any]:
    """The settings of an integration as a document; nothing about its key."""
    return {
        "name": integration.name,
        "enabled": integration.enabled,
        "onExisting": integration.on_existing.value,
        "database": {
            "active": integration.database.active,
            "version": integration.database.version,
        },
        "read": integration.read.value,
        "permissions": sorted(integration.permissions),
    }


def key_view(key: StoredKey) -> dict[str, Any]:
    """A function key or a client secret for programs, without the key itself."""
    return {
        "id": key.id,
        "createdAt": key.created_at or None,
        "expiresAt": key.expires_at or None,
        "lastUsedAt": key.used_at or None,
    }


def _clean_integration(integration: Integration) -> Integration:
    """Check an integration, and trim its texts in NFC. Raises InvalidRequestError."""
    software_key = _clean(integration.software_key, "software key", MOST_SOFTWARE_KEY)
    name = _clean(integration.name or software_key, "name of the integration", MOST_NAME)
    if not 0 <= integration.database.version <= 2**31 - 1:
        raise InvalidRequestError("The database version must be a whole number from 0.")
    return replace(integration, software_key=software_key, name=name)


def _clean(raw: str, subject: str, most: int) -> str:
    text = unicodedata.normalize("NFC", raw.strip())
    if not text or len(text) > most:
        raise InvalidRequestError(f"The {subject} must have 1 to {most} characters.")
    if not text.isprintable():
        raise InvalidRequestError(f"The {subject} must not hold control characters.")
    return text


def _comparable_name(name: str) -> str:
    """A form of a name in which names that differ only in case and blanks are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def tenant_to_entity(tenant: Tenant, more: Mapping[str, Value] | None = None) -> Entity:
    """The entity of a new tenant, with `more` values."""
    values: Mapping[str, Value] = {"name": tenant.name, "createdAt": tenant.created_at}
    return Entity(PARTITION, encode(tenant.id), {**values, **(more or {})})


def _tenant_from_entity(entity: Entity) -> Tenant:
    return Tenant(
        entity.row,
        entity.text("name"),
        entity.text("createdAt"),
        is_enabled=not entity.flag(DISABLED),
    )
