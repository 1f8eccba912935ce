"""Failed rows as text: JSON that can be corrected and sent back, or CSV (docs/contracts.md#5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.imports import csv_export
from shared.imports.csv_export import NumberText, leaves_of, read_unconverted
from shared.imports.files.columns import shown_path
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.profile import column_key
from shared.imports.import_type import Rules
from shared.imports.messages import Message
from shared.imports.results import MAX_FULL_ANSWER
from shared.imports.text_checks import MASK, masked_value
from shared.services.import_views import message_view
from shared.services.status import FailedRow, FailedRowPage, FailedRows
from shared.services.undo_rules import shown_results
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
    byte_count = 0
    async for rows in chunks.chunks(record):
        shown = _shown_rows(record, _bounded(rows, byte_count))
        lines = await asyncio.to_thread(_json_lines, layout, shown)
        byte_count += sum(map(len, lines))
        parts += lines
    return await asyncio.to_thread(_array, parts)


async def failed_rows_page(
    chunks: FailedRows,
    rules: Rules,
    record: ImportRecord,
    page: FailedRowPage,
    *,
    is_masked: bool = True,
) -> bytes:
    """The rows of a page in the form of `failed_rows_json`."""
    layout = await _layout_of(chunks, rules, record, is_masked)
    shown = _shown_rows(record, page.rows)
    return _array(await asyncio.to_thread(_json_lines, layout, shown))


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
    byte_count = 0
    async for rows in chunks.chunks(record):
        shown = _shown_rows(record, _bounded(rows, byte_count))
        lines = await asyncio.to_thread(_csv_lines, columns, layout, shown, has_lines)
        byte_count += sum(map(len, lines))
        parts += lines
    return await asyncio.to_thread(lambda: "".join(parts).encode("utf-8-sig"))


def _bounded(rows: Sequence[FailedRow], byte_count: int) -> Sequence[FailedRow]:
    """The rows. Beyond the limit of an answer, rows have only the first of their messages."""
    if byte_count <= MAX_FULL_ANSWER:
        return rows
    return [replace(row, result=row.result.shortened()) for row in rows]


def _shown_rows(record: ImportRecord, rows: Sequence[FailedRow]) -> Sequence[FailedRow]:
    """The rows with the indexes that are shown."""
    results = shown_results(record, (row.result for row in rows))
    return [replace(row, result=shown) for row, shown in zip(rows, results, strict=True)]


def _array(parts: Sequence[str]) -> bytes:
    return ("[\n" + ",\n".join(parts) + "\n]\n" if parts else "[]\n").encode()


@dataclass(frozen=True, slots=True)
class RowMasks:
    """Masks the values of rows that are not shown; `hides` says it of the path of a value."""

    hides: Callable[[Sequence[str | int]], bool]

    def masked(self, text: str) -> str:
        """A row in JSON text with its masks. Numbers keep their digits."""

        def mask(value: Any, path: Sequence[str | int]) -> Any:
            if value is None or value == "" or not self.hides(path):
                return value
            return masked_value(None if isinstance(value, NumberText) else value)

        return _json_of(_with_values(read_unconverted(text), (), mask))

    def unmasked(self, text: str, original: str) -> str:
        """A row that was sent back, with the values of its original in place of their masks."""
        if MASK not in text:
            return text
        values = {column_key(path): value for path, value in leaves_of(read_unconverted(original))}

        def unmask(value: Any, path: Sequence[str | int]) -> Any:
            if not isinstance(value, str) or not value.startswith(MASK):
                return value
            sent = values.get(column_key(shown_path(path)))
            is_mask = not isinstance(sent, list | dict) and self.hides(path)
            shown = masked_value(None if isinstance(sent, NumberText) else sent)
            return sent if is_mask and sent is not None and value == shown else value

        return _json_of(_with_values(read_unconverted(text), (), unmask))


def row_masks(rules: Rules, mapping: ProfileMapping | None, *, is_mapped: bool) -> RowMasks | None:
    """The masks of the rows of a type, or of rows in the layout of their sender; None for none.

    Without the profile nothing says which columns of a sender may be shown, so none are.
    """
    if is_mapped:
        return RowMasks(lambda path: mapping is None or not mapping.shows(shown_path(path)))
    # Imported late, because it loads the models.
    from shared.services.records.rendering import sensitive_names

    if rules.shown is not None or not sensitive_names(rules.json_schema(), rules.is_sensitive):
        return None
    return RowMasks(rules.is_sensitive)


def _with_values(
    node: Any, path: tuple[str | int, ...], change: Callable[[Any, Sequence[str | int]], Any]
) -> Any:
    if isinstance(node, dict):
        return {name: _with_values(item, (*path, name), change) for name, item in node.items()}
    if isinstance(node, list):
        return [_with_values(item, (*path, at), change) for at, item in enumerate(node)]
    return change(node, path)


def _json_of(value: Any) -> str:
    """The JSON text of what `read_unconverted` has read."""
    if isinstance(value, dict):
        items = (
            f"{json.dumps(name, ensure_ascii=False)}: {_json_of(value[name])}" for name in value
        )
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json_of, value))}]"
    return str(value) if isinstance(value, NumberText) else json.dumps(value, ensure_ascii=False)


class _Layout:
    """How the rows of an import are shown: as their type has them, or as their sender does."""

    def __init__(
        self, rules: Rules, mapping: ProfileMapping | None, *, is_mapped: bool, is_masked: bool
    ) -> None:
        self._masks = row_masks(rules, mapping, is_mapped=is_mapped) if is_masked else None
        self._shown = rules.shown
        self.first_columns = () if is_mapped else rules.key_fields
        self.csv = (
            csv_export.CellStyle(mapping.profile.decimal if mapping else "", guards_blanks=False)
            if is_mapped
            else csv_export.OWN_STYLE
        )

    def text_of(self, row: FailedRow) -> str:
        """The JSON of a row, without what is not shown."""
        text = row.notes.sent or row.text
        if self._masks is not None:
            return self._masks.masked(text)
        if row.notes.sent or self._shown is None:
            return text
        return json.dumps(self._shown(json.loads(row.text)), ensure_ascii=False)

    def lists_of(self, row: FailedRow) -> csv_export.Lists | None:
        """The places of list elements in the file of the row, where `text_of` has others."""
        return None if row.notes.sent else row.notes.lists


async def _layout_of(
    chunks: FailedRows, rules: Rules, record: ImportRecord, is_masked: bool
) -> _Layout:
    mapping = await chunks.mapping_of(record)
    is_mapped = bool(record.profile.name)
    return _Layout(rules, mapping, is_mapped=is_mapped, is_masked=is_masked)


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
        csv_export.note_columns(columns, layout.text_of(row), layout.lists_of(row))


def _csv_lines(
    columns: csv_export.Columns, layout: _Layout, rows: Sequence[FailedRow], has_lines: bool
) -> list[str]:
    return [
        csv_export.row_line(
            columns,
            row.index,
            _messages_text(row.result.messages),
            layout.text_of(row),
            (row.notes.line or "") if has_lines else None,
            style=layout.csv,
            lists=layout.lists_of(row),
        )
        for row in rows
    ]


def _messages_text(messages: Sequence[Message]) -> str:
    """All messages in one cell, with the names of their fields. Values are in their own cells."""
    return "; ".join(f"{message.id} {_place(message)}{message.text}" for message in messages)


def _place(message: Message) -> str:
    if message.field is None:
        return ""
    return f"{message.field} ({message.column}): " if message.column else f"{message.field}: "
