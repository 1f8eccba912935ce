"""Which credentials each call takes, and bearer tokens on the calls that take them."""

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
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.auth.clients import Scope
from shared.auth.integrations import ANY, IMPORT, PERMISSIONS
from shared.auth.local_tokens import CLAIMS, SigningKey
from shared.services.admin.clients import IssuedClient
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Access, Limits, Operation
from tests.builders import a_worker
from tests.contract.calls import check_refusal
from tests.documents import make_ready
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import Sender, TokenClient, a_sender, a_token_client, new_sender, new_tenant
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


# Every published call: which credentials it takes, in the order of docs/contracts.md#0.

OPERATIONS = operations(Limits.of(settings_for("")))
TAKING_TOKENS = [each for each in OPERATIONS if each.access in (Access.EITHER, Access.BEARER)]
KEY_PAIR_ONLY = [each for each in OPERATIONS if each.access is Access.KEY_PAIR]
OPEN = [each for each in OPERATIONS if each.access is Access.OPEN and each.method == "GET"]
SCOPES = {
    "/api/admin/authdata": Scope.IMPORT_AUTHDATA,
    "/api/admin/": Scope.ADMIN,
    "/api/health/queues": Scope.ADMIN,
    "/api/import/documents": Scope.IMPORT_INBOX,
    "/api/documents": Scope.IMPORT_INBOX,
    "/api/records": Scope.READ_RECORDS,
    "/api/changes": Scope.READ_RECORDS,
}
SCOPED = [each for each in TAKING_TOKENS if each.path.startswith(tuple(SCOPES))]


def named(operations: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=lambda op: f"{op.method} {op.path}")


@pytest.fixture(scope="module")
def clients(gateway: GatewayProcess, storage: str) -> dict[Scope, TokenClient]:
    """A client for each scope alone."""
    return {scope: a_token_client(storage, gateway.url, "", scope) for scope in Scope}


def call(gateway: GatewayProcess, operation: Operation, headers: dict[str, str]) -> Answer:
    guid = "00000000-0000-4000-8000-000000000001"
    path = operation.path.replace("{importId}", guid).replace("{fileLogId}", guid)
    path = path.replace("{documentId}", guid)
    body = None if operation.method == "GET" else b"[]"
    return gateway.call(operation.method, path, body, headers)


