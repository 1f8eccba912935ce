"""Requests counted where they arrive: the emulator's access log, a line for each.

A line: `127.0.0.1 - - [time] "POST /account/$batch HTTP/1.1" 202 -`. A whole transaction is one.
Writing the log costs time, so requests are counted in a pass of their own.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

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

    def arrived(self) -> int:
        """All requests since `begin`, those of polling too."""
        with self._file.open("rb") as log:
            log.seek(self._start)
            return len(_LINE.findall(log.read().decode("utf-8", "replace")))

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


class ArrivalTimes:
    """Follows the log for the time of a block: when messages were sent and queues were polled.

    The emulator writes a line when it has answered.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._has_ended = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._arrivals: list[tuple[float, str, str]] = []

    def __enter__(self) -> Self:
        self._start = self._file.stat().st_size
        self._follower.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        self._follower.join()

    def waits(self) -> list[float]:
        """The seconds from each message to the next poll of its queue."""
        waits: list[float] = []
        sent_at: dict[str, float] = {}
        for at, kind, queue in self._arrivals:
            if kind == "sends":
                sent_at[queue] = at
            elif kind == "polls" and queue in sent_at:
                waits.append(at - sent_at.pop(queue))
        return waits

    def _follow(self) -> None:
        with self._file.open("rb") as log:
            log.seek(self._start)
            rest = b""
            while not self._has_ended.wait(0.001):
                *lines, rest = (rest + log.read()).split(b"\n")
                at = time.perf_counter()
                for method, path in _LINE.findall(b"\n".join(lines).decode("utf-8", "replace")):
                    self._arrivals.append((at, _kind(method, path), path.partition("?")[0]))
