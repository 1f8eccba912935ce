"""What imports changed, import by import in order of acceptance (docs/contracts.md#7).

The feed is made of what is stored anyway: the records of the imports and the results of their rows.
It stops at the oldest open import. All that comes before has ended, and an import that has ended
writes nothing any more, so what the feed has told of it stays true. A reader that keeps the place
which a page ends at, and asks for what comes after it, misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared import log
from shared.errors import GoneError, InvalidRequestError, UnreadableDataError
from shared.imports.import_type import ImportType
from shared.imports.results import MAX_REMOVED, Outcome, RowResult, is_erased
from shared.services.import_log import ImportLog
from shared.services.results import Results
from shared.storage.import_records import LAST_NUMBER, ImportOutline
from shared.storage.result_records import StoredResult

# Imports that are read at once.
_SLICE: Final = 200
_MOST_SLICES: Final = 25
# Imports whose results one page reads. A page ends early where few rows took effect.
_MOST_READS: Final = 400
_AT_ONCE: Final = 16
# Rows up to which the results of several imports are read at once.
_SMALL: Final = 100
_LONG_SLICE: Final = 1_000
_MOST_LONG_SLICES: Final = 200
# More than an import can have rows.
PLACES: Final = 1_000_000


class ChangeKind(StrEnum):
    """What became of a record."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


# What each value says, for the documents.
CHANGE_MEANINGS: Final[Mapping[ChangeKind, str]] = {
    ChangeKind.CREATED: "The import made the record.",
    ChangeKind.UPDATED: "The import changed the record.",
    ChangeKind.DELETED: "The import removed the record.",
}


@dataclass(frozen=True, slots=True, order=True)
class ChangePlace:
    """How far a reader has come: all imports up to `number`, and so many rows of the next one.

    The rows are counted in plan order. As text it is a decimal number, `40.000500` for the first
    500 rows of import 41, so that places can be compared like numbers.
    """

    number: int
    rows: int = 0

    def __str__(self) -> str:
        return f"{self.number}.{self.rows:06d}" if self.rows else str(self.number)


@dataclass(frozen=True, slots=True)
class Change:
    """A record that an import created, changed or removed. `at` is ISO text."""

    number: int
    import_id: str
    type_name: str
    key: Mapping[str, str]
    change: ChangeKind
    at: str


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changes in order, and the place after which the next ones come."""

    changes: Sequence[Change]
    following: ChangePlace


@dataclass(frozen=True, slots=True)
class ChangedType:
    """How the records of an import type are called, and which fields name one.

    `positions` are the places of `key_fields` in the key of a result. `are_renamed`: what a row
    removed is its own record under a former key.
    """

    name: str
    key_fields: tuple[str, ...]
    positions: tuple[int, ...]
    are_renamed: bool = False

    @classmethod
    def of(
        cls, kind: ImportType, name: str, key_fields: Sequence[str], *, are_renamed: bool
    ) -> ChangedType:
        """The records of an import type, which have this name and these fields as key."""
        positions = tuple(map(kind.rules.key_fields.index, key_fields))
        return cls(name, tuple(key_fields), positions, are_renamed)


@dataclass(slots=True)
class _Fold:
    """What the rows of a chunk did to one record; `position` is that of the first such row."""

    position: int
    existed: bool
    is_there: bool
    was_removed: bool = False
    was_created: bool = False

    @property
    def change(self) -> ChangeKind:
        if not self.is_there:
            return ChangeKind.DELETED
        # A record that no row removed and that a row created was not there before.
        if self.was_created and not (self.was_removed and self.existed):
            return ChangeKind.CREATED
        return ChangeKind.UPDATED


def fold_chunk(
    kind: ChangedType, rows: Sequence[RowResult]
) -> list[tuple[int, tuple[str, ...], ChangeKind]]:
    """What the rows of a chunk did, each key once, in the order in which keys are first named.

    All rows about one key are in one chunk. Each item begins with the 1-based position of the row.
    Raises UnreadableDataError where the results do not say it.
    """
    folds: dict[tuple[str, ...], _Fold] = {}
    for position, row in enumerate(rows, 1):
        if is_erased(row):
            continue
        if row.outcome.took_effect:
            is_new = row.outcome is Outcome.NEW or (kind.are_renamed and bool(row.removed))
            fold = folds.setdefault(_key(kind, row), _Fold(position, not is_new, is_there=True))
            fold.is_there = True
            fold.was_created = fold.was_created or is_new
        if max(len(row.removed), len(row.restored)) > MAX_REMOVED:
            raise UnreadableDataError("the list of removed records")
        for name in row.removed:
            key = (*_key(kind, row)[:-1], name)
            fold = folds.setdefault(key, _Fold(position, existed=True, is_there=False))
            fold.is_there, fold.was_removed = False, True
        for name in row.restored:
            key = (*_key(kind, row)[:-1], name)
            fold = folds.setdefault(key, _Fold(position, existed=False, is_there=True))
            fold.is_there = fold.was_created = True
    ordered = [(fold.position, key, fold.change) for key, fold in folds.items()]
    return sorted(ordered, key=lambda each: each[0])


def _key(kind: ChangedType, row: RowResult) -> tuple[str, ...]:
    try:
        key = [row.key[position] for position in kind.positions]
    except IndexError:
        raise UnreadableDataError("the key in a result") from None
    if any(not isinstance(part, str) for part in key):
        raise UnreadableDataError("the key in a result")
    return tuple(map(str, key))


class _LostChangesError(Exception):
    """What an import changed is not kept, or cannot be read."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


