"""`manage.py records`: what is broken is found, and mended or removed where that is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared.app import record_repair_of
from shared.storage.business_records import from_entity, partition_of, row_of
from shared.storage.ports import Entity, Insert
from tests.builders import a_worker
from tests.integration.authdata_stage import AuthdataStage, an_employee
from tests.integration.authdata_stage import play as play_authdata
from tests.integration.broken import set_columns
from tests.integration.license_stage import MERGE, LicenseStage, a_row
from tests.integration.manage import Manage
from tests.integration.stage import Harness, play
from tests.unit.imports.licenses.company import KEYS

pytestmark = pytest.mark.integration


@pytest.fixture(name="on_delivered")
def fixture_on_delivered(delivered: str, tmp_path: Any) -> Manage:
    return Manage(delivered, tmp_path)


async def _repaired(stage: Harness | AuthdataStage, tenant: str) -> list[tuple[str, str]]:
    """Areas and repairs of what was broken; nothing is left that a repair can mend."""
    repair = record_repair_of(stage.gateway)
    things = [thing async for thing in repair.find(tenant)]
    for thing in things:
        assert await repair.repair(thing)
    return [(thing.area, thing.repair.value) for thing in things]


async def _run(manage: Manage, status: int, *words: str) -> list[Mapping[str, str]]:
    ran = await asyncio.to_thread(manage.run, "records", *words, "--json")
    assert (ran.returncode, ran.stderr) == (status, "")
    found: list[Mapping[str, str]] = json.loads(ran.stdout)["broken"]
    return found


def test_workers_are_mended_or_removed_and_their_rows_go_in_again(
    delivered: str, on_delivered: Manage
) -> None:
    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        rows = [a_worker(f"P{at}", ExternalWorkerRef=f"X{at}") for at in range(3)]
        await stage.accept(rows)
        await stage.drain()
        place = partition_of(tenant, "E1")
        await set_columns(delivered, "Workers", place, row_of("P0"), {"Number": "seven"})
        await set_columns(delivered, "Workers", place, row_of("P1"), {"Document0": "{"})
        await tables.write("Workers", Insert(Entity(place, "x|nowhere|P9", {})))
        here = ("--tenant", tenant, "--type", "workers")
        found = await _run(on_delivered, 1, "repair", *here)
        assert [(each["key"], each["repair"]) for each in found] == [
            ("E1 / P0", "mend"),
            ("E1 / P1", "remove"),
            ("E1 / P9", "remove"),
        ]
        entity = await tables.get("Workers", place, row_of("P0"))
        assert entity is not None
        assert entity.values["Number"] == "seven", "without --yes it only shows"
        done = await _run(on_delivered, 0, "repair", *here, "--yes")
        assert [each["repair"] for each in done] == ["mended", "removed", "removed"]
        assert await _run(on_delivered, 0, "check", "--tenant", tenant) == []

        lookups = await tables.query("Workers", place, "x|", "x|~")
        assert [each.row for each in lookups] == ["x|X0|P0", "x|X2|P2"]
        again = await stage.accept(rows)
        await stage.drain()
        results = await stage.results(again)
        outcomes = [results[at].outcome.value for at in range(3)]
        assert outcomes == ["unchanged", "new", "unchanged"]

    play(delivered, scenario)


def test_licenses_their_keys_and_logs(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        licenses = LicenseStage(stage)
        rows = [a_row(f"L{at}", str(at), licenseKey=KEYS[at]) for at in (0, 1, 2)]
        await licenses.done(MERGE, rows)
        place = partition_of(tenant, "C1")
        found = {
            each.row.rpartition("|")[2]: each.row
            for each in await tables.query("Licenses", place, "r|", "r|~")
        }
        [log] = await tables.query("Licenses", place, "j|", "j|~")
        await set_columns(delivered, "Licenses", place, found[KEYS[0]], {"Number": None})
        await set_columns(delivered, "Licenses", place, found[KEYS[1]], {"Document0": "["})
        await set_columns(delivered, "Licenses", place, f"k|{KEYS[2]}", {"Whose": "?"})
        await set_columns(delivered, "Licenses", place, log.row, {"Results0": b"\0"})
        done = sorted(repair for _, repair in await _repaired(stage, tenant))
        assert done == ["mend", "mend", "remove", "remove"]
        assert await _repaired(stage, tenant) == []
        again = await licenses.done(MERGE, rows)
        assert [outcome for outcome, _ in await licenses.told(again)] == [
            "unchanged", "new", "unchanged",
        ]  # fmt: skip

    play(delivered, scenario)


def test_employees_and_imports(delivered: str) -> None:
    async def scenario(stage: AuthdataStage) -> None:
        await stage.imported([an_employee("E1"), an_employee("E2")])
        await set_columns(delivered, "AuthData", stage.tenant, "r|E1", {"Document0": None})
        record = await stage.begin((await stage.stage([an_employee("E3")])).file_log_id)
        row = f"n|{999_999_999_999 - record.number:012d}"
        await set_columns(delivered, "Imports", stage.tenant, row, {"Chunks0": b"\0"})
        done = await _repaired(stage, stage.tenant)
        assert done == [("authdata", "remove"), ("imports", "close")]
        answer = await stage.imported([an_employee("E1"), an_employee("E2")])
        assert (answer["totalErrors"], answer["totalRecords"]) == (0, 2)
        entity = await stage.gateway.account.tables.get("AuthData", stage.tenant, "r|E1")
        assert entity is not None
        assert from_entity(entity).document is not None

    play_authdata(delivered, scenario)
