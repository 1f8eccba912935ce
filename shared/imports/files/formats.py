"""The formats of rows beside those of a vendor: which one a body or a file has, and its reader.

A reader has the type `json_rows.Reader`: it turns the bytes of a body into its rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from typing import Any, Final

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError
from shared.imports.files.columns import Header, MakeRenderer
from shared.imports.files.csv_rows import read_csv
from shared.imports.files.mapping import ProfileMapping, read_mapped
from shared.imports.files.ndjson_rows import read_json_file, read_ndjson
from shared.imports.files.text import describe_binary, utf8_body, without_end_mark
from shared.imports.import_type import Rules
from shared.imports.json_rows import (
    Payload,
    Reader,
    SortKey,
    max_stored_bytes,
    read_payload,
)


class FileFormat(StrEnum):
    """The format of rows. XML is that of licenses alone."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    XLSX = "xlsx"
    XML = "xml"


# The most bytes of a body that a setting allows.
MAX_UNPACKED: Final = 104_857_600
XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# The formats that every type takes, by media type. JSON is the default and not among them.
FILE_TYPES: Final[Mapping[str, FileFormat]] = {
    "text/csv": FileFormat.CSV,
    "application/csv": FileFormat.CSV,
    "text/tab-separated-values": FileFormat.CSV,
    "application/x-ndjson": FileFormat.NDJSON,
    "application/ndjson": FileFormat.NDJSON,
    "application/jsonl": FileFormat.NDJSON,
    "application/x-jsonlines": FileFormat.NDJSON,
    XLSX_TYPE: FileFormat.XLSX,
}
ENDINGS: Final[Mapping[str, FileFormat]] = {
    ".json": FileFormat.JSON,
    ".ndjson": FileFormat.NDJSON,
    ".jsonl": FileFormat.NDJSON,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".xlsx": FileFormat.XLSX,
    ".xml": FileFormat.XML,
}


_MARKUP: Final = re.compile(rb"(?:\xef\xbb\xbf)*\s*<(?:[A-Za-z_]|\?xml|!)")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the rows of a file are read.

    `sheet` is the name of a spreadsheet's sheet, by default its first visible one. `mapping` makes
    rows of what is in the layout of its sender; without it, columns are fields of the type.
    `blank_clears`: an empty cell is null instead of leaving the field out. `max_bytes` limits what
    is unpacked of a spreadsheet, and with it what the rows of a file become (`max_stored_bytes`).
    `is_file`: an array of JSON may be one of failed rows or records, as NDJSON always may.
    `make_renderer` makes the rows of files with a header in another way.
    """

    sheet: str = ""
    mapping: ProfileMapping | None = None
    blank_clears: bool = False
    is_file: bool = False
    max_bytes: int = MAX_UNPACKED
    make_renderer: MakeRenderer | None = None

    @property
    def max_stored(self) -> int:
        """The most bytes that all rows of a file may have as they are stored."""
        return max_stored_bytes(self.max_bytes)


def format_of_media_type(media_type: str) -> FileFormat | None:
    """The format of a media type in lower case; None for JSON, a vendor's or an unknown one."""
    return FILE_TYPES.get(media_type)


def format_of_name(name: str) -> FileFormat | None:
    """The format of a file, by the ending of its name, before `.gz` if it has that too."""
    lower = name.lower().removesuffix(".gz")
    return next((each for ending, each in ENDINGS.items() if lower.endswith(ending)), None)


def readable_content(file_format: FileFormat, content: bytes, charset: str = "") -> bytes:
    """The content of a file as its reader takes it: text in UTF-8, a spreadsheet as it is.

    `charset` is what is said of it; the bytes take precedence. Raises InvalidRequestError for what
    is no text of rows, or does not fit its charset.
    """
    if file_format is FileFormat.XLSX:
        return content
    binary = describe_binary(content)
    if binary is not None:
        kind, advice = binary
        raise InvalidRequestError(f"The file is {kind}: {advice}.")
    text = without_end_mark(utf8_body(content, charset))
    if file_format is not FileFormat.XML and _MARKUP.match(text):
        raise InvalidRequestError(
            "The file is XML or HTML: save the rows as CSV, JSON or NDJSON. Send XML of licenses "
            "to POST /v1/imports/licenses, or drop it as a file that ends in .xml."
        )
    return text


def reader_of(file_format: FileFormat, rules: Rules, options: ReadOptions) -> Reader:
    """The reader of a format for the rows of a type. Text must be in UTF-8.

    Raises UnsupportedMediaTypeError for a format that not every type has.
    """
    make_renderer = header_maker(rules, options)
    match file_format:
        case FileFormat.JSON:
            return _mapped(read_json_file if options.is_file else read_payload, options)
        case FileFormat.NDJSON:
            return _mapped(read_ndjson, options)
        case FileFormat.CSV:
            return partial(_read_csv, make_renderer, options)
        case FileFormat.XLSX:
            return partial(_read_xlsx, make_renderer, options)
        case _:
            raise UnsupportedMediaTypeError(
                f"Rows of this type are not taken as {file_format.value.upper()}: send JSON or CSV."
            )


def _mapped(read: Reader, options: ReadOptions) -> Reader:
    """The reader of rows in JSON, which the profile maps if there is one."""
    if options.mapping is None:
        return read
    return partial(read_mapped, options.mapping, read, max_stored=options.max_stored)


@cache
def _schema(make_schema: Callable[[], dict[str, Any]]) -> Mapping[str, Any]:
    """The schema of a type, made once: that takes longer than reading a few rows."""
    return make_schema()


def header_maker(rules: Rules, options: ReadOptions) -> MakeRenderer:
    """Makes the header of a file: its columns are those of its sender, or fields of the type."""
    if options.make_renderer:
        return options.make_renderer
    if options.mapping:
        return options.mapping.make_renderer
    return partial(
        Header,
        schema=_schema(rules.json_schema),
        is_sensitive=rules.is_sensitive,
        blank_clears=options.blank_clears,
    )


def _read_csv(
    make_renderer: MakeRenderer,
    options: ReadOptions,
    body: bytes,
    sort_key: SortKey,
    max_rows: int,
) -> Payload:
    return read_csv(body, make_renderer, sort_key, max_rows, options.max_stored)


def _read_xlsx(
    make_renderer: MakeRenderer,
    options: ReadOptions,
    body: bytes,
    sort_key: SortKey,
    max_rows: int,
) -> Payload:
    # Imported late, because few imports are spreadsheets.
    from shared.imports.files.xlsx_rows import read_xlsx

    return read_xlsx(
        body,
        make_renderer,
        sort_key,
        max_rows,
        sheet=options.sheet,
        max_bytes=options.max_bytes,
        max_stored=options.max_stored,
    )
