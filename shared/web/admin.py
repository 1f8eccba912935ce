"""Administration of a tenant over HTTP: `/api/admin/…` (docs/contracts.md#8).

The calls use the services of `manage.py`, always with the tenant of the caller: no call names a
tenant. What concerns more than a tenant is left to the command: tenants themselves, features,
applications of Entra (whose ids no caller proves to own), and keys of the gateway.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import azure.functions as func

from shared.auth.callers import Caller, TokenCaller
from shared.auth.clients import Scope, normal_client_id
from shared.auth.integrations import ADMIN, Integration, ReadPermission, read_permissions
from shared.errors import ConflictError, InvalidRequestError, TooLargeError
from shared.imports.authdata.model import FIELDS
from shared.imports.authdata.rules import percent_text
from shared.imports.documents.rounds import RoundStatus
from shared.imports.files.profile import ProfileRefusedError
from shared.imports.import_type import OnExisting, ReferenceKind
from shared.imports.model import MAX_REFERENCE
from shared.imports.text_checks import escaped
from shared.services.admin.audit import acting
from shared.services.admin.clients import IssuedClient, client_view
from shared.services.admin.tenants import IssuedKey, integration_settings, key_view
from shared.services.background import to_thread_if_large
from shared.services.profiles import entry_view, profile_view
from shared.web.audit import audit_page, read_moment
from shared.web.imports import json_answer
from shared.web.query_names import ADMIN_NAMES
from shared.web.requests import (
    check_accepts_json,
    check_sends_json,
    check_size,
    text_body,
    whole_number,
)

if TYPE_CHECKING:
    from enum import StrEnum

    from shared.auth.callers import AnyCaller
    from shared.gateway import Gateway

ADMIN_PATH: Final = "/api/admin"
OWN_CREDENTIAL: Final = (
    "This call was made with what it would end, so nothing was done: make it with another key, "
    "secret or caller that has the permission admin."
)
_LONGEST_VERSION: Final = 999_999
# The most characters of a text, which services normalise before they check its length.
_LONGEST_TEXT: Final = 4_000
# The most bytes of a body, but for a list of values.
_MOST_BYTES: Final = 262_144
_MOST_NAMED: Final = 60
Answer = Mapping[str, Any]
Name = TypeVar("Name", bound="StrEnum")


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of an administrator. `content` is its body; `named` are values of its address."""

    gateway: Gateway
    caller: AnyCaller
    query: Mapping[str, str]
    named: Mapping[str, str]
    content: bytes

    @property
    def tenant(self) -> str:
        return self.caller.tenant

    def asked(self, name: str) -> str:
        """A value of the query. Raises InvalidRequestError where it is missing."""
        text = self.query.get(name.lower(), "").strip()
        if not text:
            raise InvalidRequestError(f"The query lacks {name}: send it.")
        return _bounded(name, text)

    async def body(self, *names: str) -> _Body:
        """The body, an object with these properties. Raises InvalidRequestError."""
        document = await to_thread_if_large(len(self.content), _read_object, self.content)
        unknown = [name for name in document if name not in names]
        if unknown:
            shown = ", ".join(escaped(name)[:_MOST_NAMED] for name in unknown[:5])
            raise InvalidRequestError(
                f"The body has properties that this call does not take: {shown}. Correct or remove "
                f"them: it takes {', '.join(names)}."
            )
        return _Body(document)


def _read_object(content: bytes) -> dict[str, Any]:
    def reject_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=reject_repeated_names)
        # Storage takes no lone surrogate, which JSON can escape.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidRequestError(
            "The body is not valid JSON, or names a property twice: send one object in UTF-8."
        ) from None
    if not isinstance(document, dict):
        raise InvalidRequestError("The body is no JSON object: send one.")
    return document


