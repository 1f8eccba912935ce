"""Wrong credentials are slowed down (429), and nobody else is.

A failed call counts against two budgets: that of the credential which it named (a function key, a
client id, a token), and that of its source. Past either of them the answer to a wrong credential is
429 with `Retry-After` in place of 401 or 403. The credential is looked at first, whatever was sent
before: who guesses at the client id or the software key of a tenant cannot keep the tenant's own,
right credentials out.

The source is the address of the caller, as far as it can be believed. An app on the platform sees
no socket. The platform's front end appends the address that it talks to at the end of
`X-Forwarded-For`; everything before that entry, and headers like `X-Azure-ClientIP` or `X-Real-IP`,
are the caller's own words. Where nothing in front of the gateway appends an entry, even the last
one is the caller's, so that the header counts only if the settings say so. Without it all failed
calls are of one source.
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
# What one subscriber gets; the addresses within it are at the caller's choice.
_IPV6_PREFIX = 64


class FailureThrottle:
    """The budgets for failed calls of a process."""

    def __init__(
        self, clock: Clock, per_credential: int, per_source: int, *, is_forwarded: bool
    ) -> None:
        """Budgets are per minute; `is_forwarded`: a front end appends to X-Forwarded-For."""
        self._credentials = Budgets(per_credential, _MINUTE, clock)
        self._sources = Budgets(per_source, _MINUTE, clock)
        self._is_forwarded = is_forwarded

    def count(self, headers: Mapping[str, str], kind: str, *credentials: str) -> None:
        """Count a call whose credential turned out wrong; only a digest of it is remembered.

        Several `credentials` are readings of the one that was sent. Raises TooManyRequestsError
        where it is one too many.
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
    """The last entry of X-Forwarded-For without its port; of IPv6 the network, "" where none is."""
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
