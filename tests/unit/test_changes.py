"""The feed of changes: what the rows of an import did to records, and how far a reader comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from shared.app import changed_types
from shared.errors import GoneError, InvalidRequestError, UnreadableDataError
from shared.imports.import_type import Options
from shared.imports.planning import Chunk
from shared.imports.results import MAX_REMOVED, Outcome, RowResult, pack_result, unpack_result
from shared.services.changes import ChangeFeed, ChangeKind, ChangePage, ChangePlace, fold_chunk
from shared.services.import_log import ImportLog
from shared.services.results import Results
from shared.storage import import_records, result_records
from shared.storage.import_records import Counts, ImportRecord
from shared.storage.ports import Delete, Entity, Insert, Merge
from shared.storage.result_records import ChunkResult
from shared.web.changes import place_from_text, render
from tests.memory_storage import MemoryBlobs, MemoryTables
from tests.model.harness import run_here

TENANT = "t1"
NEW, UPDATED, UNCHANGED, FAILED, _ = Outcome
CREATED, CHANGED, DELETED = ChangeKind
TYPES = changed_types()
WORKERS, LICENSES, EMPLOYEES = TYPES["workers"], TYPES["licenses"], TYPES["authdata"]


@dataclass
class World:
    """A tenant's imports in memory, and its feed."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    number: int = 0

    def __post_init__(self) -> None:
        self.results = Results(self.tables, MemoryBlobs(), run_here)
        self.feed = ChangeFeed(ImportLog(self.tables), self.results, lambda: TYPES)

    async def add(
        self, *chunks: Sequence[RowResult], type_name: str = "workers", is_open: bool = False
    ) -> int:
        """An import with these results by chunk; of an open one the last chunk has none."""
        self.number += 1
        import_id = f"import-{self.number}"
        record = ImportRecord(
            tenant=TENANT,
            number=self.number,
            import_id=import_id,
            type_name=type_name,
            rows=sum(map(len, chunks)),
            chunks=tuple(Chunk(at, 0, 0, len(rows), None) for at, rows in enumerate(chunks)),
            options=Options(),
            accepted_at="2026-01-01T00:00:00Z",
        )
        await self.tables.transact("Imports", import_records.acceptance_operations(record))
        counts = Counts()
        for at, rows in enumerate(chunks[:-1] if is_open else chunks):
            result = ChunkResult(import_id, at, tuple(rows), f"at-{self.number}")
            counts = counts.plus(result.counts)
            await self.results.add(result)
        if not is_open:
            closing = import_records.close_operations(record, counts, "2026-01-01T00:00:01Z")
            await self.tables.transact("Imports", closing)
        return self.number

    async def change(self, number: int, **values: Any) -> None:
        entity = Entity(TENANT, import_records.record_row(number), values)
        await self.tables.write("Imports", Merge(entity))

    async def remove(self, number: int) -> None:
        entity = Entity(TENANT, import_records.record_row(number), {})
        await self.tables.write("Imports", Delete(entity))

    async def remove_result(self, number: int) -> Entity:
        """That of the first chunk; returns it."""
        place = f"import-{number}", result_records.result_row(0)
        entity = await self.tables.get("ImportResults", *place)
        assert entity is not None
        await self.tables.write("ImportResults", Delete(entity))
        return entity

    async def page(self, after: str = "0", size: int = 100, *names: str) -> ChangePage:
        type_names = names or tuple(kind.name for kind in TYPES.values())
        return await self.feed.page(TENANT, place_from_text(after), size, type_names.__contains__)


def run(work: Any) -> Any:
    return asyncio.run(work)


def a_row(index: int, name: str, outcome: Outcome = NEW, *removed: str) -> RowResult:
    return RowResult(index, ("E1", name), outcome, removed=removed)


def a_license(index: int, key: str, outcome: Outcome, *removed: str) -> RowResult:
    return RowResult(index, ("C1", None, "7", None, key), outcome, removed=removed)


def names(page: ChangePage) -> list[str]:
    return [each.key["PersonnelRef"] for each in page.changes]


