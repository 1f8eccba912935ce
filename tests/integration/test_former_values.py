"""Former values in storage: where they lie, what a repeated import keeps, and when they go."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.app import record_repair_of, retention_of
from shared.clock import SystemClock, to_iso
from shared.imports.former_values import FormerRecord, FormerState
from shared.imports.import_type import Document
from shared.imports.licenses.license_set import StoredLicense
from shared.imports.licenses.store import license_from_entity
from shared.services.retention import ExpiringImports
from shared.storage.business_records import StoredRecord, partition_of, row_of
from shared.storage.former_columns import former_values
from shared.storage.import_records import ImportRecord, record_row
from shared.storage.names import IMPORT_RESULT_BLOBS
from shared.storage.ports import Entity, Merge
from tests.builders import a_worker
from tests.integration.harness import (
    MERGE,
    OVERRIDE,
    REPLACE,
    AuthdataHarness,
    Harness,
    LicenseHarness,
    a_row,
    an_employee,
    play,
    play_authdata,
    set_columns,
)
from tests.unit.imports.test_former_values import random_text

pytestmark = pytest.mark.integration
Stored = StoredRecord | StoredLicense
PREVIOUS = ("PreviousNumber", "Previous", "PreviousBlob", "PreviousLost")


class LaterClock(SystemClock):
    """The machine's clock, a hundred days ahead."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=100)


async def former(stage: Harness, stored: Stored | None) -> tuple[FormerState, FormerRecord | None]:
    """What the record was before the import that wrote it last."""
    assert stored is not None
    return await former_values(stage.gateway.account.blobs, stored)


async def former_document(stage: Harness, stored: Stored | None) -> Document:
    state, record = await former(stage, stored)
    assert state is FormerState.KEPT
    assert record is not None
    return record.document


async def imported(stage: Harness, *rows: dict[str, Any]) -> ImportRecord:
    record = await stage.accept(list(rows))
    await stage.drain()
    return record


async def columns(stage: Harness, reference: str) -> dict[str, Any]:
    place = partition_of(stage.sender.tenant, "E1"), row_of(reference)
    entity = await stage.gateway.account.tables.get("Workers", *place)
    assert entity is not None
    return {name: value for name, value in entity.values.items() if name in PREVIOUS}


async def blobs_of(stage: Harness, record: ImportRecord) -> list[str]:
    later = LaterClock().now()
    names = stage.gateway.account.blobs.names_before
    return await names(IMPORT_RESULT_BLOBS, f"{record.import_id}/", later)


