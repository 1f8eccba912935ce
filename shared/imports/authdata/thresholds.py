"""When a batch is too unlike what is stored to be taken (CONTRACTS 3, thresholds).

Exceeded means strictly more, in exact numbers: added and updated as a percentage of the employees
stored before (not applied where there are none), errors as a percentage of the batch's records.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_ADDED: Final = "Number of added employees exceeds threshold: {}%. Processing has stopped."
_UPDATED: Final = "Number of employees with updates exceeds threshold: {}%. Processing has stopped."
_ERRORS: Final = "Number of records with errors exceeds threshold: {}%. Processing has stopped."


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percentages, each optional."""

    added: Decimal | None = None
    updated: Decimal | None = None
    errors: Decimal | None = None

    @property
    def ask_for_stored(self) -> bool:
        """Whether somebody has to count the stored employees."""
        return self.added is not None or self.updated is not None


def exceeded(
    thresholds: Thresholds, *, added: int, updated: int, errors: int, records: int, stored: int
) -> tuple[str, ...]:
    """The vendor's sentence for each threshold that is exceeded."""
    judged = (
        (_ADDED, thresholds.added, added, stored),
        (_UPDATED, thresholds.updated, updated, stored),
        (_ERRORS, thresholds.errors, errors, records),
    )
    return tuple(
        sentence.format(percent_text(most))
        for sentence, most, count, whole in judged
        if most is not None and whole > 0 and count * 100 > most * whole
    )


def percent_text(percent: Decimal) -> str:
    """As it was configured, without trailing zeros: `2.50` is `2.5`, `10` is `10`."""
    text = format(percent, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
