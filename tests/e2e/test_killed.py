"""A gateway that is killed: what was accepted is finished, every row once (I1 to I3)."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.builders import body_of, workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
ROWS = 5_000
ROWS_OF_ACCEPTANCE = 1_500
QUICK = {"GATEWAY_SWEEP_AFTER_SECONDS": "2", "GATEWAY_CHUNK_ROWS": "500"}
FINISHED_WITHIN = 120.0


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("killed")


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
