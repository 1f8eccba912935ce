"""Cancel: what is committed stays, the rest ends as 9002, and other imports lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.imports.results import Outcome
from tests.builders import workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import started
from tests.emulator import Emulator
from tests.tenants import a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
ROWS = 20_000
OVERLAPPING = 5_000


def test_cancel_in_the_middle(emulator: Emulator, tmp_path: Path) -> None:
    storage = emulator.account("killed")
    sender = a_sender(storage)
    with started(storage, tmp_path) as gateway:
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
