"""The erasure of a person on storage in memory: killed at any write, and in every race."""

from __future__ import annotations

import asyncio
import copy
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from shared.errors import ConflictError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import ImportType, Options
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.persons import Identity, IdentityKind
from shared.imports.results import Outcome
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.storage.import_records import ImportRecord
from shared.storage.names import HOST_CONTAINER, ROW_DONE, ROW_DROP, ROW_REJECTED, ROW_RESULTS
from shared.storage.ports import Value
from tests.builders import a_worker, body_of
from tests.memory_storage import MemoryQueues, MemoryTables
from tests.model.harness import TENANT, CountedIds, ModelClock, Process, make_process
from tests.unit.test_tenant_erasure import DeadlyRequests, KilledError, ListedMemoryBlobs

MARK, OTHER = "Mark7q", "Other7q"
PERSON = [
    Identity(IdentityKind.WORKER, ("E1", f"P-{MARK}")),
    Identity(IdentityKind.LICENSE_EMPLOYEE, ("C1", "", f"N-{MARK}")),
]


class Stage:
    """A tenant in memory, and a gateway that any number of processes work for."""

    def __init__(self) -> None:
        self.requests = DeadlyRequests()
        self.tables = MemoryTables(self.requests)
        self.blobs = ListedMemoryBlobs(self.requests)
        self.queues = MemoryQueues(self.requests)
        self.clock = ModelClock()
        self.ids = CountedIds()

    def process(self) -> Process:
        """A process that has just been started."""
        return make_process(self.tables, self.blobs, self.queues, self.clock, self.ids)

    async def accept(self, kind: ImportType, rows: list[Any]) -> ImportRecord:
        """An import whose messages wait."""
        intake = self.process().intake
        plan = await intake.read(kind, TENANT, body_of(rows))
        action = LicenseAction.MERGE.value if kind is LICENSES else ""
        draft = intake.draft(kind, TENANT, plan, Options(action=action))
        return await intake.accept_planned(kind, draft, plan)

    async def drain(self) -> None:
        """Deliver all messages."""
        while self.queues.messages:
            message = self.queues.messages.pop(0)
            await self.process().chunks.process(ChunkMessage.from_text(message.text))

    async def import_rows(self, kind: ImportType, rows: list[Any]) -> ImportRecord:
        """An import that has ended."""
        record = await self.accept(kind, rows)
        await self.drain()
        return record

    async def erase(self) -> ImportRecord:
        """Erase the person in a process of its own."""
        process = self.process()
        record = await process.erasure.accept(TENANT, PERSON)
        await process.chunks.process(
            ChunkMessage(record.tenant, record.number, record.import_id, 0)
        )
        return record

    async def outcomes(self, record: ImportRecord) -> list[tuple[str | None, Outcome, list[int]]]:
        """The last part of the key, the outcome and the message ids of each row."""
        process = self.process()
        current = await process.imports.read(record.tenant, record.number)
        assert current is not None
        assert not current.is_open
        rows = [row async for row in process.failed_rows._reporting.all_results(current)]
        return [
            (row.key[-1], row.outcome, [message.id for message in row.messages])
            for row in sorted(rows, key=lambda row: row.index)
        ]

    def places_of(self, mark: str) -> list[str]:
        """Where a mark is stored."""
        texts = [
            (f"{table} {key}", str(key) + "".join(_texts(entity.values)))
            for table, stored in self.tables.tables.items()
            for key, entity in stored.items()
        ]
        texts += [(str(name), str(name) + _text(data)) for name, data in self.blobs._blobs.items()]
        texts += [("queue", message.text) for message in self.queues.messages]
        return [place for place, text in texts if mark in text]

    def state(self) -> Any:
        """A copy of all that is stored."""
        return copy.deepcopy((self.tables.tables, self.tables._rows, self.blobs._blobs))

    def restore(self, state: Any) -> None:
        """Put back a copy."""
        tables, rows, blobs = copy.deepcopy(state)
        self.tables.tables, self.tables._rows, self.blobs._blobs = tables, rows, blobs
        self.queues.messages.clear()


def _texts(values: Mapping[str, Value]) -> Iterator[str]:
    packed: dict[str, bytes] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            stem = name.rstrip("0123456789")
            packed[stem] = packed.get(stem, b"") + value
        else:
            yield str(value)
    yield from map(_text, packed.values())


def _text(data: bytes) -> str:
    with suppress(zlib.error):
        data = zlib.decompress(data)
    return data.decode("utf-8", "replace")


def an_assignment(reference: str, personnel: str, **changes: Any) -> dict[str, Any]:
    return {
        "EmployerRef": "E1",
        "AssignmentRef": reference,
        "PersonnelRef": personnel,
        "ClientRef": "C",
        "DivisionRef": "D",
        "DepartmentRef": "D",
        "StartDate": "2024-03-04",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
        **changes,
    }


def a_license(mark: str, number: str, **changes: Any) -> dict[str, Any]:
    return {"companyCode": "C1", "employeeNumber": f"N-{mark}", "licenseNumber": number, **changes}


