"""The undo of an import on real storage: what it puts back, and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import ConflictError
from shared.imports.import_type import Document
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


async def document(stage: Harness, reference: str) -> Document | None:
    stored = await stage.stored(reference)
    return None if stored is None else stored.document


def test_created_records_go_changed_ones_come_back_and_an_undo_can_be_undone(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        await imported(stage, a_worker("P1", Title="Mr"), a_worker("P3"))
        first = await document(stage, "P1")
        wrong = await imported(
            stage, a_worker("P1", Title="Dr"), a_worker("P2", Gender="x"), a_worker("P2")
        )
        second = await document(stage, "P1"), await document(stage, "P2")

        undo = await undone(stage, wrong)
        assert (undo.counts.updated, undo.counts.failed, undo.rows) == (2, 0, 2)
        assert await document(stage, "P1") == first
        assert await document(stage, "P2") is None

        again = await undone(stage, undo)
        assert (again.counts.updated, again.counts.new) == (1, 1)
        assert (await document(stage, "P1"), await document(stage, "P2")) == second
        with pytest.raises(ConflictError, match="has undone this import already"):
            await stage.gateway.undoing.undo(await stage.again(wrong))

    play(delivered, scenario)