# -- what the rows of a chunk did -----------------------------------------------------------------


def folded(kind: Any, *rows: RowResult) -> list[tuple[int, str, ChangeKind]]:
    return [(position, key[-1], change) for position, key, change in fold_chunk(kind, rows)]


def test_each_key_is_there_once_and_only_where_a_row_took_effect() -> None:
    rows = (
        a_row(0, "P1", FAILED),
        a_row(1, "P1"),
        a_row(2, "P1", UPDATED),
        a_row(3, "P2", UPDATED),
        a_row(4, "P2", UNCHANGED),
        a_row(5, "P3", UNCHANGED),
        RowResult(6, (None, None), FAILED),
    )
    assert folded(WORKERS, *rows) == [(2, "P1", CREATED), (4, "P2", CHANGED)]


def test_a_removed_license_is_deleted_unless_a_later_row_makes_it_anew() -> None:
    assert folded(
        LICENSES,
        a_license(0, "k1", UNCHANGED, "k2", "k3"),
        a_license(1, "k3", NEW),
        a_license(2, "k4", UPDATED, "k4"),
        a_license(3, "k5", NEW),
        a_license(4, "k6", UPDATED, "k5"),
    ) == [
        (1, "k2", DELETED),
        (1, "k3", CHANGED),
        (3, "k4", DELETED),
        (4, "k5", DELETED),
        (5, "k6", CHANGED),
    ]
    [(_, key, _), _] = fold_chunk(LICENSES, [a_license(0, "k1", NEW, "k2")])
    assert (LICENSES.key_fields, key) == (("companyCode", "licenseKey"), ("C1", "k1"))


def test_an_employee_under_a_new_id_is_created_and_the_old_id_deleted() -> None:
    rows = [RowResult(0, ("new",), UPDATED, removed=("old",)), RowResult(1, ("e",), UPDATED)]
    assert folded(EMPLOYEES, *rows) == [(1, "new", CREATED), (1, "old", DELETED), (2, "e", CHANGED)]


def test_a_record_that_an_undo_brings_back_beside_its_own_is_created() -> None:
    rows = [
        RowResult(0, ("C1", None, "7", None, "k1"), UPDATED, removed=("k1",), restored=("k2",)),
        RowResult(1, ("C1", None, "7", None, "k3"), UPDATED, restored=("k4",)),
    ]
    read = [unpack_result(pack_result(row)) for row in rows]
    assert read == rows
    expected = [(1, "k1", DELETED), (1, "k2", CREATED), (2, "k3", CHANGED), (2, "k4", CREATED)]
    assert folded(LICENSES, *read) == expected
    unchanged = a_license(0, "k1", UNCHANGED)
    counts = ChunkResult(
        "an-import", 0, (replace(unchanged, restored=("k2",)), unchanged), ""
    ).counts
    assert counts.removing == 1, "the feed reads its results"
    renamed_back = RowResult(0, ("new",), UPDATED, removed=("new",), restored=("old",))
    assert folded(EMPLOYEES, renamed_back) == [(1, "new", DELETED), (1, "old", CREATED)]


def test_more_removed_records_than_a_result_can_name_are_noticed() -> None:
    keys = [f"k{at}" for at in range(MAX_REMOVED + 7)]
    for count in (MAX_REMOVED, MAX_REMOVED + 1, MAX_REMOVED + 7):
        row = unpack_result(pack_result(a_license(0, "k", UPDATED, *keys[:count])))
        assert len(row.removed) == min(count, MAX_REMOVED + 1)
        if count == MAX_REMOVED:
            assert len(fold_chunk(LICENSES, [row])) == count + 1
        else:
            with pytest.raises(UnreadableDataError):
                fold_chunk(LICENSES, [row])


# -- the walk -------------------------------------------------------------------------------------


