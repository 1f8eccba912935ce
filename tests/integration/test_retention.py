"""What is kept, for how long, and what nobody may lose by it."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from azure.storage.blob import BlobClient, ContentSettings

from shared.app import retention_of
from shared.clock import SystemClock
from shared.errors import GoneError, NotFoundError
from shared.imports.documents.model import Upload, WorkerKey
from shared.imports.import_type import Options
from shared.imports.licenses.definition import LICENSES
from shared.services.chunk_messages import messages_for
from shared.services.import_log import ImportLog
from shared.services.retention import ExpiringImports, ExpiringTombstones, Retention, RetentionStep
from shared.services.status import FailedRow, ResultCursor
from shared.storage.import_records import (
    ImportRecord,
    child_row,
    index_row,
    number_of,
    payload_blob,
    record_row,
)
from shared.storage.names import DOCUMENT_REJECTED, IMPORT_PAYLOADS, LICENSE_DOCUMENTS
from shared.storage.ports import Entity, Merge
from tests.builders import a_worker
from tests.integration.harness import Harness, play

pytestmark = pytest.mark.integration
LONG = "x" * 300


class LaterClock(SystemClock):
    """The machine's clock, so many days ahead."""

    def __init__(self, days: float) -> None:
        self._ahead = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._ahead


async def _after(stage: Harness, days: float) -> Mapping[str, int]:
    """What went, when retention ran so many days from now."""
    retention = retention_of(stage.gateway, LaterClock(days))
    purged = await retention.purge([stage.sender.tenant], None)
    assert purged.failed == ()
    return purged.expired


async def _failed(stage: Harness, record: ImportRecord) -> Sequence[FailedRow]:
    chunks = stage.gateway.failed_rows.chunks(await stage.again(record))
    return [row async for rows in chunks for row in rows]


