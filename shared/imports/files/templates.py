"""Templates of rows as CSV and `.xlsx`: a column for each field, and a row of the sample.

They are made of the JSON Schema and the sample of a type, so a further type needs nothing here. A
template can be imported as it is. A spreadsheet also says what each field takes: its cells have the
type of the field and offer the allowed values, and the headers of required fields are coloured.
"""

from __future__ import annotations

import csv
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from io import BytesIO, StringIO
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from shared.imports.csv_export import neutralised
from shared.imports.files.columns import DATE, Step, known_paths, node_at, path_of, types_of
from shared.imports.files.formats import XLSX_TYPE, FileFormat
from shared.imports.import_type import ImportType
from shared.imports.registry import TYPE_CATALOGUE

SAMPLES: Final = Path(__file__).resolve().parents[3] / "samples"
TEMPLATE_FORMATS: Final = (FileFormat.CSV, FileFormat.XLSX)
# Elements of a list that a template has columns for.
_MOST_ELEMENTS: Final = 3
# Rows below the header that have types: the most rows of an import by default.
_TYPED_ROWS: Final = 100_000
_NO_TIME: Final = re.compile(r"T00:00:00(?:\.0+)?Z?\Z")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:]{8})?")
# The file is the same whenever it is made.
_MADE_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
# Limits of spreadsheet programs, in characters.
_LONGEST_TITLE: Final = 32
_LONGEST_NOTE: Final = 255
_LONGEST_LIST: Final = 255
_WIDEST: Final = 40
_LONGEST_CELL: Final = 32_767


@dataclass(frozen=True, slots=True)
class TemplateColumn:
    """A column: its field with the schema of it, and the sample's value, None for an empty cell."""

    name: str
    field: Mapping[str, Any]
    types: frozenset[str]
    is_required: bool
    value: Any


@dataclass(frozen=True, slots=True)
class Template:
    """A template as a file; its name is also the end of its address."""

    name: str
    media_type: str
    content: bytes


def template_name(kind: ImportType, file_format: FileFormat) -> str:
    """The name of a template: `workers.v1.csv`."""
    return f"{kind.name}.v{kind.version}.{file_format.value}"


def make_template(kind: ImportType, file_format: FileFormat) -> Template:
    """The template of a type as CSV or `.xlsx`."""
    name = template_name(kind, file_format)
    if file_format is FileFormat.XLSX:
        return Template(name, XLSX_TYPE, xlsx_template(kind))
    return Template(name, "text/csv", csv_template(kind))


def find_template(name: str) -> Template | None:
    """The template of this name; None where there is none."""
    for kind in TYPE_CATALOGUE.all:
        for file_format in TEMPLATE_FORMATS:
            if kind.has_schema and name == template_name(kind, file_format):
                return make_template(kind, file_format)
    return None


@lru_cache(maxsize=64)
def csv_template(kind: ImportType) -> bytes:
    """The template of a type as CSV."""
    columns = template_columns(kind)
    stream = StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([column.name for column in columns])
    writer.writerow([_csv_cell(column.value) for column in columns])
    # Spreadsheet programs read UTF-8 only with a byte order mark.
    return BOM_UTF8 + stream.getvalue().encode()


def _csv_cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value if value == "null" else neutralised(value)
        case _:
            return str(value)


def template_columns(kind: ImportType) -> Sequence[TemplateColumn]:
    """The columns of a type in the order of its contract."""
    schema = kind.rules.json_schema()
    row = _sample_row(kind)
    columns = []
    for name in _names(known_paths(schema), row):
        path = path_of(name)
        is_required = _is_required(path, schema)
        value = _shown_value(_value_at(path, row))
        if value is None and is_required:
            # A required field that the sample clears.
            value = "null"
        field = node_at(path, schema) or {}
        columns.append(TemplateColumn(name, field, types_of(path, schema), is_required, value))
    return columns


def _sample_row(kind: ImportType) -> Mapping[str, Any]:
    """The row of the sample that shows the most fields."""
    text = (SAMPLES / f"{kind.name}.json").read_text("utf-8")
    sample = json.loads(text, parse_float=Decimal)
    if isinstance(sample, dict):
        # The body of a call that has its rows in a list.
        sample = next(value for value in sample.values() if isinstance(value, list))
    row: Mapping[str, Any] = max(sample, key=_count_values)
    return row


def _count_values(value: Any) -> int:
    match value:
        case dict():
            return sum(map(_count_values, value.values()))
        case list():
            return sum(map(_count_values, value))
        case _:
            return 0 if value is None or value == "" else 1


def _names(paths: Sequence[str], row: Mapping[str, Any]) -> Iterator[str]:
    """The paths, those of a list once for each of its elements in the sample."""
    for list_name, of_list in groupby(paths, key=lambda path: path.partition("[0]")[0]):
        names = list(of_list)
        sent = row.get(list_name)
        count = min(len(sent), _MOST_ELEMENTS) if isinstance(sent, list) and sent else 1
        for place in range(count):
            yield from (name.replace("[0]", f"[{place}]", 1) for name in names)


def _is_required(path: Sequence[Step], schema: Mapping[str, Any]) -> bool:
    """Whether every row must have the field; one of a list or an object that may be left out may
    be left out too.
    """
    return all(
        step in (node_at(path[:depth], schema) or {}).get("required", ())
        for depth, step in enumerate(path)
    )


def _value_at(path: Sequence[Step], row: Mapping[str, Any]) -> Any:
    value: Any = row
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _shown_value(value: Any) -> Any:
    """A value as a cell; dates without the time of day that vendors write behind them."""
    if isinstance(value, str):
        return _NO_TIME.sub("", value) or None
    return None if isinstance(value, list | dict) else value