@dataclass(frozen=True, slots=True)
class _Body:
    """The properties of a body. Every method raises InvalidRequestError for another type."""

    document: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        value: str | None = self._typed_value(name, str, "text")
        return None if value is None else _bounded(name, value)

    def needed(self, name: str) -> str:
        """A text that must be there."""
        text = self.text(name)
        if text is None:
            raise InvalidRequestError(f"The body lacks {name}: send it as text.")
        return text

    def flag(self, name: str, default: bool) -> bool:
        value = self._typed_value(name, bool, "true or false")
        return default if value is None else value

    def number(self, name: str, default: int) -> int:
        value = self.document.get(name)
        if value is None:
            return default
        if type(value) is not int:
            raise InvalidRequestError(f"{name} must be a whole number.")
        return value

    def texts(self, name: str) -> list[str] | None:
        values: list[Any] | None = self._typed_value(name, list, "a list of texts")
        if values is not None and not all(isinstance(value, str) for value in values):
            raise InvalidRequestError(f"{name} must be a list of texts.")
        return values

    def inner(self, name: str, *names: str) -> _Body:
        """An object within the body, empty where it is missing."""
        document: dict[str, Any] = self._typed_value(name, dict, "an object") or {}
        if not document.keys() <= set(names):
            raise InvalidRequestError(f"{name} must have no properties but {', '.join(names)}.")
        return _Body(document)

    def one_of(self, name: str, kind: type[Name], default: Name) -> Name:
        text = self.text(name)
        if text is None:
            return default
        choice = next((each for each in kind if each.value.lower() == text.strip().lower()), None)
        if choice is None:
            raise InvalidRequestError(f"{name} must be one of {', '.join(kind)}.")
        return choice

    def moment(self, name: str) -> datetime | None:
        return read_moment(name, self.text(name))

    def _typed_value(self, name: str, kind: type[Any], meaning: str) -> Any:
        value = self.document.get(name)
        if value is not None and not isinstance(value, kind):
            raise InvalidRequestError(f"{name} must be {meaning}.")
        return value


