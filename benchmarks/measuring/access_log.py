"""Requests counted where they arrive: the emulator's access log, a line for each.

A line: `127.0.0.1 - - [time] "POST /account/$batch HTTP/1.1" 202 -`. A whole transaction is one.
Writing the log costs time, so requests are counted in a pass of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring.waiting import wait_until

_LINE = re.compile(r'"([A-Z]+) /[a-z0-9]+/(\S*) HTTP/1\.1" \d{3}')
_TABLE = re.compile(r"[A-Z$]")


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests reached each service; `sends` and `deletes` are of queue messages.

    The host asks its queues for messages whether there is work or not, so `polls` are not part of
    `total`; one is put back for each message that was sent, because somebody has to fetch it.
    """

    tables: int
    blobs: int
    queues: int
    sends: int
    deletes: int
    polls: int

    @property
    def total(self) -> int:
        """Requests that the work needed."""
        return self.tables + self.blobs + self.queues + self.sends


class AccessLog:
    """The log of a running emulator."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._start = 0

    def begin(self) -> None:
        """Count from here on."""
        self._start = self._file.stat().st_size

    def settled(self) -> Requests:
        """The requests since `begin`, once every message that was sent is deleted."""
        wait_until(self._is_settled, "every message to be deleted")
        return self._count()

    def _is_settled(self) -> bool:
        count_before = self._count()
        return count_before.deletes >= count_before.sends

    def _count(self) -> Requests:
        with self._file.open("rb") as log:
            log.seek(self._start)
            return count(log.read().decode("utf-8", "replace"))


def count(text: str) -> Requests:
    """The requests in lines of an access log."""
    kinds = Counter(_kind(method, path) for method, path in _LINE.findall(text))
    return Requests(
        tables=kinds["tables"],
        blobs=kinds["blobs"],
        queues=kinds["queues"] + kinds["sends"] + kinds["deletes"],
        sends=kinds["sends"],
        deletes=kinds["deletes"],
        polls=kinds["polls"],
    )


def _kind(method: str, path: str) -> str:
    """The service is told by the address: only tables begin with a capital."""
    if _TABLE.match(path):
        return "tables"
    address = path.partition("?")[0]
    if address.endswith("/messages"):
        return {"GET": "polls", "POST": "sends"}.get(method, "queues")
    if "/messages/" in address:
        return "deletes" if method == "DELETE" else "queues"
    return "blobs"
