"""Media types and charsets of a call: `Accept`, the body, and the parts of a form."""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import re
from collections.abc import Sequence
from encodings import normalize_encoding
from typing import TYPE_CHECKING, Final

from werkzeug.http import parse_options_header

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError
from shared.imports.files.text import MAX_CHARSET_NAME

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers


def marked_utf16(body: bytes, charset: str) -> bytes:
    """Add the byte order mark to XML whose Content-Type says UTF-16, if it is missing."""
    is_utf16 = normalize_encoding(charset[:MAX_CHARSET_NAME]).lower().startswith("utf_16")
    if not is_utf16 or body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body
    if body.startswith(b"\0"):
        return codecs.BOM_UTF16_BE + body
    return codecs.BOM_UTF16_LE + body if body[1:2] == b"\0" else body


def charset_of(content_type: str) -> str:
    """The charset in a Content-Type header, as it was sent; "" if there is none."""
    return parse_options_header(content_type)[1].get("charset", "")


# The media type that an `Accept` header prefers (RFC 9110, 12.5.1), read tolerantly.
#
# Clients send `*`, `*/*; q=.2`, unknown parameters, and worse. An element that cannot be read
# counts as `*/*`, so that it refuses nothing. The cost is linear in the length of the header.

ANYTHING: Final = "*/*"
_QUOTED: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_WORD: Final = r"[!#$%&'+.^_`|~0-9a-z-]+"
_RANGE: Final = re.compile(rf"\*/\*|{_WORD}/(?:\*|{_WORD})")
_QUALITY: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


def preferred_type(accept: str, media_types: Sequence[str]) -> str | None:
    """The media type that the header prefers, the first one of equals.

    None if the header excludes all of them.
    """
    qualities: dict[str, float] = {}
    for element in _QUOTED.sub("", accept).split(","):
        if element.strip():
            media_range, quality = _read_element(element)
            qualities[media_range] = max(quality, qualities.get(media_range, 0.0))
    if not qualities:
        return media_types[0]
    best: str | None = None
    best_rank = (0.0, 0)
    for media_type in media_types:
        rank = _rank(media_type, qualities)
        if rank[0] > 0 and rank > best_rank:
            best, best_rank = media_type, rank
    return best


def _read_element(element: str) -> tuple[str, float]:
    """Read a media range and its quality. An element that cannot be read counts as `*/*`."""
    name, *parameters = (part.strip() for part in element.lower().split(";"))
    media_range = ANYTHING if name == "*" else "".join(name.split())
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            if not _QUALITY.fullmatch(value.strip()):
                return ANYTHING, 1.0
            quality = min(float(value), 1.0)
    if not _RANGE.fullmatch(media_range):
        return ANYTHING, 1.0
    return media_range, quality


def _rank(media_type: str, qualities: dict[str, float]) -> tuple[float, int]:
    """The quality and the specificity of the closest range that includes the type."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", ANYTHING)
    for distance, media_range in enumerate(ranges):
        if media_range in qualities:
            return qualities[media_range], len(ranges) - distance
    return 0.0, 0


# The encodings of a form's parts, from their headers (RFC 2045, RFC 7578).
#
# `Content-Transfer-Encoding` is deprecated in forms, but some clients still use it and mean the
# decoded content. So base64 and quoted-printable are decoded strictly. A part that cannot be
# decoded, or has any other encoding, is refused, because storing the encoded bytes would be
# wrong.

TRANSFER_ENCODING: Final = "Content-Transfer-Encoding"
_IDENTITY: Final = ("", "7bit", "8bit", "binary", "identity")
_FIELD_CHARSETS: Final = frozenset(
    ("utf-8", "ascii", "iso8859-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be")
)
_BLANKS: Final = b" \t\r\n"
_NOT_QUOTED_PRINTABLE: Final = re.compile(rb"[^\t\r\n -~]|=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)")


def is_plain(headers: Headers) -> bool:
    """Whether a part has nothing to decode or to check."""
    return (
        _word(headers, TRANSFER_ENCODING) in _IDENTITY
        and _word(headers, "Content-Encoding") in ("", "identity")
        and "Content-MD5" not in headers
    )


def decode_part(headers: Headers, content: bytes) -> bytes:
    """Decode the content of a part.

    Raises InvalidRequestError if it cannot be decoded or does not match its `Content-MD5`, and
    UnsupportedMediaTypeError for an unknown encoding.
    """
    if _word(headers, "Content-Encoding") not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            "A part of the form has a Content-Encoding: send the file as it is, without one."
        )
    encoding = _word(headers, TRANSFER_ENCODING)
    match encoding:
        case "base64":
            content = _from_base64(content)
        case "quoted-printable":
            content = _from_quoted_printable(content)
        case _ if encoding not in _IDENTITY:
            raise UnsupportedMediaTypeError(
                f"A part of the form has a {TRANSFER_ENCODING} that is not known: send it without "
                "one, or as base64 or quoted-printable."
            )
    check_md5(headers.get("Content-MD5"), content, "A part of the form")
    return content


def check_md5(expected: str | None, content: bytes, part_name: str) -> None:
    """Raises InvalidRequestError if a `Content-MD5` header was sent and does not match."""
    if expected is None:
        return
    digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    if expected.strip() != digest:
        raise InvalidRequestError(
            f"{part_name} does not match its Content-MD5: it was changed on the way; send it again."
        )


def part_charset(headers: Headers) -> str:
    """The charset of a field from its Content-Type, by default UTF-8.

    Raises UnsupportedMediaTypeError for an unsupported charset.
    """
    from werkzeug.http import parse_options_header

    charset_name = parse_options_header(headers.get("Content-Type", ""))[1].get("charset", "utf-8")
    try:
        charset = codecs.lookup(charset_name).name
    except (LookupError, ValueError):
        charset = ""
    if charset not in _FIELD_CHARSETS:
        raise UnsupportedMediaTypeError(
            "A field of the form has a charset that is not supported: send its text as UTF-8."
        )
    return charset


def _from_base64(content: bytes) -> bytes:
    try:
        return binascii.a2b_base64(content.translate(None, _BLANKS), strict_mode=True)
    except binascii.Error:
        raise _undecodable("base64") from None


def _from_quoted_printable(content: bytes) -> bytes:
    if _NOT_QUOTED_PRINTABLE.search(content):
        raise _undecodable("quoted-printable")
    # Blanks at the end of a line were added on the way (RFC 2045, 6.7), and the library keeps them.
    lines = content.split(b"\n")
    return binascii.a2b_qp(
        b"\n".join(
            line[:-1].rstrip(b" \t") + b"\r" if line.endswith(b"\r") else line.rstrip(b" \t")
            for line in lines
        )
    )


def _undecodable(encoding: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"A part of the form is marked as {encoding} but cannot be decoded as that: send the file "
        f"unencoded, without a {TRANSFER_ENCODING}."
    )


def _word(headers: Headers, name: str) -> str:
    """A header in lower case. If it occurs more than once, all its values."""
    return ",".join(headers.getlist(name)).strip().lower()
