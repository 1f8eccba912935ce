"""An integration: one vendor system of a tenant, with the options for importing its rows.

The integration records the hash of its current function key, and only that key is valid. So a
rotation is one conditional write, even if the process dies around it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.errors import UnreadableDataError
from shared.imports.import_type import OnExisting, Options
from shared.storage.entities import decode, encode
from shared.storage.ports import Entity, Value, reading

# The version of a new integration's database (docs/contracts.md#1).
DEFAULT_DATABASE_VERSION = 1
MOST_SOFTWARE_KEY = 100


class ReadPermission(StrEnum):
    """How much of stored records a caller may read (docs/contracts.md#7).

    The value is what `--read` takes. MASKED hides sensitive values.
    """

    NONE = "none"
    MASKED = "masked"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Database:
    """The Pay & Bill database of the integration, as the vendor's contract knows it."""

    active: bool = True
    version: int = DEFAULT_DATABASE_VERSION


@dataclass(frozen=True, slots=True)
class Integration:
    """One integration. `key_hash` is the SHA-256 of its current function key, in hex."""

    tenant: str
    software_key: str
    name: str
    enabled: bool = True
    on_existing: OnExisting = OnExisting.DEFAULT
    database: Database = field(default_factory=Database)
    read: ReadPermission = ReadPermission.MASKED
    key_hash: str = field(default="", repr=False)

    @property
    def options(self) -> Options:
        """The options for the rules."""
        return Options(on_existing=self.on_existing)


def integration_keys(tenant: str, software_key: str) -> tuple[str, str]:
    """Partition and row key in the table of integrations."""
    return encode(tenant), encode(software_key)


def integration_to_entity(integration: Integration, etag: str = "") -> Entity:
    """The entity of an integration. A conditional write needs the `etag` of the last read."""
    partition, row = integration_keys(integration.tenant, integration.software_key)
    values: Mapping[str, Value] = {
        "tenant": integration.tenant,
        "softwareKey": integration.software_key,
        "name": integration.name,
        "enabled": integration.enabled,
        "onExisting": integration.on_existing.value,
        "isOnExistingSaid": integration.on_existing is not OnExisting.DEFAULT,
        "databaseActive": integration.database.active,
        "databaseVersion": integration.database.version,
        "read": integration.read.value,
        "keyHash": integration.key_hash,
    }
    return Entity(partition, row, values, etag)


@reading("an integration")
def integration_from_entity(entity: Entity) -> Integration:
    """The integration of an entity. Raises UnreadableDataError."""
    if not isinstance(entity.values.get("keyHash"), str):
        raise ValueError("no hash of a key")
    return Integration(
        tenant=entity.text("tenant"),
        software_key=entity.text("softwareKey"),
        name=entity.text("name"),
        enabled=entity.flag("enabled"),
        on_existing=_on_existing(entity),
        database=Database(
            active=entity.flag("databaseActive"),
            version=entity.number("databaseVersion", DEFAULT_DATABASE_VERSION),
        ),
        read=ReadPermission(entity.text("read", ReadPermission.MASKED)),
        key_hash=entity.text("keyHash"),
    )


def _on_existing(entity: Entity) -> OnExisting:
    stored = OnExisting(entity.text("onExisting", OnExisting.DEFAULT))
    # Earlier versions stored `update` for every integration that did not say anything.
    is_unsaid = stored is OnExisting.UPDATE and not entity.flag("isOnExistingSaid")
    return OnExisting.DEFAULT if is_unsaid else stored


def integration_from_any_entity(entity: Entity) -> Integration:
    """The integration of an entity, or a disabled one in its place if it cannot be read.

    So lists show a broken integration, and `integration set` repairs it.
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


# Function keys. The gateway shows a new key once and stores only its hash.
#
# A key has 256 random bits, so a plain SHA-256 is enough: a slow hash protects only what can be
# guessed. The platform has its own function keys, but it does not pass the name of the used key to
# Python (docs/platform.md#1.11), and the contract requires a check of that name.

# The prefix of every key, so that a scanner for leaked secrets can recognise one.
PREFIX = "pig_"

ROW = "key"


@dataclass(frozen=True, slots=True)
class FunctionKey:
    """A function key's tenant, and its name, which is the software key."""

    key_hash: str = field(repr=False)
    tenant: str
    name: str


def new_function_key() -> str:
    """Make a new key. The gateway shows it once and stores only its hash."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_function_key(key: str) -> str:
    """SHA-256 in hex, 64 characters. Accepts any text, even one that UTF-8 cannot encode."""
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest()


def key_to_entity(key: FunctionKey) -> Entity:
    """The entity of a key. Each key has its own partition, so that a look-up is one point read."""
    return Entity(key.key_hash, ROW, {"tenant": key.tenant, "name": key.name})


def key_from_entity(entity: Entity) -> FunctionKey:
    return FunctionKey(entity.partition, entity.text("tenant"), entity.text("name"))
