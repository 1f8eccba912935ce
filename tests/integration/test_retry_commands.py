"""`manage.py imports retry|cancel` and `purge`, where no gateway works on the rows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shared.bootstrap import open_gateway
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import messages_for
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker, body_of
from tests.emulator import settings_for
from tests.imports import accept_without_messages
from tests.integration.manage import Manage
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.integration


@pytest.fixture(name="manage")
def fixture_manage(delivered: str, tmp_path: Path) -> Manage:
    return Manage(delivered, tmp_path)


def _imported(storage: str, sender: Sender, rows: list[Any], *, runs: bool) -> ImportRecord:
    """An import that has ended, or one whose messages got lost."""

    async def made() -> ImportRecord:
        async with open_gateway(settings_for(storage)) as gateway:
            record = await accept_without_messages(gateway, sender.caller, body_of(rows))
            for message in messages_for(record, [], [0] if runs else []):
                await gateway.chunks.process(message)
            return record

    return asyncio.run(made())


def test_failed_rows_are_retried_with_a_corrected_file(
    delivered: str, manage: Manage, tmp_path: Path
) -> None:
    sender = a_sender(delivered)
    bad = a_worker("P2", Gender="x")
    record = _imported(delivered, sender, [a_worker("P1"), bad], runs=True)
    file = tmp_path / "corrected.json"
    file.write_text(json.dumps([{"index": 1, "row": {**bad, "Gender": 1}, "messages": []}]))
    where = ("--tenant", sender.tenant, record.import_id)
    child = manage.document("imports", "retry", *where, "--rows", str(file), "--wait", "0")
    assert (child["parentId"], child["rows"]["total"]) == (record.import_id, 1)
    assert child["type"] == WORKERS.name
    shown = manage.run("imports", "show", *where)
    assert f"Retry     {child['importId']}" in shown.stdout

    cancelled = manage.document(
        "imports", "cancel", "--tenant", sender.tenant, child["importId"], "--wait", "0"
    )
    assert "cancel" not in cancelled["links"]


def test_purge_lets_go_what_has_ended(delivered: str, manage: Manage) -> None:
    sender = a_sender(delivered)
    rows = [a_worker("P1", Gender="x")]
    _, newest = (_imported(delivered, sender, rows, runs=True) for _ in range(2))
    went = manage.document("purge", "--tenant", sender.tenant, "--days", "0")["expired"]
    assert (went["payloads"], went["results"]) == (2, 2)
    shown = manage.run("imports", "show", "--tenant", sender.tenant, newest.import_id)
    assert (shown.returncode, shown.stderr) == (0, "")
