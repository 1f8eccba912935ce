"""The model without the sweep: what a message can bring to its end must not need anything else.

Handlers die, fail and go on as stragglers as ever, since their message comes back. Calls and
cancels do not: where they die, messages are missing, and those only the sweep can send again. So an
import that is still open when nothing runs any more was not woken by whatever it waited for.
"""

from __future__ import annotations

from tests.model.simulation import Run, Simulation


class UnsweptSimulation(Simulation):
    """Many imports of few records, and no sweep."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wanted_calls = self.random.randint(3, 9)

    def _start_sweep(self) -> None:
        if not self.runs and not self.queues.messages:
            waiting = self.tables.in_range("Imports", "tenant", "wait|", "wait|~")
            stuck = f"{self._open_imports()} open, {[entity.row for entity in waiting]} noted"
            assert not self._open_imports(), f"stuck without a message: {stuck}"

    def _may_fail(self, run: Run | None) -> bool:
        return run is not None and run.message is not None and run.has_lease
