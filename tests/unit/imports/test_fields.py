"""The field types: what they take, what they keep, and what they call a fault."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imports.model import normal_reference
from tests.unit.imports.builders import read_item


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
