"""Calls of a client that imports: what is possible, send, follow, read results.

Every call may be made again, since a part has its Idempotency-Key: a call without an answer, and a
503 or 429, are tried again a few times. What else the gateway refuses is raised with its own words.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from cli.calls import Answer, CallFailedError, ImpossibleCallError, KeyPair, address_of, call
from shared.errors import GatewayError

# A file cut into calls: within the limits of the gateway, each with a key of its own.
#
# The key says which rows these are, of which file, and how they are asked for, so that the same
# command sends the same calls again: what went in the first time is answered and not done again.


class RowTooLargeError(GatewayError):
    """A row that no call can carry."""


@dataclass(frozen=True, slots=True)
class RequestChunk:
    """The rows of one call; `first` is the place in the file of its first row, from 0."""

    first: int
    rows: Sequence[str]
    key: str

    def body(self) -> bytes:
        """The rows as a JSON array."""
        return f"[{','.join(self.rows)}]".encode()


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """The most that one call carries."""

    rows: int
    body_bytes: int


def cut_into_chunks(
    rows: Sequence[str], limits: ChunkLimits, call_text: str, secret: str, lines: Sequence[int] = ()
) -> list[RequestChunk]:
    """The parts of a file, in order; `call_text` is all else that the calls say.

    The gateway stores the keys, so they are hashed under the caller's `secret`: no value of a short
    file can be guessed from one. `lines` has the line of the file that each row begins in, for
    messages. Raises RowTooLargeError.
    """
    file_hash = hmac.new(secret.encode(), call_text.encode(), "sha256")
    for row in rows:
        file_hash.update(b"\0" + row.encode())
    chunks = []
    for start, end in _chunk_spans(rows, limits, lines):
        chunk_hash = hashlib.sha256(f"{file_hash.hexdigest()} {start} {end}".encode()).hexdigest()
        chunks.append(RequestChunk(start, rows[start:end], f"file-{chunk_hash[:48]}"))
    return chunks


def _chunk_spans(
    rows: Sequence[str], limits: ChunkLimits, lines: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """First row, and the row behind the last, of each part; brackets and commas are counted."""
    start, size = 0, 2
    for place, row in enumerate(rows):
        length = len(row.encode()) + 1
        if length + 2 > limits.body_bytes:
            line = f" (line {lines[place]})" if lines else ""
            raise RowTooLargeError(
                f"The row of index {place}{line} has {length - 1} bytes, and a call takes "
                f"{limits.body_bytes}: shorten the row."
            )
        if place - start == limits.rows or size + length > limits.body_bytes:
            yield start, place
            start, size = place, 2
        size += length
    if start < len(rows):
        yield start, len(rows)


TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0
_PAGE: Final = 1_000

Document = dict[str, Any]
JSON_CONTENT: Final[Mapping[str, str]] = {"Content-Type": "application/json"}


class RefusedCallError(CallFailedError):
    """The gateway refused a call; the message is the gateway's."""


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """What came of a call: its import ("" where there is none), and whether it was made before."""

    import_id: str
    is_replayed: bool
    document: Document
    # Of a call that was made before, and named a profile: the version that would read it now.
    profile_version: int | None = None


@dataclass(frozen=True, slots=True)
class ImportClient:
    """One gateway, as one caller; `source` is the name of the file that is imported."""

    url: str
    keys: KeyPair
    pause: Callable[[float], None] = field(default=time.sleep)
    source: str = ""

    def capabilities(self) -> Document:
        """What the gateway takes."""
        return self._document("GET", "/api/capabilities")

    def send(
        self,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        key: str,
        content_headers: Mapping[str, str] = JSON_CONTENT,
    ) -> AcceptedCall:
        """Make a call that is done once however often it is sent, and do not wait for its rows."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": key, **content_headers}
        if self.source:
            name = quote(self.source, safe="")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        answer = self._answer("POST", _with_query(path, query), headers, body)
        is_replayed = answer.headers.get("idempotent-replayed", "").lower() == "true"
        version = answer.headers.get("x-profile-version", "")
        return AcceptedCall(
            answer.headers.get("x-import-id", ""),
            is_replayed,
            answer.document,
            int(version) if version.isdecimal() else None,
        )

    def dry_run(
        self,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        content_headers: Mapping[str, str] = JSON_CONTENT,
    ) -> Document:
        """The answer to a call that stores nothing."""
        address = _with_query(path, query)
        document: Document = self._answer("POST", address, content_headers, body).document
        return document

    def follow(self, import_id: str, on_progress: Callable[[int], None]) -> Document:
        """Wait for the end of an import; `on_progress` is called with the rows that are done."""
        pause = _PAUSE_SECONDS
        while True:
            document = self._document("GET", f"/api/imports/{import_id}")
            on_progress(document["rows"]["done"])
            if document["endedAt"] is not None:
                return document
            self.pause(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def results(self, import_id: str, outcome: str = "") -> Iterator[Document]:
        """The results of an ended import, of one outcome or all, in plan order."""
        filters = {"outcome": outcome} if outcome else {}
        query = {"pageSize": str(_PAGE), **filters}
        while True:
            page = self._document("GET", _with_query(f"/api/imports/{import_id}/results", query))
            yield from page["items"]
            if page["continuation"] is None:
                return
            query["continuation"] = page["continuation"]

    def failed_rows(self, import_id: str) -> list[Document]:
        """The failed rows of an import that no retry has imported, as they were sent."""
        rows: list[Document] = self._answer(
            "GET", f"/api/imports/{import_id}/failed-rows", {}, None
        ).document
        return rows

    def message_groups(self, import_id: str) -> list[Document]:
        """What was said of the rows of an import so far, in groups of one id and field."""
        groups: list[Document] = self._document("GET", f"/api/imports/{import_id}/failures")[
            "items"
        ]
        return groups

    def answer(self, import_id: str) -> Document:
        """The vendor's answer to an ended import."""
        return self._document("GET", f"/api/imports/{import_id}/answer")

    def _document(self, method: str, path: str) -> Document:
        document: Document = self._answer(method, path, {}, None).document
        return document

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        address = address_of(self.url, path)
        for tries_left in reversed(range(TRIES)):
            try:
                answer = call(method, address, {**self.keys.headers(), **headers}, body)
            except CallFailedError as error:
                if not tries_left or isinstance(error, ImpossibleCallError):
                    raise
                self.pause(_LONGEST_PAUSE_SECONDS)
                continue
            if answer.status in (200, 202):
                return answer
            if answer.status not in (429, 503) or not tries_left:
                raise RefusedCallError(answer.refusal)
            self.pause(answer.pause_seconds(1.0))
        raise AssertionError


def has_messages(report: Document) -> bool:
    """Whether something was said of the rows of an import, given as the gateway shows it."""
    return any(report["rows"].get(name) for name in ("failed", "warnings", "infos"))


def find_import_path(capabilities: Document, type_name: str) -> str:
    """The address that takes rows of a type. Raises RefusedCallError."""
    for kind in capabilities["messageTypes"]:
        if kind["type"] == type_name:
            return str(next(item["path"] for item in kind["calls"] if item["method"] == "POST"))
    raise RefusedCallError(f"This gateway does not take {type_name}.")


def limits_of(capabilities: Document, most_rows: int, *, dry_run: bool) -> ChunkLimits:
    """The limits of one call, lowered to `most_rows` where that is less."""
    limits = capabilities["limits"]
    names = ("rows", "dryRunRows") if dry_run else ("rows",)
    rows = min(most_rows, *(int(limits[name]) for name in names))
    return ChunkLimits(rows, int(limits["bodyBytes"]))


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
