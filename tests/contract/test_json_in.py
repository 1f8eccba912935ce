"""JSON as callers send it: what is accepted, what is refused, and all faults of a row."""

from __future__ import annotations

import asyncio
import codecs
import json
from typing import Any

import pytest

from shared.imports.import_type import OnExisting, ReferenceKind
from tests.builders import a_worker, body_of
from tests.contract import calls
from tests.contract.calls import MAX_ROWS, check_refusal
from tests.contract.test_pay_and_bill import an_assignment
from tests.documents import Form
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e


# JSON as callers send it: what is taken, what is refused, and with which words.

SECRET = "Geheimrat"
GOOD = body_of([a_worker("P1")])


def _nested(levels: int) -> bytes:
    """A body nested so many levels deep, the array of rows and the row included."""
    return (
        body_of([a_worker("P1")])[:-2]
        + b', "Deep": '
        + b"[" * (levels - 2)
        + b"]" * (levels - 2)
        + b"}]"
    )


BROKEN = {
    "no end": (f'[{{"Surname": "{SECRET}"', "(line 1, column "),
    "a word": (f'[{{"Surname": {SECRET}}}]', "(line 1, column 14)"),
    "second line": (f'[\n {{"Surname": "{SECRET}"}} x]', "(line 2, column 27)"),
    "behind the end": (f'[] "{SECRET}"', "(line 1, column 4)"),
    "comma at the end": (f'[{{"Surname": "{SECRET}"}},]', "(line 1, column "),
    "line break in text": (f'[{{"Surname": "{SECRET}\n"}}]', "(line 1, column "),
    "duplicate name": (f'[{{"Surname": "{SECRET}", "Surname": "x"}}]', "twice"),
    "duplicate but for case": (f'[{{"Surname": "{SECRET}", "surname": "x"}}]', "twice"),
    "duplicate within": (f'[{{"WorkerAddress": {{"a": "{SECRET}", "A": ""}}}}]', "twice"),
    "NaN": (f'[{{"Surname": "{SECRET}", "Gender": NaN}}]', "NaN"),
    "Infinity": (f'[{{"Surname": "{SECRET}", "Gender": -Infinity}}]', "Infinity"),
    "half a surrogate pair": (f'[{{"Surname": "{SECRET}\\ud800"}}]', "surrogate"),
    "a BOM alone": ("\ufeff", "line 1"),
    "blanks alone": ("  \n", "line"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_syntax_error_is_reported_with_its_place_and_never_quoted(
    gateway: GatewayProcess, sender: Sender, name: str
) -> None:
    body, wording = BROKEN[name]
    message = check_refusal(gateway.post(sender, body.encode()), 400, wording)
    assert SECRET not in message


def test_33_levels_are_refused_and_32_are_not(gateway: GatewayProcess, sender: Sender) -> None:
    check_refusal(gateway.post(sender, _nested(33)), 400, "32")
    check_refusal(gateway.post(sender, _nested(20_000)), 400, "32")
    assert gateway.post(sender, _nested(32)).status == 200


def test_a_body_that_is_not_utf8_is_refused(gateway: GatewayProcess, sender: Sender) -> None:
    check_refusal(
        gateway.post(sender, '[{"Surname": "Bär"}]'.encode("latin-1")), 400, "convert it to UTF-8"
    )


def test_an_empty_body_is_refused(gateway: GatewayProcess, sender: Sender) -> None:
    check_refusal(gateway.post(sender, b""), 400, "empty")


def test_a_chunked_body_arrives_empty_and_is_refused(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = gateway.call("POST", WORKERS, iter([GOOD]), sender.headers)
    check_refusal(answer, 400, "Content-Length")


@pytest.mark.parametrize("body", ["{}", "7", '"text"', "null", "[7]", "[[]]", "[null]"])
def test_anything_but_an_array_of_objects_is_501(
    gateway: GatewayProcess, sender: Sender, body: str
) -> None:
    check_refusal(gateway.post(sender, body.encode()), 501, "Payload data not supported")


def test_one_element_that_is_no_object_refuses_them_all(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("P1"), "row", a_worker("P2")]
    check_refusal(gateway.post(sender, rows), 501)
    assert gateway.get("/api/imports", sender).json["items"] == []


def test_an_empty_array_is_answered_without_an_import(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = gateway.post(sender, b" [ ] ")
    assert (answer.status, answer.json) == (200, {"results": []})
    assert "x-import-id" not in answer.headers
    assert gateway.get("/api/imports", sender).json["items"] == []


def test_as_many_rows_as_the_limit_are_imported(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [a_worker(f"P{number}") for number in range(MAX_ROWS)]
    assert len(gateway.post(sender, rows).results) == MAX_ROWS


def test_a_byte_order_mark_is_tolerated(gateway: GatewayProcess, sender: Sender) -> None:
    assert gateway.post(sender, codecs.BOM_UTF8 + GOOD).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "APPLICATION/JSON; charset=UTF-8",
        "a/b+json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data",
        "nonsense; ;=",
    ],
)
@pytest.mark.parametrize("path", [WORKERS, "/api/import/assignments"])
def test_a_body_is_judged_by_its_bytes_whatever_its_content_type(
    gateway: GatewayProcess, sender: Sender, content_type: str, path: str
) -> None:
    headers = {**sender.headers, **({"Content-Type": content_type} if content_type else {})}
    assert gateway.call("POST", path, GOOD, headers).status == 200
    check_refusal(gateway.call("POST", path, b"a=b", headers), 400, "not valid JSON")


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf-16", "utf-16"),
        ("utf-16", "utf-16-le"),
        ("", "utf-16-be"),
        ("utf-8", "utf-8-sig"),
        ("ISO-8859-1", "latin-1"),
    ],
)
def test_a_body_is_read_in_its_charset(
    gateway: GatewayProcess, sender: Sender, charset: str, codec: str
) -> None:
    body = body_of([a_worker("P1", Surname="B\u00e4r")]).decode().encode(codec)
    content_type = f"application/json; charset={charset}" if charset else "application/json"
    answer = gateway.post(sender, body, **{"Content-Type": content_type, "Idempotency-Key": "k"})
    assert [result["importStatus"] for result in answer.results] == ["OK"]
    rerun = gateway.post(sender, body_of([a_worker("P1", Surname="B\u00e4r")]))
    assert [message["errorID"] for message in rerun.results[0]["messages"]] == [1103]


def test_a_charset_that_is_not_known_is_refused(gateway: GatewayProcess, sender: Sender) -> None:
    content_type = "application/json; charset=klingon"
    check_refusal(gateway.post(sender, GOOD, **{"Content-Type": content_type}), 400, "send UTF-8")


def test_the_same_bytes_in_another_charset_are_another_call(
    gateway: GatewayProcess, sender: Sender
) -> None:
    body = body_of([a_worker("P1", Surname="B\u00e4r")])
    key = {"Idempotency-Key": "k"}
    first = gateway.post(sender, body, **{"Content-Type": "application/json"}, **key)
    assert first.status == 200
    again = gateway.post(sender, body, **{"Content-Type": "application/json; charset=UTF8"}, **key)
    assert (again.status, again.import_id) == (200, first.import_id)
    content_type = "application/json; charset=latin1"
    check_refusal(gateway.post(sender, body, **{"Content-Type": content_type}, **key), 422)


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "*; q=.2",
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "text/html",
        "application/xml",
        "application/json;q=0",
    ],
)
def test_the_answer_is_json_whatever_is_accepted(
    gateway: GatewayProcess, sender: Sender, accept: str
) -> None:
    answer = gateway.post(sender, GOOD, Accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    ("encoding", "status"),
    [("identity", 200), ("gzip", 400), ("br", 415), ("gzip, gzip", 415), ("GZIP, identity", 400)],
)
def test_only_identity_and_gzip_are_content_encodings(
    gateway: GatewayProcess, sender: Sender, encoding: str, status: int
) -> None:
    assert gateway.post(sender, GOOD, **{"Content-Encoding": encoding}).status == status


