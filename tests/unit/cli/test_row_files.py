"""Files of rows, in every format and charset: the text of each row as it will be sent."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import json
import lzma
import os
import re
from collections.abc import Sequence
from io import BytesIO, StringIO
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.result_tables import write_failed_rows
from cli.row_files import (
    RowFile,
    RowFileError,
    UnreadableFileError,
    format_of,
    read_rows,
    read_text_file,
)
from cli.tenant_rules import read_values
from shared.imports import csv_export
from shared.imports.assignments.rules import RULES as ASSIGNMENTS
from shared.imports.files.formats import FileFormat
from shared.imports.import_type import Rules
from shared.imports.workers.rules import RULES as WORKERS

# Files of rows, in every format: the text of each row as it will be sent.


def read_csv(text: str, rules: Rules, *, blank_clears: bool = False) -> RowFile:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(text.encode())
        return read_rows(path, rules, blank_clears=blank_clears)


def _read(
    folder: Path, name: str, text: str | bytes, *, blank_clears: bool = False
) -> Sequence[str]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path, WORKERS, blank_clears=blank_clears).rows


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "", FileFormat.JSON),
        ("a.jsonl", "[", FileFormat.NDJSON),
        ("a.CSV", "[", FileFormat.CSV),
        ("a.txt", "\n [{}]", FileFormat.JSON),
        ("a", '{"a":1}', FileFormat.NDJSON),
        ("a", "A,B", FileFormat.CSV),
    ],
)
def test_a_format_is_that_of_the_ending_else_of_the_first_character(
    name: str, text: str, expected: FileFormat
) -> None:
    assert format_of(Path(name), text.encode()) is expected


def test_json_rows_keep_their_text(tmp_path: Path) -> None:
    text = '\ufeff[ {"A" : 10.50},\n {"B":"007"} ]\n'
    assert _read(tmp_path, "rows.json", text) == ['{"A" : 10.50}', '{"B":"007"}']


def test_ndjson_rows_keep_their_text(tmp_path: Path) -> None:
    text = '\n{"A":1.0}\r\n\n  {"A":[2]}\n'
    assert [row.strip() for row in _read(tmp_path, "rows.ndjson", text)] == [
        '{"A":1.0}',
        '{"A":[2]}',
    ]


def test_failed_rows_are_written_for_this_user_only_over_a_file_that_others_could_read(
    tmp_path: Path,
) -> None:
    file = tmp_path / "failed.json"
    file.touch(0o644)
    file.chmod(0o644)
    write_failed_rows(file, [], [])
    assert file.stat().st_mode & 0o777 == 0o600


def test_failed_rows_can_be_written_to_a_pipe_which_keeps_its_mode(tmp_path: Path) -> None:
    """So does /dev/null, which root would otherwise close to every other user."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe, 0o644)
    pipe.chmod(0o644)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_failed_rows(pipe, [], [])
        assert os.read(reader, 100) == b"[]\n"
    finally:
        os.close(reader)
    assert pipe.stat().st_mode & 0o777 == 0o644


