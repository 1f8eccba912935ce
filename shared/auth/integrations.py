"""An integration: one vendor system of a tenant, and how its rows are to be taken.

It is also where the current function key is recorded: a key counts only while its integration
names its hash. So a rotation is one conditional write, whatever dies around it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.errors import UnreadableDataError
from shared.imports.import_type import OnExisting, Options
from shared.storage.entities import decode, encode
from shared.storage.ports import Entity, Value, reading

# What an integration has unless told otherwise (docs/contracts.md#1).
DEFAULT_DATABASE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Database:
    """The Pay & Bill database behind the integration, as its vendor sees it."""

    active: bool = True
    version: int = DEFAULT_DATABASE_VERSION


@dataclass(frozen=True, slots=True)
class Integration:
    """One integration; `key_hash` is the SHA-256 of its current function key, in hex."""

    tenant: str
    software_key: str
    name: str
    enabled: bool = True
    on_existing: OnExisting = OnExisting.UPDATE
    database: Database = field(default_factory=Database)
    key_hash: str = field(default="", repr=False)

    @property
    def options(self) -> Options:
        """What the rules need to know of it."""
        return Options(on_existing=self.on_existing)


def integration_keys(tenant: str, software_key: str) -> tuple[str, str]:
    """Partition and row key in the table of integrations."""
    return encode(tenant), encode(software_key)


def integration_to_entity(integration: Integration, etag: str = "") -> Entity:
    """As it is stored; `etag` is what was read, for a conditional write."""
    partition, row = integration_keys(integration.tenant, integration.software_key)
    values: Mapping[str, Value] = {
        "tenant": integration.tenant,
        "softwareKey": integration.software_key,
        "name": integration.name,
        "enabled": integration.enabled,
        "onExisting": integration.on_existing.value,
        "databaseActive": integration.database.active,
        "databaseVersion": integration.database.version,
        "keyHash": integration.key_hash,
    }
    return Entity(partition, row, values, etag)


@reading("an integration")
def integration_from_entity(entity: Entity) -> Integration:
    """The inverse of `integration_to_entity`. Raises UnreadableDataError."""
    if not isinstance(entity.values.get("keyHash"), str):
        raise ValueError("no hash of a key")
    return Integration(
        tenant=entity.text("tenant"),
        software_key=entity.text("softwareKey"),
        name=entity.text("name"),
        enabled=entity.flag("enabled"),
        on_existing=OnExisting(entity.text("onExisting", OnExisting.UPDATE)),
        database=Database(
            active=entity.flag("databaseActive"),
            version=entity.number("databaseVersion", DEFAULT_DATABASE_VERSION),
        ),
        key_hash=entity.text("keyHash"),
    )


def integration_from_any_entity(entity: Entity) -> Integration:
    """An integration that may be broken: what cannot be read is as in a new one, but disabled.

    So a list shows it, and `integration set` mends it.
    """
    try:
        return integration_from_entity(entity)
    except UnreadableDataError:
        software_key = decode(entity.row)
        return Integration(
            tenant=entity.partition,
            software_key=software_key,
            name=entity.text("name") or software_key,
            enabled=False,
            key_hash=entity.text("keyHash"),
        )


# Function keys: made here, shown once, stored as a hash.
#
# A key carries 256 random bits, so a plain SHA-256 is enough: there is nothing to guess that a
# slow hash would protect. The platform has function keys of its own, but it never tells Python
# the name of the key that was used (docs/platform.md#1.11), and the name is what the contract
# checks.

# Begins every key, so that a scanner for leaked secrets can know one.
PREFIX = "pig_"

ROW = "key"


@dataclass(frozen=True, slots=True)
class FunctionKey:
    """Whose key it is: the tenant, and the software key that is its name."""

    key_hash: str = field(repr=False)
    tenant: str
    name: str


def new_function_key() -> str:
    """A new key in the clear; the only time that it exists outside its owner's hands."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_function_key(key: str) -> str:
    """SHA-256 in hex, 64 characters; any text can be asked for."""
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


def key_to_entity(key: FunctionKey) -> Entity:
    """As it is stored: a partition of its own, so that a look-up is one point read."""
    return Entity(key.key_hash, ROW, {"tenant": key.tenant, "name": key.name})


def key_from_entity(entity: Entity) -> FunctionKey:
    """The inverse of `key_to_entity`."""
    return FunctionKey(entity.partition, entity.text("tenant"), entity.text("name"))
