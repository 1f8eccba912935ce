"""An import and its results as `/api/imports` shows them (docs/contracts.md#5)."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import azure.functions as func

from shared.errors import InvalidRequestError
from shared.imports import csv_export
from shared.imports.import_type import ImportType, Rules
from shared.imports.messages import Message, Severity
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.imports.results import MAX_FULL_ANSWER, MessageGroup, MessageGroups, Outcome, RowResult
from shared.imports.text_checks import masked_value
from shared.services.status import FailedRow, FailedRows, ImportReport, ImportState, ResultCursor
from shared.services.undo import shown_results
from shared.storage.import_records import Counts, ImportRecord
from shared.web.requests import CSV, JSON, from_opaque, to_opaque, wrong_continuation

if TYPE_CHECKING:
    from shared.services.dry_run import DryRunResult
    from shared.services.undoing import UndoJudgement


IMPORTS = "/api/imports"
# The Retry-After of a 202, in seconds.
RETRY_AFTER = "2"


def address(record: ImportRecord) -> str:
    """The address of an import."""
    return f"{IMPORTS}/{record.import_id}"


def json_answer(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """An answer in JSON."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return func.HttpResponse(body, status_code=status, headers=dict(headers or {}), mimetype=JSON)


def import_view(report: ImportReport) -> dict[str, Any]:
    """The import object. A cancelled import also counts the rows that the cancel ended."""
    record, counts, sender = report.record, report.counts, report.record.sender
    rows = {
        "total": record.rows,
        "done": counts.done,
        "new": 0 if record.is_undo else counts.new,
        "updated": 0 if record.is_undo else counts.updated,
        "unchanged": counts.unchanged,
        "failed": counts.failed,
        "repaired": report.repaired,
        "warnings": counts.warnings,
        "infos": counts.infos,
    }
    if record.is_undo:
        rows["reversed"] = counts.new + counts.updated
    if record.is_cancelled:
        rows["cancelled"] = counts.cancelled
    return {
        "importId": record.import_id,
        "type": record.type_name,
        "state": report.state.value,
        "rows": rows,
        "rowsPerSecond": _rounded(report.pace.rows_per_second, 1),
        "secondsLeft": _rounded(report.pace.seconds_left, 0),
        "acceptedAt": record.accepted_at,
        "endedAt": record.ended_at or None,
        "caller": sender.caller.to_document() if sender.caller else None,
        "cancelledBy": record.cancelled_by.to_document() if record.cancelled_by else None,
        "source": sender.source or None,
        "bodySha256": sender.body_hash or None,
        "parentId": record.parent.import_id or None,
        "childIds": list(report.children),
        "undoes": record.undoes.import_id or None,
        "undoneBy": record.undone_by or None,
        "links": _links(report),
    }


def _rounded(value: float | None, digits: int) -> float | int | None:
    if value is None:
        return None
    return round(value, digits) if digits else round(value)


def _links(report: ImportReport) -> dict[str, str]:
    """The links of an import: only to what exists, and to what can be done now."""
    record = report.record
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    has_queues = kind is not None and kind.has_queues
    own_address = address(record)
    links = {"self": own_address}
    if not record.results_expired_at:
        links |= {
            "results": f"{own_address}/results",
            "failures": f"{own_address}/failures",
        }
        if record.type_name in IMPORT_TYPES:
            links["answer"] = f"{own_address}/answer"
    if report.still_out and not record.payload_expired_at:
        links["failedRows"] = f"{own_address}/failed-rows"
        if not record.is_open and has_queues and not record.is_broken:
            links["retry"] = f"{own_address}/retry"
    if record.is_open and not record.is_cancelled and has_queues:
        links["cancel"] = f"{own_address}/cancel"
    if _can_be_undone(report):
        links["undo"] = f"{own_address}/undo"
    if record.undoes.import_id:
        links["undoes"] = f"{IMPORTS}/{record.undoes.import_id}"
    if record.undone_by:
        links["undoneBy"] = f"{IMPORTS}/{record.undone_by}"
    if record.parent.import_id:
        links["parent"] = f"{IMPORTS}/{record.parent.import_id}"
    return links


def _can_be_undone(report: ImportReport) -> bool:
    record = report.record
    took_effect = report.counts.new + report.counts.updated + report.counts.removing
    return (
        took_effect > 0
        and record.type_name in IMPORT_TYPES
        and not (record.is_open or record.is_broken)
        and not (record.undone_by or record.results_expired_at)
    )


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


def result_view(kind: ImportType, result: RowResult) -> dict[str, Any]:
    """One row's result in the neutral shape."""
    keys = zip(kind.rules.key_fields, result.key, strict=True)
    return {
        "index": result.index,
        "key": {field: value for field, value in keys if value is not None},
        "outcome": result.outcome.value,
        "messages": [message_view(message) for message in result.messages],
    }


def message_view(message: Message) -> dict[str, Any]:
    """One message; `fieldName` and `fieldValue` are absent where they do not apply."""
    view: dict[str, Any] = {"messageType": message.severity.value, "message": message.text}
    if message.field is not None:
        view["fieldName"] = message.field
    if message.value is not None:
        view["fieldValue"] = message.value
    view["errorID"] = message.id
    return view


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
    return {**view, "count": group.count, "firstIndexes": group.indexes}


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


# Failed rows as an answer: JSON that can be corrected and sent back, or CSV (docs/contracts.md#5).


