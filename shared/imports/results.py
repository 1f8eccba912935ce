"""What became of a row: its outcome, its messages, and how both travel in storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from shared.imports.messages import Message, Severity

_FEW = 2
MAX_MESSAGES = 200
"""Messages kept for one row; a hostile row could bring one per byte."""

MAX_CHUNK_MESSAGES = 20_000
"""Messages kept in full for the rows of one chunk, and so for an import a multiple of that."""

MAX_REMOVED = 5_000
"""Removed records that the result of one row names. An entry in the log of licenses has to stay
below the 1 MiB of an entity, and one row of Replace may remove any number of licenses."""

MAX_FULL_ANSWER = 32 * 1024 * 1024
"""Characters of an answer from which on a row shows only its first message. A call of 300 KB can
bring 900,000 messages; all of them are in the results of the import."""


class Outcome(StrEnum):
    """The final outcome of a row (docs/contracts.md#5); every row of an import gets exactly one."""

    NEW = "new"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    FAILED = "failed"

    @property
    def took_effect(self) -> bool:
        """Whether the row changed what is stored."""
        return self in (Outcome.NEW, Outcome.UPDATED)


OUTCOME_MEANINGS: Final[Mapping[Outcome, str]] = {
    Outcome.NEW: "The row made a record.",
    Outcome.UPDATED: "The row changed a stored record.",
    Outcome.UNCHANGED: "The stored record already said what the row says.",
    Outcome.FAILED: "The row has an Error and changed nothing.",
}
"""What each outcome says, for the documents."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row's answer: its 0-based place in the payload, its key as sent, what became of it.

    `key` has one value per key field of the import type, None where the row had none to read.
    `removed` are the records of the row's group that the row removed, each by the last value of its
    key: licenses that Replace or Delete took away, the old id of an employee.
    """

    index: int
    key: tuple[str | None, ...]
    outcome: Outcome
    messages: tuple[Message, ...] = ()
    removed: tuple[str, ...] = ()

    def with_message(self, message: Message) -> RowResult:
        """The same result with one more message."""
        return replace(self, messages=(*self.messages, message))

    def shortened(self) -> RowResult:
        """The same result with its first message alone, an Error where there is one."""
        if len(self.messages) < _FEW:
            return self
        first = next((each for each in self.messages if each.is_error), self.messages[0])
        return replace(self, messages=(first,))

    def with_one_of_each(self) -> RowResult:
        """The same result with the first of its messages of each severity, in their order."""
        firsts: dict[Severity, Message] = {}
        for message in self.messages:
            firsts.setdefault(message.severity, message)
        return replace(self, messages=tuple(firsts.values()))

    def count(self, severity: Severity) -> int:
        """How many messages of that severity the row has."""
        return sum(1 for message in self.messages if message.severity is severity)


def failed(index: int, key: tuple[str | None, ...], *messages: Message) -> RowResult:
    """A row that did not go in, and why."""
    return RowResult(index, key, Outcome.FAILED, messages)


def cap_messages(results: Iterable[RowResult]) -> list[RowResult]:
    """The results of one chunk; rows behind `MAX_CHUNK_MESSAGES` keep one message of a severity.

    So rows that have warnings or infos can still be counted and found.
    """
    room = MAX_CHUNK_MESSAGES
    capped: list[RowResult] = []
    for result in results:
        room -= len(result.messages)
        capped.append(result if room >= 0 else result.with_one_of_each())
    return capped


def pack_result(result: RowResult) -> list[Any]:
    """A result as a small JSON list: [index, outcome, [key…], [message…]].

    A fifth element has what the row removed, where there is something; with one key more than
    MAX_REMOVED it is not complete.
    """
    packed: list[Any] = [
        result.index,
        result.outcome.value[:2],
        list(result.key),
        [message.pack() for message in result.messages[:MAX_MESSAGES]],
    ]
    if result.removed:
        packed.append(list(result.removed[: MAX_REMOVED + 1]))
    return packed


_BY_CODE = {outcome.value[:2]: outcome for outcome in Outcome}


def unpack_result(packed: list[Any]) -> RowResult:
    """The inverse of `pack_result`. Raises what a list of another shape makes it raise."""
    index, code, key, messages, *rest = packed
    if not isinstance(index, int) or not isinstance(key, list):
        raise ValueError("no result of a row")
    [removed] = rest or [()]
    return RowResult(
        index,
        tuple(key),
        _BY_CODE[code],
        tuple(Message.unpack(item) for item in messages),
        tuple(map(str, removed)),
    )


# Which rows of a retry are as they were sent, and by which import (docs/contracts.md#5, retry).
#
# A retry is an import at its own place in the order. A row that it takes over uncorrected was
# written for the store as its original import met it: it fails with 1101 where a later import has
# changed the record since. A corrected row was written today, and is a row like any other. The
# retries of the original import are no later imports in this sense: they send its own rows.


@dataclass(frozen=True, slots=True)
class Origins:
    """For each row of a retry the number of the import that brought it as it is; 0: corrected.

    Empty for an import that is no retry. A row that is retried again as it was keeps the number of
    the first import that brought it. `retries` are the numbers of the retries of those imports, and
    of their retries; they are not stored here, but looked up before the rows are worked on.
    """

    numbers: tuple[int, ...] = ()
    retries: Mapping[int, frozenset[int]] = field(default_factory=dict, hash=False)

    def of(self, index: int) -> int:
        """The number of the import that brought the row as it is; 0 for a row of this import."""
        return self.numbers[index] if index < len(self.numbers) else 0

    def is_overtaken(self, index: int, changed_by: int) -> bool:
        """Whether a row fails with 1101: `changed_by` is the number on its record's stamp."""
        origin = self.of(index)
        return 0 < origin < changed_by and changed_by not in self.retries.get(origin, ())

    @property
    def lowest(self) -> int:
        """The lowest of the numbers that a row's record is compared with; 0 without one."""
        return min((number for number in self.numbers if number), default=0)

    def pack(self) -> list[list[int]]:
        """As a JSON list of runs: [number, how many rows]."""
        return [[number, len(list(run))] for number, run in groupby(self.numbers)]


NO_ORIGINS = Origins()


def unpack_origins(runs: Iterable[Sequence[int]]) -> Origins:
    """The inverse of `Origins.pack`."""
    return Origins(tuple(number for number, count in runs for _ in range(count)))
