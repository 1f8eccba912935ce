"""What a profile makes of rows in the layout of their sender."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.files.csv_rows import read_csv
from shared.imports.files.mapping import ProfileMapping, read_mapped
from shared.imports.files.ndjson_rows import read_ndjson
from shared.imports.files.notes import Notes, with_notes
from shared.imports.files.profile import ProfileRef, read_profile
from shared.imports.json_rows import Payload, read_noted_lines, read_payload
from shared.imports.results import Outcome, RowResult

GERMAN: Mapping[str, Any] = {
    "type": "assignments",
    "columns": {
        "Mandant": "EmployerRef",
        "Nr.": "AssignmentRef",
        "Beginn": "StartDate",
        "Ort": "WorkLocation",
        "Satz": "Rates[0].PayRate",
        "Satzart": "Rates[0].RateCode",
        "Bericht": "IsIncludedOnMarginReport",
        "Adresse": "InvoiceAddressNumber",
    },
    "values": {
        "IsIncludedOnMarginReport": {"entries": {"Ja": True, "Nein": False, "": False}},
        "WorkLocation": {"entries": {"HH": "Hamburg", "-": None}, "otherwise": "keep"},
        "Rates[0].RateCode": {"entries": {"N": "STD"}, "otherwise": "OTHER"},
    },
    "constants": {"RateFrequency": "Hourly"},
    "dates": "DD.MM.YYYY",
    "decimal": ",",
    "skip": {"Storno": ["J"]},
}


MOST = 10**9


def a_mapping(**parts: Any) -> ProfileMapping:
    document = {**GERMAN, **parts}
    profile = {name: part for name, part in document.items() if part is not None}
    return ProfileMapping(ProfileRef("german", 3), read_profile(json.dumps(profile)))


def by_key(row: Mapping[str, Any]) -> str:
    return str(row.get("assignmentref"))


def lines_of(payload: Payload) -> list[tuple[dict[str, Any], Notes]]:
    data = b"".join(payload.line(row) for row in payload.rows)
    assert [payload.line_size(row) for row in payload.rows] == [
        len(line) for line in data.splitlines(keepends=True)
    ]
    return [(line.row, Notes.from_text(line.notes)) for line in read_noted_lines(data)]


def rows_of_csv(text: str, mapping: ProfileMapping) -> list[tuple[dict[str, Any], Notes]]:
    return lines_of(read_csv(text.encode(), mapping.make_renderer, by_key, 100, MOST))


def of_csv(mapping: ProfileMapping, **cells: str) -> tuple[dict[str, Any], Notes]:
    names = {"Mandant": "E1", "Nr.": "7", **cells}
    lines = [";".join(names), ";".join(names.values())]
    [found] = rows_of_csv("\n".join(lines), mapping)
    return found


def faults(notes: Notes) -> Sequence[tuple[int, str | None, str | None]]:
    return [(each.id, each.field, each.value) for each in notes.messages if each.is_error]


def test_a_row_has_the_fields_codes_dates_and_numbers_of_the_type() -> None:
    row, notes = of_csv(
        a_mapping(),
        Beginn="01.03.2026",
        ORT="HH",
        satz="1.234,50",
        Satzart=" N ",
        Bericht="Ja",
        Adresse="007",
        Storno="N",
        Bemerkung="x",
    )
    assert json.loads(json.dumps(row, default=str)) == {
        "EmployerRef": "E1",
        "AssignmentRef": "7",
        "StartDate": "2026-03-01",
        "WorkLocation": "Hamburg",
        "Rates": [{"PayRate": "1234.50", "RateCode": "STD"}],
        "IsIncludedOnMarginReport": True,
        "InvoiceAddressNumber": 7,
        "RateFrequency": "Hourly",
    }
    assert notes.line == 2
    assert [(each.id, each.field) for each in notes.messages] == [(1007, "Bemerkung")]
    sent = json.loads(notes.sent)
    assert ";".join(sent) == "Mandant;Nr.;Beginn;ORT;satz;Satzart;Bericht;Adresse;Storno;Bemerkung"
    assert sent["satz"] == "1.234,50"


CELLS: Sequence[tuple[Mapping[str, str], str, object]] = [
    ({"Ort": "-"}, "WorkLocation", None),
    ({"Ort": "null"}, "WorkLocation", None),
    ({"Ort": "'null"}, "WorkLocation", "null"),
    ({"Ort": "'=1+1"}, "WorkLocation", "=1+1"),
    ({"Ort": "hh"}, "WorkLocation", "hh"),
    ({"Ort": ""}, "WorkLocation", "absent"),
    ({"Bericht": ""}, "IsIncludedOnMarginReport", False),
    ({"Bericht": "null"}, "IsIncludedOnMarginReport", None),
    ({"Satzart": "X"}, "Rates", [{"RateCode": "OTHER"}]),
    ({"Satzart": ""}, "Rates", "absent"),
    ({"Adresse": "-1.000"}, "InvoiceAddressNumber", -1000),
    ({"Adresse": "+1'000'000"}, "InvoiceAddressNumber", 1000000),
    ({"Adresse": "-0"}, "InvoiceAddressNumber", 0),
    ({"Beginn": ""}, "StartDate", "absent"),
    ({"Beginn": "null"}, "StartDate", None),
]


@pytest.mark.parametrize(("cells", "field", "expected"), CELLS, ids=str)
def test_a_cell_becomes_a_value(cells: Mapping[str, str], field: str, expected: object) -> None:
    row, notes = of_csv(a_mapping(), **cells)
    assert (row.get(field, "absent"), notes.messages) == (expected, ())


FAULTY: Sequence[tuple[Mapping[str, str], int, str]] = [
    ({"Bericht": "Vielleicht"}, 1010, "IsIncludedOnMarginReport"),
    ({"Bericht": "ja"}, 1010, "IsIncludedOnMarginReport"),
    ({"Beginn": "2026-03-01"}, 1006, "StartDate"),
    ({"Beginn": "31.02.2026"}, 1006, "StartDate"),
    ({"Satz": "12.5"}, 1002, "Rates[0].PayRate"),
    ({"Satz": "1.23.456"}, 1002, "Rates[0].PayRate"),
    ({"Satz": "1.234'567"}, 1002, "Rates[0].PayRate"),
    ({"Satz": "12,"}, 1002, "Rates[0].PayRate"),
    ({"Satz": "1" * 70}, 1002, "Rates[0].PayRate"),
    ({"Satz": "\u0661"}, 1002, "Rates[0].PayRate"),
    ({"Satz": "1e5"}, 1002, "Rates[0].PayRate"),
]


@pytest.mark.parametrize(("cells", "id_", "field"), FAULTY, ids=str)
def test_a_cell_that_is_no_value_is_a_fault_of_its_row(
    cells: Mapping[str, str], id_: int, field: str
) -> None:
    row, notes = of_csv(a_mapping(), **cells)
    [value] = cells.values()
    assert faults(notes) == [(id_, field, value[:200])]
    assert field.partition("[")[0] not in row


def test_the_value_of_a_sensitive_field_is_not_in_its_message() -> None:
    mapping = a_mapping(
        type="workers",
        columns={"M": "EmployerRef", "N": "PersonnelRef", "Art": "PrimaryBankDetails.BankRef"},
        values={"PrimaryBankDetails.BankRef": {"entries": {"Bank": "BACS"}}},
        constants=None,
        skip=None,
    )
    _, notes = rows_of_csv("M,N,Art\n1,2,12345678\n", mapping)[0]
    assert faults(notes) == [(1010, "PrimaryBankDetails.BankRef", None)]
    assert not mapping.shows("art")
    assert not mapping.shows("unknown")
    assert mapping.shows("n")


def test_skipped_rows_have_no_index_and_do_not_bring_the_message_of_unknown_columns() -> None:
    text = "Mandant;Nr.;Storno;Extra\nE1;1;J;x\nE1;2;;y\nE1;3;J;\nE1;4;N;z\n"
    rows = rows_of_csv(text, a_mapping())
    assert [row["AssignmentRef"] for row, _ in rows] == ["2", "4"]
    assert [notes.line for _, notes in rows] == [3, 5]
    assert [len(notes.messages) for _, notes in rows] == [1, 0]
    any_text = a_mapping(skip={"storno": "any"})
    assert len(rows_of_csv(text, any_text)) == 1
    assert read_csv(text.encode(), any_text.make_renderer, by_key, 100, MOST).skipped == 3


def test_a_value_that_clears_or_is_empty_skips_no_row_for_any() -> None:
    """null is how senders write that there is none, as for a leaving date."""
    mapping = a_mapping(skip={"Storno": "any"})
    cells = ("null", "[]", "{}", " ", "'null", "-")
    text = "Mandant;Nr.;Storno\n" + "".join(f"E1;{at};{cell}\n" for at, cell in enumerate(cells))
    assert [row["AssignmentRef"] for row, _ in rows_of_csv(text, mapping)] == ["0", "1", "2", "3"]
    values: list[Any] = [None, [], {}, " ", "null", False, 0, [1]]
    rows = [{"Mandant": "E1", "Nr.": str(at), "Storno": each} for at, each in enumerate(values)]
    body = json.dumps(rows).encode()
    payload = read_mapped(mapping, read_payload, body, by_key, 100, max_stored=MOST)
    # A list is as many columns as it has elements, and Storno[0] is not Storno.
    assert [row["AssignmentRef"] for row, _ in lines_of(payload)] == ["0", "1", "2", "3", "7"]
    assert payload.skipped == 3
    listed = a_mapping(skip={"Storno": ["null"]})
    assert rows_of_csv("Mandant;Nr.;Storno\nE1;1;null\n", listed) == []


def test_an_empty_list_or_object_is_that_also_in_the_row_that_is_given_back() -> None:
    """As text it would be stored, in this import or once the failed row comes back."""
    mapping = a_mapping(
        columns={"M": "EmployerRef", "N": "AssignmentRef", "J": "JobTitle"}, values=None
    )
    text = "M;N;J\nE1;1;[]\nE1;2;{}\nE1;3;'[]\n"
    rows = rows_of_csv(text, mapping)
    assert [row["JobTitle"] for row, _ in rows] == [[], {}, "[]"]
    assert [json.loads(notes.sent)["J"] for _, notes in rows] == [[], {}, "[]"]
    more = """M;N;_more\nE1;1;"{""J"":""'=1""}"\n"""
    [(row, notes)] = rows_of_csv(more, mapping)
    assert (row["JobTitle"], json.loads(notes.sent)["J"]) == ("=1", "=1")
    header = mapping.make_sent_header(["M", "N", "J"], 1)
    assert json.loads(header.render(["E1", "1", "[]"], 0, 2).text)["J"] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Straße;STRASSE;Mandant\nx;y;z\n", "more than one column of the same name: STRASSE"),
        ("EmployerRef;AssignmentRef\nE1;1\n", "no column of the profile german"),
        ("Mandant,Nr.\nE1,1\n;;\n", None),
        ("Mandant;;Nr.\nE1;x;1\n", "which has no name"),
    ],
)
def test_a_header_that_the_profile_cannot_be_applied_to_is_refused(
    text: str, fault: str | None
) -> None:
    if fault is None:
        assert len(rows_of_csv(text, a_mapping())) == 2
        return
    with pytest.raises(InvalidRequestError, match=fault):
        rows_of_csv(text, a_mapping())


JSON_ROWS = [
    {"client": {"no": "E1"}, "Nr.": "1", "satz": {"list": [{"x": "1,5"}]}, "Bericht": "Ja"},
    {"client": {"no": "E1"}, "Nr.": "2", "Storno": "J"},
    {"client": {"no": "E1"}, "Nr.": 3, "satz": {"list": [{"x": 12.50}]}, "Ort": None, "New": 1},
]


@pytest.mark.parametrize("is_ndjson", [False, True])
def test_rows_in_json_are_mapped_by_their_paths(is_ndjson: bool) -> None:
    columns = {
        "Client.No": "EmployerRef",
        "Nr.": "AssignmentRef",
        "satz.list[0].x": "Rates[0].PayRate",
        "Bericht": "IsIncludedOnMarginReport",
        "Ort": "WorkLocation",
    }
    mapping = a_mapping(
        columns=columns, values={"IsIncludedOnMarginReport": {"entries": {"Ja": True}}}
    )
    texts = [json.dumps(row) for row in JSON_ROWS]
    texts[2] = texts[2].replace("12.5", "12.50")
    body = "\n".join(texts) if is_ndjson else f"[{', '.join(texts)}]"
    read = read_ndjson if is_ndjson else read_payload
    rows = lines_of(read_mapped(mapping, read, body.encode(), by_key, 100, max_stored=MOST))
    assert [json.loads(json.dumps(row, default=str)) for row, _ in rows] == [
        {
            "EmployerRef": "E1",
            "AssignmentRef": "1",
            "Rates": [{"PayRate": "1.5"}],
            "IsIncludedOnMarginReport": True,
            "RateFrequency": "Hourly",
        },
        {
            "EmployerRef": "E1",
            "AssignmentRef": 3,
            "Rates": [{"PayRate": "12.50"}],
            "WorkLocation": None,
            "RateFrequency": "Hourly",
        },
    ]
    assert [notes.sent for _, notes in rows] == [texts[0], texts[2]]
    assert [notes.line for _, notes in rows] == ([1, 3] if is_ndjson else [None, None])


def test_rows_in_json_with_one_column_twice_or_none_of_the_profile_are_refused() -> None:
    mapping = a_mapping()
    for body, fault in (
        ('[{"a.b":1,"A":{"b":2}}]', "has the column a.b twice"),
        ('[{"Stra\\u00dfe":1,"STRASSE":2}]', "twice"),
        ('[{"EmployerRef":"E1"}]', "No row has no column"),
    ):
        with pytest.raises(InvalidRequestError, match=fault):
            read_mapped(mapping, read_payload, body.encode(), by_key, 100, max_stored=MOST)
    assert lines_of(read_mapped(mapping, read_payload, b"[]", by_key, 100, max_stored=MOST)) == []


def test_what_was_sent_cannot_forge_notes_or_lines() -> None:
    cell = '\x1f{"messages":[]}\x1f","line":9}'
    row, notes = of_csv(a_mapping(), Ort=f'"{cell.replace(chr(34), chr(34) * 2)}"', Satz="x")
    assert row["WorkLocation"] == cell
    assert json.loads(notes.sent)["Ort"] == cell
    assert (notes.line, len(notes.messages)) == (2, 1)
    body = '[{"Mandant":"E1",\n"Nr.":"1","Ort":"a\\u001f\\nb", "sent": {"line": 5}}]'
    [(row, notes)] = lines_of(
        read_mapped(a_mapping(), read_payload, body.encode(), by_key, 9, max_stored=MOST)
    )
    assert row["WorkLocation"] == "a\x1f\nb"
    assert json.loads(notes.sent)["sent"] == {"line": 5}
    assert notes.line is None


def test_rows_that_lack_most_columns_of_a_wide_header_are_bounded() -> None:
    """Each cell that is not there costs time, also without a byte of the file."""
    names = ["Mandant", "Nr.", *(f"z{number}" for number in range(2_000))]
    body = "\n".join([";".join(names), *["E1;1;x"] * 600, ""]).encode()
    with pytest.raises(TooLargeError, match="far fewer cells"):
        read_csv(body, a_mapping().make_renderer, by_key, 1_000, 1_000_000_000)


def test_what_a_small_file_can_become_is_bounded() -> None:
    mapping = a_mapping()
    names = ["Mandant", "Nr.", *(f"{number}{'x' * 990}" for number in range(20))]
    row = "E1;1;" + ";".join("y" for _ in names[2:])
    body = "\n".join([";".join(names), *[row] * 6]).encode()
    with pytest.raises(TooLargeError, match="more than 100000 bytes with the names"):
        read_csv(body, mapping.make_renderer, by_key, 100, 100_000)
    rows = json.dumps([{"Mandant": "E1", "Nr.": "1", "Ort": "x" * 20_000}] * 3).encode()
    with pytest.raises(TooLargeError, match="more than 100000 bytes with the names"):
        read_mapped(mapping, read_payload, rows, by_key, 100, max_stored=100_000)


def test_a_message_names_the_element_of_a_list_as_the_profile_does() -> None:
    """The row has its elements without gaps: the second rate of the sender is its first one."""
    rates = {
        f"{letter}{at + 1}": f"Rates[{at}].{name}"
        for at in range(3)
        for letter, name in (("c", "RateCode"), ("p", "PayRate"))
    }
    mapping = a_mapping(
        columns={"Mandant": "EmployerRef", "Nr.": "AssignmentRef", **rates},
        values=None,
        constants=None,
        decimal=None,
        skip=None,
    )
    row, notes = of_csv(mapping, c1="", p1="", c2="X", p2="abc", c3="", p3="4")
    assert row["Rates"] == [{"RateCode": "X", "PayRate": "abc"}, {"PayRate": 4}]
    read = with_notes(ASSIGNMENTS.record_rules.read(0, row), notes.to_text())
    fields = [each.field for each in read.messages if each.is_error and each.field]
    assert [each for each in fields if each.startswith("Rates")][:2] == [
        "Rates[1].PayRate",
        "Rates[2].RateCode",
    ]
    [result] = mapping.with_columns([RowResult(0, (), Outcome.FAILED, read.messages)])
    assert {each.column for each in result.messages} >= {"p2", "c3"}
    assert of_csv(mapping, c1="X", p1="1")[1].lists is None


def test_the_faults_of_one_row_are_bounded() -> None:
    columns = {f"r{number}": f"Rates[{number}].PayRate" for number in range(300)}
    mapping = a_mapping(
        columns={"Mandant": "EmployerRef", "Nr.": "AssignmentRef", **columns}, values=None
    )
    row, notes = of_csv(mapping, **dict.fromkeys(columns, "x"))
    assert "Rates" not in row
    assert len(notes.messages) == 100
    assert notes.messages[-1].detail == "and 201 more messages that are left out"
