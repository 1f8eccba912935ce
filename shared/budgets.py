"""Rate limits per key (token buckets), in bounded memory.

The budgets are in the memory of a process, so each process of the gateway has its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from shared.clock import Clock

MOST_KEYS = 10_000


class Budgets:
    """A budget of `amount` for each key, refilled evenly with `amount` in `seconds`.

    Beyond `most_keys` keys the least recently used one is removed, which refills its budget.
    """

    def __init__(
        self, amount: float, seconds: float, clock: Clock, most_keys: int = MOST_KEYS
    ) -> None:
        self._amount = amount
        self._per_second = amount / seconds
        self._clock = clock
        self._most_keys = most_keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def seconds_until(self, key: str, cost: float = 1) -> int:
        """The seconds until the budget of `key` covers the cost, 0 if it does now.

        A cost above `amount` needs a full budget, which it then overdraws.
        """
        missing = min(cost, self._amount) - self._level(key)
        return max(1, math.ceil(missing / self._per_second)) if missing > 0 else 0

    def spend(self, key: str, cost: float = 1) -> int:
        """Spend the cost if the budget covers it. Returns the result of `seconds_until`."""
        seconds = self.seconds_until(key, cost)
        if seconds == 0:
            self._left[key] = (self._level(key) - cost, self._clock.elapsed())
            self._left.move_to_end(key)
            if len(self._left) > self._most_keys:
                self._left.popitem(last=False)
        return seconds

    def _level(self, key: str) -> float:
        level, counted_at = self._left.get(key, (self._amount, 0.0))
        return min(self._amount, level + (self._clock.elapsed() - counted_at) * self._per_second)
