"""The erasure of a person under every interleaving that the model can think of.

The reference applies the rows as they were sent, one import after another, and removes everything
of the person at the place of an erasure. No record of the person may be there that an import before
the last erasure wrote, and no row or result of such an import may name the person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from shared.errors import ConflictError, StorageUnavailableError
from shared.imports.import_type import Document
from shared.imports.json_rows import fold_names, read_lines
from shared.imports.persons import PERSON_ERASURE, Identity, IdentityKind
from shared.imports.registry import import_type
from shared.imports.results import Outcome, is_erased
from shared.services.chunk_messages import ChunkMessage
from shared.services.import_log import AcceptanceCheck
from shared.services.persons.erasure import PersonErasure
from shared.services.persons.search import PersonSearch
from shared.storage import import_records
from shared.storage.import_records import ImportRecord
from shared.storage.ports import Delete, Entity, Insert, Operation
from tests.memory_storage import MemoryTables
from tests.model.harness import TENANT, Process, run_model
from tests.model.judging import judge_counts, judge_ends, judge_stored, records_of, results_of
from tests.model.simulation import Simulation
from tests.model.test_order import FIRST, RUNS

PERSON = [Identity(IdentityKind.WORKER, ("E1", "P1"))]
Key = tuple[str, ...]


class CapturingTables(MemoryTables):
    """Keeps every import as it was accepted, since an erasure overwrites rows."""

    def __init__(self, gate: Any) -> None:
        super().__init__(gate)
        self.accepted: dict[str, ImportRecord] = {}

    def _written(self, operation: Operation, stored: Entity | None) -> Entity:
        entity = super()._written(operation, stored)
        if isinstance(operation, Insert) and entity.row.startswith("n|"):
            record = import_records.from_entity(entity)
            self.accepted[record.import_id] = record
        return entity


class ErasureSimulation(Simulation):
    """Imports of few records, and erasures of one of the workers."""

    make_tables = CapturingTables
    # An erasure takes many requests, so handlers are slow beside it.
    handler_seconds = 300
    steps_between_sweeps = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        self.odds.undos = 0
        self.erasures = self.random.choice([1, 2, 4])
        self.wanted_calls += 2

    def _disturb(self) -> None:
        if self.random.random() < 0.15:
            self._try_erase()
        else:
            super()._disturb()

    def _try_again(self) -> bool:
        return super()._try_again() or self._try_erase()

    def _try_erase(self) -> bool:
        if not self.erasures:
            return False
        self.erasures -= 1
        self._start(self._erase, None)
        return True

    async def _erase(self, process: Process) -> None:
        with suppress(StorageUnavailableError):
            try:
                record = await process.erasure.accept(TENANT, PERSON)
            except ConflictError:
                self.seen["erasure refused"] += 1
                return
            self.seen["erasure"] += 1
            await process.chunks.process(
                ChunkMessage(record.tenant, record.number, record.import_id, 0)
            )


def judge(world: ErasureSimulation) -> None:
    """Raises AssertionError with what is wrong."""
    assert isinstance(world.tables, CapturingTables)
    records = records_of(world.tables)
    documents: dict[Key, Document] = {}
    last_erasure = max(
        (each.number for each in records if each.type_name == PERSON_ERASURE.name), default=0
    )
    for record in records:
        results = results_of(world.tables, record)
        judge_counts(record, results)
        judge_ends(world, record)
        accepted = world.tables.accepted[record.import_id]
        if record.type_name == PERSON_ERASURE.name:
            assert results[0].outcome is not Outcome.FAILED
            assert "identities" not in dict(read_lines(record.inline.encode()))[0]
            _erase(documents)
            continue
        _follow(accepted, {index: row.outcome for index, row in results.items()}, documents)
        rows, sent = _rows(record), _rows(accepted)
        assert rows.keys() == sent.keys()
        for index, row in rows.items():
            if record.number < last_erasure and _is_of_person(sent[index]):
                assert row == {}, f"row {index} of import {record.number} names the person"
                assert is_erased(results[index]) or results[index].outcome is Outcome.UNCHANGED
                assert not any(results[index].key)
            elif sent[index].get("EmployerRef") != "E1":
                assert row == sent[index], f"row {index} of import {record.number} is another one"
    judge_stored(world.tables, documents)


def _erase(documents: dict[Key, Document]) -> None:
    """Remove everything of the person."""
    assignments = {
        key[2]
        for key, document in documents.items()
        if key[0] == "assignments" and _is_of_person(document)
    }
    for key, document in list(documents.items()):
        is_by_assignment = document["EmployerRef"] == "E1" and (
            document.get("AssignmentRef") in assignments and key[0] != "assignments"
        )
        if _is_of_person(document) or is_by_assignment:
            del documents[key]


def _follow(
    record: ImportRecord, outcomes: Mapping[int, Outcome], documents: dict[Key, Document]
) -> None:
    """Do what each row that took effect did."""
    kind = import_type(record.type_name, record.type_version)
    rules = kind.record_rules
    for index, row in sorted(_rows(record).items()):
        if not outcomes[index].took_effect:
            continue
        place = rules.identify(fold_names(row))
        assert place is not None
        key = (record.type_name, place.group, place.reference)
        decision = rules.decide(rules.read(index, row), documents.get(key), record.options)
        assert decision.outcome is outcomes[index], (
            f"I4: import {record.number} row {index} says {outcomes[index]}, in order "
            f"{decision.outcome}"
        )
        if decision.document is not None:
            documents[key] = decision.document


def _rows(record: ImportRecord) -> dict[int, dict[str, Any]]:
    return dict(read_lines(record.inline.encode()))


def _is_of_person(row: Mapping[str, Any]) -> bool:
    return (row.get("EmployerRef"), row.get("PersonnelRef")) == ("E1", "P1")


def _play(seed: int) -> ErasureSimulation:
    world = ErasureSimulation(seed)
    run_model(world.play())
    return world


@pytest.mark.timeout(120 + RUNS)
def test_an_erasure_leaves_what_the_person_never_having_been_there_would_have_left() -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS // 8):
        world = _play(seed)
        try:
            judge(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += world.seen
    assert {"crash", "straggler", "fault", "cancel", "retry", "erasure", "erasure refused"} <= {
        *seen
    }


# Rules that are broken on purpose: the model must find each of them.


class TablesWithoutBarriers(CapturingTables):
    """An erasure holds back no other import."""

    def _apply(self, table: str, operations: Sequence[Operation]) -> str:
        kept = [each for each in operations if not each.entity.flag("IsBarrier")]
        if len(kept) < len(operations):
            return super()._apply(table, kept)
        left = [
            each
            for each in operations
            if not isinstance(each, Delete)
            or not each.entity.row.startswith("open|")
            or (each.entity.partition, each.entity.row) in self.tables[table]
        ]
        return super()._apply(table, left)


class WithoutBarriers(ErasureSimulation):
    make_tables = TablesWithoutBarriers


class CarelessErasure(PersonErasure):
    """It is accepted although open imports name the person."""

    def _check(self, search: PersonSearch, hashes: Sequence[str]) -> AcceptanceCheck:
        del search, hashes

        async def check() -> None:
            pass

        return check


class WithoutRefusals(ErasureSimulation):
    def __post_init__(self) -> None:
        super().__post_init__()
        for process in self.processes:
            process.erasure.__class__ = CarelessErasure


@pytest.mark.parametrize("broken", [WithoutBarriers, WithoutRefusals])
def test_a_rule_that_is_broken_on_purpose_is_found(broken: type[ErasureSimulation]) -> None:
    for seed in range(300):
        world = broken(seed)
        try:
            run_model(world.play())
            judge(world)
        except AssertionError:
            return
    pytest.fail("the model does not find it")
