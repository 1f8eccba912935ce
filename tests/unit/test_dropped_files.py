"""Whether a dropped file names a person: each spelling of a reference, and what is none."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any

import pytest
import xlsxwriter

from shared.services.persons.dropped_file import Mention, References, find_mention

YES, NO, UNKNOWN = Mention.YES, Mention.NO, Mention.UNKNOWN


def mention(data: bytes, *references: str, name: str = "file.csv") -> Mention:
    return find_mention(name, data, References(references))


def a_csv(cell: str, delimiter: str = ",") -> bytes:
    out = StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([["Name", "Code", "More"], ["Sample, Ann", cell, "x"]])
    return out.getvalue().encode()


SPELLINGS: list[tuple[str, bytes, str]] = [
    ("csv", a_csv("P7"), "P7"),
    ("csv-case-and-blanks", a_csv(" p7\u00a0"), "P7"),
    ("csv-semicolon", a_csv("P7", ";"), "P7"),
    ("csv-any-delimiter", b"sep=^\r\nName^Code\r\nAnn^P7^x\r\n", "P7"),
    ("csv-guarded", a_csv("'007"), "007"),
    ("csv-formula", a_csv('="007"'), "007"),
    ("csv-quoted-mark", a_csv('A"B1'), 'A"B1'),
    ("csv-quoted-delimiter", a_csv("A,B;1"), "A,B;1"),
    ("csv-never-closed", b'Name,Code\r\n"Ann,P7,x\r\nBea,P8,y\r\n', "P8"),
    ("csv-without-header", b"P7\n", "P7"),
    ("csv-more", a_csv(json.dumps({"Note": "P7"})), "P7"),
    ("csv-utf16", a_csv("P7").decode().encode("utf-16"), "P7"),
    ("csv-gzip", gzip.compress(a_csv("P7")), "P7"),
    ("windows-1252", a_csv("ÉT9").decode().encode("cp1252"), "ÉT9"),
    ("windows-1252-ascii", a_csv("P7").replace(b"Ann", b"Andr\xe9"), "P7"),
    ("nfd", a_csv("E\u0301T9"), "ÉT9"),
    ("json", b'[{"a": {"b": [1, "P7"]}}]', "P7"),
    ("json-number", b'{"a": 1, "b": 417}', "417"),
    ("json-name", b'{"P7": {"x": 1}}', "P7"),
    ("json-slash", rb'{"a": "A\/1"}', "A/1"),
    ("json-escape", rb'{"a": "\u00C9T9"}', "ÉT9"),
    ("json-ascii-escape", rb'{"a": "\u0050\u0037"}', "P7"),
    ("json-twice", b'{"a": "P7", "a": "P8"}', "P7"),
    ("json-broken", b'[{"a": "x"y", "b": "P7"},', "P7"),
    ("ndjson", b'{"a": 1}\n{"a": "P7"}\n', "P7"),
    ("xml", b"<rows><row><ref>A&amp;B1</ref></row></rows>", "A&B1"),
    ("xml-number-escape", b'<?xml version="1.0"?><r a="&#80;&#x37;"/>', "P7"),
    ("xml-cdata", b"<r><a><![CDATA[P7]]></a></r>", "P7"),
    ("html", b"<html><td> P7 </td>", "P7"),
]


@pytest.mark.parametrize(("data", "reference"), [each[1:] for each in SPELLINGS],
                         ids=[each[0] for each in SPELLINGS])  # fmt: skip
def test_a_value_of_a_text_that_is_the_reference_names_the_person(
    data: bytes, reference: str
) -> None:
    assert mention(data, reference) is YES
    assert mention(data, "Z9", "ZÉ8") in (NO, UNKNOWN)
    assert mention(data, "Z9") is NO
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("one.csv", b"x")
        opened.writestr("two.csv", data)
    if not data.startswith(b"\x1f\x8b"):
        assert mention(archive.getvalue(), reference) is YES


@pytest.mark.parametrize("begin", ["cb(", "// rows\n", '1"},', "},"])
def test_json_that_does_not_begin_as_json_is_searched_as_such_by_its_name(begin: str) -> None:
    data = f'{begin}{{"PersonnelRef": "P\\u0037", "No": 4171}}'.encode()
    for name in ("file.json", "file.NDJSON", "file.jsonl.gz"):
        assert mention(data, "P7", name=name) is YES
        assert mention(data, "4171", name=name) is YES
        assert mention(data, "Z9", name=name) is NO


@pytest.mark.parametrize("text", ["2026-12-01", "x 12 y", "12:30", "112", "12.50", "A-12", "12/24"])
def test_a_short_reference_is_no_part_of_a_value(text: str) -> None:
    assert mention(a_csv(text), "12", "01", "A") is NO
    for document in ({"x": text}, [[text]]):
        assert mention(json.dumps(document).encode(), "12", "01", "A") is NO
    markup = f'<r x="{text}"><b>{text}</b></r>'
    assert mention(markup.encode(), "12", "01", "A") is NO


def a_workbook(fill: Callable[[Any, Any], None]) -> bytes:
    out = BytesIO()
    with xlsxwriter.Workbook(out) as book:
        sheet = book.add_worksheet("Rows")
        sheet.write_row(0, 0, ["PersonnelRef", "Note"])
        fill(book, sheet)
    return out.getvalue()


def a_number(number: float, shown: str) -> Callable[[Any, Any], None]:
    return lambda book, sheet: sheet.write_number(
        1, 0, number, book.add_format({"num_format": shown})
    )


WORKBOOKS: list[tuple[str, Callable[[Any, Any], None], str]] = [
    ("text", lambda _, sheet: sheet.write_string(1, 0, "A&B1"), "A&B1"),
    ("unknown-column", lambda _, sheet: sheet.write_string(1, 30, " P7 "), "P7"),
    ("other-sheet", lambda book, _: book.add_worksheet("More").write_string(3, 3, "P7"), "P7"),
    ("name-of-sheet", lambda book, _: book.add_worksheet("P7"), "P7"),
    ("comment", lambda _, sheet: sheet.write_comment(1, 0, "P7"), "P7"),
    ("merged", lambda _, sheet: sheet.merge_range(1, 0, 2, 1, "P7"), "P7"),
    ("formula", lambda _, sheet: sheet.write_formula(1, 0, '="P"&7', None, "P7"), "P7"),
    ("plain", lambda _, sheet: sheet.write_number(1, 0, 417), "417"),
    ("padded", a_number(417, "00000"), "00417"),
    ("decorated", a_number(12345678, r"000\-00\-0000"), "012-34-5678"),
    ("decorated-with-text", a_number(4171, '"P-"0000'), "P-4171"),
    ("rounded", a_number(12345678901234567, "0"), "12345678901234567"),
    ("exponent", a_number(123456789012, "0.00E+00"), "123456789012"),
]  # fmt: skip


@pytest.mark.parametrize(("fill", "reference"), [each[1:] for each in WORKBOOKS],
                         ids=[each[0] for each in WORKBOOKS])  # fmt: skip
def test_a_cell_of_a_spreadsheet_that_is_the_reference_names_the_person(
    fill: Callable[[Any, Any], None], reference: str
) -> None:
    data = a_workbook(fill)
    assert mention(data, reference) is YES
    assert mention(data, "Z9", "1", "2", "3", "0", "14") is NO
    assert mention(gzip.compress(data), reference) is YES


def test_a_hidden_sheet_counts_and_a_date_or_the_place_of_a_picture_does_not() -> None:
    def fill(book: Any, sheet: Any) -> None:
        hidden = book.add_worksheet("Old")
        hidden.hide()
        hidden.write_string(0, 0, "P7")
        sheet.write_number(1, 0, 45992, book.add_format({"num_format": "dd/mm/yyyy"}))
        chart = book.add_chart({"type": "line"})
        chart.add_series({"values": "=Rows!$A$2:$A$2"})
        sheet.insert_chart("M12", chart)

    data = a_workbook(fill)
    assert mention(data, "P7") is YES
    assert mention(data, "45992", "12", "13", "11") is NO


@pytest.mark.parametrize("name", ["xl/vbaProject.bin", "xl/embeddings/one.xlsx"])
def test_a_part_of_another_program_is_said_to_be_unsearched(name: str) -> None:
    data = BytesIO(a_workbook(lambda _, sheet: sheet.write_string(1, 0, "P7")))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr(name, b"P8")
    assert mention(data.getvalue(), "P7") is YES
    assert mention(data.getvalue(), "P8") is UNKNOWN


@pytest.mark.parametrize(
    "data",
    [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
        b"%PDF-1.7 P7",
        b"7z\xbc\xaf\x27\x1c",
        b"PK\x03\x04 cut off",
        gzip.compress(b"P8")[:-9],
        gzip.compress(b"0" * 4_000_000),
        a_csv("\x00P8"),
        a_csv("P7").decode().encode("cp037"),
        a_csv("Ж9").decode().encode("cp1251"),
    ],
    ids=["password", "pdf", "7z", "zip", "gzip", "bomb", "zeros", "ebcdic", "charset"],
)
def test_what_cannot_be_searched_is_said_to_be_so(data: bytes) -> None:
    assert mention(data, "P7", "Ж9") is UNKNOWN


@pytest.mark.parametrize(
    ("name", "reference", "is_named"),
    [
        ("leaver P-7.csv", "P-7", True),
        ("P7.xlsx", "p7", True),
        ("12.csv", "12", True),
        ("workers-123456.csv", "123456", True),
        ("workers-2026-12-01.csv", "12", False),
        ("workers-2026-12-01.csv", "2026", False),
        ("workers-2026-12-01.csv", "12-01", False),
        ("P70.csv", "P7", False),
    ],
)
def test_the_name_of_a_file_names_the_person_by_a_word_that_is_no_part_of_a_date(
    name: str, reference: str, is_named: bool
) -> None:
    assert References([reference]).are_in_name(name) is is_named


def test_a_hostile_file_takes_time_in_its_size_only() -> None:
    size = 300_000
    marks = "a" + "\u0301\u0316" * size
    for text in (marks, '"' * size, ',"' * size, "{" * size, "<" * size, "\\u" * size, "&#" * size):
        assert mention(text.encode(), "P7", "É9") is NO
    assert mention(b"x,y\n", "'", "", "9" * 100) is NO
