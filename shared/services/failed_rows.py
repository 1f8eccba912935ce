"""Failed rows as text: JSON that can be corrected and sent back, or CSV (docs/contracts.md#5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared.imports import csv_export
from shared.imports.files.mapping import ProfileMapping
from shared.imports.import_type import Rules
from shared.imports.messages import Message
from shared.imports.results import MAX_FULL_ANSWER
from shared.imports.text_checks import masked_value
from shared.services.import_views import message_view
from shared.services.status import FailedRow, FailedRows
from shared.services.undo import shown_results
from shared.storage.import_records import ImportRecord


async def failed_rows_json(
    chunks: FailedRows, rules: Rules, record: ImportRecord, *, is_masked: bool = True
) -> bytes:
    """`[{"index", "row", "messages"}…]`, one row a line: the body that a retry takes.

    Rows of a file have their `line` too. Rows that a profile has made are in the layout of their
    sender. `is_masked`: sensitive values are masked.
    """
    layout = await _layout_of(chunks, rules, record, is_masked)
    parts: list[str] = []
    byte_counts = 0
    async for rows in chunks.chunks(record):
        shown = _shown_rows(record, _bounded(rows, byte_counts))
        lines = await asyncio.to_thread(_json_lines, layout, shown)
        byte_counts += sum(map(len, lines))
        parts += lines
    return await asyncio.to_thread(_array, parts)


async def failed_rows_csv(
    chunks: FailedRows, rules: Rules, record: ImportRecord, *, is_masked: bool = True
) -> bytes:
    """One row a line, with a column for each field that occurs; UTF-8 with a BOM, for spreadsheets.

    The rows are read twice, so that only a chunk of them and the answer's text are in memory.
    """
    layout = await _layout_of(chunks, rules, record, is_masked)
    columns: csv_export.Columns = {name.lower(): name for name in layout.first_columns}
    count = 0
    has_lines = False
    async for rows in chunks.chunks(record):
        count += len(rows)
        has_lines = has_lines or any(row.notes.line is not None for row in rows)
        await asyncio.to_thread(_note_columns, columns, layout, rows)
    columns = csv_export.bounded_columns(columns, count)
    parts = [csv_export.header_line(columns, with_lines=has_lines)]
    byte_counts = 0
    async for rows in chunks.chunks(record):
        shown = _shown_rows(record, _bounded(rows, byte_counts))
        lines = await asyncio.to_thread(_csv_lines, columns, layout, shown, has_lines)
        byte_counts += sum(map(len, lines))
        parts += lines
    return await asyncio.to_thread(lambda: "".join(parts).encode("utf-8-sig"))


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


class _Layout:
    """How the rows of an import are shown: as their type has them, or as their sender does."""

    def __init__(
        self, rules: Rules, mapping: ProfileMapping | None, *, is_mapped: bool, is_masked: bool
    ) -> None:
        self._shown = (masking_rows(rules) if is_masked else rules).shown
        self._mapping = mapping
        self._is_masked = is_masked
        self.first_columns = () if is_mapped else rules.key_fields
        self.csv = (
            csv_export.CellStyle(mapping.profile.decimal if mapping else "", guards_blanks=False)
            if is_mapped
            else csv_export.OWN_STYLE
        )

    def text_of(self, row: FailedRow) -> str:
        """The JSON of a row, without what is not shown."""
        sent = row.notes.sent
        if sent:
            return _masked_sent(self._mapping, sent) if self._is_masked else sent
        if self._shown is None:
            return row.text
        return json.dumps(self._shown(json.loads(row.text)), ensure_ascii=False)


async def _layout_of(
    chunks: FailedRows, rules: Rules, record: ImportRecord, is_masked: bool
) -> _Layout:
    mapping = await chunks.mapping_of(record)
    is_mapped = bool(record.profile.name)
    return _Layout(rules, mapping, is_mapped=is_mapped, is_masked=is_masked)


def _masked_sent(mapping: ProfileMapping | None, sent: str) -> str:
    """A row of a sender with masked values in the columns that are not shown.

    Without the profile nothing says which columns those are, so all are masked.
    """

    def masked(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            prefix = f"{path}." if path else ""
            return {name: masked(item, prefix + name) for name, item in value.items()}
        if isinstance(value, list):
            return [masked(item, f"{path}[{at}]") for at, item in enumerate(value)]
        if value is None or value == "" or (mapping is not None and mapping.shows(path)):
            return value
        return masked_value(value)

    row = json.loads(sent, parse_float=str)
    return json.dumps(masked(row, ""), ensure_ascii=False)


def _json_lines(layout: _Layout, rows: Sequence[FailedRow]) -> list[str]:
    return [
        f'{{"index":{row.index}{_line_member(row)},"row":{layout.text_of(row)},'
        f'"messages":{_messages(row)}}}'
        for row in rows
    ]


def _line_member(row: FailedRow) -> str:
    return "" if row.notes.line is None else f',"line":{row.notes.line}'


def _messages(row: FailedRow) -> str:
    views = [message_view(message) for message in row.result.messages]
    return json.dumps(views, ensure_ascii=False, separators=(",", ":"))


def _note_columns(columns: csv_export.Columns, layout: _Layout, rows: Sequence[FailedRow]) -> None:
    for row in rows:
        csv_export.note_columns(columns, layout.text_of(row))


def _csv_lines(
    columns: csv_export.Columns, layout: _Layout, rows: Sequence[FailedRow], has_lines: bool
) -> list[str]:
    return [
        csv_export.row_line(
            columns,
            row.index,
            _said(row.result.messages),
            layout.text_of(row),
            (row.notes.line or "") if has_lines else None,
            style=layout.csv,
        )
        for row in rows
    ]


def _said(messages: Sequence[Message]) -> str:
    """All messages in one cell, with the names of their fields. Values are in their own cells."""
    return "; ".join(f"{message.id} {_place(message)}{message.text}" for message in messages)


def _place(message: Message) -> str:
    if message.field is None:
        return ""
    return f"{message.field} ({message.column}): " if message.column else f"{message.field}: "


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
