"""A form becomes the rows that JSON would have brought (docs/contracts.md#2)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, TooLargeError, UnsupportedPayloadError
from shared.imports.licenses.form_reader import (
    MAX_FIELDS,
    MAX_NAME,
    percent_decoded,
    read_license_form,
)
from tests.unit.imports.licenses.license_bodies import a_license, license_form, sample_rows


def rows_of(body: bytes) -> list[dict[str, Any]]:
    return read_license_form(body, 100_000)


@pytest.mark.parametrize("in_brackets", [False, True])
def test_the_vendors_sample_as_a_form_is_the_same_rows(in_brackets: bool) -> None:
    assert rows_of(license_form(sample_rows(), in_brackets=in_brackets)) == sample_rows()


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"[0].companyCode=C1", [{"companyCode": "C1"}]),
        (b"&[0].COMPANYCODE=C1&&", [{"companyCode": "C1"}]),
        (b"%5B0%5D%5Bcompanycode%5D=C1", [{"companyCode": "C1"}]),
        (b"[0][Reminder].Offset=+5+", [{"reminder": {"offset": 5}}]),
        (b"[0].reminder.isShowingOnESS=True", [{"reminder": {"isShowingOnESS": True}}]),
        (b"[0].employeePersonalId=x", [{"employeePersonalId": "x"}]),
        (b"[0].employeePersonalId=", [{"employeePersonalId": ""}]),
        (b"[0].notes", [{"notes": ""}]),
        (b"[0].notes=a+b%2Bc=d%3D", [{"notes": "a b+c=d="}]),
        (b"[0].notes=%c3%9c\xc3\x9c", [{"notes": "\u00dc\u00dc"}]),
        (b"[1].notes=b&[0].notes=a", [{"notes": "a"}, {"notes": "b"}]),
        (
            b"[0].documents[1].name=b&[0][documents][0][NAME]=a",
            [{"documents": [{"name": "a"}, {"name": "b"}]}],
        ),
        (b"[0].documents=", [{"documents": ""}]),
        (b"[0].documents[0]=a", [{"documents": ["a"]}]),
        (b"[0].reminder[0]=a", [{"reminder": ["a"]}]),
        (b"[0].Colour.Red[0]=5", [{"Colour": {"Red": ["5"]}}]),
    ],
)
def test_a_name_is_the_way_to_its_property(body: bytes, rows: list[dict[str, Any]]) -> None:
    assert rows_of(body) == rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"companyCode=C1",
        b"=a",
        b"a",
        b"0.companyCode=a",
        b"[a].companyCode=a",
        b"[-1].companyCode=a",
        "[\u0660].companyCode=a".encode(),
        b"[0]companyCode=a",
        b"[0].=a",
        b"[0]..a=a",
        b"[0][=a",
        b"[0][]=a",
        b"[0].documents[]=a",
        b"[0]].a=a",
        b"[0].notes=a&[0].notes=a",
        b"[0].notes=a&[0].NOTES=a",
        b"[0].notes=a&[00].notes=a",
        b"[0].notes=a&[0].notes.b=c",
        b"[0].notes.b=c&[0].notes=a",
        b"[0].documents[0].name=a&[0].documents.name=b",
        b"[1].notes=a",
        b"[0].notes=a&[2].notes=a",
        b"[0].documents[1].name=a",
        b"[2000000000].notes=a",
        b"[99999999999].notes=a",
        b"[0].documents[2000000000].name=a",
        b"[0].notes=%",
        b"[0].notes=%4",
        b"[0].notes=%zz",
        b"[0].notes=%%41",
        b"[0].notes=%\n41",
        b"[0].notes=%ff",
        b"[0].%ff=a",
        b"[0].notes=\xff",
        b"[0].notes=%ed%a0%80",
        b"[0]" + b"[a]" * 32 + b"=a",
        b"[0]." + b"a" * MAX_NAME + b"=a",
    ],
)
def test_what_is_no_form_of_licenses_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        rows_of(body)
    assert "zz" not in caught.value.message


def test_a_row_that_is_a_text_is_no_object() -> None:
    with pytest.raises(UnsupportedPayloadError):
        rows_of(b"[0]=a")


def test_too_many_rows_are_refused_with_the_limit() -> None:
    body = license_form([a_license()] * 5)
    assert len(read_license_form(body, 5)) == 5
    with pytest.raises(TooLargeError, match="5 rows and the limit is 4"):
        read_license_form(body, 4)


def test_a_form_has_forty_thousand_fields_at_most() -> None:
    fields = [b"[%d].companyCode=C1" % index for index in range(MAX_FIELDS + 1)]
    assert len(rows_of(b"&".join(fields[:-1]))) == MAX_FIELDS
    with pytest.raises(InvalidRequestError, match="40000 fields"):
        rows_of(b"&".join(fields))


@given(st.binary() | st.text("%4fF+=\r\n_ ?.", max_size=10).map(str.encode))
def test_percent_decoding_is_that_of_the_standard_library(data: bytes) -> None:
    if re.search(rb"%(?![0-9A-Fa-f]{2})", data):
        with pytest.raises(ValueError, match=r"^$"):
            percent_decoded(data)
    else:
        assert percent_decoded(data) == unquote_to_bytes(data.replace(b"+", b" "))
