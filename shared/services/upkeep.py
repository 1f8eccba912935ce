"""Error handling of upkeep: a failing tenant, import or batch does not block the others."""

from __future__ import annotations

from typing import Unpack

from shared import log
from shared.errors import StorageUnavailableError

# So many storage errors in a row mean that storage is down for everything.
_MOST_IN_A_ROW = 5


class UpkeepFaults:
    """Logs the errors of one run under the name `action`."""

    def __init__(self, action: str) -> None:
        self._action = action
        self._in_a_row = 0

    def note(self, error: Exception, **ids: Unpack[log.Fields]) -> None:
        """Log an error with the ids of what failed. Raises it again if storage is down."""
        log.failure(self._action, error, **ids)
        if not isinstance(error, StorageUnavailableError):
            return
        self._in_a_row += 1
        if self._in_a_row >= _MOST_IN_A_ROW:
            raise error

    def note_success(self) -> None:
        """Note that storage answers, so that earlier errors do not count as an outage."""
        self._in_a_row = 0
