"""`/api/admin/…` as operations (docs/contracts.md#8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field

from shared.auth.clients import Scope
from shared.auth.integrations import ADMIN, PERMISSIONS, ReadPermission
from shared.imports.authdata.model import FIELDS
from shared.imports.authdata.staging import MAX_PERCENT
from shared.imports.documents.rounds import RoundStatus
from shared.imports.import_type import OnExisting, ReferenceKind
from shared.web.admin import ADMIN_PATH
from shared.web.openapi import audit
from shared.web.openapi.operations import JSON, TEXT, Access, Answer, Body, Operation, Parameter
from shared.web.openapi.schemas import AnswerModel, Content, Count

TAG: Final = "Administration"
Time = AwareDatetime | None


class Key(AnswerModel):
    """A function key or a client secret, without the key itself."""

    id: str = Field(description="Its id, which is no secret.")
    createdAt: Time = Field(description="When it was made; null where that is not known.")
    expiresAt: Time = Field(description="The moment from which it is refused; null: never.")
    lastUsedAt: Time = Field(description="Its last use, up to an hour old; null: none noted.")


class IssuedKey(Key):
    functionKey: str = Field(description="The key itself, which no other answer shows.")


class Keys(AnswerModel):
    keys: list[Key] = Field(description="The keys of the integration, the newest first.")


class DatabaseSettings(AnswerModel):
    active: bool = Field(description="Whether its Pay & Bill database is active.")
    version: Count = Field(description="The version of its Pay & Bill database.")


class Integration(AnswerModel):
    softwareKey: str = Field(description="What callers send as `X-Software-Key`.")
    name: str = Field(description="Its name for people.")
    enabled: bool = Field(description="Whether its calls are accepted.")
    onExisting: OnExisting = Field(description="What a row does to a record that is stored.")
    database: DatabaseSettings = Field(description="Its Pay & Bill database.")
    read: ReadPermission = Field(description="What it may read of stored records.")
    permissions: list[str] = Field(description=f"Some of {', '.join(PERMISSIONS)}.")


class IssuedIntegration(Integration):
    key: IssuedKey = Field(description="Its first key.")


class Integrations(AnswerModel):
    integrations: list[Integration] = Field(description="In the order of their software keys.")


class Client(AnswerModel):
    clientId: str = Field(description="Its id at `/connect/token`.")
    name: str = Field(description="Its name for people.")
    scopes: list[Scope] = Field(description="What its tokens may be used for.")
    identityProvider: str = Field(description="`local`, or `entra` where Entra keeps its secret.")
    createdAt: str = Field(description="When it was made.")
    lastUsedAt: Time = Field(
        description="Its last token, or where Entra keeps its secret its last call, up to an hour "
        "old; null: none noted."
    )
    secrets: list[Key] = Field(description="Its secrets, the newest first.")


class IssuedClient(Client):
    clientSecret: str = Field(description="The new secret, which no other answer shows.")


class Clients(AnswerModel):
    clients: list[Client] = Field(description="In the order of their ids.")


class TenantView(AnswerModel):
    tenant: str = Field(description="Its id.")
    name: str = Field(description="Its name for people.")
    createdAt: str = Field(description="When it was made.")
    features: list[str] = Field(description="What the operator has enabled for it.")


class ProfileEntry(AnswerModel):
    name: str = Field(description="The name of the profile.")
    version: Annotated[int, Field(ge=1)] = Field(description="Its current version.")
    type: str = Field(description="The import type of its rows.")
    typeVersion: Count = Field(description="The version of the import type.")
    setAt: AwareDatetime = Field(description="When this version was set.")


class Profiles(AnswerModel):
    profiles: list[ProfileEntry] = Field(description="In the order of their names.")


class SetProfile(AnswerModel):
    name: str = Field(description="The name of the profile.")
    version: Annotated[int, Field(ge=1)] = Field(description="This version.")
    setAt: AwareDatetime = Field(description="When this version was set.")
    profile: dict[str, Any] = Field(description="The profile (docs/mapping-profiles.md).")


class DeletedProfile(AnswerModel):
    name: str = Field(description="The name of the profile.")
    version: Annotated[int, Field(ge=1)] = Field(description="The version that was current.")


class LoadedList(AnswerModel):
    kind: ReferenceKind = Field(description="The kind of its values.")
    values: Count = Field(description="How many values it has now.")


class Thresholds(AnswerModel):
    added: str | None = Field(description="The most new employees, in percent of those stored.")
    updated: str | None = Field(description="The most changed ones, in percent of those stored.")
    errors: str | None = Field(description="The most records with errors, in percent of a batch.")


class Formats(AnswerModel):
    employeeId: str | None = Field(description="A regular expression for the whole value.")
    employeeStatus: str | None = Field(description="A regular expression for the whole value.")
    authValue1: str | None = Field(description="A regular expression for the whole value.")
    authValue2: str | None = Field(description="A regular expression for the whole value.")
    authValue3: str | None = Field(description="A regular expression for the whole value.")


class Round(AnswerModel):
    code: str = Field(description="Its code.")
    status: RoundStatus = Field(description="Documents go into open rounds, and into those in use.")


class Rounds(AnswerModel):
    rounds: list[Round] = Field(description="In the order of their codes.")


def _object(needed: Sequence[str] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(needed)} if needed else schema


def _text(meaning: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": meaning, **more}


_SOFTWARE_KEY: Final = _text("What callers send as `X-Software-Key`.")
_CLIENT_ID: Final = _text("The id of the client.")
_EXPIRES: Final = _text(
    "The moment from which the key or the secret is refused, in ISO 8601, in UTC where it has no "
    "offset. By default it does not expire."
)
_SETTINGS: Final = {
    "name": _text("Its name for people."),
    "onExisting": _text("What a row does to a record that is stored.", enum=[*OnExisting]),
    "database": {
        **_object(
            active={"type": "boolean", "description": "Whether it is active."},
            version={"type": "integer", "description": "Its version."},
        ),
        "description": "Its Pay & Bill database.",
    },
    "read": _text("What it may read of stored records.", enum=[*ReadPermission]),
    "permissions": {
        "type": "array",
        "items": {"type": "string", "enum": [*PERMISSIONS]},
        "description": "What it may do. A new one may do everything but `admin`.",
    },
}
_ENABLED: Final = {"type": "boolean", "description": "Whether its calls are accepted."}
_VALUES: Final = {
    "type": "array",
    "items": {"type": "string"},
    "description": "All values of the list.",
}
_SCOPES: Final = {
    "type": "array",
    "items": {"type": "string", "enum": [*Scope]},
    "description": "What its tokens may be used for.",
}
_ROUND: Final = {"code": _text("Its code."), "status": _text("Its status.", enum=[*RoundStatus])}
_PERCENT: Final = f"0 to {MAX_PERCENT}; null removes it."
_NULLABLE: Final = {"type": ["string", "null"]}
_PATTERN: Final[Mapping[str, Any]] = {
    **_NULLABLE,
    "description": "A regular expression for the whole value; null removes it.",
}


def _query(name: str, text: str, *, is_required: bool = True) -> Parameter:
    return Parameter(name, "query", text, TEXT, is_required)


_OF_INTEGRATION: Final = _query("softwareKey", "The software key of the integration.")
_OF_CLIENT: Final = _query("clientId", "The id of the client.")
_PROFILE_NAME: Final = Parameter("name", "path", "The name of the profile.", TEXT, True)
_KIND: Final = Parameter(
    "kind", "path", "The kind of its values.", {"type": "string", "enum": [*ReferenceKind]}, True
)


def _operation(
    area: str,
    method: str,
    name: str,
    summary: str,
    answer: Content,
    *,
    text: str = "",
    path: str = "",
    parameters: tuple[Parameter, ...] = (),
    body: Content = None,
) -> Operation:
    refusals = {400, 401, 403, 404, 406, 409}
    if body is not None:
        refusals |= {413, 415}
    return Operation(
        function=f"admin_{area}",
        name=f"admin_{name}",
        method=method,
        path=f"{ADMIN_PATH}/{path or area}",
        summary=summary,
        text=text,
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.ADMIN,
        permission=ADMIN,
        parameters=parameters,
        body=None if body is None else Body({JSON: body}),
        answers={200: Answer(f"{summary}.", {JSON: answer})},
        refusals=tuple(sorted(refusals)),
    )


_OWN: Final = "The gateway refuses to end the credential or the permission of the call itself."
_PROFILE: Final = "profiles/{name}"
OPERATIONS: Final = (
    _operation("tenant", "GET", "tenant_show", "The tenant of the caller", TenantView),
    _operation("integrations", "GET", "integrations_list", "Its integrations", Integrations),
    _operation(
        "integrations",
        "POST",
        "integrations_add",
        "Add an integration, with its first function key",
        IssuedIntegration,
        body=_object(["softwareKey"], softwareKey=_SOFTWARE_KEY, expiresAt=_EXPIRES, **_SETTINGS),
    ),
    _operation(
        "integrations",
        "PATCH",
        "integrations_set",
        "Change what the body names of an integration",
        Integration,
        text=_OWN,
        body=_object(["softwareKey"], softwareKey=_SOFTWARE_KEY, enabled=_ENABLED, **_SETTINGS),
    ),
    _operation(
        "keys",
        "GET",
        "keys_list",
        "The function keys of an integration, with their last use",
        Keys,
        parameters=(_OF_INTEGRATION,),
    ),
    _operation(
        "keys",
        "POST",
        "keys_add",
        "Add a second function key to an integration",
        IssuedKey,
        text="An integration has two valid keys at most; both work.",
        body=_object(["softwareKey"], softwareKey=_SOFTWARE_KEY, expiresAt=_EXPIRES),
    ),
    _operation(
        "keys",
        "DELETE",
        "keys_revoke",
        "Revoke a function key within five seconds",
        Key,
        text=f"The last valid key of an integration cannot be revoked. {_OWN}",
        parameters=(_OF_INTEGRATION, _query("id", "The id of the key.")),
    ),
    _operation("clients", "GET", "clients_list", "Its OAuth clients", Clients),
    _operation(
        "clients",
        "POST",
        "clients_add",
        "Add an OAuth client, with its first secret",
        IssuedClient,
        text="The gateway makes its id. Only a command registers an application of Entra.",
        body=_object(["scopes"], scopes=_SCOPES, expiresAt=_EXPIRES),
    ),
    _operation(
        "clients",
        "PATCH",
        "clients_set",
        "Replace the scopes of an OAuth client",
        Client,
        text=f"A scope that is left out is refused in the client's tokens too. {_OWN}",
        body=_object(["clientId", "scopes"], clientId=_CLIENT_ID, scopes=_SCOPES),
    ),
    _operation(
        "clients",
        "DELETE",
        "clients_revoke",
        "Remove an OAuth client, and with it its tokens",
        Client,
        text=_OWN,
        parameters=(_OF_CLIENT,),
    ),
    _operation(
        "secrets",
        "POST",
        "secrets_add",
        "Add a second secret to a client",
        IssuedClient,
        text="A client has two valid secrets at most; both work.",
        body=_object(["clientId"], clientId=_CLIENT_ID, expiresAt=_EXPIRES),
    ),
    _operation(
        "secrets",
        "DELETE",
        "secrets_revoke",
        "Revoke a secret, and its tokens, within five seconds",
        Client,
        text=f"The last valid secret of a client cannot be revoked. {_OWN}",
        parameters=(_OF_CLIENT, _query("id", "The id of the secret.")),
    ),
    _operation("profiles", "GET", "profiles_list", "Its mapping profiles", Profiles),
    _operation(
        "profile",
        "GET",
        "profiles_show",
        "A mapping profile",
        SetProfile,
        path=_PROFILE,
        parameters=(
            _PROFILE_NAME,
            _query("version", "Its version; by default the current one.", is_required=False),
        ),
    ),
    _operation(
        "profile",
        "PUT",
        "profiles_set",
        "Check a mapping profile and make it the current version",
        SetProfile,
        path=_PROFILE,
        parameters=(_PROFILE_NAME,),
        body={"type": "object", "description": "The profile (docs/mapping-profiles.md)."},
    ),
    _operation(
        "profile",
        "DELETE",
        "profiles_delete",
        "Delete a mapping profile",
        DeletedProfile,
        path=_PROFILE,
        parameters=(_PROFILE_NAME,),
    ),
    _operation(
        "references",
        "PUT",
        "references_load",
        "Replace the list of allowed values of a kind",
        LoadedList,
        path="references/{kind}",
        parameters=(_KIND,),
        body=_object(["values"], values=_VALUES),
    ),
    _operation(
        "thresholds", "GET", "thresholds_show", "Its thresholds for authentication data", Thresholds
    ),
    _operation(
        "thresholds",
        "PATCH",
        "thresholds_set",
        "Change the thresholds that the body names",
        Thresholds,
        body=_object(
            added={**_NULLABLE, "description": _PERCENT},
            updated={**_NULLABLE, "description": _PERCENT},
            errors={**_NULLABLE, "description": _PERCENT},
        ),
    ),
    _operation("formats", "GET", "formats_show", "Its formats for authentication data", Formats),
    _operation(
        "formats",
        "PATCH",
        "formats_set",
        "Change the formats that the body names",
        Formats,
        body=_object((), **dict.fromkeys(FIELDS, _PATTERN)),
    ),
    _operation("rounds", "GET", "rounds_list", "Its communication rounds", Rounds),
    _operation(
        "rounds",
        "POST",
        "rounds_add",
        "Add a communication round",
        Round,
        body=_object(["code"], **_ROUND),
    ),
    _operation(
        "rounds",
        "PATCH",
        "rounds_set",
        "Change the status of a communication round",
        Round,
        body=_object(["code", "status"], **_ROUND),
    ),
    replace(
        audit.OPERATIONS[0],
        function="admin_audit",
        path=f"{ADMIN_PATH}/audit",
        text="The same as `/api/audit`, for callers that administer.",
        tag=TAG,
        access=Access.EITHER,
        scope=Scope.ADMIN,
        permission=ADMIN,
    ),
)