def _bounded(name: str, text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise InvalidRequestError(f"{name} must have at most {_LONGEST_TEXT} characters.")
    return text


async def admin_call(gateway: Gateway, area: str, req: func.HttpRequest) -> func.HttpResponse:
    """Refuse in the order of docs/contracts.md#0, do what the area does by that method."""
    caller = await gateway.callers.authenticate_for(req.headers, ADMIN, Scope.ADMIN)
    query = ADMIN_NAMES[area, req.method].read(req)
    most = gateway.settings.max_body_bytes
    check_size(req, most if area == "references" else min(most, _MOST_BYTES))
    check_accepts_json(req)
    check_sends_json(req)
    call = _Call(gateway, caller, query, req.route_params, req.get_body())
    if area == "profile" and req.method == "PUT":
        call = replace(call, content=await text_body(req))
    with acting(caller.named):
        return json_answer(await _ACTS[area, req.method](call))


async def _show_tenant(call: _Call) -> Answer:
    tenant = await call.gateway.tenants.find(call.tenant)
    features = await call.gateway.documents.features.find(tenant.id) or ()
    return {
        "tenant": tenant.id,
        "name": tenant.name,
        "createdAt": tenant.created_at,
        "features": sorted(features),
    }


# Integrations and their function keys.

_SETTINGS: Final = ("name", "onExisting", "database", "read", "permissions")


def _integration_view(integration: Integration) -> Answer:
    return {"softwareKey": integration.software_key, **integration_settings(integration)}


def _changed(integration: Integration, body: _Body) -> Integration:
    """The integration with the settings that the body names."""
    database = body.inner("database", "active", "version")
    permissions = body.texts("permissions")
    name = body.text("name")
    return replace(
        integration,
        name=integration.name if name is None else name,
        enabled=body.flag("enabled", integration.enabled),
        on_existing=body.one_of("onExisting", OnExisting, integration.on_existing),
        database=replace(
            integration.database,
            active=database.flag("active", integration.database.active),
            version=database.number("version", integration.database.version),
        ),
        read=body.one_of("read", ReadPermission, integration.read),
        permissions=integration.permissions
        if permissions is None
        else read_permissions(permissions),
    )


async def _list_integrations(call: _Call) -> Answer:
    integrations = await call.gateway.tenants.list_integrations(call.tenant)
    return {"integrations": [_integration_view(each) for each in integrations]}


async def _add_integration(call: _Call) -> Answer:
    body = await call.body("softwareKey", "expiresAt", *_SETTINGS)
    integration = _changed(Integration(call.tenant, body.needed("softwareKey"), ""), body)
    issued = await call.gateway.tenants.add_integration(integration, body.moment("expiresAt"))
    return {**_integration_view(issued.integration), "key": _issued_view(issued)}


async def _change_integration(call: _Call) -> Answer:
    body = await call.body("softwareKey", "enabled", *_SETTINGS)

    def change(stored: Integration) -> Integration:
        changed = _changed(stored, body)
        if _is_own(call, stored.software_key) and not (changed.enabled and changed.may(ADMIN)):
            raise ConflictError(OWN_CREDENTIAL)
        return changed

    tenants = call.gateway.tenants
    return _integration_view(
        await tenants.change_integration(call.tenant, body.needed("softwareKey"), change)
    )


async def _list_keys(call: _Call) -> Answer:
    keys = await call.gateway.tenants.list_keys(call.tenant, call.asked("softwareKey"))
    return {"keys": [key_view(key) for key in keys]}


async def _add_key(call: _Call) -> Answer:
    body = await call.body("softwareKey", "expiresAt")
    return _issued_view(
        await call.gateway.tenants.add_key(
            call.tenant, body.needed("softwareKey"), body.moment("expiresAt")
        )
    )


async def _revoke_key(call: _Call) -> Answer:
    key_id = call.asked("id")
    if isinstance(call.caller, Caller) and call.caller.key_id == key_id:
        raise ConflictError(OWN_CREDENTIAL)
    software_key = call.asked("softwareKey")
    return key_view(await call.gateway.tenants.revoke_key(call.tenant, software_key, key_id))


def _issued_view(issued: IssuedKey) -> Answer:
    return {**key_view(issued.key), "functionKey": issued.function_key}


def _is_own(call: _Call, software_key: str) -> bool:
    return isinstance(call.caller, Caller) and call.caller.software_key == software_key


# OAuth clients and their secrets. Ids are made here: a chosen one would tell by its refusal which
# ids other tenants have.


async def _list_clients(call: _Call) -> Answer:
    clients = await call.gateway.clients.list_clients(call.tenant)
    return {"clients": [client_view(each) for each in clients]}


async def _add_client(call: _Call) -> Answer:
    body = await call.body("scopes", "expiresAt")
    scopes = _named_scopes(body)
    return _client_issued(
        await call.gateway.clients.add(call.tenant, "", scopes, body.moment("expiresAt"))
    )


async def _change_client(call: _Call) -> Answer:
    body = await call.body("clientId", "scopes")
    client_id, scopes = body.needed("clientId"), _named_scopes(body)
    if _is_own_client(call, client_id) and Scope.ADMIN not in scopes:
        raise ConflictError(OWN_CREDENTIAL)
    client, _ = await call.gateway.clients.change_scopes(client_id, scopes, call.tenant)
    return client_view(client)


def _named_scopes(body: _Body) -> list[Scope]:
    names = body.texts("scopes") or []
    if not names or not set(names) <= set(Scope):
        raise InvalidRequestError(f"scopes must name one or more of {', '.join(Scope)}.")
    return list(map(Scope, names))


def _is_own_client(call: _Call, client_id: str) -> bool:
    caller = call.caller
    return isinstance(caller, TokenCaller) and caller.client_id == normal_client_id(client_id)


async def _revoke_client(call: _Call) -> Answer:
    client_id = call.asked("clientId")
    if _is_own_client(call, client_id):
        raise ConflictError(OWN_CREDENTIAL)
    return client_view(await call.gateway.clients.revoke(client_id, call.tenant))


async def _add_secret(call: _Call) -> Answer:
    body = await call.body("clientId", "expiresAt")
    return _client_issued(
        await call.gateway.clients.add_secret(
            body.needed("clientId"), call.tenant, body.moment("expiresAt")
        )
    )


async def _revoke_secret(call: _Call) -> Answer:
    secret_id = call.asked("id")
    if isinstance(call.caller, TokenCaller) and call.caller.secret_id == secret_id:
        raise ConflictError(OWN_CREDENTIAL)
    client_id = call.asked("clientId")
    return client_view(await call.gateway.clients.revoke_secret(client_id, secret_id, call.tenant))


def _client_issued(issued: IssuedClient) -> Answer:
    return {**client_view(issued.client), "clientSecret": issued.client_secret}


# Rules for rows: profiles, lists of values, thresholds and formats; communication rounds.


async def _list_profiles(call: _Call) -> Answer:
    entries = await call.gateway.profiles.list_profiles(call.tenant)
    return {"profiles": [entry_view(each) for each in entries]}


async def _show_profile(call: _Call) -> Answer:
    version = whole_number(call.query, "version", 0, _LONGEST_VERSION)
    profiles = call.gateway.profiles
    return profile_view(await profiles.get(call.tenant, call.named["name"], version))


async def _set_profile(call: _Call) -> Answer:
    text = call.content.decode("utf-8-sig")
    try:
        version, _ = await call.gateway.profiles.set(call.tenant, call.named["name"], text)
    except ProfileRefusedError as error:
        raise InvalidRequestError(error.message) from None
    return profile_view(version)


async def _delete_profile(call: _Call) -> Answer:
    ref = await call.gateway.profiles.delete(call.tenant, call.named["name"])
    return {"name": ref.name, "version": ref.version}


async def _load_list(call: _Call) -> Answer:
    name = call.named["kind"].lower()
    if name not in tuple(ReferenceKind):
        raise InvalidRequestError(f"A list must be of one of {', '.join(ReferenceKind)}.")
    kind = ReferenceKind(name)
    values = [value for value in (await call.body("values")).texts("values") or () if value.strip()]
    if not values:
        raise InvalidRequestError(
            "values has no values, so the list stays as it was: send all values of the list."
        )
    most = call.gateway.settings.max_rows
    if len(values) > most:
        raise TooLargeError(
            f"The list has {len(values)} values and the limit is {most}: send fewer of them."
        )
    if any(len(value) > MAX_REFERENCE for value in values):
        raise InvalidRequestError(
            f"A value must have at most {MAX_REFERENCE} characters, as a field that names one."
        )
    count = await call.gateway.lists.load(call.tenant, kind, values)
    return {"kind": kind.value, "values": count}


_THRESHOLDS: Final = ("added", "updated", "errors")


async def _show_thresholds(call: _Call) -> Answer:
    thresholds = (await call.gateway.authdata.rules.for_tenant(call.tenant)).thresholds
    percents = {name: getattr(thresholds, name) for name in _THRESHOLDS}
    return {name: None if each is None else percent_text(each) for name, each in percents.items()}


async def _set_thresholds(call: _Call) -> Answer:
    changes = await _changes(call, _THRESHOLDS)
    thresholds = await call.gateway.authdata.rules.set_thresholds(call.tenant, changes)
    percents = {name: getattr(thresholds, name) for name in _THRESHOLDS}
    return {name: None if each is None else percent_text(each) for name, each in percents.items()}


async def _show_formats(call: _Call) -> Answer:
    formats = (await call.gateway.authdata.rules.for_tenant(call.tenant)).formats
    return {name: formats.patterns.get(name) for name in FIELDS}


async def _set_formats(call: _Call) -> Answer:
    changes = await _changes(call, FIELDS)
    formats = await call.gateway.authdata.rules.set_formats(call.tenant, changes)
    return {name: formats.patterns.get(name) for name in FIELDS}


async def _changes(call: _Call, names: Sequence[str]) -> dict[str, str | None]:
    """The named values of a body; None for one that is to be removed."""
    body = await call.body(*names)
    if not body.document:
        raise InvalidRequestError(f"Nothing to set: name at least one of {', '.join(names)}.")
    return {name: body.text(name) for name in body.document}


async def _list_rounds(call: _Call) -> Answer:
    rounds = await call.gateway.documents.rounds.list_rounds(call.tenant)
    return {"rounds": [{"code": each.code, "status": each.status.value} for each in rounds]}


async def _add_round(call: _Call) -> Answer:
    body = await call.body("code", "status")
    status = body.one_of("status", RoundStatus, RoundStatus.OPEN)
    round_ = await call.gateway.documents.rounds.add(call.tenant, body.needed("code"), status)
    return {"code": round_.code, "status": round_.status.value}


async def _change_round(call: _Call) -> Answer:
    body = await call.body("code", "status")
    code, _ = body.needed("code"), body.needed("status")
    status = body.one_of("status", RoundStatus, RoundStatus.OPEN)
    round_ = await call.gateway.documents.rounds.change(call.tenant, code, status)
    return {"code": round_.code, "status": round_.status.value}


async def _audit(call: _Call) -> Answer:
    return await audit_page(call.gateway, call.tenant, call.query)


_ACTS: Final[Mapping[tuple[str, str], Callable[[_Call], Awaitable[Answer]]]] = {
    ("tenant", "GET"): _show_tenant,
    ("integrations", "GET"): _list_integrations,
    ("integrations", "POST"): _add_integration,
    ("integrations", "PATCH"): _change_integration,
    ("keys", "GET"): _list_keys,
    ("keys", "POST"): _add_key,
    ("keys", "DELETE"): _revoke_key,
    ("clients", "GET"): _list_clients,
    ("clients", "POST"): _add_client,
    ("clients", "PATCH"): _change_client,
    ("clients", "DELETE"): _revoke_client,
    ("secrets", "POST"): _add_secret,
    ("secrets", "DELETE"): _revoke_secret,
    ("profiles", "GET"): _list_profiles,
    ("profile", "GET"): _show_profile,
    ("profile", "PUT"): _set_profile,
    ("profile", "DELETE"): _delete_profile,
    ("references", "PUT"): _load_list,
    ("thresholds", "GET"): _show_thresholds,
    ("thresholds", "PATCH"): _set_thresholds,
    ("formats", "GET"): _show_formats,
    ("formats", "PATCH"): _set_formats,
    ("rounds", "GET"): _list_rounds,
    ("rounds", "POST"): _add_round,
    ("rounds", "PATCH"): _change_round,
    ("audit", "GET"): _audit,
}
