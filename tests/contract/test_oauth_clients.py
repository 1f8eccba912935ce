"""OAuth clients of widespread libraries at `/connect/token`, as their defaults send credentials.

They differ in what they put into `Authorization: Basic`: form-encoded as RFC 6749 wants, or as it
is, in UTF-8 or Latin-1.
"""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote, quote_plus

import pytest
from authlib.integrations.requests_client import (  # type: ignore[import-untyped]
    OAuth2Session as AuthlibSession,
)
from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from shared.auth.client_secrets import hash_client_secret
from shared.auth.clients import Client, Scope, client_to_entity
from shared.bootstrap import open_gateway
from shared.storage.names import CLIENTS
from shared.storage.ports import Upsert
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import new_tenant

pytestmark = pytest.mark.e2e
PLAIN = "pigs_abc-_123"
AWKWARD = "+%:& é%2B=/?"
# Each id is an id in itself, whatever decoding would make of it.
IDS = ["acme", "Acme HR", "Büro & Söhne: 100% +Lohn", "a+b", "a%20b", "100%", "a:b:c", "%FF", "+"]


@pytest.fixture(scope="module")
def tenant(storage: str) -> str:
    """A tenant whose clients have ids and secrets with marks of every kind."""

    async def made() -> str:
        async with open_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            for secret in (PLAIN, AWKWARD):
                hashed = hash_client_secret(secret)
                for name in IDS:
                    client_id = f"{name}{secret[0]}"
                    made = Client(client_id, tenant, name, frozenset(Scope), "r", "", hashed)
                    await opened.account.tables.write(CLIENTS, Upsert(client_to_entity(made)))
            return tenant

    return asyncio.run(made())


# Of an id and a secret that both have a colon the header as it is does not tell the end of the id.
CASES = pytest.mark.parametrize(
    ("client_id", "secret"),
    [(f"{name}{PLAIN[0]}", PLAIN) for name in IDS]
    + [(f"{name}{AWKWARD[0]}", AWKWARD) for name in IDS if ":" not in name],
)


@pytest.fixture(autouse=True)
def http_is_enough(monkeypatch: pytest.MonkeyPatch, tenant: str) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@CASES
def test_requests_oauthlib(gateway: GatewayProcess, client_id: str, secret: str) -> None:
    address = f"{gateway.url}/connect/token"
    for options in ({}, {"include_client_id": True}, {"include_client_id": False}):
        with OAuth2Session(client=BackendApplicationClient(client_id=client_id)) as session:
            session.trust_env = False
            token = session.fetch_token(
                address, client_id=client_id, client_secret=secret, **options
            )
            assert token["token_type"] == "Bearer"
            assert session.get(f"{gateway.url}/api/imports").status_code == 200


@CASES
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib(gateway: GatewayProcess, client_id: str, secret: str, method: str) -> None:
    session = AuthlibSession(client_id, secret, token_endpoint_auth_method=method)
    session.trust_env = False
    with session:
        token = session.fetch_token(
            f"{gateway.url}/connect/token", grant_type="client_credentials", scope="import_inbox"
        )
        assert token["scope"] == "import_inbox"
        assert session.get(f"{gateway.url}/api/imports").status_code == 200


def ask(gateway: GatewayProcess, text: bytes, form: str = "", scheme: str = "Basic") -> Answer:
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": f"{scheme} {base64.b64encode(text).decode()}",
    }
    body = f"grant_type=client_credentials{form}".encode()
    return gateway.call("POST", "/connect/token", body, headers)


@CASES
def test_every_encoding_of_the_header_is_read(
    gateway: GatewayProcess, client_id: str, secret: str
) -> None:
    pairs = [
        f"{quote(client_id, safe='')}:{quote(secret, safe='')}",
        f"{quote_plus(client_id)}:{quote_plus(secret)}",
        f"{client_id}:{secret}",
    ]
    for pair in pairs:
        answer = ask(gateway, pair.encode())
        assert answer.status == 200, (pair, answer.body)
        answer = ask(gateway, pair.encode(), f"&client_id={quote_plus(client_id)}")
        assert answer.status == 200, (pair, answer.body)
    assert ask(gateway, pairs[-1].encode("latin-1")).status == 200


@CASES
def test_a_wrong_secret_is_wrong_in_every_encoding(
    gateway: GatewayProcess, client_id: str, secret: str
) -> None:
    for wrong in (f"{secret}x", secret[:-1], quote(quote(secret, safe=""), safe="") + "%"):
        for pair in (f"{client_id}:{wrong}", f"{quote(client_id)}:{quote(wrong)}"):
            answer = ask(gateway, pair.encode())
            assert (answer.status, answer.json["error"]) == (401, "invalid_client")


def test_a_header_that_a_proxy_added_is_passed_over_beside_credentials_in_the_form(
    gateway: GatewayProcess,
) -> None:
    in_form = f"&client_id=acme{PLAIN[0]}&client_secret={PLAIN}"
    for scheme in ("Negotiate", "Bearer", "NTLM", "Digest"):
        assert ask(gateway, b"x:y", in_form, scheme).status == 200
    assert ask(gateway, b"x:y", in_form).json["error"] == "invalid_request"
