"""Licenses as DataContract XML: from the body of a call to its rows (docs/contracts.md#2).

The reader feeds the parser in chunks and drops a row's elements as soon as it has read them, so
memory holds the body and one row's tree.
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
from shared.imports.model import XML_ESCAPE, FieldShape, Shape, shape_of, xml_fault
from shared.imports.row_reader import MAX_SHOWN

# Escapes characters that XML 1.0 does not have, because the parser refuses them.
#
# .NET writes and reads them as references (`&#x1;`), and such a character is a fault of its row,
# not of the body. So before parsing, each is replaced by two characters that XML allows in texts
# but not in names. In the texts of the row it becomes a mark that reading reports as a fault of
# its field (`xml_fault`). The parser refuses the body for NUL and half a surrogate pair, which no
# version of XML has. The escape character itself is escaped the same way and restored as sent.

# The maximum number of escaped characters of a body; each takes six bytes.
MAX_ESCAPED: Final = 1_000_000

# After the escape comes the character at this offset plus its number in `_ESCAPED`.
_OFFSET: Final = 0xE000
_ESCAPED: Final = "".join(map(chr, range(1, 0x20))) + "\ufffe\uffff" + XML_ESCAPE
_ALLOWED_CONTROLS: Final = "\t\n\r"
_NUMBERS: Final = {
    ord(character): number
    for number, character in enumerate(_ESCAPED)
    if character not in _ALLOWED_CONTROLS
}
_RAW = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]|\xef\xb7\x90")
_SUSPECT = re.compile(
    rb"&#(?:[xX]0{0,20}(?:1?[0-9a-f]|[fF]{3}[ef]|fdd0)"
    rb"|0{0,20}(?:[12]?[0-9]|3[01]|6[0-9]{4}));",
    re.IGNORECASE,
)
_REFERENCE: Final = rb"&#(?:x0{0,20}([0-9a-fA-F]{1,6})|0{0,20}([0-9]{1,7}));"
# A section without references, or a reference.
_SEGMENT = re.compile(
    rb"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|" + _REFERENCE, re.DOTALL
)
_IN_TEXT = re.compile(f"{XML_ESCAPE}(.)", re.DOTALL)


def escape_characters(xml: bytes) -> tuple[bytes, bool]:
    """The XML (in UTF-8) with such characters escaped, and whether there were any.

    Raises InvalidRequestError where there are more than MAX_ESCAPED.
    """
    xml, count = _RAW.subn(lambda match: _escaped(ord(match[0].decode())), xml, MAX_ESCAPED + 1)
    if count > MAX_ESCAPED:
        raise _too_many_error()
    if _SUSPECT.search(xml) is None:
        return xml, count > 0

    def replace(match: re.Match[bytes]) -> bytes:
        nonlocal count
        if match[1] is None and match[2] is None:
            return match[0]
        point = int(match[1], 16) if match[1] is not None else int(match[2])
        if point not in _NUMBERS:
            return match[0]
        count += 1
        if count > MAX_ESCAPED:
            raise _too_many_error()
        return _escaped(point)

    return _SEGMENT.sub(replace, xml), count > 0


def unescape_characters(value: Any) -> Any:
    """A row, or a value of it, with a mark for each escaped character, also in names."""
    if isinstance(value, str):
        if XML_ESCAPE not in value:
            return value
        return _IN_TEXT.sub(lambda match: _unescaped(_ESCAPED[ord(match[1]) - _OFFSET]), value)
    if isinstance(value, list):
        return [unescape_characters(item) for item in value]
    if isinstance(value, dict):
        return {unescape_characters(key): unescape_characters(item) for key, item in value.items()}
    return value


def _unescaped(character: str) -> str:
    return character if character == XML_ESCAPE else xml_fault(character)


def _escaped(point: int) -> bytes:
    return f"{XML_ESCAPE}{chr(_OFFSET + _NUMBERS[point])}".encode()


def _too_many_error() -> InvalidRequestError:
    return InvalidRequestError(
        f"The body has more than {MAX_ESCAPED} characters that XML 1.0 does not have: remove the "
        "control characters from its texts."
    )


# Checks of encoding and limits before the XML parser gets a body.
#
# The parser's own limit of ten million characters for one text is too small for a document, and it
# can be disabled only together with the parser's other limits (docs/platform.md#xml). So the parser
# runs without limits. This code refuses the dangerous bodies by their bytes, before a tree is
# built: a document type (and so every entity but XML's own five), thousands of attributes, millions
# of elements.

# Attributes of one element.
MAX_ATTRIBUTES: Final = 100
# Bytes of one attribute. A namespace is one, and is part of the name of each of its elements.
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
_ENCODINGS_WITHOUT_MARK: Final = (b"utf-8", b"us-ascii", b"ascii")


@dataclass(frozen=True, slots=True)
class ScreenedXml:
    """A body in UTF-8 without byte order mark, and the offset of its root element.

    `is_escaped` says that it had characters that XML does not have (`escape_characters`).
    """

    data: bytes
    start: int
    is_escaped: bool


def screened_xml(body: bytes) -> ScreenedXml:
    """The body for the parser.

    Raises InvalidRequestError for another encoding than UTF-8 or UTF-16 with its mark, for a
    document type, and for more or longer attributes or more tags than any license has. The parser
    itself checks that it is well-formed.
    """
    if not body:
        raise InvalidRequestError("The body is empty: send an ArrayOfEmployeeLicenseImportDTO.")
    xml, is_escaped = escape_characters(_to_utf8(body))
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
    """The error for a body that is not XML; the parser's own message would quote the body."""
    location = f" (line {line}, column {column})" if line > 0 else ""
    return InvalidRequestError(
        f"The body is not well-formed XML{location}: correct it there and send it again."
    )


