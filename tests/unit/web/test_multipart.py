"""Forms are read whole or refused; nothing of a damaged one is taken (CONTRACTS 4, LIBRARIES 5)."""

from __future__ import annotations

import pytest

from shared.errors import InvalidRequestError, UnsupportedMediaTypeError
from shared.web.multipart import MAX_FIELD_BYTES, MAX_PARTS, check_media_type, read_form
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
