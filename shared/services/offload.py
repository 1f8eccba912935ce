"""Work that would hold up the event loop goes to a thread (STYLE: over 50 ms)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SMALL = 8 * 1024
"""Bytes of a body that are read in 50 ms whatever they are: at worst rows of three bytes."""


class Offload(Protocol):
    """Run `work(*args)`, which reads about `size` bytes, without holding up other calls."""

    async def __call__(
        self, size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The result of the work; what it raises is raised."""


async def to_thread_if_large(
    size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """`Offload` for the event loop of the app."""
    if size <= _SMALL:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
