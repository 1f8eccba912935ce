"""Documents: names, types, times, uploads as rows, ids, paths of drops (docs/contracts.md#4)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import derived_id
from shared.imports.documents.model import (
    FILE_TYPES,
    PATH_PARTS,
    DropPath,
    Upload,
    WorkerKey,
    file_type_of,
    past_moment,
    read_path,
    type_fault,
)
from shared.imports.file_names import (
    extension_of,
    name_fault,
    path_fault,
    safe_name,
    tenant_of,
)
from shared.imports.messages import Message
from tests.documents import JPEG, PDF, PNG, an_archive

# Names, types and times of documents (docs/contracts.md#4).

ALL = frozenset(FILE_TYPES)
NOW = datetime(2026, 2, 3, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["payslip.pdf", "a b (1).pdf", "Gehalt Jänner.pdf", "給与.pdf", "x", "console.txt"]
)
def test_a_plain_name_is_kept_as_it_is(name: str) -> None:
    assert safe_name(f"  {name} ") == name


def test_a_name_is_kept_in_one_form_of_unicode() -> None:
    assert safe_name("a\u0308.pdf") == "\u00e4.pdf"


@pytest.mark.parametrize(
    "name",
    [
        "", "  ", ".", "..", ".hidden", "../a.pdf", "a/b.pdf", "a\\b.pdf", "C:a.pdf", "a.pdf.",
        "a\x00.pdf", "a\n.pdf", "a\u202efdp.exe", "a\u2028.pdf", "a\ufffd.pdf",
        "a\ufffe.pdf", "a\ufdd0.pdf", "a\U0001ffff.pdf",
        "con", "NUL.txt", "lpt1.pdf", "a?.pdf", "a*.pdf", 'a".pdf', "a|b.pdf", "x" * 201 + ".pdf",
        "語" * 90 + ".pdf", "a\u0308" * 100_000,
    ],
)  # fmt: skip
def test_an_unsafe_name_is_refused(name: str) -> None:
    assert safe_name(name) is None


@pytest.mark.parametrize(
    ("name", "shown_mark"),
    [
        ("", "it is missing"),
        ("a/b.pdf", "it has the character / at character 2; leave it out"),
        ("a\\b.pdf", "it has the character \\ at character 2"),
        ("abc:d.pdf", "it has the character : at character 4"),
        ("a\n.pdf", "it has the character U+000A at character 2"),
        ("a\u202efdp.exe", "it has the character U+202E (RIGHT-TO-LEFT OVERRIDE) at character 2"),
        ("a\u2028.pdf", "it has the character U+2028 (LINE SEPARATOR)"),
        ("a\ud800.pdf", "it has the character U+D800 at character 2"),
        ("a\ufffd.pdf", "its character 2 is not UTF-8; send the name in UTF-8"),
        (".hidden", "it begins with a dot"),
        ("a.pdf.", "it ends with a dot"),
        ("NUL.txt", "nul is the name of a device"),
        ("x" * 201, "it has more than 200 characters or 255 bytes; shorten it"),
        ("語" * 90, "it has more than 200 characters or 255 bytes; shorten it"),
    ],
)
def test_a_name_that_is_refused_is_refused_with_the_mark(name: str, shown_mark: str) -> None:
    fault = name_fault(name)
    assert fault.startswith(shown_mark)
    assert fault.isprintable()


@given(st.text(max_size=220))
def test_a_safe_name_is_one_part_of_a_path_and_stays_what_it_is(sent: str) -> None:
    name = safe_name(sent)
    if name is not None:
        assert safe_name(name) == name
        assert not {"/", "\\", "\0"} & set(name)
        assert name not in (".", "..")
        assert len(name.encode()) <= 255
        assert unicodedata.is_normalized("NFC", name)


@pytest.mark.parametrize(
    ("name", "extension"), [("a.PDF", "pdf"), ("a.b.csv", "csv"), ("a", ""), ("pdf", "")]
)
def test_the_extension_is_what_follows_the_last_dot(name: str, extension: str) -> None:
    assert extension_of(name) == extension


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.pdf", PDF, "pdf"),
        ("a.jpg", JPEG, "jpg"),
        ("a.JPEG", JPEG, "jpg"),
        ("a.png", PNG, "png"),
        ("a.docx", an_archive(), "docx"),
        ("a.xlsx", an_archive(), "xlsx"),
        ("a.csv", "Åsa;1\r\n".encode("latin-1"), "csv"),
        ("a.txt", "Åsa".encode("utf-16"), "txt"),
        ("a.txt", b"", "txt"),
    ],
)
def test_a_file_is_of_the_type_that_name_and_content_agree_on(
    name: str, head: bytes, kind: str
) -> None:
    file_type = file_type_of(name, head, ALL)
    assert file_type is not None
    assert file_type.name == kind


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("a.exe", b"MZ"),
        ("a.pdf", JPEG),
        ("a.pdf", b" %PDF-1.7"),
        ("a.pdf", b"%PDF"),
        ("a.jpg", PNG),
        ("a.txt", b"MZ\x90\x00\x03"),
        ("a.csv", PNG),
        ("a.docx", b"\xd0\xcf\x11\xe0"),
        ("a", b"text"),
        (".txt", b"text"),
    ],
)
def test_a_file_whose_name_and_content_disagree_has_no_type(name: str, head: bytes) -> None:
    assert file_type_of(name, head, ALL) is None


def test_the_settings_may_allow_fewer_types() -> None:
    assert file_type_of("a.txt", b"text", frozenset({"pdf"})) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-03", "2026-02-03T00:00:00+00:00"),
        ("2026-02-03T10:00:00", "2026-02-03T10:00:00+00:00"),
        ("2026-02-03 09:59", "2026-02-03T09:59:00+00:00"),
        ("2026-02-03T11:30:00+02:00", "2026-02-03T09:30:00+00:00"),
        ("2026-02-03t10:00:00.123456789-0000", None),
        ("2026-02-03T09:00:00.1234567z", "2026-02-03T09:00:00.123456+00:00"),
        (" 1999-12-31 ", "1999-12-31T00:00:00+00:00"),
        ("2026-02-03T10:00:01", None),
        ("2026-02-04", None),
        ("2026-02-30", None),
        ("20260101", None),
        ("2026-W05-1", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("yesterday", None),
        ("\u0662026-01-01", None),
        ("", None),
    ],
)
def test_a_time_in_the_past_is_accepted(text: str, moment: str | None) -> None:
    time = past_moment(text, NOW)
    assert (time.isoformat() if time else None) == moment


def test_the_current_time_is_accepted_and_a_second_later_is_not() -> None:
    assert past_moment(NOW.isoformat(), NOW) == NOW
    assert past_moment((NOW + timedelta(seconds=1)).isoformat(), NOW) is None


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "Größe £".encode(), "text/plain; charset=utf-8"),
        ("a.txt", "\ufeffGröße".encode(), "text/plain; charset=utf-8"),
        ("a.csv", b"a;b", "text/csv; charset=utf-8"),
        ("a.txt", "Größe £".encode("cp1252"), "text/plain"),
        ("a.csv", "Größe".encode("latin-1"), "text/csv"),
        ("a.txt", "hallo".encode("utf-16"), "text/plain; charset=utf-16"),
        ("a.txt", b"\xfe\xff" + "hallo".encode("utf-16-be"), "text/plain; charset=utf-16"),
        ("a.txt", "hallo".encode("utf-32"), "text/plain; charset=utf-32"),
        ("a.txt", "給与".encode("iso2022_jp"), "text/plain"),
        ("a.txt", b"", "text/plain; charset=utf-8"),
        ("a.pdf", b"%PDF-\xe4", "application/pdf"),
    ],
)
def test_a_text_is_served_with_the_charset_that_it_has(
    name: str, content: bytes, expected: str
) -> None:
    kind = FILE_TYPES[extension_of(name)]
    assert kind.content_type(content) == expected


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a.exe", "the name ends in .exe; send a file of one of these types: csv, pdf"),
        ("a.docx", "the name ends in .docx; send a file of one of these types: csv, pdf"),
        ("payslip", "the name has no extension; send a file of one of these types: csv, pdf"),
        ("a.PDF", "the content does not begin like a pdf file; send one, or name the file by "),
        ("a.csv", "the content does not begin like a csv file; send one, or name the file by "),
        ("a.\u200bpdf", "the name ends in .\\u200bpdf; send a file of one of these types"),
    ],
)
def test_a_refused_file_type_is_named_with_the_accepted_types(name: str, problem: str) -> None:
    assert type_fault(name, {"pdf", "csv"}).startswith(problem)


# An upload as the row of its import, ids that follow from what is uploaded, paths of drops.

UPLOAD = Upload(
    "hr-1", "2026-01", 'ä "1".pdf', "2026-01-31T00:00:00.000Z", 7, "pdf", WorkerKey("E1", "P1")
)


@pytest.mark.parametrize("upload", [UPLOAD, replace(UPLOAD, worker=None, fault=Message(4010))])
def test_a_row_says_all_that_was_found_out(upload: Upload) -> None:
    line = upload.to_line()
    assert line.count(b"\n") == 1
    assert Upload.from_lines(line) == upload


def test_an_id_is_a_guid_that_depends_on_every_part_and_on_where_parts_end() -> None:
    ids = [UPLOAD.document_id("acme"), UPLOAD.document_id("other")]
    for change in (
        {"round_code": "2026-02"},
        {"file_name": "Ä.pdf"},
        {"worker": WorkerKey("E1", "P2")},
        {"worker": WorkerKey("E1P", "1")},
    ):
        ids.append(replace(UPLOAD, **change).document_id("acme"))
    assert len(set(ids)) == len(ids)
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(each) for each in ids)
    assert derived_id("a", "b") != derived_id("ab")


def test_how_a_worker_was_named_and_what_was_sent_makes_no_other_document() -> None:
    same = replace(UPLOAD, worker_ref="P1", size=8, generation_time="2025-01-01T00:00:00.000Z")
    assert same.document_id("acme") == UPLOAD.document_id("acme")


def test_a_path_has_four_segments_percent_encoded() -> None:
    path = read_path("acme/Q1%2F2026/%C3%84 1/a%25b.pdf")
    assert path == DropPath("acme", "Q1/2026", "Ä 1", "a%b.pdf")


@pytest.mark.parametrize(
    "name",
    [
        "acme/r/w", "acme/r/w/f/more", "acme//w/f.pdf", "acme/r/w/", "Acme/r/w/f.pdf",
        "ac/r/w/f.pdf", "/acme/r/w/f.pdf", "acme/r/%zz/f.pdf", "acme/r/%C3/f.pdf", "acme/r/%/f.pdf",
        "f.pdf", "",
    ],
)  # fmt: skip
def test_any_other_path_is_not_a_drop(name: str) -> None:
    assert read_path(name) is None


def test_the_tenant_of_a_wrong_path_is_known() -> None:
    assert tenant_of("acme/x") == "acme"
    assert tenant_of("../x") is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("acme/r/w/f/more.pdf", "it has 5 parts and 4 are expected"),
        ("a.pdf", "it has 1 parts and 4 are expected"),
        ("acme//w/f.pdf", "its round is empty"),
        ("acme/r//f.pdf", "its worker is empty"),
        ("acme/r/w/", "its file name is empty"),
        ("acme/r/100%/f.pdf", "its worker has a percent sign that encodes nothing; write it as"),
        ("acme/%FC/w/f.pdf", "its round is not UTF-8 once it is decoded"),
        ("Acme Ltd/r/w/f.pdf", "its tenant is no id of a tenant"),
    ],
)
def test_the_message_for_a_wrong_path_names_its_wrong_part(name: str, problem: str) -> None:
    assert path_fault(name, PATH_PARTS).startswith(problem)
    assert read_path(name) is None
