"""Bodies of requests: charsets, forms, and what a form says of its size."""

from __future__ import annotations

import base64
import codecs
import hashlib
import quopri
from datetime import UTC, datetime
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedMediaTypeError
from shared.imports.documents.http import check_form_size, read_upload
from shared.imports.files.text import utf8_body
from shared.web.media_types import charset_of
from shared.web.requests import MAX_FIELD_BYTES, MAX_PARTS, SentFile, check_media_type, read_form
from shared.web.requests import Form as ReadForm
from tests.documents import BOUNDARY, MEDIA_TYPE, PDF, Form, a_part

# A body in the charset that its bytes or its Content-Type say (shared/web/media_types.py).

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
def test_a_name_that_is_not_a_charset_is_refused(charset: str) -> None:
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


# Forms are read whole or refused; nothing of a damaged one is taken.

WHOLE = Form().body()
END = f"--{BOUNDARY}--\r\n".encode()


def test_a_form_has_its_texts_and_its_files() -> None:
    form = read_form(MEDIA_TYPE, Form(worker=" hr-1\u0308 ").body())
    assert form.text("WorkerExternalId") == "hr-1\u0308"
    assert form.text("generationtime") == "2026-01-31"
    assert form.text("isSummary") is None
    [file] = form.files
    assert (file.field, file.name, file.content.read()) == ("file", "payslip.pdf", PDF)
    form.close()
    assert file.content.closed


@pytest.mark.parametrize("kept", [*range(1, len(WHOLE) - 4, 37), len(WHOLE) - 4, len(WHOLE) - 5])
def test_a_form_that_is_cut_off_anywhere_is_refused(kept: int) -> None:
    with pytest.raises(InvalidRequestError, match="cut off"):
        read_form(MEDIA_TYPE, WHOLE[:kept])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b"{}",
        WHOLE.replace(b"Content-Disposition", b"Content-Disposal"),
        a_part('name="\xff"', b"x").replace("\xff".encode(), b"\xff") + END,
        b"".join(a_part(f'name="f{number}"', b"") for number in range(MAX_PARTS + 1)) + END,
        a_part('name="f"', b"x" * (MAX_FIELD_BYTES + 1)) + END,
        a_part("", b"x") + END,
        a_part('filename="payslip.pdf"', PDF) + END,
        a_part('name="workerexternalId"', b"M\xfcller") + END,
        f"--{BOUNDARY}".encode() * 100_000,
        f"--{BOUNDARY}\r\n".encode() + b"a" * 2_000_000,
    ],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_form(MEDIA_TYPE, body)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_needs_its_boundary(content_type: str) -> None:
    with pytest.raises(InvalidRequestError, match="boundary"):
        read_form(content_type, WHOLE)


def test_another_boundary_is_another_form() -> None:
    with pytest.raises(InvalidRequestError):
        read_form("multipart/form-data; boundary=other", WHOLE)


def test_a_repeated_field_name_is_noted_in_any_case() -> None:
    form = read_form(MEDIA_TYPE, Form(more=[("ISSUMMARY", "false"), ("issummary", "true")]).body())
    form.close()
    assert form.repeated == {"issummary"}


def test_the_media_type_matches_in_any_case_and_no_other_is_accepted() -> None:
    check_media_type("Multipart/Form-Data; boundary=x", "identity")
    for content_type, encoding in (("application/pdf", ""), ("", ""), (MEDIA_TYPE, "gzip")):
        with pytest.raises(UnsupportedMediaTypeError):
            check_media_type(content_type, encoding)


def _form_with(headers: str, content: bytes, disposition: str = "") -> bytes:
    """A form whose file, or the part of that disposition, has further headers."""
    disposition = disposition or 'name="file"; filename="payslip.pdf"'
    head = f"Content-Disposition: form-data; {disposition}\r\n{headers}\r\n\r\n"
    return f"--{BOUNDARY}\r\n{head}".encode() + content + b"\r\n" + END


def _file_of(headers: str, content: bytes) -> bytes:
    form = read_form(MEDIA_TYPE, _form_with(headers, content))
    try:
        [file] = form.files
        return file.content.read()
    finally:
        form.close()


@given(st.binary(max_size=300))
def test_an_encoded_file_is_decoded(content: bytes) -> None:
    transfer = "Content-Transfer-Encoding: "
    assert _file_of(f"{transfer}Base64", base64.encodebytes(content)) == content
    assert _file_of(f"{transfer} binary ", base64.b64encode(content)) == base64.b64encode(content)
    quoted = quopri.encodestring(content, quotetabs=True).replace(b"\n", b"\r\n")
    if b"\r" not in content and b"\n" not in content:
        assert _file_of(f"{transfer}quoted-printable", quoted) == content


def test_a_soft_break_and_blanks_at_the_end_of_a_line_are_no_content() -> None:
    sent = b"a=3D =\r\nb \t\r\nc=E4="
    meant = b"a= b\r\nc\xe4"
    assert _file_of("Content-Transfer-Encoding: quoted-printable", sent) == meant


@pytest.mark.parametrize("encoding", ["7bit", "8BIT", "binary"])
def test_an_encoding_that_changes_nothing_is_accepted(encoding: str) -> None:
    assert _file_of(f"Content-Transfer-Encoding: {encoding}", PDF) == PDF


