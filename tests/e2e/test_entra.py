"""A gateway with Entra as identity provider: credentials go there by msal, tokens come back.

Entra cannot be reached where this is built: a stand-in serves its metadata over TLS.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from shared.auth.clients import Scope
from shared.bootstrap import open_gateway
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess, started
from tests.emulator import Emulator, settings_for
from tests.entra_stand_in import EntraStandIn, running_stand_in
from tests.tenants import new_tenant

pytestmark = pytest.mark.e2e
SECRET = "8Q~entra-keeps-this"


@pytest.fixture(scope="module")
def entra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EntraStandIn]:
    with running_stand_in(tmp_path_factory.mktemp("entra")) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def storage(emulator: Emulator) -> str:
    return emulator.account("tls")


@pytest.fixture(scope="module")
def gateway(
    storage: str, entra: EntraStandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway"), **entra.settings) as process:
        yield process


@pytest.fixture(scope="module")
def application(storage: str, entra: EntraStandIn) -> str:
    """An application of Entra that is a client here."""

    async def registered() -> str:
        async with open_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            scopes = [Scope.IMPORT_INBOX]
            issued = await opened.clients.register(tenant, str(uuid.uuid4()), "HR", scopes)
            return issued.client.client_id

    client_id = asyncio.run(registered())
    entra.applications[client_id] = SECRET
    return client_id


def ask(gateway: GatewayProcess, client_id: str, secret: str = SECRET, **more: str) -> Answer:
    fields = {"grant_type": "client_credentials", "client_id": client_id, **more}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({**fields, "client_secret": secret}).encode()
    return gateway.call("POST", "/connect/token", body, headers)


def listed(gateway: GatewayProcess, token: str) -> Answer:
    return gateway.call("GET", "/api/imports", None, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_token_of_entra_comes_through_and_opens_what_takes_it(
    gateway: GatewayProcess, entra: EntraStandIn, application: str, version: str
) -> None:
    entra.version = version
    answer = ask(gateway, application.upper(), scope="import_inbox")
    assert answer.status == 200, answer.body
    document = answer.json
    assert (document["token_type"], document["scope"]) == ("Bearer", "import_inbox")
    assert 3_590 <= document["expires_in"] <= 3_600
    assert listed(gateway, document["access_token"]).json["items"] == []


def test_a_wrong_secret_is_refused_even_right_after_a_right_one(
    gateway: GatewayProcess, application: str
) -> None:
    assert ask(gateway, application).status == 200
    for secret in ("wrong", SECRET + "x"):
        answer = ask(gateway, application, secret)
        assert (answer.status, answer.json["error"]) == (401, "invalid_client")
        assert "AADSTS" not in answer.body.decode()
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_only_registered_clients_and_their_scopes_are_passed_on_or_let_in(
    gateway: GatewayProcess, entra: EntraStandIn, application: str
) -> None:
    stranger = str(uuid.uuid4())
    entra.applications[stranger] = SECRET
    entra.requests.clear()
    answer = ask(gateway, stranger)
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert entra.requests == []
    token = entra.sign(entra.claims(stranger))
    check_refusal(listed(gateway, token), 401, "client of this token")
    refused = ask(gateway, application, scope="import_authdata")
    assert (refused.status, refused.json["error"]) == (400, "invalid_scope")


def test_entra_away_is_503_in_both_places(
    gateway: GatewayProcess, entra: EntraStandIn, application: str
) -> None:
    entra.is_away = True
    try:
        answer = ask(gateway, application)
        assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"]
    finally:
        entra.is_away = False
    assert ask(gateway, application).status == 200


def test_entra_that_was_never_there_is_503_for_a_token_too(
    storage: str, entra: EntraStandIn, application: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {**entra.settings, "GATEWAY_ENTRA_AUTHORITY": "https://127.0.0.1:9"}
    with started(storage, tmp_path_factory.mktemp("alone"), **settings) as alone:
        token = entra.sign(entra.claims(application))
        answer = listed(alone, token)
        check_refusal(answer, 503, "Entra does not answer")
        assert answer.headers["retry-after"]
        assert ask(alone, application).status == 503
        assert SECRET not in alone.log()
        assert token.split(".")[1] not in alone.log()


def test_a_gateway_that_entra_does_not_know_says_whose_fault_it_is(
    storage: str, entra: EntraStandIn, application: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {**entra.settings, "GATEWAY_AUDIENCE": "api://somebody-else"}
    with started(storage, tmp_path_factory.mktemp("other"), **settings) as other:
        answer = ask(other, application)
        assert (answer.status, answer.json["error"]) == (500, "server_error")
        assert "GATEWAY_AUDIENCE" in answer.json["error_description"]


def test_the_published_keys_are_those_of_entra(
    gateway: GatewayProcess, entra: EntraStandIn
) -> None:
    keys = gateway.call("GET", "/.well-known/jwks.json").json["keys"]
    assert {key["kid"] for key in keys} <= set(entra.keys)
    found = gateway.call("GET", "/connect/.well-known/openid-configuration").json
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