async def fill(stage: Stage) -> list[ImportRecord]:
    """Two persons with records of several types, former values, failed rows and large payloads."""
    records: list[ImportRecord] = []
    both = (MARK, OTHER)
    workers = [a_worker(f"P-{mark}", ExternalWorkerRef=f"X-{mark}") for mark in both]
    many = [a_worker(f"W{number:04d}", Surname="x" * 200) for number in range(150)]
    records.append(await stage.import_rows(WORKERS, [*workers, *many]))
    failing = [{**worker, "Gender": "?", "Surname": worker["PersonnelRef"]} for worker in workers]
    records.append(await stage.import_rows(WORKERS, [*failing, {"PersonnelRef": f"P-{MARK}"}]))
    changed = [{**worker, "Surname": f"New {worker['PersonnelRef']}"} for worker in workers]
    records.append(await stage.import_rows(WORKERS, changed))
    assignments = [an_assignment(f"A-{mark}", f"P-{mark}") for mark in both]
    moved = an_assignment("moved", f"P-{MARK}")
    records.append(await stage.import_rows(ASSIGNMENTS, [*assignments, moved]))
    moved = an_assignment("moved", f"P-{OTHER}")
    unknown = an_assignment("unknown", "P-unknown")
    only_key = {"EmployerRef": "E1", "AssignmentRef": f"A-{MARK}", "JobTitle": MARK}
    records.append(await stage.import_rows(ASSIGNMENTS, [moved, unknown, only_key]))
    licenses = [a_license(mark, number) for mark in both for number in ("L1", "L2")]
    records.append(await stage.import_rows(LICENSES, licenses))
    given = {**a_license(MARK, "L2"), "licenseTypeCode": None}
    records.append(await stage.import_rows(LICENSES, [given, a_license(MARK, "L1")]))
    for mark in both:
        await drop_copies(stage, mark)
    return records


async def drop_copies(stage: Stage, mark: str) -> None:
    """What dropped rows have left: of a refused file, of one whose rows were all skipped, and the
    receipt of the host for one whose name names the person.
    """
    path = f"{TENANT}/S/workers/{mark}"
    content, reason = f"Name,Code\nx,P-{mark}\n".encode(), f"the column P-{mark}".encode()
    for container, name, data in (
        (ROW_REJECTED, f"{path}-a.csv/drop-{mark}-1", content),
        (ROW_RESULTS, f"{path}-a.csv/drop-{mark}-1/result.json", reason),
        (ROW_DONE, f"{path}-b.csv/drop-{mark}-2", content),
        (HOST_CONTAINER, f"blobreceipts/host/row_drops/etag/{ROW_DROP}/{path} P-{mark}.csv", b""),
    ):
        await stage.blobs.put(container, name, [data])


def test_nothing_is_left_of_an_erased_person() -> None:
    async def scenario() -> None:
        stage = Stage()
        records = await fill(stage)
        assert len(stage.places_of(MARK)) > 15
        others = stage.places_of(OTHER)
        erasure = await stage.erase()
        assert stage.places_of(MARK) == []
        assert len(stage.places_of(OTHER)) >= len(others) - 1
        [(_, outcome, _)] = await stage.outcomes(erasure)
        assert outcome is Outcome.UPDATED
        [failing, other, without_employer] = await stage.outcomes(records[1])
        assert failing == (None, Outcome.FAILED, [9004])
        assert without_employer == (None, Outcome.FAILED, [9004])
        assert other[0] == f"P-{OTHER}"
        [(_, outcome, _)] = await stage.outcomes(await stage.erase())
        assert outcome is Outcome.UNCHANGED

    asyncio.run(scenario())


def test_a_row_that_spells_the_key_in_another_form_of_unicode_is_found() -> None:
    async def scenario() -> None:
        stage = Stage()
        # NFC makes a K of the sign of Kelvin; the second payload is a blob.
        for size in (1, 30_000):
            row = a_worker(f"P-Mar\u212a7q{size}", PersonnelNotes="secret" * size, Gender="?")
            record = await stage.import_rows(WORKERS, [row, a_worker("P1")])
            identity = Identity(IdentityKind.WORKER, ("E1", f"P-MarK7q{size}"))
            process = stage.process()
            erasure = await process.erasure.accept(TENANT, [identity])
            await process.chunks.process(
                ChunkMessage(erasure.tenant, erasure.number, erasure.import_id, 0)
            )
            assert stage.places_of("secret") == []
            current = await process.imports.read(TENANT, record.number)
            assert current is not None
            with pytest.raises(ConflictError, match="9004"):
                await process.retrying.retry(current, b"")

    asyncio.run(scenario())


def test_killed_at_any_write_the_next_run_completes_it() -> None:
    async def scenario() -> None:
        stage = Stage()
        await fill(stage)
        state = stage.state()
        for write in range(500):
            stage.restore(state)
            stage.requests.left, stage.requests.is_carried_out = write, write % 2 == 0
            try:
                await stage.erase()
            except KilledError:
                stage.requests.left = None
                record = await stage.erase()
                assert stage.places_of(MARK) == [], write
                [(_, outcome, _)] = await stage.outcomes(record)
                assert outcome in (Outcome.UPDATED, Outcome.UNCHANGED)
            else:
                assert write > 15
                return
        pytest.fail("the erasure never ended")

    asyncio.run(scenario())


