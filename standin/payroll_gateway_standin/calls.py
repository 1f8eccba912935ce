"""HTTP with the standard library, without the proxies of the environment."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 120.0


class StandinError(Exception):
    """The gateway could not be started, or refused what a test asked of it."""


@dataclass(frozen=True)
class Answer:
    """An answer of the gateway; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def call(
    method: str,
    url: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> Answer:
    """One call on a connection of its own. A body that is neither bytes nor None is sent as JSON.

    Raises OSError or HTTPException where no answer comes.
    """
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=seconds)
    try:
        connection.request(method, f"{parts.path}?{parts.query}".rstrip("?"), body, sent)
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())
    finally:
        connection.close()


def control_call(method: str, url: str, body: object = None) -> Any:
    """Make a control call; returns its JSON. Raises StandinError with everything that is wrong."""
    try:
        answer = call(method, url, body)
    except (OSError, http.client.HTTPException) as error:
        raise StandinError(f"The gateway does not answer {method} {url}: {error}") from error
    if answer.status >= 400:
        raise StandinError(f"{method} {url}: {describe(answer)}")
    return json.loads(answer.body or b"null")


def describe(answer: Answer) -> str:
    """Status and reason of a refusal."""
    try:
        document = answer.json()
        message, errors = document["message"], document.get("errors") or []
    except (ValueError, KeyError, TypeError, AttributeError):
        message, errors = answer.body[:500].decode("utf-8", "replace"), []
    return " ".join([str(answer.status), str(message), *map(str, errors)])
