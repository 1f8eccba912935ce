"""What bench `import` reads, and the figures that follow from it.

A quotient is made within each round, and the median of the rounds is told: what drifts between
rounds drops out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.measuring.access_log import Requests
from benchmarks.measuring.figures import in_rounds, middle, quotient
from benchmarks.measuring.floors import Reading
from benchmarks.payloads import Case


class Step(StrEnum):
    """What is timed, in this order, in every round."""

    FLOOR_A = "floorA"
    FLOOR_B = "floorB"
    FLOOR_C = "floorC"
    NEW = "new"
    UNCHANGED = "unchanged"
    CHANGED = "changed"


IMPORTS = (Step.NEW, Step.UNCHANGED, Step.CHANGED)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted at one import: requests, and bytes that the gateway held.

    `idle` is what it held before the first import, `peak` the most during this one.
    """

    requests: Requests
    idle: int | None
    peak: int | None

    @property
    def over_idle(self) -> float | None:
        """The bytes that the import took at most."""
        return None if self.idle is None or self.peak is None else self.peak - self.idle


@dataclass(slots=True)
class CaseReadings:
    """Everything that was read of one case."""

    case: Case
    payload_bytes: int
    entities: int = 0
    rounds: list[Mapping[Step, Reading]] = field(default_factory=list)
    counted: Mapping[Step, Counted] = field(default_factory=dict)

    def seconds(self, step: Step) -> list[float | None]:
        """Of each round; None where the step was left out."""
        return [read[step].seconds if step in read else None for read in self.rounds]

    def client(self, step: Step) -> list[float | None]:
        """Processor seconds of storage's client, of each round."""
        return [read[step].client if step in read else None for read in self.rounds]

    def rows_per_second(self, step: Step) -> float | None:
        """The median of the rounds."""
        return quotient(self.case.rows, middle(self.seconds(step)))

    def speed(self, step: Step, yardstick: Step) -> float | None:
        """How many times as fast as the yardstick: the median of each round's quotient."""
        return middle(in_rounds(self.seconds(yardstick), self.seconds(step)))

    def work(self, step: Step, yardstick: Step) -> float | None:
        """How many times the yardstick's processor time."""
        return middle(in_rounds(self.client(step), self.client(yardstick)))

    def memory(self, step: Step) -> float | None:
        """Peak memory over idle ÷ payload."""
        return quotient(self.counted[step].over_idle, self.payload_bytes)
