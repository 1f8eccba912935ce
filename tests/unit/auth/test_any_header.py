"""Whatever a caller sends as a token or as a token request is read or refused, never a fault."""

from __future__ import annotations

import asyncio
import base64
import json
import re

import azure.functions as func
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.auth.bearer import BearerAuthenticator, TokenClaims, key_id_of, token_refusals
from shared.auth.clients import ClientLookups
from shared.clock import SystemClock
from shared.errors import BearerTokenError, TokenRefusedError
from shared.services.admin.tokens import TokenRequest
from shared.web.tokens import FORM, read_token_request
from tests.unit.auth.no_tables import NoTables

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
    """Reads the header of a token as both providers do; nobody's key is known."""

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
def test_any_authorization_header_is_nobodys(header: str, rest: str, scheme: str) -> None:
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
