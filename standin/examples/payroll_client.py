"""A small client of the gateway, as an HR system might have it. Its tests are beside it.

It sends workers and reads them back, and comes through what a network and a busy gateway do to it.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

_ATTEMPTS = 4
_PAUSE = 0.2
_SECONDS = 30.0
_BUSY = (429, 503)
# A token is renewed so many seconds before it expires.
_EARLY = 60.0


@dataclass(frozen=True)
class Response:
    """An answer; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ConnectionLostError(Exception):
    """No answer came. The gateway may have done the work."""


class RefusedError(Exception):
    """The gateway refused the call, and says why. The same call would be refused again."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class AccessDeniedError(RefusedError):
    """The caller may not do this (403). Somebody has to change something, as the reason says."""


class PayrollClient:
    """Sends workers to the gateway, and reads them back."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` has the address and the keys, in the variables of `dev.py run --env`."""
        self.url = environ["GATEWAY_URL"]
        self.keys = {
            "X-Functions-Key": environ["GATEWAY_FUNCTIONS_KEY"],
            "X-Software-Key": environ["GATEWAY_SOFTWARE_KEY"],
        }
        self.client_id = environ["GATEWAY_CLIENT_ID"]
        self.client_secret = environ["GATEWAY_CLIENT_SECRET"]
        self._token = ""
        self._token_ends = 0.0

    def import_workers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The result of each row. Raises RefusedError or ConnectionLostError."""
        body = json.dumps(rows).encode()
        response = self.send("POST", "/api/import/workers?version=1", body)
        if response.status == 202:
            response = self.wait_for_import(response)
        results: list[dict[str, Any]] = json.loads(response.body)["results"]
        return results

    def wait_for_import(self, accepted: Response) -> Response:
        """The answer of an import that the gateway still works on."""
        location = accepted.headers["location"]
        while True:
            status = json.loads(self.send("GET", location).body)
            if status["endedAt"]:
                return self.send("GET", status["links"]["answer"])
            time.sleep(_PAUSE)

    def read_workers(self, **filters: str) -> list[dict[str, Any]]:
        """The stored workers; with a token, as a reporting tool reads them."""
        path = f"/api/records/workers?{urlencode(filters)}"
        try:
            response = self.read_with_token(path)
        except RefusedError as refused:
            if refused.status != 401:
                raise
            # The token has expired earlier than expected, for example because keys were changed.
            self._token = ""
            response = self.read_with_token(path)
        return [item["record"] for item in json.loads(response.body)["items"]]

    def read_with_token(self, path: str) -> Response:
        """One read with the token at hand."""
        return self.send("GET", path, headers={"Authorization": f"Bearer {self.token()}"})

    def token(self) -> str:
        """A token that has not expired."""
        if not self._token or time.monotonic() > self._token_ends:
            form = {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
                "scope": "read_records",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self.send("POST", "/connect/token", urlencode(form).encode(), headers)
            document = json.loads(response.body)
            self._token = document["access_token"]
            self._token_ends = time.monotonic() + document["expires_in"] - _EARLY
        return self._token

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One call, repeated where that helps. Raises RefusedError or ConnectionLostError."""
        # One key for all attempts: the gateway does the work once, and repeats its answer.
        sent = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        sent |= (
            headers if headers is not None else {**self.keys, "Content-Type": "application/json"}
        )
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self.attempt(method, path, body, sent)
            except (OSError, http.client.HTTPException) as error:
                if attempt == _ATTEMPTS:
                    raise ConnectionLostError(f"{method} {path}: {error}") from error
                time.sleep(_PAUSE)
                continue
            if response.status < 400:
                return response
            if response.status not in _BUSY or attempt == _ATTEMPTS:
                raise self.refusal(response)
            time.sleep(self.pause_before_retry(response))
        raise AssertionError

    def pause_before_retry(self, response: Response) -> float:
        """The seconds that a busy gateway asks for."""
        return float(response.headers.get("retry-after", _PAUSE))

    def refusal(self, response: Response) -> RefusedError:
        """The error that an answer means, with the reason that the gateway gives."""
        try:
            document = json.loads(response.body)
            reason = str(document.get("message") or document.get("error_description") or document)
        except ValueError:
            reason = response.body.decode("utf-8", "replace")
        kind = AccessDeniedError if response.status == 403 else RefusedError
        return kind(response.status, reason)

    def attempt(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        """One call over the network."""
        parts = urlsplit(path if "://" in path else f"{self.url}{path}")
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=_SECONDS
        )
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body, dict(headers))
            answer = connection.getresponse()
            received = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, received, answer.read())
        finally:
            connection.close()
