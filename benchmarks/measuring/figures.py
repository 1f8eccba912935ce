"""From readings of several rounds to the figures that are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was read; None where nothing was."""
    numbers = [value for value in values if value is not None]
    return median(numbers) if numbers else None


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all values do not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def quotient(dividend: float | None, divisor: float | None) -> float | None:
    """One by the other; None where one of them is missing, or the divisor is 0."""
    return dividend / divisor if dividend is not None and divisor else None


def in_rounds(
    dividends: Sequence[float | None], divisors: Sequence[float | None]
) -> list[float | None]:
    """The quotient of each round: what drifts between rounds drops out."""
    return [quotient(one, other) for one, other in zip(dividends, divisors, strict=True)]


def rounded(value: float | None) -> float | None:
    """For JSON: four significant digits say all that these measurements can."""
    if value is None or value == 0:
        return value
    return round(value, 3 - math.floor(math.log10(abs(value))))