@pytest.mark.parametrize(
    ("headers", "content", "refusal", "match"),
    [
        ("Content-Transfer-Encoding: base64", b"JVBE*", InvalidRequestError, "base64"),
        ("Content-Transfer-Encoding: base64", b"JVBERi0", InvalidRequestError, "base64"),
        ("Content-Transfer-Encoding: base64", PDF, InvalidRequestError, "base64"),
        ("Content-Transfer-Encoding: quoted-printable", b"a=zz", InvalidRequestError, "quoted"),
        ("Content-Transfer-Encoding: quoted-printable", b"\xe4", InvalidRequestError, "quoted"),
        ("Content-Transfer-Encoding: x-uuencode", b"a", UnsupportedMediaTypeError, "not known"),
        ("Content-Encoding: gzip", b"a", UnsupportedMediaTypeError, "Content-Encoding"),
        ("Content-MD5: AAAA", b"a", InvalidRequestError, "Content-MD5"),
    ],
)
@pytest.mark.parametrize("disposition", ['name="file"; filename="a.txt"', 'name="generationTime"'])
def test_a_part_whose_bytes_are_not_what_its_headers_say_is_refused(
    disposition: str, headers: str, content: bytes, refusal: type[Exception], match: str
) -> None:
    with pytest.raises(refusal, match=match):
        read_form(MEDIA_TYPE, _form_with(headers, content, disposition))


def test_a_field_is_decoded_as_its_part_says() -> None:
    field = 'name="workerexternalId"'
    for headers, content in (
        ("Content-Transfer-Encoding: base64", base64.b64encode("Müller".encode())),
        ("Content-Transfer-Encoding: quoted-printable", b"M=C3=BCller"),
        ("Content-Type: text/plain; charset=windows-1252", b"M\xfcller"),
        ("Content-Type: text/plain; charset=utf-16", "Müller".encode("utf-16")),
    ):
        form = read_form(MEDIA_TYPE, _form_with(headers, content, field))
        assert form.text("workerexternalId") == "Müller"
    with pytest.raises(UnsupportedMediaTypeError, match="charset"):
        read_form(MEDIA_TYPE, _form_with("Content-Type: text/plain; charset=utf-7", b"a", field))


def test_a_part_with_a_correct_md5_is_accepted() -> None:
    digest = base64.b64encode(hashlib.md5(PDF, usedforsecurity=False).digest()).decode()
    assert _file_of(f"Content-MD5: {digest}", PDF) == PDF


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            a_part('name="file"', PDF + b"\xff"),
            "The part `file` has no file name: send it as a file, with filename=",
        ),
        (a_part('name="FILE"', b"\x89PNG"), "The part `file` has no file name"),
        (
            a_part('name="generationTime"', b"x") + a_part('name="workerexternalId"', b"M\xfcller"),
            "The part `workerexternalId` is not text in utf-8: send it in UTF-8, or name its",
        ),
        (a_part('name="a\tb"', b"\xff"), r"The part `a\\u0009b` is not text in utf-8"),
        (a_part("", b"x"), "Part 1 of the form has no name: send name="),
        (
            a_part('name="a"', b"x") + a_part('filename="payslip.pdf"', PDF),
            "Part 2 of the form has no name: send name=",
        ),
        (
            a_part('name="\xff"', b"x").replace("\xff".encode(), b"\xff"),
            "A header of part 1 of the form is not UTF-8: send it in UTF-8",
        ),
        (
            a_part('name="a"', b"x")
            + a_part('name="file"; filename="B\xfcro.txt"', b"x").replace("\xfc".encode(), b"\xfc"),
            "The file name of part 2 of the form is not UTF-8: send it in UTF-8",
        ),
        (
            a_part('name="\ufffd"', b"x"),
            "The name of part 1 of the form has a replacement",
        ),
        (
            a_part('name="a"', b"x").replace(b"Content-Disposition", b"Content-Disposal"),
            "Part 1 of the form has no Content-Disposition",
        ),
    ],
)
def test_a_part_that_cannot_be_read_is_named(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{problem}"):
        read_form(MEDIA_TYPE, body + END)


# What a form says of its size, before it is read.


def test_a_body_too_large_for_its_file_is_refused_with_its_size() -> None:
    check_form_size(100 + MAX_FIELD_BYTES, limit=100)
    with pytest.raises(TooLargeError, match=f"The body has {101 + MAX_FIELD_BYTES} bytes"):
        check_form_size(101 + MAX_FIELD_BYTES, limit=100)


def a_form(files: tuple[SentFile, ...] = (), **fields: str) -> ReadForm:
    folded = {name.lower(): value for name, value in fields.items()}
    return ReadForm(folded, files, frozenset())


def refusal_of(form: ReadForm) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        read_upload(form, datetime(2026, 1, 1, tzinfo=UTC), frozenset({"txt"}), 100)
    return refused.value.message


def test_a_form_with_several_faults_is_refused_with_all_of_them() -> None:
    form = a_form((SentFile("file", "../a.txt", BytesIO(b"")),), isSummary="true")
    message = refusal_of(form)
    for fault in (
        "isSummary",
        "workerexternalId",
        "communicationRoundCode",
        "generationTime",
        "The file name",
        "The file is empty",
    ):
        assert message.count(fault) == 1
    assert message.endswith(".")
    assert "The form has no file" in refusal_of(a_form(workerexternalId="x"))
