"""What the local host refuses, and the failure of an invocation."""

from collections.abc import Sequence


class AppRefusedError(Exception):
    """The real host or worker would not run this app; `problems` has one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class InvocationFailedError(Exception):
    """A handler raised, timed out or returned what the platform does not take; it is logged."""
