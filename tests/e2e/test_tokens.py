"""A gateway with Entra as identity provider: credentials go there by msal, tokens come back.

Entra cannot be reached where this is built: a stand-in serves its metadata over TLS.
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import jwt
import pytest

from cli.calls import CallFailedError, ClientCredentials, call, fetch_token
from local_host.certificate import make_certificate
from shared.auth.clients import Scope
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess, started, started_over_tls
from tests.emulator import Emulator, open_ready_gateway, settings_for
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
def entra_gateway(
    storage: str, entra: EntraStandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway"), **entra.settings) as process:
        yield process


@pytest.fixture(scope="module")
def application(storage: str, entra: EntraStandIn) -> str:
    """An application of Entra that is a client here."""

    async def registered() -> str:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            scopes = [Scope.IMPORT_INBOX]
            issued = await opened.clients.register(tenant, str(uuid.uuid4()), "HR", scopes)
            return issued.client.client_id

    client_id = asyncio.run(registered())
    entra.applications[client_id] = SECRET
    return client_id


def ask(entra_gateway: GatewayProcess, client_id: str, secret: str = SECRET, **more: str) -> Answer:
    fields = {"grant_type": "client_credentials", "client_id": client_id, **more}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({**fields, "client_secret": secret}).encode()
    return entra_gateway.call("POST", "/connect/token", body, headers)


def listed(entra_gateway: GatewayProcess, token: str) -> Answer:
    return entra_gateway.call("GET", "/api/imports", None, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_token_of_entra_comes_through_and_opens_what_takes_it(
    entra_gateway: GatewayProcess, entra: EntraStandIn, application: str, version: str
) -> None:
    entra.version = version
    answer = ask(entra_gateway, application.upper(), scope="import_inbox")
    assert answer.status == 200, answer.body
    document = answer.json
    assert (document["token_type"], document["scope"]) == ("Bearer", "import_inbox")
    assert 3_590 <= document["expires_in"] <= 3_600
    assert listed(entra_gateway, document["access_token"]).json["items"] == []


def test_a_wrong_secret_is_refused_even_right_after_a_right_one(
    entra_gateway: GatewayProcess, application: str
) -> None:
    assert ask(entra_gateway, application).status == 200
    for secret in ("wrong", SECRET + "x"):
        answer = ask(entra_gateway, application, secret)
        assert (answer.status, answer.json["error"]) == (401, "invalid_client")
        assert "AADSTS" not in answer.body.decode()
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_only_registered_clients_and_their_scopes_are_passed_on_or_let_in(
    entra_gateway: GatewayProcess, entra: EntraStandIn, application: str
) -> None:
    stranger = str(uuid.uuid4())
    entra.applications[stranger] = SECRET
    entra.requests.clear()
    answer = ask(entra_gateway, stranger)
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert entra.requests == []
    token = entra.sign(entra.claims(stranger))
    check_refusal(listed(entra_gateway, token), 401, "client of this token")
    refused = ask(entra_gateway, application, scope="import_authdata")
    assert (refused.status, refused.json["error"]) == (400, "invalid_scope")


def test_entra_away_is_503_in_both_places(
    entra_gateway: GatewayProcess, entra: EntraStandIn, application: str
) -> None:
    entra.is_away = True
    try:
        answer = ask(entra_gateway, application)
        assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["retry-after"]
    finally:
        entra.is_away = False
    assert ask(entra_gateway, application).status == 200


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
    entra_gateway: GatewayProcess, entra: EntraStandIn
) -> None:
    keys = entra_gateway.call("GET", "/.well-known/jwks.json").json["keys"]
    assert {key["kid"] for key in keys} <= set(entra.keys)
    discovery = entra_gateway.call("GET", "/connect/.well-known/openid-configuration").json
    assert discovery["id_token_signing_alg_values_supported"] == ["RS256"]


# msal as a client of a running gateway: a token over TLS, by the gateway's own discovery document.
#
# What the commands use (`cli.calls`), against the traps of docs/platform.md#msal.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def gateway(
    storage: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started_over_tls(storage, tmp_path_factory.mktemp("gateway"), certificate) as process:
        yield process


@pytest.fixture(scope="module")
def client(storage: str) -> ClientCredentials:
    async def create() -> ClientCredentials:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            issued = await opened.clients.add(tenant, f"Söhne & Co {tenant}", Scope)
            return ClientCredentials(issued.client.client_id, issued.client_secret)

    return asyncio.run(create())


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands trust the certificate; a bundle of the environment has others only."""
    other = make_certificate(tmp_path / "other")
    monkeypatch.setenv("GATEWAY_CA_FILE", str(certificate))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(other))


@pytest.mark.usefixtures("trusting")
def test_msal_gets_a_token_that_the_gateway_takes(
    gateway: GatewayProcess, client: ClientCredentials
) -> None:
    token = fetch_token(gateway.url, client, Scope.IMPORT_INBOX)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["iss"]) == (client.client_id, gateway.url)
    assert claims["scope"] == "import_inbox"
    listed = call("GET", f"{gateway.url}/api/imports", {"Authorization": f"Bearer {token}"})
    assert (listed.status, listed.document["items"]) == (200, [])


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"client_secret": "pigs_wrong"}, "gave no token: Client id and secret"),
        ({"scope": "owner"}, "gave no token: The client may ask"),
        ({"url": "https://127.0.0.1:9"}, "No answer from https://127.0.0.1:9"),
        ({"url": "http://127.0.0.1:9"}, "dev.py run --tls"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    gateway: GatewayProcess, client: ClientCredentials, changes: dict[str, str], sentence: str
) -> None:
    secret = changes.get("client_secret", client.client_secret)
    with pytest.raises(CallFailedError) as caught:
        fetch_token(
            changes.get("url", gateway.url),
            ClientCredentials(client.client_id, secret),
            changes.get("scope", Scope.IMPORT_INBOX),
        )
    assert sentence in str(caught.value)
    assert secret not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    gateway: GatewayProcess, client: ClientCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_CA_FILE", raising=False)
    with pytest.raises(CallFailedError, match="GATEWAY_CA_FILE"):
        fetch_token(gateway.url, client, Scope.IMPORT_INBOX)


def test_an_address_that_is_not_the_issuers_is_told_apart(
    gateway: GatewayProcess,
    client: ClientCredentials,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_CA_FILE", str(certificate))
    with pytest.raises(CallFailedError, match="GATEWAY_BASE_URL"):
        fetch_token(f"https://localhost:{gateway.port}", client, Scope.IMPORT_INBOX)


def test_the_app_sees_https_in_the_addresses_of_its_calls(
    gateway: GatewayProcess, certificate: Path
) -> None:
    trust = ssl.create_default_context(cafile=certificate)
    request = Request(f"{gateway.url}/connect/.well-known/openid-configuration")
    with urlopen(request, context=trust, timeout=10) as answer:
        assert f'"issuer":"{gateway.url}"' in answer.read().decode()


def test_a_certificate_is_made_once_for_this_machine_and_kept(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "tls")
    before = certificate.read_bytes()
    assert make_certificate(tmp_path / "tls").read_bytes() == before
    assert certificate.with_name("key.pem").stat().st_mode & 0o777 == 0o600
    certificate.write_text("no certificate")
    assert make_certificate(tmp_path / "tls").read_bytes() not in (before, b"no certificate")
