"""Licenses as DataContract XML: from the body of a call to its rows (docs/contracts.md#2).

The parser is fed in pieces and a row's elements are dropped as soon as they are read, so memory
holds the body and one row's tree, whatever the body is made of.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from lxml import etree

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.import_type import Document
from shared.imports.json_rows import MAX_DEPTH
from shared.imports.licenses.model import License
from shared.imports.licenses.xml_characters import escape_characters, unescape_characters
from shared.imports.model import FieldShape, Shape, shape_of
from shared.imports.row_reader import MAX_SHOWN

# What is looked at before a body is given to the XML parser: its encoding and its limits.
#
# The parser's own limit of ten million characters for one text is too small for a document, and it
# comes only together with the others (docs/platform.md#xml). So the parser runs without, and what
# made them necessary is refused here, on the bytes, before a tree grows: any document type (with it
# every entity but XML's own five), thousands of attributes, millions of elements.

# Attributes of one element.
MAX_ATTRIBUTES: Final = 100
# Bytes of one attribute. A namespace is one, and is a part of the name of each element in it.
MAX_ATTRIBUTE: Final = 1_000
# Opening and closing tags of a body: 100,000 licenses of 50 elements.
MAX_TAGS: Final = 10_000_000
# Comments and instructions before the root.
MAX_PROLOG: Final = 1000

_DECLARATION = re.compile(rb"<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_BLANK = re.compile(rb"[ \t\r\n]*")
_ATTRIBUTES = re.compile(
    rb"<[^!?/<>][^<>\"']*+(?:(?:\"[^\"<]*+\"|'[^'<]*+')[^<>\"']*+){%d}" % (MAX_ATTRIBUTES + 1)
)
_LONG_ATTRIBUTE = re.compile(
    rb"<[^!?/<>][^<>\"']*+(?:(?:\"[^\"<]{0,%(most)d}+\"|'[^'<]{0,%(most)d}+')[^<>\"']*+)*+"
    rb"(?:\"[^\"<]{%(over)d}|'[^'<]{%(over)d})"
    % {b"most": MAX_ATTRIBUTE, b"over": MAX_ATTRIBUTE + 1}
)
_ENCODINGS: Final = {
    codecs.BOM_UTF8: ("utf-8", (b"utf-8",)),
    codecs.BOM_UTF16_LE: ("utf-16-le", (b"utf-16", b"utf-16le")),
    codecs.BOM_UTF16_BE: ("utf-16-be", (b"utf-16", b"utf-16be")),
}
_WITHOUT_MARK: Final = (b"utf-8", b"us-ascii", b"ascii")


@dataclass(frozen=True, slots=True)
class ScreenedXml:
    """A body in UTF-8 without byte order mark, and the offset of its root element.

    `is_escaped`: it had characters that XML does not have (`xml_characters`).
    """

    data: bytes
    start: int
    is_escaped: bool


def screened_xml(body: bytes) -> ScreenedXml:
    """The body as the parser takes it.

    Raises InvalidRequestError for another encoding than UTF-8 or UTF-16 with its mark, for a
    document type, and for more or longer attributes or more tags than any license has.
    Well-formedness is the parser's matter.
    """
    if not body:
        raise InvalidRequestError("The body is empty: send an ArrayOfEmployeeLicenseImportDTO.")
    xml, is_escaped = escape_characters(_in_utf8(body))
    if xml.count(b"<") > MAX_TAGS:
        raise InvalidRequestError(
            f"The body has more than {MAX_TAGS} tags: send it in several calls."
        )
    if _ATTRIBUTES.search(xml):
        raise InvalidRequestError(
            f"An element of the body has over {MAX_ATTRIBUTES} attributes: send the vendor's "
            "namespaces and no other attributes."
        )
    if _LONG_ATTRIBUTE.search(xml):
        raise InvalidRequestError(
            f"An attribute of the body has over {MAX_ATTRIBUTE} bytes: send the vendor's "
            "namespaces and no other attributes."
        )
    return ScreenedXml(xml, _root_offset(xml), is_escaped)


def not_well_formed(line: int, column: int) -> InvalidRequestError:
    """The refusal of a body that is no XML; the parser's own words would quote the body."""
    place = f" (line {line}, column {column})" if line > 0 else ""
    return InvalidRequestError(
        f"The body is not well-formed XML{place}: correct it there and send it again."
    )


def _in_utf8(body: bytes) -> bytes:
    for mark, (encoding, names) in _ENCODINGS.items():
        if body.startswith(mark):
            return _checked(_decoded(body[len(mark) :], encoding), names)
    return _checked(body, _WITHOUT_MARK)


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeDecodeError:
        raise InvalidRequestError(
            "The body has a UTF-16 mark and is not UTF-16: send UTF-8, or UTF-16 whole."
        ) from None


