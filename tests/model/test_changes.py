"""A reader of the feed of changes ends with a copy of what is stored, whatever goes wrong.

It polls at random moments, from either process, while imports, retries and cancels run, handlers
die and stragglers go on. A poll may die or fail too; then the reader takes it up again from the
place that it kept. See docs/contracts.md#7-changes. The same runs are judged as those of
`test_order.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from shared.errors import StorageUnavailableError
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import BatchCall
from shared.imports.authdata.store import employee_key
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.model import employee_of
from shared.imports.licenses.store import (
    key_row,
    license_from_entity,
    license_row,
    owner_from_entity,
)
from shared.imports.registry import IMPORT_TYPES
from shared.services.changes import Change, ChangeKind, ChangePlace
from shared.storage.business_records import from_entity, partition_of, row_of
from tests.model.harness import TENANT, Process, run_model
from tests.model.judging import (
    judge,
    judge_counts,
    judge_ends,
    judge_licenses,
    records_of,
    results_of,
    stored_employees,
)
from tests.model.simulation import LicenseSimulation, Run, Simulation

RUNS = int(os.environ.get("ORDER_MODEL_RUNS", "600"))
FIRST = int(os.environ.get("ORDER_MODEL_FIRST", "0"))
pytestmark = pytest.mark.timeout(120 + RUNS)
Key = tuple[str, ...]
"""Name of the records, and the values of the key."""


def _all(_name: str) -> bool:
    return True


@dataclass
class FollowedSimulation(Simulation):
    """The model with a reader of the feed.

    `copy` is what it has stored, `place` how far it has come, `known_keys` which keys there are
    by what the feed said alone.
    """

    copy: dict[Key, Any] = field(default_factory=dict)
    place: ChangePlace = field(default_factory=lambda: ChangePlace(0))
    known_keys: set[Key] = field(default_factory=set)
    poll: Run | None = None

    async def _turn(self) -> None:
        if self.random.random() < 0.06:
            self._start_poll()
        await super()._turn()

    def _start_poll(self) -> None:
        if self.poll is None or self.poll not in self.runs:
            self._start(self._read, None)
            self.poll = self.runs[-1]

    async def _read(self, process: Process) -> None:
        """One page: what is named is read anew, and the place is kept last."""
        before = self.place
        page = await process.changes.page(TENANT, before, self.random.randint(1, 4), _all)
        assert page.following >= before
        for change in page.changes:
            key = change.type_name, *change.key.values()
            document = None
            if change.change is not ChangeKind.DELETED:
                document = await self._find(change)
            if document is None:
                self.copy.pop(key, None)
            else:
                self.copy[key] = document
        self._check(page.changes, before, page.following)
        self.place = page.following
        self.seen["page"] += bool(page.changes)
        self.seen["place inside an import"] += bool(page.following.rows)

    def _check(self, changes: Any, before: ChangePlace, after: ChangePlace) -> None:
        """What is said of a key fits to what was said before, and it is named once per import."""
        named: set[tuple[int, Key]] = set()
        for change in changes:
            key = change.type_name, *change.key.values()
            assert (change.number, key) not in named, "a key twice in one import"
            assert before.number < change.number <= after.number + (after.rows > 0)
            named.add((change.number, key))
            is_known = key in self.known_keys
            self.seen[change.change.value] += 1
            match change.change:
                case ChangeKind.CREATED:
                    assert not is_known, f"import {change.number} created {key} once more"
                    self.known_keys.add(key)
                case ChangeKind.UPDATED:
                    assert is_known, f"import {change.number} updated {key}, which was not there"
                case ChangeKind.DELETED:
                    # An import may remove what it created.
                    self.known_keys.discard(key)

    async def _find(self, change: Change) -> Mapping[str, Any] | None:
        kind = IMPORT_TYPES[change.type_name]
        group, reference = change.key.values()
        entity = await self.tables.get(kind.table, partition_of(TENANT, group), row_of(reference))
        return None if entity is None else from_entity(entity).document

    def stored(self) -> dict[Key, Any]:
        """What a reader should have."""
        documents: dict[Key, Any] = {}
        for kind in (each for each in IMPORT_TYPES.values() if each.name != LICENSES.name):
            for (_, row), entity in self.tables.tables[kind.table].items():
                document = from_entity(entity).document if row.startswith("r|") else None
                if document is not None:
                    key = tuple(str(document[name]) for name in kind.rules.key_fields)
                    documents[kind.name, *key] = document
        return documents

    async def catch_up(self) -> None:
        """The reader polls until nothing new comes; nothing disturbs it any more."""
        self.odds.faults = 0
        self.runs.clear()
        self.turnstile.waiting.clear()
        before = None
        while before != self.place:
            before = self.place
            self._start_poll()
            while self.runs:
                if self.turnstile.waiting:
                    self._release()
                await asyncio.sleep(0)
                self._reap()
        assert self.copy == self.stored(), "the reader's copy differs from what is stored"
        assert {key for key in self.known_keys if key in self.copy} == self.known_keys
        assert self.copy.keys() == self.known_keys, "what the feed said differs from what is stored"


@dataclass
class FollowedLicenses(FollowedSimulation, LicenseSimulation):
    """The same with imports of licenses."""

    async def _find(self, change: Change) -> Mapping[str, Any] | None:
        company, key = change.key.values()
        partition = partition_of(TENANT, company)
        owner = await self.tables.get(LICENSES.table, partition, key_row(key))
        if owner is None or owner_from_entity(owner).is_gone:
            return None
        row = license_row(employee_of(owner_from_entity(owner).fields), key)
        entity = await self.tables.get(LICENSES.table, partition, row)
        return None if entity is None else license_from_entity(entity).document

    def stored(self) -> dict[Key, Any]:
        """See `FollowedSimulation.stored`."""
        licenses = [
            license_from_entity(entity)
            for (_, row), entity in self.tables.tables[LICENSES.table].items()
            if row.startswith("r|")
        ]
        return {
            (LICENSES.name, "C1", each.key): each.document
            for each in licenses
            if each.document is not None
        }


@dataclass
class FollowedEmployees(FollowedSimulation):
    """The same with batches of authentication data, whose rows rename employees."""

    async def _call(self, process: Process) -> None:
        rows = [self._employee(position) for position in range(self.random.randint(1, 4))]
        call = BatchCall(
            file_log_id=None, validate=True, allow_no_auth=False, commit=True, rows=rows
        )
        with suppress(StorageUnavailableError):
            staged = await process.authdata.staging.stage(TENANT, call, f"call {self.calls}")
            await process.authdata.processing.begin(TENANT, staged.file_log_id)

    @property
    def _rows_of(self) -> Mapping[str, Callable[[int], dict[str, Any]]]:
        return {AUTHDATA.name: self._employee}

    def _employee(self, _position: int) -> dict[str, Any]:
        pick = self.random
        return {
            "employeeid": pick.choice("ABCDE"),
            "employeestatus": pick.choice([None, "on", "off"]),
            "authvalue1": pick.choice("12345"),
        }

    async def _find(self, change: Change) -> Mapping[str, Any] | None:
        [employee_id] = change.key.values()
        place = employee_key(TENANT, employee_id)
        entity = await self.tables.get(AUTHDATA.table, place.partition, place.row)
        return None if entity is None else from_entity(entity).document

    def stored(self) -> dict[Key, Any]:
        """See `FollowedSimulation.stored`."""
        return {
            ("employees", employee_id): document
            for employee_id, document in stored_employees(self.tables).items()
        }


def judge_employees(world: FollowedEmployees) -> None:
    """Counts and ends of the imports; and what the feed told of renames, in `seen`."""
    for record in records_of(world.tables):
        results = results_of(world.tables, record)
        judge_counts(record, results)
        judge_ends(world, record)
        world.seen["renamed"] += sum(
            1 for row in results.values() if row.outcome.took_effect and row.removed
        )
        world.seen["renamed back"] += sum(1 for row in results.values() if row.restored)


World = TypeVar("World", bound=FollowedSimulation)


def play(kind: type[World], seed: int, judge_order: Callable[[World], None]) -> Counter[str]:
    """Raises AssertionError with the seed."""
    world = kind(seed)

    async def play_and_catch_up() -> None:
        await world.play()
        await world.catch_up()

    try:
        run_model(play_and_catch_up())
        judge_order(world)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world.seen


def play_all(kind: type[World], runs: int, judge_order: Callable[[World], None]) -> Counter[str]:
    """All seeds."""
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + runs):
        seen += play(kind, seed, judge_order)
    return seen


DISTURBANCES = {"crash", "straggler", "fault", "cancel", "retry"}


def test_workers_and_assignments_keep_their_order_and_a_reader_has_a_copy() -> None:
    seen = play_all(FollowedSimulation, RUNS // 2, judge)
    assert {*DISTURBANCES, "page", "created", "updated", "place inside an import"} <= set(seen)


def test_licenses_keep_their_order_keys_and_documents_and_a_reader_has_a_copy() -> None:
    seen = play_all(FollowedLicenses, RUNS // 2, judge_licenses)
    assert {*DISTURBANCES, "page", "created", "updated", "deleted"} <= set(seen)
    assert "place inside an import" in seen
    was = "former values"
    assert {was, f"{was} of a tombstone", f"{was} of a moved license"} <= set(seen)
    assert {"reversed", "restored", "kept by an undo", "undo of an undo"} <= set(seen)


def test_employees_are_renamed_and_a_reader_has_a_copy() -> None:
    seen = play_all(FollowedEmployees, RUNS // 10, judge_employees)
    assert {"page", "created", "deleted", "renamed"} <= set(seen)
    if RUNS >= 600:  # fewer runs do not show what is rare
        assert {*DISTURBANCES, "updated", "renamed back", "undo of an undo"} <= set(seen)
