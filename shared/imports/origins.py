"""Which rows of a retry are as they were sent, and by which import (CONTRACTS 5, retry).

A retry is an import at its own place in the order. A row that it takes over uncorrected was written
for the store as its original import met it: it fails with 1101 where a later import has changed the
record since. A corrected row was written today, and is a row like any other. The retries of the
original import are no later imports in this sense: they send its own rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

OVERTAKEN: Final = 1101
"""What a row says whose record a later import than its own has changed."""


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
