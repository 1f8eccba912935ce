"""Dry runs of authentication data have a budget for each caller (429).

A dry run shows for every record whether its values are the stored ones, and leaves no trace.
Without a budget, a caller with the credentials of a tenant could guess values without limit. Calls
are counted per minute and records per hour.
"""

from __future__ import annotations

from shared import log
from shared.budgets import Budgets
from shared.clock import Clock
from shared.errors import TooManyRequestsError

_MINUTE = 60.0
_HOUR = 3_600.0


class DryRunBudget:
    """The dry run budgets of a process, by caller."""

    def __init__(self, clock: Clock, calls: int, records: int) -> None:
        """`calls` a minute and `records` an hour."""
        self._calls = Budgets(calls, _MINUTE, clock)
        self._records = Budgets(records, _HOUR, clock)

    def spend(self, tenant: str, caller: str, records: int) -> None:
        """Count a dry run. Raises TooManyRequestsError where it is over the budget."""
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
