"""Whether one dropped file names a person (docs/persons-and-tenants.md#dropped).

A file names a person where one of its values is a reference of the person as a whole: a cell, a
value or a name in JSON, a text or an attribute in XML. So a short reference is not found in dates,
amounts or the styles of a spreadsheet. All sheets of a spreadsheet count, as do its comments, and
columns that are no fields, and rows that a profile skips.

A file may have been refused because it is broken, so text is not read by the rules of its format:
it is cut wherever one of the formats could begin or end a value.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from collections.abc import Collection, Iterator
from enum import Enum, auto
from html import unescape
from io import BytesIO
from typing import Final

from shared.errors import RefusedError
from shared.imports.files.formats import FileFormat, format_of_name
from shared.imports.files.gzip_bodies import is_gzip, unpacked
from shared.imports.files.text import describe_binary, is_zip, utf8_body
from shared.imports.files.xlsx_cells import Cell, CellKind, Shown, all_cells, plain_number
from shared.imports.text_checks import ENDS

# What NFC makes ASCII characters of, besides letters: the signs of a Greek question, of an accent.
_BECOMES_ASCII: Final = ("\u037e", "\u1fef")
# The most bytes of a file, also unpacked, that are searched.
MOST_BYTES: Final = 256 * 1024 * 1024
# What stands around a reference in a cell: blanks, quotation marks, ="007", '007.
_AROUND: Final = f"{ENDS}\"'="
# A reference with an escape for each of its characters, and blanks.
_LONGEST_ESCAPE: Final = 12
_MOST_AROUND: Final = 64
# So few references are looked for in a line at once, before it is cut into values.
_FEW: Final = 20
# A format may show a number with other characters. Of a shorter number that is no evidence.
_LEAST_DECORATED: Final = 3
# A shorter number in the name of a file is not taken for a reference: it may be of a date.
_LEAST_IN_NAME: Final = 5
# Of a text in a charset that is not known, at most so large a part is not ASCII.
_MOST_FOREIGN: Final = 0.3

_LINE: Final = re.compile(r"[^\r\n]+")
_SEPARATOR: Final = re.compile(r'"?sep=(.)', re.IGNORECASE)
_CELL: Final = re.compile(r"[^,;\t|]+")
_QUOTED_CELL: Final = re.compile(r'(?:^|[,;\t|])\s*"((?:[^"]|"")*)"')
_JSON_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_JSON_NUMBER: Final = re.compile(r"(?:^|[:,\[])\s*(-?[0-9][0-9.eE+-]*)\s*(?=[,}\]]|$)")
_BETWEEN_MARKS: Final = re.compile(r"[^<>\"']+")
_CDATA: Final = "![CDATA["
_WORD: Final = re.compile(r"[^\W_]+")
_DIGITS: Final = re.compile(r"[0-9]+")


class Mention(Enum):
    """Whether a file names a person."""

    YES = auto()
    NO = auto()
    # It is behind a password, too large, or otherwise cannot be searched.
    UNKNOWN = auto()


class References:
    """The references of a person, as values of files are compared with them.

    Case does not count, nor do blanks and marks around a value.
    """

    def __init__(self, texts: Collection[str]) -> None:
        self._texts = {_folded(text) for text in texts} - {""}
        self._numbers = {_number(text) for text in self._texts if _DIGITS.fullmatch(text)}
        digits = ("".join(_DIGITS.findall(text)) for text in self._texts)
        self._decorated = {_number(each) for each in digits if len(each) >= _LEAST_DECORATED}
        longest = max(map(len, self._texts), default=0)
        self._longest = _LONGEST_ESCAPE * longest + _MOST_AROUND
        self.is_ascii = all(text.isascii() for text in self._texts)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def has(self, value: str) -> bool:
        """Whether a text is one of the references."""
        if self._is_one(value):
            return True
        # A cell with the columns that do not fit, as a file of failed rows has one.
        return value[:1] in ("{", "[") and any(map(self._is_one, _json_values(value)))

    def _is_one(self, value: str) -> bool:
        return len(value) <= self._longest and _folded(value) in self._texts

    def has_shown(self, value: str) -> bool:
        """Whether a text is one of the references, or the bare number of one."""
        return self.has(value) or value in self._numbers or value in self._decorated

    def has_cell(self, cell: Cell) -> bool:
        """Whether a cell of a spreadsheet is one of the references, also as a formatted number."""
        if cell.kind is not CellKind.NUMBER:
            return self.has(cell.text)
        if cell.format.shown is Shown.DECORATED:
            return self.has_shown(cell.text)
        return self.has(cell.text) or cell.text in self._numbers

    def are_in_name(self, name: str) -> bool:
        """Whether the name of a file has one of the references as words, or is one."""
        stem = _folded(name.partition(".")[0])
        if stem in self._texts:
            return True
        words = f" {' '.join(_WORD.findall(_folded(name)))} "
        return any(
            f" {' '.join(_WORD.findall(text))} " in words
            for text in self._texts
            if len("".join(_DIGITS.findall(text))) >= _LEAST_IN_NAME or any(map(str.isalpha, text))
        )

    def stand_in(self, text: bytes) -> bool:
        """Whether one of the references, or the number of one, is a part of a text."""
        lower = text.lower()
        numbers = self._numbers | self._decorated if b'"messages"' in text else set()
        return any(each.encode() in lower for each in self._texts | numbers)

    def may_be_in(self, line: str) -> bool:
        """Whether a line may have one of the references, without escapes or in another form."""
        if len(self._texts) > _FEW or "\\" in line or "&" in line:
            return True
        if not line.isascii() and (
            not self.is_ascii or any(map(line.__contains__, _BECOMES_ASCII))
        ):
            return True
        folded = line.casefold()
        return any(text in folded or '"' in text for text in self._texts)


def find_mention(name: str, data: bytes, references: References) -> Mention:
    """Whether a file names a person; `name` is that of the file, for its ending."""
    if not references:
        return Mention.NO
    try:
        is_named = _is_named(name, data, references)
    except (RefusedError, zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return Mention.UNKNOWN
    return Mention.YES if is_named else Mention.NO


def _is_named(name: str, data: bytes, references: References) -> bool:
    """Raises RefusedError and other errors for what cannot be searched."""
    if len(data) > MOST_BYTES:
        raise ValueError("a file is too large")
    if is_gzip(data):
        data = unpacked(data, MOST_BYTES)
    if is_zip(data):
        return _is_in_archive(data, references)
    if describe_binary(data) is not None:
        raise ValueError("a file is no text")
    text = _decoded(data, references)
    if "\0" in text:
        raise ValueError("a file is no text")
    return any(references.has(value) for value in _values_of(name, text, references))


def _is_in_archive(data: bytes, references: References) -> bool:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = archive.infolist()
        if "[Content_Types].xml" in (each.filename for each in members):
            return any(map(references.has_cell, all_cells(data, MOST_BYTES)))
        if sum(each.file_size for each in members) > MOST_BYTES:
            raise ValueError("an archive is too large")
        is_unknown = False
        for member in members:
            content = archive.read(member)
            if is_zip(content) or is_gzip(content):
                is_unknown = True  # an archive in an archive
                continue
            mention = find_mention(member.filename, content, references)
            if mention is Mention.YES or references.are_in_name(member.filename.rpartition("/")[2]):
                return True
            is_unknown = is_unknown or mention is Mention.UNKNOWN
    if is_unknown:
        raise ValueError("a part of an archive cannot be searched")
    return False


def _decoded(data: bytes, references: References) -> str:
    """The text of a file, in an older charset if it is not in UTF-8. Raises ValueError."""
    data = utf8_body(data, "")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        foreign = len(data.translate(None, bytes(range(128))))
        if foreign > _MOST_FOREIGN * len(data):
            raise
    text = data.decode("cp1252", "replace")
    # All of the older charsets have ASCII.
    if references.is_ascii or any(references.has(value) for value in _values_of("", text)):
        return text
    raise ValueError("the charset of a file is not known")


def _values_of(name: str, text: str, references: References | None = None) -> Iterator[str]:
    """Everything in a text that could be a value, in each of the formats that it may have."""
    begin = text.lstrip(ENDS)[:1]
    begins_as_json, is_markup = begin in ("{", "["), begin == "<"
    named = format_of_name(name)
    # A file that is broken or wrapped in something else does not begin as its format does.
    is_json = begins_as_json or named in (FileFormat.JSON, FileFormat.NDJSON)
    is_csv = not (begins_as_json or is_markup) or named is FileFormat.CSV
    separator = _SEPARATOR.match(text.lstrip(ENDS))
    for match in _LINE.finditer(text):
        line = match[0]
        if references is not None and not references.may_be_in(line):
            continue
        if is_csv:
            yield from _csv_values(line)
            if separator:
                yield from line.split(separator[1])
        if is_json:
            yield from _json_values(line)
        if is_markup:
            for part in _BETWEEN_MARKS.findall(line):
                value = part.removeprefix(_CDATA).removesuffix("]]")
                yield unescape(value) if "&" in value else value


def _csv_values(line: str) -> Iterator[str]:
    yield from _CELL.findall(line)
    if '"' in line:
        for value in _QUOTED_CELL.findall(line):
            yield value.replace('""', '"')


def _json_values(line: str) -> Iterator[str]:
    for value in _JSON_STRING.findall(line):
        yield _json_text(value) if "\\" in value else value
    yield from _JSON_NUMBER.findall(line)
    # Where a mark is missing, strings and what is between them are mistaken for one another.
    yield from _BETWEEN_MARKS.findall(line)


def _json_text(value: str) -> str:
    try:
        return str(json.loads(f'"{value}"', strict=False))
    except ValueError:
        return value


def _folded(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return (text.strip(_AROUND) or text).casefold()


def _number(digits: str) -> str:
    """A number as a spreadsheet keeps it: of 15 digits, without zeros in front."""
    try:
        return plain_number(digits.lstrip("0") or "0")
    except ValueError:
        return digits
