"""References that a row may leave out: a row is judged by itself and by its stored record alone.

The type of these tests has optional references, which none in the catalogue has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest

from shared.app import fill_indexes
from shared.clock import RandomIds, SystemClock
from shared.imports.documents.model import WorkerKey
from shared.imports.documents.store import WorkerSearch
from shared.imports.import_type import (
    FoundBy,
    ImportType,
    Options,
    ReferenceField,
    ReferenceKind,
)
from shared.imports.merge_rules import merging_rules
from shared.imports.model import Mark, MergeKind, Record, Text
from shared.imports.model import Reference as ReferenceText
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.results import Origins, Outcome, RowResult
from shared.imports.workers.definition import EXTERNAL, PERSONNEL, WORKERS
from shared.services.admin.reference_lists import ReferenceLists
from shared.services.background import to_thread_if_large
from shared.services.chunk_messages import messages_for
from shared.services.dry_run import NothingOpen, WhatIfTables
from shared.services.record_processor import RecordProcessor
from shared.services.references import EarlierImports, ReferenceReader
from shared.storage.entities import encode
from shared.storage.import_records import LAST_NUMBER, ImportRecord
from shared.storage.ports import Delete, Entity, Tables
from shared.storage.record_indexes import NamedRecord, NameIndex
from tests.builders import Row, a_worker, body_of
from tests.integration.harness import CountedTables, Harness, play, set_columns
from tests.memory_storage import ForwardingTables

pytestmark = pytest.mark.integration


class Desk(Record):
    """A nested object that merges per property."""

    merge_kind = MergeKind.PER_PROPERTY

    Room: Text | None = None
    KeeperRef: ReferenceText | None = None


class Member(Record):
    """An element of a list."""

    MemberRef: ReferenceText


class Team(Record):
    """A record with optional references to workers."""

    EmployerRef: ReferenceText
    TeamRef: ReferenceText
    Name: Annotated[Text, Mark.IN_RECORD] = ""
    LeaderRef: ReferenceText | None = None
    GuestEmployerRef: ReferenceText | None = None
    GuestRef: ReferenceText | None = None
    Office: Desk | None = None
    Members: list[Member] | None = None


TEAMS = ImportType(
    name="teams",
    version=1,
    table="Assignments",
    contract=PAY_AND_BILL,
    load_rules=lambda: merging_rules(
        model=Team,
        title="Teams",
        key_fields=("EmployerRef", "TeamRef"),
        record_id_fields=("TeamRef",),
        exists=10001,
        review=lambda _sent, _merged: (),
        columns=(),
    ),
    references=(
        ReferenceField("LeaderRef", WORKERS),
        ReferenceField("GuestRef", WORKERS, "GuestEmployerRef"),
        ReferenceField("Office.KeeperRef", WORKERS),
        ReferenceField("Members[].MemberRef", WORKERS),
    ),
)


def a_team(reference: str, **fields: Any) -> Row:
    return {"EmployerRef": "E1", "TeamRef": reference, "Name": "Crew"} | fields


@dataclass
class Teams:
    """Imports of teams, worked on in one chunk."""

    stage: Harness

    async def accept(self, rows: Sequence[Row]) -> ImportRecord:
        intake, tenant = self.stage.gateway.intake, self.stage.sender.tenant
        planned = await intake.read(TEAMS, tenant, body_of(list(rows)))
        draft = intake.draft(TEAMS, tenant, planned, Options())
        lines = b"".join(planned.lines()).decode()
        return await self.stage.gateway.imports.accept(replace(draft, inline=lines))

    async def run(self, record: ImportRecord) -> list[RowResult]:
        """What one handler of the import's chunk reports; rows that wait are missing."""
        gateway = self.stage.gateway
        work = self._work(gateway.account.tables, gateway.imports)
        return await work.run(record, record.inline.encode(), _never_stops)

    async def dry_run(self, rows: Sequence[Row]) -> list[list[int]]:
        intake, tenant = self.stage.gateway.intake, self.stage.sender.tenant
        planned = await intake.read(TEAMS, tenant, body_of(list(rows)))
        draft = replace(
            intake.draft(TEAMS, tenant, planned, Options()), number=LAST_NUMBER, inline=""
        )
        work = self._work(WhatIfTables(self.stage.gateway.account.tables), NothingOpen())
        return codes(await work.run(draft, b"".join(planned.lines()), _never_stops))

    async def imported(self, *rows: Row) -> list[list[int]]:
        """The message ids of each row; a dry run before says the same."""
        foretold = await self.dry_run(rows)
        results = await self.run(await self.accept(rows))
        assert codes(results) == foretold
        return foretold

    def _work(self, tables: Tables, earlier: EarlierImports) -> RecordProcessor:
        clock, ids = SystemClock(), self.stage.gateway.intake._ids
        return RecordProcessor(
            tables=tables,
            blobs=self.stage.gateway.account.blobs,
            imports=earlier,
            references=ReferenceReader(tables, earlier, ReferenceLists(tables, clock, ids, 0)),
            clock=clock,
            offload=to_thread_if_large,
            type_of={TEAMS.name: TEAMS}.__getitem__,
        )


