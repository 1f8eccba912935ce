"""Dry runs of authentication data have a budget for each caller (429).

A dry run tells of every record whether its values are those that are stored, and leaves no trace.
Without a budget, whoever has the credentials of a tenant could try values without end. Calls are
counted by the minute and records by the hour.
"""

from __future__ import annotations

from shared import log
from shared.budgets import Budgets
from shared.clock import Clock
from shared.errors import TooManyRequestsError

_MINUTE = 60.0
_HOUR = 3_600.0


class AuthdataTrials:
    """The budgets for dry runs of a process."""

    def __init__(self, clock: Clock, calls: int, records: int) -> None:
        """`calls` a minute and `records` an hour."""
        self._calls = Budgets(calls, _MINUTE, clock)
        self._records = Budgets(records, _HOUR, clock)

    def spend(self, tenant: str, caller: str, records: int) -> None:
        """Count a dry run of so many records. Raises TooManyRequestsError where it is too much."""
        key = f"{tenant}\0{caller}"
        seconds = max(self._calls.seconds_until(key), self._records.seconds_until(key, records))
        if seconds:
            log.event("authdata.trial_refused", tenant=tenant, rows=records)
            raise TooManyRequestsError(
                "This caller has made too many dry runs of authentication data: send the call "
                f"again after {seconds} seconds, or without commit false and dryRun.",
                seconds,
            )
        self._calls.spend(key)
        self._records.spend(key, records)
