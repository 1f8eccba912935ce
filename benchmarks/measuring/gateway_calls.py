"""Calls of a client that measures: one kept connection, the time until the last byte is there."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.measuring.waiting import BenchError, wait_until
from local_host.setup.messages import note

WORKERS = "/api/import/workers?version=1"
_CALL_SECONDS = 300.0
_IMPORT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Sent:
    """An import that went in whole: how long the call took, and its id."""

    seconds: float
    import_id: str


class Connection:
    """A connection to a gateway, in the name of one integration."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_CALL_SECONDS)
        self._headers = dict(headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def send_workers(self, body: bytes, rows: int) -> Sent:
        """Post workers and wait for their rows. Raises BenchError unless each went in clean."""
        sent, data = self._posted(WORKERS, "application/json", body)
        if data:
            results = json.loads(data)["results"]
            if len(results) != rows or any(row["importStatus"] != "OK" for row in results):
                raise BenchError("not every row went in without a warning")
        return sent

    def send(self, address: str, media_type: str, body: bytes) -> Sent:
        """Post rows of any type and wait for the end of their import, past the call's own wait.

        Raises BenchError where the gateway refuses them.
        """
        return self._posted(address, media_type, body)[0]

    def post(self, address: str, body: bytes) -> tuple[float, int]:
        """Post JSON; the seconds until the last byte of the answer, and its status."""
        started_at = time.perf_counter()
        status = self._exchange("POST", address, "application/json", body)[0]
        return time.perf_counter() - started_at, status

    def _posted(self, address: str, media_type: str, body: bytes) -> tuple[Sent, bytes]:
        """The import, and the body of the answer if it came after the end of the import."""
        started_at = time.perf_counter()
        status, headers, data = self._exchange("POST", address, media_type, body)
        if status not in (200, 202):
            raise BenchError(f"the gateway answered {status}: {data[:300]!r}")
        import_id = headers["X-Import-Id"]
        if status == 202:
            note(f"{time.perf_counter() - started_at:.0f} s: the call has ended before its import")
            # Every question is work for the gateway and its storage, beside the import.
            self.wait_for_end(import_id)
            data = b""
        return Sent(time.perf_counter() - started_at, import_id), data

    def wait_for_end(self, import_id: str) -> None:
        """Ask every second whether an import has ended. Raises BenchError after ten minutes."""
        wait_until(
            lambda: self._has_ended(import_id), "the end of the import", _IMPORT_SECONDS, pause=1
        )

    def cancel(self, import_id: str) -> None:
        """Cancel an import; what has ended meanwhile stays as it is."""
        self._exchange("POST", f"/api/imports/{import_id}/cancel", "application/json", b"")

    def _exchange(
        self, method: str, address: str, media_type: str = "", body: bytes | None = None
    ) -> tuple[int, HTTPMessage, bytes]:
        headers = {**self._headers, "Content-Type": media_type} if media_type else self._headers
        self._http.request(method, address, body, headers)
        response = self._http.getresponse()
        return response.status, response.headers, response.read()

    def _has_ended(self, import_id: str) -> bool:
        """Whether an import has ended; not so where storage is too busy to tell (503)."""
        status, _, data = self._exchange("GET", f"/api/imports/{import_id}")
        if status == 503:
            return False
        if status != 200:
            raise BenchError(f"the import {import_id}: {status} {data[:300]!r}")
        return bool(json.loads(data)["endedAt"])

    def counts_of(self, import_id: str) -> Mapping[str, int]:
        """How many rows of an import ended how."""
        rows: Mapping[str, int] = self._get(f"/api/imports/{import_id}")["rows"]
        return rows

    def check_health(self) -> None:
        """One call that goes to storage: connections that were cut meanwhile are made anew."""
        self._get("/api/health")

    def read_pages(self, path: str, media_type: str) -> list[bytes]:
        """The bodies of a list and of the pages behind it, which `Link` names."""
        pages: list[bytes] = []
        address = path
        while address:
            self._http.request("GET", address, headers={**self._headers, "Accept": media_type})
            response = self._http.getresponse()
            pages.append(response.read())
            if response.status != 200:
                raise BenchError(f"GET {address}: {response.status} {pages[-1][:300]!r}")
            link = response.headers.get("Link", "")
            address = link[1 : link.index(">")] if link else ""
        return pages

    def _get(self, path: str) -> Any:
        status, _, data = self._exchange("GET", path)
        if status != 200:
            raise BenchError(f"GET {path}: {status} {data[:300]!r}")
        return json.loads(data)
