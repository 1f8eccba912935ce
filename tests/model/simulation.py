"""One random run: imports of one tenant on two processes, with everything that can go wrong.

Handlers die, lose their lease and go on as stragglers, messages come twice and in any order,
requests are lost or lose their answer, imports are cancelled and retried, calls die before they
have sent their messages. Then the sweep runs until every import is closed, and `judging` looks at
what is left.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from shared.auth.callers import Caller
from shared.auth.integrations import Integration
from shared.errors import ConflictError, InvalidRequestError, StorageUnavailableError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.import_type import OnExisting, Options
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.timesheets.definition import TIMESHEETS, TIMESHEETS_V2
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from shared.storage import import_records
from tests.memory_storage import MemoryBlobs, MemoryQueues, MemoryTables, Message
from tests.model.harness import (
    TENANT,
    CountedIds,
    Fate,
    ModelClock,
    Process,
    Turnstile,
    make_process,
    take_turns,
)

MAX_RECEIVED = 5
_MOST_STEPS = 20_000
_TURNS = 5


@dataclass(eq=False)
class Run:
    """Something that runs: a call, a handler with its message, or the sweep."""

    actor: int
    task: asyncio.Task[None]
    message: Message | None
    has_lease: bool = True


@dataclass
class Odds:
    """How much goes wrong in this run."""

    crashes: int
    stragglers: int
    duplicates: int
    poisons: int
    faults: float
    cancels: int
    retries: int
    undos: int
    slowness: float


@dataclass
class Simulation:
    """The world of one run."""

    make_tables: ClassVar[type[MemoryTables]] = MemoryTables
    handler_seconds: ClassVar[int] = 90
    """Beside six slow stragglers, an undo of records in two groups takes 40 s for its first row."""
    steps_between_sweeps: ClassVar[int] = 150
    """More often, and the messages of the sweeps crowd out the work."""

    seed: int
    random: random.Random = field(init=False)
    clock: ModelClock = field(default_factory=ModelClock)
    turnstile: Turnstile = field(default_factory=Turnstile)
    runs: list[Run] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    poisoned: set[tuple[str, int]] = field(default_factory=set)
    """Import id and number of each chunk that came to a poison queue."""
    repaired: set[int] = field(default_factory=set)
    """Imports of which a retry was refused, since no failed row was out."""
    calls: int = 0
    _actors: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.tables = self.make_tables(self.turnstile)
        self.queues = MemoryQueues(self.turnstile)
        self.blobs = MemoryBlobs(self.turnstile)
        ids = CountedIds()
        chunk_rows = self._chunk_rows()
        imports_at_once = random.Random(self.seed).choice([1, 2, 8])
        self.processes = [
            make_process(
                self.tables,
                self.blobs,
                self.queues,
                self.clock,
                ids,
                chunk_rows=chunk_rows,
                handler_seconds=self.handler_seconds,
                imports_at_once=imports_at_once,
            )
            for _ in range(2)
        ]
        pick = self.random
        self.odds = Odds(
            crashes=pick.choice([0, 2, 6]),
            stragglers=pick.choice([0, 2, 6]),
            duplicates=pick.choice([0, 1, 8]),
            poisons=pick.choice([0, 1, 3]),
            faults=pick.choice([0, 0, 0.02, 0.1]),
            cancels=pick.choice([0, 1, 3]),
            retries=pick.choice([0, 1, 3]),
            undos=pick.choice([0, 1, 2, 4]),
            slowness=pick.choice([0.5, 0.9, 0.98]),
        )
        self.wanted_calls = pick.randint(2, 5)

    def _chunk_rows(self) -> int:
        return self.random.choice([1, 1, 2, 3, 100])

    # -- what happens ------------------------------------------------------------------------

    async def play(self) -> None:
        """Run until every import is closed and nothing is left to do."""
        for step in range(1, _MOST_STEPS):
            await self._turn()
            if step % self.steps_between_sweeps == 0:
                self.clock.seconds += 70
                self._start_sweep()
            if self.calls == self.wanted_calls and not self.runs and not self.queues.messages:
                if not (self._open_imports() or self._try_undo() or self._try_again()):
                    return
                self.clock.seconds += 100
                self._start_sweep()
        raise AssertionError(f"seed {self.seed}: the run does not end")

    def _start_sweep(self) -> None:
        self._start(self._sweep, None)

    async def _turn(self) -> None:
        pick = self.random.random()
        self.clock.seconds += self.random.choice([0, 0, 0, 0.4, 3])
        if self.calls < self.wanted_calls and (pick < 0.05 or self._is_idle()):
            self.calls += 1
            self._start(self._call, None)
        elif pick < 0.15 and self.runs:
            self._disturb()
        elif self.queues.messages and (pick < 0.35 or not self.turnstile.waiting):
            self._deliver()
        elif self.turnstile.waiting:
            self._release()
        await take_turns(_TURNS)
        self._reap()

    def _is_idle(self) -> bool:
        return not self.runs and not self.queues.messages

    def _start(self, work: Callable[[Process], Awaitable[None]], message: Message | None) -> None:
        self._actors += 1
        process = self.random.choice(self.processes)
        task = self.turnstile.start(self._actors, lambda: work(process))
        self.runs.append(Run(self._actors, task, message))

    def _disturb(self) -> None:
        run = self.random.choice(self.runs)
        what = self.random.choice(["crash", "straggle", "duplicate", "cancel", "retry", "undo"])
        if what == "crash" and self.odds.crashes and self._may_fail(run):
            self.odds.crashes -= 1
            self.seen["crash"] += 1
            self._kill(run)
        elif what == "straggle" and self.odds.stragglers and run.message and run.has_lease:
            self.odds.stragglers -= 1
            self.seen["straggler"] += 1
            run.has_lease = False
            if self.odds.poisons and self.random.random() < 0.5:
                # The deliveries in between have died at once.
                self.odds.poisons -= 1
                self._return(replace(run.message, received=MAX_RECEIVED))
            else:
                self.queues.messages.append(run.message)
        elif what == "duplicate" and self.odds.duplicates and self.queues.messages:
            self.odds.duplicates -= 1
            self.queues.messages.append(self.random.choice(self.queues.messages))
        elif what == "cancel" and self.odds.cancels and (opened := self._open_imports()):
            self.odds.cancels -= 1
            self.seen["cancel"] += 1
            self._start(lambda process: self._cancel(process, self._one_to_cancel(opened)), None)
        elif what == "retry":
            self._try_again()
        elif what == "undo":
            self._try_undo()

    def _one_to_cancel(self, open_imports: list[str]) -> str:
        return self.random.choice(open_imports)

    def _try_again(self) -> bool:
        """Whether an import that has ended is being retried now."""
        failed = self._failed_imports()
        if self.random.random() < 0.5:
            failed = self._failed_imports("Undoes") or failed
        if not self.odds.retries or not failed:
            return False
        self.odds.retries -= 1
        self.seen["retry"] += 1
        number = self.random.choice(failed)
        self._start(lambda process: self._retry(process, number), None)
        return True

    def _try_undo(self) -> bool:
        """Whether an import that has ended is being undone now; often one of the last."""
        ended = self._effective_imports()
        if not self.odds.undos or not ended:
            return False
        self.odds.undos -= 1
        number = self.random.choice(ended[-self.random.choice([1, 3, 10]) :])
        self._start(lambda process: self._undo(process, number), None)
        return True

    def _may_fail(self, run: Run | None) -> bool:
        """Whether the run may die, or its requests may fail."""
        return True

    def _kill(self, run: Run) -> None:
        self.turnstile.kill(run.actor, run.task)
        self.runs.remove(run)
        if run.message and run.has_lease:
            self._return(run.message)

    def _deliver(self) -> None:
        messages = self.queues.messages
        message = messages.pop(self.random.randrange(len(messages)))
        received = Message(message.queue, message.text, message.received + 1)
        is_poison = message.queue.endswith("-poison")

        async def handle(process: Process) -> None:
            chunk = ChunkMessage.from_text(message.text)
            if is_poison:
                await process.chunks.end_as_failed(chunk)
            else:
                await process.chunks.process(chunk)

        self._start(handle, received)

    def _release(self) -> None:
        waiting = self.turnstile.waiting
        step = self.random.choice(waiting)
        slow = {run.actor for run in self.runs if not run.has_lease}
        if step.actor in slow and self.random.random() < self.odds.slowness:
            return
        waiting.remove(step)
        fate = Fate.DONE
        run = next((run for run in self.runs if run.actor == step.actor), None)
        if self.random.random() < self.odds.faults and self._may_fail(run):
            self.seen["fault"] += 1
            fate = self.random.choice([Fate.LOST, Fate.DONE_WITHOUT_ANSWER, Fate.REPEATED])
        if not step.released.done():
            step.released.set_result(fate)

    def _reap(self) -> None:
        for run in [run for run in self.runs if run.task.done()]:
            self.runs.remove(run)
            error = None if run.task.cancelled() else run.task.exception()
            if error is not None and not isinstance(error, StorageUnavailableError):
                raise error
            if error is not None and run.message and run.has_lease:
                self._return(run.message)

    def _return(self, message: Message) -> None:
        """Back to its queue, or to the poison queue after too many tries, as the host does."""
        if message.received >= MAX_RECEIVED and not message.queue.endswith("-poison"):
            self.seen["poison"] += 1
            chunk = ChunkMessage.from_text(message.text)
            self.poisoned.add((chunk.import_id, chunk.chunk))
            self.queues.messages.append(Message(f"{message.queue}-poison", message.text))
        else:
            self.queues.messages.append(message)

    # -- the work ----------------------------------------------------------------------------

    async def _call(self, process: Process) -> None:
        on_existing = self.random.choice([OnExisting.UPDATE, OnExisting.DEFAULT, OnExisting.ERROR])
        integration = Integration(TENANT, "S", "S", on_existing=on_existing)
        caller = Caller(TENANT, "S", "S", integration)
        kind = self.random.choice(
            [*[WORKERS] * 6, *[ASSIGNMENTS] * 3, TIMESHEETS, TIMESHEETS_V2, PLACEMENTS]
        )
        row = self._rows_of[kind.name]
        self.seen[kind.schema_name] += 1
        rows = [row(position) for position in range(self.random.randint(1, 5))]
        with suppress(StorageUnavailableError):
            await process.intake.accept(kind, caller, json.dumps(rows).encode())

    @property
    def _rows_of(self) -> Mapping[str, Callable[[int], dict[str, Any]]]:
        """How a row of each type is made."""
        return {
            WORKERS.name: self._worker,
            ASSIGNMENTS.name: self._assignment,
            TIMESHEETS.name: self._timesheet,
            PLACEMENTS.name: self._placement,
        }

    def _assignment(self, position: int) -> dict[str, Any]:
        pick = self.random
        row: dict[str, Any] = {
            "EmployerRef": pick.choice(["E1", "E1", "E2"]),
            "AssignmentRef": pick.choice(["A1", "A2", "A3"]),
            "PersonnelRef": pick.choice(["P1", "P2", "P3"]),
            "ClientRef": "C1",
            "DivisionRef": "D1",
            "DepartmentRef": "D1",
            "StartDate": "2026-01-01",
            "ExpectedEndDate": None,
            "ActualEndDate": None,
        }
        if pick.random() < 0.5:
            row["JobTitle"] = pick.choice(["Cook", "Clerk", None, f"T{self.calls}{position}"])
        if pick.random() < 0.1:
            del row["StartDate"]
        return row

    def _timesheet(self, position: int) -> dict[str, Any]:
        """With an optional reference, which a row may leave out, repeat, change or clear."""
        pick = self.random
        row: dict[str, Any] = {
            "EmployerRef": pick.choice(["E1", "E1", "E2"]),
            "TimesheetNumber": pick.choice(["N1", "N2"]),
            "PersonnelRef": pick.choice(["P1", "P2", "P3"]),
            "ClientRef": pick.choice(["C1", "C2"]),
            "TimesheetDate": "2026-01-01",
            "AdHocLines": [{"RateCode": pick.choice(["A", f"T{self.calls}{position}"])}],
        }
        if pick.random() < 0.6:
            row["AssignmentRef"] = pick.choice(["A1", "A2", "A3", None])
        if pick.random() < 0.2:
            row["AdHocLines"][0]["Units"] = None
        return row

    def _placement(self, position: int) -> dict[str, Any]:
        pick = self.random
        row: dict[str, Any] = {
            "EmployerRef": pick.choice(["E1", "E1", "E2"]),
            "PlacementRef": pick.choice(["L1", "L2"]),
            "JobTitle": pick.choice(["Cook", f"T{self.calls}{position}"]),
        }
        if pick.random() < 0.5:
            row["PersonnelRef"] = pick.choice(["P1", "P2", "P3", None])
        return row

    def _worker(self, position: int) -> dict[str, Any]:
        pick = self.random
        row: dict[str, Any] = {
            "EmployerRef": pick.choice(["E1", "E1", "E2"]),
            "PersonnelRef": pick.choice(["P1", "P2", "P3"]),
        }
        if pick.random() < 0.7:
            row["Surname"] = pick.choice(["Ada", "Bo"])
        if pick.random() < 0.5:
            row["Title"] = pick.choice(["Mr", "Ms", None, f"T{self.calls}{position}"])
        if pick.random() < 0.4:
            row["TelephoneNumber"] = pick.choice(["1", "2", None])
        if pick.random() < 0.3:
            row["ExternalWorkerRef"] = pick.choice(["X1", "X2", None])
        if pick.random() < 0.1:
            row["Gender"] = "not a number"
        if pick.random() < 0.05:
            del row["PersonnelRef"]
        return row

    async def _sweep(self, process: Process) -> None:
        await process.sweep.run()

    async def _cancel(self, process: Process, import_id: str) -> None:
        record = await process.imports.find(TENANT, import_id)
        if record is not None:
            with suppress(ConflictError):
                await process.cancelling.cancel(record)

    async def _retry(self, process: Process, number: int) -> None:
        """Retry an import; some of its rows are corrected, to whatever it may be."""
        record = await process.imports.read(TENANT, number)
        assert record is not None
        row = self._rows_of.get(record.type_name, self._assignment)
        # The rows of an undo cannot be corrected.
        share = 0 if record.is_undo else 0.4
        with suppress(StorageUnavailableError):
            corrected = [
                {"index": failed.index, "row": row(failed.index), "messages": []}
                async for rows in process.failed_rows.chunks(record)
                for failed in rows
                if self.random.random() < share
            ]
            try:
                await process.retrying.retry(record, json.dumps(corrected).encode())
            except InvalidRequestError:
                self.seen["came in meanwhile"] += 1
            except ConflictError:
                self.seen["nothing is out"] += 1
                self.repaired.add(number)

    async def _undo(self, process: Process, number: int) -> None:
        record = await process.imports.read(TENANT, number)
        assert record is not None
        with suppress(StorageUnavailableError):
            try:
                await process.undoing.undo(record)
            except ConflictError:
                self.seen["nothing to undo"] += 1
            else:
                self.seen["undo of an undo" if record.is_undo else "undo"] += 1

    def _effective_imports(self) -> list[int]:
        """The imports that have ended, have changed something and are not undone."""
        return sorted(
            import_records.number_of(row)
            for (_, row), entity in self.tables.tables["Imports"].items()
            if row.startswith("n|")
            and entity.text("EndedAt")
            and any(entity.number(name) for name in ("New", "Updated", "Removing"))
            and not entity.text("UndoneBy")
        )

    def _failed_imports(self, column: str = "Failed") -> list[int]:
        """The imports that have ended with a failed row, and of which the column is not 0."""
        return [
            import_records.number_of(row)
            for (_, row), entity in self.tables.tables["Imports"].items()
            if row.startswith("n|")
            and entity.text("EndedAt")
            and entity.number("Failed")
            and entity.number(column)
        ]

    def _open_imports(self) -> list[str]:
        return [
            entity.text("ImportId")
            for (_, row), entity in self.tables.tables["Imports"].items()
            if row.startswith("open|")
        ]


# The model without the sweep: what a message can bring to its end must not need anything else.
#
# Handlers die, fail and go on as stragglers as ever, since their message comes back. Calls and
# cancels do not: where they die, messages are missing, and only the sweep can send those again. So
# an import that is still open when nothing runs any more was not woken by what it waited for.


class UnsweptSimulation(Simulation):
    """Many imports of few records, and no sweep.

    An import is cancelled more often while it waits, so that what waits for it must go on waiting
    for the imports before it.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wanted_calls = self.random.randint(3, 9)

    def _start_sweep(self) -> None:
        if not self.runs and not self.queues.messages:
            waiting = self.tables.in_range("Imports", TENANT, "wait|", "wait|~")
            stuck = f"{self._open_imports()} open, {[entity.row for entity in waiting]} noted"
            assert not self._open_imports(), f"stuck without a message: {stuck}"

    def _may_fail(self, run: Run | None) -> bool:
        return run is not None and run.message is not None and run.has_lease

    def _one_to_cancel(self, open_imports: list[str]) -> str:
        waiting = self.tables.in_range("Imports", TENANT, "wait|", "wait|~")
        ids = [entity.text("ImportId") for entity in waiting] + open_imports
        return self.random.choice(ids)


