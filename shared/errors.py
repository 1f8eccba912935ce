"""The error tree of the gateway.

    GatewayError
    ├── RefusedError                 the call is refused; nothing was accepted
    │   ├── UnauthenticatedError     no key, or an unknown one
    │   │   ├── ExpiredKeyError      the function key was valid until it expired
    │   │   └── BearerTokenError     the same where a bearer token is taken
    │   │       └── ExpiredTokenError  the token was right until it expired
    │   ├── ForbiddenError           the caller is known, but not allowed
    │   │   ├── WrongSoftwareKeyError  the function key is another software key's
    │   │   ├── MissingPermissionError  the integration lacks the permission of this endpoint
    │   │   └── MissingScopeError    the token lacks the scope of this endpoint
    │   ├── TokenRefusedError        a token request is refused, as RFC 6749 names it
    │   ├── NotBuiltError            part of the contract, not built in this version
    │   ├── UnknownMessageTypeError  no such import type or version
    │   ├── InvalidRequestError      the call cannot be read, or contradicts itself
    │   ├── TooLargeError            over one of the limits of the settings
    │   ├── NotAcceptableError       the endpoint has no media type that the caller accepts
    │   ├── UnsupportedMediaTypeError  the endpoint does not take the content type or encoding
    │   ├── UnsupportedPayloadError  readable, but not the payload of this type
    │   ├── NotFoundError            the resource does not exist in this tenant
    │   ├── ConflictError            the state of the resource forbids the call
    │   ├── KeyReusedError           the Idempotency-Key belongs to another call
    │   ├── GoneError                the resource has expired
    │   └── TooManyRequestsError     the caller has to slow down
    ├── StorageUnavailableError      storage did not answer; safe to repeat
    │   ├── StorageBusyError         storage answered that it is busy, as when it throttles
    │   ├── StagingUnknownError      records may be staged, or are staged and not processed
    │   ├── RepeatUnknownError       the record of an Idempotency-Key cannot be read now
    │   └── AcceptanceUnknownError   the import may be accepted, or not
    ├── UnreadableDataError          stored data is broken; a retry does not help
    │   ├── SealedDataError          a sealed value that does not open
    │   └── UnreadablePayloadError   rows of an import are lost or cannot be read
    │       └── PayloadGoneError     the payload of an open import is missing
    ├── DataKeysNotSetError          GATEWAY_DATA_KEYS is missing, or has not the right key
    ├── IdentityProviderUnavailableError  Entra does not answer; safe to repeat
    ├── GatewayStoppingError         the process ends before the call is done; safe to repeat
    ├── PreconditionFailedError      the entity of a conditional write has another state
    └── SettingsError                the settings are wrong; lists every problem

A `RefusedError` has a message for the caller: one sentence that says what to do. It never quotes a
key, a body or a personal value (docs/contracts.md#0, body of a refusal). Only `shared.web` knows
the HTTP status of each class.
"""

from __future__ import annotations

from enum import StrEnum


class GatewayError(Exception):
    """The root of the tree."""


class RefusedError(GatewayError):
    """The gateway refuses a call. `message` is safe to show to the caller."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnauthenticatedError(RefusedError):
    """The call has no credential, or an unknown one."""


class ExpiredKeyError(UnauthenticatedError):
    """The function key was valid until it expired."""


class BearerTokenError(UnauthenticatedError):
    """No valid credential for an endpoint that takes tokens. `is_sent`: the call had a token."""

    def __init__(self, message: str, *, is_sent: bool = True) -> None:
        super().__init__(message)
        self.is_sent = is_sent


class ExpiredTokenError(BearerTokenError):
    """The token was valid until it expired."""


class ForbiddenError(RefusedError):
    """The caller is known, but not allowed to do this."""


class WrongSoftwareKeyError(ForbiddenError):
    """The function key is known, but belongs to another software key than the call names."""


class MissingPermissionError(ForbiddenError):
    """The integration is known, but lacks the permission of this endpoint."""


class MissingScopeError(ForbiddenError):
    """The bearer token is valid, but lacks `scope`."""

    def __init__(self, message: str, scope: str = "") -> None:
        super().__init__(message)
        self.scope = scope


class TokenFault(StrEnum):
    """The error codes of RFC 6749 for a token request."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_SCOPE = "invalid_scope"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    SERVER_ERROR = "server_error"


