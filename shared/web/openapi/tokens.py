"""`/connect/token` and the documents about it as operations (docs/contracts.md#4)."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from shared.auth.clients import Scope
from shared.web.openapi.operations import JSON, TEXT, Answer, Body, Operation, headers
from shared.web.openapi.schemas import AnswerModel, Content, Count

TAG: Final = "Tokens"
FORM: Final = "application/x-www-form-urlencoded"
_SCOPES: Final = " or ".join(f"`{scope}`" for scope in Scope)
_CACHED: Final = headers("Cache-Control")


class Token(AnswerModel):
    access_token: str = Field(description="The token: send it as `Authorization: Bearer`.")
    token_type: Literal["Bearer"] = Field(description="Always `Bearer`.")
    expires_in: Count = Field(description="Seconds until the token expires.")
    scope: str = Field(
        description="The scopes that the token is good for, with spaces between them."
    )


class TokenRefusal(AnswerModel):
    error: str = Field(description="The code of the fault by RFC 6749.")
    error_description: str = Field(description="What is wrong, and what to do.")


class KeySet(AnswerModel):
    keys: list[dict[str, Any]] = Field(description="The public keys that tokens are signed with.")


_REFUSAL: Final = {JSON: TokenRefusal}
_REFUSED_FOR_NOW: Final = headers("Cache-Control", "Retry-After")
_FORM_FIELDS: Final = {
    "type": "object",
    "properties": {
        "grant_type": {
            "const": "client_credentials",
            "description": "Always `client_credentials`.",
        },
        "client_id": {**TEXT, "description": "The id of the client."},
        "client_secret": {
            **TEXT,
            "description": "The secret of the client, shown once when it is made.",
        },
        "scope": {
            **TEXT,
            "description": f"{_SCOPES}, or several with a blank between them.",
        },
    },
    "required": ["grant_type"],
}
_TOKEN: Final = Operation(
    function="connect_token",
    method="POST",
    path="/connect/token",
    summary="A bearer token for a client's credentials",
    text="The client credentials grant of RFC 6749, section 4.4. Send the credentials in the form, "
    "or as `Authorization: Basic` with both parts form-encoded or both as they are.",
    tag=TAG,
    body=Body({FORM: _FORM_FIELDS}),
    answers={
        200: Answer("The token.", {JSON: Token}, _CACHED),
        400: Answer(
            "The request is malformed, or asks for a scope that the client lacks.",
            _REFUSAL,
            _CACHED,
        ),
        401: Answer("The credentials are not those of a client.", _REFUSAL, _CACHED),
        403: Answer("The tenant of the client is disabled.", _REFUSAL, _CACHED),
        429: Answer(
            "Too many wrong credentials for this client or from this source. Correct ones still "
            "work.",
            _REFUSAL,
            _REFUSED_FOR_NOW,
        ),
        503: Answer(
            "Storage or Entra does not answer at the moment. Send the request again.",
            _REFUSAL,
            _REFUSED_FOR_NOW,
        ),
    },
)


def _public(function: str, path: str, content: Content, summary: str) -> Operation:
    return Operation(
        function=function,
        method="GET",
        path=path,
        summary=summary,
        tag=TAG,
        answers={200: Answer(f"{summary}.", {JSON: content}, _CACHED)},
    )


OPERATIONS: Final = (
    _TOKEN,
    _public(
        "openid_configuration",
        "/.well-known/openid-configuration",
        dict[str, Any],
        "Where to get tokens",
    ),
    _public("openid_keys", "/.well-known/jwks.json", KeySet, "The public keys for checking tokens"),
    _public(
        "openid_configuration_connect",
        "/connect/.well-known/openid-configuration",
        dict[str, Any],
        "Where to get tokens, for clients that need an address with a path",
    ),
    _public(
        "openid_keys_connect",
        "/connect/.well-known/jwks.json",
        KeySet,
        "The public keys for checking tokens, under the same address",
    ),
)
