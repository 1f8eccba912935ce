"""The erasure of a tenant that is killed at any request, on storage in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import pytest

from shared.auth.lookups import PARTITION
from shared.clock import SystemClock
from shared.imports.import_type import Options
from shared.services.admin.audit import AuditLog
from shared.services.admin.tenant_erasure import TenantErasure
from shared.services.admin.tenants import TenantService
from shared.services.import_log import ImportLog
from shared.services.import_watch import ImportWatch, longest_until_noticed
from shared.services.row_processor import ImportCancelledError, SupersededError
from shared.storage.import_records import ImportRecord, open_row, record_row
from shared.storage.names import CONTAINERS, TABLES
from shared.storage.ports import Entity, Merge, Upsert
from tests.memory_storage import CountedRequests, MemoryBlobs, MemoryTables
from tests.model.harness import ModelClock

_T = TypeVar("_T")
_WRITES = ("write", "transaction", "blob")


class KilledError(Exception):
    """The process was killed."""


class DeadlyRequests(CountedRequests):
    """Kills the process at the write of that number, before or after it is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self.is_carried_out = False

    async def passed(self, kind: str, work: Callable[[], _T]) -> _T:
        if self.left is not None and kind in _WRITES:
            self.left -= 1
            if self.left < 0:
                if self.is_carried_out:
                    work()
                raise KilledError
        return await super().passed(kind, work)


class ListedMemoryBlobs(MemoryBlobs):
    """Blobs in memory that can be listed."""

    async def names_before(self, container: str, prefix: str, moment: datetime) -> list[str]:
        del moment
        return [
            name for each, name in self.names() if each == container and name.startswith(prefix)
        ]


class Stage:
    """Two tenants with entities in every table and a blob in every container."""

    def __init__(self) -> None:
        self.requests = DeadlyRequests()
        self.tables = MemoryTables(self.requests)
        self.blobs = ListedMemoryBlobs(self.requests)
        self.forgotten: list[str] = []
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        for tenant in ("acme", "acme-2"):
            entities = [
                ("Tenants", Entity(PARTITION, tenant, {"name": tenant, "createdAt": ""})),
                ("FunctionKeys", Entity(f"hash-{tenant}", "key", {"tenant": tenant})),
                ("Clients", Entity("tenant", f"client-{tenant}", {"tenant": tenant})),
                ("Integrations", Entity(tenant, "HR1", {})),
                ("Audit", Entity(tenant, "0001|x", {"Action": "tenant.rename"})),
                ("DataKeys", Entity(tenant, "key", {})),
                ("Imports", Entity(tenant, f"id|import-{tenant}", {"Number": 1})),
                ("Imports", Entity(tenant, open_row("workers", 2), {"ImportId": "open"})),
                ("Imports", Entity(tenant, "retention", {})),
                ("ImportResults", Entity(f"import-{tenant}", "c000000", {})),
                *(("Workers", Entity(f"{tenant}|E1", f"r|{at}", {})) for at in range(120)),
                ("Workers", Entity(tenant, "g|E1", {})),
                ("AuthStaging", Entity(f"{tenant}|batch", "batch", {})),
            ]
            entities += [
                ("Imports", Entity(tenant, record_row(number), {"ImportId": f"import-{tenant}"}))
                for number in (1, 2)
            ]
            for table, entity in entities:
                await self.tables.write(table, Upsert(entity))
            for container in CONTAINERS:
                folder = f"import-{tenant}" if container == "import-results" else tenant
                await self.blobs.put(container, f"{folder}/blob", [b"data"])

    def erase(self) -> None:
        """Run the command in a process of its own."""
        clock = SystemClock()
        audit = AuditLog(self.tables, clock)

        async def pause(_seconds: float) -> None:
            self.forgotten.append("pause")

        async def forget(is_gone: Callable[[str, str], bool], _before: datetime) -> int:
            assert is_gone("document-drop", "acme/r/w/f")
            assert not is_gone("document-drop", "acme-2/r/w/f")
            return 0

        erasure = TenantErasure(
            tables=self.tables,
            blobs=self.blobs,
            imports=ImportLog(self.tables),
            tenants=TenantService(self.tables, clock, audit),
            audit=audit,
            clock=clock,
            cache_seconds=0,
            first_tables=("DataKeys",),
            table_names=(*TABLES, "Workers"),
            containers=CONTAINERS,
            forget_drops=forget,
            pause=pause,
        )
        asyncio.run(erasure.erase("acme", "acme"))

    def remaining_of(self, tenant: str) -> list[str]:
        """What is stored of a tenant."""
        entities = [
            f"{table} {entity}"
            for table, stored in self.tables.tables.items()
            for key, entity in stored.items()
            if table != "Audit" and any(tenant == part for part in _parts(str((key, entity))))
        ]
        return entities + [name for name in map(str, self.blobs.names()) if tenant in _parts(name)]


