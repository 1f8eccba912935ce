"""Failed rows as an answer: JSON that can be corrected and sent back, or CSV (CONTRACTS 5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import azure.functions as func

from shared.imports import csv_rows
from shared.imports.definition import Rules
from shared.imports.messages import Message
from shared.imports.outcomes import MAX_FULL_ANSWER
from shared.services.failed_rows import FailedRow, FailedRows
from shared.storage.import_records import ImportRecord
from shared.web.import_views import message_view
from shared.web.requests import CSV, JSON


async def failed_rows_as_json(
    failed: FailedRows, rules: Rules, record: ImportRecord
) -> func.HttpResponse:
    """`[{"index", "row", "messages"}…]`, a line each: the body that a retry takes."""
    parts: list[str] = []
    used = 0
    async for rows in failed.chunks(record):
        lines = await asyncio.to_thread(_json_lines, rules, _bounded(rows, used))
        used += sum(map(len, lines))
        parts += lines
    body = await asyncio.to_thread(_array, parts)
    return func.HttpResponse(body, mimetype=JSON, headers=_headers(record))


async def failed_rows_as_csv(
    failed: FailedRows, rules: Rules, record: ImportRecord
) -> func.HttpResponse:
    """A line each, a column per field that occurs; UTF-8 with a BOM, for spreadsheets.

    The rows are read twice, so that memory holds a chunk of them and the text of the answer.
    """
    columns: csv_rows.Columns = {name.lower(): name for name in rules.key_fields}
    count = 0
    async for rows in failed.chunks(record):
        count += len(rows)
        await asyncio.to_thread(_note_columns, columns, rules, rows)
    columns = csv_rows.bounded_columns(columns, count)
    parts = [csv_rows.header_line(columns)]
    used = 0
    async for rows in failed.chunks(record):
        lines = await asyncio.to_thread(_csv_lines, columns, rules, _bounded(rows, used))
        used += sum(map(len, lines))
        parts += lines
    body = await asyncio.to_thread(lambda: "".join(parts).encode("utf-8-sig"))
    name = f'attachment; filename="failed-rows-{record.import_id}.csv"'
    return func.HttpResponse(
        body,
        mimetype=CSV,
        headers={**_headers(record), "Content-Disposition": name},
    )


def _bounded(rows: Sequence[FailedRow], used: int) -> Sequence[FailedRow]:
    """The rows; those behind the limit of an answer show only the first of their messages."""
    if used <= MAX_FULL_ANSWER:
        return rows
    return [replace(row, result=row.result.shortened()) for row in rows]


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


def _note_columns(columns: csv_rows.Columns, rules: Rules, rows: Sequence[FailedRow]) -> None:
    for row in rows:
        csv_rows.note_columns(columns, _row_as_sent(rules, row))


def _csv_lines(columns: csv_rows.Columns, rules: Rules, rows: Sequence[FailedRow]) -> list[str]:
    return [
        csv_rows.row_line(columns, row.index, _said(row.result.messages), _row_as_sent(rules, row))
        for row in rows
    ]


def _said(messages: Sequence[Message]) -> str:
    """Every message in one cell; fields are named, their values stand in their own cells."""
    return "; ".join(
        f"{message.id} {message.field + ': ' if message.field else ''}{message.text}"
        for message in messages
    )


def _row_as_sent(rules: Rules, row: FailedRow) -> str:
    """The row as it was sent, or what its type shows of it."""
    if rules.shown is None:
        return row.text
    return json.dumps(rules.shown(json.loads(row.text)), ensure_ascii=False)
