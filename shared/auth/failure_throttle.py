"""A rate limit for calls with wrong credentials (429). Calls with valid credentials always pass.

A failed call counts against two budgets: that of its credential (a function key, a client id or a
token), and that of its source. When either is used up, the answer to a wrong credential is 429 with
`Retry-After` in place of 401 or 403. The gateway always checks the credential first, so that an
attacker who guesses at a tenant's client id or software key cannot lock the tenant out.

The source is the address of the caller, if it can be trusted. An app on the platform sees no
socket. The platform's front end appends the address of its peer to `X-Forwarded-For`. The caller
can forge everything before that entry, and headers like `X-Azure-ClientIP` or `X-Real-IP`. If no
front end appends an entry, the caller can forge the last one too, so the header is read only if
the settings say so. Without it all failed calls have the same source.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping

from shared import log
from shared.budgets import Budgets
from shared.clock import Clock
from shared.errors import TooManyRequestsError

_FORWARDED = "x-forwarded-for"
_MINUTE = 60.0
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
