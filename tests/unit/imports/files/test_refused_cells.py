"""Cells that were refused: a failed row that comes back without them fails again, in any format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.imports.files.corrections import corrections_reader
from shared.imports.files.formats import FileFormat, ReadOptions, reader_of
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.notes import Notes
from shared.imports.files.profile import ProfileRef, read_profile
from shared.imports.json_rows import RowText
from shared.imports.workers.definition import WORKERS

FORMATS = [FileFormat.JSON, FileFormat.NDJSON]
WRONG_TYPE = "The value has the wrong type: the cell E2 shows a percentage; enter it as text"


def refusal(field: str, text: str = WRONG_TYPE, **more: Any) -> dict[str, Any]:
    return {"messageType": "Error", "message": text, "fieldName": field, "errorID": 1002, **more}


def failed_row(row: dict[str, Any], *messages: Any, **more: Any) -> dict[str, Any]:
    return {"index": 0, "row": {"EmployerRef": "E1", **row}, "messages": [*messages], **more}


def read(
    file_format: FileFormat, rows: list[dict[str, Any]], options: ReadOptions
) -> list[tuple[dict[str, Any], list[str | None]]]:
    """Each row that a file gives, and the fields in which it has faults."""
    lines = [json.dumps(row) for row in rows]
    body = f"[{','.join(lines)}]" if file_format is FileFormat.JSON else "\n".join(lines)
    payload = reader_of(file_format, WORKERS.rules, options)(body.encode(), lambda _: None, 99)
    return [in_short(payload.row_text(row)) for row in payload.rows]


def in_short(row: RowText) -> tuple[dict[str, Any], list[str | None]]:
    errors = [each for each in Notes.from_text(row.notes).messages if each.is_error]
    return json.loads(row.text), [each.field for each in errors]


OF_FILE = ReadOptions(is_file=True)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_failed_row_fails_again_while_its_refused_cell_is_empty(file_format: FileFormat) -> None:
    address = "WorkerAddress.Postcode"
    again = "The value has the wrong type: the cell was refused and is empty: enter the value"
    rows = [
        failed_row({}, refusal("Surname"), refusal(address)),
        failed_row({"surname": ""}, refusal("Surname", again)),
        failed_row({"SURNAME": "Doe"}, refusal("Surname")),
        failed_row({"Surname": None}, refusal("Surname")),
        failed_row({"WorkerAddress": {"Postcode": "1"}}, refusal(address)),
        failed_row({}, refusal("Title", "The value has the wrong type: expected text")),
        failed_row({}),
    ]
    read_rows = read(file_format, rows, OF_FILE)
    assert [row for row, _ in read_rows] == [row["row"] for row in rows]
    assert [fields for _, fields in read_rows] == [
        ["Surname", address],
        ["Surname"],
        *([[]] * 5),
    ]


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_elements_of_a_row_have_no_gaps_as_its_file_had(file_format: FileFormat) -> None:
    refused = refusal("Rates[1].PayRate")
    rows = [
        failed_row({"Rates": [{"RateCode": "A"}]}, refused),
        failed_row({"Rates": [{"RateCode": "A", "PayRate": 1}]}, refused),
        failed_row({"Rates": [{"PayRate": 1}, {"RateCode": "A"}]}, refused),
    ]
    fields = [fields for _, fields in read(file_format, rows, OF_FILE)]
    assert fields == [["Rates[1].PayRate"], [], ["Rates[1].PayRate"]]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_refused_cell_is_known_by_the_column_of_its_sender(file_format: FileFormat) -> None:
    columns = {"Mandant": "EmployerRef", "Nr": "PersonnelRef", "Art (neu)": "Gender"}
    document = {"type": "workers", "columns": columns, "skip": {"Storno": ["J"]}}
    mapping = ProfileMapping(ProfileRef("payroll", 1), read_profile(json.dumps(document)))
    refused = refusal("Gender", sentAs="Art (neu)")
    rows = [
        {"index": 4, "row": {"Mandant": "E1", "Storno": "J"}, "messages": [refused]},
        {"index": 5, "row": {"Mandant": "E1", "Art (neu)": ""}, "messages": [refused]},
        {"index": 6, "row": {"Mandant": "E1", "Art (neu)": "2"}, "messages": [refused]},
    ]
    options = ReadOptions(mapping=mapping, is_file=True)
    assert read(file_format, rows, options) == [
        ({"EmployerRef": "E1"}, ["Gender"]),
        ({"EmployerRef": "E1", "Gender": 2}, []),
    ]


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    "messages",
    [
        None,
        "the cell E2",
        [None, 1, "the cell E2", []],
        [{"message": WRONG_TYPE}],
        [{"message": 5, "fieldName": "Surname"}, {"message": WRONG_TYPE, "fieldName": ["Surname"]}],
        [refusal("Surname", f"Doe: x: {WRONG_TYPE}")],
    ],
)
def test_messages_that_the_gateway_has_not_written_mean_nothing(
    file_format: FileFormat, messages: Any
) -> None:
    rows = [{"index": 0, "row": {"EmployerRef": "E1"}, "messages": messages}]
    assert read(file_format, rows, OF_FILE) == [({"EmployerRef": "E1"}, [])]


def test_rows_that_are_not_all_failed_rows_are_read_as_they_are() -> None:
    rows = [failed_row({}, refusal("Surname")), {"EmployerRef": "E2"}]
    for file_format in FORMATS:
        assert read(file_format, rows, OF_FILE) == [(row, []) for row in rows]


def test_the_array_of_a_call_has_rows_of_its_type() -> None:
    """Only files are unwrapped: the vendor's own endpoints take an array of rows."""
    rows = [failed_row({}, refusal("Surname"))]
    assert read(FileFormat.JSON, rows, ReadOptions()) == [(rows[0], [])]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_corrected_row_of_a_retry_fails_while_its_refused_cell_is_empty(
    file_format: FileFormat,
) -> None:
    rows = [
        failed_row({"Title": "Dr"}, refusal("Surname"), index=3),
        failed_row({"Surname": "Doe"}, refusal("Surname"), index=7),
        {"index": 9, "row": {"EmployerRef": "E1"}},
    ]
    lines = [json.dumps(row) for row in rows]
    body = f"[{','.join(lines)}]" if file_format is FileFormat.JSON else "\n".join(lines)
    reader = corrections_reader(file_format, WORKERS.rules, ReadOptions())
    corrections = reader(body.encode(), 9)
    assert {index: in_short(row)[1] for index, row in corrections.items()} == {
        3: ["Surname"],
        7: [],
        9: [],
    }
