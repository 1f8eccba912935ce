"""A cache of what follows from the names of a JSON object alone.

The objects of a payload nearly always have the same names in the same order. So what depends on the
names alone is computed once for each list of names, and looked up for the next object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")

# Limits, because each row of a payload may have other names. The largest object of the contracts
# has 62 names of 20 characters at most.
MAX_REMEMBERED: Final = 256
"""Lists of names that are remembered."""
MAX_CHARACTERS: Final = 8_192
"""The characters of one list of names."""


class NamesCache(Generic[_T]):
    """Calls `find` with the names of an object, and remembers what it returns."""

    def __init__(self, find: Callable[[tuple[str, ...]], _T]) -> None:
        self._find = find
        self._found: dict[tuple[str, ...], _T] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, names: tuple[str, ...]) -> _T:
        """What `find` returns for these names."""
        try:
            return self._found[names]
        except KeyError:
            pass
        found = self._find(names)
        if sum(map(len, names)) <= MAX_CHARACTERS:
            if len(self._found) >= MAX_REMEMBERED:
                self._found.clear()
            self._found[names] = found
        return found