def _checked(xml: bytes, names: tuple[bytes, ...]) -> bytes:
    declared = _DECLARATION.match(xml)
    if declared is not None and declared[1].lower() not in names:
        raise InvalidRequestError(
            "The XML declaration names another encoding than the body has: send UTF-8 or UTF-16, "
            "and name it or leave the declaration out."
        )
    return xml


def _root_offset(xml: bytes) -> int:
    """Where the root element starts: behind declaration, comments and instructions."""
    position = _skip_blank(xml, 0)
    for _ in range(MAX_PROLOG):
        if not xml.startswith((b"<?", b"<!"), position):
            break
        if xml.startswith(b"<!--", position):
            end = xml.find(b"-->", position + 4) + 3
        elif xml.startswith(b"<?", position):
            end = xml.find(b"?>", position + 2) + 2
        else:
            raise InvalidRequestError("The body has a document type: send XML without DOCTYPE.")
        if end < position:
            raise not_well_formed(*_place(xml, position))
        position = _skip_blank(xml, end)
    if not xml.startswith(b"<", position) or xml.startswith((b"<?", b"<!"), position):
        raise not_well_formed(*_place(xml, position))
    return position


def _skip_blank(xml: bytes, position: int) -> int:
    match = _BLANK.match(xml, position)
    return position if match is None else match.end()


def _place(xml: bytes, position: int) -> tuple[int, int]:
    return xml.count(b"\n", 0, position) + 1, position - xml.rfind(b"\n", 0, position)


# The namespaces of the vendor's .NET DataContract XML (docs/contracts.md#2), as lxml writes names.
#
# Names are `{namespace}Local`: prefixes mean nothing, and the namespace of what comes in is
# another one than that of what goes out.

_CONTRACTS = "http://schemas.datacontract.org/2004/07/"

INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"
INPUT: Final = f"{_CONTRACTS}BDBPayroll.Integration.ServiceContracts.Data.Models"
OUTPUT: Final = f"{_CONTRACTS}BDBPayroll.Integration.Data.Models"
DATES: Final = f"{_CONTRACTS}EntireOne.Shared.Dates"
KEYS: Final = f"{_CONTRACTS}BDBPayroll.Services.Data.Shared.Keys"
STRINGS: Final = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"

NIL: Final = f"{{{INSTANCE}}}nil"
ROOT: Final = f"{{{INPUT}}}ArrayOfEmployeeLicenseImportDTO"
ROW: Final = f"{{{INPUT}}}EmployeeLicenseImportDTO"
DOCUMENT: Final = f"{{{INPUT}}}DivisionDocumentSubImportDTO"
YEAR, MONTH, DAY = (f"{{{DATES}}}{part}" for part in ("Year", "Month", "Day"))
ENTITY_KEY, HAS_VALUE, VALUE = (
    f"{{{KEYS}}}{part}" for part in ("_entityKey", "_hasValue", "_value")
)


def pascal(name: str) -> str:
    """The spelling of a contract name in XML: `isShowingOnESS` as `IsShowingOnESS`."""
    return name[:1].upper() + name[1:]


# Text of XML and forms, where every value is text, as the type of its field (docs/contracts.md#2).
#
# What is no such value stays text, so that reading reports it as a fault of its row.

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


def typed(text: str, kind: type) -> Any:
    """The text as a `bool` (true, false, 1, 0 in any case), an `int`, or as it is."""
    if kind is bool:
        return _TRUTHS.get(text.strip().lower(), text)
    if kind is int:
        trimmed = text.strip()
        return int(trimmed) if _INTEGER.fullmatch(trimmed) else text
    return text


# From the element of a row to the row: what each element means, by the model's shape.
#
# Elements stand in any order; a name is known by its namespace and, as in JSON, in any case. An
# unknown element becomes a property that reading reports: under its name where its namespace is
# the vendor's, else under `{namespace}name`. An element in the wrong place or of the wrong kind
# becomes a value of the wrong type, which is that row's fault alone.

# What an element at some depth says.
Reader = Callable[[etree._Element, int], Any]

ROW_DEPTH: Final = 2
_INPUT_PREFIX: Final = f"{{{INPUT}}}"
_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0")
_DIGITS: Final = 16
_TWICE: Final = "has an element twice where one is expected: send it once"
_TEXT_BETWEEN: Final = "has text between its elements: leave the text out"


class UnreadableRowError(Exception):
    """A row that refuses the body, like malformed XML; "The row of index 5" precedes the text."""


def read_row_element(element: etree._Element) -> Document:
    """The row by contract names. Raises UnreadableRowError."""
    row = _READ_LICENSE(element, ROW_DEPTH)
    if not isinstance(row, dict):
        raise UnreadableRowError(_TEXT_BETWEEN)
    return row


