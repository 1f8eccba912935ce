"""The audit log as `/api/audit` returns it (docs/contracts.md#8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import azure.functions as func

from shared.auth.integrations import READ
from shared.errors import InvalidRequestError
from shared.services.admin.audit import Action
from shared.web import query_names
from shared.web.imports import json_answer
from shared.web.requests import (
    check_accepts_json,
    from_opaque,
    to_opaque,
    whole_number,
    wrong_continuation,
)

if TYPE_CHECKING:
    from shared.gateway import Gateway
    from shared.storage.audit_records import AuditEntry

AUDIT: Final = "/api/audit"
PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
_ROW: Final = re.compile(r"[0-9]{16}\|[0-9A-Za-z-]{1,64}")


async def audit_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """A page of the log of the caller's tenant."""
    caller = await gateway.callers.authenticate(req.headers, READ)
    query = query_names.AUDIT.read(req)
    check_accepts_json(req)
    return json_answer(await audit_page(gateway, caller.tenant, query))


async def audit_page(gateway: Gateway, tenant: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the log of a tenant, as the query asks for it. Raises InvalidRequestError."""
    page = await gateway.audit_reader.page(
        tenant,
        whole_number(query, "pageSize", PAGE, LARGEST_PAGE),
        action=action_wanted(query.get("action")),
        since=read_moment("since", query.get("since")),
        until=read_moment("until", query.get("until")),
        after=_continuation(query),
    )
    return {
        "items": [entry_view(entry) for entry in page.entries],
        "continuation": to_opaque(page.following) if page.following else None,
    }


def entry_view(entry: AuditEntry) -> dict[str, Any]:
    """An entry as it is shown."""
    return {
        "at": entry.at,
        "action": entry.action,
        "state": entry.state.value,
        "caller": entry.caller.to_document() if entry.caller else None,
        "target": dict(entry.target),
        "before": None if entry.before is None else dict(entry.before),
        "after": None if entry.after is None else dict(entry.after),
    }


def action_wanted(text: str | None) -> Action | None:
    """The action by which a list is filtered. Raises InvalidRequestError."""
    if text is None:
        return None
    try:
        return Action(text.strip().lower())
    except ValueError:
        names = ", ".join(Action)
        raise InvalidRequestError(f"action must be one of {names}.") from None


def read_moment(name: str, text: str | None) -> datetime | None:
    """A time in ISO 8601, in UTC where it has no offset. Raises InvalidRequestError."""
    if text is None:
        return None
    try:
        # A plus sign that was not percent-encoded arrives as a blank.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"{name} must be a time as 2026-01-31 or 2026-01-31T08:30:00Z."
        ) from None


def _continuation(query: Mapping[str, str]) -> str:
    text = query.get("continuation")
    if not text:
        return ""
    row = from_opaque(text)
    if not _ROW.fullmatch(row):
        raise wrong_continuation()
    return row
