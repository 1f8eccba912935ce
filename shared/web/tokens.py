"""Token requests and their answers (RFC 6749, 2.3.1, 4.4 and 5), and what tokens are checked with.

Requests are read and answered here; `shared.services.admin.tokens` issues the tokens.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import azure.functions as func
from werkzeug.http import parse_options_header

from shared import log
from shared.auth.clients import Scope, normal_client_id
from shared.errors import (
    StorageUnavailableError,
    TokenFault,
    TokenRefusedError,
    TooManyRequestsError,
)
from shared.gateway import Gateway
from shared.services.admin.tokens import Credentials, IssuedToken, TokenRequest
from shared.settings import IdentityProvider, Settings
from shared.web.imports import json_answer
from shared.web.query_names import wants_dry_run
from shared.web.requests import JSON
from shared.web.responses import RETRY_AFTER

FORM = "application/x-www-form-urlencoded"
GRANT_TYPE = "client_credentials"
MOST_BYTES = 16 * 1024
_MOST_FIELDS = 30
# The most characters of a client id or a secret.
_MOST_CHARACTERS = 1_000

# A minute: a new signing key is published a minute before it signs.
_PUBLIC = {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, 5.1
_BASIC = re.compile(r"\s*basic +([A-Za-z0-9+/_=-]*)\s*", re.IGNORECASE)
_SCHEME = re.compile(r"\s*basic\b", re.IGNORECASE)
_ENCODED = r"(?:[A-Za-z0-9*._~!'()+-]|%[0-9A-Fa-f]{2})*"
# Form-encoding leaves no other text; a plus alone is more likely a plus than a blank.
_FORM_ENCODED = re.compile(rf"(?=[^+]*\Z|[^%]*%){_ENCODED}:{_ENCODED}")
_SCOPES = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")


async def token_call(
    gateway: Callable[[], Awaitable[Gateway]], req: func.HttpRequest
) -> func.HttpResponse:
    """Issue a token for client credentials, or refuse it in the form of RFC 6749."""
    try:
        return await _grant(await gateway(), req)
    except (TokenRefusedError, TooManyRequestsError, StorageUnavailableError) as error:
        reason = getattr(error, "fault", type(error).__name__)
        log.event("token.refused", reason=reason)
        return token_refusal(error)


async def _grant(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token. Wrong secrets are counted, and beyond the budget refused with 429."""
    if wants_dry_run(req):
        raise TokenRefusedError("A token request has no dry run: leave dryRun out of the query.")
    request = read_token_request(req)
    try:
        return token_answer(await app.identity.grant(request))
    except TokenRefusedError as error:
        if error.fault is TokenFault.INVALID_CLIENT:
            ids = {normal_client_id(each.client_id) for each in request.readings}
            app.failures.count(req.headers, "client", *sorted(ids))
        raise


def discovery_call(app: Gateway) -> func.HttpResponse:
    """The discovery document."""
    return json_answer(discovery_document(app.settings), headers=_PUBLIC)


async def keys_call(app: Gateway) -> func.HttpResponse:
    """The keys that tokens are checked with."""
    return json_answer({"keys": await app.identity.public_keys()}, headers=_PUBLIC)


def read_token_request(req: func.HttpRequest) -> TokenRequest:
    """Read a token request. Raises TokenRefusedError."""
    form = _read_form(req)
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise _invalid(f"grant_type is missing: it must be {GRANT_TYPE}.")
    if grant_type != GRANT_TYPE:
        raise TokenRefusedError(
            f"grant_type must be {GRANT_TYPE}.", TokenFault.UNSUPPORTED_GRANT_TYPE
        )
    first, *other_readings = _read_credentials(req.headers.get("Authorization"), form)
    scopes = _read_scopes(form.get("scope"))
    return TokenRequest(first.client_id, first.client_secret, scopes, tuple(other_readings))


def token_answer(token: IssuedToken) -> func.HttpResponse:
    """The token (RFC 6749, 5.1)."""
    return _answer(
        200,
        {
            "access_token": token.access_token,
            "token_type": "Bearer",
            "expires_in": token.expires_in,
            "scope": " ".join(token.scopes),
        },
    )


