"""Forms are read whole or refused; nothing of a damaged one is taken.

See docs/contracts.md#4, docs/platform.md#multipart.
"""

from __future__ import annotations

import base64
import hashlib
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError
from shared.web.requests import MAX_FIELD_BYTES, MAX_PARTS, check_media_type, read_form
from tests.documents import BOUNDARY, MEDIA_TYPE, PDF, Form, a_part

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
def test_what_is_no_such_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_form(MEDIA_TYPE, body)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_needs_its_boundary(content_type: str) -> None:
    with pytest.raises(InvalidRequestError, match="boundary"):
        read_form(content_type, WHOLE)


def test_another_boundary_is_another_form() -> None:
    with pytest.raises(InvalidRequestError):
        read_form("multipart/form-data; boundary=other", WHOLE)


def test_a_name_that_comes_twice_is_noted_in_any_case() -> None:
    form = read_form(MEDIA_TYPE, Form(more=[("ISSUMMARY", "false"), ("issummary", "true")]).body())
    form.close()
    assert form.repeated == {"issummary"}


def test_the_media_type_matches_in_any_case_and_no_other_is_taken() -> None:
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
def test_an_encoded_file_is_taken_as_what_it_means(content: bytes) -> None:
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
def test_an_encoding_that_changes_nothing_is_taken(encoding: str) -> None:
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


def test_a_part_whose_md5_fits_is_taken() -> None:
    digest = base64.b64encode(hashlib.md5(PDF, usedforsecurity=False).digest()).decode()
    assert _file_of(f"Content-MD5: {digest}", PDF) == PDF


@pytest.mark.parametrize(
    ("body", "said"),
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
        (a_part('name="\ufffd"', b"x"), "The name of part 1 of the form has a mark in place of"),
        (
            a_part('name="a"', b"x").replace(b"Content-Disposition", b"Content-Disposal"),
            "Part 1 of the form has no Content-Disposition",
        ),
    ],
)
def test_a_part_that_cannot_be_read_is_named(body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{said}"):
        read_form(MEDIA_TYPE, body + END)
