"""The two ways of docs/design.md#1 are those that a call and a row take, in five files each."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import azure.functions as func

from shared.imports.pay_and_bill.http import import_call
from shared.imports.workers.definition import WORKERS
from shared.storage.sealed_storage import SealingTables
from tests.builders import a_worker, body_of
from tests.integration.harness import Harness, play

ROOT = Path(__file__).resolve().parents[2]
CALL, ROW = "call", "row"


def _way(name: str) -> list[str]:
    """The files of a way, as the page lists them."""
    page = (ROOT / "docs/design.md").read_text("utf-8")
    part = page.partition(f"subgraph {name} ")[2].partition("\n  end\n")[0]
    return re.findall(r'\["([\w/]+\.py)<br>', part)


@contextmanager
def _files_above_writes(table: str) -> Iterator[list[list[str]]]:
    """The files of the app on the stack at each transaction of that table, the outermost first.

    Telemetry is left out: it decorates what is on the way.
    """
    ways: list[list[str]] = []
    code = SealingTables.transact.__code__

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code is code and frame.f_locals["table"] == table:
            ways.append(_files(frame))

    sys.setprofile(note)
    try:
        yield ways
    finally:
        sys.setprofile(None)


def _files(frame: FrameType | None) -> list[str]:
    files: list[str] = []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        is_ours = path.is_relative_to(ROOT / "shared") or path.is_relative_to(ROOT / "functions")
        if is_ours and path.name != "telemetry.py":
            files.append(str(path.relative_to(ROOT)))
        frame = frame.f_back
    return list(dict.fromkeys(reversed(files)))


def test_a_call_and_a_row_go_through_the_five_files_of_the_page(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        sender = stage.sender
        request = func.HttpRequest(
            "POST",
            "http://here/api/import/workers",
            headers={**sender.headers, "prefer": "respond-async"},
            body=body_of([a_worker("P1")]),
        )
        with _files_above_writes("Imports") as writes:
            answer = await import_call(stage.gateway, WORKERS, request)
        assert answer.status_code == 202
        assert [*_way(CALL)[1:], _way(ROW)[-1]] in writes
        with _files_above_writes(WORKERS.table) as writes:
            await stage.drain()
        assert _way(ROW)[2:] in writes

    assert len(_way(CALL)) == len(_way(ROW)) == 5
    assert _way(CALL)[0] == "functions/workers.py"
    assert _way(ROW)[:2] == ["function_app.py", "functions/chunks.py"]
    play(delivered, scenario)
