"""Calls of a client that measures: one kept connection, the time until the last byte is there."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from benchmarks.measuring.waiting import BenchError, wait_until

WORKERS = "/api/import/workers?version=1"
_CALL_SECONDS = 300.0
_BATCH_SECONDS = 600.0


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
        answer, data = self._posted(WORKERS, "application/json", body)
        results = json.loads(data)["results"]
        if len(results) != rows or any(row["importStatus"] != "OK" for row in results):
            raise BenchError("not every row went in without a warning")
        return answer

    def send(self, address: str, media_type: str, body: bytes) -> Sent:
        """Post rows of any type and wait for them. Raises BenchError where that is refused."""
        return self._posted(address, media_type, body)[0]

    def _posted(self, address: str, media_type: str, body: bytes) -> tuple[Sent, bytes]:
        headers = {**self._headers, "Content-Type": media_type}
        started_at = time.perf_counter()
        self._http.request("POST", address, body, headers)
        response = self._http.getresponse()
        data = response.read()
        seconds = time.perf_counter() - started_at
        if response.status != 200:
            raise BenchError(f"the gateway answered {response.status}: {data[:300]!r}")
        return Sent(seconds, response.headers["X-Import-Id"]), data

    def send_batch(self, address: str, body: bytes) -> str:
        """Post a batch and wait for the end of its import, past the call's own wait; its id."""
        headers = {**self._headers, "Content-Type": "application/json"}
        self._http.request("POST", address, body, headers)
        response = self._http.getresponse()
        data = response.read()
        if response.status not in (200, 202):
            raise BenchError(f"the gateway answered {response.status}: {data[:300]!r}")
        import_id = response.headers["X-Import-Id"]
        if response.status == 202:
            # Every question is work for the gateway and its storage, beside the import.
            wait_until(
                lambda: self._has_ended(import_id), "the end of the import", _BATCH_SECONDS, pause=1
            )
        return import_id

    def _has_ended(self, import_id: str) -> bool:
        """Whether an import has ended; not so where storage is too busy to tell (503)."""
        self._http.request("GET", f"/api/imports/{import_id}", headers=self._headers)
        response = self._http.getresponse()
        data = response.read()
        if response.status == 503:
            return False
        if response.status != 200:
            raise BenchError(f"the import {import_id}: {response.status} {data[:300]!r}")
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
        self._http.request("GET", path, headers=self._headers)
        response = self._http.getresponse()
        data = response.read()
        if response.status != 200:
            raise BenchError(f"GET {path}: {response.status} {data[:300]!r}")
        return json.loads(data)
