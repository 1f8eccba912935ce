"""Bearer tokens: the Authorization header of a call, and whose token it is."""

from __future__ import annotations

from shared.auth.caller import TokenCaller
from shared.errors import BearerTokenError


class BearerAuthenticator:
    """Finds the caller of a bearer token."""

    async def authenticate(self, authorization: str) -> TokenCaller:  # noqa: ARG002
        """The caller, by the value of its Authorization header. Raises BearerTokenError."""
        raise BearerTokenError(
            "This version of the gateway issues no tokens: leave the Authorization header out and "
            "send X-Functions-Key and X-Software-Key."
        )
