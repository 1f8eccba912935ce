"""An OAuth client: a program of a tenant that requests tokens (docs/contracts.md#4).

Client ids are unique in the whole gateway, since a token request names no tenant. A client of
Entra is identified by its application id, and the gateway stores no secret for it. Revoking a
client deletes it. If a client is later added under the same id, its `registration` differs, so
that tokens of the first client are not valid for the second.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shared.auth.lookups import CachedLookups
from shared.clock import Clock
from shared.guids import is_guid
from shared.imports.registry import IMPORT_TYPES
from shared.storage.entities import encode
from shared.storage.names import CLIENTS
from shared.storage.ports import Entity, Tables

# The scopes of bearer tokens, and the import types that each covers (docs/contracts.md#0 and
# docs/contracts.md#4).


class Scope(StrEnum):
    """A scope; the value is its name in tokens and in the options of `manage.py client`."""

    IMPORT_INBOX = "import_inbox"
    IMPORT_AUTHDATA = "import_authdata"
    READ_RECORDS = "read_records"
    READ_SENSITIVE = "read_sensitive"

    @property
    def type_name(self) -> str:
        """The import type whose imports a token of this scope sees; "" where it sees none."""
        names = (kind.name for kind in IMPORT_TYPES.values() if kind.scope == self.value)
        return next(names, "")

    @property
    def meaning(self) -> str:
        """What a token of this scope is good for, for the documents."""
        return _MEANINGS.get(self.value) or f"Imports of {self.type_name}."


_MEANINGS: Final = {
    Scope.READ_RECORDS.value: "Stored records; their sensitive values are masked.",
    Scope.READ_SENSITIVE.value: "With read_records: also the sensitive values of records.",
}
# All clients share a partition: they are few, and listed in order of their id.
PARTITION = "clients"

MOST_CLIENT_ID = 200


@dataclass(frozen=True, slots=True)
class Client:
    """One client. `secret_hash` is empty for a client of Entra, `created_at` is ISO text."""

    client_id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    registration: str
    created_at: str = ""
    secret_hash: str = field(default="", repr=False)

    @property
    def is_entra_client(self) -> bool:
        """Whether Entra keeps its secret."""
        return not self.secret_hash


def normal_client_id(text: str) -> str:
    """A client id as it is compared: trimmed, in Unicode NFC. Case matters except in a GUID."""
    client_id = unicodedata.normalize("NFC", text.strip())
    return client_id.lower() if is_application_id(client_id) else client_id


def is_application_id(client_id: str) -> bool:
    """Whether it has the form of an application id of Entra."""
    return is_guid(client_id)


def client_row(client_id: str) -> str:
    return encode(normal_client_id(client_id))


def client_to_entity(client: Client) -> Entity:
    values = {
        "clientId": client.client_id,
        "tenant": client.tenant,
        "name": client.name,
        "scopes": " ".join(sorted(client.scopes)),
        "registration": client.registration,
        "createdAt": client.created_at,
        "secretHash": client.secret_hash,
    }
    return Entity(PARTITION, client_row(client.client_id), values)


def client_from_entity(entity: Entity) -> Client:
    """The client of an entity. A scope that this version does not know is left out."""
    return Client(
        client_id=entity.text("clientId"),
        tenant=entity.text("tenant"),
        name=entity.text("name"),
        scopes=known_scopes(entity.text("scopes").split()),
        registration=entity.text("registration"),
        created_at=entity.text("createdAt"),
        secret_hash=entity.text("secretHash"),
    )


def known_scopes(names: list[str]) -> frozenset[Scope]:
    """The scopes of these names; unknown names are ignored."""
    return frozenset(scope for scope in Scope if scope.value in names)


class ClientLookups:
    """Finds clients by id for token requests and tokens. Caches them for `cache_seconds`."""

    def __init__(self, tables: Tables, clock: Clock, cache_seconds: float) -> None:
        self._tables = tables
        self._lookups = CachedLookups(self._read, clock, cache_seconds)

    async def find(self, client_id: str) -> Client | None:
        """The client of that id, None for a revoked or unknown one."""
        return await self._lookups.get(client_row(client_id))

    async def read(self, client_id: str) -> Client | None:
        """Read the client from storage, in the same time whether the id is known or not.

        For calls that are not authenticated yet. A cached answer would be faster, and the time
        would show which ids are in use. For the same reason this is a query: it takes as long if
        it finds nothing, while a point read of a missing row is an error of another duration.
        """
        row = client_row(client_id)
        entities = await self._tables.query(CLIENTS, PARTITION, row, row)
        return client_from_entity(entities[0]) if entities else None

    async def _read(self, row: str) -> Client | None:
        entity = await self._tables.get(CLIENTS, PARTITION, row)
        return None if entity is None else client_from_entity(entity)
