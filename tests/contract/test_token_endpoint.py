"""`POST /connect/token`, the discovery document and the published keys.

See docs/contracts.md#4, RFC 6749.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest

from shared.auth.clients import Scope
from shared.auth.local_tokens import CLAIMS
from shared.bootstrap import open_gateway
from shared.services.admin.clients import IssuedClient
from tests.builders import a_worker
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import a_sender, new_tenant
from tests.tokens import a_token_client

pytestmark = pytest.mark.e2e
FORM = "application/x-www-form-urlencoded"
ALL_SCOPES = " ".join(sorted(Scope))
NAME = "Büro & Söhne: 100% +Lohn"


@pytest.fixture(scope="module")
def issued(storage: str) -> IssuedClient:
    """A client with a name that has to be encoded in every way."""

    async def made() -> IssuedClient:
        async with open_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            return await opened.clients.add(tenant, f"{NAME} {tenant}", Scope)

    return asyncio.run(made())


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
    found = gateway.call("GET", "/.well-known/openid-configuration").json
    keys = jwt.PyJWKSet.from_dict(gateway.call("GET", "/.well-known/jwks.json").json)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    audience = "payroll-import-gateway"
    return jwt.decode(token, key, ["ES256"], audience=audience, issuer=found["issuer"])


def test_a_token_has_every_claim_and_opens_what_takes_it(
    gateway: GatewayProcess, issued: IssuedClient
) -> None:
    answer = ask(gateway, form(issued))
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json
    token = document.pop("access_token")
    assert document == {"token_type": "Bearer", "expires_in": 3600, "scope": "import_inbox"}
    claims = claims_of(gateway, token)
    assert set(claims) == set(CLAIMS)
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

    async def made() -> IssuedClient:
        async with open_gateway(settings_for(storage)) as opened:
            scopes = (Scope.READ_RECORDS, Scope.READ_SENSITIVE)
            return await opened.clients.add(sender.tenant, f"reader of {sender.tenant}", scopes)

    reader = asyncio.run(made())
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


@pytest.mark.parametrize("scope", ["admin", "import_inbox admin", "IMPORT_INBOX", "a  b", "ä", " "])
def test_a_scope_that_the_client_has_not_is_refused(
    gateway: GatewayProcess, issued: IssuedClient, scope: str
) -> None:
    check_refused(ask(gateway, form(issued, scope=scope)), "invalid_scope")


WRONG_CLIENTS: dict[str, dict[str, str]] = {
    "an unknown client": {"client_id": "nobody"},
    "another case": {"client_id": NAME.upper()},
    "a wrong secret": {"client_secret": "pigs_wrong"},
    "a client and a scope that it has not": {"client_secret": "pigs_wrong", "scope": "admin"},
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


def test_what_is_no_token_request_is_an_invalid_one(
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


def test_fields_that_nobody_knows_are_passed_over(
    gateway: GatewayProcess, issued: IssuedClient
) -> None:
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