def test_failed_rows_that_were_given_out_are_read_as_rows(tmp_path: Path) -> None:
    text = '[{"index":3,"row":{"A": 10.50},"messages":[]},{"row":{"index":1},"index":4}]'
    assert _read(tmp_path, "rows.json", text) == ['{"A": 10.50}', '{"index":1}']


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", b"[{}", "line 1, column 4"),
        ("a.json", b'{"A":1}', "array of objects"),
        ("a.ndjson", b'{"A":1}\n\n{"A"}', "line 3"),
        ("a.ndjson", b'{"A":1,"a":2}', "twice"),
        ("a.ndjson", b'{"A":1}\n\n{"A":1,"a":2}', "index 1, line 3 has a property name twice"),
        ("a.json", b'[{"A":1},\n\n{"A":1,"a":2}]', r"The row of index 1 \(line 3\) has a property"),
        ("a.json", b'[{},\n{"A":1e99999999999999999999}]', r"index 1 \(line 2\) has a number out"),
        ("a.json", b'[{},\n{"A":' + b"[" * 99 + b"]" * 99 + b"}]", r"index 1 \(line 2\) is nested"),
        ("a.ndjson", b'{"A":1}\nnull\n', "line 2 is null: each line must hold one JSON object"),
        ("a.ndjson", b'[{"A":1}]\n', "line 1 is a list"),
        ("a.ndjson", b'\n{"A":1},{"A":2}\n', r"line 2 .* \(column 8\); correct it"),
        ("a.ndjson", b'{"A":1}\r\r{"A":\r', r"line 3 .* \(column 6\)"),
        ("a.ndjson", b'{"A":' + b"[" * 40_000, "line 1 is nested more than 32 levels"),
        ("a.ndjson", b'{"A":1e99999999999999999999}', "line 1 has a number out of range"),
        ("a.json", b'[{"A":1},\n {"A":2},\n null]', r"index 2 \(line 3\) is null"),
        ("a.json", b'[{"A":1},["x"],5]', r"index 1 \(line 1\) is a list"),
        ("a.json", b"[5, true]", r"index 0 \(line 1\) is a number"),
        ("a.json", b'"text"', "the body is a string; send a JSON array of objects"),
        ("a.json", b'[{"A":"\xff"}]', "offset 7"),
        ("a.csv", b"A,A\n", "line 1 has more than one column of the same name: A;"),
        ("a.csv", b",\n\nA,A\n", "line 3 has more than one column"),
        (
            "a.csv",
            b"Surname,Title\n1,2,3\n",
            r"index 0 \(line 2\) has a value in column 3, which has no name in line 1",
        ),
        ("a.csv", b"Surname,,Title\n1,,2\n1,x,2\n", r"\(line 3\) has a value in column 2"),
        (
            "a.csv",
            b'Surname,Title\n1,2\n"1,2\n\n',
            "index 1 that begins in line 3 cannot be read: .* never closed",
        ),
        ("a.csv", b'Surname,Title\n"1"x,2\n', "begins in line 2 cannot be read: text follows"),
        ("a.csv", b'A,"B', "The header that begins in line 1 cannot be read"),
        ("a.csv", b"WorkerAddress,WorkerAddress.Country\n1,2\n", "contradict"),
        ("a.txt", b"Surname\n1,2\n", r"read as CSV, since .*line 2"),
    ],
)
def test_an_unreadable_file_is_reported_with_the_place(
    tmp_path: Path, name: str, text: bytes, problem: str
) -> None:
    with pytest.raises(RowFileError, match=problem) as raised:
        _read(tmp_path, name, text)
    assert str(raised.value).startswith(name)


A_RECORD = (
    '{"record":{"A": 10.50},"type":"workers","createdAt":null,"createdBy":null,"changedAt":null,'
    '"changedBy":null,"previous":{"A":1}}'
)


@pytest.mark.parametrize(("name", "text"), [("a.ndjson", A_RECORD), ("a.json", f"[{A_RECORD}]")])
def test_the_row_of_an_exported_record_is_the_record(tmp_path: Path, name: str, text: str) -> None:
    assert _read(tmp_path, name, text) == ['{"A": 10.50}']


@pytest.mark.parametrize(
    ("more", "wording"),
    [('"deleted":true', "is deleted"), ('"unreadable":true', "could not be read")],
)
def test_what_is_exported_without_a_record_cannot_be_imported(
    tmp_path: Path, more: str, wording: str
) -> None:
    gone = A_RECORD.replace('{"A": 10.50}', "null").replace('"previous":{"A":1}', more)
    with pytest.raises(RowFileError, match=f"The record of index 1 {wording}"):
        _read(tmp_path, "a.ndjson", f"{A_RECORD}\n{gone}\n")