def _to_utf8(body: bytes) -> bytes:
    for mark, (encoding, names) in _ENCODINGS.items():
        if body.startswith(mark):
            return _check_declaration(_transcode(body[len(mark) :], encoding), names)
    return _check_declaration(body, _ENCODINGS_WITHOUT_MARK)


def _transcode(body: bytes, encoding: str) -> bytes:
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeDecodeError:
        raise InvalidRequestError(
            "The body has a UTF-16 mark but is not UTF-16: send UTF-8 or valid UTF-16."
        ) from None


def _check_declaration(xml: bytes, names: tuple[bytes, ...]) -> bytes:
    declaration = _DECLARATION.match(xml)
    if declaration is not None and declaration[1].lower() not in names:
        raise InvalidRequestError(
            "The XML declaration names another encoding than the body has: send UTF-8 or UTF-16, "
            "and name it or leave the declaration out."
        )
    return xml


def _root_offset(xml: bytes) -> int:
    """The offset of the root element, after declaration, comments and instructions."""
    position = _skip_blank(xml, 0)
    for _ in range(MAX_PROLOG):
        if not xml.startswith((b"<?", b"<!"), position):
            break
        if xml.startswith(b"<!--", position):
            end = xml.find(b"-->", position + 4) + 3
        elif xml.startswith(b"<?", position):
            end = xml.find(b"?>", position + 2) + 2
        else:
            raise InvalidRequestError("The body has a DOCTYPE: send XML without one.")
        if end < position:
            raise not_well_formed(*_line_and_column(xml, position))
        position = _skip_blank(xml, end)
    if not xml.startswith(b"<", position) or xml.startswith((b"<?", b"<!"), position):
        raise not_well_formed(*_line_and_column(xml, position))
    return position


def _skip_blank(xml: bytes, position: int) -> int:
    match = _BLANK.match(xml, position)
    return position if match is None else match.end()


def _line_and_column(xml: bytes, position: int) -> tuple[int, int]:
    return xml.count(b"\n", 0, position) + 1, position - xml.rfind(b"\n", 0, position)


# The namespaces of the vendor's .NET DataContract XML (docs/contracts.md#2), in lxml's notation.
#
# Names are `{namespace}Local`; prefixes have no meaning. Requests and answers have different
# namespaces.

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


# XML and forms have only text, which is converted to the type of its field (docs/contracts.md#2).
#
# A text that cannot be converted stays text, so that reading reports it as a fault of its row.

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


def convert_text(text: str, kind: type) -> Any:
    """The text as a `bool` (true, false, 1, 0 in any case), an `int`, or unchanged."""
    if kind is bool:
        return _BOOLEANS.get(text.strip().lower(), text)
    if kind is int:
        trimmed = text.strip()
        return int(trimmed) if _INTEGER.fullmatch(trimmed) else text
    return text


# Reads the element of a row by the model's shape.
#
# Elements may have any order; names match by their namespace and, as in JSON, in any case. An
# unknown element becomes a property that reading reports, under its name where its namespace is the
# vendor's, else under `{namespace}name`. An element in the wrong place or of the wrong kind becomes
# a value of the wrong type, which is a fault of that row only.

