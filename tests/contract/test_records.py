"""Records over HTTP: which are found, what of them is shown, pages, and every refusal.

See docs/contracts.md#7.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.auth.clients import Scope
from shared.auth.integrations import ReadPermission
from shared.services.records.reading import MOST_FORMER_READS
from tests.builders import Row, a_worker, body_of
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_sender, a_token_client

pytestmark = pytest.mark.e2e
NDJSON, CSV = "application/x-ndjson", "text/csv"
BANK = {"BankSortCode": "112233", "BankAccountNumber": "12345678", "BankAccountName": "A Sample"}
SECRETS = ("112233", "12345678", "A Sample", "QQ123456C", "P4554321")
DOCUMENT = {"name": "a.pdf", "documentTypeCode": "T", "content": base64.b64encode(b"one").decode()}


@dataclass(frozen=True)
class Readers:
    """Integrations of one tenant with stored records, by what each may read."""

    gateway: GatewayProcess
    senders: Mapping[ReadPermission, Sender]

    def ask(
        self,
        path: str,
        read: ReadPermission = ReadPermission.FULL,
        accept: str = "",
        query: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Answer:
        query = {**(query or {}), **more}
        headers = {**self.senders[read].headers, **({"Accept": accept} if accept else {})}
        parameters = f"?{urlencode(query)}" if query else ""
        return self.gateway.call("GET", f"/api/records/{path}{parameters}", None, headers)

    def items(
        self,
        path: str,
        read: ReadPermission = ReadPermission.FULL,
        query: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        answer = self.ask(path, read, query=query, **more)
        assert answer.status == 200, answer.body
        return answer.json["items"]

    def send(self, path: str, rows: list[Row]) -> Answer:
        headers = {"Content-Type": "application/json", **self.senders[ReadPermission.FULL].headers}
        answer = self.gateway.call("POST", path, body_of(rows), headers)
        assert answer.status == 200, answer.body
        return answer


FULL, MASKED, NONE = ReadPermission.FULL, ReadPermission.MASKED, ReadPermission.NONE
PEOPLE = [
    a_worker("P1", PrimaryBankDetails=BANK, UKPayrollDetails={"NINumber": "QQ123456C"}),
    a_worker("P2", ExternalWorkerRef="X2", PassportNumber="P4554321"),
    a_worker("P1", EmployerRef="E2", ExternalWorkerRef="P2"),
    a_worker("P3", EmployerRef="E2", ExternalWorkerRef="P3"),
]


def an_assignment(reference: str, worker: str, employer: str = "E1", **fields: Any) -> Row:
    return {
        "EmployerRef": employer,
        "AssignmentRef": reference,
        "ClientRef": "C",
        "PersonnelRef": worker,
        "DivisionRef": "D",
        "DepartmentRef": "D",
        "StartDate": "2024-01-01",
        "ExpectedEndDate": None,
        "ActualEndDate": None,
        **fields,
    }


def a_license(number: str, company: str = "C1", **fields: Any) -> Row:
    return {"companyCode": company, "licenseTypeCode": "RN", "licenseNumber": number, **fields}


def stored(gateway: GatewayProcess, storage: str, tenant: str = "") -> Readers:
    full = a_sender(storage, tenant, read=FULL)
    readers = {
        FULL: full,
        **{read: a_sender(storage, full.tenant, read=read) for read in (MASKED, NONE)},
    }
    readers_of_tenant = Readers(gateway, readers)
    readers_of_tenant.send("/api/import/workers", PEOPLE)
    readers_of_tenant.send(
        "/api/import/assignments",
        [
            an_assignment(
                "A1", "P1", HolOverrideWeeks=2.50, Notes='x "Split":"1" \\',
                Rates=[{"RateType": "Adhoc", "RateCode": "R", "PayAmount": 10.10}],
            ),
            an_assignment("A2", "P2"),
            an_assignment("A1", "P1", "E2"),
        ],
    )  # fmt: skip
    readers_of_tenant.send(
        "/v1/imports/licenses",
        [
            a_license("1", employeeNumber="7", documents=[DOCUMENT]),
            a_license("2", employeePersonalId=5),
            a_license("3", "C2", employeeNumber="7", employeePersonalId=5),
            a_license("4", "C2", employeeNumber="8"),
        ],
    )
    deleted = [a_license("4", "C2", employeeNumber="8")]
    readers_of_tenant.send("/v1/imports/licenses/delete", deleted)
    employees = [
        {"employeeId": "e1", "employeeStatus": "A", "authValue1": "s3cret", "authValue3": "other"},
        {"employeeId": "e2", "authValue2": "more"},
    ]
    for path in ("/api/admin/authdata",):
        headers = {"Content-Type": "application/json", **full.headers}
        body = json.dumps({"employee": employees}).encode()
        assert gateway.call("POST", path, body, headers).status == 200
    return readers_of_tenant


@pytest.fixture(name="readers", scope="module")
def fixture_readers(gateway: GatewayProcess, storage: str) -> Readers:
    return stored(gateway, storage)


def keys(items: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple((item["record"] or item["key"])[name] for name in names) for item in items]


WORKER, ASSIGNMENT = ("EmployerRef", "PersonnelRef"), ("EmployerRef", "AssignmentRef")
LICENSE = ("companyCode", "licenseNumber")
FOUND: tuple[tuple[str, dict[str, str], tuple[str, ...], list[tuple[str, ...]]], ...] = (
    ("workers", {}, WORKER, [("E1", "P1"), ("E1", "P2"), ("E2", "P1"), ("E2", "P3")]),
    ("WORKERS", {"employerref": " E1 "}, WORKER, [("E1", "P1"), ("E1", "P2")]),
    ("workers", {"EmployerRef": "E2", "PersonnelRef": "P1"}, WORKER, [("E2", "P1")]),
    ("workers", {"PersonnelRef": "P1"}, WORKER, [("E1", "P1"), ("E2", "P1")]),
    ("workers", {"ExternalWorkerRef": "P2"}, WORKER, [("E2", "P1")]),
    ("workers", {"ExternalWorkerRef": "P3"}, WORKER, [("E2", "P3")]),
    ("workers", {"ExternalWorkerRef": "X2", "EmployerRef": "E1"}, WORKER, [("E1", "P2")]),
    ("workers", {"ExternalWorkerRef": "P3", "EmployerRef": "E2"}, WORKER, [("E2", "P3")]),
    ("workers", {"ExternalWorkerRef": "X2", "EmployerRef": "E2"}, WORKER, []),
    ("workers", {"ExternalWorkerRef": "X2", "PersonnelRef": "P1"}, WORKER, []),
    ("workers", {"EmployerRef": "e1"}, WORKER, []),
    ("workers", {"deleted": "true"}, WORKER, []),
    ("assignments", {}, ASSIGNMENT, [("E1", "A1"), ("E1", "A2"), ("E2", "A1")]),
    ("assignments", {"AssignmentRef": "A1"}, ASSIGNMENT, [("E1", "A1"), ("E2", "A1")]),
    ("assignments", {"EmployerRef": "E1", "PersonnelRef": "P2"}, ASSIGNMENT, [("E1", "A2")]),
    ("assignments", {"EmployerRef": "E2", "AssignmentRef": "A1"}, ASSIGNMENT, [("E2", "A1")]),
    ("licenses", {}, LICENSE, [("C1", "1"), ("C1", "2"), ("C2", "3")]),
    ("licenses", {"companyCode": "C1"}, LICENSE, [("C1", "1"), ("C1", "2")]),
    ("licenses", {"companyCode": "C1", "employeeNumber": "7"}, LICENSE, [("C1", "1")]),
    ("licenses", {"companyCode": "C1", "employeePersonalId": "5"}, LICENSE, [("C1", "2")]),
    ("licenses", {"companyCode": "C2", "employeePersonalId": "5"}, LICENSE, [("C2", "3")]),
    ("licenses", {"companyCode": "C2", "employeePersonalId": "6"}, LICENSE, []),
    ("licenses", {"deleted": "true"}, ("companyCode", "employeeNumber"), [("C2", "8")]),
    ("licenses", {"deleted": "TRUE", "companyCode": "C1"}, LICENSE, []),
    ("employees", {}, ("employeeId",), [("e1",), ("e2",)]),
    ("employees", {"employeeId": "e2"}, ("employeeId",), [("e2",)]),
    ("employees", {"deleted": "true"}, ("employeeId",), []),
)


@pytest.mark.parametrize(("path", "query", "names", "expected"), FOUND)
def test_filters_find_exactly_their_records_in_order(
    readers: Readers, path: str, query: dict[str, str], names: tuple[str, ...], expected: Any
) -> None:
    assert keys(readers.items(path, query=query), *names) == expected


@pytest.mark.parametrize(("path", "query", "names", "expected"), FOUND)
@pytest.mark.parametrize("accept", ["", NDJSON, CSV])
def test_pages_of_one_come_to_the_same_records(
    readers: Readers, path: str, query: dict[str, str], names: Any, expected: Any, accept: str
) -> None:
    records: list[dict[str, Any]] = []
    parameters = {**query, "pageSize": "1"}
    address = f"/api/records/{path}?{urlencode(parameters)}"
    headers = {**readers.senders[FULL].headers, **({"Accept": accept} if accept else {})}
    for _ in range(20):
        answer = readers.gateway.call("GET", address, None, headers)
        assert answer.status == 200
        records += items_of(answer, accept)
        if accept:
            link = answer.headers.get("link")
            if link is None:
                break
            assert link.endswith('; rel="next"')
            address = link[1 : link.index(">")]
        else:
            if answer.json["continuation"] is None:
                break
            following = {**parameters, "continuation": answer.json["continuation"]}
            address = f"/api/records/{path}?{urlencode(following)}"
    else:
        raise AssertionError("it does not end")
    assert [tuple(str(part) for part in key) for key in keys(records, *names)] == [
        tuple(map(str, key)) for key in expected
    ]


def items_of(answer: Answer, accept: str) -> list[dict[str, Any]]:
    if not accept:
        return list(answer.json["items"])
    if accept == NDJSON:
        return [json.loads(line) for line in answer.body.decode().splitlines()]
    rows = csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"), newline=""))
    return [{"record": row} for row in rows]


def test_an_item_is_the_record_as_it_is_stored_and_who_wrote_it(
    gateway: GatewayProcess, storage: str
) -> None:
    readers = Readers(gateway, {FULL: a_sender(storage, read=FULL)})
    row = a_worker("P1", StartDate="2024-01-02T00:00:00", PrimaryBankDetails=BANK, Title="M\u00fc")
    first = readers.send("/api/import/workers", [row])
    [item] = readers.items("workers")
    assert item["record"] == {**row, "StartDate": "2024-01-02"}
    assert list(item) == ["record", "type", "createdAt", "createdBy", "changedAt", "changedBy"]
    assert (item["createdBy"], item["changedBy"]) == (first.import_id, first.import_id)
    second = readers.send(
        "/api/import/workers", [{**row, "Title": None, "Surname": "New", "KnownAs": "N"}]
    )
    [item] = readers.items("workers", EmployerRef="E1", PersonnelRef="P1")
    assert (item["createdBy"], item["changedBy"]) == (first.import_id, second.import_id)
    assert item["previous"] == {"Title": "M\u00fc", "Surname": "Sample", "KnownAs": None}
    assert item["changedAt"] >= item["createdAt"]


def test_amounts_are_numbers_with_all_their_digits(readers: Readers) -> None:
    answer = readers.ask("assignments", EmployerRef="E1", AssignmentRef="A1")
    assert b'"HolOverrideWeeks":2.5,' in answer.body
    assert b'"PayAmount":10.1}' in answer.body
    assert answer.json["items"][0]["record"]["Notes"] == 'x "Split":"1" \\'


def test_documents_of_licenses_come_without_content(readers: Readers) -> None:
    [item] = readers.items("licenses", companyCode="C1", employeeNumber="7")
    [document] = item["record"]["documents"]
    assert {*document} == {"name", "documentTypeCode", "sha256"}
    assert readers.items("licenses", licenseKey=item["record"]["licenseKey"].upper()) == [item]


def test_a_deleted_license_says_which_import_removed_it(readers: Readers) -> None:
    [item] = readers.items("licenses", deleted="true")
    assert (item["record"], item["deleted"], item["key"]["employeeNumber"]) == (None, True, "8")
    imports = readers.gateway.get("/api/imports?type=licenses", readers.senders[FULL]).json["items"]
    assert item["changedBy"] in {each["importId"] for each in imports}
    assert item["changedAt"]


def test_of_authentication_values_it_is_only_said_which_there_are(readers: Readers) -> None:
    for read in (FULL, MASKED):
        answer = readers.ask("employees", read)
        first, second = answer.json["items"]
        assert first["record"] == {"employeeId": "e1", "employeeStatus": "A"}
        assert first["authValues"] == ["authValue1", "authValue3"]
        assert (second["record"], second["authValues"]) == ({"employeeId": "e2"}, ["authValue2"])
        assert b"hashKey" not in answer.body
    assert b"auth" not in readers.ask("employees", accept=CSV).body


@pytest.mark.parametrize("accept", ["", NDJSON, CSV])
def test_sensitive_values_are_masked_but_for_those_who_may_read_them(
    readers: Readers, accept: str
) -> None:
    shown = readers.ask("workers", FULL, accept).body.decode()
    assert all(secret in shown for secret in SECRETS)
    masked = readers.ask("workers", MASKED, accept).body.decode()
    assert not any(secret in masked for secret in SECRETS)
    assert all(last in masked for last in ("***5678", "***456C", "***4321", "***mple"))


def test_what_is_masked_is_named_and_short_values_show_nothing(readers: Readers) -> None:
    [item] = readers.items("workers", MASKED, EmployerRef="E1", PersonnelRef="P1")
    assert item["record"]["PrimaryBankDetails"] == {
        "BankSortCode": "***",
        "BankAccountNumber": "***5678",
        "BankAccountName": "***mple",
    }
    assert item["masked"] == [
        *(f"PrimaryBankDetails.{name}" for name in BANK),
        "UKPayrollDetails.NINumber",
    ]
    [plain] = readers.items("workers", MASKED, EmployerRef="E2", PersonnelRef="P3")
    assert "masked" not in plain


def test_a_mask_that_is_sent_back_changes_nothing(gateway: GatewayProcess, storage: str) -> None:
    full = a_sender(storage, read=FULL)
    readers = Readers(gateway, {FULL: full, MASKED: a_sender(storage, full.tenant)})
    readers.send("/api/import/workers", PEOPLE[:2])
    before = readers.items("workers")
    rows = [
        {name: value for name, value in each["record"].items() if name != "Surname"}
        for each in readers.items("workers", MASKED)
    ]
    answer = readers.send("/api/import/workers?dryRun=true", rows)
    assert [each["importStatus"] for each in answer.results] == ["Error", "Error"]
    answer = readers.send("/api/import/workers", [a_worker("P1", PassportNumber=5), *rows])
    masked = [
        (message["errorID"], message["fieldName"], message.get("fieldValue"))
        for result in answer.results[1:]
        for message in result["messages"]
    ]
    assert masked == [
        (1004, f"PrimaryBankDetails.{name}", None)
        for name in ("BankSortCode", "BankAccountNumber", "BankAccountName")
    ] + [(1004, "UKPayrollDetails.NINumber", None), (1004, "PassportNumber", None)]
    # A corrected row of a retry is read like any row.
    corrected = [{"index": 0, "row": rows[0]}]
    readers.send(f"/api/imports/{answer.headers['x-import-id']}/retry", corrected)
    assert readers.items("workers") == before


def test_the_records_that_an_import_deleted(gateway: GatewayProcess, storage: str) -> None:
    readers = Readers(gateway, {FULL: a_sender(storage, read=FULL)})
    licenses = [a_license(str(at), employeeNumber="7") for at in range(4)]
    readers.send("/v1/imports/licenses", licenses)
    stored = {each["record"]["licenseNumber"]: each["record"] for each in readers.items("licenses")}
    replaced = readers.send("/v1/imports/licenses?importAction=Replace", licenses[:2]).import_id
    deleted = readers.send("/v1/imports/licenses/delete", licenses[:1]).import_id
    for import_id, gone in ((replaced, ["2", "3"]), (deleted, ["0"])):
        found = readers.items("licenses", importId=import_id, deleted="true")
        assert sorted(each["previous"]["licenseNumber"] for each in found) == gone
        assert [each["key"]["licenseKey"] for each in found] == [
            stored[each["previous"]["licenseNumber"]]["licenseKey"] for each in found
        ]
        assert all(each["changedBy"] == import_id for each in found)
    values = {"authValue1": "a", "authValue2": "b", "authValue3": "c"}
    headers = {"Content-Type": "application/json", **readers.senders[FULL].headers}
    renames = [
        gateway.call(
            "POST",
            "/api/admin/authdata",
            json.dumps({"employee": [{"employeeId": name, **values}]}).encode(),
            headers,
        ).import_id
        for name in ("old", "new")
    ]
    [item] = readers.items("employees", importId=renames[1], deleted="true")
    assert item["key"] == {"employeeId": "old"}
    assert item["previous"] == {"employeeId": "old"}


def test_failed_rows_of_another_caller_are_masked(gateway: GatewayProcess, storage: str) -> None:
    full = a_sender(storage, read=FULL)
    senders = {
        FULL: full,
        **{read: a_sender(storage, full.tenant, read=read) for read in (MASKED, NONE)},
    }
    bad = a_worker("P1", PrimaryBankDetails=BANK, PassportNumber="P4554321", Gender="x")
    odd = {**a_worker("P2", Gender="x"), "passportNUMBER": "P4554321", "Other": ["QQ123456C"]}

    def failed_rows(read: ReadPermission, import_id: str, accept: str) -> str:
        headers = {**senders[read].headers, "Accept": accept}
        answer = gateway.call("GET", f"/api/imports/{import_id}/failed-rows", None, headers)
        assert answer.status == 200
        return answer.body.decode()

    def retried(read: ReadPermission, import_id: str) -> str:
        path = f"/api/imports/{import_id}/retry"
        return gateway.call("POST", path, None, senders[read].headers).import_id

    for sender in (MASKED, NONE):
        headers = {"Content-Type": "application/json", **senders[sender].headers}
        body = json.dumps([bad, odd]).encode()
        own = gateway.call("POST", "/api/import/workers", body, headers).import_id
        again = retried(sender, own)
        [other] = {MASKED, NONE} - {sender}
        taken = retried(other, own)
        for accept in ("application/json", CSV):
            for reader, import_id in ((sender, own), (sender, again), (FULL, own), (FULL, taken)):
                assert "P4554321" in failed_rows(reader, import_id, accept)
            for reader, import_id in ((other, own), (other, again), (other, taken)):
                text = failed_rows(reader, import_id, accept)
                assert not any(secret in text for secret in SECRETS)
                assert "***4321" in text
                assert "Sample" in text


def test_former_values_are_masked_too(gateway: GatewayProcess, storage: str) -> None:
    full = a_sender(storage, read=FULL)
    readers = Readers(gateway, {FULL: full, MASKED: a_sender(storage, full.tenant)})
    rows = [
        a_worker("P1", PrimaryBankDetails=BANK, PassportNumber="P4554321"),
        a_worker("P1", PrimaryBankDetails=None, PassportNumber="P9990000"),
    ]
    for row in rows:
        readers.send("/api/import/workers", [row])
    [shown], [masked] = readers.items("workers"), readers.items("workers", MASKED)
    assert shown["previous"] == {"PrimaryBankDetails": BANK, "PassportNumber": "P4554321"}
    assert masked["previous"]["PassportNumber"] == "***4321"
    assert not any(secret in json.dumps(masked) for secret in SECRETS)
    headers = {"Content-Type": "application/json", **readers.senders[MASKED].headers}
    for view in ("", "&view=rows"):
        address = f"/api/import/workers?dryRun=true{view}"
        tried = gateway.call("POST", address, body_of([{**rows[0], "KnownAs": "N"}]), headers)
        assert tried.status == 200
        assert not any(secret in tried.body.decode() for secret in SECRETS)


def test_long_former_values_and_those_of_deleted_licenses_are_shown(
    gateway: GatewayProcess, storage: str
) -> None:
    full = a_sender(storage, read=FULL)
    readers = Readers(gateway, {FULL: full, MASKED: a_sender(storage, full.tenant)})
    notes = secrets.token_urlsafe(15_000)
    worker = a_worker("P1", PersonnelNotes=notes, PassportNumber="P4554321")
    for row in (worker, {**worker, "PersonnelNotes": "short", "PassportNumber": None}):
        readers.send("/api/import/workers", [row])
    [shown], [masked] = readers.items("workers"), readers.items("workers", MASKED)
    assert shown["previous"] == {"PersonnelNotes": notes, "PassportNumber": "P4554321"}
    assert masked["previous"] == {"PersonnelNotes": notes, "PassportNumber": "***4321"}
    licenses = [a_license(str(at), employeeNumber=str(at % 3)) for at in range(MOST_FORMER_READS)]
    licenses.append(a_license("long", employeeNumber="9", notes=notes, documents=[DOCUMENT]))
    readers.send("/v1/imports/licenses", licenses)
    stored = {each["record"]["licenseNumber"]: each for each in readers.items("licenses")}
    readers.send("/v1/imports/licenses/delete", licenses)
    found: list[Any] = []
    sizes: list[int] = []
    query: dict[str, Any] = {"deleted": "true", "pageSize": 1_000}
    while "continuation" not in query or query["continuation"]:
        page = readers.ask("licenses", query=query).json
        found += page["items"]
        sizes.append(len(page["items"]))
        query["continuation"] = page["continuation"]
    assert sizes == [MOST_FORMER_READS, 1]
    assert len({each["key"]["licenseKey"] for each in found}) == len(stored)
    for each in found:
        assert each["previous"] == stored[each["previous"]["licenseNumber"]]["record"]
    # The rows of a CSV have no former values, so nothing is read for them.
    text = readers.ask("licenses", accept=CSV, deleted="true", pageSize=1_000).body.decode()
    assert text.count("C1") == len(stored)


def test_the_records_that_an_import_wrote_last(gateway: GatewayProcess, storage: str) -> None:
    readers = Readers(gateway, {FULL: a_sender(storage, read=FULL)})
    rows = [a_worker(f"P{at}", EmployerRef=f"E{at % 3}") for at in range(9)]
    first = readers.send("/api/import/workers", [*rows, rows[0], {"Surname": "none"}]).import_id
    changed = [{**rows[at], "Surname": "New"} for at in (4, 7)]
    second = readers.send("/api/import/workers", changed).import_id
    remaining = [row for row in rows if row["PersonnelRef"] not in ("P4", "P7")]
    expected = sorted((row["EmployerRef"], row["PersonnelRef"]) for row in remaining)
    assert keys(readers.items("workers", importId=first), *WORKER) == expected
    assert keys(readers.items("workers", importId=second), *WORKER) == [("E1", "P4"), ("E1", "P7")]
    filtered = readers.items("workers", importId=first, EmployerRef="E1")
    assert keys(filtered, *WORKER) == [("E1", "P1")]
    walked: list[Any] = []
    query = {"importId": first.upper(), "pageSize": 2}
    while True:
        page = readers.ask("workers", query=query).json
        walked += page["items"]
        if page["continuation"] is None:
            break
        query["continuation"] = page["continuation"]
    assert keys(walked, *WORKER) == expected


@dataclass(frozen=True)
class Fault:
    """A call that is refused, and how."""

    path: str
    query: Mapping[str, Any]
    status: int
    wording: str
    accept: str = ""


UNKNOWN_ID = "00000000-0000-4000-8000-000000000001"
FAULTS = (
    Fault("wages", {}, 404, "ask for one of workers, assignments"),
    Fault("documents", {}, 404, "/api/documents"),
    Fault("authdata", {}, 404, "employees"),
    Fault(
        "workers", {"Surname": "x"}, 400, "EmployerRef, PersonnelRef, ExternalWorkerRef, importId"
    ),
    Fault("workers", {"employer": "x"}, 400, "this call takes"),
    Fault("workers", {"EmployerRef": " "}, 400, "EmployerRef has no value"),
    Fault("workers", {"EmployerRef": "x" * 61}, 400, "EmployerRef must have 1 to 60"),
    Fault("workers", {"deleted": "yes"}, 400, "deleted in the query must be true or false"),
    Fault("workers", {"deleted": "true", "PersonnelRef": "1"}, 400, "Deleted records are found by"),
    Fault("workers", {"importId": "7"}, 400, "importId must be the id of an import"),
    Fault("workers", {"importId": UNKNOWN_ID}, 404, "import"),
    Fault(
        "workers",
        {"importId": UNKNOWN_ID, "deleted": "true", "EmployerRef": "E1"},
        400,
        "leave the other filters out",
    ),
    Fault("workers", {"pageSize": "0"}, 400, "pageSize must be a whole number from 1 to 1000"),
    Fault("workers", {"pageSize": "1001"}, 400, "pageSize must be a whole number from 1 to 1000"),
    Fault("workers", {"pageSize": "10001"}, 400, "from 1 to 10000", NDJSON),
    Fault("workers", {"pageSize": "x"}, 400, "from 1 to 10000", CSV),
    Fault("workers", {}, 406, "application/json or application/x-ndjson or text/csv", "image/png"),
    Fault("workers", {"continuation": "!"}, 400, "continuation must be that of the page before"),
    Fault("workers", {"continuation": "W10"}, 400, "continuation must be that"),
    Fault("workers", {"continuation": "x" * 5_000}, 400, "continuation must be that"),
    Fault("assignments", {"PersonnelRef": "P1"}, 400, "send EmployerRef too"),
    Fault("licenses", {"employeeNumber": "7"}, 400, "send companyCode too"),
    Fault("licenses", {"employeePersonalId": "5"}, 400, "send companyCode too"),
    Fault("licenses", {"companyCode": "C1", "employeePersonalId": "x"}, 400, "whole number"),
    Fault("licenses", {"licenseKey": "7"}, 400, "licenseKey must be a guid"),
    Fault("licenses", {"deleted": "true", "employeeNumber": "7"}, 400, "Deleted licenses"),
    Fault("employees", {"deleted": "true", "employeeId": "e"}, 400, "Deleted employees"),
    Fault("employees", {"employeeStatus": "A"}, 400, "employeeId, importId"),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each.path} {each.query}"[:60])
def test_what_is_wrong_with_a_call_is_said_in_its_own_words(readers: Readers, fault: Fault) -> None:
    answer = readers.ask(fault.path, accept=fault.accept, query=fault.query)
    check_refusal(answer, fault.status, fault.wording)


def test_an_import_of_another_type_is_refused(readers: Readers) -> None:
    imports = readers.gateway.get("/api/imports?type=licenses", readers.senders[FULL]).json["items"]
    answer = readers.ask("workers", importId=imports[0]["importId"])
    check_refusal(answer, 400, "importId names an import of licenses")


def test_a_continuation_is_good_only_for_the_records_that_it_was_given_for(
    readers: Readers,
) -> None:
    continuation = readers.ask("workers", pageSize=1).json["continuation"]
    assert readers.ask("workers", MASKED, NDJSON, continuation=continuation).status == 200
    for path, query in (
        ("assignments", {}),
        ("workers", {"EmployerRef": "E1"}),
        ("workers", {"deleted": "true"}),
    ):
        answer = readers.ask(path, continuation=continuation, query=query)
        check_refusal(answer, 400, "continuation must be that of the page before")


def test_a_caller_without_permission_reads_nothing(
    readers: Readers, gateway: GatewayProcess, storage: str
) -> None:
    for path in ("workers", "wages"):
        check_refusal(readers.ask(path, NONE), 403, "may not read records")
    tenant = readers.senders[FULL].tenant
    for scopes, is_masked in (
        ([Scope.IMPORT_INBOX, Scope.IMPORT_AUTHDATA, Scope.READ_SENSITIVE], None),
        ([Scope.READ_RECORDS], True),
        ([Scope.READ_RECORDS, Scope.READ_SENSITIVE], False),
    ):
        client = a_token_client(storage, gateway.url, tenant, *scopes)
        answer = gateway.call("GET", "/api/records/workers", None, client.headers)
        if is_masked is None:
            check_refusal(answer, 403, "read_records")
            continue
        assert answer.status == 200
        assert (SECRETS[0] not in answer.body.decode()) is is_masked


def test_a_tenant_sees_its_own_records_only(
    readers: Readers, gateway: GatewayProcess, storage: str
) -> None:
    own = readers.senders[FULL].tenant
    other_tenant = Readers(gateway, {FULL: a_sender(storage, read=FULL)})
    continuation = readers.ask("workers", pageSize=1).json["continuation"]
    imported = readers.items("workers")[0]["changedBy"]
    for path, query, _, _ in FOUND:
        assert other_tenant.items(path, query=query) == []
    check_refusal(other_tenant.ask("workers", importId=imported), 404)
    check_refusal(other_tenant.ask("workers", continuation=continuation), 400)
    assert own not in other_tenant.ask("workers").body.decode()
    for form in (NDJSON, CSV):
        for path in ("workers", "assignments", "licenses", "employees"):
            exported = other_tenant.ask(path, FULL, form)
            assert exported.status == 200
            # CSV has a line with the names of the columns.
            assert exported.body.count(b"\n") == (form == CSV)
            check_refusal(other_tenant.ask(path, FULL, form, continuation=continuation), 400)
