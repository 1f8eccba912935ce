"""The classic mistakes of clients, each in a client of its own that is otherwise the mended one.

The tests in test_payroll_client.py catch each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from payroll_client import (
    ConnectionLostError,
    PayrollClient,
    RefusedError,
    Response,
)


class RepeatsWithoutKey(PayrollClient):
    """Repeats a call as a new one, so the gateway does the work again."""

    def attempt(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        sent = {name: value for name, value in headers.items() if name != "Idempotency-Key"}
        return super().attempt(method, path, body, sent)


class TakesSilenceForFailure(PayrollClient):
    """Takes a call without an answer for one without an effect, and reports every row as failed."""

    def import_workers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        body = json.dumps(rows).encode()
        headers = {**self.keys, "Content-Type": "application/json"}
        try:
            response = self.attempt("POST", "/api/import/workers?version=1", body, headers)
        except OSError:
            return [{"importStatus": "Error"} for _ in rows]
        results: list[dict[str, Any]] = json.loads(response.body)["results"]
        return results


class TakesAcceptedForDone(PayrollClient):
    """Takes a 202 for a success of all rows, before the gateway has looked at them."""

    def wait_for_import(self, accepted: Response) -> Response:
        return Response(200, accepted.headers, b'{"results":[]}')


class RepeatsRefusals(PayrollClient):
    """Takes every 403 for a passing fault, and hides the reason that the gateway gives."""

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        for _ in range(3):
            try:
                return super().send(method, path, body, headers)
            except RefusedError as refused:
                if refused.status != 403:
                    raise
        raise ConnectionLostError("Check the function key.")


class KeepsTokenForEver(PayrollClient):
    """Fetches a token once, and never another one."""

    def read_with_token(self, path: str) -> Response:
        self._token_ends = float("inf")
        self._token = self._kept = getattr(self, "_kept", "") or self.token()
        return super().read_with_token(path)


class HurriesBusyGateway(PayrollClient):
    """Repeats a call at once when the gateway asks it to wait."""

    def pause_before_retry(self, response: Response) -> float:
        return min(0.0, super().pause_before_retry(response))
