"""What an integration engineer does: try a file, send it, correct what failed, send that back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import body_of, workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import WORKERS, started
from tests.emulator import Emulator
from tests.tenants import a_sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
ROWS = 2_000
BAD = range(20, ROWS, 54)
"""The places of the 37 rows that are bad."""


def test_a_file_with_bad_rows_is_imported_corrected_and_complete(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("ordered")
    sender = a_sender(storage)
    rows = workers(ROWS)
    for number in BAD:
        rows[number]["Gender"] = "unknown"
    with started(storage, tmp_path) as gateway:
        tried = gateway.call("POST", f"{WORKERS}&dryRun=true", body_of(rows), sender.headers)
        assert gateway.get("/api/imports", sender).json["items"] == []
        sent = gateway.post(sender, rows)
        assert sent.results == tried.results, "a dry run answers what the run answers"
        failed = [at for at, result in enumerate(sent.results) if result["errorCount"]]
        assert failed == list(BAD)
        assert len(failed) == 37

        here = f"/api/imports/{sent.import_id}"
        file = gateway.get(f"{here}/failed-rows", sender).json
        assert sorted(item["index"] for item in file) == failed
        for item in file:
            assert item["messages"][0]["fieldName"] == "Gender"
            item["row"]["Gender"] = 1
        answer = gateway.call("POST", f"{here}/retry", body_of(file), sender.headers)
        assert answer.status == 200
        assert answer.json["rows"]["new"] == 37
        assert answer.json["state"] == "Completed"

    books = Books(storage)
    parent, child = books.imports(sender.tenant)
    for record in (parent, child):
        check_counts(record, books.results(record))
    stored = books.workers(sender.tenant)
    assert len(stored) == ROWS
    corrected = [document for document in stored.values() if document.get("Gender") == 1]
    assert len(corrected) == 37