def test_a_file_of_records_and_rows_is_left_as_it_is(tmp_path: Path) -> None:
    assert _read(tmp_path, "a.ndjson", f'{A_RECORD}\n{{"A":1}}') == [A_RECORD, '{"A":1}']


def test_csv_cells_get_the_types_of_the_schema_and_text_stays_text(tmp_path: Path) -> None:
    text = (
        "EmployerRef,personnelref,Gender,IsExpat,WorkerAddress.Postcode,Odd\n"
        "007,0012,1,TRUE,01234,5\n"
        'E1,"a ""b""\nc",male,maybe,,\n'
    )
    first, second = (json.loads(row) for row in _read(tmp_path, "rows.csv", text))
    assert first == {
        "EmployerRef": "007",
        "personnelref": "0012",
        "Gender": 1,
        "IsExpat": True,
        "WorkerAddress": {"Postcode": "01234"},
        "Odd": "5",
    }
    assert second == {
        "EmployerRef": "E1",
        "personnelref": 'a "b"\nc',
        "Gender": "male",
        "IsExpat": "maybe",
    }


def test_numbers_keep_their_digits_and_lists_their_order() -> None:
    text = "Rates[1].PayRate;Rates[0].RateCode;Rates[0].PayRate\n2.50;X;1.10\n;Y;\n"
    assert read_csv(text, ASSIGNMENTS).rows == [
        '{"Rates":[{"RateCode":"X","PayRate":1.10},{"PayRate":2.50}]}',
        '{"Rates":[{"RateCode":"Y"}]}',
    ]


def test_an_empty_cell_omits_the_field_or_clears_it_with_the_option(tmp_path: Path) -> None:
    text = "PersonnelRef\tTitle\n1\t\n\t\n"
    assert _read(tmp_path, "a.csv", text) == ['{"PersonnelRef":"1"}']
    assert _read(tmp_path, "a.csv", text, blank_clears=True) == [
        '{"PersonnelRef":"1","Title":null}'
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.one_of(st.none(), TEXTS.filter(lambda text: text.strip() == text))
ROWS = st.fixed_dictionaries(
    {"EmployerRef": TEXTS},
    optional={
        "Gender": st.integers(-5, 5),
        "IsExpat": st.booleans(),
        "Title": LEAVES,
        "WorkerAddress": st.dictionaries(st.sampled_from(["Postcode", "Country"]), TEXTS),
    },
)


HELPERS = (csv_export.INDEX, csv_export.ERROR, csv_export.MORE)


@pytest.mark.parametrize(
    "helpers", [set(some) for count in range(4) for some in combinations(HELPERS, count)]
)
@settings(deadline=None, max_examples=30)
@given(rows=st.lists(ROWS, min_size=1, max_size=3))
def test_rows_given_out_as_csv_come_back_as_they_were_without_any_helper_column(
    helpers: set[str], rows: list[dict[str, Any]]
) -> None:
    columns: csv_export.Columns = {}
    texts = [json.dumps(row) for row in rows]
    for text in texts:
        csv_export.note_columns(columns, text)
    most = 2 if csv_export.MORE in helpers else len(columns)
    few = csv_export.bounded_columns(dict(list(columns.items())[:most]), len(rows))
    lines = [csv_export.row_line(few, at, "=bad", text) for at, text in enumerate(texts)]
    table = list(csv.reader(StringIO(csv_export.header_line(few) + "".join(lines), newline="")))
    places = [
        place for place, name in enumerate(table[0]) if name in helpers or name not in HELPERS
    ]
    written = StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(
        [cells[place] for place in places] for cells in table
    )
    back = read_csv(written.getvalue(), WORKERS).rows
    assert [json.loads(row) for row in back] == rows


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("'008", "'008"),
        ("'s-Hertogenbosch", "'s-Hertogenbosch"),
        ("''quoted''", "''quoted''"),
        ("'=1+1", "=1+1"),
        ("''=1+1", "'=1+1"),
        ("'+44 20", "+44 20"),
        ("'", ""),
        ("''", "'"),
        ("'null", "null"),
        ('"=""007"""', '="007"'),
        ("1.23E+12", "1.23E+12"),
    ],
)
def test_an_apostrophe_is_removed_only_before_a_text_that_needs_it(cell: str, text: str) -> None:
    [row] = read_csv(f"EmployerRef,PersonnelRef\nC1,{cell}\n", WORKERS).rows
    assert json.loads(row) == {"EmployerRef": "C1", "PersonnelRef": text}


