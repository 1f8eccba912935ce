"""Bearer tokens on an endpoint that takes them: who gets in, and every refusal.

See docs/contracts.md#0 and docs/contracts.md#4.

Every token here is really signed: by the gateway's own key, or by the one that an attacker has.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import math
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.auth.clients import Scope
from shared.auth.local_tokens import CLAIMS
from shared.auth.signing_keys import SigningKey
from shared.bootstrap import open_gateway
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender
from tests.tokens import TokenClient, a_token_client
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
IMPORTS = "/api/imports"


@dataclass(frozen=True)
class Mint:
    """A client, the claims of a good token of it, and the gateway's own signing key."""

    client: TokenClient
    claims: Mapping[str, Any]
    key: SigningKey

    def token(self, *without: str, **changes: Any) -> str:
        """A token that the gateway itself might have signed, but for these changes."""
        claims = {**self.claims, **changes}
        kept = {name: value for name, value in claims.items() if name not in without}
        return _encoded(kept, self.key.private, "ES256", {"kid": self.key.kid, "typ": "at+jwt"})

    def signed_with(self, key: Any, algorithm: str, **header: Any) -> str:
        """The good claims under another signature."""
        named = {"kid": self.key.kid, "typ": "at+jwt", **header}
        return jwt.encode(dict(self.claims), key, algorithm, named)


@pytest.fixture(scope="module")
def mint(gateway: GatewayProcess, storage: str) -> Mint:
    client = a_token_client(storage, gateway.url)
    claims = jwt.decode(client.token, options={"verify_signature": False})

    async def signing_key() -> SigningKey:
        async with open_gateway(settings_for(storage)) as opened:
            return await opened.identity.key_store.signing()

    return Mint(client, claims, asyncio.run(signing_key()))


def call(gateway: GatewayProcess, token: str, scheme: str = "Bearer") -> Answer:
    return gateway.call("GET", IMPORTS, None, {"Authorization": f"{scheme} {token}"})


def check_invalid(answer: Answer, wording: str = "") -> None:
    message = check_refusal(answer, 401, wording)
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "eyJ" not in message


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_good_token_is_let_in_whatever_case_its_scheme_has(
    gateway: GatewayProcess, mint: Mint, scheme: str
) -> None:
    assert call(gateway, mint.client.token, scheme).status == 200
    assert call(gateway, mint.token(), scheme).status == 200


NOW = int(time.time()) + 600
NO_TIMES: list[Any] = [
    str(NOW), f" {NOW} ", float(NOW), NOW + 0.5, True, [NOW], {"a": NOW}, math.nan, math.inf,
    -math.inf, -1, 10**12, 10**400,
]  # fmt: skip
NO_TEXTS: list[Any] = [7, 10**400, True, [], ["a"], {}, math.nan, "\ud800"]
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": int(time.time()) - 31, "iat": int(time.time()) - 4_000}, "expired"),
    "of a time to come": ({"iat": int(time.time()) + 3_000}, "time to come"),
    "of another issuer": ({"iss": "https://other.example"}, "issuer"),
    "of an issuer that begins alike": ({"iss": "http://127.0.0.1"}, "issuer"),
    "of no issuer": ({"iss": ""}, "issuer"),
    "for another audience": ({"aud": "someone-else"}, "audience"),
    "for two audiences": ({"aud": ["payroll-import-gateway", "other"]}, "audience"),
    "of another tenant": ({"tenant": "somebody-else"}, "client of this token"),
    "of another registration": ({"reg": str(uuid.uuid4())}, "client of this token"),
    "of an unknown client": ({"sub": "nobody"}, "client of this token"),
    "of an empty client": ({"sub": ""}, "client of this token"),
    "with a tenant that is no text": ({"tenant": 7}, "not valid here"),
    "with a scope that is no text": ({"scope": ["import_inbox"]}, "not valid here"),
    "with an expiry that is no number": ({"exp": "tomorrow"}, "not valid here"),
    "that is valid for ever": ({"exp": None}, "not valid here"),
    **{
        f"with {name} = {value!r}": ({name: value}, "")
        for name in ("exp", "iat", "nbf")
        for value in NO_TIMES
    },
    "that lives for two days": ({"exp": NOW + 2 * 86_400}, "not valid here"),
    "for an audience in a list": ({"aud": ["payroll-import-gateway"]}, "audience"),
    **{
        f"with {name} = {value!r}": ({name: value}, "")
        for name in ("iss", "aud", "sub", "tenant", "reg", "scope", "jti")
        for value in NO_TEXTS
    },
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_token_that_says_something_else_is_refused(
    gateway: GatewayProcess, mint: Mint, name: str
) -> None:
    changes, wording = CHANGED[name]
    check_invalid(call(gateway, mint.token(**changes)), wording)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_token_without_any_one_claim_is_refused(
    gateway: GatewayProcess, mint: Mint, claim: str
) -> None:
    check_invalid(call(gateway, mint.token(claim)), "not valid here")


