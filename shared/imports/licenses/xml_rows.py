"""Licenses as DataContract XML: from the body of a call to its rows (CONTRACTS 2).

The parser is fed in pieces and a row's elements are dropped as soon as they are read, so memory
holds the body and one row's tree, whatever the body is made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final, cast

from lxml import etree

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.definition import Document
from shared.imports.licenses.xml_characters import unescape_characters
from shared.imports.licenses.xml_elements import (
    UnreadableRowError,
    is_blank,
    is_nil,
    read_row_element,
)
from shared.imports.licenses.xml_names import ROOT, ROW
from shared.imports.licenses.xml_screening import not_well_formed, screened_xml

MAX_ROW_TAGS: Final = 4_000
"""Tags of one row, give or take a piece: a license with 100 documents has about 1,300."""
PIECE: Final = 32 * 1024
"""Bytes that the parser is given at a time."""
ROOT_TAG: Final = 64 * 1024
"""Bytes that the root's own start tag may take."""

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