@pytest.mark.parametrize(
    "more",
    ["[]", "5", '{"a": 1}', "{", '"x"', r'{"a": "\ud800"}', r'{"\ud800": ""}', '{"a":"","a":""}'],
)
def test_a_column_of_further_fields_that_failed_rows_do_not_have_is_refused(more: str) -> None:
    cell = more.replace('"', '""')
    with pytest.raises(RowFileError, match="_more must hold"):
        read_csv(f'EmployerRef,_more\nC1,"{cell}"\n', WORKERS)


@pytest.mark.parametrize(
    ("header", "more", "message"),
    [
        ("EmployerRef", f'{{"{"a." * 5_000}a":"x"}}', "is nested more than 32 levels"),
        ("EmployerRef", f'{{"{"a" * 1_001}":"x"}}', "more than 1000 characters in a name"),
        ("EmployerRef", '{"employerRef":"x"}', "EmployerRef in its column and in the column _more"),
        (f"EmployerRef,{'a' * 1_001}", "", "more than 1000 characters in a name"),
        ("EmployerRef,Rates[0].PayRate,Rates[00].PayRate", "", "more than one column of the same"),
    ],
)
def test_a_column_or_a_further_field_that_no_row_can_have_is_refused(
    header: str, more: str, message: str
) -> None:
    line = ",".join(["C1"] * len(header.split(",")))
    with pytest.raises(RowFileError, match=re.escape(message)):
        read_csv(f'{header},_more\n{line},"{more.replace(chr(34), chr(34) * 2)}"\n', ASSIGNMENTS)


def test_parts_of_one_field_may_differ_in_case() -> None:
    header = "WorkerAddress.Postcode,workerAddress.Town,Extra.A,EXTRA.b,_more"
    more = '"{""WORKERADDRESS.line1"":""1 Road""}"'
    [row, other] = read_csv(f"{header}\nAB1,Leeds,1,2,{more}\nAB2,York,,,\n", WORKERS).rows
    assert json.loads(row) == {
        "WorkerAddress": {"Postcode": "AB1", "Town": "Leeds", "line1": "1 Road"},
        "Extra": {"A": "1", "b": "2"},
    }
    assert json.loads(other) == {"WorkerAddress": {"Postcode": "AB2", "Town": "York"}}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X,1,Y,2", {"Rates": [{"RateCode": "X", "PayRate": 1}, {"RateCode": "Y", "PayRate": 2}]}),
        ("X,1,,", {"Rates": [{"RateCode": "X", "PayRate": 1}]}),
        ("X,,Y,", {"Rates": [{"RateCode": "X"}, {"RateCode": "Y"}]}),
        (",,Y,2", {"Rates": [{"RateCode": "Y", "PayRate": 2}]}),
        (",,,", {"Rates": None}),
    ],
)
def test_blanks_that_clear_make_no_elements_of_a_list(line: str, expected: dict[str, Any]) -> None:
    header = "Rates[0].RateCode,Rates[0].PayRate,Rates[1].RateCode,Rates[1].PayRate,JobTitle"
    [row] = read_csv(f"{header}\n{line},x\n", ASSIGNMENTS, blank_clears=True).rows
    assert json.loads(row) == {**expected, "JobTitle": "x"}