class TokenRefusedError(RefusedError):
    """A token request is refused. RFC 6749, 5.2 allows no quotes or backslashes in the message."""

    def __init__(self, message: str, fault: TokenFault = TokenFault.INVALID_REQUEST) -> None:
        super().__init__(message)
        self.fault = fault


class NotBuiltError(RefusedError):
    """The call is part of the contract, but not built in this version."""


class UnknownMessageTypeError(RefusedError):
    """There is no import type of this name or version."""


class InvalidRequestError(RefusedError):
    """The call cannot be read, or contradicts itself."""


class TooLargeError(RefusedError):
    """The call exceeds a limit of the settings, which the message names."""


class NotAcceptableError(RefusedError):
    """`Accept` names no media type of this endpoint."""


class UnsupportedMediaTypeError(RefusedError):
    """The endpoint does not take this content type or content encoding."""


class UnsupportedPayloadError(RefusedError):
    """The payload can be read, but is not one of this message type."""


class NotFoundError(RefusedError):
    """The resource does not exist in this tenant. That of another tenant is not found either."""


class ConflictError(RefusedError):
    """The present state of the resource forbids the call."""


class KeyReusedError(RefusedError):
    """The Idempotency-Key was sent before, with another call."""


class GoneError(RefusedError):
    """The resource existed, and has expired."""


class TooManyRequestsError(RefusedError):
    """The caller or its tenant has used up its share. `retry_after` is in seconds, at least 1."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StorageUnavailableError(GatewayError):
    """Storage did not answer, or throttled the call. The same call may succeed later."""


class StorageBusyError(StorageUnavailableError):
    """Storage answered that it is busy: it throttles, or timed out. It may answer soon."""


class StagingUnknownError(StorageUnavailableError):
    """Storage failed while records were staged. The batch `file_log_id` may contain them."""

    def __init__(self, file_log_id: str) -> None:
        super().__init__(f"the batch {file_log_id} may hold the records of this call")
        self.file_log_id = file_log_id


class RepeatUnknownError(StorageUnavailableError):
    """The record of an Idempotency-Key cannot be read. An earlier call may have been accepted."""


class AcceptanceUnknownError(StorageUnavailableError):
    """Storage failed while an import was inserted. It may be accepted under `import_id`."""

    def __init__(self, import_id: str) -> None:
        super().__init__("the answer to the acceptance was lost")
        self.import_id = import_id


class UnreadableDataError(GatewayError):
    """Stored data is not as the gateway wrote it. A retry does not help.

    `subject` describes the data in plain words, never with a value of it.
    """

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject} cannot be read")
        self.subject = subject


class SealedDataError(UnreadableDataError):
    """A sealed value does not open: its data key is not there, or it was sealed somewhere else."""


class UnreadablePayloadError(UnreadableDataError):
    """Some rows in the payload of an import are lost or cannot be read."""


class PayloadGoneError(UnreadablePayloadError):
    """The payload of an open import is missing."""


class DataKeysNotSetError(GatewayError):
    """Sensitive data cannot be sealed: GATEWAY_DATA_KEYS is missing, or lacks the right key.

    The text is for the log.
    """


class IdentityProviderUnavailableError(GatewayError):
    """The identity provider does not answer, so tokens cannot be checked. A retry may succeed."""


class GatewayStoppingError(GatewayError):
    """The process ends before the call is done. Imports that it accepted are still processed."""


class PreconditionFailedError(GatewayError):
    """A conditional write failed: the entity exists, is missing, or has another ETag."""


class SettingsError(GatewayError):
    """The settings are wrong. `problems` has one sentence for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
