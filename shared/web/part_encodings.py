"""The encodings of a form's parts, from their headers (RFC 2045, RFC 7578).

`Content-Transfer-Encoding` is deprecated in forms, but some clients still use it and mean the
decoded content. So base64 and quoted-printable are decoded strictly. A part that cannot be decoded,
or has any other encoding, is refused, because storing the encoded bytes would be wrong.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import re
from typing import TYPE_CHECKING, Final

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

TRANSFER_ENCODING: Final = "Content-Transfer-Encoding"
_IDENTITY: Final = ("", "7bit", "8bit", "binary", "identity")
_CHARSETS: Final = frozenset(
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
    if charset not in _CHARSETS:
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