@pytest.mark.parametrize("blank_clears", [False, True])
def test_fields_of_a_list_are_named_as_the_columns_of_the_file(
    tmp_path: Path, *, blank_clears: bool
) -> None:
    names = ("rates[0].RateCode", "Rates[1].PayRate", "Rates[3].PayRate", "Rates[3].RateCode")
    text = f"{','.join(names)},JobTitle\n,2,x,,a\nA,1,,,b\n"
    file = read_csv(text, ASSIGNMENTS, blank_clears=blank_clears)
    assert json.loads(file.rows[0])["rates"] == [{"PayRate": 2}, {"PayRate": "x"}]
    assert file.place_of(0, "Rates[1].PayRate") == "Rates[3].PayRate"
    assert file.place_of(1, "Rates[1].PayRate") == "Rates[1].PayRate"
    assert list(file.lists) == [0]
    failed = [{"index": 0, "line": 2, "messages": []}]
    out = tmp_path / "failed.csv"
    write_failed_rows(out, file.rows, failed, lists=file.lists)
    [row] = csv.DictReader(StringIO(out.read_text("utf-8-sig"), newline=""))
    assert (row["rates[1].PayRate"], row["rates[3].PayRate"]) == ("2", "x")
    assert read_rows(out, ASSIGNMENTS).rows[0] == file.rows[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{},,", {"WorkerAddress": {}}),
        (",PC1,", {"WorkerAddress": {"Postcode": "PC1", "Country": None}}),
        (",,", {"WorkerAddress": None}),
    ],
)
def test_clearing_blanks_do_not_contradict_the_object_above_or_the_fields_below(
    line: str, expected: dict[str, Any]
) -> None:
    header = "WorkerAddress,WorkerAddress.Postcode,WorkerAddress.Country,Surname"
    [row] = read_csv(f"{header}\n{line},x\n", WORKERS, blank_clears=True).rows
    assert json.loads(row) == {**expected, "Surname": "x"}


@pytest.mark.parametrize(
    "header",
    [
        "\ufeff\ufeffEmployerRef,PersonnelRef",
        "EmployerRef,\u200bPersonnelRef",
        "Employer\u00adRef,Personnel\u2060Ref\u00a0",
        "\u00a0EmployerRef ,PERSONNELREF\u0000",
    ],
)
def test_a_header_means_its_field_whatever_cannot_be_seen_in_it(
    tmp_path: Path, header: str
) -> None:
    [row] = _read(tmp_path, "a.csv", f"{header}\nC1,012\n")
    assert {name.lower(): value for name, value in json.loads(row).items()} == {
        "employerref": "C1",
        "personnelref": "012",
    }


