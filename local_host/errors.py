"""The refusal of an app, and the failure of an invocation."""

from collections.abc import Sequence


class AppRefusedError(Exception):
    """The real host or worker would not run this app. `problems` has a sentence for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class InvocationFailedError(Exception):
    """A handler raised, timed out or returned an invalid result. The failure is logged already."""
