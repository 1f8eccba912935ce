"""A chunk of licenses whose handler dies, is cancelled or runs out of time, on real storage."""

from __future__ import annotations

import pytest

from shared.imports.licenses.attachments import blobs_of
from shared.services.row_processor import HandlerTimeUpError
from shared.storage.names import LICENSE_DOCUMENTS
from tests.integration.harness import (
    MERGE,
    OVERRIDE,
    REPLACE,
    DyingTables,
    Harness,
    LicenseHarness,
    a_row,
    of_employees,
    of_one,
    play,
)
from tests.unit.imports.licenses.company import KEYS

pytestmark = pytest.mark.integration
Told = tuple[str, list[int]]
NEW: Told = ("new", [])
UNCHANGED: Told = ("unchanged", [1103])
LOST, CANCELLED = ("failed", [9001]), ("failed", [9002])
DOCUMENT = {"name": "a", "content": "QEA="}


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_redelivered_chunk_goes_on_behind_what_is_committed(
    delivered: str, is_answered: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        record = await play.accept(
            OVERRIDE, [*of_employees(100), *of_one(range(3), documents=[DOCUMENT])]
        )
        assert await play.killed(record, 1, is_answered=is_answered)
        assert 0 < len(await play.licenses()) < 103
        assert await play.killed(record, 1, is_answered=is_answered)
        await stage.gateway.chunks.process(play.message(record))
        assert await play.outcomes(record) == [NEW] * 103
        licenses = await play.licenses()
        assert len({each["licenseKey"] for each in licenses}) == 103
        for each in licenses[-3:]:
            [blob] = blobs_of(each["documents"])
            name = f"{record.tenant}/{blob}"
            assert await stage.gateway.account.blobs.read(LICENSE_DOCUMENTS, name) == b"@@"

    play(delivered, scenario)


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_what_is_committed_stays_and_the_rest_ends(delivered: str, is_cancelled: bool) -> None:
    """By a cancel in the middle, or because the chunk failed too often."""

    async def scenario(stage: Harness) -> None:
        play, chunks = LicenseHarness(stage), stage.gateway.chunks
        record = await play.accept(OVERRIDE, of_employees(120))
        assert await play.killed(record, 1)
        committed = await play.licenses()
        if is_cancelled:
            await stage.gateway.cancelling.cancel(record)
            await chunks.process(play.message(record))
        else:
            await chunks.end_as_failed(play.message(record))
        outcomes = await play.outcomes(record)
        end = CANCELLED if is_cancelled else LOST
        assert outcomes.count(NEW) == len(committed) > 0
        assert outcomes.count(end) == 120 - len(committed)

        await stage.forget_end(record)
        await play.handled(record, DyingTables(stage.gateway.account.tables))
        await chunks.process(play.message(record))
        assert await play.licenses() == committed, "a straggler committed what had ended"
        assert await play.outcomes(record) == outcomes

    play(delivered, scenario)


def test_a_handler_whose_time_is_up_goes_on_from_its_log(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        record = await play.accept(OVERRIDE, of_employees(120))
        turns = 0
        for _ in range(20):
            tables = DyingTables(stage.gateway.account.tables)

            async def one_commit(tables: DyingTables = tables) -> None:
                if tables.transactions > 1:
                    raise HandlerTimeUpError

            turns += 1
            try:
                await play.handled(record, tables, one_commit)
            except HandlerTimeUpError:
                continue
            break
        assert 2 <= turns < 20
        await stage.gateway.chunks.process(play.message(record))
        assert await play.outcomes(record) == [NEW] * 120

    play(delivered, scenario)


def test_rows_that_are_overwritten_say_so_whatever_lies_between(delivered: str) -> None:
    """Two rows of a license, in different transactions, of two handlers."""

    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        rows = [*of_one(range(60), notes="a"), *of_one(range(60), notes="b")]
        record = await play.accept(MERGE, rows)
        assert await play.killed(record, 1)
        await stage.gateway.chunks.process(play.message(record))
        assert await play.outcomes(record) == [("new", [1102])] * 60 + [("updated", [])] * 60
        assert {each["notes"] for each in await play.licenses()} == {"b"}

    play(delivered, scenario)


def _replacing() -> list[dict[str, object]]:
    """130 licenses for one employee, of which 20 are there, beside 110 others that go."""
    return [*of_one(range(110, 240)), a_row("L000", "8")]


async def _with_many(play: LicenseHarness) -> None:
    await play.done(OVERRIDE, of_one(range(130)))


TOLD = [*[UNCHANGED] * 20, *[NEW] * 110, NEW]


@pytest.mark.parametrize(("transactions", "is_ended"), [(1, True), (2, False), (4, True)])
def test_a_large_replace_is_completed_once_it_has_begun(
    delivered: str, transactions: int, is_ended: bool
) -> None:
    async def scenario(stage: Harness) -> None:
        play, chunks = LicenseHarness(stage), stage.gateway.chunks
        await _with_many(play)
        record = await play.accept(REPLACE, _replacing())
        assert await play.killed(record, transactions, is_answered=False)
        if is_ended:
            await chunks.end_as_failed(play.message(record))
        else:
            await chunks.process(play.message(record))
        outcomes = await play.outcomes(record)
        assert outcomes[:130] == TOLD[:130]
        assert outcomes[130] in (NEW, LOST)
        licenses = [each for each in await play.licenses() if each["employeeNumber"] == "7"]
        assert [each["licenseNumber"] for each in licenses] == [f"L{at}" for at in range(110, 240)]

    play(delivered, scenario)


def test_a_large_replace_that_has_not_begun_ends_without_a_trace(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        await _with_many(play)
        before = await play.licenses()
        record = await play.accept(REPLACE, _replacing())
        assert await play.killed(record, 0)
        await stage.gateway.chunks.end_as_failed(play.message(record))
        assert await play.outcomes(record) == [LOST] * 131
        assert await play.licenses() == before

    play(delivered, scenario)


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_the_largest_licenses_keep_to_the_limits_of_storage(delivered: str) -> None:
    """Each transaction is measured; the emulator would take any."""

    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        tables = DyingTables(stage.gateway.account.tables)
        long = "\U0001f4c4" * 60_000 + "\u4e2d" * 150_000
        for action in (OVERRIDE, REPLACE):
            record = await play.accept(action, of_one(range(4), notes=long, stateCode=action))
            await play.handled(record, tables)
            await stage.gateway.chunks.process(play.message(record))
            assert {outcome for outcome, _ in await play.outcomes(record)} <= {"new", "updated"}
        assert max(tables.sizes) > 2_000_000

    play(delivered, scenario)


def test_thousands_of_rows_of_a_company_can_end(delivered: str) -> None:
    """Their results are more than one entity holds."""

    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        rows = [a_row(f"{at:x}" * 9, f"E{at}", divisionCode=f"D{at}" * 5) for at in range(4_100)]
        record = await play.accept(OVERRIDE, rows)
        await stage.gateway.chunks.end_as_failed(play.message(record))
        assert await play.outcomes(record) == [LOST] * 4_100

    play(delivered, scenario)


def test_a_license_that_two_rows_move_does_not_meet_another_of_its_natural_key(
    delivered: str,
) -> None:
    """Neither row names the employee whose license it would be in the end."""

    async def scenario(stage: Harness) -> None:
        play = LicenseHarness(stage)
        await play.done(
            OVERRIDE,
            [
                a_row("L1", "7", divisionCode="D1", licenseKey=KEYS[0]),
                a_row("L1", "8", divisionCode="D2", licenseKey=KEYS[1]),
            ],
        )
        moves = [{"employeeNumber": "8"}, {"divisionCode": "D2"}, {"divisionCode": "D3"}]
        rows = [{"companyCode": "C1", "licenseKey": KEYS[0], **move} for move in moves]
        record = await play.done(MERGE, rows)
        assert await play.outcomes(record) == [
            ("updated", [1102]),
            ("failed", [3008]),
            ("updated", []),
        ]
        assert [each["divisionCode"] for each in await play.licenses()] == ["D2", "D3"]

    play(delivered, scenario)