def test_an_unknown_header_is_kept_and_a_repeated_one_is_reported(
    tmp_path: Path,
) -> None:
    [row] = _read(tmp_path, "a.csv", "Surname,Od\u200bd\nA,1\n")
    assert json.loads(row) == {"Surname": "A", "Od\u200bd": "1"}
    with pytest.raises(RowFileError, match="PersonnelRef"):
        _read(tmp_path, "a.csv", "PersonnelRef,Personnel\u200bRef\n1,2\n")
    with pytest.raises(RowFileError, match=r"O\\u200bdd"):
        _read(tmp_path, "a.csv", "Surname,O\u200bdd,O\u200bdd\nA,1,2\n")


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\nEmployerRef;PersonnelRef\r\nC1;3\r\n",
        '"sep=|"\nEmployerRef|PersonnelRef\nC1|3\n',
        "SEP=\t\nEmployerRef\tPersonnelRef\nC1\t3\n",
        "sep=,,,\nEmployerRef,PersonnelRef\nC1,3\n",
        "\nsep=;\n\nEmployerRef;PersonnelRef\nC1;3\n",
        ",,\nEmployerRef,PersonnelRef\nC1,3\n",
        ",,,,\n;;;\nEmployerRef;PersonnelRef\nC1;3\n",
        '\n  \n"","  "\n\u00a0,\u200b\nEmployerRef,PersonnelRef\nC1,3\n',
        "EmployerRef,PersonnelRef,,\nC1,3,,\n",
        "EmployerRef,PersonnelRef,,\nC1,3, ,\u00a0\n",
        "EmployerRef,PersonnelRef\nC1,3,, ,\u00a0\n",
        ",EmployerRef,,PersonnelRef, \n,C1,,3\n",
        "EmployerRef,PersonnelRef\n , \nC1,3\n,,\n\u00a0,\u200b\n",
        "EmployerRef,PersonnelRef\rC1,3\r",
        '"Employer\rRef","Personnel\r\nRef"\nC1,3\n',
        '"Employer\rRef";"Personnel\nRef"\rC1;3\r',
        "EmployerRef,PersonnelRef\nC1,3\n\x1a",
        "EmployerRef,PersonnelRef\r\nC1,3\x1a\x1a\r\n",
    ],
)
def test_a_csv_as_spreadsheets_save_it_is_read(tmp_path: Path, text: str) -> None:
    [row] = _read(tmp_path, "a.csv", text)
    assert json.loads(row) == {"EmployerRef": "C1", "PersonnelRef": "3"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_way(tmp_path: Path, end: str) -> None:
    rows = end.join(['{"A":1}', "", '{"A":2}', "\x1a"])
    assert _read(tmp_path, "a.ndjson", rows) == ['{"A":1}', '{"A":2}']
    assert len(_read(tmp_path, "a.json", f"[{end}{{}},{end}{{}}]{end}\x1a")) == 2


@pytest.mark.parametrize("text", ["Surname,Title\n", "Surname,Title\n , \n\x1a"])
def test_a_csv_without_a_row_has_no_rows(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path, "a.csv", text) == []


@pytest.mark.parametrize("text", [" ", "\n", ",,\n", "sep=;\n"])
def test_a_csv_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RowFileError, match="has no header"):
        _read(tmp_path, "a.csv", text)
    with pytest.raises(RowFileError, match="is empty"):
        _read(tmp_path, "a.csv", "")


def test_a_file_whose_columns_are_all_unknown_is_refused_with_the_field_meant(
    tmp_path: Path,
) -> None:
    with pytest.raises(RowFileError, match=r"no column of this type: .* Did you mean Surname"):
        _read(tmp_path, "a.csv", "Surnme,Odd\nA,B\n")


def test_a_header_within_the_rows_is_refused_and_a_row_that_resembles_it_is_not(
    tmp_path: Path,
) -> None:
    with pytest.raises(RowFileError, match=r"index 1 \(line 3\) repeats the header"):
        _read(tmp_path, "a.csv", "Surname,Title\nA,B\nSURNAME , title\nC,D\n")
    assert len(_read(tmp_path, "a.csv", "Surname,Title\nSurname,x\n")) == 1
    assert len(_read(tmp_path, "a.csv", "Surname\nSurname\n")) == 1