def codes(results: Sequence[RowResult]) -> list[list[int]]:
    """The message ids of each row, in the order of the payload."""
    ordered = sorted(results, key=lambda result: result.index)
    return [[message.id for message in result.messages] for result in ordered]


def with_teams(storage: str, scenario: Callable[[Teams], Awaitable[None]]) -> None:
    """Workers W1 and W2 are stored with E1, and G1 with E2."""

    async def run(stage: Harness) -> None:
        await stage.accept(
            [a_worker("W1"), a_worker("W2"), {**a_worker("G1"), "EmployerRef": "E2"}]
        )
        await stage.drain()
        await scenario(Teams(stage))

    play(storage, run)


FULL: Row = {
    "LeaderRef": "W1",
    "Office": {"Room": "1", "KeeperRef": "W2"},
    "Members": [{"MemberRef": "W1"}],
    "GuestEmployerRef": "E2",
    "GuestRef": "G1",
}


def test_a_stored_reference_is_known_where_a_row_does_not_repeat_it(delivered: str) -> None:
    async def scenario(teams: Teams) -> None:
        assert await teams.imported(a_team("T1", **FULL), a_team("T2", **FULL)) == [[], []]
        assert await teams.imported(a_team("T1", Name="Night crew")) == [[]]
        assert await teams.imported(a_team("T1", Office={"Room": "2"}), a_team("T2")) == [
            [],
            [1103],
        ]
        assert await teams.imported(a_team("T1", LeaderRef=None, Name="Day crew")) == [[]]

    with_teams(delivered, scenario)


def test_a_stored_reference_stays_known_when_its_record_is_gone(delivered: str) -> None:
    async def scenario(teams: Teams) -> None:
        assert await teams.imported(a_team("T1", **FULL), a_team("T2", **FULL)) == [[], []]
        await _remove_worker(teams.stage, "W1")
        rows = [
            a_team("T1", Name="Night crew"),
            a_team("T2", Name="Night crew", LeaderRef="W1"),
            a_team("T3", LeaderRef="W1"),
        ]
        for some in (rows, rows[:1], rows[1:]):
            codes = await teams.dry_run(some)
            expected = [[] if row is rows[0] else [2001] for row in some]
            assert codes == expected, "whatever its neighbours name"
        assert await teams.imported(*rows) == [[], [2001], [2001]]

    with_teams(delivered, scenario)


def test_a_row_is_judged_by_what_it_and_its_stored_record_name_together(delivered: str) -> None:
    async def scenario(teams: Teams) -> None:
        stored = [a_team(f"T{at}", GuestRef="W1") for at in range(4)]
        assert await teams.imported(*stored) == [[]] * 4
        rows = [
            a_team("T0", GuestEmployerRef="E2"),
            a_team("T1", GuestEmployerRef="E2", GuestRef="G1"),
            a_team("T2", GuestRef="W2"),
            a_team("T3", GuestEmployerRef="E1", Name="Night crew"),
        ]
        expected: list[list[int]] = [[2001], [], [], []]
        for row, codes in zip(rows, expected, strict=True):
            assert await teams.dry_run([row]) == [codes], "alone"
        assert await teams.imported(*rows) == expected
        assert await teams.imported(a_team("T1", GuestRef="W1")) == [[2001]], "not with E2"

    with_teams(delivered, scenario)


