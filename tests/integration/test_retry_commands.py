"""`manage.py imports retry|cancel` and `purge`, where no gateway works on the rows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.row_files import UnreadableFileError
from shared.bootstrap import open_gateway
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import messages_for
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker, body_of
from tests.emulator import settings_for
from tests.imports import accept_without_messages
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.integration
Run = Callable[..., str]


@pytest.fixture(name="run")
def fixture_run(delivered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process; its output."""
    monkeypatch.setenv("AzureWebJobsStorage", delivered)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))

    def run(*words: str) -> str:
        ran = CliRunner().invoke(app, [*words], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    return run


def _imported(storage: str, sender: Sender, rows: list[Any]) -> ImportRecord:
    """An import that has ended."""

    async def made() -> ImportRecord:
        async with open_gateway(settings_for(storage)) as gateway:
            record = await accept_without_messages(gateway, sender.caller, body_of(rows))
            for message in messages_for(record, [], [0]):
                await gateway.chunks.process(message)
            return record

    return asyncio.run(made())


def test_failed_rows_are_retried_with_a_corrected_file(
    delivered: str, run: Run, tmp_path: Path
) -> None:
    sender = a_sender(delivered)
    bad = a_worker("P2", Gender="x")
    record = _imported(delivered, sender, [a_worker("P1"), bad])
    file = tmp_path / "corrected.json"
    file.write_text(json.dumps([{"index": 1, "row": {**bad, "Gender": 1}, "messages": []}]))
    here = ("--tenant", sender.tenant)
    retry = ("imports", "retry", *here, record.import_id, "--rows", str(file), "--wait", "0")
    child = json.loads(run(*retry, "--json"))
    assert (child["parentId"], child["rows"]["total"]) == (record.import_id, 1)
    assert child["type"] == WORKERS.name
    shown = run("imports", "show", *here, record.import_id)
    assert re.search(r"Error +\d+ +Gender +1 +1 ", shown), shown
    assert re.search(r"^index 1 ", shown, re.MULTILINE), shown
    assert "0 rows with warnings, 0 rows with infos" in shown
    document = json.loads(run("imports", "show", *here, record.import_id, "--json"))
    assert [group["firstIndexes"] for group in document["messageGroups"]] == [[1]]
    assert f"Retry     {child['importId']}" in shown
    cancelled = run("imports", "cancel", *here, child["importId"], "--wait", "0")
    assert f"Retry of  {record.import_id}" in cancelled
    assert "It has not ended yet" in cancelled


def test_an_empty_file_neither_retries_the_failed_rows_nor_empties_a_list(
    delivered: str, run: Run, tmp_path: Path
) -> None:
    sender = a_sender(delivered)
    record = _imported(delivered, sender, [a_worker("P1", Gender="x")])
    here = ("--tenant", sender.tenant)
    empty = tmp_path / "empty.txt"
    empty.write_text("\ufeff\n \n", "utf-8")
    with pytest.raises(UnreadableFileError, match=r"empty\.txt is empty, so nothing was sent"):
        run("imports", "retry", *here, record.import_id, "--rows", str(empty), "--wait", "0")
    assert len(json.loads(run("imports", "list", *here, "--json"))["imports"]) == 1
    with pytest.raises(UnreadableFileError, match=r"empty\.txt has no values"):
        run("reference", "load", *here, "--kind", "division", str(empty))


def test_purge_lets_go_what_has_ended(delivered: str, run: Run) -> None:
    sender = a_sender(delivered)
    rows = [a_worker("P1", Gender="x")]
    _, newest = (_imported(delivered, sender, rows) for _ in range(2))
    here = ("--tenant", sender.tenant)
    went = json.loads(run("purge", *here, "--days", "0", "--yes", "--json"))["expired"]
    assert (went["payloads"], went["results"]) == (2, 2)
    assert newest.import_id in run("imports", "show", *here, newest.import_id)
    assert "strayPayloads" in went, "names are those of JSON"
    assert "results" in run("purge", *here, "--yes")