def _parts(text: str) -> list[str]:
    for character in "|'\"/=,() :{}":
        text = text.replace(character, " ")
    return [part.removeprefix("hash-").removeprefix("import-") for part in text.split()]


def test_the_data_keys_go_first_and_the_other_tenant_stays() -> None:
    stage = Stage()
    other = stage.remaining_of("acme-2")
    stage.erase()
    assert [entry for entry in stage.remaining_of("acme") if "erased" not in entry] == []
    assert stage.remaining_of("acme-2") == other
    first = next(iter(stage.tables.tables["Audit"].values()))
    assert first.values["Action"] == "tenant.rename"


@pytest.mark.parametrize("is_carried_out", [False, True])
def test_killed_at_any_write_the_next_run_completes_it(is_carried_out: bool) -> None:
    for write in range(200):
        stage = Stage()
        stage.requests.left, stage.requests.is_carried_out = write, is_carried_out
        try:
            stage.erase()
        except KilledError:
            if write > 1:
                assert not any(key[0] == "acme" for key in stage.tables.tables["DataKeys"])
            stage.requests.left = None
            stage.erase()
        else:
            assert write > 20
            break
        assert [entry for entry in stage.remaining_of("acme") if "erased" not in entry] == []
    else:
        pytest.fail("the erasure never ended")


@pytest.mark.parametrize("open_seconds", [0.0, 4.0, 60.0, 3_600.0])
def test_the_handlers_of_an_import_have_noticed_its_end_when_the_erasure_goes_on(
    open_seconds: float,
) -> None:
    async def scenario() -> None:
        tables, clock = MemoryTables(), ModelClock()
        record = ImportRecord("t", 1, "i", "workers", 0, (), Options(), "")
        with ImportWatch(ImportLog(tables), clock, 900).watching(record) as watched:
            clock.seconds = watched.read_at = open_seconds
            clock.seconds += longest_until_noticed(open_seconds) + 0.01
            with pytest.raises(SupersededError):
                await watched.check()

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds_per_commit", [0.02, 0.2])
def test_a_cancel_of_a_long_import_is_noticed_within_seconds(seconds_per_commit: float) -> None:
    async def scenario() -> None:
        requests = CountedRequests()
        tables, clock = MemoryTables(requests), ModelClock()
        row, read = record_row(1), ImportRecord("t", 1, "i", "workers", 0, (), Options(), "")
        await tables.write("Imports", Upsert(Entity("t", row, {"CancelledAt": "", "EndedAt": ""})))
        with ImportWatch(ImportLog(tables), clock, 900).watching(read) as watched:

            async def commit_until(seconds: float) -> None:
                while clock.seconds < seconds:
                    clock.seconds += seconds_per_commit
                    await watched.check()

            await commit_until(600)
            assert requests.counts["query"] <= 600 / 5 + 20
            await tables.write("Imports", Merge(Entity("t", row, {"CancelledAt": "now"})))
            with pytest.raises(ImportCancelledError):
                await commit_until(605.5)

    asyncio.run(scenario())


def test_a_handler_that_reads_that_an_import_is_cancelled_stops_the_others_of_its_process() -> None:
    async def scenario() -> None:
        requests = CountedRequests()
        watch = ImportWatch(ImportLog(MemoryTables(requests)), ModelClock(), 900)
        record = ImportRecord("t", 1, "i", "workers", 0, (), Options(), "")
        with watch.watching(record) as watched:
            await watched.check()
            watch.note_cancelled(replace(record, cancelled_at="now"))
            with pytest.raises(ImportCancelledError):
                await watched.check()
        assert not requests.counts

    asyncio.run(scenario())
