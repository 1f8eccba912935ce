"""The results of rows: outcomes, messages by group, sets of rows, and their form in storage."""

from __future__ import annotations

import zlib
from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import compress, count, groupby
from typing import Any, Final

from shared.errors import UnreadableDataError
from shared.imports.messages import CATALOGUE, CatalogueEntry, Message, MessageId, Severity

# Messages of one row; a hostile row could cause one per byte.
MAX_MESSAGES = 200

# Messages of the rows of one chunk; rows after that are shortened.
MAX_CHUNK_MESSAGES = 20_000

# Removed records in the result of one row, and restored ones. An entry in the log of licenses has
# to stay below the 1 MiB of an entity, and one row of Replace may remove any number of licenses.
MAX_REMOVED = 5_000

# Characters of an answer; rows after that show only their first message. A call of 300 KB can cause
# 900,000 messages, which are all in the results of the import.
MAX_FULL_ANSWER = 32 * 1024 * 1024


class Outcome(StrEnum):
    """The final outcome of a row. Every row of an import gets exactly one."""

    # docs/contracts.md#5. The docstring is published in the OpenAPI document.

    NEW = "new"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    REVERSED = "reversed"

    @property
    def took_effect(self) -> bool:
        """Whether the row changed what is stored."""
        return self in (Outcome.NEW, Outcome.UPDATED, Outcome.REVERSED)


# The outcomes that are stored. The results of an undo are only shown as reversed
# (`shared.services.undo_rules`).
STORED_OUTCOMES: Final = (Outcome.NEW, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.FAILED)

# The meaning of each outcome, for the OpenAPI document and the docs.
OUTCOME_MEANINGS: Final[Mapping[Outcome, str]] = {
    Outcome.NEW: "The row made a record.",
    Outcome.UPDATED: "The row changed a stored record.",
    Outcome.UNCHANGED: "The stored record already said what the row says.",
    Outcome.FAILED: "The row has an Error and changed nothing.",
    Outcome.REVERSED: "The undo put the record back to what it was before the row.",
}


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of one row: its 0-based index in the payload, its key as sent, its outcome.

    `key` has one value per key field of the import type, None where the row has no readable one.
    `removed` are the records of the row's group that the row removed, each by the last value of its
    key: licenses that Replace or Delete removed, the old id of an employee. `restored` are those
    besides its own that a row of an undo brought back.
    """

    index: int
    key: tuple[str | None, ...]
    outcome: Outcome
    messages: tuple[Message, ...] = ()
    removed: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()

    def with_message(self, message: Message) -> RowResult:
        """The same result with one more message."""
        return replace(self, messages=(*self.messages, message))

    def shortened(self) -> RowResult:
        """The same result with one message: the first Error, or else the first message."""
        if not self.messages[1:]:
            return self
        first = next((item for item in self.messages if item.is_error), self.messages[0])
        return replace(self, messages=(first,))

    def with_one_of_each(self) -> RowResult:
        """The same result with the first message of each severity, in their order."""
        firsts: dict[Severity, Message] = {}
        for message in self.messages:
            firsts.setdefault(message.severity, message)
        return replace(self, messages=tuple(firsts.values()))

    def count(self, severity: Severity) -> int:
        """The number of messages of that severity."""
        return sum(1 for message in self.messages if message.severity is severity)


def erased(result: RowResult) -> RowResult:
    """The result of a row of an erased person: its index and outcome, without anything it says."""
    messages = (Message(MessageId.ERASED),) if result.outcome is Outcome.FAILED else ()
    return RowResult(result.index, (None,) * len(result.key), result.outcome, messages)


def is_erased(result: RowResult) -> bool:
    """Whether the row was erased with its person. Other rows that took effect have a key."""
    if result.outcome.took_effect:
        return bool(result.key) and not any(result.key)
    return any(message.id == MessageId.ERASED for message in result.messages)


def failed(index: int, key: tuple[str | None, ...], *messages: Message) -> RowResult:
    """The result of a failed row."""
    return RowResult(index, key, Outcome.FAILED, messages)


def cap_messages(results: Iterable[RowResult]) -> list[RowResult]:
    """The results of one chunk with at most about MAX_CHUNK_MESSAGES messages.

    Rows after that keep one message of each severity, so that rows with warnings or infos can still
    be counted and found.
    """
    room = MAX_CHUNK_MESSAGES
    capped: list[RowResult] = []
    for result in results:
        room -= len(result.messages)
        capped.append(result if room >= 0 else result.with_one_of_each())
    return capped


def pack_result(result: RowResult) -> list[Any]:
    """A result as a small JSON list: [index, outcome, [key…], [message…]].

    A fifth element has what the row removed, where there is something, and a sixth what it
    restored; with one key more than MAX_REMOVED they are not complete.
    """
    packed: list[Any] = [
        result.index,
        result.outcome.value[:2],
        list(result.key),
        [message.pack() for message in result.messages[:MAX_MESSAGES]],
    ]
    if result.removed or result.restored:
        packed.append(list(result.removed[: MAX_REMOVED + 1]))
    if result.restored:
        packed.append(list(result.restored[: MAX_REMOVED + 1]))
    return packed


_BY_CODE = {outcome.value[:2]: outcome for outcome in STORED_OUTCOMES}


def unpack_result(packed: list[Any]) -> RowResult:
    """The inverse of `pack_result`. Raises what a list of another shape makes it raise."""
    index, code, key, messages, *rest = packed
    if not isinstance(index, int) or not isinstance(key, list):
        raise ValueError("no result of a row")
    removed, restored = (*rest, (), ())[:2]
    return RowResult(
        index,
        tuple(key),
        _BY_CODE[code],
        tuple(Message.unpack(item) for item in messages),
        tuple(map(str, removed)),
        tuple(map(str, restored)),
    )


# The origin of the rows of a retry (docs/contracts.md#5, retry).
#
# A retry is an import with its own number in the order. Its uncorrected rows were written for the
# records as they were at their original import. So such a row fails with 1101 where a later import
# has changed its record since. A corrected row is new and is treated like any other row. Retries of
# the original import do not count as later imports, because they send the same rows.


@dataclass(frozen=True, slots=True)
class Origins:
    """For each row of a retry the number of the import that first sent it; 0: a corrected row.

    It is empty for an import that is not a retry. A row that is retried again uncorrected keeps the
    number of the first import. `retries` are the numbers of the retries of those imports, and of
    their retries; they are not stored with a record but read before its rows are processed.
    """

    numbers: tuple[int, ...] = ()
    retries: Mapping[int, frozenset[int]] = field(default_factory=dict, hash=False)

    def find(self, index: int) -> int:
        """The number of the import that first sent the row; 0 for a row of this import."""
        return self.numbers[index] if index < len(self.numbers) else 0

    def is_overtaken(self, index: int, changed_by: int) -> bool:
        """Whether a row fails with 1101: `changed_by` is the number on its record's stamp."""
        origin = self.find(index)
        return 0 < origin < changed_by and changed_by not in self.retries.get(origin, ())

    @property
    def lowest(self) -> int:
        """The lowest of the import numbers; 0 without one."""
        return min((number for number in self.numbers if number), default=0)

    def pack(self) -> list[list[int]]:
        """As a JSON list of runs: [import number, count of rows]."""
        return [[number, len(list(run))] for number, run in groupby(self.numbers)]