@lru_cache(maxsize=64)
def xlsx_template(kind: ImportType) -> bytes:
    """The template of a type as a spreadsheet: the rows, and a sheet that explains the fields."""
    # Imported late, because few processes make templates.
    import xlsxwriter

    columns = template_columns(kind)
    title = f"{kind.name} v{kind.version}"
    stream = BytesIO()
    with xlsxwriter.Workbook(stream, {"in_memory": True, "strings_to_formulas": False}) as book:
        book.set_properties({"title": title, "created": _MADE_AT.replace(tzinfo=None)})
        formats = _Formats(book)
        sheet = book.add_worksheet(title)
        sheet.freeze_panes(1, 0)
        for place, column in enumerate(columns):
            width = min(max(len(column.name), len(str(column.value or ""))) + 2, _WIDEST)
            sheet.set_column(place, place, width, formats.of_cells(column))
            sheet.write_string(0, place, column.name, formats.of_header(column))
            sheet.data_validation(1, place, _TYPED_ROWS, place, _validation(column))
            _write(sheet, place, column, formats)
        _add_fields(book, columns, formats)
    return stream.getvalue()


class _Formats:
    """The formats of a workbook."""

    def __init__(self, book: Any) -> None:
        self._header = book.add_format({"bold": True, "bg_color": "#E7E6E6", "bottom": 1})
        self._required = book.add_format({"bold": True, "bg_color": "#FFE699", "bottom": 1})
        self._text = book.add_format({"num_format": "@"})
        self._date = book.add_format({"num_format": "yyyy-mm-dd"})
        self.date_time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self.wrapped = book.add_format({"text_wrap": True, "valign": "top"})

    def of_header(self, column: TemplateColumn) -> Any:
        """That of the cell with the name of a column."""
        return self._required if column.is_required else self._header

    def of_cells(self, column: TemplateColumn) -> Any:
        """That of the cells below it: text stays text, also `007`."""
        if DATE in column.types:
            return self._date
        return self._text if "string" in column.types else None


def _write(sheet: Any, place: int, column: TemplateColumn, formats: _Formats) -> None:
    """Write the sample's value."""
    match column.value:
        case None:
            pass
        case bool():
            sheet.write_boolean(1, place, column.value)
        case int() | Decimal():
            sheet.write_number(1, place, column.value)
        case str() if DATE in column.types and _DATE.fullmatch(column.value):
            if "T" in column.value:
                moment = datetime.fromisoformat(column.value)
                sheet.write_datetime(1, place, moment, formats.date_time)
            else:
                sheet.write_datetime(1, place, date.fromisoformat(column.value))
        case _:
            sheet.write_string(1, place, column.value)


def _validation(column: TemplateColumn) -> dict[str, Any]:
    """What the cells of a column take. It only warns, because the word `null` clears any field."""
    types, field = column.types, column.field
    needed = " (required)" if column.is_required else ""
    name = column.name[: _LONGEST_TITLE - len(needed)]
    rule: dict[str, Any] = {
        "validate": "any",
        "error_type": "warning",
        "error_title": "Another value is expected",
        "error_message": "The field takes another kind of value. Keep this one only if it is the "
        "word null, which clears the field.",
        "input_title": f"{name}{needed}",
        "input_message": field.get("description", "")[:_LONGEST_NOTE] or "A field of the row.",
    }
    allowed = [str(value) for value in field.get("enum", ()) if value is not None]
    if allowed and len(",".join(allowed)) <= _LONGEST_LIST:
        return {**rule, "validate": "list", "source": allowed}
    if "boolean" in types:
        return {**rule, "validate": "list", "source": ["TRUE", "FALSE"]}
    if DATE in types:
        first = date(1900, 3, 1)
        return {**rule, "validate": "date", "criteria": ">=", "value": first}
    if types & {"integer", "number"}:
        least, most = field.get("minimum", -(10**15)), field.get("maximum", 10**15)
        kind = "decimal" if "number" in types else "integer"
        between = {"criteria": "between", "minimum": least, "maximum": most}
        return {**rule, "validate": kind, **between}
    longest = field.get("maxLength", _LONGEST_CELL)
    if "string" in types and longest < _LONGEST_CELL:
        return {**rule, "validate": "length", "criteria": "<=", "value": longest}
    return rule


def _add_fields(book: Any, columns: Sequence[TemplateColumn], formats: _Formats) -> None:
    """A sheet that explains the columns. It is not imported, because it is not the first one."""
    sheet = book.add_worksheet("Fields")
    sheet.freeze_panes(1, 0)
    for place, (head, width) in enumerate(
        (("Field", 40), ("Required", 10), ("Takes", 30), ("Meaning", 90))
    ):
        sheet.set_column(place, place, width, formats.wrapped)
        sheet.write_string(0, place, head, formats.of_header(columns[0]))
    for row, column in enumerate(columns, 1):
        texts = (
            column.name,
            "yes" if column.is_required else "",
            _takes(column),
            column.field.get("description", ""),
        )
        for place, text in enumerate(texts):
            sheet.write_string(row, place, text)


def _takes(column: TemplateColumn) -> str:
    allowed = [str(value) for value in column.field.get("enum", ()) if value is not None]
    if allowed:
        return ", ".join(allowed)
    words = {
        DATE: "date",
        "boolean": "TRUE or FALSE",
        "integer": "whole number",
        "number": "number",
        "string": "text",
    }
    text = next((word for name, word in words.items() if name in column.types), "value")
    longest = column.field.get("maxLength", _LONGEST_CELL)
    return f"{text} of at most {longest} characters" if longest < _LONGEST_CELL else text
