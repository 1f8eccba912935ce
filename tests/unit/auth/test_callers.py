"""Who decides about a call, and what each kind of caller sees (docs/contracts.md#0)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import azure.functions as func
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.auth.bearer import BearerAuthenticator, TokenClaims, key_id_of, token_refusals
from shared.auth.callers import AnyCaller, Caller, Callers, KeyPairAuthenticator, TokenCaller
from shared.auth.clients import ClientLookups, Scope
from shared.auth.integrations import ANY, Integration
from shared.auth.lookups import MOST_FOUND, MOST_MISSING, CachedLookups, TenantLookups
from shared.budgets import FailureThrottle
from shared.clock import SystemClock
from shared.errors import (
    BearerTokenError,
    MissingScopeError,
    StorageUnavailableError,
    TokenRefusedError,
    UnauthenticatedError,
)
from shared.services.admin.tokens import TokenRequest
from shared.storage.ports import Entity, Operation
from shared.web.responses import refusal
from shared.web.tokens import FORM, read_token_request

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
        return asyncio.run(callers.authenticate_any(headers, ANY))
    return asyncio.run(callers.authenticate_for(headers, ANY, scope))


def challenge_of(error: Exception) -> str | None:
    challenge: str | None = refusal(error).headers.get("WWW-Authenticate")
    return challenge


def test_a_bearer_token_alone_decides() -> None:
    assert ask({**TOKEN, **KEYS}) is CLIENT
    for wrong in ("Bearer x", "bearer", "Basic YTpi, Bearer x"):
        with pytest.raises(BearerTokenError) as caught:
            ask({"authorization": wrong, **KEYS})
        assert challenge_of(caught.value) == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("added", ["", "Basic YTpi", "Negotiate x", "bearerish x", "Bearer-2 x"])
def test_another_authorization_scheme_is_ignored_beside_a_key_pair(added: str) -> None:
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


def test_a_call_for_key_pairs_only_has_no_bearer_challenge() -> None:
    tables, clock = NoTables(), SystemClock()
    key_pairs, tenants = KeyPairAuthenticator(tables, clock, 0), TenantLookups(tables, clock, 0)
    callers = Callers(key_pairs, OneToken(), tenants, unlimited())
    for headers in (TOKEN, {}):
        with pytest.raises(UnauthenticatedError) as caught:
            asyncio.run(callers.authenticate(headers, ANY))
        assert challenge_of(caught.value) is None


def test_a_key_pair_sees_every_type_and_a_client_those_of_its_scopes() -> None:
    caller = Caller("demo", "S", "S", Integration("demo", "S", "S"))
    types = ("workers", "documents", "authdata")
    assert [caller.sees(name) for name in types] == [True, True, True]
    assert [CLIENT.sees(name) for name in types] == [False, True, False]


# Remembered look-ups: bounded, short-lived, one read for callers at the same time.


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds


class Register:
    """A slow source that notes its reads; `gate` holds them up, `asked` says that one began."""

    def __init__(self, **answers: str) -> None:
        self.answers = dict(answers)
        self.reads: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def load(self, key: str) -> str | None:
        self.reads.append(key)
        self.asked.set()
        await self.gate.wait()
        if key == "broken":
            raise StorageUnavailableError("storage did not answer")
        return self.answers.get(key)


def test_an_answer_is_read_once_until_it_expires() -> None:
    async def story() -> None:
        clock, register = HandClock(), Register(a="first")
        lookups = CachedLookups(register.load, clock, 3)
        assert await lookups.get("a") == "first"
        register.answers["a"] = "second"
        clock.seconds = 2.9
        assert await lookups.get("a") == "first"
        clock.seconds = 3.0
        assert await lookups.get("a") == "second"
        assert register.reads == ["a", "a"]

    asyncio.run(story())


def test_a_missing_entry_is_cached_as_long_as_any_other() -> None:
    async def story() -> None:
        clock, register = HandClock(), Register()
        lookups = CachedLookups(register.load, clock, 3)
        assert [await lookups.get("a"), await lookups.get("a")] == [None, None]
        assert register.reads == ["a"]
        register.answers["a"] = "there now"
        clock.seconds = 3.0
        assert await lookups.get("a") == "there now"

    asyncio.run(story())


def test_the_age_of_an_answer_counts_from_the_start_of_its_read() -> None:
    async def story() -> None:
        clock, register = HandClock(), Register(a="first")
        lookups = CachedLookups(register.load, clock, 3)
        register.gate.clear()
        waiting = asyncio.create_task(lookups.get("a"))
        await register.asked.wait()
        clock.seconds = 4.0
        register.gate.set()
        assert await waiting == "first"
        register.answers["a"] = "second"
        assert await lookups.get("a") == "second"

    asyncio.run(story())


def test_callers_at_the_same_time_share_one_read_and_one_may_go_away() -> None:
    async def story() -> None:
        register = Register(a="found")
        lookups = CachedLookups(register.load, HandClock(), 3)
        register.gate.clear()
        callers = [asyncio.create_task(lookups.get("a")) for _ in range(20)]
        await register.asked.wait()
        callers[0].cancel()
        register.gate.set()
        assert await asyncio.gather(*callers[1:]) == ["found"] * 19
        assert callers[0].cancelled()
        assert register.reads == ["a"]

    asyncio.run(story())


def test_a_failed_read_reaches_everybody_and_is_not_remembered() -> None:
    async def story() -> None:
        register = Register()
        lookups = CachedLookups(register.load, HandClock(), 3)
        both = await asyncio.gather(
            lookups.get("broken"), lookups.get("broken"), return_exceptions=True
        )
        assert [type(error) for error in both] == [StorageUnavailableError] * 2
        with pytest.raises(StorageUnavailableError):
            await lookups.get("broken")
        assert register.reads == ["broken", "broken"]
        assert len(lookups) == 0

    asyncio.run(story())


def test_a_flood_of_unknown_keys_stays_in_its_own_small_store() -> None:
    async def story() -> None:
        register = Register(good="found")
        lookups = CachedLookups(register.load, HandClock(), 3)
        await lookups.get("good")
        for number in range(2_000):
            assert await lookups.get(f"guess-{number}") is None
        assert len(lookups) == MOST_MISSING + 1
        assert await lookups.get("good") == "found"
        assert register.reads.count("good") == 1

    asyncio.run(story())


def test_cached_keys_are_bounded_and_expired_ones_are_removed() -> None:
    async def story() -> None:
        clock = HandClock()
        register = Register(**{f"key{number}": "found" for number in range(MOST_FOUND + 5)})
        lookups = CachedLookups(register.load, clock, 3)
        for key in register.answers:
            await lookups.get(key)
        assert len(lookups) == MOST_FOUND
        clock.seconds = 3.0
        await lookups.get("key1")
        assert len(lookups) == 1

    asyncio.run(story())


def test_zero_seconds_remember_nothing() -> None:
    async def story() -> None:
        register = Register(a="found")
        lookups = CachedLookups(register.load, HandClock(), 0)
        assert await lookups.get("a") == await lookups.get("a") == "found"
        assert register.reads == ["a", "a"]
        assert len(lookups) == 0

    asyncio.run(story())


# Whatever a caller sends as a token or as a token request is read or refused, never a fault.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
NAMED = st.fixed_dictionaries(
    {}, optional={"alg": JSON | st.just("ES256"), "kid": JSON, "crit": JSON, "b64": JSON}
)
QUICK = settings(max_examples=150, deadline=None, database=None)


class Reader:
    """Reads the header of a token as both providers do; it knows no key."""

    async def read(self, token: str) -> TokenClaims:
        with token_refusals():
            return TokenClaims(key_id_of(token, "ES256", "at+jwt"), frozenset())


def _part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode().rstrip("=")


@QUICK
@given(
    header=NAMED.map(json.dumps).map(_part) | JSON.map(json.dumps).map(_part) | st.text(),
    rest=st.sampled_from(["", ".", ".a.b", ".e30.", ".W10.AAAA"]) | st.text(),
    scheme=st.sampled_from(["Bearer ", "bearer  ", "", "Basic "]),
)
def test_no_generated_authorization_header_authenticates(
    header: str, rest: str, scheme: str
) -> None:
    clients = ClientLookups(NoTables(), SystemClock(), 0)
    authenticator = BearerAuthenticator(Reader(), clients)
    with pytest.raises(BearerTokenError):
        asyncio.run(authenticator.authenticate(scheme + header + rest))


FIELDS = st.sampled_from(["grant_type", "client_id", "client_secret", "scope", "x"])
VALUES = st.sampled_from(["client_credentials", "a", "import_inbox", "%zz", "%ff", "+"]) | st.text()
FORMS = st.lists(st.tuples(FIELDS, VALUES), max_size=6).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "replace")
)
CREDENTIALS = st.binary(max_size=40).map(lambda value: base64.b64encode(value).decode())


@QUICK
@given(
    body=FORMS | st.binary(max_size=60),
    authorization=st.none() | CREDENTIALS.map(lambda value: f"Basic {value}") | st.text(),
    media_type=st.sampled_from([FORM, FORM.upper(), f"{FORM}; charset=utf-8", "x", ""]),
)
def test_any_body_is_a_token_request_or_a_refusal(
    body: bytes, authorization: str | None, media_type: str
) -> None:
    headers = {"Content-Type": media_type}
    if authorization is not None:
        headers["Authorization"] = authorization
    request = func.HttpRequest("POST", "/connect/token", headers=headers, body=body)
    read = _read(request)
    if isinstance(read, TokenRequest):
        assert read.client_id
        assert read.client_secret
        return
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", read)


def _read(request: func.HttpRequest) -> TokenRequest | str:
    """The request, or the message of its refusal."""
    try:
        return read_token_request(request)
    except TokenRefusedError as refused:
        return refused.message


# Table storage in which there is nothing, for refusals that end at a missing record.


class NoTables:
    """`Tables` without any entity; nothing can be written."""

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        return None

    async def query(
        self,
        table: str,
        partition: str,
        first: str = "",
        last: str | None = None,
        *,
        after: str = "",
        select: Sequence[str] | None = None,
        most: int | None = None,
    ) -> list[Entity]:
        return []

    async def write(self, table: str, operation: Operation) -> str:
        raise NotImplementedError

    async def transact(self, table: str, operations: Sequence[Operation]) -> None:
        raise NotImplementedError