def test_a_worker_keeps_what_its_last_import_changed(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await imported(stage, a_worker("P1", Title="Dr", KnownAs="Ada"), a_worker("P2"))
        created = await stage.stored("P1")
        assert created is not None
        assert (created.stamp.import_id, created.created_import_id) == (first.import_id,) * 2
        assert await former(stage, created) == (FormerState.NONE, None)
        assert await columns(stage, "P1") == {}

        second = await imported(
            stage, a_worker("P1", Title=None, Gender=1), a_worker("P1", Gender=2), a_worker("P2")
        )
        changed = await stage.stored("P1")
        assert changed is not None
        assert (changed.stamp.import_id, changed.created_import_id) == (
            second.import_id,
            first.import_id,
        )
        state, before = await former(stage, changed)
        assert state is FormerState.KEPT
        assert before is not None
        assert list(before.document.items()) == list((created.document or {}).items())
        assert (before.number, before.import_id) == (first.number, first.import_id)
        assert before.updated_at == created.updated_at
        assert await columns(stage, "P2") == {}, "an unchanged row writes nothing"

        # A redelivered chunk, and an import without a change, leave it as it is.
        stored_columns = await columns(stage, "P1")
        await stage.forget_end(second)
        await stage.gateway.sweep.run()
        await stage.drain()
        await imported(stage, a_worker("P1", Gender=2))
        assert await columns(stage, "P1") == stored_columns

    play(delivered, scenario, sweep_after_seconds=0)


def test_long_former_values_lie_in_one_blob_that_goes_with_the_results(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        long = {f"P{at}": random_text(20_000, at) for at in range(3)}
        rows = [a_worker(name, PersonnelNotes=notes) for name, notes in long.items()]
        await imported(stage, *rows, a_worker("P9", Title="Dr"))
        changed = await imported(
            stage,
            *[a_worker(name, PersonnelNotes="short") for name in long],
            a_worker("P9", Title="Ms"),
        )
        assert len(await blobs_of(stage, changed)) == 1
        for name, notes in long.items():
            document = await former_document(stage, await stage.stored(name))
            assert document["PersonnelNotes"] == notes
            assert set(await columns(stage, name)) == {"PreviousNumber", "PreviousBlob"}
        assert (await former_document(stage, await stage.stored("P9")))["Title"] == "Dr"

        retention = retention_of(stage.gateway, LaterClock())
        assert (await retention.purge([stage.sender.tenant], None)).failed == ()
        assert await blobs_of(stage, changed) == []
        for name in (*long, "P9"):
            assert await former(stage, await stage.stored(name)) == (FormerState.EXPIRED, None)
            assert set((await columns(stage, name)).values()) == {-1, ""}
        await imported(stage, a_worker("P0", PersonnelNotes="again"))
        document = await former_document(stage, await stage.stored("P0"))
        assert document["PersonnelNotes"] == "short"

    play(delivered, scenario)


def test_former_values_go_with_the_results_of_their_own_import(delivered: str) -> None:
    """A run that is stopped is taken up again; what other imports wrote stays."""

    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        names = [f"P{at}" for at in range(6)]
        for title in ("a", "b"):
            await imported(stage, *[a_worker(name, Title=title) for name in names])
        old = await imported(stage, *[a_worker(name, Title="c") for name in names])
        newer = await imported(stage, *[a_worker(name, Title="d") for name in names[4:]])
        long_ago = {"EndedAt": to_iso(datetime.now().astimezone() - timedelta(days=100))}
        for number in range(1, old.number + 1):
            await tables.write("Imports", Merge(Entity(tenant, record_row(number), long_ago)))

        account = stage.gateway.account
        expiring = ExpiringImports(
            tables, account.blobs, stage.gateway.imports, SystemClock(), ["Workers"]
        )
        before = datetime.now().astimezone() - timedelta(days=90)
        async for some in expiring.results(tenant, before):
            assert some == 0, "it is stopped after the first slice of records"
            break
        assert (await stage.results(old)).keys() == {0, 1, 2, 3, 4, 5}, "the results come after"
        went = [some async for some in expiring.results(tenant, before)]
        assert sum(went) == 3
        for name in names[:4]:
            assert await former(stage, await stage.stored(name)) == (FormerState.EXPIRED, None)
        for name in names[4:]:
            document = await former_document(stage, await stage.stored(name))
            assert document["Title"] == "c"
        assert (await stage.results(newer)).keys() == {0, 1}

    play(delivered, scenario)


def test_a_license_keeps_what_it_was_however_often_its_import_writes_it(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        work, tables = LicenseHarness(stage), stage.gateway.account.tables
        place = partition_of(stage.sender.tenant, "C1")

        async def stored() -> dict[str, StoredLicense]:
            entities = await tables.query("Licenses", place, "r|", "r|~")
            return {entity.row: license_from_entity(entity) for entity in entities}

        rows = [a_row(str(at), employee="7", notes="first") for at in range(3)]
        first = await work.done(MERGE, rows)
        before = await stored()
        assert {each.import_id for each in before.values()} == {first.import_id}
        assert {(await former(stage, each))[0] for each in before.values()} == {FormerState.NONE}

        changes = [row | {"notes": f"second {at}"} for at, row in enumerate(rows)]
        second = await work.accept(OVERRIDE, changes + [row | {"notes": "third"} for row in rows])
        await work.stage.gateway.chunks.process(work.message(second))
        for row, each in (await stored()).items():
            assert await former_document(stage, each) == before[row].document
            assert each.import_id == second.import_id

        third = await work.done(REPLACE, [a_row("9", employee="7")])
        for row, each in (await stored()).items():
            if row in before:
                assert (each.document, each.import_id) == (None, third.import_id)
                document = await former_document(stage, each)
                assert document == (before[row].document or {}) | {"notes": "third"}
        retention = retention_of(stage.gateway, LaterClock())
        await retention.purge([stage.sender.tenant], timedelta(days=50))
        states = [(await former(stage, each))[0] for each in (await stored()).values()]
        assert FormerState.KEPT not in states

    play(delivered, scenario)


def test_an_employee_with_a_new_id_keeps_what_was_under_the_old_one(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        await stage.imported([an_employee("OLD", "one", "two", None, status="a")])
        before = (await stage.stored())["r|OLD"]
        await stage.imported([an_employee("NEW", "one", "two", None, status="b")])
        after = await stage.stored()
        for row in ("r|OLD", "r|NEW"):
            stored = after[row]
            state, record = await former_values(stage.gateway.account.blobs, stored)
            assert state is FormerState.KEPT
            assert record is not None
            assert record.document == before.document
            assert record.import_id == record.created_import_id == before.stamp.import_id
            assert stored.stamp.import_id != before.stamp.import_id

    play_authdata(delivered, scenario)


def test_broken_former_values_are_found_and_said_to_be_lost(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant
        place = partition_of(tenant, "E1")
        broken: list[dict[str, Any]] = [
            {"Previous": "{"},
            {"Previous": b"x"},
            {"Previous": None, "PreviousBlob": "x"},
            {"PreviousNumber": 99},
            {"PreviousNumber": "x"},
        ]
        names = [f"P{at}" for at in range(len(broken) + 1)]
        for title in ("a", "b"):
            await imported(stage, *[a_worker(name, Title=title) for name in names])
        for name, bad in zip(names, broken, strict=False):
            await set_columns(delivered, "Workers", place, row_of(name), bad)
        repair = record_repair_of(stage.gateway)
        things = [thing async for thing in repair.find(tenant)]
        assert [thing.key for thing in things] == [f"E1 / {name}" for name in names[:-1]]
        for thing in things:
            assert await repair.repair(thing)
        assert [thing async for thing in repair.find(tenant)] == []
        for name in names[:-1]:
            assert await former(stage, await stage.stored(name)) == (FormerState.LOST, None)
        assert (await former_document(stage, await stage.stored(names[-1])))["Title"] == "a"

    play(delivered, scenario)
