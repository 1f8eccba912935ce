"""Retries of conditional writes that conflict with other writers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from shared.errors import GatewayError, PreconditionFailedError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def retry_on_conflict(
    attempts: int, make_error: Callable[[], GatewayError]
) -> Callable[
    [Callable[Parameters, Awaitable[Result]]],
    Callable[Parameters, Coroutine[Any, Any, Result]],
]:
    """Decorate a function that reads, decides, and writes on condition that nothing has changed.

    If the function raises PreconditionFailedError, another writer was faster. It is then called
    again, so it must read again what it decides by. After `attempts` conflicts the decorated
    function raises the error of `make_error`.
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
            raise make_error()

        return attempt_until_no_conflict

    return decorate