def test_the_feed_stops_at_the_oldest_open_import() -> None:
    async def played() -> None:
        world = World()
        for name in ("P1", "P2"):
            await world.add([a_row(0, name)])
        await world.add([a_row(0, "P3")], is_open=True)
        await world.add([a_row(0, "P4")])
        page = await world.page()
        assert (names(page), page.following) == (["P1", "P2"], ChangePlace(2))
        page = await world.page("2")
        assert (names(page), page.following) == ([], ChangePlace(2))
        await world.change(3, EndedAt="2026-01-02", New=1)
        await world.results.add(ChunkResult("import-3", 0, (a_row(0, "P3"),), "later"))
        page = await world.page("2")
        assert (names(page), page.following) == (["P3", "P4"], ChangePlace(4))
        assert page.changes[0].at == "later"

    run(played())


def test_imports_without_an_effect_are_passed_over_unless_they_removed_something() -> None:
    async def played() -> None:
        world = World()
        await world.add([a_row(0, "P1", UNCHANGED), a_row(1, "P2", FAILED)])
        row = a_license(0, "k1", UNCHANGED, "k2")
        await world.add([row], type_name="licenses")
        await world.remove_result(1)
        page = await world.page()
        [change] = page.changes
        assert (change.change, change.key["licenseKey"]) == (DELETED, "k2")
        assert (change.number, change.type_name) == (2, "licenses")

    run(played())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_pages_of_any_size_have_every_change_once_and_in_order(size: int) -> None:
    async def played() -> None:
        world = World()
        numbered = [[a_row(0, f"P{at:02d}")] for at in range(3)]
        for rows in numbered:
            await world.add(rows)
        many = [
            [a_row(at, f"P{at:02d}", UNCHANGED if at % 3 == 0 else UPDATED) for at in some]
            for some in (range(10, 20), range(20, 23), range(23, 24), range(24, 31))
        ]
        await world.add(*many)
        await world.add([a_license(0, "a", NEW, "b", "c", "d"), a_license(1, "e", NEW)],
                        type_name="licenses")  # fmt: skip
        whole = await world.page(size=1000)
        assert whole.following == ChangePlace(5)
        walked: list[Any] = []
        after = "0"
        for _ in range(100):
            page = await world.page(after, size)
            walked += page.changes
            assert len(page.changes) <= size + 3
            place = str(page.following)
            if place == after:
                break
            assert f'"next":{place}}}' in render(page)
            # As it comes out of a reader that takes it for a float.
            after = place if place.isdigit() else repr(float(place))
            assert place_from_text(after) == page.following
        assert walked == whole.changes

    run(played())


def test_a_type_that_is_not_wanted_is_passed_over_but_not_while_it_is_open() -> None:
    async def played() -> None:
        world = World()
        await world.add([a_license(0, "k", NEW)], type_name="licenses")
        await world.add([a_row(0, "P1")])
        await world.add([a_license(0, "k", UPDATED)], type_name="licenses", is_open=True)
        await world.add([a_row(0, "P2")])
        page = await world.page("0", 100, "workers")
        assert (names(page), page.following) == (["P1"], ChangePlace(2))

    run(played())


def test_a_long_line_of_imports_without_an_effect_is_passed_in_several_pages() -> None:
    async def played() -> None:
        world = World()
        for _ in range(5_100):
            await world.add([a_row(0, "P1", UNCHANGED)])
        await world.add([a_row(0, "P2")])
        first = await world.page()
        assert (names(first), first.following) == ([], ChangePlace(5_000))
        assert names(await world.page("5000")) == ["P2"]

    run(played())


# -- what is no place, and what is not kept -------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1,5", "1e5", "1.", ".5", "1e-10", "nan", "Infinity", "9" * 13, "1 2"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="after must be the number `next`"):
        place_from_text(text)


def test_small_fractions_are_read_as_any_language_writes_them() -> None:
    for text in ("0.000050", "0.00005", "5e-05", "5E-5"):
        assert place_from_text(text) == ChangePlace(0, 50)
    for number in (1, 123_456_789, 999_999_999):
        for rows in (1, 49_999, 999_999):
            place = ChangePlace(number, rows)
            assert place_from_text(repr(float(str(place)))) == place


