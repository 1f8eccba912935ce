"""The journal: the last calls of the app, with credentials masked (docs/stand-in.md#requests)."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

MOST_CALLS = 1_000
# The bytes of a body that are kept; the journal is at most about 128 MB in the worst case.
MOST_BODY_BYTES = 65_536

_MASKED = "***"
# Function keys, client secrets and tokens of the gateway, wherever they appear.
# Not only where a word begins: an escape such as `\n` or `%3D` may stand before one.
_SECRET = re.compile(
    r"pigs?(?:_|%5F|\\u005F)[A-Za-z0-9_-]{8,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*",
    re.IGNORECASE,
)
_FORM_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BYTE_ORDER_MARK = "\ufeff"
_SECRET_HEADERS = frozenset(
    ("authorization", "proxy-authorization", "x-functions-key", "cookie", "set-cookie")
)
_SECRET_FIELDS = frozenset(
    ("client_secret", "client_assertion", "access_token", "password", "code", "sig")
)
_TOKEN_PATH = "/connect/token"  # noqa: S105 (a path)
_IMPORT_PATH = re.compile(
    r"/api/imports/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE
)


class KeptBody:
    """A body as it passes by: its length, its hash, and its first bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._kept = bytearray()
        self._hash = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.size += len(chunk)
        self._hash.update(chunk)
        self._kept += chunk[: MOST_BODY_BYTES - len(self._kept)]

    def document(self, *, has_secrets: bool = False) -> dict[str, Any]:
        """`text` is there where the body is text; `has_secrets` says that it is of a token call."""
        document: dict[str, Any] = {"bytes": self.size}
        if not self.size:
            return document
        document["sha256"] = self._hash.hexdigest()
        is_cut = self.size > len(self._kept)
        # A cut may lie within a character.
        raw = bytes(self._kept)
        try:
            text = raw.decode("utf-8", "ignore" if is_cut else "strict")
        except UnicodeDecodeError:
            return document
        if "\0" in text:
            return document
        document["text"] = mask_token_body(text) if has_secrets else mask(text)
        if is_cut:
            document["isCut"] = True
        return document


@dataclass(slots=True, eq=False)
class JournalEntry:
    """One call. `state` is running, answered, cut, lost, disconnected, reset or failed."""

    number: int
    at: datetime
    method: str
    path: str
    query: str
    headers: Iterable[tuple[bytes, bytes]]
    tenant: str = ""
    body: KeptBody = field(default_factory=KeptBody)
    status: int = 0
    answer_headers: Iterable[tuple[bytes, bytes]] = ()
    answer: KeptBody = field(default_factory=KeptBody)
    fault: Mapping[str, Any] | None = None
    state: str = "running"
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def import_id(self) -> str:
        """The import that the call made or asked for; "" where there is none."""
        for name, value in self.answer_headers:
            if name == b"x-import-id":
                return value.decode("latin-1").lower()
        match = _IMPORT_PATH.match(self.path)
        return match[1].lower() if match else ""

    def end(self, state: str) -> None:
        """The call is over."""
        self.state, self.seconds = state, time.monotonic() - self.started

    def document(self) -> dict[str, Any]:
        """The entry as it is shown: nothing of a credential but its last four characters."""
        has_secrets = self.path.lower().rstrip("/") == _TOKEN_PATH
        return {
            "number": self.number,
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "method": self.method,
            "path": mask(self.path) + (f"?{mask_query(self.query)}" if self.query else ""),
            "tenant": self.tenant or None,
            "headers": _masked_headers(self.headers),
            "body": self.body.document(has_secrets=has_secrets),
            "state": self.state,
            "status": self.status or None,
            "answerHeaders": _masked_headers(self.answer_headers),
            "answer": self.answer.document(has_secrets=has_secrets),
            "importId": self.import_id or None,
            "fault": self.fault,
            "milliseconds": round(self.seconds * 1000, 1) if self.state != "running" else None,
        }


class Journal:
    """The last MOST_CALLS calls, the oldest first.

    When it is full, the tenant with the most calls loses its oldest, so that a busy test does not
    push out the calls of others.
    """

    def __init__(self) -> None:
        self._entries: list[JournalEntry] = []
        self._number = 0

    def begin(
        self,
        at: datetime,
        method: str,
        path: str,
        query: str,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> JournalEntry:
        """Enter a call that has just begun."""
        if len(self._entries) >= MOST_CALLS:
            [(busiest, _)] = Counter(each.tenant for each in self._entries).most_common(1)
            self._entries.remove(next(each for each in self._entries if each.tenant == busiest))
        self._number += 1
        entry = JournalEntry(self._number, at, method, path, query, list(headers))
        self._entries.append(entry)
        return entry

    def find(self, import_id: str = "", tenant: str = "", limit: int = MOST_CALLS) -> list[Any]:
        """The newest `limit` calls of an import or a tenant as documents, the oldest first."""
        entries = [
            entry
            for entry in self._entries
            if (not import_id or entry.import_id == import_id.lower())
            and (not tenant or entry.tenant == tenant)
        ]
        return [entry.document() for entry in entries[-limit:]]

    def forget(self, tenant: str = "") -> int:
        """Forget the calls of a tenant, or all; how many there were."""
        others = [entry for entry in self._entries if tenant and entry.tenant != tenant]
        count = len(self._entries) - len(others)
        self._entries = others
        return count


def mask(text: str) -> str:
    """A text without the keys, secrets and tokens of the gateway."""
    return _SECRET.sub(lambda match: _last_four(match[0]), text)


def mask_query(text: str) -> str:
    """The same for a query or form, whose secrets have names."""
    pairs = parse_qsl(text, keep_blank_values=True)
    if any(_is_secret(name) for name, _ in pairs):
        text = urlencode([(n, _last_four(v) if _is_secret(n) else v) for n, v in pairs], safe="*")
    return mask(text)


def mask_token_body(text: str) -> str:
    """The same for the body of a token call, which is a form or JSON; no other one is shown."""
    text = text.lstrip(_BYTE_ORDER_MARK)
    if text.lstrip().startswith(("{", "[")):
        try:
            document = json.loads(text)
        except ValueError:
            return _MASKED
        return mask(json.dumps(_masked_fields(document), ensure_ascii=False))
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return _MASKED
    is_form = all(_FORM_NAME.fullmatch(name.strip()) for name, _ in pairs)
    return mask_query(text) if is_form else _MASKED


def _is_secret(name: str) -> bool:
    return name.strip().lower() in _SECRET_FIELDS


def _masked_fields(document: Any) -> Any:
    if isinstance(document, dict):
        return {
            name: _last_four(str(value)) if _is_secret(name) else _masked_fields(value)
            for name, value in document.items()
        }
    if isinstance(document, list):
        return [_masked_fields(each) for each in document]
    return document


def _masked_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("utf-8", "replace")
        if name in _SECRET_HEADERS:
            value = _masked_credential(name, value.strip())
        else:
            value = mask(value)
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _masked_credential(name: str, value: str) -> str:
    if name == "x-functions-key":
        return _last_four(value)
    scheme, _, rest = value.partition(" ")
    if name.endswith("authorization") and scheme.lower() == "bearer":
        return f"{scheme} {_last_four(rest)}"
    # The end of a Basic credential in base64 would say more than that of a random key.
    return f"{scheme} {_MASKED}" if name.endswith("authorization") and rest else _MASKED


def _last_four(secret: str) -> str:
    """What is left of a secret, so that two can be told apart."""
    return _MASKED + (secret[-4:] if len(secret) >= 16 else "")
