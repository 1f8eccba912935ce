"""An integration: one vendor system of a tenant, with the options for importing its rows.

The integration records the hashes of its function keys, and only those keys are valid. So adding,
revoking and rotating a key is one conditional write each, even if the process dies around it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.auth.stored_keys import StoredKey, keys_from_text, keys_to_text
from shared.errors import InvalidRequestError, UnreadableDataError
from shared.imports.import_type import OnExisting, Options
from shared.imports.registry import IMPORT_TYPES
from shared.storage.entities import decode, encode
from shared.storage.ports import Entity, Merge, Value, reading

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


# What an integration may do (docs/contracts.md#0, permissions). Each call needs one of them.

IMPORT = "import"
READ = "read"
OPERATE = "operate"
ADMIN = "admin"
# For calls that any of them allows: what they show depends on which.
ANY = "any"
# `import:workers` and the like; `import` alone is the imports of every type.
PERMISSIONS = (IMPORT, *(f"{IMPORT}:{name}" for name in IMPORT_TYPES), READ, OPERATE, ADMIN)
# What an integration may do if nothing else is said, and those of earlier versions.
DEFAULT_PERMISSIONS = frozenset({IMPORT, READ, OPERATE})


def import_permission(type_name: str) -> str:
    """The permission to import rows of a type."""
    return f"{IMPORT}:{type_name}"


def read_permissions(names: Iterable[str]) -> frozenset[str]:
    """The permissions of these names. Raises InvalidRequestError for others, and for none."""
    permissions = frozenset(name.strip().lower() for name in names)
    if not permissions or not permissions <= set(PERMISSIONS):
        raise InvalidRequestError(
            "An integration has one or more of these permissions, name them: "
            f"{', '.join(PERMISSIONS)}."
        )
    return permissions


@dataclass(frozen=True, slots=True)
class Database:
    """The Pay & Bill database of the integration, as the vendor's contract knows it."""

    active: bool = True
    version: int = DEFAULT_DATABASE_VERSION


@dataclass(frozen=True, slots=True)
class Integration:
    """One integration. `keys` are its function keys, the newest first."""

    tenant: str
    software_key: str
    name: str
    enabled: bool = True
    on_existing: OnExisting = OnExisting.DEFAULT
    database: Database = field(default_factory=Database)
    read: ReadPermission = ReadPermission.MASKED
    permissions: frozenset[str] = DEFAULT_PERMISSIONS
    keys: tuple[StoredKey, ...] = ()

    def may(self, permission: str) -> bool:
        """Whether it has the permission that a call needs."""
        if permission.startswith(f"{IMPORT}:") and IMPORT in self.permissions:
            return True
        return permission == ANY or permission in self.permissions

    @property
    def allowed_read(self) -> ReadPermission:
        """What it may read of stored records: nothing without the permission `read`."""
        return self.read if self.may(READ) else ReadPermission.NONE

    def find_key(self, key_hash: str) -> StoredKey | None:
        """Its function key of that hash, compared in constant time."""
        matching = [key for key in self.keys if hmac.compare_digest(key.hash, key_hash)]
        return matching[0] if matching else None

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
        "permissions": " ".join(sorted(integration.permissions)),
        # Earlier versions know the newest key alone.
        "keyHash": integration.keys[0].hash if integration.keys else "",
        "keys": keys_to_text(integration.keys),
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
        permissions=_permissions(entity),
        keys=_keys(entity),
    )


def _permissions(entity: Entity) -> frozenset[str]:
    """Those that this version knows; an integration of an earlier version has the default."""
    if entity.values.get("permissions") is None:
        return DEFAULT_PERMISSIONS
    return frozenset(entity.text("permissions").split()) & frozenset(PERMISSIONS)


def _keys(entity: Entity) -> tuple[StoredKey, ...]:
    """The keys; of an integration of an earlier version the one that it knows."""
    text, newest = entity.text("keys"), entity.text("keyHash")
    if text:
        return keys_from_text(text)
    return (StoredKey(newest),) if newest else ()


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
        try:
            keys = _keys(entity)
        except (ValueError, KeyError, TypeError):
            keys = (StoredKey(entity.text("keyHash")),)
        return Integration(
            tenant=entity.partition,
            software_key=software_key,
            name=entity.text("name") or software_key,
            enabled=False,
            permissions=_permissions(entity),
            keys=keys,
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
    """A function key's tenant, its name, which is the software key, and its last use (ISO)."""

    key_hash: str = field(repr=False)
    tenant: str
    name: str
    used_at: str = ""


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
    return FunctionKey(
        entity.partition, entity.text("tenant"), entity.text("name"), entity.text("usedAt")
    )


def use_of_key(key_hash: str, at: str) -> Merge:
    """Writes the last use of a key, where it is still stored."""
    return Merge(Entity(key_hash, ROW, {"usedAt": at}))