async def failed_rows_as_json(
    chunks: FailedRows, rules: Rules, record: ImportRecord
) -> func.HttpResponse:
    """`[{"index", "row", "messages"}…]`, one row a line: the body that a retry takes."""
    parts: list[str] = []
    byte_counts = 0
    async for rows in chunks.chunks(record):
        shown = _shown_rows(record, _bounded(rows, byte_counts))
        lines = await asyncio.to_thread(_json_lines, rules, shown)
        byte_counts += sum(map(len, lines))
        parts += lines
    body = await asyncio.to_thread(_array, parts)
    return func.HttpResponse(body, mimetype=JSON, headers=_headers(record))


async def failed_rows_as_csv(
    chunks: FailedRows, rules: Rules, record: ImportRecord
) -> func.HttpResponse:
    """One row a line, with a column for each field that occurs; UTF-8 with a BOM, for spreadsheets.

    The rows are read twice, so that only a chunk of them and the answer's text are in memory.
    """
    columns: csv_export.Columns = {name.lower(): name for name in rules.key_fields}
    count = 0
    async for rows in chunks.chunks(record):
        count += len(rows)
        await asyncio.to_thread(_note_columns, columns, rules, rows)
    columns = csv_export.bounded_columns(columns, count)
    parts = [csv_export.header_line(columns)]
    byte_counts = 0
    async for rows in chunks.chunks(record):
        shown = _shown_rows(record, _bounded(rows, byte_counts))
        lines = await asyncio.to_thread(_csv_lines, columns, rules, shown)
        byte_counts += sum(map(len, lines))
        parts += lines
    body = await asyncio.to_thread(lambda: "".join(parts).encode("utf-8-sig"))
    name = f'attachment; filename="failed-rows-{record.import_id}.csv"'
    return func.HttpResponse(
        body,
        mimetype=CSV,
        headers={**_headers(record), "Content-Disposition": name},
    )


def _bounded(rows: Sequence[FailedRow], byte_counts: int) -> Sequence[FailedRow]:
    """The rows. Beyond the limit of an answer, rows have only the first of their messages."""
    if byte_counts <= MAX_FULL_ANSWER:
        return rows
    return [replace(row, result=row.result.shortened()) for row in rows]


def _shown_rows(record: ImportRecord, rows: Sequence[FailedRow]) -> Sequence[FailedRow]:
    """The rows with the indexes that are shown."""
    results = shown_results(record, (row.result for row in rows))
    return [replace(row, result=shown) for row, shown in zip(rows, results, strict=True)]


def _array(parts: Sequence[str]) -> bytes:
    return ("[\n" + ",\n".join(parts) + "\n]\n" if parts else "[]\n").encode()


def _headers(record: ImportRecord) -> dict[str, str]:
    return {"X-Import-Id": record.import_id}


def _json_lines(rules: Rules, rows: Sequence[FailedRow]) -> list[str]:
    return [
        f'{{"index":{row.index},"row":{_row_as_sent(rules, row)},"messages":{_messages(row)}}}'
        for row in rows
    ]


def _messages(row: FailedRow) -> str:
    views = [message_view(message) for message in row.result.messages]
    return json.dumps(views, ensure_ascii=False, separators=(",", ":"))


def _note_columns(columns: csv_export.Columns, rules: Rules, rows: Sequence[FailedRow]) -> None:
    for row in rows:
        csv_export.note_columns(columns, _row_as_sent(rules, row))


def _csv_lines(columns: csv_export.Columns, rules: Rules, rows: Sequence[FailedRow]) -> list[str]:
    return [
        csv_export.row_line(
            columns, row.index, _said(row.result.messages), _row_as_sent(rules, row)
        )
        for row in rows
    ]


def _said(messages: Sequence[Message]) -> str:
    """All messages in one cell, with the names of their fields. Values are in their own cells."""
    return "; ".join(
        f"{message.id} {message.field + ': ' if message.field else ''}{message.text}"
        for message in messages
    )


def _row_as_sent(rules: Rules, row: FailedRow) -> str:
    """The row as it was sent, or the part of it that its type shows."""
    if rules.shown is None:
        return row.text
    return json.dumps(rules.shown(json.loads(row.text)), ensure_ascii=False)


def masking_rows(rules: Rules) -> Rules:
    """The same rules, which mask sensitive values of the rows that they show.

    Values of fields that the type does not know may be sensitive too, as they are in messages. A
    type without sensitive fields masks nothing, nor does one that shows only what may be shown.
    """
    # Imported late, because it loads the models.
    from shared.services.records.rendering import sensitive_names

    if rules.shown is not None or not sensitive_names(rules.json_schema(), rules.is_sensitive):
        return rules

    def masked(value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, dict):
            return {name: masked(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [masked(item, (*path, index)) for index, item in enumerate(value)]
        if value is None or not rules.is_sensitive(path):
            return value
        return masked_value(value)

    def shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: masked(item, (name,)) for name, item in row.items()}

    return replace(rules, shown=shown)


# The results of a dry run by row, with the changes that each row would make.


async def judged_rows(
    kind: ImportType, judgement: DryRunResult, media_type: str = JSON
) -> func.HttpResponse:
    """200 with every row as `/results` would show it, and its `changes`; all on one page."""
    body = await asyncio.to_thread(_rendered, kind, judgement)
    return func.HttpResponse(body, mimetype=media_type)


def _rendered(kind: ImportType, judgement: DryRunResult) -> bytes:
    items = [
        f'{_vendor_result(kind, result)[:-1]},"changes":'
        f"{judgement.changes.get(result.index, '[]')}}}".encode()
        for result in judgement.results
    ]
    return b'{"dryRun":true,"items":[' + b",".join(items) + b'],"continuation":null}'


def _vendor_result(kind: ImportType, result: RowResult) -> str:
    return json.dumps(result_view(kind, result), ensure_ascii=False, separators=(",", ":"))
