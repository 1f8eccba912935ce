"""`/connect/token` with Entra: msal passes the client's credentials on.

msal caches tokens by client and scope, not by secret. If two requests shared an application object,
the second one would get a token for any secret. So each request has its own object. Only registered
clients are passed on, a few at a time, so that the gateway cannot be used for guessing secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msal  # type: ignore[import-untyped]
import requests

from shared import log
from shared.auth.clients import Client, Scope
from shared.auth.entra import EntraAuthority
from shared.errors import TokenFault, TokenRefusedError
from shared.services.admin.tokens import ClientClaim, IssuedToken

_AT_ONCE = 4
_WRONG_CLIENT = ("invalid_client", "unauthorized_client")
# The errors of msal if Entra does not answer, or answers incorrectly.
_FAULTS = (
    msal.exceptions.MsalError,
    requests.RequestException,
    ValueError,
    KeyError,
    RuntimeError,
)
UNAVAILABLE = "Entra does not answer at the moment: send the request again."
MISCONFIGURED = (
    "Entra refuses the gateway's audience or directory: its operator must check GATEWAY_AUDIENCE, "
    "GATEWAY_ENTRA_TENANT and the roles of the application."
)


class EntraTokenSource:
    """The `TokenSource` for Entra."""

    def __init__(self, authority: EntraAuthority, audience: str) -> None:
        self._authority = authority
        self._scope = f"{audience}/.default"
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def choose(self, claims: Sequence[ClientClaim]) -> tuple[Client, str] | None:
        """See `TokenSource`. Entra is called once for a request, with its most likely reading."""
        return next(((client, secret) for client, secret in claims if client is not None), None)

    async def exchange(
        self,
        client: Client,
        secret: str,
        scopes: frozenset[Scope],  # noqa: ARG002 (Entra's tokens cannot be narrowed)
    ) -> IssuedToken | None:
        """See `TokenSource`. Entra's token has all roles of the application, not only `scopes`.

        Raises TokenRefusedError if Entra does not answer, or refuses for a reason that the client
        cannot correct.
        """
        async with self._slots:
            answer = await asyncio.to_thread(self._request_token, client.client_id, secret)
        if "access_token" in answer:
            return IssuedToken(
                str(answer["access_token"]), int(answer["expires_in"]), tuple(sorted(client.scopes))
            )
        _check_refusal(str(answer.get("error", "")))
        return None

    def _request_token(self, client_id: str, secret: str) -> dict[str, Any]:
        try:
            with self._authority.session() as session:
                application = msal.ConfidentialClientApplication(
                    client_id,
                    client_credential=secret,
                    authority=self._authority.address,
                    instance_discovery=False,
                    http_client=session,
                )
                answer: dict[str, Any] = application.acquire_token_for_client([self._scope])
                return answer
        except _FAULTS as error:
            log.failure("entra.token_missing", error)
            raise TokenRefusedError(UNAVAILABLE, TokenFault.TEMPORARILY_UNAVAILABLE) from None


def _check_refusal(error: str) -> None:
    """Raises TokenRefusedError for any error other than wrong credentials."""
    if error in _WRONG_CLIENT:
        return
    log.warning("entra.token_refused", reason=error)
    if error in ("temporarily_unavailable", "server_error"):
        raise TokenRefusedError(UNAVAILABLE, TokenFault.TEMPORARILY_UNAVAILABLE)
    raise TokenRefusedError(MISCONFIGURED, TokenFault.SERVER_ERROR)
