"""A gateway that is told to end (SIGTERM): calls are answered whole, work in hand is handed on."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.builders import a_worker, workers
from tests.e2e.bookkeeping import Books
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.faults.proxy import Hang, Rule, Service, running_proxy
from tests.tenants import a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CALLS = 18
UNHEARD = {"AzureWebJobs.workers_rows.Disabled": "true", "LOCAL_HOST_STOP_SECONDS": "60"}
"""Nothing works on the rows, so that the calls wait."""
PATIENT = {
    "LOCAL_HOST_LEASE_SECONDS": "3600",
    "LOCAL_HOST_STOP_SECONDS": "60",
    "GATEWAY_SWEEP_AFTER_SECONDS": "3600",
}
"""Neither a lease that runs out nor the sweep brings back what a process leaves behind."""


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("killed")


def _terminate(gateway: GatewayProcess) -> None:
    gateway.process.send_signal(signal.SIGTERM)


def _has_ended_well(gateway: GatewayProcess) -> bool:
    return gateway.process.wait(120) == 0


def test_calls_that_wait_get_their_202_and_the_next_start_finishes_their_imports(
    storage: str, tmp_path: Path
) -> None:
    sender, books = a_sender(storage), Books(storage)
    with (
        started(storage, tmp_path, **UNHEARD) as gateway,
        ThreadPoolExecutor(CALLS + 2) as threads,
    ):
        calls = [
            threads.submit(gateway.post, sender, [a_worker(f"P{number}")])
            for number in range(CALLS)
        ]
        keyed = {"Idempotency-Key": "sent twice"}
        calls += [threads.submit(gateway.post, sender, [a_worker("K")], **keyed) for _ in range(2)]
        wait_until(lambda: books.open_imports(sender.tenant) == CALLS + 1, "all are accepted")
        assert not any(call.done() for call in calls)
        _terminate(gateway)
        answers = [call.result() for call in calls]
        assert _has_ended_well(gateway)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    assert [answer.status for answer in answers] == [202] * len(calls)
    import_ids = {answer.import_id for answer in answers}
    assert len(import_ids) == CALLS + 1
    for answer in answers:
        assert answer.headers["location"] == f"/api/imports/{answer.import_id}"
        assert answer.headers["retry-after"]
        assert answer.headers["connection"] == "close"
    with started(storage, tmp_path) as gateway:
        for import_id in import_ids:
            assert gateway.ended(sender, import_id, 120)["state"] == "Completed"
    assert len(books.workers(sender.tenant)) == CALLS + 1


def test_chunks_in_work_are_handed_on_and_go_on_with_the_next_start(
    storage: str, tmp_path: Path
) -> None:
    sender, books = a_sender(storage), Books(storage)
    rows = 4_000
    with started(storage, tmp_path, **PATIENT) as gateway:
        accepted = gateway.post(sender, workers(rows), Prefer="respond-async")
        wait_until(lambda: books.workers(sender.tenant), "a chunk is in work")
        _terminate(gateway)
        assert _has_ended_well(gateway)
        assert "was stopped" not in gateway.log()
    [record] = books.imports(sender.tenant)
    assert record.is_open, "told to end too late: the import had ended"
    assert 0 < len(books.workers(sender.tenant)) < rows
    with started(storage, tmp_path, **PATIENT) as gateway:
        shown = gateway.ended(sender, accepted.import_id, 120)
    assert (shown["state"], shown["rows"]["new"]) == ("Completed", rows)
    assert len(books.workers(sender.tenant)) == rows


def test_call_that_cannot_finish_in_time_is_503_and_not_half_answered(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("proxied")
    sender = a_sender(storage)
    with (
        running_proxy(storage) as proxy,
        started(proxy.connection_string, tmp_path, GATEWAY_STOP_SECONDS="1") as gateway,
        ThreadPoolExecutor(2) as threads,
    ):
        rule = proxy.add(Rule(Hang(), Service.BLOB, "PUT", r"/import-payloads/"))
        key = {"Idempotency-Key": "once more"}
        call = threads.submit(gateway.post, sender, workers(1_000), **key)
        wait_until(lambda: rule.applied, "storage hangs")
        joined = threads.submit(gateway.post, sender, workers(1_000), **key)
        _terminate(gateway)
        answer = call.result()
        assert answer.status == 503
        assert answer.headers["retry-after"]
        assert answer.headers["x-correlation-id"]
        assert "message" in answer.json
        assert "x-import-id" not in answer.headers
        assert joined.exception() is not None or joined.result().status == 503
        assert _has_ended_well(gateway)
    with started(storage, tmp_path) as gateway:
        again = gateway.post(sender, workers(1_000), **key)
        assert again.status == 200
        assert gateway.call("GET", "/api/imports", None, sender.headers).json["items"][1:] == []
