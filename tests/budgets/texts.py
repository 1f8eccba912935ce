"""Worst inputs: text and bodies that are small to send and dear to read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

from shared.imports.licenses.xml_reader import INPUT

Text = Callable[[int], str]
Body = Callable[[int], bytes]

KEYS: Mapping[str, str] = {
    "workers": '"EmployerRef":"E1","PersonnelRef":"P%d","Surname":"S"',
    "assignments": '"EmployerRef":"E1","AssignmentRef":"A%d"',
    "licenses": '"companyCode":"C1","employeeNumber":"N%d","licenseNumber":"L1"',
}
"""The members that begin a row of each type, for its index."""
LONG_FIELDS: Mapping[str, str] = {"workers": "Surname", "assignments": "Notes", "licenses": "notes"}
KEY_FIELDS: Mapping[str, str] = {
    "workers": "EmployerRef",
    "assignments": "EmployerRef",
    "licenses": "companyCode",
}

TEXTS: Mapping[str, Text] = {
    "plain": lambda n: "x" * n,
    "combining marks": lambda n: "a" + "\u0301\u0323" * (n // 4),
    "composed marks": lambda n: "\u1e69\u0323" * (n // 5),
    "blanks": lambda n: "x" + " " * n + "x",
    "blanks of Unicode": lambda n: "x" + "\u2003" * (n // 3) + "x",
    "zero-width marks": lambda n: "x" + "\u200b" * (n // 3),
    "percent escapes": lambda n: "%41" * (n // 3),
    "broken percent escapes": lambda n: "%4" * (n // 2),
    "digits": lambda n: "7" * n,
    "commas": lambda n: "a," * (n // 2),
    "semicolons": lambda n: "a;" * (n // 2),
    "equals signs": lambda n: "=" * n,
    "parameters": lambda n: "a/b" + ";q=0.1" * (n // 6),
    "quotes": lambda n: '"' * n,
    "open quotes and backslashes": lambda n: '"' + "\\" * n,
    "list of types": lambda n: "a/b;q=0.1," * (n // 10),
    "dots": lambda n: "a." * (n // 2),
    "slashes": lambda n: "a/" * (n // 2),
    "brackets": lambda n: "[0]" * (n // 3),
    "NUL": lambda n: "\0" * n,
    "letters and one that does not fit": lambda n: "a" * n + "!",
    "at signs": lambda n: "a@" * (n // 2),
}
"""Values of a header, a query, a field: text of about so many bytes."""


def _around(make: Text, before: bytes, after: bytes) -> Body:
    return lambda n: before + make(n).encode() + after


def _json(row: str, n: int) -> bytes:
    """The row as often as it takes; `%d` in it is the index."""
    count = max(1, n // (len(row) + 1))
    rows = (
        (row.replace("%d", str(index)) for index in range(count)) if "%d" in row else [row] * count
    )
    return f"[{','.join(rows)}]".encode()


def _one(start: str, inner: str) -> bytes:
    return f"[{{{start.replace('%d', '1')},{inner}}}]".encode()


def json_bodies(kind: str) -> dict[str, Body]:
    """JSON bodies for rows of a type."""
    start, text, key = KEYS[kind], LONG_FIELDS[kind], KEY_FIELDS[kind]
    many = json_values(start)
    return {
        **many,
        "rows that say nothing": lambda n: _json("{}", n),
        "rows with an unknown name": lambda n: _json('{"a":1}', n),
        "rows of the type": lambda n: _json(f"{{{start}}}", n),
        "rows of one key": lambda n: _json(f"{{{start.replace('%d', '1')}}}", n),
        "long text": lambda n: _one(start, f'"{text}":"{"x" * n}"'),
        "combining marks in a text": lambda n: _one(
            start, f'"{text}":"{TEXTS["combining marks"](n)}"'
        ),
        "combining marks in a key": lambda n: _one(
            '"a":1', f'"{key}":"{TEXTS["combining marks"](n)}"'
        ),
        "rows of keys at the limit in marks": lambda n: _json(
            f'{{"{key}":"{"a" + chr(0x301) * 59}"}}', n
        ),
        "blanks in a key": lambda n: _one('"a":1', f'"{key}":"{" " * n}x"'),
        "escapes": lambda n: _one(
            start, f'"{text}":"{chr(92)}u0301{"".join([chr(92) + "n"] * (n // 2))}"'
        ),
        "quotes in a text": lambda n: _one(start, f'"{text}":"{(chr(92) + chr(34)) * (n // 2)}"'),
        "commas in a text": lambda n: _one(start, f'"{text}":"{"a," * (n // 2)}"'),
        "surrogate pairs": lambda n: _one(
            start, f'"{text}":"{chr(92)}ud83d{chr(92)}ude00{"x" * n}"'
        ),
        "empty objects in lists": lambda n: _json(
            f'{{{start},"Rates":[{",".join(["{}"] * 200)}],"documents":[{",".join(["{}"] * 99)}]}}',
            n,
        ),
        "wrong elements in lists": lambda n: _json(
            f'{{{start},"Rates":[{",".join(["1"] * 1000)}],"documents":[{",".join(["1"] * 99)}]}}',
            n,
        ),
        "lists over their limit": lambda n: _one(
            start, f'"Rates":[{",".join(["{}"] * (n // 3))}],"documents":[]'
        ),
    }


def json_values(start: str) -> dict[str, Body]:
    """JSON bodies of one row whose values are many, deep, long or strange; and no JSON at all."""
    return {
        "many names": lambda n: _one(start, ",".join(f'"a{place}":1' for place in range(n // 10))),
        "names twice": lambda n: _one(start, ",".join(['"aa":1', '"AA":1'] * (n // 14))),
        "one long name": lambda n: _one(start, f'"{"n" * n}":1'),
        "tiny numbers": lambda n: _one(start, f'"x":[{",".join(["1"] * (n // 2))}]'),
        "tiny fractions": lambda n: _one(start, f'"x":[{",".join(["1.5"] * (n // 4))}]'),
        "tiny texts": lambda n: _one(
            start, f'"x":[{",".join(chr(34) + str(i) + chr(34) for i in range(n // 8))}]'
        ),
        "tiny objects": lambda n: _one(start, f'"x":[{",".join(["{}"] * (n // 3))}]'),
        "tiny lists": lambda n: _one(start, f'"x":[{",".join(["[]"] * (n // 3))}]'),
        "objects of one": lambda n: _one(
            start, f'"x":[{",".join([chr(123) + chr(34) + "a" + chr(34) + ":1}"] * (n // 8))}]'
        ),
        "deep lists": lambda n: b"[" * n,
        "deep objects": lambda n: b"[" + b'{"a":' * (n // 5),
        "wide and 32 deep": lambda n: _one(
            start, f'"x":[{",".join(["[" * 28 + "]" * 28] * (n // 57))}]'
        ),
        "huge exponent": lambda n: _one(
            start, ",".join(f'"a{i}":1e999999999' for i in range(n // 18))
        ),
        "huge exponents in fields": lambda n: _one(
            start, f'"Gender":1e999999999,"InvoiceAddressNumber":1e-999999999,"x":"{"x" * n}"'
        ),
        "long integer": lambda n: _one(start, f'"Gender":{"7" * n}'),
        "long fraction": lambda n: _one(start, f'"ComparatorTitle":0.{"7" * n}'),
        "long fraction of an amount": lambda n: _one(start, f'"HolOverrideWeeks":0.{"7" * n}1'),
        "long integer as a decimal": lambda n: _one(start, f'"HolOverrideWeeks":{"7" * n}.0'),
        "blanks between": lambda n: b"[" + b" " * n + b"{}]",
        "line breaks and a fault": lambda n: b"[" + b"\n" * n + b"x",
        "open text": lambda n: b'[{"a":"' + b"x" * n,
        "no UTF-8": lambda n: b'[{"a":"' + b"x" * n + b'\xff"}]',
        "text": lambda n: b"x" * n,
        "commas": lambda n: b"[" + b"," * n,
        "colons": lambda n: b'[{"a"' + b":" * n,
    }


def authdata_bodies() -> dict[str, Body]:
    """Calls of `stage`."""

    def call(records: bytes) -> bytes:
        return b'{"fileLogId":null,"employee":' + records + b"}"

    def records(make: Body) -> Body:
        return lambda n: call(make(n))

    field = '"employeeId":"%d","authValue1":'
    return {
        **{name: records(make) for name, make in json_values('"employeeId":"1"').items()},
        "records that say nothing": lambda n: call(_json("{}", n)),
        "records": lambda n: call(_json(f'{{{field}"v%d"}}', n)),
        "records with letters for a bad pattern": lambda n: call(
            _json(f'{{{field}"{"a" * 190}!"}}', n)
        ),
        "records of marks": lambda n: call(_json(f'{{{field}"a{chr(0x301) * 190}"}}', n)),
        "combining marks": lambda n: call(
            _one('"employeeId":"1"', f'"authValue1":"{TEXTS["combining marks"](n)}"')
        ),
        "fileLogId of dashes": lambda n: f'{{"fileLogId":"{"-" * n}","employee":[]}}'.encode(),
    }


def form_bodies() -> dict[str, Body]:
    """Licenses as a form."""

    def fields(make: Callable[[int], str], each: int) -> Body:
        return lambda n: "&".join(make(i) for i in range(n // each)).encode()

    return {
        "rows": fields(lambda i: f"[{i}].companyCode=C1", 22),
        "unknown names": fields(lambda i: f"[0].a{i}=1", 12),
        "one field often": fields(lambda i: "[0].a=1", 8),
        "deep names": fields(lambda i: "[0]" + ".a" * 30 + f".b{i}=1", 75),
        "deeper than allowed": lambda n: b"[0]" + b".a" * (n // 2) + b"=1",
        "deep brackets": fields(lambda i: "[0]" + "[x]" * 30 + f"[b{i}]=1", 110),
        "indexes with gaps": fields(lambda i: f"[{i * 1000}].a=1", 16),
        "a huge index": lambda n: b"[" + b"9" * n + b"].a=1",
        "percent escapes": lambda n: b"[0].notes=" + b"%41" * (n // 3),
        "broken percent escapes": lambda n: b"[0].notes=" + b"%4" * (n // 2),
        "line breaks behind percent": lambda n: b"[0].notes=" + b"%\n" * (n // 2),
        "plus signs": lambda n: b"[0].notes=" + b"+" * n,
        "equals signs": lambda n: b"[0].notes=" + b"=" * n,
        "ampersands": lambda n: b"&" * n,
        "open brackets": lambda n: b"[" * n,
        "combining marks": lambda n: f"[0].companyCode=a{chr(0x301) * (n // 2)}".encode(),
        "many documents": fields(lambda i: f"[0].documents[{i}].name=a", 28),
    }


def xml_bodies() -> dict[str, Body]:
    """Licenses as DataContract XML."""
    head = f'<ArrayOfEmployeeLicenseImportDTO xmlns="{INPUT}"'.encode()
    row, end = b"<EmployeeLicenseImportDTO>", b"</EmployeeLicenseImportDTO>"
    close = b"</ArrayOfEmployeeLicenseImportDTO>"
    code = b"<CompanyCode>C1</CompanyCode>"

    def one(inner: bytes, more: bytes = b"") -> bytes:
        return head + more + b">" + row + code + inner + end + close

    def rows(inner: bytes) -> Body:
        each = row + code + inner + end
        return lambda n: head + b">" + each * max(1, n // len(each)) + close

    def long_namespace(n: int) -> bytes:
        inner = b"".join(b"<p:a%d/>" % place for place in range(n // 20))
        return one(inner, b' xmlns:p="' + b"u" * (n // 2) + b'"')

    def many_namespaces(n: int) -> bytes:
        inner = b"".join(
            b'<p:a xmlns:p="%s%d"/>' % (b"u" * 100, place) for place in range(n // 125)
        )
        return one(inner)

    unknown = b"".join(b"<A%d/>" % place for place in range(9_000))
    return {
        "rows": rows(b""),
        "rows that say nothing": lambda n: head + b">" + (row + end) * (n // 55) + close,
        "rows of 9,000 unknown elements": rows(unknown),
        "a long namespace": long_namespace,
        "long namespaces at each element": many_namespaces,
        "a long namespace on one element": lambda n: one(b'<a xmlns="' + b"u" * n + b'"/>'),
        "a long name": lambda n: one(b"<" + b"a" * n + b"/>"),
        "many elements": lambda n: one(b"<A/>" * (n // 4)),
        "many elements of names": lambda n: one(
            b"".join(b"<A%d/>" % place for place in range(n // 9))
        ),
        "deep elements": lambda n: one(b"<A>" * (n // 3)),
        "many attributes": lambda n: one(
            b"<A " + b" ".join(b'a%d="1"' % place for place in range(n // 10)) + b"/>"
        ),
        "a long attribute": lambda n: one(b'<A a="' + b"x" * n + b'"/>'),
        "attributes at the root": lambda n: one(b"", b' a="' + b"x" * n + b'"'),
        "comments": lambda n: b"<!---->" * (n // 7) + one(b""),
        "comments in a row": lambda n: one(b"<!---->" * (n // 7)),
        "instructions": lambda n: one(b"<?a?>" * (n // 5)),
        "text between": lambda n: one(b"x" * n),
        "a long text": lambda n: one(b"<Notes>" + b"x" * n + b"</Notes>"),
        "character references": lambda n: one(b"<Notes>" + b"&#65;" * (n // 5) + b"</Notes>"),
        "CDATA": lambda n: one(b"<Notes>" + b"<![CDATA[x]]>" * (n // 13) + b"</Notes>"),
        "an entity": lambda n: b'<!DOCTYPE a [<!ENTITY a "' + b"x" * n + b'">]>' + one(b"&a;"),
        "open tags": lambda n: head + b">" + b"<" * n,
        "ampersands": lambda n: one(b"&" * n),
        "blanks before": lambda n: b" " * n + one(b""),
        "many documents": rows(
            b"<Documents>" + b"<DivisionDocumentSubImportDTO/>" * 99 + b"</Documents>"
        ),
        "combining marks": lambda n: (
            head
            + b">"
            + row
            + b"<CompanyCode>a"
            + "\u0301".encode() * (n // 2)
            + b"</CompanyCode>"
            + end
            + close
        ),
    }


def license_document_bodies() -> dict[str, Body]:
    """Rows of licenses with base64 in all its shapes."""

    def of(content: Callable[[int], str]) -> Body:
        return lambda n: json.dumps(
            [
                {
                    "companyCode": "C1",
                    "employeeNumber": "1",
                    "documents": [{"content": content(n), "name": "a.pdf"}],
                }
            ]
        ).encode()

    return {
        "bytes": of(lambda n: base64.b64encode(b"x" * (n * 3 // 4)).decode()),
        "blanks": of(lambda n: "QUJD" + " " * n),
        "blanks between": of(lambda n: "Q " * (n // 2)),
        "line breaks": of(lambda n: "QUJD\r\n" * (n // 6)),
        "padding": of(lambda n: "QQ" + "=" * n),
        "padding between": of(lambda n: "QQ==" * (n // 4)),
        "no alphabet": of(lambda n: "*" * n),
        "empty documents": lambda n: _json(
            '{"companyCode":"C1","employeeNumber":"%d","documents":['
            + ",".join(['{"content":""}'] * 99)
            + "]}",
            n,
        ),
        "documents of one name": lambda n: _json(
            '{"companyCode":"C1","employeeNumber":"%d","documents":['
            + ",".join(['{"content":"QUJD","name":"a"}'] * 99)
            + "]}",
            n,
        ),
    }


_ENCODED = b'; filename="a.pdf"\r\nContent-Transfer-Encoding: %s'


def multipart_bodies(boundary: str) -> dict[str, Body]:
    """Forms of a document."""
    line = f"--{boundary}\r\n".encode()
    end = f"--{boundary}--\r\n".encode()

    def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
        return (
            line
            + b'Content-Disposition: form-data; name="'
            + name
            + b'"'
            + more
            + b"\r\n\r\n"
            + value
            + b"\r\n"
        )

    file = part(b"file", b"%PDF-1.4", b'; filename="a.pdf"')
    worker = b"workerexternalId"
    return {
        **{
            f"a field of {name}": _around(make, part(worker, b"")[:-2], b"\r\n" + file + end)
            for name, make in TEXTS.items()
        },
        "a round of combining marks": lambda n: (
            part(worker, b"1")
            + part(b"communicationRoundCode", TEXTS["combining marks"](n).encode())
            + file
            + end
        ),
        "a time of combining marks": lambda n: (
            part(worker, b"1")
            + part(b"communicationRoundCode", b"R")
            + part(b"generationTime", TEXTS["combining marks"](n).encode())
            + file
            + end
        ),
        "a summary flag of marks": lambda n: (
            part(worker, b"1")
            + part(b"isSummary", TEXTS["combining marks"](n).encode())
            + file
            + end
        ),
        "a file name of marks": lambda n: (
            part(b"file", b"x", b'; filename="' + TEXTS["combining marks"](n).encode() + b'"') + end
        ),
        "a file name of parts": lambda n: (
            part(b"file", b"x", b"".join(b"; filename*%d=a" % place for place in range(n // 14)))
            + end
        ),
        "base64 with blanks": lambda n: (
            part(b"file", b"Q \r\n" * (n // 4), _ENCODED % b"base64") + end
        ),
        "quoted-printable blanks": lambda n: (
            part(b"file", b"=" + b" " * n + b"x", _ENCODED % b"quoted-printable") + end
        ),
        "quoted-printable blanks at line ends": lambda n: (
            part(b"file", (b"a" + b" " * 50 + b"=\r\n") * (n // 54), _ENCODED % b"quoted-printable")
            + end
        ),
        "quoted-printable escapes": lambda n: (
            part(b"file", b"=41" * (n // 3), _ENCODED % b"quoted-printable") + end
        ),
        "quoted-printable breaks": lambda n: (
            part(b"file", b"=\n" * (n // 2), _ENCODED % b"quoted-printable") + end
        ),
        "many parts": lambda n: part(b"a", b"") * (n // 60) + end,
        "many headers": lambda n: (
            line + b"".join(b"a%d: b\r\n" % place for place in range(n // 9)) + b"\r\n" + end
        ),
        "one long header": lambda n: line + b"a: " + b"x" * n + b"\r\n\r\n" + end,
        "a long name of a field": lambda n: part(b"n" * n, b"") + end,
        "dashes": lambda n: part(b"file", b"\r\n--" * (n // 4), b'; filename="a.pdf"') + end,
        "almost boundaries": lambda n: (
            part(
                b"file",
                (b"\r\n--" + boundary.encode()[:-1]) * (n // (len(boundary) + 3)),
                b'; filename="a.pdf"',
            )
            + end
        ),
        "line breaks": lambda n: part(b"file", b"\r\n" * (n // 2), b'; filename="a.pdf"') + end,
        "a file": lambda n: part(b"file", b"x" * n, b'; filename="a.pdf"') + end,
        "no end": lambda n: part(b"file", b"x" * n, b'; filename="a.pdf"'),
        "no boundary": lambda n: b"x" * n,
    }


def csv_texts() -> dict[str, Text]:
    """Files for `manage.py import`."""
    return {
        "rows": lambda n: "EmployerRef,PersonnelRef\n" + "E1,P1\n" * (n // 6),
        "many columns": lambda n: ",".join(f"a{place}" for place in range(n // 8)) + "\n1\n",
        "columns of one name": lambda n: ",".join(["a"] * (n // 2)) + "\n1\n",
        "columns without a name": lambda n: "," * n + "\n1\n",
        "many columns and rows": lambda n: (
            ",".join(f"a{place}" for place in range(n // 16)) + "\n" + "1\n" * (n // 4)
        ),
        "known columns": lambda n: (
            ",".join(f"Rates[{place}].RateCode" for place in range(n // 22)) + "\n1\n"
        ),
        "blank lines": lambda n: "a\n" + "\n" * n,
        "blank cells": lambda n: "a,b\n" + ",\n" * (n // 2),
        "open quote": lambda n: 'a\n"' + "x\n" * (n // 2),
        "quotes": lambda n: 'a\n"' + '""' * (n // 2) + '"\n',
        "one long line": lambda n: "x" * n,
        "a deep column": lambda n: "a" + ".a" * (n // 2) + "\n1\n",
        "a column of places": lambda n: "a" + "[0]" * (n // 3) + "\n1\n",
        "digits": lambda n: "Gender\n" + "7" * n + "\n",
        "more fields": lambda n: (
            "_index,_error,EmployerRef,_more\n"
            + '0,,E1,"'
            + json.dumps({f"a{place}": "1" for place in range(n // 14)}).replace('"', '""')
            + '"\n'
        ),
        "more fields in rows": lambda n: (
            "_index,_error,EmployerRef,_more\n" + '0,,E1,"{""a"":""1""}"\n' * (n // 24)
        ),
        "combining marks": lambda n: f"a{chr(0x301) * (n // 2)}\n1\n",
    }


def ndjson_texts() -> dict[str, Text]:
    """Files of a row per line."""
    return {
        "rows": lambda n: "{}\n" * (n // 3),
        "blank lines": lambda n: "\n" * n,
        "a blank start and rows": lambda n: "\n" * (n // 2) + "{}\n" * (n // 6),
        "carriage returns": lambda n: "{}\r\n" * (n // 4),
        "one long row": lambda n: f'{{"a":"{"x" * n}"}}',
        "failed rows": lambda n: '{"index":1,"row":{"a":1},"messages":[]}\n' * (n // 40),
        "a failed row of many names": lambda n: (
            '{"index":1,"row":{' + ",".join(f'"a{place}":1' for place in range(n // 10)) + "}}"
        ),
    }


def correction_bodies() -> dict[str, Body]:
    """Bodies of a retry."""
    return {
        **json_values('"index":1,"row":{"a":1}'),
        "rows": lambda n: _json('{"index":%d,"row":{"a":1}}', n),
        "rows of one index": lambda n: _json('{"index":1,"row":{}}', n),
        "an index of digits": lambda n: _one('"row":{}', f'"index":{"7" * n}'),
        "names before the row": lambda n: _one(
            ",".join(f'"a{place}":[]' for place in range(n // 10)), '"index":1,"row":{}'
        ),
    }


def lists_of_values() -> dict[str, Text]:
    """Files for `manage.py reference load`."""
    return {
        "values": lambda n: "".join(f"V{place}\n" for place in range(n // 8)),
        "blank lines": lambda n: "\n" * n,
        **TEXTS,
    }


def token_bodies() -> dict[str, Body]:
    """Forms for `/connect/token`."""
    return {
        **{
            f"a client id of {name}": _around(make, b"client_id=", b"")
            for name, make in TEXTS.items()
        },
        "many fields": lambda n: b"a=1&" * (n // 4),
        "ampersands": lambda n: b"&" * n,
        "scopes": lambda n: (
            b"grant_type=client_credentials&client_id=a&client_secret=b&scope=" + b"a+" * (n // 2)
        ),
    }
