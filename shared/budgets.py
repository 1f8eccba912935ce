"""Rate limits per key (token buckets) in bounded memory: failed credentials, dry runs of authdata.

The budgets are in the memory of a process, so each process of the gateway has its own.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Mapping

from shared import log
from shared.clock import Clock
from shared.errors import TooManyRequestsError

MOST_KEYS = 10_000


class Budgets:
    """A budget of `amount` for each key, refilled evenly with `amount` in `seconds`.

    Beyond `most_keys` keys the least recently used one is removed, which refills its budget.
    """

    def __init__(
        self, amount: float, seconds: float, clock: Clock, most_keys: int = MOST_KEYS
    ) -> None:
        self._amount = amount
        self._per_second = amount / seconds
        self._clock = clock
        self._most_keys = most_keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def seconds_until(self, key: str, cost: float = 1) -> int:
        """The seconds until the budget of `key` covers the cost, 0 if it does now.

        A cost above `amount` needs a full budget, which it then overdraws.
        """
        missing = min(cost, self._amount) - self._level(key)
        return max(1, math.ceil(missing / self._per_second)) if missing > 0 else 0

    def spend(self, key: str, cost: float = 1) -> int:
        """Spend the cost if the budget covers it. Returns the result of `seconds_until`."""
        seconds = self.seconds_until(key, cost)
        if seconds == 0:
            self._left[key] = (self._level(key) - cost, self._clock.elapsed())
            self._left.move_to_end(key)
            if len(self._left) > self._most_keys:
                self._left.popitem(last=False)
        return seconds

    def _level(self, key: str) -> float:
        level, counted_at = self._left.get(key, (self._amount, 0.0))
        return min(self._amount, level + (self._clock.elapsed() - counted_at) * self._per_second)


# Dry runs of authentication data have a budget for each caller (429).
#
# A dry run shows for every record whether its values are the stored ones, and leaves no trace.
# Without a budget, a caller with the credentials of a tenant could guess values without limit.
# Calls are counted per minute and records per hour.

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


# A rate limit for calls with wrong credentials (429). Calls with valid credentials always pass.
#
# A failed call counts against two budgets: that of its credential (a function key, a client id or
# a token), and that of its source. When either is used up, the answer to a wrong credential is
# 429 with `Retry-After` in place of 401 or 403. The gateway always checks the credential first,
# so that an attacker who guesses at a tenant's client id or software key cannot lock the tenant
# out.
#
# The source is the address of the caller, if it can be trusted. An app on the platform sees no
# socket. The platform's front end appends the address of its peer to `X-Forwarded-For`. The caller
# can forge everything before that entry, and headers like `X-Azure-ClientIP` or `X-Real-IP`. If no
# front end appends an entry, the caller can forge the last one too, so the header is read only if
# the settings say so. Without it all failed calls have the same source.

_FORWARDED = "x-forwarded-for"
# The prefix that one subscriber gets. The caller can choose among the addresses within it.
_IPV6_PREFIX = 64


class FailureThrottle:
    """The budgets for failed calls in this process."""

    def __init__(
        self, clock: Clock, per_credential: int, per_source: int, *, is_forwarded: bool
    ) -> None:
        """Budgets are per minute. `is_forwarded`: a front end appends to X-Forwarded-For."""
        self._credentials = Budgets(per_credential, _MINUTE, clock)
        self._sources = Budgets(per_source, _MINUTE, clock)
        self._is_forwarded = is_forwarded

    def count(self, headers: Mapping[str, str], kind: str, *credentials: str) -> None:
        """Count a call with a wrong credential, of which only a digest is kept in memory.

        Several `credentials` are readings of the one that was sent. Raises TooManyRequestsError
        if a budget is used up.
        """
        names = [
            hashlib.sha256(f"{kind}\0{each}".encode("utf-8", "replace")).hexdigest()
            for each in credentials
        ]
        source = caller_address(headers) if self._is_forwarded else ""
        waits = [self._credentials.seconds_until(name) for name in names]
        seconds = max(*waits, self._sources.seconds_until(source))
        if seconds:
            log.event("credential.throttled", reason=kind)
            raise TooManyRequestsError(
                "Too many calls came with wrong credentials, and this one's are wrong too: check "
                f"them, and send the call again after {seconds} seconds.",
                seconds,
            )
        for name in names:
            self._credentials.spend(name)
        self._sources.spend(source)


def caller_address(headers: Mapping[str, str]) -> str:
    """The last address in X-Forwarded-For, of IPv6 the network; "" if there is none."""
    last = headers.get(_FORWARDED, "").rpartition(",")[2].strip()
    host = last[1:].partition("]")[0] if last.startswith("[") else last
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))
    return str(address)