def test_rows_of_one_record_are_judged_one_after_another(delivered: str) -> None:
    async def scenario(teams: Teams) -> None:
        rows = [
            a_team("T1", LeaderRef="W9"),
            a_team("T1", LeaderRef="W1"),
            a_team("T1", Name="Night crew"),
            a_team("T1", LeaderRef="W9", Name="Day crew"),
            a_team("T1", Members=[{"MemberRef": "W2"}, {"MemberRef": "W8"}]),
        ]
        assert await teams.imported(*rows) == [[2001], [1102], [], [2001], [2001]]

    with_teams(delivered, scenario)


def test_only_a_row_that_names_what_may_come_waits(delivered: str) -> None:
    async def scenario(teams: Teams) -> None:
        stored = [a_team(f"T{at}", LeaderRef="W1", GuestEmployerRef="E2") for at in range(3)]
        assert await teams.imported(*stored) == [[]] * 3
        await _remove_worker(teams.stage, "W1")
        workers = await teams.stage.accept_quietly([{**a_worker("N1"), "EmployerRef": "E2"}])
        rows = [
            a_team("T0", Name="Night crew"),
            a_team("T1", GuestRef="N1"),
            a_team("T2", LeaderRef="W9"),
            a_team("T2", Name="Night crew"),
            a_team("T3", LeaderRef="W2"),
        ]
        record = await teams.accept(rows)
        results = await teams.run(record)
        assert [result.index for result in results] == [0, 4], "the others wait"
        await _work_on(teams.stage, workers)
        again = await teams.run(record)
        assert codes(again) == [[], [], [2001], [], []]
        assert await teams.run(record) == again, "a redelivery says the same"

    with_teams(delivered, scenario)


def test_a_retried_row_that_does_not_repeat_a_reference_goes_in(delivered: str) -> None:
    async def scenario(teams: Teams) -> None:
        first = await teams.accept([a_team("T1", LeaderRef="W1"), a_team("T2", LeaderRef="W9")])
        assert codes(await teams.run(first)) == [[], [2001]]
        same = await teams.accept([a_team("T1", Name="Night crew"), a_team("T2", LeaderRef="W9")])
        retry = replace(same, origins=Origins((first.number, first.number)))
        results = await teams.run(retry)
        assert [result.outcome for result in results] == [Outcome.UPDATED, Outcome.FAILED]
        assert codes(results) == [[], [2001]]

    with_teams(delivered, scenario)


async def _work_on(stage: Harness, record: ImportRecord) -> None:
    for message in messages_for(record, [], range(len(record.chunks))):
        await stage.gateway.chunks.process(message)


async def _remove_worker(stage: Harness, reference: str) -> None:
    stored = await stage.stored(reference)
    assert stored is not None
    place = Entity(stored.key.partition, stored.key.row, {})
    await stage.gateway.account.tables.write("Workers", Delete(place))


async def _never_stops() -> None:
    """No cancel and no end of the time."""


# Reference lists that are lost in part, or replaced while they are read, fail no row wrongly.


HEAD = "h|division"
HEADS: Mapping[str, Mapping[str, Any]] = {
    "another generation": {"Generation": "0b5c"},
    "no generation": {"Generation": None},
    "no number of values": {"Values": "many"},
    "a larger number of values": {"Values": 7},
}


class InterruptedTables(ForwardingTables):
    """The real tables; `interrupt` is awaited once, before values of a list are read or removed."""

    def __init__(self, tables: Tables, interrupt: Callable[[], Awaitable[None]]) -> None:
        super().__init__(tables)
        self.interrupt: Callable[[], Awaitable[None]] | None = interrupt

    async def query(self, *keys: Any, **options: Any) -> list[Entity]:
        if len(keys) > 2 and str(keys[2]).startswith("v|") and self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            await interrupt()
        return await super().query(*keys, **options)


def lists_on(tables: Tables) -> ReferenceLists:
    return ReferenceLists(tables, SystemClock(), RandomIds(), cache_seconds=0)


