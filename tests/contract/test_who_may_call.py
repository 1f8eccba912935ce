"""Every published call: which credentials it takes, in the order of docs/contracts.md#0.

The calls are those of the gateway's own document, so that a new one is among them.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from shared.auth.clients import Scope
from shared.bootstrap import open_gateway
from shared.services.admin.clients import IssuedClient
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Access, Limits, Operation
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender, a_sender
from tests.tokens import TokenClient, a_token_client
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e
OPERATIONS = operations(Limits.of(settings_for("")))
TAKING_TOKENS = [each for each in OPERATIONS if each.access in (Access.EITHER, Access.BEARER)]
KEY_PAIR_ONLY = [each for each in OPERATIONS if each.access is Access.KEY_PAIR]
OPEN = [each for each in OPERATIONS if each.access is Access.OPEN and each.method == "GET"]
SCOPES = {
    "/api/admin/authdata": Scope.IMPORT_AUTHDATA,
    "/api/import/documents": Scope.IMPORT_INBOX,
    "/api/documents": Scope.IMPORT_INBOX,
    "/api/records": Scope.READ_RECORDS,
    "/api/changes": Scope.READ_RECORDS,
}
SCOPED = [each for each in TAKING_TOKENS if each.path.startswith(tuple(SCOPES))]


def named(found: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", found, ids=lambda op: f"{op.method} {op.path}")


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
def test_a_call_that_takes_tokens_asks_for_one(
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
    wanted = next(scope for start, scope in SCOPES.items() if operation.path.startswith(start))
    assert operation.scope == wanted, "the document names the scope"
    challenge = f'Bearer error="insufficient_scope", scope="{wanted}"'
    for other in set(Scope) - {wanted}:
        answer = call(gateway, operation, dict(clients[other].headers))
        check_refusal(answer, 403, wanted)
        assert answer.headers["www-authenticate"] == challenge
    known = call(gateway, operation, dict(clients[wanted].headers))
    assert "www-authenticate" not in known.headers, known.body


@named(KEY_PAIR_ONLY)
def test_a_call_for_key_pairs_takes_no_token(
    gateway: GatewayProcess, clients: dict[Scope, TokenClient], operation: Operation
) -> None:
    answer = call(gateway, operation, dict(clients[Scope.IMPORT_INBOX].headers))
    check_refusal(answer, 401, "takes no bearer token")
    assert "www-authenticate" not in answer.headers


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
def test_a_bearer_token_decides_alone_where_tokens_are_taken(
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
def test_a_bearer_token_is_passed_over_where_no_token_is_taken(
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
def test_a_credential_is_passed_over_where_none_is_asked_for(
    gateway: GatewayProcess, operation: Operation
) -> None:
    alone = call(gateway, operation, {}).status
    assert alone in (200, 404)
    for header in [*ADDED, *BEARERS]:
        answer = call(gateway, operation, {"Authorization": header, "X-Functions-Key": "pig_x"})
        assert (header, answer.status) == (header, alone)


def test_every_call_that_takes_tokens_has_a_scope_or_follows_imports() -> None:
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
        async with open_gateway(settings_for(storage)) as opened:
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
        said = f"tenant {disabled.sender.tenant} is disabled" in answer.json["error_description"]
        assert said is (status == 403)
