"""Rows of spreadsheets: what becomes of each kind of cell in each kind of field, and templates."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema_rs
import openpyxl
import pytest

from shared.errors import RefusedError, TooLargeError
from shared.imports.files.columns import known_paths
from shared.imports.files.corrections import corrections_reader
from shared.imports.files.formats import FileFormat, ReadOptions, header_maker, reader_of
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.notes import Notes
from shared.imports.files.profile import ProfileRef, read_profile
from shared.imports.files.templates import csv_template, template_columns, xlsx_template
from shared.imports.files.xlsx_cells import cell_name
from shared.imports.files.xlsx_rows import read_xlsx
from shared.imports.import_type import ImportType
from shared.imports.json_rows import RowText
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.timesheets.definition import TIMESHEETS_V2
from shared.imports.workers.definition import WORKERS
from tests.files_of_rows import SOFFICE, libreoffice_saves
from tests.unit.imports.test_xlsx_cells import raw_sheet, sheet_of, workbook

# A text field, a number field, a whole number, a date field of placements.
TEXT, NUMBER, WHOLE, DATE = "JobTitle", "Salary", "TaxYear", "StartDate"
HEADER = (TEXT, NUMBER, WHOLE, DATE)


def read(body: bytes, max_rows: int = 100, options: ReadOptions | None = None) -> list[RowText]:
    reader = reader_of(FileFormat.XLSX, PLACEMENTS.rules, options or ReadOptions())
    payload = reader(body, lambda row: row.get("jobtitle"), max_rows)
    return [payload.row_text(row) for row in payload.rows]


def rows(body: bytes) -> list[Any]:
    return [json.loads(row.text) for row in read(body)]


def faults(row: RowText) -> dict[str, str]:
    """The details of the messages of a row by their fields."""
    messages = json.loads(row.notes).get("messages", [])
    assert all(id_ == 1002 for id_, *_ in messages)
    return {field: detail for _, field, _, detail in messages}


def refused(body: bytes, max_rows: int = 100) -> str:
    with pytest.raises(RefusedError) as caught:
        read(body, max_rows)
    return caught.value.message


def one_value(value: Any, code: str = "", columns: tuple[str, ...] = HEADER) -> RowText:
    """The row of a sheet with the same cell in all columns."""
    cells = {f"{letter}1": name for letter, name in zip("ABCD", columns, strict=False)}
    places = [f"{letter}2" for letter in "ABCD"[: len(columns)]]
    formats = dict.fromkeys(places, code) if code else {}
    [row] = read(sheet_of({**cells, **dict.fromkeys(places, value)}, formats))
    return row


TRAPS: Mapping[str, tuple[Any, str, Mapping[str, Any]]] = {
    # value, number format, what becomes of it by field; a field that is left out has a fault
    "text with leading zeros": ("007", "", {TEXT: "007", NUMBER: "007", WHOLE: "007", DATE: "007"}),
    "text of a number": ("417", "", {TEXT: "417", NUMBER: 417, WHOLE: 417, DATE: "417"}),
    "a number": (417, "", {TEXT: "417", NUMBER: 417, WHOLE: 417}),
    "a number shown with zeros": (417, "00000", {TEXT: "00417", NUMBER: 417, WHOLE: 417}),
    "a negative number shown with zeros": (-7, "00000", {TEXT: "-00007", NUMBER: -7, WHOLE: -7}),
    "a number in a text format": (417, "@", {TEXT: "417", NUMBER: 417, WHOLE: 417}),
    "15 digits": (10**14, "", {TEXT: str(10**14), NUMBER: 10**14, WHOLE: 10**14}),
    "16 digits": (1234567890123456, "", {}),
    "a fraction": (12.5, "", {NUMBER: 12.5, WHOLE: 12.5}),
    "a number with an exponent": (100000, "0.00E+00", {NUMBER: 100000, WHOLE: 100000}),
    "text with an exponent": ("1E+05", "", {TEXT: "1E+05", NUMBER: 1e5, WHOLE: 1e5, DATE: "1E+05"}),
    "a percentage": (0.12, "0%", {}),
    "a decorated number": (417, '"A-"000', {NUMBER: 417, WHOLE: 417}),
    "a date": (dt.date(2024, 2, 29), "", {DATE: "2024-02-29"}),
    "a date with a time": (dt.datetime(2024, 2, 29, 8, 5), "", {DATE: "2024-02-29T08:05:00"}),  # noqa: DTZ001
    "29 February 1900": (60, "dd/mm/yyyy", {}),
    "a time of day": (dt.time(10, 30), "", {}),
    "a duration": (dt.timedelta(hours=37, minutes=30), "", {}),
    "true": (True, "", {}),
    "an error": ("#N/A", "", {}),
    "a formula without a value": ("=1+1", "", {}),
    "no-break spaces and quotes": (
        *("\u00a0“x”\u2019", ""),
        dict.fromkeys(HEADER, "\u00a0“x”\u2019"),
    ),
    "a line break": ("a\nb", "", dict.fromkeys(HEADER, "a\nb")),
    "the word null": ("null", "", dict.fromkeys(HEADER)),
    "a guarded formula": ("'=1+1", "", dict.fromkeys(HEADER, "=1+1")),
}


@pytest.mark.parametrize(("value", "code", "expected"), TRAPS.values(), ids=TRAPS)
def test_a_cell_becomes_what_it_shows_or_a_fault_that_names_it(
    value: Any, code: str, expected: Mapping[str, Any]
) -> None:
    row = one_value(value, code)
    assert json.loads(row.text) == expected
    found = faults(row)
    assert found.keys() | expected.keys() == {*HEADER}
    assert not found.keys() & expected.keys()
    names = dict(zip(HEADER, ("A2", "B2", "C2", "D2"), strict=True))
    assert all(f"cell {names[field]} " in detail for field, detail in found.items())


def test_true_and_false_are_those_of_their_fields() -> None:
    header = ("IsStudent", "IsExpat", "IsApprentice")
    reader = reader_of(FileFormat.XLSX, WORKERS.rules, ReadOptions())
    cells = dict(zip(("A1", "B1", "C1"), header, strict=True))
    payload = reader(sheet_of({**cells, "A2": True, "B2": "False", "C2": 1}), lambda _: None, 9)
    row = payload.row_text(payload.rows[0])
    assert json.loads(row.text) == {"IsStudent": True, "IsExpat": False}
    assert faults(row) == {
        "IsApprentice": "the cell C2 is a number, and TRUE or FALSE is expected; enter that"
    }


def test_a_fault_names_its_field_as_the_contract_does_whatever_the_case_of_the_header() -> None:
    reader = reader_of(FileFormat.XLSX, WORKERS.rules, ReadOptions())
    header = ("employerref", "PERSONNELREF", "workeraddress.postcode", "primarybankdetails.iban")
    cells = {f"{letter}1": name for letter, name in zip("ABCD", header, strict=True)}
    payload = reader(
        sheet_of({**cells, **dict.fromkeys(("A2", "B2", "C2", "D2"), 12.5)}), lambda _: None, 9
    )
    row = payload.row_text(payload.rows[0])
    messages = Notes.from_text(row.notes).messages
    assert [(each.field, each.value) for each in messages] == [
        ("EmployerRef", "12.5"),
        ("PersonnelRef", "12.5"),
        ("WorkerAddress.Postcode", "12.5"),
        ("PrimaryBankDetails.IBAN", None),
    ]


def test_true_in_a_sheet_is_what_a_file_of_csv_has_for_the_tables_of_a_profile() -> None:
    document = {
        "type": "placements",
        "columns": {"E": "EmployerRef", "T": "JobTitle", "Y": "TaxYear", "P": "TaxPeriod",
                    "S": "TaxSession", "R": "PlacementRef"},
        "values": {"JobTitle": {"entries": {"TRUE": "yes", "FALSE": "no"}}},
        "skip": {"Storno": ["TRUE"]},
    }  # fmt: skip
    mapping = ProfileMapping(ProfileRef("a", 1), read_profile(json.dumps(document)))
    reader = reader_of(FileFormat.XLSX, PLACEMENTS.rules, ReadOptions(mapping=mapping))
    cells = {"A1": "E", "B1": "T", "C1": "Storno", "A2": "1", "B2": True, "C2": True, "A3": "1"}
    payload = reader(sheet_of({**cells, "B3": True, "C3": False}), lambda _: None, 9)
    [row] = payload.rows
    text, notes = payload.row_text(row)
    assert json.loads(text) == {"EmployerRef": "1", "JobTitle": "yes"}
    assert json.loads(Notes.from_text(notes).sent) == {"E": "1", "T": "TRUE", "Storno": "FALSE"}


def test_a_fault_shows_its_value_but_no_sensitive_one() -> None:
    reader = reader_of(FileFormat.XLSX, WORKERS.rules, ReadOptions())
    cells = {"A1": "PrimaryBankDetails.IBAN", "B1": "Surname", "A2": 12.5, "B2": 12.5}
    payload = reader(sheet_of(cells), lambda _: None, 9)
    messages = json.loads(payload.row_text(payload.rows[0]).notes)["messages"]
    assert [(field, value) for _, field, value, _ in messages] == [
        ("PrimaryBankDetails.IBAN", None),
        ("Surname", "12.5"),
    ]


def test_rows_have_the_numbers_of_the_sheet_and_empty_ones_are_ignored() -> None:
    cells = {"B3": TEXT, "C3": " salary\u00a0", "B4": "a", "C4": 1, "B7": " ", "B9": "b"}
    body = sheet_of({**cells, "C40": None})
    assert rows(body) == [{TEXT: "a", "salary": 1}, {TEXT: "b"}]
    assert [json.loads(row.notes)["line"] for row in read(body)] == [4, 9]


def test_hidden_rows_and_columns_are_imported() -> None:
    def fill(book: Any) -> None:
        for values in ((TEXT, NUMBER), ("a", 1), ("b", 2)):
            book.active.append(values)
        book.active.row_dimensions[2].hidden = True
        book.active.column_dimensions["B"].hidden = True

    assert rows(workbook(fill)) == [{TEXT: "a", NUMBER: 1}, {TEXT: "b", NUMBER: 2}]


def test_an_unknown_column_takes_any_value_and_is_named_once() -> None:
    read_rows = read(sheet_of({"A1": "Shoe", "B1": TEXT, "A2": 42, "B2": "a", "A3": True, "B3": 1}))
    assert [json.loads(row.text) for row in read_rows] == [
        {"Shoe": 42, TEXT: "a"},
        {"Shoe": True, TEXT: "1"},
    ]
    assert ["messages" in json.loads(row.notes) for row in read_rows] == [True, False]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({}, "The sheet has no header"),
        ({"A1": "Staff of March", "A2": TEXT}, "Line 1, which begins with Staff of March, has no"),
        ({"A1": TEXT, "B1": TEXT.upper(), "A2": "x"}, "more than one column of the same name"),
        ({"A1": TEXT, "A2": "x", "C2": 1}, "has a value in column 3, which has no name in line 1"),
        ({"A1": TEXT, "B1": NUMBER, "A5": TEXT, "B5": NUMBER}, "(line 5) repeats the header"),
        ({"A1": TEXT, "A2": "x", "A3": "y", "A4": "z"}, "more than 2"),
    ],
)
def test_a_sheet_that_is_no_table_of_the_type_is_refused(
    cells: Mapping[str, Any], message: str
) -> None:
    assert message in refused(sheet_of(cells), 2)


def test_a_wide_sheet_of_few_cells_is_refused_before_it_costs_much() -> None:
    header = f"<row><c r='A1' t='str'><v>{TEXT}</v></c><c r='XFC1' t='str'><v>x</v></c></row>"
    narrow = f"<row><c t='str'><v>{TEXT}</v></c></row>"
    rows = "<row><c t='str'><v>a</v></c></row>" * 20
    blanks = rows.replace("</c>", "</c><c r='XFC1' t='str'><v> </v></c>")
    maker = header_maker(PLACEMENTS.rules, ReadOptions())
    read_within = partial(read_xlsx, max_bytes=10**7, max_stored=10**7, max_area=100_000)
    for data in (header + rows, narrow + blanks):
        with pytest.raises(TooLargeError, match="more than 100000 cells"):
            read_within(raw_sheet(data), maker, lambda _: None, 100)


def test_a_sheet_is_named_in_the_options() -> None:
    def fill(book: Any) -> None:
        book.active["A1"] = "Notes"
        for values in ((TEXT,), ("a",)):
            sheet = book["Rows"] if "Rows" in book else book.create_sheet("Rows")
            sheet.append(values)

    [row] = read(workbook(fill), options=ReadOptions(sheet="rows"))
    assert json.loads(row.text) == {TEXT: "a"}


def test_a_profile_maps_typed_cells_as_what_they_are() -> None:
    profile = read_profile(
        json.dumps(
            {
                "type": "workers",
                "columns": {
                    "Mandant": "EmployerRef",
                    "Nr": "PersonnelRef",
                    "Eintritt": "StartDate",
                    "Art": "Gender",
                    "Student": "IsStudent",
                },
                "values": {"Gender": {"entries": {"1": 2}}},
                "dates": "DD.MM.YYYY",
            }
        )
    )
    mapping = ProfileMapping(ProfileRef("payroll", 1), profile)
    header = {"A1": "mandant", "B1": "Nr", "C1": "Eintritt", "D1": "Art", "E1": "Student"}
    cells = {"A2": 4711, "B2": 123, "C2": dt.date(2026, 3, 1), "D2": 1, "E2": True}
    body = sheet_of({**header, **cells, "A3": 1.5, "C3": 45000, "D3": "#N/A"}, {"B2": "000000"})
    reader = reader_of(FileFormat.XLSX, WORKERS.rules, ReadOptions(mapping=mapping))
    payload = reader(body, lambda _: None, 9)
    good, bad = (payload.row_text(row) for row in payload.rows)
    assert json.loads(good.text) == {
        "EmployerRef": "4711",
        "PersonnelRef": "000123",
        "StartDate": "2026-03-01",
        "Gender": 2,
        "IsStudent": True,
    }
    fields = [field for _, field, *_ in json.loads(bad.notes)["messages"]]
    assert fields == ["EmployerRef", "StartDate", "Gender"]


def test_what_a_profile_refuses_of_a_cell_does_not_come_in_on_the_second_try() -> None:
    """Neither by the failed row as it is given back, nor by another version of the profile."""
    columns = {"Mandant": "EmployerRef", "Nr": "PersonnelRef", "Eintritt": "StartDate"}
    columns |= {"Name": "Surname", "Art": "Gender"}
    document = {"type": "workers", "columns": columns, "skip": {"Austritt": "any"}}
    document["values"] = {"Gender": {"entries": {"1": 2, "": 1}, "otherwise": 3}}
    mapping = ProfileMapping(ProfileRef("payroll", 1), read_profile(json.dumps(document)))
    names = ("Mandant", "Nr", "Name", "Eintritt", "Art", "Austritt", "Extra")
    header = {f"{letter}1": name for letter, name in zip("ABCDEFG", names, strict=True)}
    cells: dict[str, Any] = {"A2": "E1", "B2": 12345678, "C2": dt.date(2026, 3, 1), "D2": 45000}
    cells |= {"E2": 0.01, "F2": "#N/A", "G2": 12345678, "A3": "E1", "B3": "P2", "F3": 1}
    shown = r"000\-00\-0000"
    body = sheet_of({**header, **cells}, {"B2": shown, "E2": "0%", "G2": shown})
    reader = reader_of(FileFormat.XLSX, WORKERS.rules, ReadOptions(mapping=mapping))
    payload = reader(body, lambda _: None, 9)
    [row] = [payload.row_text(each) for each in payload.rows]
    assert payload.skipped == 1
    notes = json.loads(row.notes)
    fields = [field for _, field, *_ in notes["messages"][:-1]]
    assert fields == ["Austritt", "PersonnelRef", "Surname", "StartDate", "Gender"]
    assert json.loads(row.text) == {"EmployerRef": "E1"}
    assert notes["sent"] == dict.fromkeys(names, "") | {"Mandant": "E1"}
    # Given back as it is, or in a spreadsheet again, no refused cell becomes a value.
    header["H1"] = "_index"
    body = sheet_of({**header, **cells, "H2": 0, "H3": 1}, {"B2": shown, "E2": "0%"})
    read_corrected = corrections_reader(FileFormat.XLSX, WORKERS.rules, ReadOptions(), mapping)
    original = Notes.from_text(row.notes)
    for correction, refused_again in (
        (RowText(json.dumps(notes["sent"] | {"Mandant": "E2"})), fields[-1:]),
        (read_corrected(body, 9)[0], [fields[-1], *fields[1:]]),
    ):
        again = mapping.corrected(correction, 0, original)
        assert json.loads(again.text).keys() == {"EmployerRef", "Gender"}
        assert [field for _, field, *_ in json.loads(again.notes)["messages"]] == refused_again
    right = RowText(json.dumps(notes["sent"] | {"Nr": "012-34-5678", "Art": "1"}))
    again = mapping.corrected(right, 0, original)
    values = {"EmployerRef": "E1", "PersonnelRef": "012-34-5678", "Gender": 2}
    assert (json.loads(again.text), "messages" in json.loads(again.notes)) == (values, False)


def test_a_refused_cell_that_is_still_empty_in_the_failed_rows_fails_again() -> None:
    """A file of failed rows that is dropped or imported as it is loses no value unseen."""
    cell = "1002 {}: The value has the wrong type: the cell E2 shows a percentage; enter it as text"
    place = "Gender (Art (neu))"
    header = '"_index","_line","_error","Mandant","Nr","Art (neu)","Austritt"'
    columns = {"Mandant": "EmployerRef", "Nr": "PersonnelRef", "Art (neu)": "Gender"}
    document: dict[str, Any] = {"type": "workers", "columns": columns}
    document |= {"values": {"Gender": {"entries": {"1": 2, "": 1}}}, "skip": {"Austritt": "any"}}
    mapping = ProfileMapping(ProfileRef("payroll", 1), read_profile(json.dumps(document)))
    mapped, plain = ReadOptions(mapping=mapping), ReadOptions()

    def errors(body: str, options: ReadOptions) -> list[tuple[dict[str, Any], list[str]]]:
        payload = reader_of(FileFormat.CSV, WORKERS.rules, options)(
            body.encode(), lambda _: None, 9
        )
        texts = [payload.row_text(row) for row in payload.rows]
        return [
            (
                json.loads(text),
                [field for _, field, *_ in json.loads(notes).get("messages", ())],
            )
            for text, notes in texts
        ]

    skip_cell = cell.format("Austritt")
    body = (
        f'{header}\n0,2,"1001 Surname: It is missing; {cell.format(place)}",E1,P1,,\n'
        f'1,3,"{cell.format(place)}; {skip_cell}",E1,P2,1,\n2,4,,E1,P3,,\n'
    )
    row = {"EmployerRef": "E1"}
    assert errors(body, mapped) == [
        (row | {"PersonnelRef": "P1"}, ["Gender"]),
        (row | {"PersonnelRef": "P2", "Gender": 2}, ["Austritt"]),
        (row | {"PersonnelRef": "P3", "Gender": 1}, []),
    ]
    again = "1002 Surname: The value has the wrong type: the cell was refused and is empty: enter"
    body = (
        "_error,EmployerRef,PersonnelRef,surname,Title\n"
        f'"{cell.format("Surname")}",E1,P1,,\n"{again}",E1,P2,,\n"{again}",E1,P3,S,\n'
        '"1001 Surname: It is missing",E1,P4,,x\n'
    )
    assert [fields for _, fields in errors(body, plain)] == [["Surname"], ["Surname"], [], []]


# Templates.

KINDS = [kind for kind in TYPE_CATALOGUE.all if kind.has_schema]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.schema_name)


def of_template(kind: ImportType, file_format: FileFormat) -> RowText:
    body = xlsx_template(kind) if file_format is FileFormat.XLSX else csv_template(kind)
    payload = reader_of(file_format, kind.rules, ReadOptions())(body, lambda _: None, 10)
    [row] = payload.rows
    return payload.row_text(row)


@every_kind
def test_both_templates_have_the_same_row_without_a_fault(kind: ImportType) -> None:
    in_csv, in_xlsx = (of_template(kind, each) for each in (FileFormat.CSV, FileFormat.XLSX))
    assert json.loads(in_csv.text, parse_float=Decimal) == json.loads(
        in_xlsx.text, parse_float=Decimal
    )
    assert in_csv.notes == in_xlsx.notes == '{"line":2}'
    validator = jsonschema_rs.validator_for(dict(kind.rules.json_schema()))
    assert not [str(error) for error in validator.iter_errors(json.loads(in_csv.text))]


@every_kind
def test_a_template_has_every_field_in_the_order_of_the_contract(kind: ImportType) -> None:
    names = [column.name for column in template_columns(kind)]
    first = [name for name in names if not re.search(r"\[[1-9]\]", name)]
    assert first == known_paths(kind.rules.json_schema())
    sheet = openpyxl.load_workbook(BytesIO(xlsx_template(kind))).worksheets[0]
    assert [cell.value for cell in sheet[1]] == names


def test_a_template_marks_what_is_required_and_offers_what_is_allowed() -> None:
    sheet = openpyxl.load_workbook(BytesIO(xlsx_template(TIMESHEETS_V2))).worksheets[0]
    columns = {cell.value: cell for cell in sheet[1]}
    marked = {name for name, cell in columns.items() if cell.fill.fgColor.rgb == "FFFFE699"}
    assert marked == {"TimesheetNumber", "EmployerRef", "PersonnelRef", "TimesheetDate"}
    validations = sheet.data_validations.dataValidation
    rules = {str(each.sqref).partition("2:")[0]: each for each in validations}

    def rule_of(name: str) -> Any:
        return rules[columns[name].column_letter]

    allowed = rule_of("AdHocLines[0].InvoiceVATCodeSource").formula1
    assert allowed.startswith('"SpecifiedVATRate,DefaultVATRate')
    assert rule_of("IsAdjustment").formula1 == '"TRUE,FALSE"'
    assert (rule_of("TaxYear").type, rule_of("TimesheetDate").type) == ("whole", "date")
    assert rule_of("EmployerRef").promptTitle == "EmployerRef (required)"
    below = {name: sheet.cell(2, cell.column) for name, cell in columns.items()}
    assert below["TimesheetNumber"].number_format == "@"
    assert below["TimesheetDate"].number_format == "yyyy-mm-dd"


def test_a_template_is_the_same_bytes_whenever_it_is_made() -> None:
    first = xlsx_template(TIMESHEETS_V2)
    xlsx_template.cache_clear()
    assert xlsx_template(TIMESHEETS_V2) == first


@pytest.mark.skipif(SOFFICE is None, reason="no LibreOffice: install libreoffice-calc")
def test_what_libreoffice_saves_is_read_as_what_it_was_given(tmp_path: Path) -> None:
    traps = sheet_of(
        {"A1": TEXT, "B1": NUMBER, "C1": WHOLE, "D1": DATE}
        | {"A2": "007", "B2": 1.1, "C2": "=1+1", "D2": dt.date(2024, 2, 29)}
        | {"A3": 417, "B3": "=1/0", "C3": 100000, "D3": "2024-02-29"}
        | {"A4": "a\nb", "B4": True, "C4": 1234567890123456, "D4": dt.datetime(2024, 2, 29, 8, 5)},  # noqa: DTZ001
        {"A3": "00000", "C3": "0.00E+00"},
    )
    (tmp_path / "traps.xlsx").write_bytes(traps)
    (tmp_path / "template.xlsx").write_bytes(xlsx_template(PLACEMENTS))
    libreoffice_saves(tmp_path, "traps.xlsx", "template.xlsx")
    out = tmp_path / "out"
    assert read((out / "template.xlsx").read_bytes()) == read(xlsx_template(PLACEMENTS))
    saved = read((out / "traps.xlsx").read_bytes())
    assert [json.loads(row.text) for row in saved] == [
        {TEXT: "007", NUMBER: 1.1, WHOLE: 2, DATE: "2024-02-29"},
        {TEXT: "00417", WHOLE: 100000, DATE: "2024-02-29"},
        {TEXT: "a\nb", DATE: "2024-02-29T08:05:00"},
    ]
    assert [sorted(faults(row)) for row in saved] == [[], [NUMBER], [NUMBER, WHOLE]]


def test_the_faults_of_one_row_are_bounded() -> None:
    cells = {f"{cell_name(1, at)}": TEXT if at == 0 else f"Odd{at}" for at in range(150)}
    [row] = read(sheet_of({**cells, **{cell_name(2, at): "#N/A" for at in range(150)}}))
    messages = Notes.from_text(row.notes).messages
    errors = [each for each in messages if each.is_error]
    assert len(errors) == 100
    assert errors[-1].detail == "and 51 more messages that are left out"
