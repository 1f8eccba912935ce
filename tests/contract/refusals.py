"""What every refusal looks like (docs/contracts.md#0, body of a refusal)."""

from __future__ import annotations

import re

from tests.e2e.gateway_process import Answer

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_refusal(answer: Answer, status: int, wording: str = "") -> str:
    """The status, `{"message": …}` alone, a correlation id, no import; returns the message."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("application/json")
    assert GUID.fullmatch(answer.headers["x-correlation-id"])
    assert "x-import-id" not in answer.headers
    assert list(answer.json) == ["message"]
    message: str = answer.json["message"]
    assert message
    assert "\n" not in message
    assert wording in message
    return message