def test_an_open_import_that_names_the_person_refuses_the_erasure() -> None:
    async def scenario() -> None:
        stage = Stage()
        await fill(stage)
        naming: list[tuple[ImportType, dict[str, Any]]] = [
            (WORKERS, {"EmployerRef": "E1", "PersonnelRef": f"P-{MARK}", "Surname": "New"}),
            (ASSIGNMENTS, an_assignment("new", f"P-{MARK}")),
            (ASSIGNMENTS, {"EmployerRef": "E1", "AssignmentRef": f"A-{MARK}"}),
            # An undo could give it back to the person.
            (ASSIGNMENTS, {"EmployerRef": "E1", "AssignmentRef": "moved"}),
            (LICENSES, a_license(MARK, "L9")),
        ]
        for kind, row in naming:
            record = await stage.accept(kind, [row])
            with pytest.raises(ConflictError, match=f"{record.import_id} .* is open and names"):
                await stage.erase()
            await stage.drain()
        await stage.accept(WORKERS, [a_worker(f"P-{OTHER}")])
        await stage.accept(ASSIGNMENTS, [an_assignment("A9", f"P-{OTHER}")])
        await stage.erase()
        await stage.drain()
        assert stage.places_of(MARK) == []

    asyncio.run(scenario())


def test_later_imports_wait_for_an_open_erasure_and_are_woken() -> None:
    async def scenario() -> None:
        stage = Stage()
        await fill(stage)
        erasure = await stage.process().erasure.accept(TENANT, PERSON)
        hired = await stage.accept(WORKERS, [a_worker(f"P-{MARK}", Surname="Hired again")])
        licensed = await stage.accept(LICENSES, [a_license(MARK, "new")])
        assert stage.queues.messages == []
        # The sweep leaves an erasure alone that goes on, and resumes one that does not.
        await stage.process().sweep.run()
        assert await stage.process().imports.open_of(TENANT)
        stage.clock.seconds += 3_600
        await stage.process().sweep.run()
        [(_, outcome, _)] = await stage.outcomes(erasure)
        assert outcome is Outcome.UPDATED
        assert {place.split()[0] for place in stage.places_of(MARK)} <= {"Imports"}
        await stage.drain()
        for record in (hired, licensed):
            [(_, outcome, _)] = await stage.outcomes(record)
            assert outcome is Outcome.NEW
        assert await stage.process().imports.open_of(TENANT) == []

    asyncio.run(scenario())


def test_a_retry_that_has_read_its_rows_before_an_erasure_is_refused() -> None:
    async def scenario() -> None:
        stage = Stage()
        records = await fill(stage)
        process = stage.process()
        parent = await process.imports.read(TENANT, records[1].number)
        assert parent is not None
        await stage.erase()
        with pytest.raises(ConflictError, match="were erased meanwhile"):
            await process.imports.check_not_erased(parent)
        current = await process.imports.read(TENANT, parent.number)
        assert current is not None
        child = await process.retrying.retry(current, b"")
        assert child.rows == 1
        erasure = await process.erasure.accept(TENANT, PERSON)
        with pytest.raises(ConflictError, match="are being erased"):
            await process.retrying.retry(current, b"")
        assert erasure.is_open

    asyncio.run(scenario())


def test_an_erasure_costs_the_same_few_requests_for_each_further_import() -> None:
    async def cost(imports: int) -> int:
        stage = Stage()
        await stage.import_rows(WORKERS, [a_worker(f"P-{MARK}")])
        for number in range(imports):
            rows = [a_worker(f"W{at:03d}", Surname=f"{number}" * 200) for at in range(150)]
            await stage.import_rows(WORKERS, rows)
        before = sum(stage.requests.counts.values())
        await stage.erase()
        return sum(stage.requests.counts.values()) - before

    async def scenario() -> None:
        one, few, more = await cost(1), await cost(4), await cost(7)
        assert more - few == few - one
        # Twice: the results, and the payload with its two chunks.
        assert few - one == 3 * 2 * 3

    asyncio.run(scenario())


def test_an_undo_leaves_out_the_rows_of_an_erased_person() -> None:
    async def scenario() -> None:
        stage = Stage()
        records = await fill(stage)
        await stage.erase()
        undone: Counter[str] = Counter()
        for record in records:
            process = stage.process()
            current = await process.imports.read(TENANT, record.number)
            assert current is not None
            try:
                undo = await process.undoing.undo(current)
            except ConflictError:
                undone["refused"] += 1
                continue
            await stage.drain()
            assert all(key is not None for key, _, _ in await stage.outcomes(undo))
            undone[record.type_name] += 1
        assert undone == {"refused": 2, "workers": 2, "assignments": 2, "licenses": 1}
        assert stage.places_of(MARK) == []

    asyncio.run(scenario())