@named(TAKING_TOKENS)
def test_a_call_that_accepts_tokens_challenges_for_one(
    gateway: GatewayProcess, operation: Operation
) -> None:
    for headers, challenge in (
        ({}, "Bearer"),
        ({"X-Functions-Key": "pig_x", "X-Software-Key": "S"}, "Bearer"),
        ({"Authorization": "Bearer a.b.c"}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Basic YTpi"}, 'Bearer error="invalid_token"'),
    ):
        answer = call(gateway, operation, headers)
        check_refusal(answer, 401)
        assert answer.headers["www-authenticate"] == challenge


@named(SCOPED)
def test_a_token_of_another_scope_is_not_enough(
    gateway: GatewayProcess, clients: dict[Scope, TokenClient], operation: Operation
) -> None:
    needed_scope = next(
        scope for start, scope in SCOPES.items() if operation.path.startswith(start)
    )
    assert operation.scope == needed_scope, "the document names the scope"
    challenge = f'Bearer error="insufficient_scope", scope="{needed_scope}"'
    for other in set(Scope) - {needed_scope}:
        answer = call(gateway, operation, dict(clients[other].headers))
        check_refusal(answer, 403, needed_scope)
        assert answer.headers["www-authenticate"] == challenge
    known = call(gateway, operation, dict(clients[needed_scope].headers))
    assert "www-authenticate" not in known.headers, known.body


@named(KEY_PAIR_ONLY)
def test_a_call_for_key_pairs_refuses_a_token(
    gateway: GatewayProcess, clients: dict[Scope, TokenClient], operation: Operation
) -> None:
    answer = call(gateway, operation, dict(clients[Scope.IMPORT_INBOX].headers))
    check_refusal(answer, 401, "takes no bearer token")
    assert "www-authenticate" not in answer.headers


@pytest.fixture(name="allowed", scope="module")
def fixture_allowed(storage: str) -> Mapping[frozenset[str], Sender]:
    """An integration for each permission alone, and one for all others; documents are enabled."""
    each = set(PERMISSIONS) - {IMPORT}
    wanted = [frozenset({one}) for one in each] + [frozenset(each - {one}) for one in each]

    async def create() -> list[Sender]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            await make_ready(opened, tenant)
            return await asyncio.gather(
                *(new_sender(opened, tenant, permissions=permissions) for permissions in wanted)
            )

    return dict(zip(wanted, asyncio.run(create()), strict=True))


def test_each_call_needs_its_permission_and_no_other(
    gateway: GatewayProcess, allowed: Mapping[frozenset[str], Sender]
) -> None:
    each = set(PERMISSIONS) - {IMPORT}
    for operation in TAKING_TOKENS + KEY_PAIR_ONLY:
        needed = operation.permission
        for permissions, sender in allowed.items():
            if len(permissions) > 1 and permissions != each - {needed}:
                continue
            answer = call(gateway, operation, dict(sender.headers))
            if needed == ANY or needed in permissions:
                assert b"lacks the permission" not in answer.body, (operation.path, permissions)
            else:
                lacking = f"lacks the permission {needed} for this call: ask the administrator"
                assert answer.status == 403, (operation.path, permissions, answer.body)
                assert lacking in answer.body.decode(), (operation.path, permissions)


def test_who_may_operate_cannot_import_by_a_retry_and_who_imports_follows_its_type(
    gateway: GatewayProcess, allowed: Mapping[frozenset[str], Sender]
) -> None:
    workers, assignments, operator = (
        allowed[frozenset({name})] for name in ("import:workers", "import:assignments", "operate")
    )
    import_id = gateway.post(workers, [a_worker("1", Gender="x")]).import_id
    here = f"/api/imports/{import_id}"
    assert gateway.get(here, workers).status == gateway.get(here, operator).status == 200
    check_refusal(gateway.get(here, assignments), 404)
    assert gateway.get("/api/imports", assignments).json["items"] == []
    rows = json.dumps([{"index": 0, "row": a_worker("1")}]).encode()
    for sender, permission in ((operator, "import:workers"), (workers, "operate")):
        answer = gateway.call("POST", f"{here}/retry", rows, dict(sender.headers))
        check_refusal(answer, 403, f"lacks the permission {permission} ")
    assert gateway.call("POST", f"{here}/retry", None, dict(operator.headers)).status == 200


# What proxies, browsers and desktop networks add to a call that has a key pair already.
ADDED = ["Basic YTpi", "basic", "Negotiate YII=", "NTLM TlRM", 'Digest username="bearer"', "", "x"]


@named(TAKING_TOKENS + KEY_PAIR_ONLY)
def test_an_authorization_that_is_no_bearer_is_passed_over_beside_a_key_pair(
    gateway: GatewayProcess, sender: Sender, operation: Operation
) -> None:
    alone = call(gateway, operation, dict(sender.headers)).status
    assert alone not in (401, 500)
    for added in ADDED:
        answer = call(gateway, operation, {**sender.headers, "Authorization": added})
        assert (added, answer.status) == (added, alone), answer.body
        wrong = {**sender.headers, "X-Functions-Key": "pig_x", "Authorization": added}
        check_refusal(call(gateway, operation, wrong), 401, "function key")


BEARERS = ["Bearer", "Bearer a.b.c", "bearer  x", "Basic YTpi, Bearer a.b", "Bearer a.b.c,Basic Y"]


@named(TAKING_TOKENS)
def test_a_bearer_token_decides_alone_on_a_call_that_accepts_tokens(
    gateway: GatewayProcess,
    sender: Sender,
    clients: dict[Scope, TokenClient],
    operation: Operation,
) -> None:
    for header in BEARERS:
        answer = call(gateway, operation, {**sender.headers, "Authorization": header})
        check_refusal(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    right = clients[Scope(operation.scope or Scope.IMPORT_INBOX)]
    wrong_pair = {"X-Functions-Key": "pig_x", "X-Software-Key": "S", **right.headers}
    assert call(gateway, operation, wrong_pair).status != 401


@named(KEY_PAIR_ONLY)
def test_a_bearer_token_is_ignored_on_a_call_for_key_pairs(
    gateway: GatewayProcess,
    sender: Sender,
    clients: dict[Scope, TokenClient],
    operation: Operation,
) -> None:
    alone = call(gateway, operation, dict(sender.headers)).status
    for header in [*BEARERS, clients[Scope.IMPORT_INBOX].headers["Authorization"]]:
        both = {**sender.headers, "Authorization": header}
        assert call(gateway, operation, both).status == alone
        check_refusal(call(gateway, operation, {**both, "X-Functions-Key": "pig_x"}), 401)


@named(OPEN)
def test_a_credential_is_ignored_on_a_public_call(
    gateway: GatewayProcess, operation: Operation
) -> None:
    alone = call(gateway, operation, {}).status
    assert alone in (200, 404)
    for header in [*ADDED, *BEARERS]:
        answer = call(gateway, operation, {"Authorization": header, "X-Functions-Key": "pig_x"})
        assert (header, answer.status) == (header, alone)


def test_every_call_that_accepts_tokens_has_a_scope_or_follows_imports() -> None:
    rest = [each.path for each in TAKING_TOKENS if each not in SCOPED]
    assert [path for path in rest if not path.startswith("/api/imports")] == []


@dataclass(frozen=True)
class DisabledTenant:
    """Right credentials of a tenant that was disabled after its token was issued."""

    sender: Sender
    client: TokenClient
    with_secret: IssuedClient


@pytest.fixture(scope="module")
def disabled(gateway: GatewayProcess, storage: str) -> DisabledTenant:
    sender = a_sender(storage)
    client = a_token_client(storage, gateway.url, sender.tenant)

    def is_status(status: int) -> bool:
        return all(
            gateway.call("GET", "/api/imports", None, dict(one.headers)).status == status
            for one in (sender, client)
        )

    async def disable() -> IssuedClient:
        async with open_ready_gateway(settings_for(storage)) as opened:
            await opened.tenants.switch(sender.tenant, is_enabled=False)
            return await opened.clients.add(sender.tenant, uuid.uuid4().hex, Scope)

    assert is_status(200)
    with_secret = asyncio.run(disable())
    wait_until(lambda: is_status(403), "callers of the disabled tenant are refused")
    return DisabledTenant(sender, client, with_secret)


@named(TAKING_TOKENS + KEY_PAIR_ONLY)
def test_a_disabled_tenant_is_refused_at_every_call(
    gateway: GatewayProcess, disabled: DisabledTenant, operation: Operation
) -> None:
    shown = {
        Access.KEY_PAIR: [disabled.sender.headers],
        Access.BEARER: [disabled.client.headers],
        Access.EITHER: [disabled.sender.headers, disabled.client.headers],
    }
    for headers in shown[operation.access]:
        answer = call(gateway, operation, dict(headers))
        check_refusal(answer, 403, f"The tenant {disabled.sender.tenant} is disabled")


def test_a_client_of_a_disabled_tenant_gets_no_token(
    gateway: GatewayProcess, disabled: DisabledTenant
) -> None:
    for secret, status, error in (
        (disabled.with_secret.client_secret, 403, "unauthorized_client"),
        ("wrong", 401, "invalid_client"),
    ):
        form = {
            "grant_type": "client_credentials",
            "client_id": disabled.with_secret.client.client_id,
            "client_secret": secret,
        }
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = gateway.call("POST", "/connect/token", urlencode(form).encode(), kind)
        assert (answer.status, answer.json["error"]) == (status, error)
        names_the_tenant = (
            f"tenant {disabled.sender.tenant} is disabled" in answer.json["error_description"]
        )
        assert names_the_tenant is (status == 403)


# Bearer tokens on an endpoint that takes them: who gets in, and every refusal.

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
        remaining = {name: value for name, value in claims.items() if name not in without}
        return _encoded(
            remaining, self.key.private, "ES256", {"kid": self.key.kid, "typ": "at+jwt"}
        )

    def signed_with(self, key: Any, algorithm: str, **header: Any) -> str:
        """The good claims under another signature."""
        named = {"kid": self.key.kid, "typ": "at+jwt", **header}
        return jwt.encode(dict(self.claims), key, algorithm, named)


@pytest.fixture(scope="module")
def mint(gateway: GatewayProcess, storage: str) -> Mint:
    client = a_token_client(storage, gateway.url)
    claims = jwt.decode(client.token, options={"verify_signature": False})

    async def signing_key() -> SigningKey:
        async with open_ready_gateway(settings_for(storage)) as opened:
            return await opened.identity.key_store.signing()

    return Mint(client, claims, asyncio.run(signing_key()))


def call_with_token(gateway: GatewayProcess, token: str, scheme: str = "Bearer") -> Answer:
    return gateway.call("GET", IMPORTS, None, {"Authorization": f"{scheme} {token}"})


def check_invalid(answer: Answer, wording: str = "") -> None:
    message = check_refusal(answer, 401, wording)
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "eyJ" not in message


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_good_token_is_accepted_with_its_scheme_in_any_case(
    gateway: GatewayProcess, mint: Mint, scheme: str
) -> None:
    assert call_with_token(gateway, mint.client.token, scheme).status == 200
    assert call_with_token(gateway, mint.token(), scheme).status == 200


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
        # The names are the same in every process that collects the tests.
        f"with {name} = {value!r}".replace(str(NOW), "NOW"): ({name: value}, "")
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
    check_invalid(call_with_token(gateway, mint.token(**changes)), wording)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_token_without_any_one_claim_is_refused(
    gateway: GatewayProcess, mint: Mint, claim: str
) -> None:
    check_invalid(call_with_token(gateway, mint.token(claim)), "not valid here")


@pytest.mark.parametrize("media_type", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_of_access_tokens_is_read_in_each_of_its_forms(
    gateway: GatewayProcess, mint: Mint, media_type: str
) -> None:
    token = mint.signed_with(mint.key.private, "ES256", typ=media_type)
    assert call_with_token(gateway, token).status == 200


def test_clocks_may_differ_a_little(gateway: GatewayProcess, mint: Mint) -> None:
    now = int(time.time())
    assert call_with_token(gateway, mint.token(exp=now - 5)).status == 200
    assert call_with_token(gateway, mint.token(iat=now + 5)).status == 200


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
    check_invalid(call_with_token(gateway, FORGED[name](mint)))


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
def test_a_text_that_is_not_a_token_is_refused(
    gateway: GatewayProcess, mint: Mint, header: str
) -> None:
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
    assert call_with_token(gateway, client.token).status == 200

    async def revoke_and_add() -> None:
        async with open_ready_gateway(settings_for(storage)) as opened:
            await opened.clients.revoke(client.client.client_id)
            again = (client.tenant, client.client.client_id, "", client.client.scopes)
            await opened.clients.register(*again)

    asyncio.run(revoke_and_add())
    wait_until(
        lambda: call_with_token(gateway, client.token).status == 401, "the refusal", seconds=5
    )
    check_invalid(call_with_token(gateway, client.token), "revoked")


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
