"""Repeating conditional writes."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import ConflictError, PreconditionFailedError
from shared.storage.conflicts import retry_on_conflict


class _Counter:
    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts
        self.attempts = 0

    @retry_on_conflict(3, lambda: ConflictError("The counter keeps changing."))
    async def add(self, number: int, *, twice: bool = False) -> int:
        self.attempts += 1
        if self.attempts <= self.conflicts:
            raise PreconditionFailedError("another writer was faster")
        return number * 2 if twice else number


@pytest.mark.parametrize("conflicts", [0, 1, 2])
def test_a_conflicting_write_is_tried_again(conflicts: int) -> None:
    counter = _Counter(conflicts)
    assert asyncio.run(counter.add(4, twice=True)) == 8
    assert counter.attempts == conflicts + 1


def test_after_the_last_conflict_the_caller_gets_the_error() -> None:
    counter = _Counter(3)
    with pytest.raises(ConflictError, match="keeps changing"):
        asyncio.run(counter.add(4))
    assert counter.attempts == 3


def test_other_errors_are_not_tried_again() -> None:
    @retry_on_conflict(3, lambda: ConflictError("unused"))
    async def fail() -> None:
        raise ValueError("of another kind")

    with pytest.raises(ValueError, match="of another kind"):
        asyncio.run(fail())
