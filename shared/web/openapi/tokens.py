"""Tokens as operations: `/connect/token` and the documents that tell of it.

See docs/contracts.md#4.
"""

from __future__ import annotations

from typing import Any, Final

from shared.auth.clients import Scope
from shared.web.openapi.operations import (
    COUNT,
    JSON,
    TEXT,
    Answer,
    Body,
    Operation,
    closed,
    headers,
    listed,
    reference,
)

TAG: Final = "Tokens"
FORM: Final = "application/x-www-form-urlencoded"
_SCOPES: Final = " or ".join(f"`{scope}`" for scope in Scope)
_CACHED: Final = headers("Cache-Control")


def operations() -> tuple[Operation, ...]:
    """The token call, and both documents under both of their addresses."""
    return (
        _token(),
        _document("openid_configuration", "", "openid-configuration", "Where tokens come from"),
        _document("openid_keys", "", "jwks.json", "The keys that tokens are checked with"),
        _document(
            "openid_configuration_connect", "/connect", "openid-configuration",
            "Where tokens come from, for clients that need an address with a path",
        ),
        _document(
            "openid_keys_connect", "/connect", "jwks.json",
            "The keys that tokens are checked with, under the same address",
        ),
    )  # fmt: skip


def shapes() -> dict[str, dict[str, Any]]:
    """The answers of this area."""
    return {
        "Token": closed(
            {
                "access_token": TEXT,
                "token_type": {"const": "Bearer"},
                "expires_in": COUNT,
                "scope": TEXT,
            }
        ),
        "TokenRefusal": closed({"error": TEXT, "error_description": TEXT}),
        "KeySet": closed({"keys": listed({"type": "object"})}),
    }


def _token() -> Operation:
    refusal = {JSON: reference("TokenRefusal")}
    return Operation(
        function="connect_token",
        method="POST",
        path="/connect/token",
        summary="A bearer token for a client's credentials",
        text="As in RFC 6749, section 4.4. The credentials come in the form, or as `Authorization: "
        "Basic` with both parts form-encoded, or both as they are.",
        tag=TAG,
        body=Body({FORM: _form()}),
        answers={
            200: Answer("The token.", {JSON: reference("Token")}, _CACHED),
            400: Answer("Not a token request, or a scope that the client lacks.", refusal, _CACHED),
            401: Answer(
                "The credentials are not those of a client.", refusal, headers("Cache-Control")
            ),
            403: Answer("The tenant of the client is disabled.", refusal, headers("Cache-Control")),
            429: Answer(
                "Too many wrong credentials for this client, or from this source; right ones pass.",
                refusal,
                headers("Cache-Control", "Retry-After"),
            ),
            503: Answer(
                "Storage or Entra does not answer just now: send the request again.",
                refusal,
                headers("Cache-Control", "Retry-After"),
            ),
        },
    )


def _form() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "grant_type": {"const": "client_credentials"},
            "client_id": TEXT,
            "client_secret": TEXT,
            "scope": {
                "type": "string",
                "description": f"{_SCOPES}, or several with a blank between them.",
            },
        },
        "required": ["grant_type"],
    }


def _document(function: str, start: str, name: str, summary: str) -> Operation:
    shape = reference("KeySet") if name == "jwks.json" else {"type": "object"}
    return Operation(
        function=function,
        method="GET",
        path=f"{start}/.well-known/{name}",
        summary=summary,
        tag=TAG,
        answers={200: Answer(f"{summary}.", {JSON: shape}, _CACHED)},
    )