# Whether the changes of records of that name are wanted.
TypeFilter = Callable[[str], bool]


class ChangeFeed:
    """Reads imports and their results; writes nothing.

    `types` has the types by the name of the import type; it is called once.
    """

    def __init__(
        self,
        imports: ImportLog,
        results: Results,
        types: Callable[[], Mapping[str, ChangedType]],
    ) -> None:
        self._imports = imports
        self._results = results
        self._load_types = types
        self._loaded: Mapping[str, ChangedType] = {}

    @property
    def names(self) -> list[str]:
        """The names of the records whose changes the feed has."""
        return [kind.name for kind in self._types.values()]

    @property
    def _types(self) -> Mapping[str, ChangedType]:
        self._loaded = self._loaded or self._load_types()
        return self._loaded

    async def page(
        self, tenant: str, after: ChangePlace, size: int, includes: TypeFilter
    ) -> ChangePage:
        """About `size` changes after a place; there may be few or none before the end.

        A row that removed several records is not cut in two, so there may be more.
        Raises InvalidRequestError for a place that is none, and GoneError where results have
        expired that are needed to go on.
        """
        page = _Page(after, size)
        try:
            await self._fill(tenant, page, includes)
        except _LostChangesError as lost:
            # What comes before it is given first; the next call is told.
            if page.place == after:
                raise await self._gone_error(tenant, after, lost.number, includes) from None
        return ChangePage(page.changes, page.place)

    async def _fill(self, tenant: str, page: _Page, includes: TypeFilter) -> None:
        reads = 0
        for _ in range(_MOST_SLICES):
            after = page.place.number
            through = min(after + _SLICE, LAST_NUMBER)
            outlines = await self._imports.outlines(tenant, after, through)
            if not outlines:
                await self._check_end(tenant, page.place)
            for at in range(0, len(outlines), _AT_ONCE):
                page_outlines = outlines[at : at + _AT_ONCE]
                loaded = await self._load_small(page_outlines, page.place, includes)
                for outline in page_outlines:
                    if outline.number > page.place.number + 1:
                        raise _LostChangesError(outline.number - 1)
                    if not outline.ended_at:
                        if page.place.rows:
                            raise _wrong_place(page.place)
                        return
                    kind = self._kind(outline, includes)
                    if kind is not None:
                        await self._take(page, kind, outline, loaded.get(outline.number))
                        if page.is_full:
                            return
                        reads += 1
                    page.place = ChangePlace(outline.number)
                    if reads >= _MOST_READS:
                        return
            if len(outlines) < _SLICE:
                return

    def _kind(self, outline: ImportOutline, includes: TypeFilter) -> ChangedType | None:
        """The type of an import whose results are to be read; None where none of it is wanted.

        Raises _LostChangesError where the results are not there.
        """
        if not outline.may_have_changed:
            return None
        kind = self._types.get(outline.type_name)
        if kind is not None and not includes(kind.name):
            return None
        if kind is None or not outline.has_results or not outline.is_complete:
            raise _LostChangesError(outline.number)
        return kind

    async def _check_end(self, tenant: str, place: ChangePlace) -> None:
        """Nothing comes after the place. Raises where something should."""
        newest = await self._imports.newest_number(tenant)
        if newest > place.number:
            number = place.number
            if not await self._imports.outlines(tenant, number, number + 1):
                raise _LostChangesError(number + 1)
            # It was accepted a moment ago.
        elif newest < place.number or place.rows:
            raise _wrong_place(place)

    async def _load_small(
        self, outlines: Sequence[ImportOutline], place: ChangePlace, includes: TypeFilter
    ) -> Mapping[int, Sequence[StoredResult]]:
        """The results of small imports by number, read at once."""

        def is_needed(outline: ImportOutline) -> bool:
            kind = self._types.get(outline.type_name)
            return (
                outline.may_have_changed
                and outline.has_results
                and outline.rows <= _SMALL
                and bool(outline.ended_at)
                and outline.number > place.number + (1 if place.rows else 0)
                and kind is not None
                and includes(kind.name)
            )

        needed = [outline for outline in outlines if is_needed(outline)]
        read = await asyncio.gather(*(self._all_chunks(each.import_id) for each in needed))
        return {outline.number: chunks for outline, chunks in zip(needed, read, strict=True)}

    async def _all_chunks(self, import_id: str) -> Sequence[StoredResult]:
        return [stored async for stored in self._results.chunks(import_id)]

    async def _take(
        self,
        page: _Page,
        kind: ChangedType,
        outline: ImportOutline,
        loaded: Sequence[StoredResult] | None,
    ) -> None:
        """Take the changes of an import, from the page's place on, until the page is full.

        Raises _LostChangesError where they are not all there.
        """
        before, first, skipped = 0, 0, page.place.rows
        if skipped:
            before, first = await self._chunk_at(outline, page.place)
        chunks = (
            _as_chunks(loaded)
            if loaded is not None
            else self._results.chunks(outline.import_id, first)
        )
        try:
            async for stored in chunks:
                rows = await self._results.rows(stored)
                if stored.counts is None or len(rows) != stored.counts.done:
                    raise _LostChangesError(outline.number)
                for position, key, change in fold_chunk(kind, rows):
                    place = before + position
                    if place <= skipped:
                        continue
                    if page.is_full and page.place.rows != place:
                        return
                    fields = dict(zip(kind.key_fields, key, strict=True))
                    at = stored.done_at or outline.ended_at
                    page.changes.append(
                        Change(outline.number, outline.import_id, kind.name, fields, change, at)
                    )
                    page.place = ChangePlace(outline.number - 1, place)
                before += len(rows)
        except UnreadableDataError as error:
            log.failure("changes.unreadable", error, import_id=outline.import_id)
            raise _LostChangesError(outline.number) from None
        if before != outline.rows:
            raise _LostChangesError(outline.number)
        page.place = ChangePlace(outline.number)

    async def _chunk_at(self, outline: ImportOutline, place: ChangePlace) -> tuple[int, int]:
        """How many rows come before the chunk at a place inside an import, and its number."""
        before = 0
        for chunk, rows in await self._results.row_counts(outline.import_id):
            if before + rows > place.rows:
                return before, chunk
            before += rows
        if place.rows < outline.rows:
            raise _LostChangesError(outline.number)
        raise _wrong_place(place)

    async def _gone_error(
        self, tenant: str, after: ChangePlace, lost: int, includes: TypeFilter
    ) -> GoneError:
        """The refusal of a place from which the feed cannot go on, with the oldest that it can."""
        oldest = max(lost, await self._newest_lost(tenant, includes))
        return GoneError(
            f"What was changed after {after} is not kept any more: export the records first, then "
            f"go on with after={oldest}, the oldest number from which changes can be given."
        )

    async def _newest_lost(self, tenant: str, includes: TypeFilter) -> int:
        """The highest number of an import whose changes are not kept; 0 where there is none."""
        through = await self._imports.newest_number(tenant)
        for _ in range(_MOST_LONG_SLICES):
            after = max(0, through - _LONG_SLICE)
            for outline in reversed(await self._imports.outlines(tenant, after, through)):
                if outline.number != through:
                    return through
                if outline.ended_at:
                    try:
                        self._kind(outline, includes)
                    except _LostChangesError as lost:
                        return lost.number
                through -= 1
            if through > after:
                return through
            if not through:
                break
        return 0


class _Page:
    """A page that is being filled; `place` is behind what it has."""

    def __init__(self, place: ChangePlace, size: int) -> None:
        self.place = place
        self.changes: list[Change] = []
        self._size = size

    @property
    def is_full(self) -> bool:
        return len(self.changes) >= self._size


def _wrong_place(place: ChangePlace) -> InvalidRequestError:
    return InvalidRequestError(
        f"after={place} is not a place that this tenant's changes have reached: send `next` of the "
        "page before, or 0 to begin."
    )


async def _as_chunks(loaded: Sequence[StoredResult]) -> AsyncIterator[StoredResult]:
    for stored in loaded:
        yield stored
