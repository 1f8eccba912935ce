"""A gateway that is told to end (SIGTERM): calls are answered whole, work in hand is handed on."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.builders import a_worker, body_of, workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.faults.proxy import Hang, Rule, Service, running_proxy
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CALLS = 18
UNHEARD = {"AzureWebJobs.workers_rows.Disabled": "true", "LOCAL_HOST_STOP_SECONDS": "60"}
"""Nothing works on the rows, so that the calls wait."""
PATIENT = {
    "GATEWAY_CHUNK_ROWS": "500",
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
    rows = 2_000
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


# A gateway that is killed: what was accepted is finished, every row once (I1 to I3).


ROWS = 2_000
ROWS_OF_ACCEPTANCE = 600
QUICK = {"GATEWAY_SWEEP_AFTER_SECONDS": "2", "GATEWAY_CHUNK_ROWS": "200"}
FINISHED_WITHIN = 120.0


def test_an_import_that_is_killed_in_the_middle_ends_with_every_row_once(
    storage: str, tmp_path: Path
) -> None:
    sender, books = a_sender(storage), Books(storage)
    with started(storage, tmp_path, **QUICK) as gateway:
        accepted = gateway.post(sender, workers(ROWS), Prefer="respond-async")
        assert accepted.status == 202
        import_id = accepted.import_id
        wait_until(lambda: books.result_records(import_id) >= 1, "the first chunk's result")
        gateway.kill()
    chunks_before = books.result_records(import_id)
    [record] = books.imports(sender.tenant)
    assert record.is_open, "killed too late: the import had ended"
    assert chunks_before < len(record.chunks)

    with started(storage, tmp_path, **QUICK) as gateway:
        shown = gateway.ended(sender, import_id, FINISHED_WITHIN)
        assert shown["state"] == "Completed"
        assert shown["rows"] == {
            "total": ROWS,
            "done": ROWS,
            "new": ROWS,
            "updated": 0,
            "unchanged": 0,
            "failed": 0,
            "repaired": 0,
            "warnings": 0,
            "infos": 0,
        }
        answer = gateway.get(f"/api/imports/{import_id}/answer", sender)
    sent = [(row["EmployerRef"], row["PersonnelRef"]) for row in workers(ROWS)]
    answered = [tuple(part["value"] for part in row["recordIds"]) for row in answer.results]
    assert answered == sent
    assert {row["importStatus"] for row in answer.results} == {"OK"}
    _check_books(books, sender, ROWS)


@pytest.mark.parametrize("when", ["body sent", "payload written", "record written"])
def test_a_gateway_killed_while_it_accepts_has_accepted_everything_or_nothing(
    storage: str, tmp_path: Path, emulator: Emulator, when: str
) -> None:
    sender, books = a_sender(storage), Books(storage)
    with started(storage, tmp_path, **QUICK) as gateway:
        log = emulator.watch("killed")
        caller = threading.Thread(target=_post_and_lose, args=(gateway, sender))
        caller.start()
        if when == "payload written":
            wait_until(lambda: log.has_seen("PUT", "/import-payloads/"), "the payload")
        elif when == "record written":
            wait_until(lambda: books.open_imports(sender.tenant), "the record")
        gateway.kill()
        caller.join()

    with started(storage, tmp_path, **QUICK) as gateway:
        listed = gateway.get("/api/imports", sender).json["items"]
        if not listed:
            assert when != "record written"
            assert books.workers(sender.tenant) == {}
            return
        [accepted] = listed
        shown = gateway.ended(sender, accepted["importId"], FINISHED_WITHIN)
    assert shown["rows"]["new"] == shown["rows"]["total"] == ROWS_OF_ACCEPTANCE
    _check_books(books, sender, ROWS_OF_ACCEPTANCE)


def _post_and_lose(gateway: GatewayProcess, sender: Sender) -> None:
    """A call whose answer, if there is one, does not matter."""
    with suppress(OSError, http.client.HTTPException):
        gateway.post(sender, body_of(workers(ROWS_OF_ACCEPTANCE)), Prefer="respond-async")


def _check_books(books: Books, sender: Sender, rows: int) -> None:
    """Every row has one record and one result, and nothing is left open."""
    [record] = books.imports(sender.tenant)
    results = books.results(record)
    check_counts(record, results)
    assert Counter(result.outcome.value for result in results.values()) == {"new": rows}
    stored = books.workers(sender.tenant)
    assert len(stored) == rows
    assert all(document["Surname"] == "Sample" for document in stored.values())
    assert books.open_imports(sender.tenant) == 0