def test_names_match_in_any_case_and_messages_use_the_contracts_spelling(
    gateway: GatewayProcess, sender: Sender
) -> None:
    row = {"employerref": "E1", "PERSONNELREF": "P1", "surName": "x", "genDER": "no number"}
    [result] = gateway.post(sender, [row]).results
    assert [part["field"] for part in result["recordIds"]] == ["EmployerRef", "PersonnelRef"]
    assert [message["fieldName"] for message in result["messages"]] == ["Gender"]


def test_case_and_leading_zeros_of_references_are_kept_and_distinguish_records(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(name) for name in ("007", "7", "ab", "AB")]
    answer = gateway.post(sender, rows)
    values = [result["recordIds"][1]["value"] for result in answer.results]
    assert values == ["007", "7", "ab", "AB"]
    shown = gateway.get(f"/api/imports/{answer.import_id}", sender).json
    assert shown["rows"]["new"] == 4


def test_an_unknown_property_is_info_1007_and_the_row_is_imported(
    gateway: GatewayProcess, sender: Sender
) -> None:
    [result] = gateway.post(sender, [a_worker("P1", Shoesize="44")]).results
    assert result["importStatus"] == "OK"
    assert (result["errorCount"], result["warningCount"], result["infoCount"]) == (0, 0, 1)
    [message] = result["messages"]
    assert (message["messageType"], message["errorID"]) == ("Info", 1007)
    assert message["fieldName"] == "Shoesize"
    assert "44" not in json.dumps(message)


