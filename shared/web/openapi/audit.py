"""`/api/audit` as an operation (docs/contracts.md#8)."""

from __future__ import annotations

from typing import Any, Final

from shared.services.admin.audit import Action
from shared.storage.audit_records import STATE_MEANINGS, AuditState
from shared.web.audit import AUDIT
from shared.web.openapi.operations import (
    CONTINUATION,
    JSON,
    MOMENT,
    PAGE_SIZE,
    TEXT,
    Access,
    Answer,
    Operation,
    Parameter,
    caller_schema,
    closed,
    nullable,
    page_of,
    reference,
)

TAG: Final = "Audit"
_CONTENT: Final = {"type": "object"}
_TIME: Final = {"type": "string", "format": "date-time"}


def operations() -> tuple[Operation, ...]:
    """The list of administrative acts."""
    return (
        Operation(
            function="audit_list",
            method="GET",
            path=AUDIT,
            summary="What administrators have done to the tenant, newest first",
            text="Changes of the tenant and of those who may call for it, and each time that "
            "sensitive values of records were given out. An entry is written before its act. "
            + " ".join(f"`{state}`: {text}" for state, text in STATE_MEANINGS.items()),
            tag=TAG,
            access=Access.KEY_PAIR,
            parameters=(
                Parameter(
                    "action",
                    "query",
                    "Only acts of this name.",
                    {"type": "string", "enum": [action.value for action in Action]},
                ),
                Parameter("since", "query", "Only acts from this time on; UTC by default.", _TIME),
                Parameter("until", "query", "Only acts up to this time; UTC by default.", _TIME),
                PAGE_SIZE,
                CONTINUATION,
            ),
            answers={200: Answer("A page of acts.", {JSON: reference("AuditPage")})},
            refusals=(400, 401, 403, 406),
        ),
    )


def shapes() -> dict[str, dict[str, Any]]:
    """An act, and a page of them."""
    entry = closed(
        {
            "at": MOMENT,
            "action": TEXT,
            "state": {"type": "string", "enum": [state.value for state in AuditState]},
            "caller": caller_schema(),
            "target": _CONTENT,
            "before": nullable(_CONTENT),
            "after": nullable(_CONTENT),
        }
    )
    return {"AuditEntry": entry, "AuditPage": page_of("AuditEntry")}
