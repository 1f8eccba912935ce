"""An import and its results as `/api/imports` shows them (docs/contracts.md#5)."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import azure.functions as func

from shared.errors import InvalidRequestError
from shared.imports.import_type import ImportType, Rules
from shared.imports.messages import Severity
from shared.imports.registry import IMPORT_TYPES, MESSAGE_CATALOGUE
from shared.imports.results import MessageGroup, MessageGroups, Outcome, UnmappedValues
from shared.services.failed_rows import failed_rows_csv, failed_rows_json, failed_rows_page
from shared.services.import_views import address, import_view, result_view
from shared.services.status import FailedRows, ImportReport, ImportState, ResultCursor, RowFilter
from shared.storage.import_records import Counts, ImportRecord
from shared.web.requests import (
    CSV,
    JSON,
    from_opaque,
    to_opaque,
    whole_number,
    wrong_continuation,
)

if TYPE_CHECKING:
    from shared.services.dry_run import DryRunResult
    from shared.services.undoing import UndoJudgement


# The Retry-After of a 202, in seconds.
RETRY_AFTER = "2"
# Items of a page, where the query does not say how many, and at most.
PAGE: Final = 100
LARGEST_PAGE: Final = 1_000


def json_answer(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """An answer in JSON."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return func.HttpResponse(body, status_code=status, headers=dict(headers or {}), mimetype=JSON)


def judged_undo_view(judgement: UndoJudgement) -> dict[str, Any]:
    """The answer of a dry run of an undo: how many rows it would put back, keep, and fail."""
    results = judgement.shown.results
    outcomes = Counter(row.outcome for row in results)
    groups = MessageGroups()
    groups.add(results)
    return {
        "dryRun": True,
        "undoes": judgement.draft.undoes.import_id,
        "type": judgement.kind.name,
        "rows": {
            "total": len(results),
            "reversed": outcomes[Outcome.REVERSED],
            "unchanged": outcomes[Outcome.UNCHANGED],
            "failed": outcomes[Outcome.FAILED],
        },
        "failures": groups_view(groups)["items"],
    }


def just_accepted(record: ImportRecord, state: ImportState = ImportState.ACCEPTED) -> ImportReport:
    """The status of an import that was accepted just now, without reading storage."""
    return ImportReport(record, Counts(), state)


def not_yet(report: ImportReport) -> func.HttpResponse:
    """The answer 202 for an open import, with its address."""
    headers = {
        "Location": address(report.record),
        "Retry-After": RETRY_AFTER,
        "X-Import-Id": report.record.import_id,
    }
    return json_answer(import_view(report), 202, headers)


def imports_wanted(query: Mapping[str, str]) -> Callable[[ImportReport], bool]:
    """The filter of a list of imports by `type`, `state` and `caller`.

    Raises InvalidRequestError.
    """
    type_name = query.get("type", "").lower()
    if type_name and type_name not in IMPORT_TYPES:
        raise InvalidRequestError(f"type must be one of {', '.join(IMPORT_TYPES)}.")
    states = {state.value.lower(): state for state in ImportState}
    state = query.get("state", "").lower()
    if state and state not in states:
        names = ", ".join(each.value for each in ImportState)
        raise InvalidRequestError(f"state must be one of {names}.")

    name = query.get("caller", "").strip()

    def is_wanted(report: ImportReport) -> bool:
        caller = report.record.sender.caller
        return (
            (not type_name or report.record.type_name == type_name)
            and (not state or report.state is states[state])
            and (not name or (caller is not None and caller.is_called(name)))
        )

    return is_wanted


def outcome_wanted(query: Mapping[str, str]) -> Outcome | None:
    """The outcome that filters a list. Raises InvalidRequestError."""
    text = query.get("outcome")
    if not text:
        return None
    try:
        return Outcome(text.lower())
    except ValueError:
        names = ", ".join(Outcome)
        raise InvalidRequestError(f"outcome must be one of {names}.") from None


def severity_wanted(query: Mapping[str, str]) -> Severity | None:
    """The severity that filters messages. Raises InvalidRequestError."""
    text = query.get("severity", "").lower()
    severities = {severity.value.lower(): severity for severity in Severity}
    if text and text not in severities:
        raise InvalidRequestError(f"severity must be one of {', '.join(severities)}.")
    return severities.get(text)


def rows_wanted(query: Mapping[str, str]) -> RowFilter:
    """The filter of a list of rows. Raises InvalidRequestError."""
    id_text = query.get("errorid", "")
    if id_text and (
        not re.fullmatch("[0-9]{1,5}", id_text) or int(id_text) not in MESSAGE_CATALOGUE
    ):
        raise InvalidRequestError("errorID must be the id of a message: /api/errors lists them.")
    return RowFilter(
        outcome_wanted(query),
        severity_wanted(query),
        int(id_text) if id_text else None,
        query.get("fieldname") or None,
    )


def groups_view(groups: MessageGroups) -> dict[str, Any]:
    """Groups of messages on one page. `leftOut` counts the messages that are in no group."""
    return {
        "items": [_group_view(group) for group in groups.sorted()],
        "leftOut": groups.left_out,
        "continuation": None,
    }


