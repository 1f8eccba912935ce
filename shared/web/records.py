"""Stored records as `/api/records/{type}` gives them out (docs/contracts.md#7)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import azure.functions as func

from shared.auth.callers import Caller
from shared.auth.clients import Scope
from shared.auth.integrations import READ, ReadPermission
from shared.clock import parse_guid
from shared.errors import ForbiddenError, InvalidRequestError
from shared.imports import csv_export
from shared.services.admin.audit import Action
from shared.services.records.reading import WRONG_CONTINUATION, RecordPage, RecordRequest
from shared.web.query_names import QueryNames
from shared.web.requests import (
    CSV,
    JSON,
    accepted_type,
    boolean,
    from_opaque,
    to_opaque,
    whole_number,
)

if TYPE_CHECKING:
    from shared.auth.callers import AnyCaller
    from shared.gateway import Gateway
    from shared.services.records.sources import RecordSource

RECORDS: Final = "/api/records"
NDJSON: Final = "application/x-ndjson"
IMPORT_ID: Final = "importId"
DELETED: Final = "deleted"
PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
LARGEST_EXPORT: Final = 10_000
_OF_PAGES: Final = ("pageSize", "continuation")
MAY_NOT_READ: Final = (
    "This integration may not read records: ask the administrator of the gateway to allow it."
)


async def records_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Refuse in the order of docs/contracts.md#0, read a page, render it as `Accept` asks."""
    caller = await gateway.callers.authenticate_for(req.headers, READ, Scope.READ_RECORDS)
    check_read_permission(caller)
    name = req.route_params["type"].lower()
    source = gateway.records.source(name)
    query = query_names(source).read(req)
    media_type = accepted_type(req, JSON, NDJSON, CSV)
    most = LARGEST_PAGE if media_type == JSON else LARGEST_EXPORT
    size = whole_number(query, "pageSize", PAGE, most)
    request = RecordRequest(
        tenant=caller.tenant,
        filters=read_filters(source, query),
        is_deleted=boolean(query, DELETED, default=False),
        import_id=_import_id(query),
        continuation=_continuation(query),
        masks=caller.read is not ReadPermission.FULL,
        as_rows=media_type == CSV,
    )
    async with gateway.shares.exports.place(caller.tenant):
        page = await gateway.records.page(name, request, size)
        body = await asyncio.to_thread(_RENDERERS[media_type], page, source)
    if page.texts and not request.masks and source.shape.sensitive_names:
        target = export_target(name, query, len(page.texts))
        await gateway.audit.note(caller.tenant, Action.RECORDS_EXPORT, target, caller.named)
    headers = {}
    if page.continuation:
        following = {**_asked(source, query), "continuation": to_opaque(page.continuation)}
        headers["Link"] = f'<{RECORDS}/{name}?{urlencode(following)}>; rel="next"'
    return func.HttpResponse(body, headers=headers, mimetype=media_type)


def export_target(name: str, filters: Iterable[str], records: int | None) -> dict[str, Any]:
    """What the audit log stores about an export of sensitive values, without values of filters."""
    named = sorted(each for each in filters if each not in ("pagesize", "continuation"))
    target: dict[str, Any] = {"records": name, "filters": named}
    return target if records is None else {**target, "count": records}


def query_names(source: RecordSource) -> QueryNames:
    """The query parameters of the records of a type."""
    return QueryNames((*source.filters, IMPORT_ID, DELETED, *_OF_PAGES))


def read_filters(source: RecordSource, values: Mapping[str, str]) -> dict[str, str]:
    """The filters among these values, whose names are in lower case; as they are stored.

    Raises InvalidRequestError for one without a value.
    """
    filters: dict[str, str] = {}
    for name in source.filters:
        text = values.get(name.lower())
        if text is None:
            continue
        if not text.strip():
            raise InvalidRequestError(f"{name} has no value: send one, or leave the filter out.")
        filters[name] = source.read_filter(name, text)
    return filters


def csv_lines(rows: Sequence[str], columns: csv_export.Columns) -> list[str]:
    """Records as lines of CSV below a header of these columns."""
    return [csv_export.record_line(columns, row) for row in rows]


def first_columns(source: RecordSource) -> csv_export.Columns:
    """The columns that every CSV of a type begins with: its key."""
    return {name.lower(): name for name in source.key_fields}


def check_read_permission(caller: AnyCaller) -> None:
    """Raises ForbiddenError; a client without the scope was refused before."""
    if isinstance(caller, Caller) and caller.read is ReadPermission.NONE:
        raise ForbiddenError(MAY_NOT_READ)


def _import_id(query: Mapping[str, str]) -> str:
    text = query.get(IMPORT_ID.lower())
    if text is None:
        return ""
    guid = parse_guid(text.strip().lower())
    if guid is None:
        raise InvalidRequestError(f"{IMPORT_ID} must be the id of an import: send a guid.")
    return guid


def _continuation(query: Mapping[str, str]) -> str:
    text = query.get("continuation")
    if not text:
        return ""
    try:
        place = from_opaque(text)
    except InvalidRequestError:
        place = ""
    if to_opaque(place) != text:
        raise InvalidRequestError(WRONG_CONTINUATION)
    return place


def _asked(source: RecordSource, query: Mapping[str, str]) -> dict[str, str]:
    """The query of a call by contract names, without what the host takes from it."""
    names = query_names(source).names
    return {name: query[name.lower()] for name in names if query.get(name.lower())}


def _as_json(page: RecordPage, _source: RecordSource) -> bytes:
    following = f'"{to_opaque(page.continuation)}"' if page.continuation else "null"
    return f'{{"items":[{",".join(page.texts)}],"continuation":{following}}}'.encode()


def _as_lines(page: RecordPage, _source: RecordSource) -> bytes:
    return "".join(f"{text}\n" for text in page.texts).encode()


def _as_csv(page: RecordPage, source: RecordSource) -> bytes:
    """UTF-8 with a byte order mark, for spreadsheets."""
    columns = first_columns(source)
    for row in page.texts:
        csv_export.note_columns(columns, row)
    columns = csv_export.bounded_columns(columns, len(page.texts))
    lines = [csv_export.record_header(columns), *csv_lines(page.texts, columns)]
    return "".join(lines).encode("utf-8-sig")


_RENDERERS: Final = {JSON: _as_json, NDJSON: _as_lines, CSV: _as_csv}
