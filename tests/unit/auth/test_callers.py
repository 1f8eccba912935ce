"""Who decides about a call, and what each kind of caller sees (docs/contracts.md#0)."""

from __future__ import annotations

import asyncio

import pytest

from shared.auth.callers import AnyCaller, Caller, Callers, KeyPairAuthenticator, TokenCaller
from shared.auth.clients import Scope
from shared.auth.failure_throttle import FailureThrottle
from shared.auth.integrations import Integration
from shared.auth.tenant_lookups import TenantLookups
from shared.clock import SystemClock
from shared.errors import BearerTokenError, MissingScopeError, UnauthenticatedError
from shared.web.responses import refusal
from tests.unit.auth.no_tables import NoTables

CLIENT = TokenCaller("demo", "Acme", frozenset({Scope.IMPORT_INBOX}))
KEYS = {"x-functions-key": "pig_x", "x-software-key": "S"}
TOKEN = {"authorization": "Bearer good"}


class OneToken:
    """Knows one header."""

    async def authenticate(self, authorization: str) -> TokenCaller:
        if authorization != TOKEN["authorization"]:
            raise BearerTokenError("Ask for a token.")
        return CLIENT


def unlimited() -> FailureThrottle:
    return FailureThrottle(SystemClock(), 10**6, 10**6, is_forwarded=False)


def ask(headers: dict[str, str], scope: Scope | None = None) -> AnyCaller:
    tables, clock = NoTables(), SystemClock()
    key_pairs, tenants = KeyPairAuthenticator(tables, clock, 0), TenantLookups(tables, clock, 0)
    callers = Callers(key_pairs, OneToken(), tenants, unlimited())
    if scope is None:
        return asyncio.run(callers.authenticate_any(headers))
    return asyncio.run(callers.authenticate_for(headers, scope))


def challenge_of(error: Exception) -> str | None:
    found: str | None = refusal(error).headers.get("WWW-Authenticate")
    return found


def test_a_bearer_token_alone_decides() -> None:
    assert ask({**TOKEN, **KEYS}) is CLIENT
    for wrong in ("Bearer x", "bearer", "Basic YTpi, Bearer x"):
        with pytest.raises(BearerTokenError) as caught:
            ask({"authorization": wrong, **KEYS})
        assert challenge_of(caught.value) == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("added", ["", "Basic YTpi", "Negotiate x", "bearerish x", "Bearer-2 x"])
def test_another_authorization_is_passed_over_beside_a_key_pair(added: str) -> None:
    with pytest.raises(BearerTokenError, match="function key") as caught:
        ask({"authorization": added, **KEYS})
    assert challenge_of(caught.value) == "Bearer"
    with pytest.raises(BearerTokenError) as caught:
        ask({"authorization": added})
    assert challenge_of(caught.value) == 'Bearer error="invalid_token"'


def test_a_token_counts_for_its_scopes_only() -> None:
    assert ask(TOKEN, Scope.IMPORT_INBOX) is CLIENT
    with pytest.raises(MissingScopeError) as caught:
        ask(TOKEN, Scope.IMPORT_AUTHDATA)
    assert challenge_of(caught.value) == (
        'Bearer error="insufficient_scope", scope="import_authdata"'
    )


@pytest.mark.parametrize("headers", [{}, {"x-functions-key": " "}, KEYS])
def test_without_a_token_the_challenge_names_no_error(headers: dict[str, str]) -> None:
    with pytest.raises(BearerTokenError) as caught:
        ask(headers, Scope.IMPORT_INBOX)
    assert challenge_of(caught.value) == "Bearer"


def test_where_only_key_pairs_are_taken_there_is_no_bearer_challenge() -> None:
    tables, clock = NoTables(), SystemClock()
    key_pairs, tenants = KeyPairAuthenticator(tables, clock, 0), TenantLookups(tables, clock, 0)
    callers = Callers(key_pairs, OneToken(), tenants, unlimited())
    for headers in (TOKEN, {}):
        with pytest.raises(UnauthenticatedError) as caught:
            asyncio.run(callers.authenticate(headers))
        assert challenge_of(caught.value) is None


def test_a_key_pair_sees_every_type_and_a_client_those_of_its_scopes() -> None:
    caller = Caller("demo", "S", "S", Integration("demo", "S", "S"))
    types = ("workers", "documents", "authdata")
    assert [caller.sees(name) for name in types] == [True, True, True]
    assert [CLIENT.sees(name) for name in types] == [False, True, False]