def is_nil(element: etree._Element) -> bool:
    """Whether the element says that it is null."""
    return element.get(NIL) in _TRUE


def is_blank(text: str | None) -> bool:
    """Whether there is nothing, or only white space, between two elements."""
    return not text or text.isspace()


def _reader(field: FieldShape) -> Reader | None:
    """How the field's element is read; None for one that holds plain text."""
    if field.nested is not None:
        of_object = _ObjectReader(field.nested)
        return _list_reader(of_object) if field.is_list else of_object
    if field.name in ("issuedDate", "expirationDate"):
        return _read_date
    if field.name == "licenseKey":
        return _read_key
    return None if field.kind is str else _typed_reader(field.kind)


def _typed_reader(kind: type) -> Reader:
    def read(element: etree._Element, depth: int) -> Any:
        if len(element):
            return _read_anything(element, depth)
        return typed(element.text or "", kind)

    return read


class _ObjectReader:
    """Reads the element of an object of that shape."""

    def __init__(self, shape: Shape) -> None:
        self._known = {
            _INPUT_PREFIX + pascal(name): (name, _reader(field))
            for name, field in shape.fields.items()
        }
        self._folded = {tag.lower(): known for tag, known in self._known.items()}

    def __call__(self, element: etree._Element, depth: int) -> Any:
        """Its properties; text where it has no elements but text."""
        text = element.text
        if is_blank(text):
            return self._members(element, depth)
        if len(element):
            raise UnreadableRowError(_TEXT_BETWEEN)
        return text

    def _members(self, element: etree._Element, depth: int) -> Document:
        known = self._known
        values: Document = {}
        for child in element:
            tag = child.tag
            name, read = known.get(tag) or self._find(tag)
            if name in values:
                raise UnreadableRowError(_TWICE)
            if child.get(NIL) in _TRUE:
                values[name] = None
            elif read is None and not len(child):
                values[name] = child.text or ""
            else:
                values[name] = (read or _read_anything)(child, depth + 1)
            tail = child.tail
            if tail and not tail.isspace():
                raise UnreadableRowError(_TEXT_BETWEEN)
        return values

    def _find(self, tag: str) -> tuple[str, Reader | None]:
        """An element in another case than the contract's, or one that it does not have."""
        if not tag.startswith(_INPUT_PREFIX):
            return _unknown_name(tag), None
        return self._folded.get(tag.lower(), (_unknown_name(tag), None))


def _unknown_name(tag: str) -> str:
    """The name of an element that the contract does not have; a long one by its beginning.

    The hash keeps names apart that begin alike. Without a bound a namespace that is sent once would
    be kept with each of its elements.
    """
    name = tag.removeprefix(_INPUT_PREFIX)
    if len(name) <= MAX_SHOWN:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: MAX_SHOWN - _DIGITS - 1]}\u2026{digest}"


def _list_reader(read_item: Reader) -> Reader:
    def read(element: etree._Element, depth: int) -> Any:
        if not len(element):
            return [] if is_blank(element.text) else element.text
        if any(child.tag != DOCUMENT for child in element):
            return _read_anything(element, depth)
        return [None if is_nil(child) else read_item(child, depth + 1) for child in element]

    return read


def _read_date(element: etree._Element, depth: int) -> Any:
    """Year, month and day as ISO text; what is none becomes text that is no date.

    .NET sends a date that is not set as three zeros.
    """
    if not len(element):
        return element.text or ""
    parts = _texts(element)
    if not parts.keys() & {YEAR, MONTH, DAY}:
        return _read_anything(element, depth)
    year, month, day = (parts.get(name, "").strip() for name in (YEAR, MONTH, DAY))
    return f"{year:0>4}-{month:0>2}-{day:0>2}"


def _read_key(element: etree._Element, depth: int) -> Any:
    """The guid in the vendor's wrapper, or as plain text; None where it says it has no value."""
    if not len(element):
        return element.text or ""
    wrapped = element.find(ENTITY_KEY)
    if wrapped is None:
        return _read_anything(element, depth)
    parts = _texts(wrapped)
    if parts.get(HAS_VALUE, "").strip().lower() in _FALSE:
        return None
    return parts.get(VALUE)


def _texts(element: etree._Element) -> dict[str, str]:
    parts: dict[str, str] = {}
    for child in element:
        if child.tag in parts:
            raise UnreadableRowError(_TWICE)
        parts[child.tag] = child.text or ""
    return parts


def _read_anything(element: etree._Element, depth: int) -> Any:
    """What no field says how to read: its text, or an object whose repeated names are lists."""
    if depth > MAX_DEPTH:
        raise UnreadableRowError(
            f"is nested more than {MAX_DEPTH} levels deep: send the elements of the contract only"
        )
    if not len(element):
        return element.text or ""
    values: dict[str, list[Any]] = {}
    for child in element:
        name = _unknown_name(child.tag)
        values.setdefault(name, []).append(_read_anything(child, depth + 1))
    return {name: items if len(items) > 1 else items[0] for name, items in values.items()}