# Reads an element at some depth.
Reader = Callable[[etree._Element, int], Any]

ROW_DEPTH: Final = 2
_INPUT_PREFIX: Final = f"{{{INPUT}}}"
_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0")
_DIGEST_LENGTH: Final = 16
_REPEATED_ELEMENT: Final = "has an element twice where one is expected: send it once"
_MIXED_TEXT: Final = "has text between its elements: leave the text out"


class UnreadableRowError(Exception):
    """A row that refuses the whole body; the text continues "The row of index 5"."""


def read_row_element(element: etree._Element) -> Document:
    """The row by contract names. Raises UnreadableRowError."""
    row = _READ_LICENSE(element, ROW_DEPTH)
    if not isinstance(row, dict):
        raise UnreadableRowError(_MIXED_TEXT)
    return row


def is_nil(element: etree._Element) -> bool:
    """Whether the element is null (`i:nil`)."""
    return element.get(NIL) in _TRUE


def is_blank(text: str | None) -> bool:
    """Whether a text between two elements is empty or white space."""
    return not text or text.isspace()


def _make_reader(field: FieldShape) -> Reader | None:
    """The reader of the field's element; None for plain text."""
    if field.nested is not None:
        read_object = _ObjectReader(field.nested)
        return _make_list_reader(read_object) if field.is_list else read_object
    if field.name in ("issuedDate", "expirationDate"):
        return _read_date
    if field.name == "licenseKey":
        return _read_key
    return None if field.kind is str else _make_typed_reader(field.kind)


def _make_typed_reader(kind: type) -> Reader:
    def read(element: etree._Element, depth: int) -> Any:
        if len(element):
            return _read_anything(element, depth)
        return convert_text(element.text or "", kind)

    return read


class _ObjectReader:
    """Reads the element of an object of a shape."""

    def __init__(self, shape: Shape) -> None:
        self._by_tag = {
            _INPUT_PREFIX + pascal(name): (name, _make_reader(field))
            for name, field in shape.fields.items()
        }
        self._folded = {tag.lower(): known for tag, known in self._by_tag.items()}

    def __call__(self, element: etree._Element, depth: int) -> Any:
        """The object's properties, or the text of an element without children."""
        text = element.text
        if is_blank(text):
            return self._read_members(element, depth)
        if len(element):
            raise UnreadableRowError(_MIXED_TEXT)
        return text

    def _read_members(self, element: etree._Element, depth: int) -> Document:
        by_tag = self._by_tag
        values: Document = {}
        for child in element:
            tag = child.tag
            name, read = by_tag.get(tag) or self._find_folded(tag)
            if name in values:
                raise UnreadableRowError(_REPEATED_ELEMENT)
            if child.get(NIL) in _TRUE:
                values[name] = None
            elif read is None and not len(child):
                values[name] = child.text or ""
            else:
                values[name] = (read or _read_anything)(child, depth + 1)
            tail = child.tail
            if tail and not tail.isspace():
                raise UnreadableRowError(_MIXED_TEXT)
        return values

    def _find_folded(self, tag: str) -> tuple[str, Reader | None]:
        """The name and reader of an element in another case, or of an unknown one."""
        if not tag.startswith(_INPUT_PREFIX):
            return _unknown_name(tag), None
        return self._folded.get(tag.lower(), (_unknown_name(tag), None))


def _unknown_name(tag: str) -> str:
    """The name of an unknown element; a long name is shortened and gets a hash.

    The hash distinguishes names with the same beginning. Without a limit, memory would hold the
    namespace once for each of its elements.
    """
    name = tag.removeprefix(_INPUT_PREFIX)
    if len(name) <= MAX_SHOWN:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: MAX_SHOWN - _DIGEST_LENGTH - 1]}\u2026{digest}"


def _make_list_reader(read_item: Reader) -> Reader:
    def read(element: etree._Element, depth: int) -> Any:
        if not len(element):
            return [] if is_blank(element.text) else element.text
        if any(child.tag != DOCUMENT for child in element):
            return _read_anything(element, depth)
        return [None if is_nil(child) else read_item(child, depth + 1) for child in element]

    return read


def _read_date(element: etree._Element, depth: int) -> Any:
    """Year, month and day as ISO text; other content becomes text that is not a date.

    .NET sends an unset date as three zeros.
    """
    if not len(element):
        return element.text or ""
    parts = _child_texts(element)
    if not parts.keys() & {YEAR, MONTH, DAY}:
        return _read_anything(element, depth)
    year, month, day = (parts.get(name, "").strip() for name in (YEAR, MONTH, DAY))
    return f"{year:0>4}-{month:0>2}-{day:0>2}"


