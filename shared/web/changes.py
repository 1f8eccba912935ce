"""The feed of changes as `/api/changes` gives it out (docs/contracts.md#7)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import azure.functions as func

from shared.auth.clients import Scope
from shared.auth.integrations import READ
from shared.errors import InvalidRequestError
from shared.imports.modules import IMPORT_MODULES
from shared.services.changes import PLACES, Change, ChangePage, ChangePlace
from shared.web import query_names
from shared.web.records import check_read_permission
from shared.web.requests import JSON, whole_number

if TYPE_CHECKING:
    from shared.auth.callers import AnyCaller
    from shared.gateway import Gateway

CHANGES: Final = "/api/changes"
PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
WRONG_AFTER: Final = (
    "after must be the number `next` of the page before, or 0 to begin with the first import."
)
# Some languages write a small number with an exponent, as in 5e-05.
_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,20})?(?:[eE]-0?[1-9])?")


async def changes_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Refuse in the order of docs/contracts.md#0, read a page, render it as JSON."""
    caller = await gateway.callers.authenticate_for(req.headers, READ, Scope.READ_RECORDS)
    check_read_permission(caller)
    query = query_names.CHANGES.read(req)
    after = place_from_text(query.get("after", "0").strip())
    names = names_asked(query, seen_by(caller, gateway.changes.names))
    size = whole_number(query, "pageSize", PAGE, LARGEST_PAGE)
    async with gateway.shares.exports.place(caller.tenant):
        page = await gateway.changes.page(caller.tenant, after, size, names.__contains__)
    return func.HttpResponse(render(page), mimetype=JSON)


def seen_by(caller: AnyCaller, names: Sequence[str]) -> list[str]:
    """The names of the records that the caller may know of.

    Who may read records reads those of every type. The changes of a type whose records are not
    read back, as documents are not, are shown to those who see its imports.
    """
    unread = {name for name, module in IMPORT_MODULES.items() if module.records is None}
    return [name for name in names if name not in unread or caller.sees(name)]


def render(page: ChangePage) -> str:
    """The page as JSON. `next` is a number with all its digits, which no float would keep."""
    items = json.dumps(
        [change_view(each) for each in page.changes], ensure_ascii=False, separators=(",", ":")
    )
    return f'{{"items":{items},"next":{page.following}}}'


def change_view(change: Change) -> dict[str, Any]:
    """A change by the names of the contract."""
    return {
        "number": change.number,
        "importId": change.import_id,
        "type": change.type_name,
        "key": dict(change.key),
        "change": change.change.value,
        "at": change.at,
    }


def place_from_text(text: str) -> ChangePlace:
    """The place that a number names. Raises InvalidRequestError."""
    if not _NUMBER.fullmatch(text):
        raise InvalidRequestError(WRONG_AFTER)
    # A float may have come near the sixth digit only.
    return ChangePlace(*divmod(round(Decimal(text) * PLACES), PLACES))


def names_asked(query: Mapping[str, str], names: Sequence[str]) -> frozenset[str]:
    """Those of these names that `type` asks for. Raises InvalidRequestError."""
    text = query.get("type")
    if text is None:
        return frozenset(names)
    name = text.strip().lower()
    if name not in names:
        raise InvalidRequestError(
            f"type must be one of {', '.join(names)}; leave it out for all of them."
        )
    return frozenset([name])