@pytest.mark.parametrize("way", [*HEADS, "a value that was lost"])
def test_rows_are_not_judged_by_a_list_that_cannot_be_read(delivered: str, way: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant, lists = stage.sender.tenant, stage.gateway.lists
        await lists.load(tenant, ReferenceKind.DIVISION, ["D1", "D2"])
        await lists.load(tenant, ReferenceKind.DEPARTMENT, ["Q1"])
        if way in HEADS:
            await set_columns(delivered, "References", tenant, HEAD, HEADS[way])
        else:
            tables = stage.gateway.account.tables
            entities = await tables.query("References", tenant, "v|division|", "v|division|~")
            await tables.write("References", Delete(entities[0]))
        rows = [
            a_worker("P1", DivisionRef="D9"),
            a_worker("P2"),
            a_worker("P3", DepartmentRef="Q1"),
            a_worker("P4", DepartmentRef="Q2"),
        ]
        record = await stage.accept(rows)
        await stage.drain()
        assert await stage.codes(record) == [[9001], [], [], [2001]]
        [message] = (await stage.results(record))[0].messages
        assert "ask the operator of the gateway to load it again" in message.text

        await lists.load(tenant, ReferenceKind.DIVISION, ["D9"])
        child = await stage.gateway.retrying.retry(await stage.again(record), b"")
        await stage.drain()
        assert await stage.codes(child) == [[], [2001]]

    play(delivered, scenario, cache_seconds=0)


def test_a_list_that_is_replaced_while_it_is_read_is_read_again(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant
        await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D1", "D2"])

        async def replace_list() -> None:
            await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D2", "D3"])

        tables = InterruptedTables(stage.gateway.account.tables, replace_list)
        lists = await lists_on(tables).for_tenant(tenant)
        assert lists.unreadable == frozenset()
        allowed = [lists.allows(ReferenceKind.DIVISION, value) for value in ("D1", "D2", "D3")]
        assert allowed == [False, True, True]

    play(delivered, scenario)


def test_two_loads_at_once_leave_one_whole_list(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant

        async def load_another() -> None:
            await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D2", "D3"])

        # The other call has written its values and its head when this one removes what is old.
        tables = InterruptedTables(stage.gateway.account.tables, load_another)
        await lists_on(tables).load(tenant, ReferenceKind.DIVISION, ["D1"])
        lists = await stage.gateway.lists.for_tenant(tenant)
        assert lists.unreadable == frozenset()
        assert lists.values["division"] in ({"D1"}, {"D2", "D3"})

    play(delivered, scenario, cache_seconds=0)


def test_a_list_of_an_earlier_version_counts(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        tenant = stage.sender.tenant
        await stage.gateway.lists.load(tenant, ReferenceKind.DIVISION, ["D1"])
        await set_columns(delivered, "References", tenant, HEAD, {"Values": None})
        record = await stage.accept(
            [a_worker("P1", DivisionRef="D1"), a_worker("P2", DivisionRef="D2")]
        )
        await stage.drain()
        assert await stage.codes(record) == [[], [2001]]

    play(delivered, scenario, cache_seconds=0)


# A worker is found by its name without asking every employer, whatever dies in between.


EMPLOYERS = 60


async def find_workers(stage: Harness, name: str) -> tuple[list[tuple[str, str]], int]:
    """Employer and reference of the workers that the name means, and how many reads it took."""
    tables = CountedTables(stage.gateway.account.tables)
    search = WorkerSearch(tables, NameIndex(tables))
    workers = await search.find(stage.sender.tenant, name)
    return [
        (worker.employer, worker.personnel) for worker in workers
    ], tables.reads + tables.queries


async def employ(stage: Harness, *rows: dict[str, Any]) -> None:
    """Import the workers and wait for the end."""
    await stage.accept(list(rows))
    await stage.drain()


def test_the_number_of_employers_does_not_matter(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(
            stage,
            *(
                a_worker("P1", EmployerRef=f"E{at}", ExternalWorkerRef=f"X{at}")
                for at in range(EMPLOYERS)
            ),
            a_worker("P2", EmployerRef="E7"),
        )
        assert await find_workers(stage, "X41") == ([("E41", "P1")], 4)
        assert await find_workers(stage, "P2") == ([("E7", "P2")], 6)
        ambiguous, reads = await find_workers(stage, "P1")
        assert len(ambiguous) == 2
        assert reads < 15
        assert (await find_workers(stage, "P3"))[0] == []

    play(delivered, scenario)


def test_a_reference_that_was_given_up_finds_its_worker_no_more(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(stage, a_worker("P1", ExternalWorkerRef="X1"))
        await employ(stage, a_worker("P1", ExternalWorkerRef="X2"))
        await employ(stage, a_worker("P2", ExternalWorkerRef="X1"))
        assert (await find_workers(stage, "X1"))[0] == [("E1", "P2")]
        assert (await find_workers(stage, "X2"))[0] == [("E1", "P1")]
        await employ(stage, a_worker("P2", ExternalWorkerRef=None))
        assert (await find_workers(stage, "X1"))[0] == []
        await employ(stage, a_worker("P1", ExternalWorkerRef="X1"))
        assert (await find_workers(stage, "X1"))[0] == [("E1", "P1")]

    play(delivered, scenario)


def test_an_external_reference_comes_before_a_reference_of_another_employer(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(
            stage,
            a_worker("77", EmployerRef="E1"),
            a_worker("P2", EmployerRef="E2", ExternalWorkerRef="77"),
            a_worker("88", EmployerRef="E3", ExternalWorkerRef="88"),
        )
        assert (await find_workers(stage, "77"))[0] == [("E2", "P2")]
        assert (await find_workers(stage, "88"))[0] == [("E3", "88")]

    play(delivered, scenario)


def test_a_handler_that_died_between_index_and_record_leaves_nothing_to_be_found(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        index = NameIndex(stage.gateway.account.tables)
        await employ(stage, a_worker("P1"))
        names = [
            NamedRecord(FoundBy(EXTERNAL, "X9"), "E1", "P9"),
            NamedRecord(FoundBy(PERSONNEL, "P9"), "E1", "P9"),
            NamedRecord(FoundBy(EXTERNAL, "X9"), "E1", "P1"),
        ]
        await index.note(WORKERS, stage.sender.tenant, names)
        assert (await find_workers(stage, "X9"))[0] == (await find_workers(stage, "P9"))[0] == []
        await employ(stage, a_worker("P9", ExternalWorkerRef="X9"))
        assert (await find_workers(stage, "X9"))[0] == [("E1", "P9")]

    play(delivered, scenario)


def test_workers_of_before_the_index_are_found_and_are_entered_by_the_timer(
    delivered: str,
) -> None:
    async def scenario(stage: Harness) -> None:
        tables, tenant = stage.gateway.account.tables, stage.sender.tenant
        await employ(
            stage,
            a_worker("P1", EmployerRef="E1", ExternalWorkerRef="X1"),
            a_worker("P1", EmployerRef="E2", ExternalWorkerRef="P1"),
        )
        for entity in await tables.query("Workers", encode(tenant), "h", "~"):
            await tables.write("Workers", Delete(Entity(entity.partition, entity.row, {})))
        await employ(stage, a_worker("P3", EmployerRef="E3"))
        for _ in range(2):
            assert (await find_workers(stage, "X1"))[0] == [("E1", "P1")]
            assert (await find_workers(stage, "P1"))[0] == [("E2", "P1")]
            assert (await find_workers(stage, "P3"))[0] == [("E3", "P3")]
            await fill_indexes(stage.gateway, tenant)
        assert (await find_workers(stage, "X1"))[1] == 4

    play(delivered, scenario)


def test_a_dry_run_leaves_no_name_behind(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        kind, gateway, tenant = WORKERS, stage.gateway, stage.sender.tenant
        planned = await gateway.intake.read(
            kind, tenant, b'[{"EmployerRef":"E1","PersonnelRef":"P1","Surname":"S"}]'
        )
        draft = gateway.intake.draft(kind, tenant, planned, stage.sender.caller.options)
        await gateway.dry_runs.judge(kind, draft, planned, with_changes=False)
        assert await gateway.account.tables.query("Workers", encode(tenant)) == []

    play(delivered, scenario)


def test_the_names_of_many_workers_are_packed_and_found(delivered: str) -> None:
    async def scenario(stage: Harness) -> None:
        await employ(stage, *(a_worker(f"P{at}", ExternalWorkerRef=f"X{at}") for at in range(300)))
        answers = await asyncio.gather(*(find_workers(stage, f"X{at}") for at in range(0, 300, 37)))
        assert [answer for answer, _ in answers] == [[("E1", f"P{at}")] for at in range(0, 300, 37)]
        assert WorkerKey("E1", "P0") in await WorkerSearch(
            stage.gateway.account.tables, NameIndex(stage.gateway.account.tables)
        ).find(stage.sender.tenant, "P0")

    play(delivered, scenario)
