"""`/api/audit` as an operation (docs/contracts.md#8)."""

from __future__ import annotations

from typing import Any, Final

from pydantic import AwareDatetime, Field

from shared.auth.integrations import READ
from shared.services.admin.audit import Action
from shared.storage.audit_records import STATE_MEANINGS, AuditState
from shared.web.audit import AUDIT
from shared.web.openapi.operations import (
    CONTINUATION,
    JSON,
    PAGE_SIZE,
    Access,
    Answer,
    Operation,
    Parameter,
)
from shared.web.openapi.schemas import AnswerModel, Caller, Page

_TIME: Final = {"type": "string", "format": "date-time"}
_MEANINGS: Final = " ".join(f"`{state}`: {text}" for state, text in STATE_MEANINGS.items())


class AuditEntry(AnswerModel):
    at: AwareDatetime = Field(description="When the act began, in UTC.")
    action: str = Field(description="What was done.")
    state: AuditState = Field(description="How the act ended: `begun`, `done` or `refused`.")
    caller: Caller | None = Field(description="Who did it; null where it is not known.")
    target: dict[str, Any] = Field(description="What it was done to, by names and ids.")
    before: dict[str, Any] | None = Field(
        description="What the act changed, as it was before; null where there was nothing."
    )
    after: dict[str, Any] | None = Field(
        description="What the act changed, as it was afterwards; null where there was nothing."
    )


class AuditPage(Page[AuditEntry]):
    pass


OPERATIONS: Final = (
    Operation(
        function="audit_list",
        method="GET",
        path=AUDIT,
        summary="What administrators have done to the tenant, newest first",
        text="Changes of the tenant and of those who may call for it, and each time that the "
        "gateway gave out sensitive values of records. It writes an entry before the act. "
        f"{_MEANINGS}",
        tag="Audit",
        access=Access.KEY_PAIR,
        permission=READ,
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
        answers={200: Answer("A page of acts.", {JSON: AuditPage})},
        refusals=(400, 401, 403, 406),
    ),
)
