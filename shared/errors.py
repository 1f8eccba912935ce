"""Every error the gateway raises on purpose, as one tree.

    GatewayError
    ├── RefusedError                 the call is refused; nothing was accepted
    │   ├── UnauthenticatedError     no key, or an unknown one
    │   │   └── BearerTokenError     the same where a bearer token is taken
    │   │       └── ExpiredTokenError  the token was right until it expired
    │   ├── ForbiddenError           known caller, not allowed
    │   │   ├── WrongSoftwareKeyError  the function key is another software key's
    │   │   └── MissingScopeError    the token is not good for this endpoint
    │   ├── TokenRefusedError        a token request is refused, as RFC 6749 names it
    │   ├── NotBuiltError            the contract has it, this version has not
    │   ├── UnknownMessageTypeError  no such import type or version
    │   ├── InvalidRequestError      the call cannot be read, or asks for the impossible
    │   ├── TooLargeError            over one of the limits of the settings
    │   ├── NotAcceptableError       no media type that both sides know
    │   ├── UnsupportedMediaTypeError  a content type or encoding that is not taken
    │   ├── UnsupportedPayloadError  readable, but not the shape this type takes
    │   ├── NotFoundError            no such thing in this tenant
    │   ├── ConflictError            the state of the thing forbids it
    │   ├── KeyReusedError           an Idempotency-Key that is bound to another call
    │   ├── GoneError                it was there, and has expired
    │   └── TooManyRequestsError     the caller has to slow down
    ├── StorageUnavailableError      storage did not answer; safe to repeat
    │   ├── StagingUnknownError      records may be staged, or are staged and not processed
    │   ├── RepeatUnknownError       what an Idempotency-Key stands for cannot be read now
    │   └── AcceptanceUnknownError   the import may be accepted, nobody can say now
    ├── UnreadableDataError          something stored is broken; trying again does not help
    │   └── UnreadablePayloadError   rows of an import are lost or cannot be read
    │       └── PayloadGoneError     the payload of an open import is not there
    ├── IdentityProviderUnavailableError  Entra does not answer; safe to repeat
    ├── GatewayStoppingError     the process ends before the call is done; safe to repeat
    ├── PreconditionFailedError      a conditional write met another state
    └── SettingsError                the settings are wrong; lists every problem

A `RefusedError` carries a message for the caller: one sentence that says what to do. It never
quotes a key, a body or a personal value (docs/contracts.md#0, body of a refusal). Which HTTP status
a class has is known to `shared.web` alone.
"""

from __future__ import annotations

from enum import StrEnum


class GatewayError(Exception):
    """The root of the tree."""


class RefusedError(GatewayError):
    """A call is refused; `message` is safe to show to the caller."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnauthenticatedError(RefusedError):
    """No credential, or one that nobody has."""


class BearerTokenError(UnauthenticatedError):
    """Nobody is known where a bearer token would do; `is_sent`: a token came and does not count."""

    def __init__(self, message: str, *, is_sent: bool = True) -> None:
        super().__init__(message)
        self.is_sent = is_sent


class ExpiredTokenError(BearerTokenError):
    """The token is the gateway's own, or Entra's, and its time is over."""


class ForbiddenError(RefusedError):
    """A known caller who may not do this."""


class WrongSoftwareKeyError(ForbiddenError):
    """The function key is known, and is not that of the software key that came with it."""


class MissingScopeError(ForbiddenError):
    """The bearer token counts, but does not carry `scope`."""

    def __init__(self, message: str, scope: str = "") -> None:
        super().__init__(message)
        self.scope = scope


class TokenFault(StrEnum):
    """What is wrong with a token request, in the words of RFC 6749."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_SCOPE = "invalid_scope"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    SERVER_ERROR = "server_error"


class TokenRefusedError(RefusedError):
    """No token is issued; the message has neither quotes nor backslashes (RFC 6749, 5.2)."""

    def __init__(self, message: str, fault: TokenFault = TokenFault.INVALID_REQUEST) -> None:
        super().__init__(message)
        self.fault = fault


class NotBuiltError(RefusedError):
    """Part of the contract, but not of this version; doing something else would be worse."""


class UnknownMessageTypeError(RefusedError):
    """No import type of this name, or not in this version."""


class InvalidRequestError(RefusedError):
    """The call cannot be read, or contradicts itself."""


class TooLargeError(RefusedError):
    """Over a limit of the settings; the message names the limit."""


class NotAcceptableError(RefusedError):
    """`Accept` names nothing that this endpoint can answer with."""


class UnsupportedMediaTypeError(RefusedError):
    """A content type or content encoding that this endpoint does not take."""


class UnsupportedPayloadError(RefusedError):
    """The payload can be read but is not what this message type takes."""


class NotFoundError(RefusedError):
    """No such thing in this tenant; another tenant's thing looks the same."""


class ConflictError(RefusedError):
    """The present state of the thing forbids the request."""


class KeyReusedError(RefusedError):
    """The Idempotency-Key was sent before, with another call."""


class GoneError(RefusedError):
    """The thing was there, and has expired."""


class TooManyRequestsError(RefusedError):
    """The caller or its tenant has used its share; `retry_after` is in seconds, 1 or more."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StorageUnavailableError(GatewayError):
    """Storage did not answer, or asked to slow down; the same call may succeed later."""


class StagingUnknownError(StorageUnavailableError):
    """Storage went away while records were staged: the batch `file_log_id` may hold them."""

    def __init__(self, file_log_id: str) -> None:
        super().__init__(f"the batch {file_log_id} may hold the records of this call")
        self.file_log_id = file_log_id


class RepeatUnknownError(StorageUnavailableError):
    """What an Idempotency-Key stands for cannot be read: another call may have been accepted."""


class AcceptanceUnknownError(StorageUnavailableError):
    """Storage went away while an import was written down: it may be accepted, under `import_id`."""

    def __init__(self, import_id: str) -> None:
        super().__init__("the answer to the acceptance was lost")
        self.import_id = import_id


class UnreadableDataError(GatewayError):
    """Something stored is not as the gateway wrote it; trying again will not mend it.

    `what` names the thing in plain words, never with a value of it.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} cannot be read")
        self.what = what


class UnreadablePayloadError(UnreadableDataError):
    """Some rows in the payload of an import are lost or cannot be read."""


class PayloadGoneError(UnreadablePayloadError):
    """The payload of an open import is not there any more."""


class IdentityProviderUnavailableError(GatewayError):
    """Who issues the tokens does not answer, so none can be checked; the same call may succeed."""


class GatewayStoppingError(GatewayError):
    """The process ends before the call is done; what it has accepted until then goes on."""


class PreconditionFailedError(GatewayError):
    """A conditional write met another state: the entity exists, is gone, or has another ETag."""


class SettingsError(GatewayError):
    """The settings are wrong; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
