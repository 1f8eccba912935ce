"""Tenants for tests, made in a few milliseconds, and whose call is whose.

See docs/stand-in.md#tenants.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from local_host.indexing import AppFunction
from local_host.standin.control_calls import RefusedCallError
from shared.auth.clients import (
    Client,
    Scope,
    client_to_entity,
    hash_client_secret,
    new_client_secret,
)
from shared.auth.integrations import (
    DEFAULT_PERMISSIONS,
    MOST_SOFTWARE_KEY,
    PERMISSIONS,
    ROW,
    Database,
    FunctionKey,
    Integration,
    ReadPermission,
    hash_function_key,
    integration_to_entity,
    key_from_entity,
    key_to_entity,
    new_function_key,
)
from shared.auth.stored_keys import StoredKey
from shared.bootstrap import gateway
from shared.clock import to_iso
from shared.errors import GatewayError, PreconditionFailedError
from shared.imports.documents.rounds import (
    Feature,
    Round,
    RoundStatus,
    feature_column,
    round_to_entity,
)
from shared.imports.import_type import OnExisting
from shared.services.admin.tenants import MOST_NAME, Tenant, tenant_to_entity
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage.names import (
    CLIENTS,
    COMMUNICATION_ROUNDS,
    FUNCTION_KEYS,
    INTEGRATIONS,
    TENANTS,
)
from shared.storage.ports import Insert

ROUND = "ROUND-1"
_SLUG = re.compile(r"[a-z0-9-]{3,40}")
_FIELDS = frozenset(
    (
        "tenant",
        "name",
        "softwareKey",
        "permissions",
        "scopes",
        "read",
        "onExisting",
        "enabled",
        "database",
    )
)
_TOKEN_PATH = "/connect/token"  # noqa: S105 (a path)


class TestTenants:
    """Makes tenants, and finds the tenant of a call by its credential."""

    __test__ = False

    def __init__(self, address: str) -> None:
        """`address` is that of the gateway."""
        self.token_url = f"{address}{_TOKEN_PATH}"
        self._by_key: dict[str, str] = {}
        self._by_client: dict[str, str] = {}
        # What each tenant was answered when it was made, for snapshots.
        self.made: dict[str, dict[str, Any]] = {}

    async def create(self, document: Any) -> dict[str, Any]:
        """A new tenant with an integration, a client and a round; raises RefusedCallError."""
        properties = _read(document)
        app = await gateway()
        slug = properties.get("tenant") or f"test-{secrets.token_hex(6)}"
        functions_key, secret = new_function_key(), new_client_secret()
        key_hash = hash_function_key(functions_key)
        integration = _integration(slug, properties, key_hash)
        client = _client(slug, properties, secret)
        tenant = Tenant(slug, properties.get("name") or slug, client.created_at)
        tables = app.account.tables
        try:
            await tables.write(
                TENANTS,
                Insert(
                    tenant_to_entity(tenant, {feature_column(feature): True for feature in Feature})
                ),
            )
        except PreconditionFailedError:
            raise RefusedCallError(409, f"There is a tenant {slug}: choose another id.") from None
        # Not by the services of the administrator, which read and write five times as much.
        await asyncio.gather(
            tables.write(
                FUNCTION_KEYS,
                Insert(key_to_entity(FunctionKey(key_hash, slug, integration.software_key))),
            ),
            tables.write(INTEGRATIONS, Insert(integration_to_entity(integration))),
            tables.write(CLIENTS, Insert(client_to_entity(client))),
            tables.write(
                COMMUNICATION_ROUNDS, Insert(round_to_entity(slug, Round(ROUND, RoundStatus.OPEN)))
            ),
        )
        made = {
            "tenant": slug,
            "functionsKey": functions_key,
            "softwareKey": integration.software_key,
            "permissions": sorted(integration.permissions),
            "clientId": client.client_id,
            "clientSecret": secret,
            "scopes": [scope.value for scope in Scope if scope in client.scopes],
            "tokenUrl": self.token_url,
            "communicationRound": ROUND,
            "database": {
                "active": integration.database.active,
                "version": integration.database.version,
            },
        }
        self.learn(made)
        return made

    def learn(self, made: Mapping[str, Any]) -> None:
        """Remember the credentials of a tenant, as `create` has answered them."""
        tenant = str(made["tenant"])
        self._by_key[hash_function_key(str(made["functionsKey"]))] = tenant
        self._by_client[str(made["clientId"])] = tenant
        self.made[tenant] = dict(made)

    def forget(self) -> None:
        """Forget every tenant."""
        self._by_key.clear()
        self._by_client.clear()
        self.made.clear()

    async def find(self, path: str, headers: Mapping[str, str], form: bytes) -> str:
        """The tenant whose credential a call has, whether it is valid or not; "" without one.

        `form` is the body of a token request.
        """
        authorization = headers.get("authorization", "")
        scheme, _, credential = authorization.strip().partition(" ")
        if path.lower().rstrip("/") == _TOKEN_PATH:
            return self._by_client.get(_client_id(scheme, credential, form), "")
        if scheme.lower() == "bearer":
            return _tenant_of_token(credential.strip())
        key = headers.get("x-functions-key", "").strip()
        return await self._tenant_of_key(key) if key else ""

    async def find_worker(self, function: AppFunction, argument: Any) -> str | None:
        """The tenant that a running handler works for; None for a timer, which works for all."""
        if function.kind == "httpTrigger":
            return await self.find("", argument.headers, b"")
        if function.kind == "queueTrigger":
            with suppress(UnreadableMessageError):
                return ChunkMessage.from_text(argument.get_body()).tenant
        if function.kind == "blobTrigger":
            return str(argument.name).split("/")[1]
        return None

    async def _tenant_of_key(self, key: str) -> str:
        digest = hash_function_key(key)
        if digest in self._by_key:
            return self._by_key[digest]
        # A key that a command of manage.py has issued.
        tenant = ""
        try:
            entity = await (await gateway()).account.tables.get(FUNCTION_KEYS, digest, ROW)
            tenant = "" if entity is None else key_from_entity(entity).tenant
        except GatewayError:
            return ""
        if tenant:
            self._by_key[digest] = tenant
        return tenant


def _integration(slug: str, properties: Mapping[str, Any], key_hash: str) -> Integration:
    software_key = properties.get("softwareKey", f"SK-{slug}").strip()
    database = properties.get("database", {})
    return Integration(
        slug,
        software_key,
        software_key,
        enabled=properties.get("enabled", True),
        on_existing=OnExisting(properties.get("onExisting", OnExisting.DEFAULT)),
        database=Database(database.get("active", True), database.get("version", 1)),
        read=ReadPermission(properties.get("read", ReadPermission.FULL)),
        permissions=frozenset(properties.get("permissions", DEFAULT_PERMISSIONS)),
        keys=(StoredKey(key_hash),),
    )


def _client(slug: str, properties: Mapping[str, Any], secret: str) -> Client:
    return Client(
        client_id=f"{slug}-client",
        tenant=slug,
        name=f"{slug}-client",
        scopes=frozenset(Scope(name) for name in properties.get("scopes", Scope)),
        registration=str(uuid.uuid4()),
        created_at=to_iso(datetime.now(UTC)),
        # The secret has 256 random bits; a slow hash would cost each test half a second.
        secrets=(StoredKey(hash_client_secret(secret, log_n=1, p=1)),),
    )


def _client_id(scheme: str, credential: str, form: bytes) -> str:
    if scheme.lower() == "basic":
        try:
            user = base64.b64decode(credential, validate=True).decode("utf-8")
        except ValueError:
            return ""
        return unquote(user.partition(":")[0])
    fields = parse_qs(form.decode("utf-8", "replace"))
    return fields.get("client_id", [""])[0]


def _tenant_of_token(token: str) -> str:
    """The claim of a token; the app, not this, decides whether the token is valid."""
    claims = token.split(".")[1:2]
    try:
        raw = base64.urlsafe_b64decode((claims[0] if claims else "") + "===")
        document = json.loads(raw)
    except ValueError:
        return ""
    tenant = document.get("tenant") if isinstance(document, dict) else None
    return tenant if isinstance(tenant, str) else ""


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and value.isprintable() and 1 <= len(value.strip()) <= most


def _read(document: Any) -> dict[str, Any]:
    """The properties of a request. Raises RefusedCallError with everything that is wrong."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise RefusedCallError(400, "No tenant was created: send a JSON object, or no body.")
    errors = [
        f"The body has no property {name!r}; it knows {', '.join(sorted(_FIELDS))}."
        for name in document
        if name not in _FIELDS
    ]
    errors += [
        f"{name} must be text of 1 to {most} characters."
        for name, most in (("name", MOST_NAME), ("softwareKey", MOST_SOFTWARE_KEY))
        if name in document and not _is_text(document[name], most)
    ]
    slug = document.get("tenant", "abc")
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        errors.append("tenant must have 3 to 40 characters of a-z, 0-9 and -.")
    for name, kind in (("read", ReadPermission), ("onExisting", OnExisting)):
        if name in document and document[name] not in list(kind):
            errors.append(f"{name} must be one of {', '.join(kind)}.")
    for name, known in (("scopes", tuple(Scope)), ("permissions", PERMISSIONS)):
        chosen = document.get(name, known)
        is_list = name not in document or isinstance(chosen, list)
        if not is_list or not chosen or any(each not in known for each in chosen):
            errors.append(f"{name} must be a list of some of {', '.join(known)}.")
    if not isinstance(document.get("enabled", True), bool):
        errors.append("enabled must be true or false.")
    database = document.get("database", {})
    if (
        not isinstance(database, dict)
        or not isinstance(database.get("active", True), bool)
        or type(database.get("version", 1)) is not int
        or set(database) - {"active", "version"}
    ):
        errors.append('database must be an object such as {"active": true, "version": 1}.')
    if errors:
        raise RefusedCallError(
            400, "No tenant was created: correct the properties that `errors` lists.", errors
        )
    return document
