"""Files of rows on disk: the JSON text of each row, and the line of the file that it begins in.

The format is decided by the file's ending (`shared.imports.files.formats`), else by the first
character; `.gz` files are unpacked. Rows of JSON are sent exactly as they are in the file. Failed
rows that the gateway returned (`{"index", "row", "messages"}`, with `line` if a command wrote them)
are read too; the row is their `row`. So are records that the gateway returned (`{"record", "type",
"createdAt", …}`); the row is their `record`.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from shared.errors import GatewayError, RefusedError
from shared.imports.csv_export import Lists, placed_path
from shared.imports.files.columns import Header, UnknownColumn
from shared.imports.files.formats import (
    FileFormat,
    ReadOptions,
    format_of_name,
    readable_content,
    reader_of,
)
from shared.imports.files.gzip_bodies import is_gzip, unpacked
from shared.imports.files.ndjson_rows import Wrapping
from shared.imports.files.notes import Notes
from shared.imports.files.text import is_zip, not_utf8_error, utf8_body
from shared.imports.import_type import Rules
from shared.imports.json_rows import member_text, read_text_payload
from shared.imports.messages import Message

# The number of rows of a file is limited by memory only, that of a call by its part.
FAR_MORE_THAN_ANY = 2**40
# Faults of cells that the refusal of a file names.
_MOST_FAULTS: Final = 10
# The most bytes that a compressed file or a spreadsheet is unpacked to.
_MAX_UNPACKED: Final = 1024**3


class UnreadableFileError(GatewayError):
    """The file cannot be read. The message has the place and the reason, but no content."""


class RowFileError(UnreadableFileError):
    """The rows of the file cannot be read. The message has the place and the reason, no content."""


@dataclass(frozen=True)
class RowFile:
    """The JSON text of each row of a file, and the line of the file that it begins in, from 1.

    `faults` has the errors of cells that cannot be read, by the index of their row. Such a row
    fails and is not sent. `lists` is that of the notes of rows (`Notes.lists`), by their index.
    """

    rows: Sequence[str]
    lines: Sequence[int]
    unknown_columns: Sequence[UnknownColumn] = field(default=())
    faults: Mapping[int, Sequence[Message]] = field(default_factory=dict)
    lists: Mapping[int, Lists] = field(default_factory=dict)

    def place_of(self, index: int, field_name: str) -> str:
        """A field of a row as the file has it: with the index of its column in a list."""
        lists = self.lists.get(index)
        return placed_path(field_name, lists) if lists else field_name

    @cached_property
    def sent_indexes(self) -> Sequence[int]:
        """The indexes of the rows that are sent, in order."""
        every_index = range(len(self.rows))
        if not self.faults:
            return every_index
        return [index for index in every_index if index not in self.faults]

    def check_cells(self, name: str) -> None:
        """Raises RowFileError for a file with a cell that cannot be read."""
        faults = [
            f"{message.field} of index {index} (line {self.lines[index]}): {message.text}"
            for index, messages in self.faults.items()
            for message in messages
        ]
        if faults:
            more = len(faults) - _MOST_FAULTS
            raise RowFileError(
                f"{name}: {'; '.join(faults[:_MOST_FAULTS])}"
                f"{f'; and {more} more' if more > 0 else ''}. Correct the cells: nothing was sent."
            )


def read_text_file(path: Path) -> str:
    """Read the text of a file, without its byte order mark and a closing Ctrl-Z.

    The charset is UTF-8, or UTF-16 or UTF-32 with their byte order mark, or UTF-16 without one if
    its first character shows it. Raises UnreadableFileError.
    """
    try:
        text = readable_content(FileFormat.XML, _content_of(path))
        return _decoded(text)
    except RefusedError as error:
        raise UnreadableFileError(f"{path.name}: {error.message}") from None


def read_rows(path: Path, rules: Rules, *, blank_clears: bool = False, sheet: str = "") -> RowFile:
    """The rows of the file. Raises RowFileError.

    `rules` are those of the type, for the types of cells; `blank_clears` makes an empty cell null
    instead of leaving the field out; `sheet` names the sheet of a spreadsheet.
    """
    file_format: FileFormat | None = None
    try:
        content = _content_of(path)
        file_format = format_of(path, content)
        content = readable_content(file_format, content)
        if file_format is FileFormat.JSON:
            return read_array(_decoded(content))
        options = ReadOptions(sheet, None, blank_clears, max_bytes=_MAX_UNPACKED)
        return _read_file(file_format, content, rules, options)
    except RefusedError as error:
        note = _format_note(path, file_format)
        raise RowFileError(f"{path.name}{note}: {error.message}") from None


def read_content(path: Path) -> tuple[FileFormat, bytes]:
    """The format of a file of rows, and its content as a reader takes it. Raises RowFileError."""
    try:
        content = _content_of(path)
        file_format = format_of(path, content)
        return file_format, readable_content(file_format, content)
    except RefusedError as error:
        raise RowFileError(f"{path.name}: {error.message}") from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises UnreadableFileError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{path.name} cannot be read: {error.strerror}.") from None


def _content_of(path: Path) -> bytes:
    """The content of a file, unpacked. Raises UnreadableFileError, RefusedError."""
    content = read_bytes(path)
    return unpacked(content, _MAX_UNPACKED) if is_gzip(content) else content


def _decoded(text: bytes) -> str:
    try:
        # Some editors put a second byte order mark in front of the first.
        return text.decode().lstrip("\ufeff")
    except UnicodeDecodeError:
        raise not_utf8_error(text) from None


def format_of(path: Path, content: bytes = b"") -> FileFormat:
    """The format of a file, by its content if that is a spreadsheet, else by its ending, else by
    how its text begins.
    """
    if is_zip(content):
        return FileFormat.XLSX
    by_name = format_of_name(path.name)
    if by_name is not None:
        return by_name
    first = utf8_body(content[:100], "").lstrip(BOM_UTF8).lstrip()[:1]
    return {b"[": FileFormat.JSON, b"{": FileFormat.NDJSON}.get(first, FileFormat.CSV)


def _format_note(path: Path, file_format: FileFormat | None) -> str:
    """A note about the assumed format of a file whose ending is unknown."""
    if file_format is None or format_of_name(path.name) is not None:
        return ""
    return f" (read as {file_format.value.upper()}, since its ending names no format)"


def _read_file(
    file_format: FileFormat, content: bytes, rules: Rules, options: ReadOptions
) -> RowFile:
    headers: list[Header] = []

    def make_renderer(names: Sequence[str], line: int) -> Header:
        header = Header(
            names,
            line,
            rules.json_schema(),
            rules.is_sensitive,
            blank_clears=options.blank_clears,
        )
        headers.append(header)
        return header

    has_header = file_format in (FileFormat.CSV, FileFormat.XLSX)
    reader_options = replace(options, make_renderer=make_renderer) if has_header else options
    reader = reader_of(file_format, rules, reader_options)
    payload = reader(content, lambda _row: None, FAR_MORE_THAN_ANY)
    rows: list[str] = []
    lines: list[int] = []
    faults: dict[int, Sequence[Message]] = {}
    lists: dict[int, Lists] = {}
    for each in payload.rows:
        text, notes_text = payload.row_text(each)
        notes = Notes.from_text(notes_text)
        errors = [message for message in notes.messages if message.is_error]
        if errors:
            faults[each.index] = errors
        if notes.lists:
            lists[each.index] = notes.lists
        rows.append(text)
        lines.append(notes.line or 0)
    return RowFile(rows, lines, headers[0].unknown_columns if headers else (), faults, lists)


def read_array(text: str) -> RowFile:
    """The rows of a JSON array, read as strictly as the gateway reads it. Raises RefusedError."""
    if not text.strip():
        return RowFile((), ())
    wrapping = Wrapping()
    payload = read_text_payload(text.encode(), wrapping.note, FAR_MORE_THAN_ANY)
    rows = [payload.text[row.start : row.end] for row in payload.rows]
    lines = _lines_of(payload.text, [row.start for row in payload.rows])
    if wrapping.member:
        rows = [member_text(row, 0, wrapping.member) for row in rows]
    return RowFile(rows, lines, faults=wrapping.faults)


def _lines_of(text: str, starts: Iterable[int]) -> list[int]:
    """The 1-based line of each position in a text. The positions are ascending."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    lines = []
    line, numbered = 1, 0
    for start in starts:
        line += text.count("\n", numbered, start)
        numbered = start
        lines.append(line)
    return lines
