"""What becomes of batches afterwards: they expire, their records go, and at last they do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import ConflictError, NotFoundError
from shared.imports.authdata.batch_records import BatchState
from tests.integration.authdata_stage import AuthdataStage, an_employee, play

pytestmark = pytest.mark.integration


def test_a_batch_that_nobody_processes_expires(delivered: str) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        staged = await stage.stage([an_employee("E1")])
        for call in (
            stage.stage([an_employee("E2")], staged.file_log_id),
            stage.begin(staged.file_log_id),
        ):
            with pytest.raises(ConflictError, match="expired"):
                await call
        batch = await stage.gateway.authdata.staging.find(stage.tenant, staged.file_log_id)
        assert batch.state is BatchState.EXPIRED
        await stage.gateway.authdata.processing.tidy(stage.tenant)
        partition = f"{stage.tenant}|{staged.file_log_id}"
        left = await stage.gateway.account.tables.query("AuthStaging", partition)
        assert [entity.row for entity in left] == ["batch"]
        [done] = await stage.entities("AuthStaging")
        assert done.row.startswith("d|")
        now = datetime.now(UTC)
        processing = stage.gateway.authdata.processing
        assert await processing.forget_before(stage.tenant, now - timedelta(days=1)) == 0
        assert await processing.forget_before(stage.tenant, now) == 1
        assert await stage.entities("AuthStaging") == []
        with pytest.raises(NotFoundError):
            await stage.begin(staged.file_log_id)

    play(delivered, scenario, batch_seconds=0, sweep_after_seconds=0)


def test_upkeep_removes_the_records_of_what_is_processed_and_leaves_the_answer(
    delivered: str,
) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        rows = [an_employee(f"E{at:04d}", "x" * 150, str(at)) for at in range(300)]
        staged, waiting = await stage.stage(rows), await stage.stage([an_employee("W")])
        answer = await stage.process(staged.file_log_id)
        await stage.gateway.authdata.processing.tidy(stage.tenant)
        record = await stage.begin(staged.file_log_id)
        assert await stage.answer(record) == answer
        noted = {each.row[0]: each.text("Batch") for each in await stage.entities("AuthStaging")}
        assert noted == {"b": waiting.file_log_id, "d": staged.file_log_id}
        blobs = stage.gateway.account.blobs
        later = datetime.now(UTC) + timedelta(days=1)
        assert await blobs.names_before("authdata-batches", f"{stage.tenant}/", later) == []
        assert await stage.process(waiting.file_log_id)

    play(delivered, scenario, sweep_after_seconds=0)