def _read_key(element: etree._Element, depth: int) -> Any:
    """The guid in the vendor's wrapper, or as plain text; None where `_hasValue` is false."""
    if not len(element):
        return element.text or ""
    wrapper = element.find(ENTITY_KEY)
    if wrapper is None:
        return _read_anything(element, depth)
    parts = _child_texts(wrapper)
    if parts.get(HAS_VALUE, "").strip().lower() in _FALSE:
        return None
    return parts.get(VALUE)


def _child_texts(element: etree._Element) -> dict[str, str]:
    parts: dict[str, str] = {}
    for child in element:
        if child.tag in parts:
            raise UnreadableRowError(_REPEATED_ELEMENT)
        parts[child.tag] = child.text or ""
    return parts


def _read_anything(element: etree._Element, depth: int) -> Any:
    """An element without a reader: its text, or an object whose repeated names are lists."""
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


# Tags of one row, counted by chunk; a license with 100 documents has about 1,300.
MAX_ROW_TAGS: Final = 4_000
# Bytes that the parser gets at a time.
CHUNK_BYTES: Final = 32 * 1024
# Bytes that the root's own start tag may take.
MAX_ROOT_TAG_BYTES: Final = 64 * 1024

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

    Text is converted to its field's type if possible. Rows are yielded while the body is read, so
    the body is valid only after the last one. Raises InvalidRequestError for other XML,
    UnsupportedPayloadError for a row that is nil, TooLargeError for too many rows; the messages
    never quote the body.
    """
    xml = screened_xml(body)
    _check_root(xml.data, xml.start)
    count = 0
    for element in _row_elements(xml.data):
        if count < max_rows:
            row = _read_row(element, count)
            yield unescape_characters(row) if xml.is_escaped else row
        count += 1
    if count > max_rows:
        raise TooLargeError(
            f"The payload has {count} rows and the limit is {max_rows}: send it in several calls."
        )


def _read_row(element: etree._Element, index: int) -> Document:
    if is_nil(element):
        raise UnsupportedPayloadError(
            f"The row of index {index} is nil: send an element for each row."
        )
    try:
        return read_row_element(element)
    except UnreadableRowError as error:
        raise InvalidRequestError(f"The row of index {index} {error}.") from None


def _check_root(xml: bytes, start: int) -> None:
    """Check the first start tag, before a tree of another document is built."""
    parser = etree.XMLPullParser(events=("start",), **_SETTINGS)
    with suppress(etree.XMLSyntaxError):
        parser.feed(xml[start : start + MAX_ROOT_TAG_BYTES])
    if not any(element.tag == ROOT for element in islice(_events(parser), 1)):
        raise _wrong_content()


def _row_elements(xml: bytes) -> Iterator[etree._Element]:
    """Each row's element, which is valid until the next one is yielded."""
    parser = etree.XMLPullParser(events=("end",), tag=ROW, **_SETTINGS)
    previous: etree._Element | None = None
    tags = 0
    for start in range(0, len(xml), CHUNK_BYTES):
        chunk = xml[start : start + CHUNK_BYTES]
        tags += chunk.count(b"<")
        for element in _feed(parser, chunk):
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


def _feed(parser: etree.XMLPullParser, chunk: bytes) -> list[etree._Element]:
    """The rows that the chunk completes, without elements of the same name inside a row."""
    try:
        parser.feed(chunk)
        elements = list(_events(parser))
    except etree.XMLSyntaxError as error:
        raise not_well_formed(*error.position) from None
    return [element for element in elements if sum(1 for _ in element.iterancestors()) == 1]


def _events(parser: etree.XMLPullParser) -> Iterator[etree._Element]:
    return (cast("etree._Element", element) for _, element in parser.read_events())


def _drop_previous(element: etree._Element, previous: etree._Element | None) -> None:
    """Free the previous row; never the newest node, which the parser may still be changing."""
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
    expected = [] if last is None else [last]
    if list(root) != expected or root.getroottree().docinfo.internalDTD is not None:
        raise _wrong_content()
    if not is_blank(root.text if last is None else last.tail):
        raise _wrong_content()


def _wrong_content() -> InvalidRequestError:
    return InvalidRequestError(
        "The body must be an ArrayOfEmployeeLicenseImportDTO of EmployeeLicenseImportDTO elements "
        "in the vendor's namespace, and nothing else."
    )
