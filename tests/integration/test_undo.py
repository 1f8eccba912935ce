"""The undo of an import on real storage: what it puts back, and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import ConflictError
from shared.imports.import_type import ImportType
from shared.imports.workers.definition import WORKERS
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker
from tests.integration.harness import Harness, play

pytestmark = pytest.mark.integration


async def imported(stage: Harness, *rows: dict[str, Any]) -> ImportRecord:
    record = await stage.accept(list(rows))
    await stage.drain()
    return await stage.again(record)


async def undone(stage: Harness, parent: ImportRecord) -> ImportRecord:
    record = await stage.gateway.undoing.undo(await stage.again(parent))
    await stage.drain()
    return await stage.again(record)


def test_created_records_go_changed_ones_come_back_and_an_undo_can_be_undone(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        await imported(stage, a_worker("P1", Title="Mr"), a_worker("P3"))
        first = await stage.stored("P1")
        wrong = await imported(
            stage, a_worker("P1", Title="Dr"), a_worker("P2", Gender="x"), a_worker("P2")
        )
        second = await stage.stored("P1")
        undo = await undone(stage, wrong)
        assert (undo.counts.updated, undo.counts.failed, undo.rows) == (2, 0, 2)
        back = await stage.stored("P1")
        assert first and second and back
        assert list((back.document or {}).items()) == list((first.document or {}).items())
        gone = await stage.stored("P2")
        assert gone is not None and gone.document is None
        again = await undone(stage, undo)
        assert (again.counts.updated, again.counts.new) == (1, 1)
        third = await stage.stored("P1")
        assert third is not None and third.document == second.document
        assert (await stage.stored("P2")).document is not None
        with pytest.raises(ConflictError, match="has undone this import already"):
            await stage.gateway.undoing.undo(await stage.again(wrong))

    play(delivered, scenario)