@pytest.mark.parametrize("media_type", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_of_access_tokens_is_read_in_each_of_its_forms(
    gateway: GatewayProcess, mint: Mint, media_type: str
) -> None:
    token = mint.signed_with(mint.key.private, "ES256", typ=media_type)
    assert call(gateway, token).status == 200


def test_clocks_may_differ_a_little(gateway: GatewayProcess, mint: Mint) -> None:
    now = int(time.time())
    assert call(gateway, mint.token(exp=now - 5)).status == 200
    assert call(gateway, mint.token(iat=now + 5)).status == 200


def _without_algorithm(mint: Mint) -> str:
    return jwt.encode(dict(mint.claims), "", "none", {"kid": mint.key.kid})


def _confused(mint: Mint, secret: bytes) -> str:
    """HS256 with what everybody can read as its secret; the library would refuse to sign it."""
    header = _part({"alg": "HS256", "typ": "JWT", "kid": mint.key.kid})
    signed = f"{header}.{_part(dict(mint.claims))}"
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def _public_pem(mint: Mint) -> bytes:
    return mint.key.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _tampered(mint: Mint) -> str:
    header, _, signature = mint.token().split(".")
    return f"{header}.{_part({**mint.claims, 'tenant': 'victim'})}.{signature}"


def _embedded_key(mint: Mint) -> str:
    """The attacker's key comes along in the header, as some libraries would believe."""
    stranger = SigningKey(mint.key.kid, 0, private=ec.generate_private_key(ec.SECP256R1()))
    return mint.signed_with(stranger.private, "ES256", jwk=stranger.jwk)


FORGED: dict[str, Callable[[Mint], str]] = {
    "alg none": _without_algorithm,
    "alg none with a signature": lambda mint: f"{_without_algorithm(mint)}{'A' * 86}",
    "HS256 with the public key as PEM": lambda mint: _confused(mint, _public_pem(mint)),
    "HS256 with the published key": lambda mint: _confused(mint, json.dumps(mint.key.jwk).encode()),
    "a stranger's key under our id": lambda mint: mint.signed_with(
        ec.generate_private_key(ec.SECP256R1()), "ES256"
    ),
    "a stranger's key in the header": _embedded_key,
    "another algorithm": lambda mint: mint.signed_with(
        rsa.generate_private_key(65537, 2048), "RS256"
    ),
    "another curve": lambda mint: mint.signed_with(
        ec.generate_private_key(ec.SECP384R1()), "ES384"
    ),
    "an unknown key id": lambda mint: mint.signed_with(mint.key.private, "ES256", kid="unknown"),
    "no key id": lambda mint: jwt.encode(
        dict(mint.claims), mint.key.private, "ES256", {"typ": "at+jwt"}
    ),
    "the type of an id token": lambda mint: mint.signed_with(mint.key.private, "ES256", typ="JWT"),
    "the type of a logout token": lambda mint: mint.signed_with(
        mint.key.private, "ES256", typ="logout+jwt"
    ),
    "no type": lambda mint: mint.signed_with(mint.key.private, "ES256", typ=None),
    "a type that is no text": lambda mint: _headed(mint, typ=7),
    "changed claims": _tampered,
    "a cut signature": lambda mint: mint.token()[:-10],
    "no signature": lambda mint: mint.token().rpartition(".")[0] + ".",
    "a critical extension": lambda mint: mint.signed_with(
        mint.key.private, "ES256", crit=["x"], x=1
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(gateway: GatewayProcess, mint: Mint, name: str) -> None:
    check_invalid(call(gateway, FORGED[name](mint)))


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Basic YTpi", "Bearer not-a-token", "Bearer a.b.c",
        "Bearer ..", "Bearer {token} {token}", "Bearer {token},Bearer {token}", "{token}",
        "Bearer " + "a" * 20_000, "Bearer eyJhbGciOiJFUzI1NiJ9.W10.AAAA",
        "Bearer " + "W10" * 1_000 + ".a.b",
        "Bearer " + base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".a.b",
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(gateway: GatewayProcess, mint: Mint, header: str) -> None:
    sent = {"Authorization": header.replace("{token}", mint.client.token)}
    check_invalid(gateway.call("GET", IMPORTS, None, sent))


def test_a_bearer_token_decides_beside_a_key_pair(gateway: GatewayProcess, sender: Sender) -> None:
    both = {**sender.headers, "Authorization": "Bearer nonsense"}
    check_invalid(gateway.call("GET", IMPORTS, None, both))


def test_without_any_credential_the_challenge_is_bearer(gateway: GatewayProcess) -> None:
    answer = gateway.call("GET", IMPORTS)
    check_refusal(answer, 401, "/connect/token")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_sees_the_imports_of_its_scopes_only(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    import_id = gateway.post(sender, [{}]).import_id
    for scopes in ([Scope.IMPORT_INBOX], list(Scope)):
        client = a_token_client(storage, gateway.url, sender.tenant, *scopes)
        headers = client.headers
        assert gateway.call("GET", IMPORTS, None, headers).json["items"] == []
        for end in ("", "/results", "/answer"):
            answer = gateway.call("GET", f"{IMPORTS}/{import_id}{end}", None, headers)
            check_refusal(answer, 404, "no import of this id")
    assert len(gateway.get(IMPORTS, sender).json["items"]) == 1


def test_a_revoked_client_is_out_within_seconds_and_its_name_does_not_bring_it_back(
    gateway: GatewayProcess, storage: str
) -> None:
    client = a_token_client(storage, gateway.url)
    assert call(gateway, client.token).status == 200

    async def revoke_and_add() -> None:
        async with open_gateway(settings_for(storage)) as opened:
            await opened.clients.revoke(client.client.client_id)
            again = (client.tenant, client.client.client_id, "", client.client.scopes)
            await opened.clients.register(*again)

    asyncio.run(revoke_and_add())
    wait_until(lambda: call(gateway, client.token).status == 401, "the refusal", seconds=5)
    check_invalid(call(gateway, client.token), "revoked")


def _headed(mint: Mint, **header: Any) -> str:
    """The good claims, really signed, under a header that the library would not write."""
    named = {"alg": "ES256", "kid": mint.key.kid, "typ": "at+jwt", **header}
    signed = f"{_part(named)}.{_part(dict(mint.claims))}"
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    signature = algorithm.sign(signed.encode(), mint.key.private)
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _encoded(claims: Mapping[str, Any], key: Any, algorithm: str, header: dict[str, Any]) -> str:
    """A signed token whose claims may have any type; the library would refuse to write some."""
    return jwt.PyJWS().encode(json.dumps(dict(claims)).encode(), key, algorithm, header)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
