"""Two gateways, one tenant, overlapping imports at once: the order of acceptance holds (I4)."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.imports.import_type import Document, OnExisting
from shared.imports.json_rows import fold_names
from shared.imports.results import Outcome, RowResult
from shared.imports.workers.definition import WORKERS
from shared.storage.business_records import partition_of, row_of
from shared.storage.import_records import ImportRecord
from tests.builders import Row, body_of, workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import Answer, GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CALLERS = 4
IMPORTS_EACH = 6
WORKERS_AT_ALL = 80
NEIGHBOURS = 40
SMALL_CHUNKS = {"GATEWAY_CHUNK_ROWS": "50"}
Key = tuple[str, str]


@dataclass(frozen=True)
class Caller:
    """Somebody who posts imports to either gateway, one after another."""

    seed: int
    gateways: Sequence[GatewayProcess]
    senders: Sequence[Sender]
    sent: dict[str, list[Row]] = field(default_factory=dict)
    answered: dict[str, list[str]] = field(default_factory=dict)

    def run(self) -> None:
        pick = random.Random(self.seed)
        for number in range(IMPORTS_EACH):
            rows = _some_rows(pick, f"{self.seed}.{number}")
            gateway, sender = pick.choice(self.gateways), pick.choice(self.senders)
            wish = {"Prefer": "respond-async"} if pick.random() < 0.6 else {}
            answer = gateway.post(sender, rows, **wish)
            assert answer.status in (200, 202), answer.body
            self.sent[answer.import_id] = rows
            if answer.status == 200:
                statuses = [result["importStatus"] for result in answer.results]
                self.answered[answer.import_id] = statuses


def _some_rows(pick: random.Random, label: str) -> list[Row]:
    """Rows on neighbouring workers of two employers, in any order, some of them wrong."""
    count = pick.choice([1, 3, 20, 120, 160])
    first = pick.randrange(WORKERS_AT_ALL)
    return [_some_row(pick, first, f"{label}.{position}") for position in range(count)]


def _some_row(pick: random.Random, first: int, label: str) -> Row:
    number = (first + pick.randrange(NEIGHBOURS)) % WORKERS_AT_ALL
    row: Row = {"EmployerRef": pick.choice(["E1", "E2"]), "PersonnelRef": f"P{number:02d}"}
    if pick.random() < 0.7:
        row["Surname"] = pick.choice(["Ada", "Bo"])
    if pick.random() < 0.4:
        row["Title"] = pick.choice(["Mr", None, label])
    if pick.random() < 0.3:
        row["UKPayrollDetails"] = {"PAYECode": label, "TaxRegime": pick.choice(["S", None])}
    if pick.random() < 0.2:
        row["ExternalWorkerRef"] = pick.choice(["X1", "X2", None])
    if pick.random() < 0.05:
        row["Gender"] = "not a number"
    if pick.random() < 0.02:
        del row["PersonnelRef"]
    return row


@pytest.mark.slow
def test_what_is_stored_is_what_one_import_after_another_would_have_left(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("ordered")
    updates = a_sender(storage)
    inserts = a_sender(storage, updates.tenant, on_existing=OnExisting.ERROR)
    with (
        started(storage, tmp_path, **SMALL_CHUNKS) as one,
        started(storage, tmp_path, **SMALL_CHUNKS) as other,
    ):
        callers = [
            Caller(seed, (one, other), (updates, updates, inserts)) for seed in range(CALLERS)
        ]
        with ThreadPoolExecutor(CALLERS) as pool:
            for done in [pool.submit(caller.run) for caller in callers]:
                done.result()
        sent = {key: rows for caller in callers for key, rows in caller.sent.items()}
        for import_id in sent:
            one.ended(updates, import_id)
    answered = {key: statuses for caller in callers for key, statuses in caller.answered.items()}
    _judge(Books(storage), updates.tenant, sent, answered)


def _judge(
    books: Books, tenant: str, sent: dict[str, list[Row]], answered: dict[str, list[str]]
) -> None:
    records = books.imports(tenant)
    assert [record.number for record in records] == list(range(1, CALLERS * IMPORTS_EACH + 1))
    assert {record.import_id for record in records} == set(sent)
    documents: dict[Key, Document] = {}
    for record in records:
        results = books.results(record)
        check_counts(record, results)
        _follow(record, sent[record.import_id], results, documents)
        if record.import_id in answered:
            _check_answer(results, answered[record.import_id])
    expected = {
        (partition_of(tenant, group), row_of(reference)): document
        for (group, reference), document in documents.items()
    }
    assert books.workers(tenant) == expected, "I4: what is stored differs"
    assert books.open_imports(tenant) == 0


def _follow(
    record: ImportRecord,
    rows: Sequence[Row],
    results: dict[int, RowResult],
    documents: dict[Key, Document],
) -> None:
    """Apply an import's rows by the rules alone; each must have ended as it did in storage."""
    for index, row in enumerate(rows):
        key = WORKERS.rules.identify(fold_names(row))
        read = WORKERS.record_rules.read(index, row)
        stands = Outcome.FAILED
        if read.is_readable:
            assert key is not None
            place = (key.group, key.reference)
            decision = WORKERS.record_rules.decide(read, documents.get(place), record.options)
            stands = decision.outcome
            if stands.took_effect and decision.document is not None:
                documents[place] = decision.document
        outcome = results[index].outcome
        assert outcome is stands, f"I4: import {record.number} row {index}: {outcome}, not {stands}"


