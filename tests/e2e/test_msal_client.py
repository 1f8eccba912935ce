"""msal as a client of a running gateway: a token over TLS, by the gateway's own discovery document.

What the commands use (`cli.calls`), against the traps of docs/platform.md#msal.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import jwt
import pytest

from cli.calls import CallFailedError, ClientCredentials, call, fetch_token
from local_host.certificate import make_certificate
from shared.auth.clients import Scope
from shared.bootstrap import open_gateway
from tests.e2e.gateway_process import GatewayProcess, started_over_tls
from tests.emulator import Emulator, settings_for
from tests.tenants import new_tenant

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def storage(emulator: Emulator) -> str:
    return emulator.account("tls")


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
    async def made() -> ClientCredentials:
        async with open_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            issued = await opened.clients.add(tenant, f"Söhne & Co {tenant}", Scope)
            return ClientCredentials(issued.client.client_id, issued.client_secret)

    return asyncio.run(made())


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
    ("changes", "said"),
    [
        ({"client_secret": "pigs_wrong"}, "gave no token: Client id and secret"),
        ({"scope": "admin"}, "gave no token: The client may ask"),
        ({"url": "https://127.0.0.1:9"}, "No answer from https://127.0.0.1:9"),
        ({"url": "http://127.0.0.1:9"}, "dev.py run --tls"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    gateway: GatewayProcess, client: ClientCredentials, changes: dict[str, str], said: str
) -> None:
    secret = changes.get("client_secret", client.client_secret)
    with pytest.raises(CallFailedError) as caught:
        fetch_token(
            changes.get("url", gateway.url),
            ClientCredentials(client.client_id, secret),
            changes.get("scope", Scope.IMPORT_INBOX),
        )
    assert said in str(caught.value)
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
    made = make_certificate(tmp_path / "tls")
    before = made.read_bytes()
    assert make_certificate(tmp_path / "tls").read_bytes() == before
    assert made.with_name("key.pem").stat().st_mode & 0o777 == 0o600
    made.write_text("no certificate")
    assert make_certificate(tmp_path / "tls").read_bytes() not in (before, b"no certificate")
