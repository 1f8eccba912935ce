"""Token requests and their answers as RFC 6749 has them (sections 2.3.1, 4.4 and 5)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.errors import (
    StorageUnavailableError,
    TokenFault,
    TokenRefusedError,
    TooManyRequestsError,
)
from shared.services.token_requests import IssuedToken, TokenRequest
from shared.web.refusals import RETRY_AFTER
from shared.web.requests import JSON

FORM = "application/x-www-form-urlencoded"
GRANT_TYPE = "client_credentials"
MOST_BYTES = 16 * 1024
_MOST_FIELDS = 30
_MOST_CHARACTERS = 1_000
"""Of a client id or a secret; what is longer is neither."""

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_BASIC = re.compile(r"\s*basic +([A-Za-z0-9+/_=-]*)\s*", re.IGNORECASE)
_SCOPES = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")


def read_token_request(req: func.HttpRequest) -> TokenRequest:
    """What the client asks for. Raises TokenRefusedError."""
    form = _read_form(req)
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise _invalid(f"grant_type is missing: it must be {GRANT_TYPE}.")
    if grant_type != GRANT_TYPE:
        raise TokenRefusedError(
            f"grant_type must be {GRANT_TYPE}.", TokenFault.UNSUPPORTED_GRANT_TYPE
        )
    client_id, secret = _read_credentials(req.headers.get("Authorization"), form)
    return TokenRequest(client_id, secret, _read_scopes(form.get("scope")))


def token_answer(issued: IssuedToken) -> func.HttpResponse:
    """The token (RFC 6749, 5.1)."""
    return _answer(
        200,
        {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": " ".join(issued.scopes),
        },
    )


def token_refusal(
    error: TokenRefusedError | TooManyRequestsError | StorageUnavailableError,
) -> func.HttpResponse:
    """Why there is none (RFC 6749, 5.2)."""
    if isinstance(error, StorageUnavailableError):
        said = "The gateway cannot look up clients just now: send the request again."
        content = {"error": "temporarily_unavailable", "error_description": said}
        return _answer(503, content, {"Retry-After": RETRY_AFTER})
    if isinstance(error, TooManyRequestsError):
        content = {
            "error": TokenFault.TEMPORARILY_UNAVAILABLE.value,
            "error_description": error.message,
        }
        return _answer(429, content, {"Retry-After": str(error.retry_after)})
    content = {"error": error.fault.value, "error_description": error.message}
    if error.fault is TokenFault.INVALID_CLIENT:
        challenge = 'Basic realm="connect/token", charset="UTF-8"'
        return _answer(401, content, {"WWW-Authenticate": challenge})
    if error.fault is TokenFault.TEMPORARILY_UNAVAILABLE:
        return _answer(503, content, {"Retry-After": RETRY_AFTER})
    return _answer(500 if error.fault is TokenFault.SERVER_ERROR else 400, content)


def _read_form(req: func.HttpRequest) -> Mapping[str, str]:
    """The fields of the body; one without a value counts as left out (RFC 6749, 3.2)."""
    media_type, _ = parse_options_header(req.headers.get("Content-Type", ""))
    body = req.get_body()
    if media_type.lower() != FORM:
        raise _invalid(f"The body must be {FORM}.")
    if len(body) > MOST_BYTES:
        raise _invalid(f"The body has {len(body)} bytes and the limit is {MOST_BYTES}.")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), max_num_fields=_MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise _invalid(f"The body is no form of up to {_MOST_FIELDS} fields in UTF-8.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _invalid("A field came twice: send each once.")
    return form


def _read_credentials(authorization: str | None, form: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret, from the header or from the form, never from both."""
    client_id, secret = form.get("client_id"), form.get("client_secret")
    if authorization is not None:
        if secret is not None:
            raise _invalid("Send client_secret in the form or in Authorization, not in both.")
        basic_id, secret = _read_basic(authorization)
        if client_id not in (None, basic_id):
            raise _invalid("client_id of the form and of Authorization differ.")
        client_id = basic_id
    if not client_id or not secret:
        raise TokenRefusedError(
            "Send client_id and client_secret in the form, or both in Authorization: Basic.",
            TokenFault.INVALID_CLIENT,
        )
    if max(len(client_id), len(secret)) > _MOST_CHARACTERS:
        raise _invalid(f"client_id or client_secret has over {_MOST_CHARACTERS} characters.")
    return client_id, secret


def _read_basic(authorization: str) -> tuple[str, str]:
    """Client id and secret of a Basic header; each is form-encoded in it (RFC 6749, 2.3.1)."""
    unreadable = TokenRefusedError(
        "Authorization must be Basic with base64 of client_id:client_secret, both percent-encoded.",
        TokenFault.INVALID_CLIENT,
    )
    found = _BASIC.fullmatch(authorization)
    if found is None:
        raise unreadable
    try:
        text = base64.b64decode(found[1], validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        if not colon:
            raise unreadable
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        raise unreadable from None


def _read_scopes(scope: str | None) -> tuple[str, ...] | None:
    if scope is None:
        return None
    if not _SCOPES.fullmatch(scope):
        raise TokenRefusedError(
            "scope must be names with one space between them.", TokenFault.INVALID_SCOPE
        )
    return tuple(scope.split(" "))


def _invalid(message: str) -> TokenRefusedError:
    return TokenRefusedError(message, TokenFault.INVALID_REQUEST)


def _answer(
    status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(content),
        status_code=status,
        headers={**_NO_STORE, **(headers or {})},
        mimetype=JSON,
    )
