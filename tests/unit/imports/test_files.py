"""Rows of files: the same in every format, with notes that no body can forge, in bounded memory."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, RefusedError, TooLargeError
from shared.imports import csv_export
from shared.imports.files.corrections import corrections_reader
from shared.imports.files.formats import (
    FileFormat,
    ReadOptions,
    format_of_media_type,
    format_of_name,
    header_maker,
    readable_content,
    reader_of,
)
from shared.imports.files.gzip_bodies import unpacked
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.notes import Notes, with_notes
from shared.imports.files.profile import ProfileRef, read_profile
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import (
    Payload,
    RowText,
    fold_names,
    line_of,
    read_line,
    read_payload,
    split_line,
)
from shared.imports.messages import Message, MessageId
from shared.imports.planning import plan
from shared.imports.row_reader import read_key
from shared.imports.workers.rules import RULES
from tests.builders import a_full_worker, workers
from tests.files_of_rows import SentFile, as_csv, in_every_format
from tests.unit.imports.test_xlsx_cells import raw_sheet, with_parts

STYLES = "xl/styles.xml"


def read(file: SentFile, max_rows: int = 1_000) -> Payload:
    """The rows as a call reads them."""
    media_type = file.headers["Content-Type"].partition(";")[0].lower()
    file_format = format_of_media_type(media_type) or FileFormat.JSON
    body = unpacked(file.body, 10**8) if "Content-Encoding" in file.headers else file.body
    content = readable_content(file_format, body)
    return reader_of(file_format, RULES, ReadOptions())(content, sort_key, max_rows)


def sort_key(row: Mapping[str, Any]) -> str | None:
    key = read_key(row, "employerref", "personnelref")
    return None if key is None else f"{key.group} {key.reference}"


def csv_rows(text: str) -> list[dict[str, Any]]:
    payload = read(SentFile("csv", text.encode(), {"Content-Type": "text/csv"}))
    return [json.loads(payload.row_text(row).text) for row in payload.rows]


def notes_of(text: str) -> list[Notes]:
    payload = read(SentFile("csv", text.encode(), {"Content-Type": "text/csv"}))
    return [Notes.from_text(payload.row_text(row).notes) for row in payload.rows]


def test_the_same_500_rows_in_every_format_are_the_same_rows() -> None:
    rows: list[dict[str, Any]] = workers(
        480, 3, KnownAs='"Ö"\n;,\t', Title=" x ", WorkerAddress={"Postcode": "007"}, Gender=1
    )
    rows += [a_full_worker(number, "E9") for number in range(20)]
    random.Random(1).shuffle(rows)
    folded = [fold_names(row) for row in rows]
    for file in in_every_format(rows):
        payload = read(file)
        assert [raw.sort_key for raw in payload.rows] == [sort_key(row) for row in folded]
        assert [json.loads(payload.row_text(raw).text) for raw in payload.rows] == rows, file.name
        planned = plan(payload, chunk_rows=100, chunk_bytes=100_000)
        lines = b"".join(planned.lines())
        assert len(lines) == planned.size
        assert [read_line(line).row for line in lines.splitlines()] == [
            rows[place] for place in planned.order
        ]


def test_the_type_of_the_field_decides_what_a_failed_row_of_json_is_as_csv() -> None:
    """As docs/importing-files.md says; the digits are those that were sent."""
    row = '{"EmployerRef":"E1","PersonnelRef":"P1","Surname":12.50,"Title":true,"Gender":"1"}'
    columns: csv_export.Columns = {}
    csv_export.note_columns(columns, row)
    text = csv_export.header_line(columns) + csv_export.row_line(columns, 0, "1002", row)
    [again] = csv_rows(text)
    assert (again["Surname"], again["Title"], again["Gender"]) == ("12.50", "true", 1)


def test_a_line_that_is_no_object_is_refused_with_its_place() -> None:
    body = b'{"EmployerRef":"E1"}\n\n[1]\n'
    with pytest.raises(InvalidRequestError, match="index 1, line 3 is a list"):
        read(SentFile("ndjson", body, {"Content-Type": "application/x-ndjson"}))


def test_the_lines_of_rows_are_noted() -> None:
    text = '\nsep=;\nSurname;Title\n"A\nB";x\n;\n\nC;y\n'
    assert [notes.line for notes in notes_of(text)] == [4, 8]


def test_unknown_columns_are_noted_with_the_first_row_and_keep_their_values() -> None:
    text = "Surname,Odd,Surnme\nA,,\nB,1,2\n"
    first, second = notes_of(text)
    assert [(each.id, each.field) for each in first.messages] == [(1007, "Odd"), (1007, "Surnme")]
    assert (second.messages, second.has_columns) == ((), True)
    assert csv_rows(text)[1] == {"Surname": "B", "Odd": "1", "Surnme": "2"}
    read_row = ReadRow(1, ("B",), {}, (Message(MessageId.UNKNOWN_FIELD, "Odd"),))
    assert with_notes(read_row, second.to_text()).messages == ()


def test_a_fault_of_a_cell_fails_its_row_and_hides_that_the_field_is_missing() -> None:
    fault = Message(MessageId.WRONG_FORM, "Surname", None, "cell C7 is an error (#N/A)")
    missing = Message(MessageId.REQUIRED_FIELD_MISSING, "Surname")
    other = Message(MessageId.REQUIRED_FIELD_MISSING, "EmployerRef")
    row = ReadRow(0, ("P1",), {}, (missing, other))
    noted = with_notes(row, Notes(7, (fault,)).to_text())
    assert noted.messages == (fault, other)
    assert not noted.is_readable
    assert noted.unreadable == {"Surname"}


NOTES = Notes(3, (Message(1007, "Odd", None, "x"),)).to_text()


def test_notes_stand_beside_the_row_and_are_covered_by_its_checksum() -> None:
    line = line_of(5, '{"A":1}', NOTES)
    assert (read_line(line[:-1]).row, read_line(line[:-1]).notes) == ({"A": 1}, NOTES)
    with pytest.raises(ValueError, match="checksum"):
        split_line(line[:-1].replace(b'"line":3', b'"line":4'))


@pytest.mark.parametrize(
    "body",
    [
        f'[{{"A":1}}\x1f{NOTES}]',
        f'[{{"A":1\x1f{NOTES}}}]',
        f'[{{"A":"\x1f{NOTES}"}}]',
        '[{"A\x1f":1}]',
    ],
)
def test_no_body_of_json_can_forge_notes(body: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_payload(body.encode(), sort_key, 10)
    with pytest.raises(InvalidRequestError):
        read(SentFile("ndjson", body[1:-1].encode(), {"Content-Type": "application/x-ndjson"}))


def test_no_cell_of_csv_can_forge_notes() -> None:
    text = f"Surname,Title\nA\x1f{NOTES.replace(',', ' ')},B\n"
    payload = read(SentFile("csv", text.encode(), {"Content-Type": "text/csv"}))
    line = read_line(payload.line(payload.rows[0])[:-1])
    assert line.notes == '{"line":2}'
    assert line.row["Surname"].startswith("A\x1f")


def test_smart_quotes_and_no_break_spaces_are_text() -> None:
    assert csv_rows("Surname,Title\n“A,B”\n")[0] == {"Surname": "“A", "Title": "B”"}
    assert csv_rows("\u00a0Surname\u00a0,Title\n\u00a0A,\u00a0\n")[0] == {
        "Surname": "\u00a0A",
        "Title": "\u00a0",
    }


def test_formulas_are_text_and_words_are_values() -> None:
    text = "Surname,Title,KnownAs,Email\n=1+1,null,'null,'=x\n"
    assert csv_rows(text) == [{"Surname": "=1+1", "Title": None, "KnownAs": "null", "Email": "=x"}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.CSV", FileFormat.CSV),
        ("a.tsv.gz", FileFormat.CSV),
        ("a.jsonl", FileFormat.NDJSON),
        ("a.xlsx", FileFormat.XLSX),
        ("a.xls", None),
        ("csv", None),
    ],
)
def test_a_format_is_that_of_the_ending(name: str, expected: FileFormat | None) -> None:
    assert format_of_name(name) is expected


# Memory: of the file and some numbers per row, never of all rows as JSON.


def test_a_csv_takes_less_than_five_times_its_size_until_it_is_stored() -> None:
    rows = [a_full_worker(number, "E1") for number in range(200)]
    [body] = [file.body for file in in_every_format(rows) if file.name == "csv-comma-utf8"]
    reader = reader_of(FileFormat.CSV, RULES, ReadOptions())
    tracemalloc.start()
    try:
        planned = plan(reader(body, sort_key, 1_000), chunk_rows=100, chunk_bytes=100_000)
        assert sum(map(len, planned.lines())) == planned.size > 2 * len(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The body itself is not among what was traced.
    assert peak + len(body) < 5 * len(body)


def test_narrow_rows_of_a_csv_take_less_than_three_times_their_size() -> None:
    """A row of 130 bytes has few bytes of its own beside what the gateway keeps of it."""
    row = {"Title": "Mr", "Gender": 1, "Citizenship": "GB", "Surname": "Worker", "UserIndex": 12}
    row |= {"HasOnlineAccess": True, "IsStudent": False, "KnownAs": "x" * 90}
    body = as_csv(workers(5_000, 10, **row), "comma-utf8").body
    reader = reader_of(FileFormat.CSV, RULES, ReadOptions())
    tracemalloc.start()
    try:
        content = readable_content(FileFormat.CSV, body)
        planned = plan(reader(content, sort_key, 5_000), chunk_rows=200, chunk_bytes=100_000)
        assert sum(map(len, planned.lines())) == planned.size > 2 * len(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 120 < len(body) / 5_000 < 150
    assert peak + len(body) < 3 * len(body)


@pytest.mark.parametrize("level", [1, 9])
def test_a_bomb_is_refused_before_it_is_unpacked(level: int) -> None:
    bomb = gzip.compress(bytes(50_000_000), level)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            unpacked(bomb, 10_000_000)
        with pytest.raises(TooLargeError, match="more than 2000000 bytes"):
            unpacked(gzip.compress(random.Random(1).randbytes(3_000_000)), 2_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 25_000_000


def test_members_of_gzip_are_limited() -> None:
    many = gzip.compress(b"x") * 9_999
    assert unpacked(many, 10_000) == b"x" * 9_999
    with pytest.raises(TooLargeError, match="compress it as a whole"):
        unpacked(many + gzip.compress(b"") * 2, 10_000)


def test_corrected_rows_as_ndjson_may_begin_with_a_byte_order_mark() -> None:
    reader = corrections_reader(FileFormat.NDJSON, RULES, ReadOptions())
    body = b'\xef\xbb\xbf{"index":5,"row":{"Surname":"A"}}\r\n\n'
    assert reader(body, 10) == {5: RowText('{"Surname":"A"}')}
    for line, message in (
        (b"{", "index 1, line 3 is not valid JSON"),
        (b'{"index":5,"row":{}}', "index 5 twice"),
        (b'{"row":{}}', "Line 3 needs an index"),
        (b'{"index":6,"row":{}}', "limit is 1"),
    ):
        with pytest.raises(RefusedError, match=message):
            reader(body + line, 1 if "limit" in message else 10)


# Nothing but a refusal leaves a reader, whatever the file holds.

_SPICE = (
    "", "A", "007", "1E+05", "null", "[]", "{}", "'=x", "=1", "true", "2026-02-31", "01.02.2026",
    "1.234,5", "\x00", "\x1f", "\ufeff", "\u2028", "\U0001f600", "9" * 400, "1e999", "-", '""',
    "[0]", "Rates[0].PayRate", "a.b.c", "x" * 1_001, "a." * 40, "_x0041_", "_xD800_",
    r'{"a":"\ud800"}', '{"a.b":"1"}', '{"Surname":"x"}',
)  # fmt: skip
_HEADER = (
    "EmployerRef", "PersonnelRef", "Surname", "StartDate", "IsStudent", "Gender",
    "WorkerAddress.Postcode", "workeraddress.Town", "Extra[0].A", "Extra[1]", "_more", "_index",
)  # fmt: skip
_NUMBER_CELLS = st.builds(
    "<c t='{}' s='{}'>{}<v>{}</v></c>".format,
    st.sampled_from(("n", "s", "b", "d", "e", "str", "?")),
    st.sampled_from(("", "0", "1", "2", "-1", "99999999999", "x")),
    st.sampled_from(("", "<f/>")),
    st.sampled_from(
        ("", "0", "1", "x", "-1", "45000", "60", "1e308", "1" * 400, "1E400", "NaN", "2026-99-99",
         "2026-01-01T", "0001-01-01", "9999999", "-0.5")
    ),
)  # fmt: skip
_TEXT_CELLS = st.sampled_from(_SPICE).map(
    lambda text: f"<c t='inlineStr'><is><t>{escape(without_control(text))}</t></is></c>"
)
_STYLES = (
    f'<numFmts><numFmt numFmtId="{"9" * 5_000}" formatCode="00-00-00"/>'
    '<numFmt numFmtId="170" formatCode="dd/mm/yyyy"/></numFmts>'
    f'<cellXfs><xf/><xf numFmtId="170"/><xf numFmtId="{"9" * 5_000}"/></cellXfs>'
)
_MAPPING = ProfileMapping(
    ProfileRef("hostile", 1),
    read_profile(
        json.dumps(
            {
                "type": "workers",
                "columns": {
                    **{name: name for name in _HEADER[:5]},
                    "Gender": "Gender",
                    "Extra[1]": "DateOfBirth",
                },
                "values": {"Gender": {"entries": {"1": 2}, "otherwise": "keep"}},
                "dates": "DD.MM.YYYY",
                "decimal": ",",
                "skip": {"Extra[0].A": "any"},
            }
        )
    ),
)


def without_control(text: str) -> str:
    return text.replace("\x00", "").replace("\x1f", "")


def read_or_refuse(file_format: FileFormat, body: bytes) -> None:
    """Also as a retry, and also stored."""
    for mapping in (None, _MAPPING):
        options = ReadOptions(mapping=mapping)
        retry = corrections_reader(file_format, RULES, ReadOptions(), mapping)
        with suppress(RefusedError):
            retry(readable_content(file_format, body), 100)
        with suppress(RefusedError):
            payload = reader_of(file_format, RULES, options)(
                readable_content(file_format, body), sort_key, 100
            )
            for row in payload.rows:
                line = read_line(payload.line(row)[:-1])
                assert Notes.from_text(line.notes).line or file_format is FileFormat.JSON


_HEADERS = st.lists(st.sampled_from(_HEADER), min_size=3, max_size=8, unique=True)
_ROWS = st.lists(st.lists(st.sampled_from(_SPICE), max_size=9), max_size=4)


@settings(deadline=None, max_examples=80)
@given(
    header=_HEADERS, rows=_ROWS, mark=st.sampled_from(",;\t"), end=st.sampled_from(("\n", "\r", ""))
)
def test_nothing_but_a_refusal_leaves_the_reader_of_csv(
    header: list[str], rows: list[list[str]], mark: str, end: str
) -> None:
    lines = [
        mark.join(f'"{cell}"' if mark in cell else cell for cell in [*header, *spice])
        for spice in ([], *rows)
    ]
    lines[1:] = [line.removeprefix(mark.join(header)).removeprefix(mark) for line in lines[1:]]
    read_or_refuse(FileFormat.CSV, ("\n".join(lines) + end).encode())


@settings(deadline=None, max_examples=80)
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from((*_HEADER, "index", "row", "record")),
            st.one_of(
                st.sampled_from(_SPICE),
                st.sampled_from((None, True, 10**400, 1.5, -0.0, [], {}, {"a": [1]}, "\ud800")),
            ),
        ),
        max_size=4,
    ),
    mark=st.sampled_from(("", "\ufeff")),
)
def test_nothing_but_a_refusal_leaves_the_readers_of_json(rows: list[Any], mark: str) -> None:
    lines = [json.dumps({"index": 1, "row": row} if "row" in row else row) for row in rows]
    read_or_refuse(FileFormat.NDJSON, (mark + "\n".join(lines)).encode())
    read_or_refuse(FileFormat.JSON, (mark + f"[{','.join(lines)}]").encode())


@settings(deadline=None, max_examples=40)
@given(header=_HEADERS, rows=st.lists(st.lists(st.one_of(_NUMBER_CELLS, _TEXT_CELLS)), max_size=4))
def test_nothing_but_a_refusal_leaves_the_reader_of_spreadsheets(
    header: list[str], rows: list[list[str]]
) -> None:
    names = "".join(f"<c t='str'><v>{name}</v></c>" for name in header)
    data = "".join(f"<row>{''.join(cells)}</row>" for cells in ([names], *rows))
    read_or_refuse(
        FileFormat.XLSX,
        with_parts(raw_sheet(data), {STYLES: f"<styleSheet>{_STYLES}</styleSheet>".encode()}),
    )


NAMES = (
    "PersonnelRef", "surname", "IsStudent", "WorkerAddress.Postcode", "workeraddress.Line1",
    "WorkerAddress", "Extra[0].A", "Extra[1].B", "Extra[00].C", "Extra[0]", "Extra.A", "Deep.A.B",
    "Deep.A",
)  # fmt: skip
CELLS = ("", "A", "007", " ", "null", "[]", "'x", "true", "1.50", "=1")


@settings(deadline=None)
@given(
    header=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    cells=st.lists(st.sampled_from(CELLS), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_the_columns_of_a_file_make_the_rows_that_its_cells_alone_would_make(
    header: list[str], cells: list[str]
) -> None:
    """With an empty `_more` the layout of a row is known from the header, with `{}` it is not."""

    def rendered(more: str) -> dict[str, Any] | str:
        renderer = header_maker(RULES, ReadOptions())([*header, "Gender", "_more"], 1)
        try:
            row = renderer.render([*cells[: len(header)], "", more], 0, 2)
        except InvalidRequestError as error:
            return str(error)
        assert row is not None
        return {"notes": row.notes, **json.loads(row.text)}

    assert rendered("") == rendered("{}")