@settings(deadline=None)
@given(text=st.text(st.sampled_from(" ,;\t\"'\r\n=AsepR.[0]_\x1a\u200b{}:1null"), max_size=60))
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.json", "a"])
def test_any_text_is_read_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    refused = ""
    try:
        _read(folder, name, text)
    except RowFileError as error:
        refused = str(error)
    assert not refused or refused.startswith(name)
    assert "\n" not in refused


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.json", '[\n{"A":1},\n\n{"A":\n2}, {"A":3}]', [2, 4, 5]),
        ("a.json", '[\r{"A":1},\r{"A":2}]', [2, 3]),
        ("a.ndjson", '\n{"A":1}\r\n\n{"A":2}\n', [2, 4]),
        ("a.csv", 'sep=;\n\nSurname;Title\na;"b\nc"\n;\nd;e\n', [4, 7]),
        ("a.csv", "Surname\ra\rb\r", [2, 3]),
    ],
)
def test_each_row_knows_the_line_that_it_begins_in(
    tmp_path: Path, name: str, text: str, lines: list[int]
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert list(read_rows(path, WORKERS).lines) == lines


@pytest.mark.parametrize(
    ("header", "rules", "nearest"),
    [
        ("Forename1", WORKERS, "FirstForename"),
        ("surename", WORKERS, "Surname"),
        ("WorkerAddress.PostCod", WORKERS, "WorkerAddress.Postcode"),
        ("Postcode", WORKERS, "WorkerAddress.Postcode"),
        ("Rates[2].RateCod", ASSIGNMENTS, "Rates[2].RateCode"),
        ("zzzzzz", WORKERS, None),
    ],
)
def test_a_column_that_is_no_field_is_named_with_the_nearest_field(
    header: str, rules: Rules, nearest: str | None
) -> None:
    file = read_csv(f"\n_index,_error,EmployerRef,{header},,_more\n1,,E1,x,,\n", rules)
    [column] = file.unknown_columns
    assert (column.name, column.line, column.nearest) == (header, 2, nearest)


def test_a_header_of_thousands_of_unknown_columns_is_read_at_once() -> None:
    header = ",".join(f"Unknown{number}" for number in range(19_999))
    assert len(read_csv(f"EmployerRef,{header}\nE1\n", WORKERS).unknown_columns) == 19_999


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv", "a"])
def test_a_spreadsheet_is_named_as_such_whatever_its_ending(tmp_path: Path, name: str) -> None:
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(RowFileError, match=r"save the sheet as \.xlsx"):
        _read(tmp_path, name, content.getvalue())
    with pytest.raises(RowFileError, match=r"spreadsheet.*: save it as"):
        _read(tmp_path, name, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))