@pytest.mark.parametrize("after", ["3", "2.000001", "1.000002", "1.9", "999999999999", "0.000001"])
def test_a_place_that_the_feed_has_not_reached_is_refused(after: str) -> None:
    async def played() -> None:
        world = World()
        await world.add([a_row(0, "P1", FAILED)])
        await world.add([a_row(0, "P1"), a_row(1, "P2")])
        if after == "0.000001":
            for number in (1, 2):
                await world.remove(number)
        with pytest.raises(InvalidRequestError, match="is not a place"):
            await world.page(after)

    run(played())


def test_expired_results_are_410_with_the_oldest_number_from_which_it_goes_on() -> None:
    async def played() -> None:
        world = World()
        for at in range(6):
            await world.add([a_row(0, f"P{at}", FAILED if at == 3 else NEW)])
        for number in (1, 3, 4):
            await world.change(number, ResultsExpiredAt="2026-02-01")
        for after in ("0", "2"):
            with pytest.raises(GoneError, match=r"go on with after=3,"):
                await world.page(after)
        # What is there before the gap comes first.
        page = await world.page("1")
        assert (names(page), page.following) == (["P1"], ChangePlace(2))
        # Nothing took effect in import 4, so its results are not needed.
        assert names(await world.page("3")) == ["P4", "P5"]

    run(played())


def test_removed_imports_are_410_too() -> None:
    async def played() -> None:
        world = World()
        for at in range(1, 500):
            await world.add([a_row(0, f"P{at}")])
        for number in (*range(1, 400), 450):
            await world.remove(number)
        for after in ("0", "10", "449"):
            with pytest.raises(GoneError, match=r"after=450,"):
                await world.page(after)
        assert (await world.page("399", 1000)).following == ChangePlace(449)
        assert len((await world.page("450", 1000)).changes) == 49

    run(played())


def test_expired_imports_of_other_types_do_not_matter() -> None:
    async def played() -> None:
        world = World()
        await world.add([a_license(0, "k", NEW)], type_name="licenses")
        await world.add([a_row(0, "P1")])
        await world.change(1, ResultsExpiredAt="2026-02-01")
        assert names(await world.page("0", 100, "workers")) == ["P1"]

    run(played())


def _cut(result: Entity) -> Entity:
    return replace(result, values={**result.values, "Data0": b"broken"})


def _short(result: Entity) -> Entity:
    rows = ChunkResult("import-2", 0, (a_row(0, "P2"),), "at-2")
    return replace(result_records.to_entity(rows)[0], values={
        **result_records.to_entity(rows)[0].values, "New": 2,
    })  # fmt: skip


def _keyless(result: Entity) -> Entity:
    rows = (RowResult(0, ("E1", None), NEW), RowResult(1, ("E1",), NEW))
    return result_records.to_entity(ChunkResult("import-2", 0, rows, "at-2"))[0]


@pytest.mark.parametrize("broken", [_cut, _short, _keyless, None])
def test_results_that_do_not_tell_of_every_row_are_410(broken: Any) -> None:
    async def played() -> None:
        world = World()
        await world.add([a_row(0, "P1")])
        await world.add([a_row(0, "P2"), a_row(1, "P3")])
        await world.add([a_row(0, "P4")])
        result = await world.remove_result(2)
        if broken is not None:
            await world.tables.write("ImportResults", Insert(broken(result)))
        assert (await world.page()).following == ChangePlace(1)
        with pytest.raises(GoneError, match=r"after=2,"):
            await world.page("1")
        assert names(await world.page("2")) == ["P4"]

    run(played())


@pytest.mark.parametrize(
    "values", [{"New": "x"}, {"Rows": "many"}, {"Type": "wages"}, {"IsBroken": True}]
)
def test_an_import_whose_record_is_broken_is_410(values: dict[str, Any]) -> None:
    async def played() -> None:
        world = World()
        await world.add([a_row(0, "P1")])
        await world.change(1, **values)
        with pytest.raises(GoneError, match=r"after=1,"):
            await world.page()

    run(played())