def _group_view(group: MessageGroup) -> dict[str, Any]:
    view: dict[str, Any] = {
        "messageType": group.entry.severity.value,
        "errorID": group.id,
        "message": group.entry.text,
        "advice": group.entry.advice,
    }
    if group.field_name is not None:
        view["fieldName"] = group.field_name
    if group.column is not None:
        view["sentAs"] = group.column
    return {**view, "count": group.count, "firstIndexes": group.indexes}


def unmapped_view(values: UnmappedValues) -> dict[str, Any]:
    """Values without an entry on one page. `leftOut` counts the messages of values beyond it."""
    return {
        "items": [
            {
                "fieldName": each.field_name,
                "sentAs": each.column,
                "value": each.value,
                "count": each.count,
                "firstIndex": each.first_index,
            }
            for each in values.sorted()
        ],
        "leftOut": values.left_out,
        "continuation": None,
    }


def place_to_text(cursor: ResultCursor | None) -> str | None:
    """The continuation for a cursor, which is opaque to the caller."""
    return None if cursor is None else to_opaque(f"{cursor.chunk}.{cursor.rows}")


def place_from_text(query: Mapping[str, str]) -> ResultCursor:
    """The cursor of a continuation. Raises InvalidRequestError."""
    text = query.get("continuation")
    if not text:
        return ResultCursor()
    chunk, rows = _numbers(text, 2)
    return ResultCursor(chunk, rows)


def number_to_text(number: int | None) -> str | None:
    """A continuation of a list of imports."""
    return None if number is None else to_opaque(str(number))


def number_from_text(query: Mapping[str, str]) -> int | None:
    """The import number of a continuation. Raises InvalidRequestError."""
    text = query.get("continuation")
    return _numbers(text, 1)[0] if text else None


def _numbers(continuation: str, count: int) -> list[int]:
    text = from_opaque(continuation)
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})*", text) or text.count(".") != count - 1:
        raise wrong_continuation()
    return [int(part) for part in text.split(".")]


# Failed rows as an answer.


async def failed_rows_as_json(
    chunks: FailedRows, rules: Rules, record: ImportRecord, *, is_masked: bool
) -> func.HttpResponse:
    """`[{"index", "row", "messages"}…]`, one row a line: the body that a retry takes."""
    body = await failed_rows_json(chunks, rules, record, is_masked=is_masked)
    headers = {"X-Import-Id": record.import_id}
    return func.HttpResponse(body, mimetype=JSON, headers=headers)


async def failed_rows_as_page(
    chunks: FailedRows,
    rules: Rules,
    record: ImportRecord,
    query: Mapping[str, str],
    *,
    is_masked: bool,
) -> func.HttpResponse:
    """A page of the rows as JSON; `Link` has the address of the next one."""
    size = whole_number(query, "pageSize", PAGE, LARGEST_PAGE)
    start, row_filter = place_from_text(query), rows_wanted(query)
    page = await chunks.page(record, start, size, row_filter)
    body = await failed_rows_page(chunks, rules, record, page, is_masked=is_masked)
    headers = {"X-Import-Id": record.import_id}
    if page.following is not None:
        following = {
            "pageSize": str(size),
            "errorID": query.get("errorid", ""),
            "fieldName": query.get("fieldname", ""),
            "continuation": place_to_text(page.following) or "",
        }
        query_text = urlencode({name: text for name, text in following.items() if text})
        headers["Link"] = f'<{address(record)}/failed-rows?{query_text}>; rel="next"'
    return func.HttpResponse(body, mimetype=JSON, headers=headers)


async def failed_rows_as_csv(
    chunks: FailedRows, rules: Rules, record: ImportRecord, *, is_masked: bool
) -> func.HttpResponse:
    """One row a line, as a download."""
    body = await failed_rows_csv(chunks, rules, record, is_masked=is_masked)
    name = f'attachment; filename="failed-rows-{record.import_id}.csv"'
    headers = {"X-Import-Id": record.import_id, "Content-Disposition": name}
    return func.HttpResponse(body, mimetype=CSV, headers=headers)


# The results of a dry run by row, with the changes that each row would make.


async def judged_rows(
    kind: ImportType, judgement: DryRunResult, media_type: str = JSON
) -> func.HttpResponse:
    """200 with every row as `/results` would show it, and its `changes`; all on one page."""
    body = await asyncio.to_thread(_rendered, kind, judgement)
    return func.HttpResponse(body, mimetype=media_type)


def _rendered(kind: ImportType, judgement: DryRunResult) -> bytes:
    items: list[bytes] = []
    for result in judgement.results:
        view = json.dumps(result_view(kind, result), ensure_ascii=False, separators=(",", ":"))
        changes = judgement.changes.get(result.index, "[]")
        items.append(f'{view[:-1]},"changes":{changes}}}'.encode())
    skipped = b"" if judgement.skipped is None else b'"skipped":%d,' % judgement.skipped
    return b'{"dryRun":true,%b"items":[%b],"continuation":null}' % (skipped, b",".join(items))
