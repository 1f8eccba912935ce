"""Repeating a conditional write until no other writer was faster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from shared.errors import GatewayError, PreconditionFailedError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def retry_on_conflict(
    attempts: int, too_many: Callable[[], GatewayError]
) -> Callable[
    [Callable[Parameters, Awaitable[Result]]],
    Callable[Parameters, Coroutine[Any, Any, Result]],
]:
    """For a function that reads, decides, and writes on the condition that nothing has changed.

    When the function raises PreconditionFailedError, another writer was faster. The function is
    then called again, so it must read again what it decides by. After `attempts` conflicts the
    caller gets the error that `too_many` makes.
    """

    def decorate(
        attempt: Callable[Parameters, Awaitable[Result]],
    ) -> Callable[Parameters, Coroutine[Any, Any, Result]]:
        @wraps(attempt)
        async def attempt_until_no_conflict(
            *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> Result:
            for _ in range(attempts):
                try:
                    return await attempt(*args, **kwargs)
                except PreconditionFailedError:
                    continue
            raise too_many()

        return attempt_until_no_conflict

    return decorate
