"""An accepted import is never answered as refused, whatever fails on the way to its answer."""

from __future__ import annotations

import asyncio
import gc
import json
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import StorageUnavailableError
from shared.storage.account import Account
from shared.storage_account import StorageAccount
from shared.storage_time import CALL_SECONDS, storage_time
from tests.builders import a_worker, body_of
from tests.contract.calls import AUTHDATA, LICENSES, a_license
from tests.documents import Form, a_ready_sender, upload_headers
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess, started
from tests.emulator import Emulator
from tests.faults.proxy import (
    Answer as FaultAnswer,
)
from tests.faults.proxy import (
    CutAnswer,
    Fault,
    ReplaceBody,
    Rule,
    Service,
    Trickle,
    running_proxy,
)
from tests.integration.harness import an_employee
from tests.tenants import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(120)]
POINT_READ = r"/Imports\(PartitionKey='[^']*',RowKey='n|/ImportResults"
"""What is read of an import after it was accepted: its record, its results."""
FAULTS: Mapping[str, Fault] = {
    "another page": ReplaceBody(b"<html>It works!</html>", "text/html"),
    "a cut body": CutAnswer(520),
    "not found, by something else": FaultAnswer(404, b"<html/>", "text/html"),
}


def rows(gateway: GatewayProcess, sender: Sender, **headers: str) -> Answer:
    sent = {"Content-Type": "application/json", "Prefer": "wait=2", **sender.headers, **headers}
    return gateway.call("POST", WORKERS, body_of([a_worker(uuid.uuid4().hex)]), sent)


def keyed(gateway: GatewayProcess, sender: Sender) -> Answer:
    return rows(gateway, sender, **{"Idempotency-Key": uuid.uuid4().hex})


def licenses(gateway: GatewayProcess, sender: Sender) -> Answer:
    sent = {"Content-Type": "application/json", "Prefer": "wait=2", **sender.headers}
    return gateway.call("POST", LICENSES, body_of([a_license(uuid.uuid4().hex)]), sent)


def licenses_in_xml(gateway: GatewayProcess, sender: Sender) -> Answer:
    sent = {"Content-Type": "application/json", "Accept": "text/xml", "Prefer": "wait=2"}
    body = body_of([a_license(uuid.uuid4().hex)])
    return gateway.call("POST", LICENSES, body, sent | dict(sender.headers))


def document(gateway: GatewayProcess, sender: Sender) -> Answer:
    form = Form(file_name=f"{uuid.uuid4().hex}.pdf")
    return gateway.call("POST", "/api/import/documents", form.body(), upload_headers(sender))


def authdata(gateway: GatewayProcess, sender: Sender) -> Answer:
    name = uuid.uuid4().hex
    body = json.dumps({"employee": [an_employee(name, name, name, name)]}).encode()
    sent = {"Content-Type": "application/json", "Prefer": "wait=2", **sender.headers}
    return gateway.call("POST", AUTHDATA, body, sent)


CALLS: tuple[Callable[[GatewayProcess, Sender], Answer], ...] = (
    rows,
    keyed,
    licenses,
    licenses_in_xml,
    document,
    authdata,
)


def test_what_fails_after_the_acceptance_is_answered_with_202_and_the_imports_address(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("proxied")
    sender = a_ready_sender(storage)
    wrong: list[str] = []
    with running_proxy(storage) as proxy, started(proxy.connection_string, tmp_path) as gateway:
        assert gateway.post(sender, [a_worker("P1")]).status == 200
        for name, fault in FAULTS.items():
            proxy.rules = [Rule(fault, Service.TABLE, "GET", POINT_READ)]
            with ThreadPoolExecutor(len(CALLS)) as threads:
                running = {call.__name__: threads.submit(call, gateway, sender) for call in CALLS}
                answers = {call: each.result() for call, each in running.items()}
            proxy.clear()
            for call, answer in answers.items():
                import_id = answer.headers.get("x-import-id", "")
                if answer.status not in (200, 202) or not import_id:
                    wrong.append(f"{call}, {name}: {answer.status} {answer.body[:120]!r}")
                elif answer.status == 202:
                    assert answer.headers["location"] == f"/api/imports/{import_id}"
                    assert int(answer.headers["retry-after"]) > 0
                    assert gateway.get(f"/api/imports/{import_id}", sender).status == 200
    assert wrong == []


def test_the_same_key_gets_the_import_of_a_call_that_storage_has_failed(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("proxied")
    sender = a_ready_sender(storage)
    key, body = uuid.uuid4().hex, body_of([a_worker(uuid.uuid4().hex)])
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, **sender.headers}
    with running_proxy(storage) as proxy, started(proxy.connection_string, tmp_path) as gateway:
        assert gateway.post(sender, [a_worker("P1")]).status == 200
        # Nothing can be written but the claim of the key.
        for method in ("POST", "PUT", "PATCH", "MERGE", "DELETE"):
            after = 1 if method == "POST" else 0
            proxy.add(Rule(FaultAnswer(503), Service.TABLE, method, after=after))
        first = gateway.call("POST", WORKERS, body, headers)
        assert first.status == 503
        proxy.clear()
        # Long before the claim of the first call is old enough to be taken over.
        second = gateway.call("POST", WORKERS, body, headers)
        assert second.status == 200
        assert first.headers.get("x-import-id", second.import_id) == second.import_id


def test_a_large_blob_on_a_slow_link_may_take_longer_than_storage_may_be_silent(
    emulator: Emulator,
) -> None:
    async def read(storage: str) -> int:
        account = Account(StorageAccount(connection_string=storage))
        try:
            with storage_time(CALL_SECONDS):
                return len(await account.blobs.read("import-payloads", "a-large-one") or b"")
        except StorageUnavailableError:
            return 0
        finally:
            await account.close()

    async def prepare(storage: str) -> None:
        account = Account(StorageAccount(connection_string=storage))
        await account.blobs.put("import-payloads", "a-large-one", [bytes(2_500_000)])
        await account.close()

    async def both(slow: str, stuck: str) -> tuple[int, int]:
        read_slowly, not_read = await asyncio.gather(read(slow), read(stuck))
        return read_slowly, not_read

    storage = emulator.account("proxied")
    asyncio.run(prepare(storage))
    with running_proxy(storage) as slow, running_proxy(storage) as stuck:
        slow.add(Rule(Trickle(32_768, 0.125)))
        stuck.add(Rule(Trickle(512, 0.5)))
        found = asyncio.run(both(slow.connection_string, stuck.connection_string))
    assert found == (2_500_000, 0)
    # A connection that was not closed warns when it is collected, and a warning is an error.
    gc.collect()
