"""Following, retrying, undoing and cancelling imports: `/api/imports…` (docs/contracts.md#5)."""

from __future__ import annotations

from dataclasses import replace

import azure.functions as func

from shared.auth.callers import AnyCaller
from shared.auth.integrations import ANY, OPERATE, ReadPermission
from shared.errors import GoneError, InvalidRequestError, NotFoundError
from shared.gateway import Gateway
from shared.imports.import_type import ImportType
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import TYPE_CATALOGUE
from shared.services.import_views import import_view, result_view
from shared.services.status import NO_SUCH_IMPORT, UNREADABLE, ImportReport
from shared.storage.import_records import ImportRecord
from shared.web import imports as views
from shared.web import query_names
from shared.web.imports import failed_rows_as_csv, failed_rows_as_json, failed_rows_as_page
from shared.web.query_names import KEY_OF_THE_HOST, QueryNames, query_of
from shared.web.requests import CSV, JSON, accepted_type, whole_number
from shared.web.retry_cancel import (
    UndoOptions,
    cancel_call,
    ended_import,
    retry_call,
    undo_call,
)

# Imports above a retry of retries that are looked at.
_MOST_ANCESTORS = 100


async def imports_list_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The tenant's imports that the caller sees, newest first, optionally of one type or state."""
    caller = await app.callers.authenticate_any(req.headers, ANY)
    query = query_names.IMPORTS_LIST.read(req)
    size = whole_number(query, "pageSize", views.PAGE, views.LARGEST_PAGE)
    after, is_wanted = views.number_from_text(query), views.imports_wanted(query)

    def is_shown(report: ImportReport) -> bool:
        return caller.sees(report.record.type_name) and is_wanted(report)

    page = await app.reporting.newest(caller.tenant, after, size, is_shown)
    return views.json_answer(
        {
            "items": [import_view(report) for report in page.reports],
            "continuation": views.number_to_text(page.following),
        }
    )


async def imports_show_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """One import."""
    return views.json_answer(import_view(await _report(app, req)))


async def imports_results_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The results of an import's rows, in plan order, page by page."""
    record = (await _report(app, req, query_names.IMPORTS_RESULTS)).record
    query = query_of(req)
    size = whole_number(query, "pageSize", views.PAGE, views.LARGEST_PAGE)
    start = views.place_from_text(query)
    row_filter = views.rows_wanted(query)
    async with app.shares.exports.place(record.tenant):
        page = await app.reporting.results(record, start, size, row_filter)
    kind = _type_of(record)
    return views.json_answer(
        {
            "items": [result_view(kind, result) for result in page.results],
            "continuation": views.place_to_text(page.following),
        }
    )


async def imports_answer_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The vendor's exact answer, as the call itself would have returned it; 202 while running."""
    report = await _report(app, req)
    module = IMPORT_MODULES.get(_type_of(report.record).name)
    if module is None:
        raise NotFoundError("No call made this import, so it has no answer: ask for its results.")
    if report.record.is_undo:
        # The call of an undo answers with the import object.
        is_open = report.record.is_open
        return views.not_yet(report) if is_open else await ended_import(app, report.record)
    async with app.shares.exports.place(report.record.tenant):
        return await module.answer(app, req, report)


async def imports_failures_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The messages of an import's rows in groups, each with its count and the first indexes."""
    record = (await _report(app, req, query_names.IMPORTS_FAILURES)).record
    severity = views.severity_wanted(query_of(req))
    async with app.shares.exports.place(record.tenant):
        groups = await app.reporting.message_groups(record, severity)
    return views.json_answer(views.groups_view(groups))


async def imports_failed_rows_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The failed rows as they were sent, with their messages, in JSON, or in CSV by `Accept`.

    All of them, or a page where the query has one of its names.
    """
    caller, report = await _authenticate_and_find(app, req, query_names.IMPORTS_FAILED_ROWS)
    record = report.record
    rules = _type_of(record).rules
    is_masked = False
    if record.is_undo:
        # Its rows are not those of the type.
        rules = replace(rules, shown=None)
    elif caller.read is not ReadPermission.FULL:
        is_masked = not await _has_sent(app, caller, record)
    is_csv = accepted_type(req, JSON, CSV) == CSV
    query = query_of(req)
    is_page = bool({*query} - {KEY_OF_THE_HOST})
    if is_csv and is_page:
        raise InvalidRequestError(
            "The CSV has all failed rows: leave out the query, or ask for JSON, which has pages."
        )
    async with app.shares.exports.place(record.tenant):
        if is_csv:
            return await failed_rows_as_csv(app.failed_rows, rules, record, is_masked=is_masked)
        if is_page:
            return await failed_rows_as_page(
                app.failed_rows, rules, record, query, is_masked=is_masked
            )
        return await failed_rows_as_json(app.failed_rows, rules, record, is_masked=is_masked)


async def imports_unmapped_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The distinct values that the mapping profile of an import has no entry for, with counts."""
    record = (await _report(app, req)).record
    async with app.shares.exports.place(record.tenant):
        values = await app.reporting.unmapped_values(record)
    return views.json_answer(views.unmapped_view(values))


async def imports_retry_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Retry the failed rows as a child import. The body may contain corrected rows."""
    caller, report = await _authenticate_and_find(app, req, query_names.IMPORTS_RETRY, OPERATE)
    return await retry_call(app, caller, report.record, req)


async def imports_undo_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Undo an import by a child import, or judge that in a dry run."""
    caller = await app.callers.authenticate_any(req.headers, OPERATE)
    options = UndoOptions.from_query(query_names.IMPORTS_UNDO.read(req))
    report = await _find(app, caller, req)
    return await undo_call(app, caller, report.record, req, options)


async def imports_cancel_call(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Cancel an import. Committed rows stay."""
    caller, report = await _authenticate_and_find(app, req, permission=OPERATE)
    return await cancel_call(app, caller, report.record, req)


def _type_of(record: ImportRecord) -> ImportType:
    """The type of an import. Raises GoneError if its record cannot be read any more."""
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    if kind is None:
        raise GoneError(UNREADABLE)
    return kind


async def _has_sent(app: Gateway, caller: AnyCaller, record: ImportRecord) -> bool:
    """Whether the caller has sent the rows of an import: those of a retry may be another's."""
    for _ in range(_MOST_ANCESTORS):
        if record.sender.caller != caller.named:
            return False
        if not record.parent.number:
            return True
        parent = await app.imports.find(record.tenant, record.parent.import_id)
        if parent is None:
            return False
        record = parent
    return False


async def _report(
    app: Gateway, req: func.HttpRequest, names: QueryNames = query_names.NONE
) -> ImportReport:
    return (await _authenticate_and_find(app, req, names))[1]


async def _authenticate_and_find(
    app: Gateway,
    req: func.HttpRequest,
    names: QueryNames = query_names.NONE,
    permission: str = ANY,
) -> tuple[AnyCaller, ImportReport]:
    """The caller, and the import of the address. Raises NotFoundError if the caller may not see it.

    Raises InvalidRequestError for a query parameter other than `names`.
    """
    caller = await app.callers.authenticate_any(req.headers, permission)
    names.read(req)
    return caller, await _find(app, caller, req)


async def _find(app: Gateway, caller: AnyCaller, req: func.HttpRequest) -> ImportReport:
    report = await app.reporting.find(caller.tenant, req.route_params["importId"])
    if not caller.sees(report.record.type_name):
        raise NotFoundError(NO_SUCH_IMPORT)
    return report
