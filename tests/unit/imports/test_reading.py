"""Reading rows: field types, names and names close to them, limits of a row, hostile rows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.import_type import RowKey
from shared.imports.json_rows import (
    MAX_NAME,
    MAX_NAMES,
    MAX_ROW_BYTES,
    MAX_VALUES,
    read_document,
    read_payload,
)
from shared.imports.model import normal_reference
from shared.imports.results import MAX_MESSAGES
from shared.imports.row_reader import read_key, read_row
from shared.imports.text_checks import is_like_dry_run, is_one_slip_away, nearest
from tests.unit.imports.builders import KEY_FIELDS, Item, an_item, read_item, without

# Reading rows: names, paths, blanks, unknown properties, secrets, and hostile rows.


def faults(**fields: Any) -> list[tuple[int, str | None, str | None]]:
    return [(item.id, item.field, item.value) for item in read_item(**fields).messages]


def test_names_match_in_any_case_at_every_level() -> None:
    row = {
        "GROUPREF": "G1",
        "itemref": "I1",
        "due": "2021-01-01",
        "spot": {"ROW": "r", "shelf": 3},
        "PRICES": [{"code": "c", "VALUE": 1}],
    }
    read = read_row(4, row, Item, KEY_FIELDS)
    assert read.messages == ()
    assert read.index == 4
    assert read.values == {
        "GroupRef": "G1",
        "ItemRef": "I1",
        "Due": "2021-01-01",
        "Spot": {"Row": "r", "Shelf": 3},
        "Prices": [{"Code": "c", "Value": "1"}],
    }


def test_unknown_properties_are_reported_as_sent_and_not_kept() -> None:
    read = read_item(
        extra=1, spot={"ROW": "r", "Colour": "x"}, prices=[{"Code": "a"}, {"Code": "b", "?": 0}]
    )
    assert [(item.id, item.field, item.value) for item in read.messages] == [
        (1007, "extra", None),
        (1007, "Spot.Colour", None),
        (1007, "Prices[1].?", None),
    ]
    assert read.is_readable
    assert read.values["Spot"] == {"Row": "r"}
    assert "extra" not in read.values


@pytest.mark.parametrize("blank", [None, "", " ", "\t\u3000\n"])
@pytest.mark.parametrize("field", ["Note", "Due", "Count", "IsOpen", "Weight", "Spot", "Prices"])
def test_null_and_blank_clear(field: str, blank: str | None) -> None:
    read = read_item(**{field: blank})
    assert read.messages == ()
    assert read.values[field] is None


@pytest.mark.parametrize("blank", [None, "", " "])
@pytest.mark.parametrize("field", ["GroupRef", "ItemRef", "Name"])
def test_null_and_blank_are_faults_of_a_field_that_is_not_nullable(
    field: str, blank: str | None
) -> None:
    assert faults(**{field: blank}) == [(1001, field, None)]


def test_a_missing_field_is_one_fault_even_where_null_is_allowed() -> None:
    read = read_row(0, {}, Item, KEY_FIELDS)
    assert [(item.id, item.field) for item in read.messages] == [
        (1001, "GroupRef"),
        (1001, "ItemRef"),
        (1001, "Due"),
    ]


def test_an_object_that_is_one_value_loses_its_blanks_and_an_empty_one_clears() -> None:
    assert read_item(Spot={"Row": "r", "Shelf": None}).values["Spot"] == {"Row": "r"}
    assert read_item(Spot={"Row": " "}).values["Spot"] is None
    assert read_item(Spot={}).values["Spot"] is None
    assert read_item(Prices=[]).values["Prices"] is None
    assert read_item(Prices=[{"Code": "a", "Value": ""}]).values["Prices"] == [{"Code": "a"}]


def test_a_merging_object_keeps_its_blanks_as_clearings() -> None:
    settings = read_item(Settings={"Colour": "", "Limit": 5}).values["Settings"]
    assert settings == {"Colour": None, "Limit": "5"}


def test_every_fault_of_a_row_is_reported() -> None:
    assert faults(
        Count=True, Spot={"Since": "never"}, Prices=[{"Code": "a"}, {"Value": "x"}, None], extra=1
    ) == [
        (1002, "Count", "true"),
        (1006, "Spot.Since", "never"),
        (1001, "Prices[1].Code", None),
        (1002, "Prices[1].Value", "x"),
        (1001, "Prices[2]", None),
        (1007, "extra", None),
    ]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"Settings": {"Pin": 4711}}, "Settings.Pin"),
        ({"Settings": "4711"}, "Settings"),
        ({"Secret": {"Number": 4711}}, "Secret.Number"),
        ({"Secret": 4711}, "Secret"),
    ],
)
def test_a_sensitive_value_is_never_shown(fields: dict[str, Any], path: str) -> None:
    read = read_item(**fields)
    assert [(item.id, item.field, item.value) for item in read.messages] == [(1002, path, None)]
    assert "4711" not in repr(read.messages)


def test_a_row_with_more_faults_than_are_kept_says_how_many_more() -> None:
    read = read_item(Count="x", **{f"extra{number}": number for number in range(100_000)})
    assert len(read.messages) < MAX_MESSAGES
    assert read.messages[0].id == 1002
    shown = len(read.messages) - 1
    more = 100_001 - shown
    assert read.messages[-1].detail == f"and {more} more messages that are left out"


def test_a_list_that_is_too_long_is_not_read_to_its_end() -> None:
    prices = [{"Code": "a", "extra": 1}] * 1_000_000
    expected = [(1003, "Prices"), *[(1007, f"Prices[{place}].extra") for place in range(4)]]
    assert [(id_, path) for id_, path, _ in faults(Prices=prices)] == expected


def test_names_of_any_length_and_content_can_be_reported() -> None:
    read = read_item(**{"x" * 1_000_000: 1, "\ud800": 1, "": 1})
    paths = [message.field or "" for message in read.messages]
    assert max(map(len, paths)) <= 200
    assert "\n".join(paths).encode("utf-8")


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ((" G1 ", "I1"), ("G1", "I1")),
        ((None, "I1"), (None, "I1")),
        ((" ", 7), (None, None)),
        (("x" * 61, "I1"), ("x" * 61, "I1")),
    ],
)
def test_a_failed_row_shows_what_it_has_of_a_key(
    key: tuple[Any, Any], shown: tuple[str | None, ...]
) -> None:
    assert read_item(GroupRef=key[0], ItemRef=key[1], Count="x").key == shown


def test_an_absent_key_has_no_value() -> None:
    assert read_row(0, without(an_item(), "ItemRef"), Item, KEY_FIELDS).key == ("G1", None)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters())
    | st.from_regex(r"\s*[a-z\u0300-\u0310]{0,70}\s*", fullmatch=True),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=50)
@given(json_values, json_values)
def test_a_row_has_a_key_if_and_only_if_its_key_fields_have_no_fault(group: Any, item: Any) -> None:
    key = read_key({"groupref": group, "itemref": item}, "groupref", "itemref")
    read = read_item(GroupRef=group, ItemRef=item)
    assert (key is not None) == read.is_readable
    if key is not None:
        assert key == RowKey(*[part or "" for part in read.key])


# The field types: what they take, what they keep, and what they call a fault.


def cases(field: str, fault: int, *values: Any) -> list[tuple[str, Any, int]]:
    return [(field, value, fault) for value in values]


DECIMAL_MAX = 79228162514264337593543950335


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("Note", " kept as sent ", " kept as sent "),
        ("Note", "a\0b", "a\0b"),
        ("Note", "007", "007"),
        ("ItemRef", "  00 7a ", "00 7a"),
        ("ItemRef", "E\u0301", "\u00c9"),
        ("ItemRef", "x" * 60, "x" * 60),
        ("ItemRef", "e\u0301" * 60, "\u00e9" * 60),
        ("Count", 0, 0),
        ("Count", 2**31 - 1, 2**31 - 1),
        ("Count", -(2**31), -(2**31)),
        ("IsOpen", False, False),
        ("Due", "2021-01-01", "2021-01-01"),
        ("Due", "0001-01-01", "0001-01-01"),
        ("Due", "2024-02-29T00:00:00", "2024-02-29"),
        ("Due", "2021-01-01T23:59:59", "2021-01-01"),
        ("Due", "2021-01-01T00:00:00.1234567", "2021-01-01"),
        ("Due", "2021-01-01T00:00:00Z", "2021-01-01"),
        ("Due", "2021-01-01T23:30:00.5-11:30", "2021-01-01"),
        ("Due", "9999-12-31T00:00:00+0100", "9999-12-31"),
        ("Weight", 10, "10"),
        ("Weight", Decimal("10.00"), "10"),
        ("Weight", Decimal("-0.0"), "0"),
        ("Weight", Decimal("1E+3"), "1000"),
        ("Weight", Decimal("-12.50"), "-12.5"),
        ("Weight", DECIMAL_MAX, str(DECIMAL_MAX)),
        ("Weight", Decimal(-DECIMAL_MAX), str(-DECIMAL_MAX)),
        ("Weight", Decimal("1E-28"), "0.0000000000000000000000000001"),
        ("Weight", Decimal("0.1234567890123456789012345678"), "0.1234567890123456789012345678"),
        ("Weight", Decimal("0E-999999"), "0"),
        ("Kind", "B", "B"),
        ("Code", "abcd", "abcd"),
        ("Fee", Decimal("1.500"), "1.5"),
        ("Fee", 10, "10"),
        ("At", "2026-01-02", "2026-01-02T00:00:00"),
        ("At", "2026-01-02T00:00:00", "2026-01-02T00:00:00"),
        ("At", "2026-01-02T13:30:00.5+01:00", "2026-01-02T13:30:00.5+01:00"),
        ("ShortRef", " abc ", "abc"),
    ],
)
def test_a_good_value_is_kept(field: str, sent: Any, kept: Any) -> None:
    row = read_item(**{field: sent})
    assert row.messages == ()
    assert row.values[field] == kept
    assert type(row.values[field]) is type(kept)


@pytest.mark.parametrize(
    ("field", "sent", "fault"),
    [
        *cases("Note", 1002, 5, Decimal("1.5"), True, 1.5, [], {}, ["a"]),
        ("Note", "\ud800", 1004),
        pytest.param("Note", "x" * (1024 * 1024 + 1), 1003, id="more text than can be stored"),
        *cases("ItemRef", 1002, 5, True, [], {}),
        *cases("ItemRef", 1001, None, "", " \t\u00a0"),
        ("ItemRef", "x" * 61, 1003),
        pytest.param("ItemRef", "\u0301\u0323" * 100_000, 1003, id="a run of combining marks"),
        ("ItemRef", "a\udfff", 1004),
        *cases("Count", 1002, True, "5", 5.0, Decimal(5), Decimal("5.5"), []),
        *cases("Count", 1008, 2**31, -(2**31) - 1),
        *cases("IsOpen", 1002, 0, 1, "true", "false", Decimal(1), {}, [True]),
        *cases("Due", 1002, 5, Decimal("2021.5"), True, [], {}),
        *cases(
            "Due",
            1006,
            "2021-02-29",
            "0000-01-01",
            "2021-13-01",
            "2021-1-1",
            "20210101",
            "2021-W01-1",
            " 2021-01-01",
            "2021-01-01 ",
            "2021-01-01\n",
            "2021-01-01 00:00:00",
            "2021-01-01T24:00:00",
            "2021-01-01T00:60:00",
            "2021-01-01T00:00",
            "2021-01-01T00:00:00.",
            "2021-01-01T00:00:00\n",
            "2021-01-01T00:00:00+25:00",
            "\u0662\u0660\u0662\u0661-\u0660\u0661-\u0660\u0661",
            "2021-01-01T\u0660\u0660:00:00",
            "\ud800",
            "12021-01-01",
        ),
        *cases("Weight", 1002, "5", True, 5.0, [], {}, Decimal("NaN")),
        *cases(
            "Weight",
            1008,
            DECIMAL_MAX + 1,
            Decimal(-DECIMAL_MAX - 1),
            Decimal("1E-29"),
            Decimal("1E+29"),
            Decimal("1E+999999"),
            Decimal("1E-999999"),
            Decimal("0.12345678901234567890123456789"),
        ),
        pytest.param("Count", 10**5000, 1008, id="a count too long to print"),
        pytest.param("Weight", 10**5000, 1008, id="an amount too long to print"),
        pytest.param("Weight", Decimal("1." + "1" * 5000), 1008, id="a very long fraction"),
        ("Kind", "b", 1005),
        ("Code", "abcde", 1003),
        ("Code", "a", 1003),
        *cases("Fee", 1008, Decimal("1.005"), Decimal("-0.01"), Decimal("10.01"), 11),
        ("Fee", "1", 1002),
        *cases("At", 1006, "2026-02-30", "2026-01-02T24:00:00", "2026-01-02 13:30:00", "now"),
        ("ShortRef", "abcd", 1003),
        *cases("Offers", 1003, [], [{"Code": "A"}] * 4),
    ],
)
def test_a_bad_value_is_one_fault(field: str, sent: Any, fault: int) -> None:
    row = read_item(**{field: sent})
    assert [(message.id, message.field) for message in row.messages] == [(fault, field)]
    assert field not in row.values
    assert row.unreadable == {field}


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.integers())
def test_an_amount_is_exact_or_refused(number: Decimal | int) -> None:
    row = read_item(Weight=number)
    if row.is_readable:
        assert Decimal(row.values["Weight"]) == number
    else:
        assert [message.id for message in row.messages] == [1008]


@given(st.text(max_size=80))
def test_a_normal_reference_stays_as_it_is(text: str) -> None:
    normal = normal_reference(text)
    assert normal is None or normal_reference(normal) == normal


# Which names were meant to be others.

FIELDS = ("EmployerRef", "FirstForename", "Surname", "WorkerAddress.Postcode", "Rates.PayRate")


@pytest.mark.parametrize(
    "name",
    [
        *("version", "VERSION", "ver-sion", "versin", "versionn", "bersion", "vesrion", "ersion"),
        *("versiom", "xversion", "evrsion", "versino", "\uff56ersion", " version "),
    ],
)
def test_one_slip(name: str) -> None:
    assert is_one_slip_away(name, "version")


@pytest.mark.parametrize("name", ["", "apiversion", "vers", "vresoin", "verzioon", "v", "noisrev"])
def test_more_than_one_slip(name: str) -> None:
    assert not is_one_slip_away(name, "version")


@pytest.mark.parametrize(
    "name", ["dryRun", "dry_run", "dry", "dryrn", "DRYMODE", "isDryRun", "ddryRun", "$dryRun[]"]
)
def test_misspelt_names_that_mean_a_dry_run_are_recognised(name: str) -> None:
    assert is_like_dry_run(name)


@pytest.mark.parametrize("name", ["run", "trial", "view", "laundryrun2"[:7], "", "d"])
def test_other_names_are_not_mistaken_for_a_dry_run(name: str) -> None:
    assert not is_like_dry_run(name)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Forename1", "FirstForename"),
        ("first forename", "FirstForename"),
        ("Sirname", "Surname"),
        ("Employer Reference", "EmployerRef"),
        ("Postcode", "WorkerAddress.Postcode"),
        ("Address.PostCode", "WorkerAddress.Postcode"),
        ("WorkerAdress.Postcode", "WorkerAddress.Postcode"),
        ("xyz", None),
        ("", None),
    ],
)
def test_the_nearest_known_name(name: str, known: str | None) -> None:
    assert nearest(name, FIELDS) == known


# A row over a cap refuses its call with the row and the cap; one at the cap is taken.


def rows_of(*rows: Any) -> list[int]:
    payload = read_payload(json.dumps(rows).encode(), lambda _row: None, 1_000)
    return [row.index for row in payload.rows]


FINE = {"a": 1}


@pytest.mark.parametrize(
    ("row", "cap"),
    [
        ({"x": [1] * (MAX_VALUES + 1)}, f"{MAX_VALUES} values"),
        ({"x": [[[1, 2]] * (MAX_VALUES // 2 + 1)]}, f"{MAX_VALUES} values"),
        ({f"a{place}": 1 for place in range(MAX_NAMES + 1)}, f"{MAX_NAMES} names"),
        ({"x": {f"a{place}": 1 for place in range(MAX_NAMES + 1)}}, f"{MAX_NAMES} names"),
        ({"n" * (MAX_NAME + 1): 1}, f"{MAX_NAME} characters in a name"),
        ({"x": "y" * MAX_ROW_BYTES}, f"{MAX_ROW_BYTES} bytes"),
    ],
    ids=["values", "nested values", "names", "nested names", "long name", "bytes"],
)
def test_a_row_over_a_cap_refuses_the_call(row: dict[str, Any], cap: str) -> None:
    with pytest.raises(TooLargeError, match=rf"index 1 \(line 1\) .* more than {cap}"):
        rows_of(FINE, row, FINE)


@pytest.mark.parametrize(
    "row",
    [
        {"x": [1] * MAX_VALUES},
        {f"a{place}": 1 for place in range(MAX_NAMES)},
        {"n" * MAX_NAME: 1},
        {"x": "a,b" * MAX_VALUES},
        {"x": '"],{' * MAX_VALUES, "y": [1, 2]},
        {"x": ["a,b"] * (MAX_VALUES - 1)},
    ],
    ids=["values", "names", "long name", "commas in a text", "marks in a text", "texts of commas"],
)
def test_a_row_at_a_cap_is_accepted(row: dict[str, Any]) -> None:
    assert rows_of(FINE, row, FINE, row, FINE) == [0, 1, 2, 3, 4]


def test_many_rows_may_have_more_values_than_one() -> None:
    rows = [{"a": [1] * 300, "b": "c,d"}] * 500
    assert rows_of(*rows) == list(range(500))


@pytest.mark.parametrize("tail", [b"x", b'{"a":1,}', b'{"a":"b', b"{", b'"'])
def test_a_fault_after_many_rows_is_reported_with_its_place(tail: bytes) -> None:
    body = b"[" + b'{"a":[' + b"1," * 5_000 + b"1]},\n"
    body = body[:1] + body[1:] * 9 + tail
    with pytest.raises(InvalidRequestError, match=r"line 10, column \d+"):
        read_payload(body, lambda _row: None, 1_000)


def test_a_document_has_a_cap_on_its_values_too() -> None:
    with pytest.raises(TooLargeError, match="The body has more than 2000000 values"):
        read_document(b'{"employee":[' + b"1," * 2_000_001 + b"1]}")