def _check_answer(results: dict[int, RowResult], statuses: list[str]) -> None:
    """The vendor's answer says Error where the stored result is a failure, row by row."""
    failed = [results[index].outcome is Outcome.FAILED for index in range(len(statuses))]
    assert [status == "Error" for status in statuses] == failed


# Cancel: what is committed stays, the rest ends as 9002, and other imports lose nothing.


ROWS = 4_000
CANCELLED_CHUNKS = {"GATEWAY_CHUNK_ROWS": "200"}
OVERLAPPING = 5_000


@pytest.mark.slow
def test_cancel_in_the_middle(emulator: Emulator, tmp_path: Path) -> None:
    storage = emulator.account("killed")
    sender = a_sender(storage)
    with started(storage, tmp_path, **CANCELLED_CHUNKS) as gateway:
        import_id = gateway.post(sender, workers(ROWS), Prefer="respond-async").import_id
        here = f"/api/imports/{import_id}"

        def is_under_way() -> dict[str, Any] | None:
            shown: dict[str, Any] = gateway.get(here, sender).json
            return shown if shown["rows"]["done"] else None

        under_way = wait_until(is_under_way, "the first chunk")
        assert under_way["secondsLeft"] > 0
        answer = gateway.call("POST", f"{here}/cancel", b"", sender.headers)
        assert answer.status == 200, answer.body
        shown = answer.json

    rows = shown["rows"]
    print(f"{rows['new']} rows were committed, {rows['cancelled']} cancelled")
    assert shown["state"] == "Cancelled"
    assert 0 < rows["new"] < ROWS
    assert rows["new"] + rows["cancelled"] == rows["total"] == ROWS
    assert rows["failed"] == rows["cancelled"]

    books = Books(storage)
    [record] = books.imports(sender.tenant)
    results = books.results(record)
    check_counts(record, results)
    committed = {
        f"r|{result.key[1]}" for result in results.values() if result.outcome is Outcome.NEW
    }
    assert {row for _, row in books.workers(sender.tenant)} == committed, "the table agrees"
    cancelled = [result for result in results.values() if result.outcome is Outcome.FAILED]
    assert {message.id for result in cancelled for message in result.messages} == {9002}


@pytest.mark.slow
def test_cancel_of_a_later_import_fails_no_row_of_an_earlier_one(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("killed")
    sender, books = a_sender(storage), Books(storage)
    rows = workers(OVERLAPPING)
    with started(storage, tmp_path) as gateway:
        first = gateway.post(sender, rows, Prefer="respond-async").import_id
        later = gateway.post(sender, rows[-100:], Prefer="respond-async").import_id
        answer = gateway.call("POST", f"/api/imports/{later}/cancel", b"", sender.headers)
        assert answer.status in (200, 202), answer.body
        assert gateway.ended(sender, later)["state"] == "Cancelled"
        [record, _] = books.imports(sender.tenant)
        assert record.is_open, "the later import was to end while the earlier one runs"
        shown = gateway.ended(sender, first, 120.0)
    assert shown["state"] == "Completed", shown
    assert shown["rows"]["new"] == OVERLAPPING
    for record in books.imports(sender.tenant):
        check_counts(record, books.results(record))


# Calls sent again with their Idempotency-Key: after a crash, and a hundred at once.


REPEATED_ROWS = 600
CALLS = 100
SETTINGS = {"GATEWAY_SWEEP_AFTER_SECONDS": "2", "GATEWAY_TAKE_OVER_SECONDS": "1"}
KEY = {"Idempotency-Key": "a file and its part"}


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("killed")


def test_a_hundred_identical_calls_at_once_are_one_import(storage: str, tmp_path: Path) -> None:
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
    body = body_of(workers(REPEATED_ROWS))
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
    assert Counter(result.outcome.value for result in results.values()) == {"new": REPEATED_ROWS}
    assert len(books.workers(sender.tenant)) == REPEATED_ROWS


def _post_and_lose(gateway: GatewayProcess, sender: Sender, body: bytes) -> None:
    """A call whose answer, if there is one, does not matter."""
    with suppress(OSError, http.client.HTTPException):
        gateway.post(sender, body, **KEY)


def _has_ended(books: Books, sender: Sender) -> bool:
    return any(not record.is_open for record in books.imports(sender.tenant))
