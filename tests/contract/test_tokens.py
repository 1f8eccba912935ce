"""`POST /connect/token`, the discovery document, the keys, and OAuth clients of libraries."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import jwt
import pytest
from authlib.integrations.requests_client import (  # type: ignore[import-untyped]
    OAuth2Session as AuthlibSession,
)
from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from shared.auth.clients import Client, Scope, client_to_entity, hash_client_secret
from shared.auth.local_tokens import CLAIMS
from shared.auth.stored_keys import StoredKey
from shared.services.admin.clients import IssuedClient
from shared.storage.names import CLIENTS
from shared.storage.ports import Upsert
from tests.builders import a_worker
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import a_sender, a_token_client, new_tenant

pytestmark = pytest.mark.e2e


# `POST /connect/token`, the discovery document and the published keys.

FORM = "application/x-www-form-urlencoded"
ALL_SCOPES = " ".join(sorted(Scope))
NAME = "Büro & Söhne: 100% +Lohn"


@pytest.fixture(scope="module")
def issued(storage: str) -> IssuedClient:
    """A client with a name that has to be encoded in every way."""

    async def create() -> IssuedClient:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            return await opened.clients.add(tenant, f"{NAME} {tenant}", Scope)

    return asyncio.run(create())


def ask(
    gateway: GatewayProcess, fields: Mapping[str, str] | bytes, headers: Mapping[str, str] = {}
) -> Answer:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return gateway.call("POST", "/connect/token", body, {"Content-Type": FORM, **headers})


def form(issued: IssuedClient, **changes: str) -> dict[str, str]:
    return {
        "client_id": issued.client.client_id,
        "client_secret": issued.client_secret,
        "grant_type": "client_credentials",
        "scope": "import_inbox",
        **changes,
    }


def basic(client_id: str, secret: str) -> dict[str, str]:
    text = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def check_refused(answer: Answer, error: str, status: int = 400) -> None:
    """The body of RFC 6749, 5.2; nothing that was sent comes back in it."""
    assert (answer.status, answer.json["error"]) == (status, error), answer.body
    assert set(answer.json) == {"error", "error_description"}
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", answer.json["error_description"])
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in answer.headers) is (status == 401)
    assert "x-correlation-id" in answer.headers


def claims_of(gateway: GatewayProcess, token: str) -> dict[str, Any]:
    """What a token says, checked as another program would: by the published documents."""
    metadata = gateway.call("GET", "/.well-known/openid-configuration").json
    keys = jwt.PyJWKSet.from_dict(gateway.call("GET", "/.well-known/jwks.json").json)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    audience = "payroll-import-gateway"
    return jwt.decode(token, key, ["ES256"], audience=audience, issuer=metadata["issuer"])


def test_a_token_has_every_claim_and_is_accepted(
    gateway: GatewayProcess, issued: IssuedClient
) -> None:
    answer = ask(gateway, form(issued))
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json
    token = document.pop("access_token")
    assert document == {"token_type": "Bearer", "expires_in": 3600, "scope": "import_inbox"}
    claims = claims_of(gateway, token)
    assert set(claims) == {*CLAIMS, "secret_id"}
    assert claims["iss"] == gateway.url
    assert claims["sub"] == issued.client.client_id
    assert claims["tenant"] == issued.client.tenant
    assert claims["scope"] == "import_inbox"
    assert claims["exp"] - claims["iat"] == 3600
    bearer = {"Authorization": f"Bearer {token}"}
    assert gateway.call("GET", "/api/imports", None, bearer).status == 200
    again = ask(gateway, form(issued)).json["access_token"]
    assert claims_of(gateway, again)["jti"] != claims["jti"]


@pytest.mark.parametrize("scheme", ["Basic", "basic"])
def test_credentials_may_come_in_the_header_percent_encoded(
    gateway: GatewayProcess, issued: IssuedClient, scheme: str
) -> None:
    header = basic(issued.client.client_id, issued.client_secret)
    header["Authorization"] = header["Authorization"].replace("Basic", scheme)
    answer = ask(gateway, {"grant_type": "client_credentials"}, header)
    assert answer.json["scope"] == ALL_SCOPES
    also_in_form = {"grant_type": "client_credentials", "client_id": issued.client.client_id}
    assert ask(gateway, also_in_form, header).status == 200


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("import_authdata", "import_authdata"),
        ("import_inbox import_authdata", "import_authdata import_inbox"),
        ("import_inbox import_inbox", "import_inbox"),
        ("read_sensitive read_records", "read_records read_sensitive"),
        ("read_records", "read_records"),
        ("", ALL_SCOPES),
    ],
)
def test_the_scopes_that_were_asked_for_are_granted(
    gateway: GatewayProcess, issued: IssuedClient, scope: str, granted: str
) -> None:
    answer = ask(gateway, form(issued, scope=scope))
    assert answer.json["scope"] == granted
    assert claims_of(gateway, answer.json["access_token"])["scope"] == granted


def test_a_token_reads_as_much_as_it_was_asked_for(gateway: GatewayProcess, storage: str) -> None:
    sender = a_sender(storage)
    secret = "12345678"
    bank = {"BankSortCode": "123456", "BankAccountNumber": secret, "BankAccountName": "A"}
    gateway.post(sender, [a_worker("P1", PrimaryBankDetails=bank)])

    async def create() -> IssuedClient:
        async with open_ready_gateway(settings_for(storage)) as opened:
            scopes = (Scope.READ_RECORDS, Scope.READ_SENSITIVE)
            return await opened.clients.add(sender.tenant, f"reader of {sender.tenant}", scopes)

    reader = asyncio.run(create())
    for scope, is_shown in (("read_records", False), ("", True), ("read_sensitive", None)):
        token = ask(gateway, form(reader, scope=scope)).json["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = gateway.call("GET", "/api/records/workers", None, headers)
        assert answer.status == (403 if is_shown is None else 200), answer.body
        if is_shown is not None:
            assert ("P1" in answer.body.decode(), secret in answer.body.decode()) == (
                True,
                is_shown,
            )
    check_refused(ask(gateway, form(reader, scope="import_inbox")), "invalid_scope")


@pytest.mark.parametrize("scope", ["owner", "import_inbox owner", "IMPORT_INBOX", "a  b", "ä", " "])
def test_a_scope_that_the_client_has_not_is_refused(
    gateway: GatewayProcess, issued: IssuedClient, scope: str
) -> None:
    check_refused(ask(gateway, form(issued, scope=scope)), "invalid_scope")


WRONG_CLIENTS: dict[str, dict[str, str]] = {
    "an unknown client": {"client_id": "nobody"},
    "another case": {"client_id": NAME.upper()},
    "a wrong secret": {"client_secret": "pigs_wrong"},
    "a client and a scope that it has not": {"client_secret": "pigs_wrong", "scope": "owner"},
    "no secret": {"client_secret": ""},
    "no client": {"client_id": ""},
}


@pytest.mark.parametrize("name", WRONG_CLIENTS)
def test_who_is_not_the_client_gets_invalid_client(
    gateway: GatewayProcess, issued: IssuedClient, name: str
) -> None:
    answer = ask(gateway, form(issued, **WRONG_CLIENTS[name]))
    check_refused(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_a_client_of_entra_gets_no_token_of_the_gateways_own(
    gateway: GatewayProcess, storage: str, issued: IssuedClient
) -> None:
    client = a_token_client(storage, gateway.url).client
    for secret in ("x", issued.client_secret):
        fields = form(issued, client_id=client.client_id, client_secret=secret)
        check_refused(ask(gateway, fields), "invalid_client", 401)


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic YWJj", "Basic /w==", "Bearer abc", "Digest a=b"]
)
def test_a_header_that_is_no_basic_one_is_invalid_client(
    gateway: GatewayProcess, header: str
) -> None:
    answer = ask(gateway, {"grant_type": "client_credentials"}, {"Authorization": header})
    check_refused(answer, "invalid_client", 401)


@pytest.mark.parametrize(
    "grant", ["password", "authorization_code", "CLIENT_CREDENTIALS", "x" * 999]
)
def test_no_other_grant_is_supported(
    gateway: GatewayProcess, issued: IssuedClient, grant: str
) -> None:
    check_refused(ask(gateway, form(issued, grant_type=grant)), "unsupported_grant_type")


def test_a_malformed_token_request_is_invalid(
    gateway: GatewayProcess, issued: IssuedClient
) -> None:
    good = urlencode(form(issued)).encode()
    header = basic(issued.client.client_id, issued.client_secret)
    other = basic("other", issued.client_secret)
    grant = {"grant_type": "client_credentials"}
    refused = {
        "no grant": ask(gateway, form(issued, grant_type="")),
        "nothing": ask(gateway, b""),
        "a field twice": ask(gateway, good + b"&scope=import_inbox"),
        "both places": ask(gateway, good, header),
        "two clients": ask(gateway, {**grant, "client_id": "one"}, other),
        "json": ask(gateway, b'{"grant_type":"client_credentials"}'),
        "no form": ask(gateway, good, {"Content-Type": "application/json"}),
        "not utf-8": ask(gateway, good + b"&more=%ff"),
        "bytes": ask(gateway, good + b"&more=\xff"),
        "too large": ask(gateway, good + b"&more=" + b"x" * 20_000),
        "too many fields": ask(gateway, good + b"".join(b"&f%d=1" % n for n in range(50))),
        "a long secret": ask(gateway, form(issued, client_secret="x" * 1_001)),
    }
    for name, answer in refused.items():
        assert (name, answer.status) == (name, 400)
        check_refused(answer, "invalid_request")


def test_unknown_fields_are_ignored(gateway: GatewayProcess, issued: IssuedClient) -> None:
    assert ask(gateway, form(issued, client_info="1", resource="x")).status == 200


@pytest.mark.parametrize("start", ["", "/connect"])
def test_the_documents_agree_and_are_there_under_both_addresses(
    gateway: GatewayProcess, start: str
) -> None:
    answer = gateway.call("GET", f"{start}/.well-known/openid-configuration")
    assert answer.json["issuer"] == gateway.url
    assert answer.json["token_endpoint"] == f"{gateway.url}/connect/token"
    assert answer.json["jwks_uri"] == f"{gateway.url}/.well-known/jwks.json"
    assert answer.json["authorization_endpoint"]
    keys = gateway.call("GET", f"{start}/.well-known/jwks.json")
    assert keys.headers["cache-control"] == "public, max-age=60"
    assert keys.json["keys"]
    for key in keys.json["keys"]:
        assert set(key) == {"kty", "use", "alg", "kid", "crv", "x", "y"}


def test_no_secret_and_no_token_is_logged(gateway: GatewayProcess, issued: IssuedClient) -> None:
    token = ask(gateway, form(issued)).json["access_token"]
    ask(gateway, form(issued, client_secret="pigs_zqxj", scope="zqxj"))
    gateway.call("GET", "/api/imports", None, {"Authorization": f"Bearer {token}"})
    gateway.call("GET", "/api/imports", None, {"Authorization": "Bearer zqxj.zqxj.zqxj"})
    log = gateway.log()
    assert "token.issued" in log
    assert "token.refused reason=invalid_client" in log
    for secret in (issued.client_secret, token.split(".")[1], token.split(".")[2], "zqxj", NAME):
        assert secret not in log


# OAuth clients of widespread libraries at `/connect/token`, as their defaults send credentials.

PLAIN = "pigs_abc-_123"
AWKWARD = "+%:& é%2B=/?"
# Each id is an id in itself, whatever decoding would make of it.
IDS = ["acme", "Acme HR", "Büro & Söhne: 100% +Lohn", "a+b", "a%20b", "100%", "a:b:c", "%FF", "+"]


@pytest.fixture(scope="module")
def tenant(storage: str) -> str:
    """A tenant whose clients have ids and secrets with marks of every kind."""

    async def client() -> str:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            for secret in (PLAIN, AWKWARD):
                hashed = hash_client_secret(secret)
                for name in IDS:
                    client_id = f"{name}{secret[0]}"
                    client = Client(
                        client_id, tenant, name, frozenset(Scope), "r", "", (StoredKey(hashed),)
                    )
                    await opened.account.tables.write(CLIENTS, Upsert(client_to_entity(client)))
            return tenant

    return asyncio.run(client())


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


def ask_with_header(
    gateway: GatewayProcess, text: bytes, form: str = "", scheme: str = "Basic"
) -> Answer:
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
        answer = ask_with_header(gateway, pair.encode())
        assert answer.status == 200, (pair, answer.body)
        answer = ask_with_header(gateway, pair.encode(), f"&client_id={quote_plus(client_id)}")
        assert answer.status == 200, (pair, answer.body)
    assert ask_with_header(gateway, pairs[-1].encode("latin-1")).status == 200


@CASES
def test_a_wrong_secret_is_wrong_in_every_encoding(
    gateway: GatewayProcess, client_id: str, secret: str
) -> None:
    for wrong in (f"{secret}x", secret[:-1], quote(quote(secret, safe=""), safe="") + "%"):
        for pair in (f"{client_id}:{wrong}", f"{quote(client_id)}:{quote(wrong)}"):
            answer = ask_with_header(gateway, pair.encode())
            assert (answer.status, answer.json["error"]) == (401, "invalid_client")


def test_a_header_that_a_proxy_added_is_passed_over_beside_credentials_in_the_form(
    gateway: GatewayProcess,
) -> None:
    in_form = f"&client_id=acme{PLAIN[0]}&client_secret={PLAIN}"
    for scheme in ("Negotiate", "Bearer", "NTLM", "Digest"):
        assert ask_with_header(gateway, b"x:y", in_form, scheme).status == 200
    assert ask_with_header(gateway, b"x:y", in_form).json["error"] == "invalid_request"