def token_refusal(
    error: TokenRefusedError | TooManyRequestsError | StorageUnavailableError,
) -> func.HttpResponse:
    """Why there is none (RFC 6749, 5.2)."""
    if isinstance(error, StorageUnavailableError):
        message = "The gateway cannot look up clients at the moment: send the request again."
        content = {"error": "temporarily_unavailable", "error_description": message}
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
    if error.fault is TokenFault.UNAUTHORIZED_CLIENT:
        return _answer(403, content)
    return _answer(500 if error.fault is TokenFault.SERVER_ERROR else 400, content)


def _read_form(req: func.HttpRequest) -> Mapping[str, str]:
    """The fields of the body. A field without a value counts as missing (RFC 6749, 3.2)."""
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


def _read_credentials(
    authorization: str | None, form: Mapping[str, str]
) -> tuple[Credentials, ...]:
    """Every reading of client id and secret, from the header or from the form, never from both.

    A scheme other than Basic is ignored if the form has a secret, because browsers and proxies add
    an Authorization header to complete requests.
    """
    client_id, secret = form.get("client_id"), form.get("client_secret")
    if authorization is not None and secret is not None and _SCHEME.match(authorization):
        raise _invalid("Send client_secret in the form or in Authorization, not in both.")
    if authorization is not None and secret is None:
        readings = _read_basic(authorization)
        if client_id is not None:
            readings = [each for each in readings if each.client_id == client_id]
        if not readings:
            raise _invalid("client_id of the form and of Authorization differ.")
    else:
        readings = [Credentials(client_id or "", secret or "")]
    complete = [each for each in readings if each.client_id and each.client_secret]
    if not complete:
        raise TokenRefusedError(
            "Send client_id and client_secret in the form, or both in Authorization: Basic.",
            TokenFault.INVALID_CLIENT,
        )
    possible = [
        each
        for each in complete
        if max(len(each.client_id), len(each.client_secret)) <= _MOST_CHARACTERS
    ]
    if not possible:
        raise _invalid(f"client_id or client_secret has over {_MOST_CHARACTERS} characters.")
    return tuple(possible)


def _read_basic(authorization: str) -> list[Credentials]:
    """Every reading of a Basic header, the most likely one first; at most four.

    RFC 6749, 2.3.1 requires id and secret to be form-encoded. Many OAuth libraries send them
    unencoded, in UTF-8 or Latin-1, even if the id contains a colon. The text alone does not show
    which is meant, so each different reading is tried.
    """
    unreadable = TokenRefusedError(
        "Authorization must be Basic with base64 of client_id:client_secret, both form-encoded or "
        "both as they are.",
        TokenFault.INVALID_CLIENT,
    )
    match = _BASIC.fullmatch(authorization)
    if match is None:
        raise unreadable
    try:
        credentials = base64.b64decode(match[1], validate=True)
    except (binascii.Error, ValueError):
        raise unreadable from None
    try:
        text = credentials.decode("utf-8")
    except UnicodeDecodeError:
        text = credentials.decode("latin-1")
    if ":" not in text:
        raise unreadable
    as_sent = [text.split(":", 1), text.rsplit(":", 1)]
    decoded = [
        [unquote_plus(part, errors="strict") for part in pair]
        for pair in as_sent
        if _is_decodable(text)
    ]
    in_order = [*decoded, *as_sent] if _FORM_ENCODED.fullmatch(text) else [*as_sent, *decoded]
    return list(dict.fromkeys(Credentials(*pair) for pair in in_order))


def _is_decodable(text: str) -> bool:
    try:
        unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


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


# The discovery document: the addresses of the token endpoint and of the keys.


def discovery_document(settings: Settings) -> dict[str, Any]:
    """The document with the names of OpenID Connect Discovery 1.0 and RFC 8414.

    msal requires an `authorization_endpoint`. Nothing answers at that address, since the gateway
    has no users.
    """
    base_url = settings.base_url
    is_local = settings.identity_provider == IdentityProvider.LOCAL
    return {
        "issuer": base_url,
        "token_endpoint": f"{base_url}/connect/token",
        "jwks_uri": f"{base_url}/.well-known/jwks.json",
        "authorization_endpoint": f"{base_url}/connect/authorize",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "scopes_supported": [scope.value for scope in Scope],
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256" if is_local else "RS256"],
    }