# The model with imports of licenses alone, of one company, whose keys and employees meet.


KEYS = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(1, 4)]


class LicenseSimulation(Simulation):
    """Calls of every action, on few employees; a chunk of them takes many requests."""

    handler_seconds = 300
    steps_between_sweeps = 800

    def __post_init__(self) -> None:
        super().__post_init__()
        self.odds.undos = self.random.choice([0, 3, 6])
        self.wanted_calls += self.odds.undos // 3

    def _disturb(self) -> None:
        if self.random.random() < 0.1:
            self._try_undo()
        else:
            super()._disturb()

    async def _call(self, process: Process) -> None:
        action = self.random.choice(list(LicenseAction))
        rows = [self._license(position) for position in range(self.random.randint(1, 6))]
        with suppress(StorageUnavailableError):
            planned = await process.intake.read(LICENSES, TENANT, json.dumps(rows).encode())
            options = Options(action=action.value)
            draft = process.intake.draft(LICENSES, TENANT, planned, options)
            await process.intake.accept_planned(LICENSES, draft, planned)

    def _license(self, position: int) -> dict[str, Any]:
        pick = self.random
        row: dict[str, Any] = {"companyCode": "C1"}
        if pick.random() < 0.85:
            row["employeeNumber"] = pick.choice(["1", "2"])
            row["licenseNumber"] = pick.choice(["A", "B", "C"])
        if pick.random() < 0.4:
            row["licenseKey"] = pick.choice(KEYS)
        if pick.random() < 0.7:
            row["notes"] = pick.choice(["x", "y", None, f"n{self.calls}{position}"])
        if pick.random() < 0.3:
            content = pick.choice(["QQ==", "Qg==", "Qw=="])
            row["documents"] = [{"name": pick.choice(["d1", "d2"]), "content": content}]
        if pick.random() < 0.05:
            row["issuedDate"] = "no date"
        if pick.random() < 0.03:
            del row["companyCode"]
        return row