def test_a_reference_that_looks_like_another_is_warned_of_and_its_ends_are_trimmed(
    gateway: GatewayProcess, sender: Sender
) -> None:
    refs = ["A1", "A\u200b1", "\ufeffA1\u00a0", "A1\u0000", '="007"', "1.23E+12", "'008"]
    rows = [a_worker(ref, EmployerRef="\ufeffK" if ref == "A1" else "K") for ref in refs]
    results = gateway.post(sender, rows).results
    assert [each["importStatus"] for each in results] == ["OK", "Warning", "OK", *["Warning"] * 4]
    shown = [
        (message["errorID"], message["fieldName"], message["fieldValue"])
        for each in results
        for message in each["messages"]
        if message["messageType"] == "Warning"
    ]
    odd = [r"A\u200b1", r"A1\u0000", '="007"', "1.23E+12", "'008"]
    assert shown == [(2003, "PersonnelRef", value) for value in odd]
    assert [each["recordIds"][1]["value"] for each in results][:3] == ["A1", "A\u200b1", "A1"]


def test_without_a_version_the_lowest_is_meant_and_a_key_is_bound_to_the_query(
    gateway: GatewayProcess, sender: Sender
) -> None:
    headers = {**sender.headers, "Idempotency-Key": "k"}
    first = gateway.call("POST", "/api/import/workers", GOOD, headers)
    assert first.status == 200
    again = gateway.call("POST", "/api/import/workers?", GOOD, headers)
    assert (again.status, again.import_id) == (200, first.import_id)
    check_refusal(gateway.call("POST", "/api/import/workers?version=1", GOOD, headers), 422)
    unknown = gateway.call("POST", "/api/import/workers?Version=2", GOOD, headers)
    check_refusal(unknown, 501, "workers has version 1")
    check_refusal(gateway.call("GET", "/api/import/workers.v2.schema"), 404, "workers.v1.schema")


# Over HTTP: one call names all faults of a row, for each import type.

ASSIGNMENTS = "/api/import/assignments?version=1"


def post(gateway: GatewayProcess, sender: Sender, path: str, rows: list[Any]) -> Answer:
    headers = {"Content-Type": "application/json", **sender.headers}
    return gateway.call("POST", path, body_of(rows), headers)


def errors_of(row: dict[str, Any]) -> list[tuple[int, str]]:
    errors = [each for each in row["messages"] if each["messageType"] == "Error"]
    assert row["errorCount"] == len(errors)
    return sorted((each["errorID"], each.get("fieldName", "")) for each in errors)


def load_list(storage: str, sender: Sender, kind: ReferenceKind, *values: str) -> None:
    async def load() -> None:
        async with open_ready_gateway(settings_for(storage)) as opened:
            await opened.lists.load(sender.tenant, kind, values)

    asyncio.run(load())


