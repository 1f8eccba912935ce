"""OAuth clients, for the administrator's commands (`manage.py client`).

A running gateway sees a change when its look-ups have expired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.auth.clients import (
    MOST_CLIENT_ID,
    PARTITION,
    Client,
    Scope,
    client_from_entity,
    client_row,
    client_to_entity,
    hash_client_secret,
    is_application_id,
    new_client_secret,
    normal_client_id,
)
from shared.auth.stored_keys import KeyNoun, StoredKey, expiry_text, with_key, without_key
from shared.clock import Clock, Ids, to_iso
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from shared.services.admin.audit import Action, AuditLog
from shared.services.admin.tenants import TenantService, key_view
from shared.storage.names import CLIENTS
from shared.storage.ports import Delete, Entity, Insert, Replace, Tables, retry_on_conflict


@dataclass(frozen=True, slots=True)
class IssuedClient:
    """A client with its new secret in the clear, which is shown once; "" for a client of Entra."""

    client: Client
    client_secret: str = field(repr=False)


class ClientService:
    """The administration of clients."""

    def __init__(
        self,
        tables: Tables,
        tenants: TenantService,
        clock: Clock,
        ids: Ids,
        audit: AuditLog | None = None,
    ) -> None:
        self._tables = tables
        self._tenants = tenants
        self._clock = clock
        self._ids = ids
        self._audit = audit or AuditLog(tables, clock, ids)

    async def add(
        self, tenant: str, name: str, scopes: Iterable[Scope], expires: datetime | None = None
    ) -> IssuedClient:
        """Add a client of a tenant. Its name is its id; an empty `name` is generated.

        `expires` is when its secret does, aware, in UTC. Raises InvalidRequestError, NotFoundError,
        and ConflictError if the name is taken.
        """
        owner = (await self._tenants.find(tenant)).id
        client_id = _clean_client_id(name or f"{owner}-{self._ids.new()[:8]}")
        clear, secret = await self._new_secret(expires)
        client = self._make_client(client_id, owner, client_id, scopes, (secret,))
        return IssuedClient(await self._insert(client), clear)

    async def register(
        self, tenant: str, client_id: str, name: str, scopes: Iterable[Scope]
    ) -> IssuedClient:
        """Register an application of Entra as a client of a tenant. Entra keeps its secret.

        Raises InvalidRequestError, NotFoundError, and ConflictError if it is a client already.
        """
        application = normal_client_id(client_id)
        if not is_application_id(application):
            raise InvalidRequestError(
                "A client id of Entra is the GUID of the application; for a client of the "
                "gateway's own leave it out."
            )
        owner = (await self._tenants.find(tenant)).id
        title = _clean_client_id(name or application)
        client = self._make_client(application, owner, title, scopes, ())
        return IssuedClient(await self._insert(client), "")

    async def list_clients(self, tenant: str = "") -> list[Client]:
        """The clients of a tenant, or of all, in order of id. Raises NotFoundError."""
        owner = (await self._tenants.find(tenant)).id if tenant else ""
        clients = map(client_from_entity, await self._tables.query(CLIENTS, PARTITION))
        matching = [client for client in clients if owner in ("", client.tenant)]
        return sorted(matching, key=lambda client: client.client_id)

    async def revoke(self, client_id: str, tenant: str = "") -> Client:
        """Delete a client. It gets no token, and its tokens are not valid any more.

        Raises NotFoundError, also if the client belongs to another tenant than the named one.
        """
        entity, client = await self._find(client_id, tenant)
        target, before = {"clientId": client.client_id}, _settings(client)
        async with self._audit.act(client.tenant, Action.CLIENT_REVOKE, target, before=before):
            try:
                await self._tables.write(CLIENTS, Delete(Entity(entity.partition, entity.row, {})))
            except PreconditionFailedError:
                raise _no_such_client() from None
        return client

    @retry_on_conflict(5, lambda: ConflictError("Others are changing the client; try again."))
    async def change_scopes(
        self, client_id: str, scopes: Iterable[Scope], tenant: str = ""
    ) -> tuple[Client, bool]:
        """Replace the scopes of a client, and say whether that changed anything.

        A removed scope is refused in its tokens too; an added one needs a new token. Raises
        NotFoundError as `revoke` does, InvalidRequestError, ConflictError.
        """
        entity, client = await self._find(client_id, tenant)
        changed = replace(client, scopes=_checked_scopes(scopes))
        if changed.scopes == client.scopes:
            return client, False
        target = {"clientId": client.client_id}
        before, after = _settings(client), _settings(changed)
        async with self._audit.act(
            client.tenant, Action.CLIENT_SET, target, before=before, after=after
        ):
            await self._tables.write(CLIENTS, Replace(client_to_entity(changed, entity.etag)))
        return changed, True

    @retry_on_conflict(5, lambda: ConflictError("Others are changing the client; try again."))
    async def add_secret(
        self, client_id: str, tenant: str = "", expires: datetime | None = None
    ) -> IssuedClient:
        """Issue a second secret for a client, beside the one that it has.

        Raises NotFoundError as `revoke` does, InvalidRequestError, and ConflictError if it has two
        valid secrets, or if Entra keeps its secrets.
        """
        entity, client = await self._find(client_id, tenant)
        _refuse_entra(client)
        clear, secret = await self._new_secret(expires)
        target = {"clientId": client.client_id}
        after = {"secret": secret.id, "expiresAt": secret.expires_at or None}
        async with self._audit.act(client.tenant, Action.SECRET_ADD, target, after=after):
            secrets = with_key(client.secrets, secret, self._clock.now(), KeyNoun.SECRET)
            changed = replace(client, secrets=secrets)
            await self._tables.write(CLIENTS, Replace(client_to_entity(changed, entity.etag)))
        return IssuedClient(changed, clear)

    @retry_on_conflict(5, lambda: ConflictError("Others are changing the client; try again."))
    async def revoke_secret(self, client_id: str, secret_id: str, tenant: str = "") -> Client:
        """Revoke a secret of a client. It gets no token, and its tokens are not valid any more.

        Raises NotFoundError as `revoke` does, and ConflictError if no other secret is valid.
        """
        entity, client = await self._find(client_id, tenant)
        _refuse_entra(client)
        target = {"clientId": client.client_id, "secret": secret_id}
        async with self._audit.act(client.tenant, Action.SECRET_REVOKE, target):
            secrets = without_key(client.secrets, secret_id, self._clock.now(), KeyNoun.SECRET)
            changed = replace(client, secrets=secrets)
            await self._tables.write(CLIENTS, Replace(client_to_entity(changed, entity.etag)))
        return changed

    async def find(self, client_id: str, tenant: str = "") -> Client:
        """The client, with the last use of its secrets. Raises NotFoundError as `revoke` does."""
        return (await self._find(client_id, tenant))[1]

    async def _find(self, client_id: str, tenant: str) -> tuple[Entity, Client]:
        owner = (await self._tenants.find(tenant)).id if tenant else ""
        if not 1 <= len(normal_client_id(client_id)) <= MOST_CLIENT_ID:
            raise _no_such_client()
        entity = await self._tables.get(CLIENTS, PARTITION, client_row(client_id))
        if entity is None:
            raise _no_such_client()
        client = client_from_entity(entity)
        if owner not in ("", client.tenant):
            raise _no_such_client()
        return entity, client

    async def _new_secret(self, expires: datetime | None) -> tuple[str, StoredKey]:
        """A new secret in the clear, and what is stored of it."""
        now, clear = self._clock.now(), new_client_secret()
        expires_at = expiry_text(expires, now)
        secret_hash = await asyncio.to_thread(hash_client_secret, clear)
        return clear, StoredKey(secret_hash, to_iso(now), expires_at)

    def _make_client(
        self,
        client_id: str,
        tenant: str,
        name: str,
        scope_names: Iterable[Scope],
        client_secrets: tuple[StoredKey, ...],
    ) -> Client:
        return Client(
            client_id=client_id,
            tenant=tenant,
            name=name,
            scopes=_checked_scopes(scope_names),
            registration=self._ids.new(),
            created_at=to_iso(self._clock.now()),
            secrets=client_secrets,
        )

    async def _insert(self, client: Client) -> Client:
        target, after = {"clientId": client.client_id}, _settings(client)
        async with self._audit.act(client.tenant, Action.CLIENT_ADD, target, after=after):
            try:
                await self._tables.write(CLIENTS, Insert(client_to_entity(client)))
            except PreconditionFailedError:
                raise ConflictError(
                    "A client of this id exists already, maybe in another tenant: choose another "
                    "name, or revoke that one first."
                ) from None
        return client


def _checked_scopes(names: Iterable[Scope]) -> frozenset[Scope]:
    scopes = frozenset(names)
    if not scopes:
        raise InvalidRequestError(f"A client needs at least one scope of {', '.join(Scope)}.")
    return scopes


def _settings(client: Client) -> dict[str, Any]:
    """What the audit log stores about a client; nothing about its secret."""
    return {
        "name": client.name,
        "scopes": sorted(client.scopes),
        "identityProvider": "entra" if client.is_entra_client else "local",
    }


def client_view(client: Client) -> dict[str, Any]:
    """A client for programs, without its tenant and its secrets."""
    return {
        "clientId": client.client_id,
        "name": client.name,
        "scopes": sorted(client.scopes),
        "identityProvider": "entra" if client.is_entra_client else "local",
        "createdAt": client.created_at,
        "lastUsedAt": client.last_used_at or None,
        "secrets": [key_view(secret) for secret in client.secrets],
    }


def _no_such_client() -> NotFoundError:
    return NotFoundError("There is no client of this id: check it in the list of clients.")


def _refuse_entra(client: Client) -> None:
    if client.is_entra_client:
        raise ConflictError("Entra keeps the secrets of this client: make and revoke them there.")


def _clean_client_id(text: str) -> str:
    client_id = normal_client_id(text)
    if not 1 <= len(client_id) <= MOST_CLIENT_ID or not client_id.isprintable():
        raise InvalidRequestError(
            f"The name of a client must have 1 to {MOST_CLIENT_ID} characters, no control "
            "characters among them."
        )
    return client_id
