"""Calls sent again with their Idempotency-Key: after a crash, and two hundred at once."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.builders import body_of, workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import Answer, GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
ROWS = 600
CALLS = 200
SETTINGS = {"GATEWAY_SWEEP_AFTER_SECONDS": "2", "GATEWAY_TAKE_OVER_SECONDS": "1"}
KEY = {"Idempotency-Key": "a file and its part"}


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("killed")


def test_two_hundred_identical_calls_at_once_are_one_import(storage: str, tmp_path: Path) -> None:
    sender, books = a_sender(storage), Books(storage)
    body = body_of(workers(3))
    at_once = threading.Barrier(CALLS)
    with started(storage, tmp_path) as one, started(storage, tmp_path) as other:

        def call(number: int) -> Answer:
            at_once.wait()
            return (one, other)[number % 2].post(sender, body, **KEY)

        with ThreadPoolExecutor(CALLS) as pool:
            answers = list(pool.map(call, range(CALLS)))
    assert Counter(answer.status for answer in answers) == {200: CALLS}
    assert len({answer.body for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert Counter(replayed) == {None: 1, "true": CALLS - 1}
    [record] = books.imports(sender.tenant)
    assert {answer.import_id for answer in answers} == {record.import_id}
    assert len(books.workers(sender.tenant)) == 3


@pytest.mark.parametrize("when", ["key written", "payload written", "record written", "ended"])
def test_a_call_that_is_killed_and_sent_again_is_one_import(
    storage: str, tmp_path: Path, emulator: Emulator, when: str
) -> None:
    sender, books = a_sender(storage), Books(storage)
    body = body_of(workers(ROWS))
    with started(storage, tmp_path, **SETTINGS) as gateway:
        log = emulator.watch("killed")
        caller = threading.Thread(target=_post_and_lose, args=(gateway, sender, body))
        caller.start()
        if when == "key written":
            wait_until(lambda: log.has_seen("POST", "/Idempotency"), "the key")
        elif when == "payload written":
            wait_until(lambda: log.has_seen("PUT", "/import-payloads/"), "the payload")
        elif when == "record written":
            wait_until(lambda: books.open_imports(sender.tenant), "the record")
        else:
            wait_until(lambda: _has_ended(books, sender), "the end")
        gateway.kill()
        caller.join()
    [claimed] = books.entities("Idempotency", f"PartitionKey eq '{sender.tenant}'")

    with started(storage, tmp_path, **SETTINGS) as gateway:
        answers = [gateway.post(sender, body, **KEY) for _ in range(2)]
    assert {answer.import_id for answer in answers} == {claimed.text("ImportId")}
    assert {row["importStatus"] for row in answers[0].results} == {"OK"}
    assert answers[1].body == answers[0].body
    assert answers[1].headers["idempotent-replayed"] == "true"
    [record] = books.imports(sender.tenant)
    results = books.results(record)
    check_counts(record, results)
    assert Counter(result.outcome.value for result in results.values()) == {"new": ROWS}
    assert len(books.workers(sender.tenant)) == ROWS


def _post_and_lose(gateway: GatewayProcess, sender: Sender, body: bytes) -> None:
    """A call whose answer, if there is one, does not matter."""
    with suppress(OSError, http.client.HTTPException):
        gateway.post(sender, body, **KEY)


def _has_ended(books: Books, sender: Sender) -> bool:
    return any(not record.is_open for record in books.imports(sender.tenant))
