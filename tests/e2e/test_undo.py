"""The wrong file: it is undone, the undo is undone, and a gateway is killed in the middle."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Row, workers
from tests.e2e.bookkeeping import Books, check_counts
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
BEFORE = 1_500
ROWS = 2_000
SINCE = range(10, ROWS, 50)
"""The places of the 40 workers that a later import changes: 30 were there before, 10 were not."""


def all_rows(gateway: GatewayProcess, sender: Sender, path: str) -> list[dict[str, Any]]:
    """The items of every page."""
    items: list[dict[str, Any]] = []
    continuation: str | None = ""
    while continuation is not None:
        page = gateway.get(f"{path}pageSize=1000&continuation={continuation}", sender).json
        items += page["items"]
        continuation = page["continuation"]
    return items


def changes(gateway: GatewayProcess, sender: Sender, after: str) -> Counter[str]:
    """What the feed says after an import."""
    counts: Counter[str] = Counter()
    while True:
        page = gateway.get(f"/api/changes?after={after}&pageSize=1000", sender).json
        counts.update(item["change"] for item in page["items"])
        if str(page["next"]) == after:
            return counts
        after = str(page["next"])


def test_a_wrong_file_is_undone_but_for_what_was_changed_since_and_that_is_undone(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("ordered")
    sender, books = a_sender(storage), Books(storage)
    right: list[Row] = workers(BEFORE, Title="Ms", KnownAs="Sam")
    wrong: list[Row] = workers(ROWS, Title=None, TelephoneNumber="1")
    with started(storage, tmp_path) as gateway:
        gateway.post(sender, right)
        at_first = books.workers(sender.tenant)
        import_id = gateway.post(sender, wrong).import_id
        gateway.post(sender, [wrong[at] | {"Surname": "Changed"} for at in SINCE])
        at_last = books.workers(sender.tenant)
        undo = f"/api/imports/{import_id}/undo"

        tried = gateway.call("POST", f"{undo}?dryRun=true", None, sender.headers).json
        assert tried["rows"] == {"total": ROWS, "reversed": 1960, "unchanged": 0, "failed": 40}
        judged = gateway.call("POST", f"{undo}?dryRun=true&view=rows", None, sender.headers).json
        refused = gateway.call("POST", f"{undo}?onlyIfAll=true", None, sender.headers)
        assert refused.status == 409
        assert "1960 of 2000" in refused.json["message"]
        assert books.workers(sender.tenant) == at_last, "nothing may be done so far"

        done = gateway.call("POST", undo, None, sender.headers)
        assert done.status == 200
        rows = done.json["rows"]
        assert (rows["total"], rows["reversed"], rows["failed"]) == (ROWS, 1960, 40)
        results = all_rows(gateway, sender, f"/api/imports/{done.import_id}/results?")
        kept = [each for each in results if each["outcome"] == "failed"]
        assert sorted(each["index"] for each in kept) == list(SINCE)
        assert {each["messages"][0]["errorID"] for each in kept} == {1104}
        told = {each["index"]: each["outcome"] for each in judged["items"]}
        assert told == {each["index"]: each["outcome"] for each in results}

        since = {(f"E{at % 10:02d}", f"W{at:06d}") for at in SINCE}
        stored = books.workers(sender.tenant)
        expected = {
            key: at_last[key] if _names(at_last[key]) in since else document
            for key, document in at_first.items()
        } | {key: document for key, document in at_last.items() if _names(document) in since}
        assert stored == expected
        assert changes(gateway, sender, "3") == {"updated": 1470, "deleted": 490}
        assert gateway.call("POST", undo, None, sender.headers).status == 409

        again = gateway.call("POST", f"/api/imports/{done.import_id}/undo", None, sender.headers)
        assert again.json["rows"]["reversed"] == 1960
        assert again.json["state"] == "Completed"
        assert books.workers(sender.tenant) == at_last
        assert changes(gateway, sender, "4") == {"updated": 1470, "created": 490}
    for record in books.imports(sender.tenant):
        check_counts(record, books.results(record))


def _names(document: dict[str, Any]) -> tuple[str, str]:
    return document["EmployerRef"], document["PersonnelRef"]


def test_an_undo_that_is_killed_in_the_middle_is_finished(
    emulator: Emulator, tmp_path: Path
) -> None:
    storage = emulator.account("killed")
    sender, books = a_sender(storage), Books(storage)
    quick = {"GATEWAY_SWEEP_AFTER_SECONDS": "2", "GATEWAY_CHUNK_ROWS": "250"}
    rows = 3_000
    with started(storage, tmp_path, **quick) as gateway:
        gateway.post(sender, workers(rows // 2, Title="Ms"))
        before = books.workers(sender.tenant)
        parent = gateway.post(sender, workers(rows, Title="Dr")).import_id
        asking = {**sender.headers, "Prefer": "respond-async", "Idempotency-Key": "undo"}
        undo = gateway.call("POST", f"/api/imports/{parent}/undo", None, asking)
        assert undo.status == 202, undo.body
        import_id = undo.import_id
        wait_until(lambda: books.result_records(import_id) >= 1, "the first chunk's result")
        gateway.kill()
    record = books.imports(sender.tenant)[-1]
    assert record.is_open, "killed too late: the undo had ended"

    with started(storage, tmp_path, **quick) as gateway:
        shown = gateway.ended(sender, import_id, 120.0)
        assert (shown["state"], shown["rows"]["reversed"]) == ("Completed", rows)
        again = gateway.call("POST", f"/api/imports/{parent}/undo", None, asking)
        assert again.import_id == import_id, "the same key is the same undo"
        assert gateway.get(f"/api/imports/{parent}", sender).json["undoneBy"] == import_id
    assert books.workers(sender.tenant) == before
    record = books.imports(sender.tenant)[-1]
    check_counts(record, books.results(record))
