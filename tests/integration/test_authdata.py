"""Stage, review and process on real storage (docs/contracts.md#3)."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import ConflictError, NotFoundError, TooLargeError
from shared.imports.authdata.batch_records import Batch, BatchState
from shared.imports.authdata.model import NO_FILE_LOG_ID
from shared.imports.results import Outcome
from shared.services.status import ImportState
from tests.emulator import Emulator
from tests.integration.harness import AuthdataHarness, Row, an_employee, play_authdata

pytestmark = pytest.mark.integration
PARTS = ("totalNew", "totalUpdates", "totalErrors", "totalNoChange", "totalDuplicates")


def totals(answer: dict[str, Any]) -> tuple[int, ...]:
    """New, updates, errors, no change, duplicates; checks the sum rule."""
    counts = tuple(answer[name] for name in PARTS)
    assert sum(counts) == answer["totalRecords"]
    return counts


def test_a_staged_batch_changes_nothing_until_it_is_processed(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        rows = [an_employee("E1", status="on"), an_employee("E2"), {"employeeId": " "}]
        staged = await stage.stage([*rows, an_employee("", "x")])
        assert totals(staged.answer) == (2, 0, 1, 0, 0)
        assert staged.answer["fileLogId"] == staged.file_log_id != NO_FILE_LOG_ID
        assert staged.answer["errorDetails"][0]["line"] == 4
        assert await stage.entities() == []
        assert await stage.review(staged.file_log_id) == staged.answer

        answer = await stage.process(staged.file_log_id)
        assert answer == staged.answer
        employees = await stage.employees()
        assert sorted(employees) == ["E1", "E2"]
        assert employees["E1"].status == "on"
        [report] = (await stage.gateway.reporting.newest(stage.tenant, None, 9)).reports
        assert report.state is ImportState.COMPLETED_WITH_ERRORS
        counts = report.counts
        assert (counts.new, counts.unchanged, counts.failed) == (2, 1, 1)

    play_authdata(delivered, scenario)


def test_every_class_of_record_is_processed(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        ids = ("SAME", "AUTH", "STATUS", "OLD", "BOTH", "HELD")
        await stage.imported([an_employee(name, status="on") for name in ids])
        before = await stage.stored()
        answer = await stage.imported(
            [
                an_employee("SAME", status="on"),
                an_employee("AUTH", "AUTH-one", "changed", "added"),
                an_employee("STATUS", status="off"),
                an_employee("RENAMED", "OLD-one", "OLD-two"),
                an_employee("BOTH", None, "changed", status="off"),
                an_employee("HELD", "SAME-one", "SAME-two", "x"),
                an_employee("HELD", "BOTH-one", "BOTH-two", status="off"),
                an_employee("NEW"),
                an_employee("NEW", "NEW-one"),
            ]
        )
        assert totals(answer) == (1, 4, 1, 1, 2)
        assert [each["Value"] for each in answer["employeeDetails"]] == [
            "No Change",
            "Auth Value Updated",
            "Status Updated",
            "Employee Id Updated",
            "Auth Value Updated",
            "Error",
            "New Record",
        ]
        employees, after = await stage.employees(), await stage.stored()
        assert sorted(employees) == sorted({*ids, "RENAMED", "NEW"} - {"OLD"})
        assert after["r|SAME"] == before["r|SAME"], "no write"
        assert after["r|OLD"].document is None
        assert after["r|RENAMED"].created_by == before["r|OLD"].created_by
        assert employees["RENAMED"].status == "on"
        assert employees["BOTH"].status == "off"

    play_authdata(delivered, scenario)


def test_an_employee_can_be_renamed_back_and_forth(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        values = ("one", "two", "three")
        renames = []
        for name in ("A", "B", "A"):
            answer = await stage.imported([an_employee(name, *values)])
            renames.append(answer["totalEmpIdUpdate"])
            assert [*await stage.employees()] == [name]
        assert renames == [0, 1, 1]

    play_authdata(delivered, scenario)


def test_calls_with_one_id_append_to_one_batch(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        batch = str(uuid.uuid4())
        first = await stage.stage([an_employee("E1", "a"), an_employee("E2", "b")], batch)
        second = await stage.stage(
            [{}, an_employee("E1", "a", "more"), an_employee("E3", "b"), an_employee("", "c")],
            batch,
        )
        third = await stage.stage([an_employee("E1", "z")], batch)
        assert totals(first.answer) == (2, 0, 0, 0, 0)
        assert totals(second.answer) == (2, 0, 1, 0, 0), "incoming winners count as themselves"
        assert second.answer["errorDetails"][0]["line"] == 4
        assert totals(third.answer) == (0, 0, 0, 0, 1), "an incoming loser is a duplicate"
        whole = await stage.review(batch)
        assert totals(whole) == (2, 0, 1, 0, 3)
        assert whole["errorDetails"][0]["line"] == 6
        assert await stage.process(batch) == whole
        assert sorted(await stage.employees()) == ["E1", "E3"]

    play_authdata(delivered, scenario)


def test_two_calls_at_once_lose_nothing_and_count_nothing_twice(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        batch = str(uuid.uuid4())
        calls = [[an_employee(f"E{at}"), an_employee("SAME", f"v{at}")] for at in range(8)]
        done = await asyncio.gather(*(stage.stage(rows, batch) for rows in calls))
        counts = [totals(each.answer) for each in done]
        assert sum(new for new, *_ in counts) == 16, "each SAME was the last one when it came"
        whole = await stage.review(batch)
        assert totals(whole) == (9, 0, 0, 0, 7)
        assert await stage.process(batch) == whole

    play_authdata(delivered, scenario)


def test_a_call_that_is_made_again_under_its_id_is_in_once(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        call_id, batch = str(uuid.uuid4()), str(uuid.uuid4())
        await stage.stage([an_employee("E0")], batch)
        once = await stage.stage([an_employee("E1")], batch, call_id=call_id)
        await stage.stage([an_employee("E2")], batch)
        again = await stage.stage([an_employee("E1")], batch, call_id=call_id)
        assert again == once
        assert (await stage.review(batch))["totalRecords"] == 3
        new = [await stage.stage([an_employee("N")], call_id=call_id) for _ in range(2)]
        assert new[0] == new[1]

    play_authdata(delivered, scenario)


def test_without_commit_nothing_is_staged(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        batch = str(uuid.uuid4())
        for file_log_id, answered in ((None, NO_FILE_LOG_ID), (batch, batch)):
            staged = await stage.stage([an_employee("E1")], file_log_id, commit=False)
            assert totals(staged.answer) == (1, 0, 0, 0, 0)
            assert (staged.answer["fileLogId"], staged.is_staged) == (answered, False)
        with pytest.raises(NotFoundError):
            await stage.begin(batch)
        assert await stage.entities("AuthStaging") == []

    play_authdata(delivered, scenario)


def test_a_batch_is_processed_once_however_often_process_is_called(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        staged = await stage.stage([an_employee("E1"), an_employee("E2")])
        records = await asyncio.gather(*(stage.begin(staged.file_log_id) for _ in range(6)))
        assert len({record.number for record in records}) == 1
        await stage.drain()
        first = await stage.answer(records[0])
        await stage.imported([an_employee("E1", "other")])
        late = await stage.begin(staged.file_log_id)
        assert late.import_id == records[0].import_id
        assert await stage.answer(late) == first
        with pytest.raises(ConflictError):
            await stage.stage([an_employee("E3")], staged.file_log_id)
        assert (await stage.employees())["E1"].values[1] is not None

    play_authdata(delivered, scenario)


def test_a_process_call_that_died_is_taken_up_by_the_next_one(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        gateway = stage.gateway
        batches: list[Batch] = []
        for _ in range(2):
            staged = await stage.stage([an_employee(f"E{len(batches)}")])
            batch = await gateway.authdata.staging.find(stage.tenant, staged.file_log_id)
            # The call dies here: the batch is closed, and there is no import yet.
            batches.append(await gateway.authdata.processing._close(batch))
        assert await gateway.imports.open_of(stage.tenant) == []
        records = await asyncio.gather(*(stage.begin(batches[0].file_log_id) for _ in range(3)))
        assert {record.import_id for record in records} == {batches[0].import_id}
        assert len({record.number for record in records}) == 1
        await gateway.authdata.processing.clean_up(stage.tenant)
        await stage.drain()
        assert sorted(await stage.employees()) == ["E0", "E1"], "the upkeep took up the other"

    play_authdata(delivered, scenario, sweep_after_seconds=0)


def test_two_batches_at_once_are_decided_one_after_the_other(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        values = ("one", "two")
        first = await stage.stage([an_employee("A", *values), an_employee("X")])
        second = await stage.stage([an_employee("B", *values), an_employee("X")])
        records = await asyncio.gather(*(stage.begin(each.file_log_id) for each in (first, second)))
        await stage.drain()
        answers = [await stage.answer(record) for record in records]
        earlier, later = sorted(zip(records, answers, strict=True), key=lambda pair: pair[0].number)
        assert totals(earlier[1]) == (2, 0, 0, 0, 0)
        assert totals(later[1]) == (0, 1, 0, 1, 0)
        assert later[1]["totalEmpIdUpdate"] == 1
        assert len(await stage.employees()) == 2

    play_authdata(delivered, scenario)


@pytest.mark.parametrize(
    ("name", "over", "at", "under"),
    [
        ("added", "49.99", "50", "50.01"),
        ("updated", "49.99", "50", "50.01"),
        ("errors", "19.9", "20", "20.1"),
    ],
)
def test_over_a_threshold_no_entity_changes(
    delivered: str, name: str, over: str, at: str, under: str
) -> None:
    """Of four employees two change and two are added; one of five records is an error."""

    async def scenario(stage: AuthdataHarness) -> None:
        rules = stage.gateway.authdata.rules
        await stage.imported([an_employee(f"E{number}", status="on") for number in range(4)])
        rows = [an_employee(f"E{number}", status="off") for number in range(2)]
        rows += [an_employee("N1"), an_employee("N2"), an_employee("")]
        staged, second = await stage.stage(rows), await stage.stage(rows)
        before = await stage.entities()
        for limit in (at, under):
            await rules.set_thresholds(stage.tenant, {name: limit})
            assert (await stage.review(staged.file_log_id))["thresholdExceptions"] == []

        await rules.set_thresholds(stage.tenant, {name: over})
        answer = await stage.process(staged.file_log_id)
        assert totals(answer) == (2, 2, 1, 0, 0), "as counted"
        [exception] = answer["thresholdExceptions"]
        assert exception.endswith(f"threshold: {over}%. Processing has stopped.")
        assert await stage.entities() == before, "no entity changed"
        [stopped] = (await stage.gateway.reporting.newest(stage.tenant, None, 1)).reports
        assert stopped.state is ImportState.CANCELLED
        assert stopped.counts.failed == stopped.record.rows == 5
        repeated = await stage.begin(staged.file_log_id)
        assert await stage.answer(repeated) == answer

        await rules.set_thresholds(stage.tenant, {name: at})
        answer = await stage.process(second.file_log_id)
        assert answer == {
            **answer,
            "thresholdExceptions": [],
            "fileLogId": second.file_log_id,
        }
        assert len(await stage.employees()) == 6

    play_authdata(delivered, scenario)


def test_a_threshold_cancels_the_whole_batch_while_it_is_staged(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        await stage.gateway.authdata.rules.set_thresholds(stage.tenant, {"errors": "30"})
        batch, call_id = str(uuid.uuid4()), str(uuid.uuid4())
        bad = [an_employee("")]
        await stage.stage([an_employee("E1"), an_employee("E2")], batch)
        report = await stage.stage(bad, batch, commit=False)
        assert len(report.answer["thresholdExceptions"]) == 1
        assert (await stage.review(batch))["totalRecords"] == 2, "commit false only reports"

        stopped = await stage.stage(bad, batch, call_id=call_id)
        assert (stopped.is_staged, stopped.answer) == (False, report.answer)
        assert await stage.stage(bad, batch, call_id=call_id) == stopped
        for call in (stage.stage([an_employee("E3")], batch), stage.begin(batch)):
            with pytest.raises(ConflictError):
                await call
        unnamed = await stage.stage(bad)
        assert unnamed.answer["fileLogId"] == NO_FILE_LOG_ID
        assert await stage.entities() == []

    play_authdata(delivered, scenario)


def test_a_batch_without_records_is_processed_without_an_import(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        staged = await stage.stage([])
        assert (
            await stage.gateway.authdata.processing.begin(stage.tenant, staged.file_log_id) is None
        )
        with pytest.raises(ConflictError):
            await stage.stage([an_employee("E1")], staged.file_log_id)
        scrubbed = await stage.stage([{}, {"employeeId": ""}])
        answer = await stage.process(scrubbed.file_log_id)
        assert answer["totalRecords"] == 0

    play_authdata(delivered, scenario)


def test_a_batch_has_at_most_the_rows_of_an_import(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        batch = str(uuid.uuid4())
        await stage.stage([an_employee(f"E{at}") for at in range(3)], batch)
        with pytest.raises(TooLargeError, match="limits are 4"):
            await stage.stage([an_employee(f"F{at}") for at in range(2)], batch)
        assert (await stage.review(batch))["totalRecords"] == 3

    play_authdata(delivered, scenario, max_rows=4)


def test_batches_of_tenants_do_not_meet(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        other = AuthdataHarness(stage.gateway, stage.pump, f"{stage.tenant}-2")
        batch = str(uuid.uuid4())
        await stage.stage([an_employee("E1")], batch)
        with pytest.raises(NotFoundError):
            await other.begin(batch)
        of_other_tenant = await other.stage([an_employee("E2", "E1-one", "E1-two")], batch)
        assert totals(of_other_tenant.answer) == (1, 0, 0, 0, 0)
        await stage.process(batch)
        await other.process(batch)
        mine, others = await stage.employees(), await other.employees()
        assert ([*mine], [*others]) == (["E1"], ["E2"])
        assert mine["E1"].values != others["E2"].values, "hashes are bound to the tenant"

    play_authdata(delivered, scenario)


def test_results_show_ids_and_no_hashes(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        staged = await stage.stage([an_employee("E1"), an_employee("E2", None), an_employee("E1")])
        record = await stage.begin(staged.file_log_id)
        await stage.drain()
        batches = [
            row async for row in stage.gateway.reporting.all_results(await stage.again(record))
        ]
        assert {row.index: (row.key, row.outcome) for row in batches} == {
            0: (("E1",), Outcome.UNCHANGED),
            1: (("E2",), Outcome.FAILED),
            2: (("E1",), Outcome.NEW),
        }

    play_authdata(delivered, scenario)


# What becomes of batches afterwards: they expire, their records go, and at last they do.


def test_a_batch_that_nobody_processes_expires(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        staged = await stage.stage([an_employee("E1")])
        for call in (
            stage.stage([an_employee("E2")], staged.file_log_id),
            stage.begin(staged.file_log_id),
        ):
            with pytest.raises(ConflictError, match="expired"):
                await call
        batch = await stage.gateway.authdata.staging.find(stage.tenant, staged.file_log_id)
        assert batch.state is BatchState.EXPIRED
        await stage.gateway.authdata.processing.clean_up(stage.tenant)
        partition = f"{stage.tenant}|{staged.file_log_id}"
        entities = await stage.gateway.account.tables.query("AuthStaging", partition)
        assert [entity.row for entity in entities] == ["batch"]
        [done] = await stage.entities("AuthStaging")
        assert done.row.startswith("d|")
        now = datetime.now(UTC)
        processing = stage.gateway.authdata.processing
        assert await processing.forget_before(stage.tenant, now - timedelta(days=1)) == 0
        assert await processing.forget_before(stage.tenant, now) == 1
        assert await stage.entities("AuthStaging") == []
        with pytest.raises(NotFoundError):
            await stage.begin(staged.file_log_id)

    play_authdata(delivered, scenario, batch_seconds=0, sweep_after_seconds=0)


def test_upkeep_removes_the_records_of_what_is_processed_and_leaves_the_answer(
    delivered: str,
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        rows = [an_employee(f"E{at:04d}", "x" * 150, str(at)) for at in range(300)]
        staged, waiting = await stage.stage(rows), await stage.stage([an_employee("W")])
        answer = await stage.process(staged.file_log_id)
        await stage.gateway.authdata.processing.clean_up(stage.tenant)
        record = await stage.begin(staged.file_log_id)
        assert await stage.answer(record) == answer
        noted = {each.row[0]: each.text("Batch") for each in await stage.entities("AuthStaging")}
        assert noted == {"b": waiting.file_log_id, "d": staged.file_log_id}
        blobs = stage.gateway.account.blobs
        later = datetime.now(UTC) + timedelta(days=1)
        assert await blobs.names_before("authdata-batches", f"{stage.tenant}/", later) == []
        assert await stage.process(waiting.file_log_id)

    play_authdata(delivered, scenario, sweep_after_seconds=0)


# How often storage is asked: staging is a few requests whatever its size, processing a few in a
# hundred records, and a file that comes again writes nothing.
#
# What 50,000 employees take is shown by `tests/model/test_costs.py`.


EMPLOYEES = 2_000
CHANGED = EMPLOYEES // 20
MOST = {"first": 0.062, "again": 0.035, "changed": 0.047}
"""Requests per record, staged and processed together, with looks at the cancel flag; the first with
two notes that the tenant has work."""
OTHERS = 3
"""Transactions on other tables: the call in its batch, the import accepted, the import closed."""


def load(changed: int = 0) -> list[Row]:
    return [
        an_employee(f"E{at:05d}", f"one-{at}", "other" if at % 20 == 0 and changed else "two")
        for at in range(EMPLOYEES)
    ]


def test_storage_is_asked_seldom_and_the_same_file_again_writes_nothing(
    emulator: Emulator, delivered: str
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        async def counted(rows: list[Row]) -> tuple[float, int]:
            watch = emulator.watch("delivered")
            staged = await stage.stage(rows)
            for_staging = [each for each in watch.requests() if not each.is_poll]
            assert len(for_staging) <= 15
            await stage.process(staged.file_log_id)
            requests = [each for each in watch.requests() if not each.is_poll]
            messages = [each for each in requests if "/messages/" in each.path]
            writes = [each for each in requests if each.path.startswith(("/$batch", "/AuthData"))]
            written = [each for each in writes if each.method != "GET"]
            return (len(requests) - len(messages)) / len(rows), len(written) - OTHERS

        first, writes = await counted(load())
        assert writes == EMPLOYEES // 50, "a record and its look-up for each"
        before = await stage.entities()
        again, none = await counted(load())
        assert none == 0
        assert await stage.entities() == before
        changed, some = await counted(load(CHANGED))
        assert 0 < some <= 3 * CHANGED / 100 + 4
        assert len(await stage.employees()) == EMPLOYEES
        figures = {"first": first, "again": again, "changed": changed}
        assert {name: value for name, value in figures.items() if value > MOST[name]} == {}

    play_authdata(delivered, scenario)
