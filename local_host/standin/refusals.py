"""The answers of status faults: the app's own refusals, in the form of each endpoint.

The app's own builders make them, so a client sees the bodies and headers of a real refusal.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import azure.functions as func

from local_host.standin.faults import Fault
from shared import errors
from shared.auth.callers import missing_permission
from shared.auth.clients import Scope
from shared.auth.integrations import ADMIN, OPERATE, READ, import_permission
from shared.auth.lookups import disabled_message
from shared.web.responses import refusal

Headers = list[tuple[bytes, bytes]]

_TOKEN = "/connect/token"  # noqa: S105 (a path)
_LICENSES = ("/v1/imports/licenses", "/v1/export/")
# Statuses of what stands before a gateway: their answers have no body.
_OF_A_PROXY = (502, 504)
_SCOPES = {
    "/api/documents": Scope.IMPORT_INBOX,
    "/api/admin/authdata": Scope.IMPORT_AUTHDATA,
    "/api/records": Scope.READ_RECORDS,
}
_TOKEN_FAULTS = {
    401: errors.TokenFault.INVALID_CLIENT,
    403: errors.TokenFault.UNAUTHORIZED_CLIENT,
    500: errors.TokenFault.SERVER_ERROR,
}


def fault_answer(
    fault: Fault, method: str, path: str, headers: Mapping[str, str], tenant: str
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the refusal that the endpoint gives with that status."""
    if fault.status in _OF_A_PROXY:
        return fault.status, [(b"content-length", b"0")], b""
    response = _refusal(fault, method, path, headers, tenant)
    sent = {name.lower(): value for name, value in response.headers.items()}
    sent.setdefault("content-type", response.mimetype)
    sent.setdefault("cache-control", "no-store")
    sent["x-correlation-id"] = headers.get("x-correlation-id", "") or str(uuid.uuid4())
    if fault.retry_after is not None:
        sent["retry-after"] = str(fault.retry_after)
    body = response.get_body()
    sent["content-length"] = str(len(body))
    encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]
    return fault.status, encoded, body


def _refusal(
    fault: Fault, method: str, path: str, headers: Mapping[str, str], tenant: str
) -> func.HttpResponse:
    lower = path.lower()
    if lower.rstrip("/") == _TOKEN:
        return _token_refusal(fault)
    is_bearer = "bearer" in headers.get("authorization", "").lower()
    error = _error(fault, method, lower, is_bearer=is_bearer, tenant=tenant)
    if lower.startswith(_LICENSES):
        from shared.imports.licenses.http import licenses_refusal

        request = func.HttpRequest(method, path, headers=dict(headers), body=b"")
        return licenses_refusal(request, error)
    return refusal(error)


def _token_refusal(fault: Fault) -> func.HttpResponse:
    from shared.services.admin.tokens import NO_SUCH_CLIENT
    from shared.web.tokens import token_refusal

    if fault.status == 429:
        error = errors.TooManyRequestsError("Too many wrong secrets came for this client.", 5)
        return token_refusal(error)
    if fault.status == 503:
        return token_refusal(errors.StorageUnavailableError())
    code = _TOKEN_FAULTS.get(fault.status, errors.TokenFault.INVALID_REQUEST)
    message = {
        401: NO_SUCH_CLIENT,
        403: "The client may not ask for a token.",
        500: "The gateway failed unexpectedly.",
    }.get(fault.status, "The token request cannot be read.")
    return token_refusal(errors.TokenRefusedError(message, code))


def _error(
    fault: Fault, method: str, path: str, *, is_bearer: bool, tenant: str
) -> errors.GatewayError:
    """The error of the app that has this status."""
    match fault.status:
        case 401 if is_bearer:
            return errors.ExpiredTokenError(
                "The token has expired: get a new one from /connect/token."
            )
        case 401:
            return errors.UnauthenticatedError(
                "The function key in X-Functions-Key is not known: check it, or ask for the new "
                "one if it was rotated."
            )
        case 403:
            return _forbidden(fault.cause, method, path, is_bearer=is_bearer, tenant=tenant)
        case 404:
            return errors.NotFoundError("There is nothing of this id in this tenant.")
        case 409:
            return errors.ConflictError("The present state forbids this call: read it again first.")
        case 410:
            return errors.GoneError("What this call is about has expired.")
        case 413:
            return errors.TooLargeError("The body is larger than the limit: send fewer rows.")
        case 406:
            return errors.NotAcceptableError("Accept names no media type of this address.")
        case 415:
            return errors.UnsupportedMediaTypeError("This address does not take this Content-Type.")
        case 422:
            return errors.KeyReusedError(
                "The Idempotency-Key belongs to another call: use a new key for each call."
            )
        case 429:
            return errors.TooManyRequestsError(
                "This tenant has too many open imports: wait until some have ended, and send this "
                "call again.",
                10,
            )
        case 501:
            return errors.NotBuiltError("This version of the gateway has not built this call.")
        case 503:
            return errors.StorageUnavailableError()
        case 500:
            return errors.GatewayError()
        case _:
            return errors.InvalidRequestError("The body cannot be read: check its form.")


def _forbidden(
    cause: str, method: str, path: str, *, is_bearer: bool, tenant: str
) -> errors.GatewayError:
    scope = next((s for prefix, s in _SCOPES.items() if path.startswith(prefix)), None)
    match cause or ("scope" if is_bearer else "integration"):
        case "keyName":
            return errors.WrongSoftwareKeyError("Key name does not match Software Key")
        case "database":
            return errors.ForbiddenError("Pay and Bill Database not active")
        case "tenant":
            return errors.ForbiddenError(disabled_message(tenant or "-"))
        case "permission":
            return missing_permission(needed_permission(method, path))
        case "feature":
            from shared.imports.documents.uploads import DISABLED

            return errors.ForbiddenError(DISABLED)
        case "scope":
            needed = scope or Scope.IMPORT_INBOX
            return errors.MissingScopeError(
                f"The token lacks the scope for this: ask /connect/token for scope {needed}, which "
                "the client must have.",
                needed,
            )
        case _:
            return errors.ForbiddenError("Integration missing for Software Key or disabled")


def needed_permission(method: str, path: str) -> str:
    """The permission that a call needs of a key pair, by its lower-case path."""
    parts = path.split("/")
    if path.startswith("/v1/imports/licenses"):
        return import_permission("licenses")
    if path.startswith("/api/admin/authdata"):
        return import_permission("authdata")
    if path.startswith("/api/admin/"):
        return ADMIN
    if path.startswith("/api/import/"):
        return import_permission(parts[3])
    is_of_import = path.startswith("/api/imports/") and method == "POST"
    return OPERATE if is_of_import or path.startswith("/api/health/") else READ
