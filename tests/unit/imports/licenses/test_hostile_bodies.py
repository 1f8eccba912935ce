"""Hostile bodies are refused within a second and in bounded memory (docs/contracts.md#2)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from shared.errors import InvalidRequestError
from shared.imports.licenses.form_reader import read_license_form
from shared.imports.licenses.xml_reader import read_license_xml
from tests.unit.imports.licenses.license_bodies import CLOSING, OPENING, body_of

resource = pytest.importorskip("resource")

SECONDS = 1.0
MEMORY = 150 * 1024
"""KiB that reading may add to the most that the process ever had."""
TEN_MILLION = 10_000_000

DEFINITIONS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
LAUGHS = b'<!DOCTYPE a [<!ENTITY l0 "lol">' + DEFINITIONS + b"]>"


def attributes(count: int, value: bytes = b"") -> bytes:
    return b" ".join(b'a%d="%s"' % (number, value) for number in range(count))


XML: dict[str, Callable[[], bytes]] = {
    "billion laughs": lambda: LAUGHS + body_of(b"<Notes>&l9;</Notes>"),
    "billion laughs in an attribute": lambda: LAUGHS + body_of(b'<Notes a="&l9;"/>'),
    "quadratic blow-up": lambda: (
        b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 100_000 + b'">]>' + body_of(b"&b;" * 100_000)
    ),
    "external entity": lambda: (
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + body_of(b"<Notes>&b;</Notes>")
    ),
    "external DTD": lambda: b'<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd">' + body_of(b""),
    "parameter entity": lambda: b'<!DOCTYPE a [<!ENTITY % b "c"> %b;]>' + body_of(b""),
    "doctype behind comments": lambda: b"<?a?><!--<a>-->\n" * 99 + b"<!DOCTYPE a>" + body_of(b""),
    "doctype in UTF-16": lambda: ("\ufeff<!DOCTYPE a>" + body_of(b"").decode()).encode("utf-16-le"),
    "doctype inside": lambda: body_of(b"<!DOCTYPE a>"),
    "depth 100,000": lambda: body_of(b"<a>" * 100_000 + b"</a>" * 100_000),
    "depth 100,000 beside the rows": lambda: OPENING + b"<a>" * 100_000,
    "200,000 attributes": lambda: body_of(b"<Notes " + attributes(200_000) + b"/>"),
    "200,000 attributes of the root": lambda: (
        OPENING[:-1] + b" " + attributes(200_000) + b">" + CLOSING
    ),
    "attributes with brackets": lambda: body_of(b"<Notes " + attributes(200_000, b">") + b"/>"),
    "a million namespaces": lambda: body_of(
        b"<Notes " + b" ".join(b'xmlns:a%d="b"' % number for number in range(500_000)) + b"/>"
    ),
    "a row of millions of elements": lambda: body_of(b"<a/>" * 2_000_000),
    "millions of elements beside the rows": lambda: OPENING + b"<a/>" * 2_000_000 + CLOSING,
    "millions of comments": lambda: b"<!---->" * 1_000_000 + body_of(b""),
    "millions of comments in a row": lambda: body_of(b"<!---->" * 1_000_000),
    "millions of CDATA": lambda: body_of(b"<Notes>" + b"<![CDATA[]]>" * 1_000_000 + b"</Notes>"),
    "only brackets": lambda: body_of(b"<" * TEN_MILLION),
    "an endless tag": lambda: body_of(b"<Notes " + b"a " * (TEN_MILLION // 2)),
    "an endless name": lambda: body_of(b"<" + b"a" * TEN_MILLION),
    "an endless attribute": lambda: body_of(b'<Notes a="' + b">" * TEN_MILLION),
    "an endless comment": lambda: body_of(b"<!--" + b"-a" * (TEN_MILLION // 2)),
    "an endless instruction": lambda: b"<?" + b"a" * TEN_MILLION,
    "text beside the rows": lambda: OPENING + b"a" * TEN_MILLION + CLOSING,
    "blanks": lambda: b" " * TEN_MILLION,
    "zeros": lambda: b"\0" * TEN_MILLION,
}
FORMS: dict[str, Callable[[], bytes]] = {
    "50,000 fields of a row": lambda: b"&".join(b"[0].f%d=x" % n for n in range(50_000)),
    "50,000 rows": lambda: b"&".join(b"[%d].companyCode=x" % n for n in range(50_000)),
    "index 2,000,000,000": lambda: b"[2000000000].companyCode=x",
    "index 2,000,000,000 of a document": lambda: b"[0].documents[2000000000].name=x",
    "an endless index": lambda: b"[" + b"9" * TEN_MILLION + b"].companyCode=x",
    "depth 100,000": lambda: b"[0]" + b"[a]" * 100_000 + b"=x",
    "depth 100,000 of lists": lambda: b"[0].documents" + b"[0]" * 100_000 + b"=x",
    "an endless name": lambda: b"[0]." + b"a" * TEN_MILLION + b"=x",
    "a broken escape behind millions": lambda: b"[0].notes=" + b"%41a" * 2_000_000 + b"%4",
    "millions of fields": lambda: b"&" * TEN_MILLION,
}


def refuse(read: Callable[[bytes], object], body: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(InvalidRequestError) as caught:
        read(body)
    assert time.process_time() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", XML)
def test_hostile_xml_is_refused_at_once(name: str) -> None:
    refuse(lambda body: list(read_license_xml(body, 100_000)), XML[name]())


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_is_refused_at_once(name: str) -> None:
    refuse(lambda body: read_license_form(body, 100_000), FORMS[name]())