NO_ORIGINS = Origins()


def unpack_origins(runs: Iterable[Sequence[int]]) -> Origins:
    """The inverse of `Origins.pack`."""
    return Origins(tuple(number for number, count in runs for _ in range(count)))


# Sets of rows of an import, by their 0-based indexes: one bit of a whole number per row.
#
# 100,000 rows are 12.5 KB, however many of them are in the set. Union, intersection and difference
# are those of whole numbers (`|`, `&`, `& ~`), and `int.bit_count` counts the rows.

# A million rows, the most that GATEWAY_MAX_ROWS allows.
_MAX_BYTES = 125_000


def row_set(indexes: Collection[int]) -> int:
    """The set of these rows."""
    bits = bytearray(max(indexes, default=-1) // 8 + 1)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return int.from_bytes(bits, "little")


def rows_in(rows: int) -> Iterator[int]:
    """The rows of a set, in order."""
    return compress(count(), map(int, reversed(f"{rows:b}")))


def select_rows(rows: int, positions: int) -> int:
    """The rows of a set that are at these positions, counted in the order of the rows."""
    flags = map(int, reversed(f"{positions:b}"))
    return row_set(
        [row for row, is_selected in zip(rows_in(rows), flags, strict=False) if is_selected]
    )


def positions_in(rows: int, all_rows: int) -> int:
    """The positions in the set `all_rows` of the rows of the set `rows`."""
    bits = rows.to_bytes((max(rows, all_rows).bit_length() + 7) // 8, "little")
    return row_set(
        [
            position
            for position, row in enumerate(rows_in(all_rows))
            if bits[row >> 3] >> (row & 7) & 1
        ]
    )


def unite(sets: Iterable[int]) -> int:
    """The rows that are in any of the sets."""
    union = 0
    for rows in sets:
        union |= rows
    return union


def pack_rows(rows: int) -> bytes:
    """A set as it is stored."""
    return zlib.compress(rows.to_bytes((rows.bit_length() + 7) // 8, "little"))


def unpack_rows(data: bytes) -> int:
    """The inverse of `pack_rows`; no data is the empty set. Raises UnreadableDataError."""
    if not data:
        return 0
    unpacker = zlib.decompressobj()
    try:
        bits = unpacker.decompress(data, _MAX_BYTES + 1)
    except zlib.error as error:
        raise UnreadableDataError("a set of rows") from error
    if len(bits) > _MAX_BYTES or not unpacker.eof:
        raise UnreadableDataError("a set of rows")
    return int.from_bytes(bits, "little")


# The messages of an import, grouped by id and field, with their number and their rows.

# A limit is needed because each row of a hostile payload can name fields of its own.
MAX_GROUPS: Final = 500
MAX_INDEXES: Final = 10
_ORDER: Final = list(Severity)


@dataclass(slots=True)
class MessageGroup:
    """The messages with one id and field; `indexes` are the lowest indexes of their rows.

    `column` is the column of the field in the layout of the sender, if there is one.
    """

    id: int
    field_name: str | None
    column: str | None = None
    count: int = 0
    indexes: list[int] = field(default_factory=list)

    @property
    def entry(self) -> CatalogueEntry:
        """The catalogue's entry of the id."""
        return CATALOGUE[self.id]

    def add(self, index: int) -> None:
        """Count a message of a row."""
        self.count += 1
        if index in self.indexes:
            return
        if len(self.indexes) == MAX_INDEXES:
            if index > self.indexes[-1]:
                return
            self.indexes.pop()
        insort(self.indexes, index)


class MessageGroups:
    """Collects groups row by row; past `MAX_GROUPS` it only counts further messages."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str | None], MessageGroup] = {}
        # The number of messages that are in no group.
        self.left_out = 0

    def add(self, rows: Iterable[RowResult], severity: Severity | None = None) -> None:
        """Count the messages of rows, of one severity or of all."""
        for row in rows:
            for message in row.messages:
                if severity is None or message.severity is severity:
                    self._add(message, row.index)

    def sorted(self) -> Sequence[MessageGroup]:
        """The groups: errors, warnings, infos, and the largest of each first."""
        return sorted(
            self._groups.values(),
            key=lambda group: (
                _ORDER.index(group.entry.severity),
                -group.count,
                group.id,
                group.field_name or "",
            ),
        )

    def _add(self, message: Message, index: int) -> None:
        message_id, field_name = message.id, message.field
        group = self._groups.get((message_id, field_name))
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self.left_out += 1
                return
            group = self._groups[message_id, field_name] = MessageGroup(
                message_id, field_name, message.column
            )
        group.add(index)


# The values of an import that its mapping profile has no entry for.

# Distinct values that are listed; each row of a hostile file may have one of its own.
MAX_UNMAPPED: Final = 1_000


@dataclass(slots=True)
class UnmappedValue:
    """A value without an entry. `value` is None for the values of a sensitive field."""

    field_name: str
    column: str | None
    value: str | None
    count: int = 0
    first_index: int = -1


class UnmappedValues:
    """Collects the distinct values without an entry; past `MAX_UNMAPPED` it only counts."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str | None], UnmappedValue] = {}
        # The number of messages whose value is not listed.
        self.left_out = 0

    def add(self, rows: Iterable[RowResult]) -> None:
        """Count the values of rows."""
        for row in rows:
            for message in row.messages:
                if message.id == MessageId.NO_ENTRY and message.field is not None:
                    self._add(message, message.field, row.index)

    def sorted(self) -> Sequence[UnmappedValue]:
        """The values by field, the most frequent first."""
        return sorted(
            self._values.values(),
            key=lambda each: (each.field_name, -each.count, each.value or ""),
        )

    def _add(self, message: Message, field_name: str, index: int) -> None:
        key = (field_name, message.value)
        entry = self._values.get(key)
        if entry is None:
            if len(self._values) >= MAX_UNMAPPED:
                self.left_out += 1
                return
            entry = UnmappedValue(field_name, message.column, message.value)
            self._values[key] = entry
        entry.count += 1
        if entry.first_index < 0 or index < entry.first_index:
            entry.first_index = index
