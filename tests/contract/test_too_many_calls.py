"""Only callers who guess credentials get 429."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.auth.clients import Scope
from shared.services.admin.clients import IssuedClient
from tests.builders import a_worker, body_of
from tests.contract.calls import AUTHDATA, STAGE, send_authdata
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess, started
from tests.emulator import Emulator, open_ready_gateway, settings_for
from tests.tenants import Sender, a_sender, a_token_client, new_tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
PER_CREDENTIAL, PER_SOURCE, TRIALS = 5, 20, 6
GUESSES = 40


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("killed")


@pytest.fixture(name="gateway", scope="module")
def fixture_gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    settings = {
        # So that each test has a source of its own.
        "GATEWAY_CALLER_ADDRESS": "forwarded",
        "GATEWAY_FAILURES_PER_CREDENTIAL": str(PER_CREDENTIAL),
        "GATEWAY_FAILURES_PER_SOURCE": str(PER_SOURCE),
        "GATEWAY_AUTHDATA_TRIAL_CALLS": str(TRIALS),
    }
    with started(storage, tmp_path_factory.mktemp("slowed"), **settings) as process:
        yield process


@pytest.fixture(name="source")
def fixture_source() -> dict[str, str]:
    """A source that no other test has, behind another address for each call."""
    network = uuid.uuid4().int % 2**16
    return {"X-Forwarded-For": f"10.0.0.1, 198.51.100.1, 10.99.{network >> 8}.{network & 255}:80"}


@pytest.fixture(name="sender", scope="module")
def fixture_sender(storage: str) -> Sender:
    return a_sender(storage)


@pytest.fixture(name="client", scope="module")
def fixture_client(storage: str) -> IssuedClient:
    async def create() -> IssuedClient:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            return await opened.clients.add(tenant, f"Client of {tenant}", Scope)

    return asyncio.run(create())


def many(call: Callable[[int], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(call, range(GUESSES)))


def check_slowed(answers: list[Answer], status: int, least: int) -> None:
    """At least `least` are answered as what they are, most of the rest 429 with Retry-After."""
    statuses = Counter(answer.status for answer in answers)
    assert statuses[429] > 0
    assert set(statuses) <= {status, 429}
    assert statuses[status] >= least
    for answer in answers:
        if answer.status == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["x-correlation-id"]


def import_one(gateway: GatewayProcess, sender: Sender, **headers: str) -> Answer:
    return gateway.call("POST", WORKERS, body_of([a_worker("P1")]), {**sender.headers, **headers})


def test_always_another_function_key_is_slowed_down_and_the_right_one_passes(
    gateway: GatewayProcess, sender: Sender, source: dict[str, str]
) -> None:
    headers = {**sender.headers, **source}
    [(name, addresses)] = source.items()

    def guess(number: int) -> Answer:
        # What the caller says of its address does not count.
        guessed = {"X-Functions-Key": f"pig_{number}", name: f"10.1.1.{number}, {addresses}"}
        return gateway.call("POST", WORKERS, b"[]", {**headers, **guessed})

    answers = many(guess)
    check_slowed(answers, 401, PER_SOURCE)
    assert list(answers[-1].json) == ["message"]
    assert import_one(gateway, sender, **source).status == 200
    for address in ("/api/imports", "/api/documents"):
        wrong = {"X-Functions-Key": "pig_last"}
        assert gateway.call("GET", address, None, {**headers, **wrong}).status == 429
        assert gateway.call("GET", address, None, headers).status in (200, 403)


def test_guessed_software_keys_do_not_keep_the_right_one_out(
    gateway: GatewayProcess, sender: Sender, source: dict[str, str]
) -> None:
    def guess(number: int) -> Answer:
        return import_one(gateway, sender, **source, **{"X-Software-Key": f"guess {number}"})

    check_slowed(many(guess), 403, PER_CREDENTIAL)
    assert import_one(gateway, sender, **source).status == 200


def test_xml_client_of_licenses_is_slowed_down_in_xml(
    gateway: GatewayProcess, sender: Sender, source: dict[str, str]
) -> None:
    headers = {**sender.headers, **source, "X-Functions-Key": "pig_x", "Accept": "text/xml"}
    answers = many(lambda _: gateway.call("POST", "/v1/imports/licenses", b"[]", headers))
    check_slowed(answers, 401, PER_CREDENTIAL)
    for answer in answers:
        assert answer.headers["content-type"].startswith("text/xml")
        assert answer.body.startswith(b"<Error><Message>")


@pytest.mark.parametrize("is_basic", [False, True])
def test_guessed_client_secrets_are_slowed_down_and_the_right_one_passes(
    gateway: GatewayProcess, client: IssuedClient, source: dict[str, str], is_basic: bool
) -> None:
    def ask(secret: str) -> Answer:
        fields = {"grant_type": "client_credentials"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", **source}
        client_id = client.client.client_id
        if is_basic:
            pair = f"{client_id.replace(' ', '+')}:{secret}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            fields |= {"client_id": client_id, "client_secret": secret}
        return gateway.call("POST", "/connect/token", urlencode(fields).encode(), headers)

    answers = many(lambda number: ask(f"pigs_{number}"))
    # The budget of the client id is spent by the one test when the other runs.
    check_slowed(answers, 401, 0 if is_basic else PER_CREDENTIAL)
    for answer in answers:
        assert set(answer.json) == {"error", "error_description"}
        is_slowed = answer.status == 429
        assert answer.json["error"] == (
            "temporarily_unavailable" if is_slowed else "invalid_client"
        )
        assert answer.headers["cache-control"] == "no-store"
    assert ask(client.client_secret).status == 200


def test_guessed_tokens_are_slowed_down_and_right_and_expired_ones_are_not(
    gateway: GatewayProcess, storage: str, source: dict[str, str]
) -> None:
    right = a_token_client(storage, gateway.url)

    def ask(token: str) -> Answer:
        return gateway.call(
            "GET", "/api/imports", None, {**source, "Authorization": f"Bearer {token}"}
        )

    check_slowed(many(lambda _: ask(f"{right.token[:-8]}{uuid.uuid4().hex[:8]}")), 401, PER_SOURCE)
    assert ask(right.token).status == 200
    expired = a_token_client(storage, gateway.url, lifetime=-3_600)
    for _ in range(PER_SOURCE + 1):
        answer = ask(expired.token)
        assert (answer.status, "expired" in answer.json["message"]) == (401, True)


def test_a_call_without_a_credential_is_refused_with_what_to_send(gateway: GatewayProcess) -> None:
    assert {answer.status for answer in many(lambda _: gateway.call("POST", WORKERS, b"[]"))} == {
        401
    }


@pytest.mark.parametrize(
    ("address", "fields"),
    [(STAGE, {"commit": False}), (AUTHDATA, {"commit": False}), (f"{STAGE}?dryRun=true", {})],
)
def test_dry_runs_of_authentication_data_have_a_budget_for_each_caller(
    gateway: GatewayProcess, storage: str, address: str, fields: dict[str, Any]
) -> None:
    sender, other = a_sender(storage), a_sender(storage)
    rows = [{"employeeId": "E1", "authValue1": "guess"}]
    answers = [send_authdata(gateway, sender, rows, address, **fields) for _ in range(TRIALS + 3)]
    assert [answer.status for answer in answers[:TRIALS]] == [200] * TRIALS
    assert [answer.status for answer in answers[TRIALS:]] == [429] * 3
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    # What is no dry run, and the dry run of another tenant, go on.
    assert send_authdata(gateway, sender, rows, STAGE).status == 200
    assert send_authdata(gateway, other, rows, address, **fields).status == 200