@pytest.mark.parametrize("dry_run", ["", "&dryRun=true"])
def test_missing_and_unreadable_fields_of_a_worker_are_reported_together(
    gateway: GatewayProcess, storage: str, sender: Sender, dry_run: str
) -> None:
    load_list(storage, sender, ReferenceKind.DIVISION, "D1")
    rows: list[Any] = [
        {"EmployerRef": "E1", "PersonnelRef": "008", "Gender": "male", "DivisionRef": "D9"},
        {"EmployerRef": "E1", "Gender": "male", "DivisionRef": "D9"},
        a_worker("009"),
    ]
    results = post(gateway, sender, WORKERS + dry_run, rows).results
    assert [errors_of(row) for row in results] == [
        [(1001, "Surname"), (1002, "Gender"), (2001, "DivisionRef")],
        [(1001, "PersonnelRef"), (1002, "Gender"), (2001, "DivisionRef")],
        [],
    ]
    mended = a_worker("008", Gender=1, DivisionRef="D1")
    assert post(gateway, sender, WORKERS, [mended]).results[0]["importStatus"] == "OK"


def test_an_existing_worker_has_its_other_faults_reported_too(
    gateway: GatewayProcess, storage: str
) -> None:
    sender = a_sender(storage, on_existing=OnExisting.ERROR)
    post(gateway, sender, WORKERS, [a_worker("P1")])
    [row] = post(gateway, sender, WORKERS, [a_worker("P1", Gender="male")]).results
    assert errors_of(row) == [(1002, "Gender"), (10000, "PersonnelRef")]


@pytest.mark.parametrize("dry_run", ["", "&dryRun=true"])
def test_a_missing_worker_of_an_assignment_is_reported_with_its_other_faults(
    gateway: GatewayProcess, sender: Sender, dry_run: str
) -> None:
    rows: list[Any] = [
        an_assignment("A1", "NOBODY", StartDate="soon", ActualEndDate="2020-01-01"),
        an_assignment("x" * 61, "NOBODY"),
        an_assignment("A2", "x" * 61),
        an_assignment("A3", "NOBODY", EmployerRef=5),
    ]
    results = post(gateway, sender, ASSIGNMENTS + dry_run, rows).results
    assert [errors_of(row) for row in results] == [
        [(1006, "StartDate"), (2001, "PersonnelRef")],
        [(1003, "AssignmentRef"), (2001, "PersonnelRef")],
        [(1003, "PersonnelRef")],
        [(1002, "EmployerRef")],
    ]


def test_an_existing_license_is_reported_with_its_other_faults(
    gateway: GatewayProcess, sender: Sender
) -> None:
    calls.send_licenses(gateway, sender, [calls.a_license()])
    rows = [calls.a_license(issuedDate="soon", reminder={"offset": "x"})]
    answer = calls.send_licenses(gateway, sender, rows, "importAction=Insert")
    [error] = answer.json["errors"]
    named = {detail["propertyName"] for detail in error["details"]}
    assert named == {"", "IssuedDate", "Reminder.Offset"}


def test_values_of_another_employee_are_reported_with_other_faults(
    gateway: GatewayProcess, sender: Sender
) -> None:
    stored = [{"employeeId": name, "authValue1": name} for name in ("one", "two")]
    calls.send_authdata(gateway, sender, stored)
    row = {"employeeId": "one", "authValue1": "two", "employeeStatus": 5}
    answer = calls.send_authdata(gateway, sender, [row])
    assert answer.json["totalErrors"] == 1
    assert len(answer.json["errorDetails"]) == 2


def test_all_faults_of_a_form_are_reported(gateway: GatewayProcess, ready: Sender) -> None:
    form = Form(worker=None, round_code=None, content=b"", more=[("isSummary", "true")])
    answer = calls.send_document(gateway, ready, form)
    assert answer.status == 400
    for name in ("isSummary", "workerexternalId", "communicationRoundCode", "empty"):
        assert name in answer.json["message"]
