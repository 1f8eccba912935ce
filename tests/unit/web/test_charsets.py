"""A body in the charset that its bytes or its Content-Type say (shared/web/charsets.py)."""

from __future__ import annotations

import codecs

import pytest

from shared.errors import InvalidRequestError
from shared.web.charsets import charset_of, utf8_body

TEXT = '[{"Surname":"Bär Łódź 山"}]'


@pytest.mark.parametrize(
    "body",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
    ids=["utf-8", "utf-8 mark", "utf-16 mark", "utf-16 big mark", "utf-16-le", "utf-16-be", "32"],
)
@pytest.mark.parametrize("charset", ["", "utf-8", "UTF-16", "utf-16le"])
def test_unicode_is_known_by_its_bytes(body: bytes, charset: str) -> None:
    assert utf8_body(body, charset).decode("utf-8-sig") == TEXT


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("iso-8859-1", '["Bär"]'),
        ("Windows-1252", '["€ Bär"]'),
        ("latin1", '["Bär"]'),
        ("shift_jis", '["山"]'),
        ("gb18030", '["山"]'),
        ("ibm037", '["x"]'),
        ("utf-32le", '["山"]'),
    ],
)
def test_other_charsets_are_decoded(charset: str, text: str) -> None:
    assert utf8_body(text.encode(charset), charset).decode() == text


@pytest.mark.parametrize(
    "charset",
    ["klingon", "hex", "base64", "zip", "idna", "punycode", "unicode_escape", "utf-7", "rot13",
     "undefined", "mbcs", "a.b", "\x00", "x" * 5_000],
)  # fmt: skip
def test_a_charset_that_is_none_is_refused(charset: str) -> None:
    with pytest.raises(InvalidRequestError, match="send UTF-8"):
        utf8_body(b"[]", charset)


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (b'["\x81"]', "windows-1252"),
        (b"[]\xe4", "us-ascii-x"),
        (b"\xff\xfe[\x00]", ""),
        (b"[\x00\x00\xd8]\x00", "utf-16"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(body: bytes, charset: str) -> None:
    with pytest.raises(InvalidRequestError, match="send UTF-8"):
        utf8_body(body, charset)


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("", ""),
        ("text/plain", ""),
        ("application/json; charset=UTF-16", "UTF-16"),
        ('text/x; a=b; Charset="utf-16"', "utf-16"),
        (";;;", ""),
        ("charset=utf-16", ""),
    ],
)
def test_a_content_type_is_read_for_its_charset(content_type: str, charset: str) -> None:
    assert charset_of(content_type) == charset