def test_rows_go_first_and_results_stay(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        small = await stage.accept([a_worker("P1", Gender="x")])
        large = await stage.accept([a_worker(f"L{at}", PersonnelNotes=LONG) for at in range(90)])
        await stage.drain()
        opened = await stage.accept_quietly([a_worker("P2", Gender="x")])
        assert set((await _after(stage, 29)).values()) == {0}
        assert len(await _failed(stage, small)) == 1

        assert (await _after(stage, 31))["payloads"] == 2
        assert await stage.gateway.account.blobs.read(IMPORT_PAYLOADS, large.blob_name) is None
        expired = await stage.again(small)
        assert (expired.inline, expired.counts.failed) == ("", 1)
        with pytest.raises(GoneError, match="rows of this import have expired"):
            await _failed(stage, small)
        with pytest.raises(GoneError, match="rows of this import have expired"):
            await stage.gateway.retrying.retry(expired, b"")
        assert await stage.codes(small) == [[1002]]
        assert (await stage.again(opened)).inline, "an open import is not touched"
        assert (await _after(stage, 31))["payloads"] == 0
        await stage.gateway.sweep.run()
        await stage.drain()

    play(delivered, scenario, sweep_after_seconds=0)


def test_imports_go_but_the_newest_whose_number_is_needed(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        first = await stage.accept([a_worker("P1", Gender="x")])
        await stage.drain()
        child = await stage.gateway.retrying.retry(await stage.again(first), b"")
        await stage.drain()
        went = await _after(stage, 91)
        assert (went["payloads"], went["results"]) == (2, 2)
        with pytest.raises(NotFoundError):
            await stage.gateway.reporting.find(first.tenant, first.import_id)
        report = await stage.gateway.reporting.find(child.tenant, child.import_id)
        assert report.counts.failed == 1
        with pytest.raises(GoneError, match="results of this import have expired"):
            await stage.gateway.reporting.results(report.record, ResultCursor(), 10)
        assert (await _after(stage, 91))["results"] == 0

        fresh = ImportLog(stage.gateway.account.tables)
        assert (await fresh.newest_first(first.tenant, None, 5))[0].number == child.number
        later = await stage.accept([a_worker("P1")])
        await stage.drain()
        assert later.number == child.number + 1
        assert (await _after(stage, 91))["results"] == 2
        with pytest.raises(NotFoundError):
            await stage.gateway.reporting.find(child.tenant, child.import_id)
        partition = await stage.gateway.account.tables.query("Imports", first.tenant)
        prefixes = {entity.row.partition("|")[0] for entity in partition}
        assert prefixes == {"n", "id"}, "nothing is left of the others"
        assert not await stage.gateway.account.tables.query("ImportResults", first.import_id)

    play(delivered, scenario)


@pytest.mark.parametrize("lost", ["id|", "child|", "file|"])
def test_an_import_goes_when_one_of_its_entities_is_lost(delivered: str, lost: str) -> None:
    async def scenario(stage: Harness) -> None:
        tables = stage.gateway.account.tables
        parent = await stage.accept([a_worker("P1", Gender="x")])
        await stage.drain()
        child = await stage.gateway.retrying.retry(await stage.again(parent), b"")
        await stage.drain()
        await stage.accept([a_worker("P2")])
        await stage.drain()
        if lost == "file|":
            # As if its body had been kept, and the entity that finds it by that were lost.
            row = record_row(child.number)
            hashed = Entity(child.tenant, row, {"BodySha256": "0" * 64})
            await tables.write("Imports", Merge(hashed))
        else:
            row = index_row(child.import_id)
            if lost == "child|":
                row = child_row(parent.number, child.number)
            await stage.forget("Imports", child.tenant, row)
        await _after(stage, 91)
        entities = await tables.query("Imports", child.tenant)
        assert [entity.row.partition("|")[0] for entity in entities] == ["id", "n"]
        assert number_of(entities[1].row) == child.number + 1

    play(delivered, scenario)


def test_tombstones_outlive_the_rows_that_could_come_back(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        cancelled = await stage.accept_quietly([a_worker("P1"), a_worker("P2")])
        await stage.gateway.cancelling.cancel(cancelled)
        await stage.drain()
        await stage.accept([a_worker("P2")])
        await stage.drain()
        assert (await _after(stage, 59))["tombstones"] == 0
        assert await stage.stored("P1") is not None
        assert (await _after(stage, 61))["tombstones"] == 1
        assert await stage.stored("P1") is None
        alive = await stage.stored("P2")
        assert alive is not None
        assert not alive.ended.codes, "the later stamp keeps stragglers out"
        await stage.accept([a_worker("P1")])
        await stage.drain()
        assert await stage.stored("P1") is not None

    play(delivered, scenario)


def test_a_retry_keeps_the_tombstones_since_the_import_that_brought_its_rows(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        tables, imports = stage.gateway.account.tables, stage.gateway.imports
        payloads = ExpiringImports(tables, stage.gateway.account.blobs, imports, SystemClock(), ())
        tombstones = ExpiringTombstones(tables, imports, {"Workers": None})
        tenant, tomorrow = stage.sender.tenant, LaterClock(1).now()

        async def remove_tombstones() -> int:
            return sum([went async for went in tombstones.tombstones(tenant, tomorrow)])

        parent = await stage.accept([a_worker("P9", Gender="x")])
        cancelled = await stage.accept_quietly([a_worker("P1")])
        await stage.gateway.cancelling.cancel(cancelled)
        await stage.drain()
        between = SystemClock().now()
        await stage.gateway.retrying.retry(await stage.again(parent), b"")
        await stage.drain()

        assert [went async for went in payloads.payloads(tenant, between)] == [1, 1]
        assert await remove_tombstones() == 0, "the retry can be retried, its row is the parent's"
        assert [went async for went in payloads.payloads(tenant, tomorrow)] == [1]
        assert await remove_tombstones() == 1

    play(delivered, scenario)


async def _import_license(stage: Harness, action: str, row: Mapping[str, object]) -> None:
    tenant = stage.sender.tenant
    body = json.dumps([row]).encode()
    planned = await stage.gateway.intake.read(LICENSES, tenant, body)
    options = replace(stage.sender.caller.options, action=action)
    draft = stage.gateway.intake.draft(LICENSES, tenant, planned, options)
    record = await stage.gateway.intake.accept_planned(LICENSES, draft, planned)
    for message in messages_for(record, [], [0]):
        await stage.gateway.chunks.process(message)


def test_the_file_of_a_license_stays_as_long_as_an_undo_may_bring_it_back(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        account, tenant = stage.gateway.account, stage.sender.tenant
        row = {"companyCode": "C1", "employeeNumber": "7", "licenseNumber": "L1"}

        async def files() -> list[bytes]:
            listed = await account.license_files.list_files(tenant)
            return sorted(
                [await account.blobs.read(LICENSE_DOCUMENTS, file.name) or b"" for file in listed]
            )

        for text in ("QQ==", "Qg=="):
            documents = [{"name": "a", "content": text}]
            await _import_license(stage, "Override", {**row, "documents": documents})
        await account.blobs.put(LICENSE_DOCUMENTS, f"{tenant}/of-a-dead-handler", [b"C"])
        assert (await _after(stage, 0.5))["files of licenses"] == 0
        assert await files() == [b"A", b"B", b"C"]
        await _after(stage, 89)
        assert (await _after(stage, 89))["files of licenses"] == 1
        assert await files() == [b"A", b"B"]
        assert (await _after(stage, 91))["files of licenses"] == 0, "now it is noticed"
        assert (await _after(stage, 91))["files of licenses"] == 1
        assert await files() == [b"B"]

    play(delivered, scenario)


def test_licenses_lose_the_logs_of_their_imports_and_their_tombstones(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant
        row = {"companyCode": "C1", "employeeNumber": "7", "licenseTypeCode": "RN"}
        for number, action in (("L1", "Override"), ("L2", "Override"), ("L1", "Delete")):
            await _import_license(stage, action, {**row, "licenseNumber": number})

        async def kinds() -> list[str]:
            entities = await stage.gateway.account.tables.query("Licenses", f"{tenant}|C1")
            return [
                entity.row.partition("|")[0] + ("-" if entity.flag("Deleted") else "")
                for entity in entities
            ]

        assert sorted(await kinds()) == ["j", "j", "j", "k", "k-", "r", "r-"]
        assert (await _after(stage, 61))["tombstones"] == 4
        assert sorted(await kinds()) == ["k", "r", "r-"], "what was deleted stays with the results"
        assert (await _after(stage, 91))["tombstones"] == 1
        assert sorted(await kinds()) == ["k", "r"]

    play(delivered, scenario)


def test_the_file_of_a_replaced_document_goes_and_the_current_one_stays(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        documents, tenant = stage.gateway.documents.intake, stage.sender.tenant
        worker = WorkerKey("E1", "P1")
        await stage.accept([a_worker("P1")])
        await stage.drain()
        upload = Upload("P1", "R1", "a.pdf", "2026-01-01T00:00:00Z", 4, "pdf", worker)
        for name in ("first", "second", "never-accepted"):
            await documents.keep(tenant, name, [b"%PDF"], 4)
        for name in ("first", "second"):
            await documents.finish(await documents.accept(tenant, name, upload, Options()))

        assert (await _after(stage, 0.5))["replaced documents"] == 0
        assert (await _after(stage, 2))["replaced documents"] == 0, "now they are noticed"
        assert (await _after(stage, 29))["replaced documents"] == 0
        assert (await _after(stage, 31))["replaced documents"] == 2
        files = await stage.gateway.account.document_files.list_files(tenant)
        assert [(file.name, file.is_marked) for file in files] == [(f"{tenant}/second", False)]

    play(delivered, scenario)


def test_rejected_drops_go_when_rows_do(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        blobs, tenant = stage.gateway.account.blobs, stage.sender.tenant
        names = [f"{tenant}/R1/P1/a.pdf/id", f"{tenant}-other/R1/P1/a.pdf/id"]
        for name in names:
            await blobs.put(DOCUMENT_REJECTED, name, [b"%PDF"])
        assert (await _after(stage, 29))["rejected drops"] == 0
        assert (await _after(stage, 31))["rejected drops"] == 1
        assert [await blobs.read(DOCUMENT_REJECTED, name) for name in names] == [None, b"%PDF"]
        await blobs.delete(DOCUMENT_REJECTED, names[1])

    play(delivered, scenario)


def test_what_is_read_back_is_what_was_put_whatever_its_properties_say(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        blobs, name = stage.gateway.account.blobs, f"{stage.sender.tenant}/a"
        content = gzip.compress(b"0\t{}\n") * 1_000
        await blobs.put(IMPORT_PAYLOADS, name, [content])
        with BlobClient.from_connection_string(delivered, IMPORT_PAYLOADS, name) as blob:
            blob.set_http_headers(ContentSettings(content_encoding="gzip"))
        assert await blobs.read(IMPORT_PAYLOADS, name) == content
        assert await blobs.read(IMPORT_PAYLOADS, name, 5, 20) == content[5:25]
        await blobs.delete(IMPORT_PAYLOADS, name)

    play(delivered, scenario)


def test_payloads_that_belong_to_no_import_go_after_a_day(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        blobs, tenant = stage.gateway.account.blobs, stage.sender.tenant
        stray = payload_blob(tenant, "never-accepted")
        await blobs.put(IMPORT_PAYLOADS, stray, [b"0\t{}\n"])
        known = await stage.accept([a_worker(f"L{at}", PersonnelNotes=LONG) for at in range(90)])
        await stage.drain()
        retention = retention_of(stage.gateway, SystemClock())
        went = (await retention.purge([tenant], timedelta(days=0))).expired
        assert (went["stray payloads"], went["payloads"]) == (0, 1), "a call may still be at it"
        await blobs.put(IMPORT_PAYLOADS, known.blob_name, [b"0\t{}\n"])
        assert (await _after(stage, 2))["stray payloads"] == 1
        assert await blobs.read(IMPORT_PAYLOADS, stray) is None
        assert await blobs.read(IMPORT_PAYLOADS, known.blob_name)

    play(delivered, scenario)


def test_a_tenant_has_its_turn_once_a_day_and_goes_on_where_time_was_up(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tables = stage.gateway.account.tables
        seen: list[str] = []

        async def expire(tenant: str, before: datetime) -> AsyncIterator[int]:
            for _ in range(2):
                seen.append(tenant)
                yield 1

        async def tenants() -> list[str]:
            return [stage.sender.tenant]

        def at(days: float, seconds: float = 60) -> Retention:
            step = RetentionStep("x", timedelta(0), expire)
            return Retention([step], tables, LaterClock(days), tenants, seconds)

        await at(0, seconds=-1).run()
        assert len(seen) == 1, "time was up after the first"
        await at(0).run()
        await at(0.5).run()
        assert len(seen) == 3
        await at(1).run()
        assert len(seen) == 5

    play(delivered, scenario)
