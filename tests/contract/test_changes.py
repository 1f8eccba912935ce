"""The feed of changes over HTTP: what each type tells, who may read it, and every refusal.

See docs/contracts.md#7-changes.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from openapi_schema_validator import OAS31Validator

from shared.auth.clients import Scope
from shared.auth.integrations import ReadPermission
from shared.imports.results import MAX_REMOVED
from shared.storage import result_records
from shared.storage.ports import Upsert
from shared.storage.result_records import result_row
from tests.builders import Row, a_worker
from tests.contract.calls import MAX_ROWS, check_refusal
from tests.documents import MEDIA_TYPE, Form, a_ready_sender
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.manage import Manage
from tests.tenants import Sender, a_sender, a_token_client

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Reader:
    """An integration that sends and follows what was changed."""

    gateway: GatewayProcess
    sender: Sender

    def send(self, path: str, body: Any, **headers: str) -> Answer:
        sent = {"Content-Type": "application/json", **self.sender.headers, **headers}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.gateway.call("POST", path, data, sent)
        assert answer.status == 200, answer.body
        return answer

    def workers(self, *rows: Row) -> str:
        return self.send("/api/import/workers", list(rows)).import_id

    def licenses(self, *rows: Row, action: str = "") -> str:
        query = f"?importAction={action}" if action else ""
        return self.send(f"/v1/imports/licenses{query}", list(rows)).import_id

    def employees(self, *rows: Row) -> Answer:
        return self.send("/api/admin/authdata", {"employee": list(rows)})

    def ask(self, headers: Mapping[str, str] | None = None, **query: Any) -> Answer:
        parameters = f"?{urlencode(query)}" if query else ""
        return self.gateway.call(
            "GET", f"/api/changes{parameters}", None, headers or self.sender.headers
        )

    def page(self, **query: Any) -> Any:
        answer = self.ask(**query)
        assert answer.status == 200, answer.body
        return answer.json

    def changes(self, **query: Any) -> list[tuple[Any, ...]]:
        """Number, type, change and key of each item."""
        return [
            (each["number"], each["type"], each["change"], *each["key"].values())
            for each in self.page(**query)["items"]
        ]


@pytest.fixture(name="reader")
def fixture_reader(gateway: GatewayProcess, sender: Sender) -> Reader:
    return Reader(gateway, sender)


def a_license(number: str, **fields: Any) -> Row:
    return {"companyCode": "C1", "licenseTypeCode": "RN", "licenseNumber": number, **fields}


def test_nothing_was_changed_yet(reader: Reader) -> None:
    assert reader.page() == {"items": [], "next": 0}


def test_workers_come_once_per_import_and_only_where_a_row_took_effect(reader: Reader) -> None:
    first = reader.workers(a_worker(" P1 "), a_worker("P2"), a_worker("P1", Title="Mr"))
    reader.workers(a_worker("P1", Title="Mr"), {"EmployerRef": "E1"})
    third = reader.workers(a_worker("P3"), a_worker("P1", Title="Ms"))
    page = reader.page()
    assert page["next"] == 3
    assert [
        (each["number"], each["importId"], each["change"], each["key"]["PersonnelRef"])
        for each in page["items"]
    ] == [
        (1, first, "created", "P1"),
        (1, first, "created", "P2"),
        (3, third, "updated", "P1"),
        (3, third, "created", "P3"),
    ]
    assert page["items"][0]["key"] == {"EmployerRef": "E1", "PersonnelRef": "P1"}
    ended = reader.gateway.get(f"/api/imports/{first}", reader.sender).json
    assert ended["acceptedAt"] <= page["items"][0]["at"] <= ended["endedAt"]
    assert reader.changes(after=1) == reader.changes(after=2) == reader.changes()[2:]
    assert reader.page(after=3) == {"items": [], "next": 3}


def test_licenses_that_replace_or_delete_removed_are_deleted(reader: Reader) -> None:
    reader.licenses(*(a_license(str(at), employeeNumber="7") for at in range(4)))
    reader.licenses(a_license("9", employeeNumber="8"))
    keys = {
        item["record"]["licenseNumber"]: item["record"]["licenseKey"]
        for item in reader.gateway.get("/api/records/licenses", reader.sender).json["items"]
    }
    assert {change[3:] for change in reader.changes()} == {("C1", key) for key in keys.values()}
    reader.licenses(a_license("0", employeeNumber="7"), action="Replace")
    assert sorted(reader.changes(after=2)) == sorted(
        (3, "licenses", "deleted", "C1", keys[each]) for each in ("1", "2", "3")
    )
    # To another employee: the same license.
    reader.licenses(a_license("0", licenseKey=keys["0"], employeeNumber="8"), action="Update")
    assert reader.changes(after=3) == [(4, "licenses", "updated", "C1", keys["0"])]
    reader.send("/v1/imports/licenses/delete", [a_license("9", employeeNumber="8")])
    assert reader.changes(after=4) == [(5, "licenses", "deleted", "C1", keys["9"])]


def test_more_removed_licenses_than_a_result_names_are_refused_with_where_to_go_on(
    reader: Reader, storage: str
) -> None:
    """The result of the Replace is given more keys in storage: so many real ones take a minute."""

    async def remove(count: int) -> None:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tables = opened.account.tables
            stored = await tables.get("ImportResults", replacing, result_row(0))
            assert stored is not None
            data = result_records.from_entity(stored).data
            [row] = result_records.rows_of(data)
            more = replace(row, removed=tuple(str(uuid.uuid4()) for _ in range(count)))
            changed, spilled = result_records.with_rows(stored, [more])
            assert not spilled
            await tables.write("ImportResults", Upsert(changed))

    reader.licenses(*(a_license(str(at), employeeNumber="7") for at in range(2)))
    replacing = reader.licenses(a_license("0", employeeNumber="7", notes="x"), action="Replace")
    reader.licenses(a_license("1", employeeNumber="7"))
    asyncio.run(remove(MAX_REMOVED))
    page = reader.page(after=1, pageSize=10)
    assert len(page["items"]) == MAX_REMOVED + 1, "the changes of a row come in one page"
    assert Counter(each["change"] for each in page["items"]) == {
        "updated": 1,
        "deleted": MAX_REMOVED,
    }
    asyncio.run(remove(MAX_REMOVED + 1))
    # What comes before is given first.
    page = reader.page()
    assert ([each["number"] for each in page["items"]], page["next"]) == ([1, 1], 1)
    check_refusal(reader.ask(after=1), 410, "go on with after=2, the oldest number")
    assert [change[:3] for change in reader.changes(after=2)] == [(3, "licenses", "created")]


def test_an_employee_whose_id_changes_goes_and_comes(reader: Reader) -> None:
    values = {"authValue1": "one", "authValue2": "two", "authValue3": "three"}
    reader.employees({"employeeId": "e1", **values}, {"employeeId": "e2", "authValue1": "x"})
    reader.employees({"employeeId": "e9", **values})
    changes = reader.changes()
    assert changes[:2] == [(1, "employees", "created", "e1"), (1, "employees", "created", "e2")]
    assert sorted(changes[2:]) == [
        (2, "employees", "created", "e9"),
        (2, "employees", "deleted", "e1"),
    ]
    employees = reader.gateway.get("/api/records/employees", reader.sender).json["items"]
    assert [item["record"]["employeeId"] for item in employees] == ["e2", "e9"]


def test_documents_are_told_to_those_who_may_see_them(
    gateway: GatewayProcess, storage: str
) -> None:
    reader = Reader(gateway, a_ready_sender(storage))
    reader.workers(a_worker("P1"))
    for _ in range(2):
        reader.send("/api/import/documents", Form().body(), **{"Content-Type": MEDIA_TYPE})
    documents = reader.changes(type="Documents")
    assert [change[:3] for change in documents] == [
        (2, "documents", "created"),
        (3, "documents", "updated"),
    ]
    assert "payslip.pdf" in documents[0]
    for scopes, is_shown in (
        ([Scope.READ_RECORDS], False),
        ([Scope.READ_RECORDS, Scope.IMPORT_INBOX], True),
    ):
        client = a_token_client(storage, gateway.url, reader.sender.tenant, *scopes)
        answer = reader.ask(client.headers)
        assert answer.status == 200
        assert ("documents" in {each["type"] for each in answer.json["items"]}) is is_shown
        refused = reader.ask(client.headers, type="documents")
        assert (refused.status == 200) is is_shown


def test_small_pages_come_to_the_same_and_next_says_where(reader: Reader) -> None:
    reader.workers(*(a_worker(f"P{at}") for at in range(7)))
    reader.licenses(a_license("1", employeeNumber="7"))
    reader.workers(a_worker("P3", Title="Mr"))
    whole = reader.page()["items"]
    assert len(whole) == 9
    walked: list[Any] = []
    after: Any = 0
    seen = []
    while (page := reader.page(after=after, pageSize=2))["next"] != after:
        walked += page["items"]
        after = page["next"]
        seen.append(after)
    assert walked == whole
    assert seen == [0.000002, 0.000004, 0.000006, 2, 3]
    assert b'"next":0.000002}' in reader.ask(pageSize=2).body


def test_the_feed_waits_for_an_import_that_is_open(reader: Reader) -> None:
    """Rows whose worker may still come wait for the workers import; here they just take longer."""
    rows = [a_worker(f"P{at:04d}") for at in range(MAX_ROWS)]
    sent = reader.gateway.post(reader.sender, rows, Prefer="respond-async")
    assert sent.status == 202
    reader.licenses(a_license("1", employeeNumber="7"))
    page = reader.page(pageSize=1000)
    is_open = reader.gateway.get(f"/api/imports/{sent.import_id}", reader.sender).json
    if is_open["endedAt"] is None:
        assert page == {"items": [], "next": 0}
    reader.gateway.ended(reader.sender, sent.import_id)
    changes: list[Any] = []
    after: Any = 0
    while (page := reader.page(after=after, pageSize=1000))["next"] != after:
        changes += page["items"]
        after = page["next"]
    assert [each["key"]["PersonnelRef"] for each in changes[:-1]] == [
        row["PersonnelRef"] for row in rows
    ]
    assert changes[-1]["type"] == "licenses"


def test_answers_are_as_published(reader: Reader) -> None:
    reader.workers(a_worker("P1"), a_worker("P2"))
    published = reader.gateway.call("GET", "/api/openapi.json").json
    schema = {
        "$ref": "#/components/schemas/ChangePage",
        "components": published["components"],
    }
    for size in (1, 100):
        OAS31Validator(schema).validate(reader.page(pageSize=size))


FAULTS = (
    ({"after": "x"}, "after must be the number `next` of the page before"),
    ({"after": ""}, "after must be the number"),
    ({"after": "-1"}, "after must be the number"),
    ({"after": "1,5"}, "after must be the number"),
    ({"after": "9" * 40}, "after must be the number"),
    ({"after": "7"}, "is not a place that this tenant's changes have reached"),
    ({"after": "1.000001"}, "is not a place"),
    ({"after": "0.000009"}, "is not a place"),
    ({"pageSize": "0"}, "pageSize must be a whole number from 1 to 1000"),
    ({"pageSize": "1001"}, "pageSize must be a whole number from 1 to 1000"),
    ({"type": "wages"}, "type must be one of workers, assignments, timesheets,"),
    ({"type": ""}, "type must be one of"),
    ({"type": "authdata"}, "type must be one of"),
    ({"from": "1"}, "this call takes after, type, pageSize"),
    ({"continuation": "1"}, "this call takes after, type, pageSize"),
    ({"dryRun": "true"}, "This call has no dry run"),
)


@pytest.mark.parametrize(("query", "wording"), FAULTS, ids=lambda each: str(each)[:40])
def test_what_is_wrong_is_refused_in_its_own_words(
    reader: Reader, query: dict[str, str], wording: str
) -> None:
    reader.workers(a_worker("P1"))
    check_refusal(reader.ask(None, **query), 400, wording)


def test_a_caller_without_permission_is_refused(
    reader: Reader, gateway: GatewayProcess, storage: str
) -> None:
    tenant = reader.sender.tenant
    none = a_sender(storage, tenant, read=ReadPermission.NONE)
    check_refusal(reader.ask(none.headers), 403, "may not read records")
    client = a_token_client(storage, gateway.url, tenant, Scope.IMPORT_INBOX)
    check_refusal(reader.ask(client.headers), 403, "read_records")
    assert gateway.call("GET", "/api/changes").status == 401
    assert reader.ask(a_sender(storage, tenant).headers).status == 200


def test_a_tenant_sees_its_own_changes_only(
    reader: Reader, gateway: GatewayProcess, storage: str
) -> None:
    reader.workers(a_worker("P1"))
    other = Reader(gateway, a_sender(storage))
    assert other.page() == {"items": [], "next": 0}
    check_refusal(other.ask(after=1), 400, "is not a place")


def test_names_of_the_query_match_in_any_case(reader: Reader) -> None:
    reader.workers(a_worker("P1"))
    assert len(reader.page(AFTER="0", PageSize="1", TYPE=" WORKERS ")["items"]) == 1


def test_the_command_lists_what_the_call_gives(
    reader: Reader, storage: str, tmp_path: Path
) -> None:
    reader.workers(a_worker("P1"), a_worker("P2"))
    reader.licenses(a_license("1", employeeNumber="7"))
    manage = Manage(storage, tmp_path)
    words = ("records", "changes", "--tenant", reader.sender.tenant)
    assert manage.document(*words) == reader.page()
    assert manage.document(*words, "--most", "1", "--type", "Workers") == reader.page(
        pageSize=1, type="workers"
    )
    listed = manage.run(*words, "--after", "0.000001").stdout
    assert "Go on with --after 2" in listed
    assert "E1 P2" in listed
    assert "nothing new" in manage.run(*words, "--after", "2").stdout
    refused = manage.run(*words, "--after", "x")
    assert (refused.returncode != 0, "after must be the number" in refused.stderr) == (True, True)