_READ_LICENSE: Final = _ObjectReader(shape_of(License))


# Tags of one row, give or take a piece: a license with 100 documents has about 1,300.
MAX_ROW_TAGS: Final = 4_000
# Bytes that the parser is given at a time.
PIECE: Final = 32 * 1024
# Bytes that the root's own start tag may take.
ROOT_TAG: Final = 64 * 1024

_SETTINGS: Final[dict[str, Any]] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "remove_comments": True,
    "remove_pis": True,
    "huge_tree": True,
}


def read_license_xml(body: bytes, max_rows: int) -> Iterator[Document]:
    """The rows of an ArrayOfEmployeeLicenseImportDTO, by contract names, in their order.

    Text is converted to its field's type; what cannot be converted stays text. Rows come while
    the body is read, so it is accepted only when the last one has come without an error. Raises
    InvalidRequestError for what is no such XML, UnsupportedPayloadError for a row that is nil,
    TooLargeError for too many rows; never quoting the body.
    """
    xml = screened_xml(body)
    _check_root(xml.data, xml.start)
    count = 0
    for element in _row_elements(xml.data):
        if count < max_rows:
            row = _row(element, count)
            yield unescape_characters(row) if xml.is_escaped else row
        count += 1
    if count > max_rows:
        raise TooLargeError(
            f"The payload has {count} rows and the limit is {max_rows}: send it in several calls."
        )


def _row(element: etree._Element, index: int) -> Document:
    if is_nil(element):
        raise UnsupportedPayloadError(
            f"The row of index {index} is nil: send an element for each row."
        )
    try:
        return read_row_element(element)
    except UnreadableRowError as error:
        raise InvalidRequestError(f"The row of index {index} {error}.") from None


def _check_root(xml: bytes, start: int) -> None:
    """Look at the first start tag alone, before a tree of something else is built."""
    parser = etree.XMLPullParser(events=("start",), **_SETTINGS)
    with suppress(etree.XMLSyntaxError):
        parser.feed(xml[start : start + ROOT_TAG])
    if not any(element.tag == ROOT for element in islice(_events(parser), 1)):
        raise _wrong_content()


def _row_elements(xml: bytes) -> Iterator[etree._Element]:
    """Each row's element while it is there; the one before is gone by then."""
    parser = etree.XMLPullParser(events=("end",), tag=ROW, **_SETTINGS)
    previous: etree._Element | None = None
    tags = 0
    for start in range(0, len(xml), PIECE):
        piece = xml[start : start + PIECE]
        tags += piece.count(b"<")
        for element in _fed(parser, piece):
            _drop_previous(element, previous)
            yield element
            del element[:]
            previous, tags = element, 0
        if tags > MAX_ROW_TAGS:
            raise InvalidRequestError(
                f"A row of the body has more than {MAX_ROW_TAGS} tags: send the elements of the "
                "contract only."
            )
    _check_end(parser, previous)


def _fed(parser: etree.XMLPullParser, piece: bytes) -> list[etree._Element]:
    """The rows that the piece completes; an element of a row's name inside a row is none."""
    try:
        parser.feed(piece)
        ended = list(_events(parser))
    except etree.XMLSyntaxError as error:
        raise not_well_formed(*error.position) from None
    return [element for element in ended if _depth(element) == 1]


def _events(parser: etree.XMLPullParser) -> Iterator[etree._Element]:
    return (cast("etree._Element", element) for _, element in parser.read_events())


def _depth(element: etree._Element) -> int:
    return sum(1 for _ in element.iterancestors())


def _drop_previous(element: etree._Element, previous: etree._Element | None) -> None:
    """Free the row before. (Never the newest node: the parser may still be adding to it.)"""
    parent = element.getparent()
    before = element.getprevious()
    if before is not previous or parent is None:
        raise _wrong_content()
    if not is_blank(parent.text if previous is None else previous.tail):
        raise _wrong_content()
    if previous is not None:
        parent.remove(previous)


def _check_end(parser: etree.XMLPullParser, last: etree._Element | None) -> None:
    try:
        root = parser.close()
    except etree.XMLSyntaxError as error:
        raise not_well_formed(*error.position) from None
    left = [] if last is None else [last]
    if list(root) != left or root.getroottree().docinfo.internalDTD is not None:
        raise _wrong_content()
    if not is_blank(root.text if last is None else last.tail):
        raise _wrong_content()


def _wrong_content() -> InvalidRequestError:
    return InvalidRequestError(
        "The body must be an ArrayOfEmployeeLicenseImportDTO of EmployeeLicenseImportDTO elements "
        "in the vendor's namespace, and nothing else."
    )
