"""Upkeep goes past what fails: a tenant, an import or a batch does not keep the others waiting."""

from __future__ import annotations

from typing import Unpack

from shared import log
from shared.errors import StorageUnavailableError

# So many storage faults one after another mean that storage is away, for everything.
_MOST_IN_A_ROW = 5


class UpkeepFaults:
    """Notes what failed in one run; each is logged under the name `action`."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._in_a_row = 0

    def note(self, error: Exception, **ids: Unpack[log.Fields]) -> None:
        """Log a fault with the ids of what failed. Raises it again where storage is away."""
        log.failure(self._action, error, **ids)
        if not isinstance(error, StorageUnavailableError):
            return
        self._in_a_row += 1
        if self._in_a_row >= _MOST_IN_A_ROW:
            raise error

    def note_success(self) -> None:
        """Storage answers: faults before this were not its own."""
        self._in_a_row = 0
