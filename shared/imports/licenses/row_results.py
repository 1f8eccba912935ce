"""Results of the rows of a licenses import as they come, and those that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from shared.imports.messages import Message
from shared.imports.outcomes import Outcome, RowResult, failed

OVERWRITTEN: Final = 1102


class Results:
    """The results of rows as they come; a later row may add to an earlier one's messages.

    `known` has those that were given away before: one that changes comes a second time.
    `elsewhere` are the rows that were overwritten and are in neither; `weight` is about the
    characters that the results take in storage.
    """

    def __init__(self, known: Mapping[int, RowResult] = MappingProxyType({})) -> None:
        self._by_index: dict[int, RowResult] = {}
        self._given: dict[int, RowResult] = {}
        self._known = known
        self.elsewhere: list[int] = []
        self.weight = 0

    def add(self, *results: RowResult) -> None:
        """More results."""
        for result in results:
            self._by_index[result.index] = result
            self.weight += result_weight(result)

    def overwritten(self, index: int) -> None:
        """A later row changed the same license."""
        result = self._by_index.get(index) or self._given.get(index) or self._known.get(index)
        if result is None:
            self.elsewhere.append(index)
        else:
            self.add(result.with_message(Message(OVERWRITTEN)))

    def fail_others(self, message: Message) -> None:
        """Those that did not fail by themselves fail with `message`."""
        for index, result in self._by_index.items():
            if result.outcome is not Outcome.FAILED:
                self._by_index[index] = failed(index, result.key, message)

    def in_order(self) -> list[RowResult]:
        """All of them, in the order in which they came."""
        return list(self._by_index.values())

    def take(self) -> list[RowResult]:
        """All of them, which are given away by that."""
        taken = self.in_order()
        self._given |= self._by_index
        self._by_index.clear()
        self.weight = 0
        return taken

    def __len__(self) -> int:
        return len(self._by_index)


@dataclass(frozen=True, slots=True)
class Done:
    """Rows that another handler of the import has brought to their results.

    `last` has the last row of a license, by key, that took effect.
    """

    results: Mapping[int, RowResult]
    last: Mapping[str, int]


NOTHING_DONE: Final = Done({}, {})


def done_before(results: Mapping[int, RowResult]) -> Done:
    """What there is to know of rows with these results."""
    last = {
        key: index
        for index, result in sorted(results.items())
        if result.outcome.took_effect and (key := result.key[-1]) is not None
    }
    return Done(dict(results), last)


def result_weight(result: RowResult) -> int:
    """About the characters that a result takes in storage."""
    shown = sum(len(part or "") + _MARKS for part in result.key)
    said = sum(
        _MARKS + len(message.field or "") + len(message.value or "") + len(message.detail or "")
        for message in result.messages
    )
    return 2 * _MARKS + shown + said


_MARKS: Final = 10