def test_another_archive_must_be_unpacked_and_text_named_as_a_spreadsheet_is_read(
    tmp_path: Path,
) -> None:
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        archive.writestr("rows.csv", "Surname\nA\n")
    with pytest.raises(RowFileError, match="another archive"):
        _read(tmp_path, "rows.csv", content.getvalue())
    packed = gzip.compress(b"Surname\nA\n")
    for name in ("rows.csv", "rows.csv.gz", "rows.gz"):
        assert _read(tmp_path, name, packed) == ['{"Surname":"A"}']
    with pytest.raises(RowFileError, match="end of the compressed file or body is missing"):
        _read(tmp_path, "rows.csv.gz", packed[:-1])
    assert _read(tmp_path, "rows.xls", "Surname\nA\n") == ['{"Surname":"A"}']
    with pytest.raises(RowFileError, match=r"rows\.xlsx: .*\.xlsx"):
        _read(tmp_path, "rows.xlsx", b"\0\1\2")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\x05\x06" + bytes(18), "is compressed: unpack it"),
        (bz2.compress(b"Surname\nA\n"), "is compressed: unpack it"),
        (lzma.compress(b"Surname\nA\n"), "is compressed: unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(26), "is compressed: unpack it"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "is compressed: unpack it"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "is a PDF document: export the rows"),
        (b"%PDF-1.4\nSurname\n", "is a PDF document: export the rows"),
    ],
    ids=["empty zip", "bzip2", "xz", "7-Zip", "Zstandard", "PDF", "PDF of ASCII"],
)
def test_a_file_of_another_kind_is_named_as_such(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(RowFileError, match=problem):
        read_rows(path, WORKERS)


@pytest.mark.parametrize("ending", ["csv", "json", "ndjson"])
def test_failed_rows_are_written_with_index_and_line_and_are_read_again(
    tmp_path: Path, ending: str
) -> None:
    row = '{"EmployerRef":"E1","Surname":"S"}'
    failed = [{"index": 1, "line": 6, "key": {}, "outcome": "failed", "messages": []}]
    out = tmp_path / f"failed.{ending}"
    write_failed_rows(out, ["{}", row], failed)
    text = out.read_text("utf-8-sig")
    if ending == "csv":
        [row_read] = csv.DictReader(StringIO(text, newline=""))
        assert (row_read["_index"], row_read["_line"]) == ("1", "6")
    else:
        row_read = json.loads(text)[0] if ending == "json" else json.loads(text)
        assert (row_read["index"], row_read["line"]) == (1, 6)
    again = read_rows(out, WORKERS)
    assert list(again.rows) == [row]
    assert not again.unknown_columns


def test_a_failed_row_without_a_line_has_an_empty_cell(tmp_path: Path) -> None:
    message = {"messageType": "Error", "errorID": 1010, "message": "No entry"}
    named = {**message, "fieldName": "Gender", "sentAs": "Geschlecht"}
    failed: list[dict[str, Any]] = [
        {"index": 0, "line": None, "messages": [message]},
        {"index": 1, "line": 6, "messages": [named]},
    ]
    out = tmp_path / "failed.csv"
    write_failed_rows(out, ["{}", "{}"], failed)
    rows = list(csv.DictReader(StringIO(out.read_text("utf-8-sig"), newline="")))
    assert [row["_line"] for row in rows] == ["", "6"]
    assert [row["_error"] for row in rows] == [
        "1010 No entry",
        "1010 Gender (Geschlecht): No entry",
    ]


@pytest.mark.parametrize(
    "text", ["<a/>", '\n<?xml version="1.0"?>\n<a>\n</a>', "<!DOCTYPE html>\n<html>", "<html>"]
)
@pytest.mark.parametrize("name", ["a.csv", "a.json", "a"])
def test_xml_and_html_are_named_as_such(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(
        RowFileError, match=rf"^{name}.*: The file is XML or HTML: save the rows as CSV"
    ):
        _read(tmp_path, name, text)


def test_a_repeated_column_is_reported_as_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(RowFileError, match="of the same name: Surname; leave one"):
        _read(tmp_path, "a.csv", "Surname,SURNAME\n1,2\n")


# Files as senders save them: charsets, byte order marks, Ctrl-Z.

TEXT = "EmployerRef,Surname\r\nC1,Müller\r\n"


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF8 * 2 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_a_file_of_unicode_is_read_in_each_of_its_encodings(tmp_path: Path, content: bytes) -> None:
    assert read_text_file(_file(tmp_path, content)) == TEXT


@pytest.mark.parametrize(
    "end", ["\x1a", "\r\n\x1a", "\x1a\x1a\x1a", "\x1a\r\n", "\n\x1a\x00\x00", "\x1a" + " " * 9_000]
)
def test_a_closing_ctrl_z_is_no_text(tmp_path: Path, end: str) -> None:
    assert read_text_file(_file(tmp_path, f"A\nb{end}".encode())) == "A\nb"


def test_a_ctrl_z_within_the_text_stays(tmp_path: Path) -> None:
    assert read_text_file(_file(tmp_path, b"A\nb\x1ac\n \n")) == "A\nb\x1ac\n \n"


@pytest.mark.parametrize("charset", ["cp1252", "latin-1", "cp850", "mac-roman"])
def test_an_older_charset_is_refused_with_the_place_and_advice(
    tmp_path: Path, charset: str
) -> None:
    with pytest.raises(UnreadableFileError) as raised:
        read_text_file(_file(tmp_path, TEXT.encode(charset)))
    message = str(raised.value)
    assert message.startswith("rows.csv: The text is not UTF-8")
    assert "offset 25 (line 2, byte 5 of it)" in message
    assert "save it as UTF-8" in message


def test_half_a_character_of_utf16_is_refused_as_cut_off(tmp_path: Path) -> None:
    content = TEXT.encode("utf-16")[:-1]
    with pytest.raises(UnreadableFileError, match="bytes at offset 62 that its charset"):
        read_text_file(_file(tmp_path, content))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="cannot be read: Is a directory"):
        read_text_file(tmp_path)


@pytest.mark.parametrize("content", [b"a\nb\n \n\x1a", "a\r\nb".encode("utf-16"), b"a\rb\r"])
def test_a_reference_list_is_read_as_files_of_rows_are(tmp_path: Path, content: bytes) -> None:
    assert read_values(_file(tmp_path, content)) == ["a", "b"]
