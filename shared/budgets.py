"""Budgets that refill with time: how often something may be done per key, in bounded memory.

They are kept in the memory of a process: several processes of the gateway have a budget each.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from shared.clock import Clock

MOST_KEYS = 10_000


class Budgets:
    """Up to `amount` at once for each key, and refilled evenly with `amount` in `seconds`.

    Of more than `most_keys` keys the least recently used is forgotten, which fills its budget.
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
        """How many keys are remembered."""
        return len(self._left)

    def seconds_until(self, key: str, cost: float = 1) -> int:
        """0 where the budget of `key` bears the cost now, else the seconds until it does.

        A cost over the whole budget is borne by a full one, which is then overdrawn.
        """
        missing = min(cost, self._amount) - self._level(key)
        return max(1, math.ceil(missing / self._per_second)) if missing > 0 else 0

    def spend(self, key: str, cost: float = 1) -> int:
        """Spend the cost where `seconds_until` is 0; returns what that returned."""
        seconds = self.seconds_until(key, cost)
        if seconds == 0:
            self._left[key] = (self._level(key) - cost, self._clock.elapsed())
            self._left.move_to_end(key)
            if len(self._left) > self._most_keys:
                self._left.popitem(last=False)
        return seconds

    def _level(self, key: str) -> float:
        level, since = self._left.get(key, (self._amount, 0.0))
        return min(self._amount, level + (self._clock.elapsed() - since) * self._per_second)
