"""Idempotency records on real storage: large answers, faults, expiry, what a key is bound to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import azure.functions as func
import pytest

from shared.clock import SystemClock
from shared.errors import GoneError, InvalidRequestError, KeyReusedError
from shared.gateway import Gateway
from shared.imports.authdata.hashing import HashKey
from shared.imports.pay_and_bill.http import import_call
from shared.imports.workers.definition import WORKERS
from shared.services.idempotency import PARTITION, ROW, FingerprintKeys
from shared.services.retention import ExpiringImports
from shared.storage.names import IDEMPOTENT_ANSWERS, SIGNING_KEYS
from shared.storage.ports import Entity, Upsert
from shared.web.idempotency import answer_once, keyed_call
from tests.builders import a_worker, body_of
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.harness import Harness, play
from tests.memory_storage import MemoryTables
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration
LARGE = os.urandom(700_000)
"""No compression makes it fit into an entity."""
Piece = Callable[[Gateway, str], Awaitable[None]]


def _play(storage: str, scenario: Piece, **settings: int) -> None:
    async def run() -> None:
        async with open_ready_gateway(settings_for(storage, **settings)) as gateway:
            await scenario(gateway, await new_tenant(gateway))

    asyncio.run(run())


def _request(content_type: str = "application/json", **query: str) -> func.HttpRequest:
    headers = {"idempotency-key": "key", "content-type": content_type}
    url = "http://here/api/import/documents"
    return func.HttpRequest("POST", url, headers=headers, params=query, body=b"")


OLD, NEW = HashKey("2026", b"o" * 32), HashKey("2027", b"n" * 32)


async def _call(
    gateway: Gateway, tenant: str, answer: bytes, content: bytes = b"", *keys: HashKey
) -> func.HttpResponse:
    async def run(import_id: str) -> func.HttpResponse:
        return func.HttpResponse(
            answer, headers={"X-Import-Id": import_id}, mimetype="application/pdf"
        )

    keyed = await keyed_call(
        _request(), tenant, [content], FingerprintKeys(gateway.account.tables, keys)
    )
    return await answer_once(gateway, keyed, run)


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_an_answer_is_kept_as_it_was(connection_string: str, body: bytes) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        first = await _call(gateway, tenant, body)
        again = await _call(gateway, tenant, b"something else")
        assert again.get_body() == first.get_body() == body
        assert again.mimetype == first.mimetype
        expected = {**first.headers, "Idempotent-Replayed": "true"}
        assert dict(again.headers) == expected

    _play(connection_string, scenario)


def test_expired_keys_are_removed_with_their_answers(connection_string: str) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        await _call(gateway, tenant, LARGE)
        [record] = await gateway.account.tables.query("Idempotency", tenant)
        stray = f"{tenant}/nobody names it"
        await gateway.account.blobs.put(IDEMPOTENT_ANSWERS, stray, [b"x"])
        now = datetime.now(UTC)
        assert await gateway.idempotency.expire(tenant, now - timedelta(minutes=1)) == 0
        assert await gateway.account.blobs.read(IDEMPOTENT_ANSWERS, stray) is not None
        assert await gateway.idempotency.expire(tenant, now + timedelta(minutes=1)) == 1
        assert await gateway.account.blobs.read(IDEMPOTENT_ANSWERS, stray) is None
        assert await gateway.account.tables.query("Idempotency", tenant) == []
        spilled = record.text("Spilled")
        assert await gateway.account.blobs.read(IDEMPOTENT_ANSWERS, spilled) is None

    _play(connection_string, scenario)


def test_an_expired_key_is_a_new_one(connection_string: str) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        first = await _call(gateway, tenant, LARGE)
        [record] = await gateway.account.tables.query("Idempotency", tenant)
        again = await _call(gateway, tenant, b"other", b"other content")
        assert again.get_body() == b"other"
        assert again.headers["X-Import-Id"] != first.headers["X-Import-Id"]
        spilled = record.text("Spilled")
        assert await gateway.account.blobs.read(IDEMPOTENT_ANSWERS, spilled) is None

    _play(connection_string, scenario, idempotency_seconds=0)


def test_an_answer_whose_blob_is_gone_is_said_to_be(connection_string: str) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        await _call(gateway, tenant, LARGE)
        [record] = await gateway.account.tables.query("Idempotency", tenant)
        await gateway.account.blobs.delete(IDEMPOTENT_ANSWERS, record.text("Spilled"))
        with pytest.raises(GoneError):
            await _call(gateway, tenant, b"")

    _play(connection_string, scenario)


@pytest.mark.parametrize("status", [None, 503])
def test_after_an_unforeseen_failure_the_next_call_makes_the_same_import(
    connection_string: str, status: int | None
) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        ids: list[str] = []

        async def run(import_id: str) -> func.HttpResponse:
            ids.append(import_id)
            if len(ids) == 1 and status is None:
                raise RuntimeError
            return func.HttpResponse(status_code=status if len(ids) == 1 and status else 200)

        keyed = await keyed_call(_request(), tenant, [], gateway.fingerprint_keys)
        if status is None:
            with pytest.raises(RuntimeError):
                await answer_once(gateway, keyed, run)
        else:
            assert (await answer_once(gateway, keyed, run)).status_code == status
        answer = await answer_once(gateway, keyed, run)
        assert answer.status_code == 200
        assert len(ids) == 2
        assert len(set(ids)) == 1

    _play(connection_string, scenario)


def test_a_refusal_leaves_no_record(connection_string: str) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        async def refuse(_import_id: str) -> func.HttpResponse:
            raise InvalidRequestError("not like that")

        keyed = await keyed_call(_request(), tenant, [], gateway.fingerprint_keys)
        with pytest.raises(InvalidRequestError):
            await answer_once(gateway, keyed, refuse)
        assert await gateway.account.tables.query("Idempotency", tenant) == []

    _play(connection_string, scenario)


def test_a_keyed_fingerprint_is_known_under_every_secret_that_is_in_use(
    connection_string: str,
) -> None:
    async def scenario(gateway: Gateway, tenant: str) -> None:
        first = await _call(gateway, tenant, b"", b"content", OLD)
        again = await _call(gateway, tenant, b"", b"content", NEW, OLD)
        assert again.headers["X-Import-Id"] == first.headers["X-Import-Id"]
        with pytest.raises(KeyReusedError):
            await _call(gateway, tenant, b"", b"content", NEW)
        [record] = await gateway.account.tables.query("Idempotency", tenant)
        without = FingerprintKeys(gateway.account.tables, ())
        unkeyed = await keyed_call(_request(), tenant, [b"content"], without)
        assert unkeyed is not None
        assert record.text("Fingerprint") not in unkeyed.fingerprints

    _play(connection_string, scenario)


def test_an_answer_comes_again_without_its_payload_but_not_without_its_results(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        headers = {name.lower(): text for name, text in stage.sender.headers.items()}
        headers["idempotency-key"] = "key"
        body = body_of([a_worker("P1"), a_worker("P2", Gender="x")])
        request = func.HttpRequest("POST", "http://here/x", headers=headers, body=body)

        async def call() -> func.HttpResponse:
            return await import_call(stage.gateway, WORKERS, request)

        first = asyncio.ensure_future(call())
        while not first.done():
            for message in await stage.messages():
                await stage.gateway.chunks.process(message)
        account, tenant = stage.gateway.account, stage.sender.tenant
        expiring = ExpiringImports(
            account.tables, account.blobs, stage.gateway.imports, SystemClock(), ()
        )
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert [went async for went in expiring.payloads(tenant, tomorrow)] == [1]
        again = await call()
        assert (again.status_code, again.get_body()) == (200, (await first).get_body())
        assert [went async for went in expiring.results(tenant, tomorrow)] == [1]
        with pytest.raises(GoneError):
            await call()

    play(delivered, scenario)


def test_without_configured_keys_the_gateways_own_keys_what_is_stored(
    connection_string: str,
) -> None:
    """The hash that anyone could compute, of an earlier version, is only recognised."""

    async def scenario(gateway: Gateway, tenant: str) -> None:
        first = await _call(gateway, tenant, b"", b"content")
        [record] = await gateway.account.tables.query("Idempotency", tenant)
        without = FingerprintKeys(gateway.account.tables, ())
        keyed = await keyed_call(_request(), tenant, [b"content"], without)
        assert keyed is not None
        own, plain = keyed.fingerprints
        assert own != plain
        assert record.text("Fingerprint") == own
        entity = replace(record, values={**record.values, "Fingerprint": plain})
        await gateway.account.tables.write("Idempotency", Upsert(entity))
        again = await _call(gateway, tenant, b"", b"content", NEW)
        assert again.headers["X-Import-Id"] == first.headers["X-Import-Id"]

    _play(connection_string, scenario)


def test_what_a_key_is_bound_to() -> None:
    keys = FingerprintKeys(MemoryTables(), ())

    async def fingerprint(request: func.HttpRequest, *content: bytes) -> str:
        keyed = await keyed_call(request, "tenant", content, keys)
        assert keyed is not None
        return keyed.fingerprints[0]

    async def play() -> None:
        parts = (b"ab", b"c")
        plain = await fingerprint(_request(version="1"), *parts)
        assert plain == await fingerprint(
            _request("Application/JSON;charset=utf-8", Version="1"), *parts
        )
        others = [
            await fingerprint(_request(version="1"), b"a", b"bc"),
            await fingerprint(_request(version="1"), b"abc"),
            await fingerprint(_request(version="2"), *parts),
            await fingerprint(_request(), *parts),
            await fingerprint(_request("text/json", version="1"), *parts),
        ]
        assert len({plain, *others}) == len(others) + 1

    asyncio.run(play())


# What is kept of bodies: hashes that cannot be computed without a key.


BODY = b'[{"EmployerRef":"E1"}]'


def test_every_process_has_the_same_key_of_the_gateways_own(connection_string: str) -> None:
    async def story() -> None:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            tables = gateway.account.tables
            bindings = await asyncio.gather(
                *(FingerprintKeys(tables, ()).secrets() for _ in range(10))
            )
            assert len(set(bindings)) == 1
            own, without_key = bindings[0]
            assert (len(own), without_key) == (32, b"")
            assert await FingerprintKeys(tables, ()).secrets() == bindings[0]

    asyncio.run(story())


def test_configured_keys_come_first_and_the_gateways_own_is_still_recognised(
    connection_string: str,
) -> None:
    async def story() -> None:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            tables = gateway.account.tables
            before = (await FingerprintKeys(tables, ()).body_hashes(BODY))[0]
            first = await FingerprintKeys(tables, (OLD,)).body_hashes(BODY)
            rotated = await FingerprintKeys(tables, (NEW, OLD)).body_hashes(BODY)
            assert before in first
            assert before in rotated
            assert first[0] in rotated
            digest = hashlib.sha256(BODY).digest()
            assert rotated[0] == hmac.digest(NEW.secret, digest, "sha256").hex()
            assert len({before, first[0], rotated[0], digest.hex()}) == 4
            assert rotated[-1] == digest.hex(), "what an earlier version has kept"

    asyncio.run(story())


@pytest.mark.parametrize("stored", ["", "!", "c2hvcnQ="])
def test_a_key_that_cannot_be_read_is_replaced(connection_string: str, stored: str) -> None:
    async def story() -> None:
        async with open_ready_gateway(settings_for(connection_string)) as gateway:
            tables = gateway.account.tables
            broken = Entity(PARTITION, ROW, {"key": stored})
            await tables.write(SIGNING_KEYS, Upsert(broken))
            secrets = await asyncio.gather(
                *(FingerprintKeys(tables, ()).secrets() for _ in range(5))
            )
            assert len(set(secrets)) == 1
            assert len(secrets[0][0]) == 32

    asyncio.run(story())
