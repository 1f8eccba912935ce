"""What is exported goes in again as it is, and nothing changes: 1103 in every row.

Records of every type are generated and imported, exported by `manage.py records export` as NDJSON
and as CSV, and imported again from these files by `manage.py import`.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import ContainerClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.app import app
from cli.row_files import RowFileError, read_rows
from shared.auth.integrations import ReadPermission
from shared.errors import ConflictError, GatewayError
from shared.imports.assignments.rules import RULES as ASSIGNMENT_RULES
from shared.imports.workers.rules import RULES as WORKER_RULES
from shared.storage.names import LICENSE_DOCUMENTS
from tests.builders import Row, a_worker, body_of
from tests.contract.test_records import an_assignment
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import DATA_KEYS
from tests.tenants import Sender, a_sender
from tests.unit.imports.builders import good_rows

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
FEW = settings(
    # The first example is the simplest one that there is.
    max_examples=2,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ROWS = 30
NASTY = st.sampled_from(
    [
        *("=1+1", "+x", "-5", "@a", "'x", "''=1", "null", "[]", "{}", "true", "007", "1.50", "1e3"),
        *(" a ", "a\t", "\ta", 'say "x"', "a,b;c\td", "one\r\ntwo\nthree\rfour", "x\x00y", "\x1a"),
        *("\u2028", "\ufeffx", "\u200b1", "\\", "\\n", "\U0001f600", "*** ", "\u0001", "sep=;"),
    ]
)
TABLES = {"workers": "Workers", "assignments": "Assignments", "licenses": "Licenses"}


@dataclass(frozen=True)
class Round:
    """A tenant whose records go out and in again."""

    gateway: GatewayProcess
    storage: str
    sender: Sender
    folder: Path

    def send(self, path: str, body: bytes) -> Any:
        headers = {"Content-Type": "application/json", **self.sender.headers}
        answer = self.gateway.call("POST", path, body, headers)
        assert answer.status == 200, answer.body[:500]
        return answer.json

    def manage(self, *words: str) -> Any:
        environ = {
            "AzureWebJobsStorage": self.storage,
            "GATEWAY_DATA_KEYS": DATA_KEYS,
            "GATEWAY_DATA": str(self.folder),
            "GATEWAY_URL": self.gateway.url,
            "GATEWAY_FUNCTIONS_KEY": self.sender.function_key,
            "GATEWAY_SOFTWARE_KEY": self.sender.integration.software_key,
        }
        ran = CliRunner().invoke(app, [*words, "--json"], env=environ, catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    def stored(self, table: str) -> Mapping[tuple[str, str], Any]:
        """Every entity of the tenant in a table but the logs of imports."""
        tenant = self.sender.tenant
        query = f"PartitionKey ge '{tenant}' and PartitionKey le '{tenant}|~'"
        with TableServiceClient.from_connection_string(self.storage) as service:
            return {
                (item["PartitionKey"], item["RowKey"]): (item.metadata["etag"], dict(item))
                for item in service.get_table_client(table).query_entities(query)
                if not item["RowKey"].startswith("j|")
            }

    def blobs(self) -> dict[str, Any]:
        with ContainerClient.from_connection_string(self.storage, LICENSE_DOCUMENTS) as container:
            listed = container.list_blobs(name_starts_with=f"{self.sender.tenant}/")
            return {blob.name: blob.etag for blob in listed}

    def check(self, type_name: str, table: str, imported_as: str, *options: str) -> int:
        """Export and import again, both ways; how many records there were."""
        before, blobs = self.stored(table), self.blobs()
        count = 0
        for form in ("ndjson", "csv"):
            file = self.folder / f"{uuid.uuid4().hex}.{form}"
            words = ("records", "export", type_name, "--tenant", self.sender.tenant)
            exported = self.manage(*words, f"--{form}", "--out", str(file), "--read", "full")
            count = exported["records"]
            assert count
            again = self.manage("import", imported_as, str(file), *options)
            if imported_as == "authdata":
                assert (again["totalNoChange"], again["totalRecords"]) == (count, count)
                codes = self.codes(again["importId"])
            else:
                assert again["rows"]["unchanged"] == again["rows"]["total"] == count, (form, again)
                codes = [code for each in again["importIds"] for code in self.codes(each)]
            assert len(codes) == count
            assert all(1103 in each for each in codes)
            assert self.stored(table) == before, form
            assert self.blobs() == blobs, form
        return count

    def codes(self, import_id: str) -> list[list[int]]:
        address = f"/api/imports/{import_id}/results?pageSize=1000"
        items = self.gateway.get(address, self.sender).json["items"]
        return [[message["errorID"] for message in item["messages"]] for item in items]


@pytest.fixture(name="begin")
def fixture_begin(gateway: GatewayProcess, storage: str, tmp_path: Path) -> Callable[[], Round]:
    def begin() -> Round:
        sender = a_sender(storage, read=ReadPermission.FULL)
        return Round(gateway, storage, sender, tmp_path)

    return begin


def body_with_amounts(rows: list[Row]) -> bytes:
    """The body of a call with decimals in its rows, of few digits."""
    return json.dumps(rows, default=float).encode()


def nasty(fields: Row, **text: str | None) -> Row:
    return {**fields, **{name: value for name, value in text.items() if value is not None}}


def numbered(rows: list[Row], field: str, employers: int = 3) -> list[Row]:
    return [
        {**row, field: f"{field[0]}={at}", "EmployerRef": f"E{at % employers}"}
        for at, row in enumerate(rows)
    ]


WORKERS = st.builds(
    nasty,
    good_rows(WORKER_RULES.json_schema()).map(lambda fields: a_worker(**fields)),
    FirstForename=st.none() | NASTY,
    PersonnelNotes=st.none() | NASTY,
)
ASSIGNMENTS = st.builds(
    nasty,
    good_rows(ASSIGNMENT_RULES.json_schema()),
    Notes=st.none() | NASTY,
    JobTitle=st.none() | NASTY,
)


def test_workers(begin: Callable[[], Round]) -> None:
    counts = []

    @seed(3)
    @FEW
    @given(st.lists(WORKERS, min_size=ROWS, max_size=ROWS))
    def check(rows: list[Row]) -> None:
        round_ = begin()
        rows = [{**row, "ExternalWorkerRef": None} for row in numbered(rows, "PersonnelRef")]
        round_.send("/api/import/workers", body_with_amounts(rows))
        counts.append(round_.check("workers", "Workers", "workers"))

    check()
    assert max(counts) > ROWS // 2


def test_assignments(begin: Callable[[], Round]) -> None:
    counts = []

    @seed(3)
    @FEW
    @given(st.lists(ASSIGNMENTS, min_size=ROWS, max_size=ROWS))
    def check(rows: list[Row]) -> None:
        round_ = begin()
        people = [a_worker("P", EmployerRef=f"E{at}") for at in range(3)]
        round_.send("/api/import/workers", body_of(people))
        full = [{**an_assignment("A", "P"), **row, "PersonnelRef": "P"} for row in rows]
        round_.send("/api/import/assignments", body_with_amounts(numbered(full, "AssignmentRef")))
        counts.append(round_.check("assignments", "Assignments", "assignments"))

    check()
    assert max(counts) > ROWS // 2


LICENSES = st.fixed_dictionaries(
    {"companyCode": st.sampled_from(["C1", "C 2"])},
    optional={
        "divisionCode": st.sampled_from(["D", "=D"]),
        "licenseTypeCode": st.sampled_from(["RN", "-x"]),
        "employeePersonalId": st.integers(1, 3),
        "issuedDate": st.dates().map(str),
        "notes": NASTY.filter(lambda text: text.isprintable()),
        "reminder": st.fixed_dictionaries(
            {}, optional={"isShowingOnESS": st.booleans(), "offset": st.integers(-3, 3)}
        ),
        "documents": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["a.pdf", "b", "='c"])},
                optional={
                    "content": st.binary(max_size=5).map(lambda b: base64.b64encode(b).decode()),
                    "documentTypeCode": st.sampled_from(["1", "T"]),
                    "sourcePath": st.just("C:\\x"),
                },
            ),
            max_size=3,
        ),
    },
)


@pytest.mark.parametrize("action", ["Override", "Merge"])
def test_licenses(begin: Callable[[], Round], action: str) -> None:
    blobs = []

    @seed(3)
    @FEW
    @given(st.lists(LICENSES, min_size=ROWS, max_size=ROWS))
    def check(rows: list[Row]) -> None:
        round_ = begin()
        sent = [
            {
                **row,
                "licenseNumber": f"L{at}",
                "employeeNumber": None if at % 3 == 0 else f"{at % 4}",
            }
            for at, row in enumerate(rows)
        ]
        round_.send("/v1/imports/licenses", body_of(sent))
        blobs.append(len(round_.blobs()))
        options = ("--with", f"importAction={action}")
        assert round_.check("licenses", "Licenses", "licenses", *options) > ROWS // 2

    check()
    assert max(blobs)


def test_employees_keep_their_authentication_values(begin: Callable[[], Round]) -> None:
    round_ = begin()
    employees = [
        {
            "employeeId": f"={at}",
            "employeeStatus": ["Active", "=1", None][at % 3],
            f"authValue{at % 3 + 1}": f"value {at}",
        }
        for at in range(ROWS)
    ]
    round_.send("/api/admin/authdata", json.dumps({"employee": employees}).encode())
    options = ("--with", "allowNoAuth=true")
    assert round_.check("employees", "AuthData", "authdata", *options) == ROWS


@pytest.fixture(name="people")
def fixture_people(begin: Callable[[], Round]) -> Round:
    """Seven workers, one with values that are masked."""
    round_ = begin()
    rows = [a_worker(f"P{at}", KnownAs=f"K{at}") for at in range(7)]
    rows[3] |= {"PassportNumber": "P4554321", "UKPayrollDetails": {"NINumber": "QQ123456C"}}
    round_.send("/api/import/workers", body_of(rows))
    return round_


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_masked_export_is_not_imported(people: Round, form: str) -> None:
    file = people.folder / f"masked.{form}"
    words = ("records", "export", "workers", "--tenant", people.sender.tenant, f"--{form}")
    people.manage(*words, "--out", str(file))
    assert b"P4554321" not in file.read_bytes()
    before = people.stored("Workers")
    with pytest.raises(RowFileError, match=r"UKPayrollDetails.NINumber|PassportNumber") as caught:
        people.manage("import", "workers", str(file))
    assert "masked value, so nothing was sent" in str(caught.value)
    assert people.stored("Workers") == before


def test_records_are_listed_and_shown(people: Round) -> None:
    tenant = people.sender.tenant
    listed = people.manage("records", "list", "workers", "--tenant", tenant, "--most", "3")
    assert [item["record"]["PersonnelRef"] for item in listed["items"]] == ["P0", "P1", "P2"]
    shown = people.manage("records", "show", "workers", "E1", "P3", "--tenant", tenant)
    assert shown["record"]["PassportNumber"] == "***4321"
    full = people.manage(
        "records", "show", "WORKERS", "E1", "P3", "--tenant", tenant, "--read", "full"
    )
    assert full["record"]["PassportNumber"] == "P4554321"
    for words, wording in (
        (("show", "workers", "E1"), "has 2 parts: EmployerRef PersonnelRef"),
        (("show", "workers", "E1", "nobody"), "There is no record of this key"),
        (("list", "wages"), "There are no records under this name"),
        (("list", "workers", "--filter", "Surname=x"), "--filter is NAME=VALUE"),
        (("list", "workers", "--filter", "EmployerRef"), "--filter is NAME=VALUE"),
        (("list", "workers", "--filter", "importId=7"), "importId must be the id of an import"),
        (("list", "workers", "--filter", "deleted=x"), "deleted must be true or false"),
        (("list", "workers", "--continuation", "x"), "continuation must be that"),
    ):
        with pytest.raises(GatewayError, match=wording):
            people.manage("records", *words, "--tenant", tenant)


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_goes_on_where_another_one_stopped(people: Round, form: str) -> None:
    tenant, file = people.sender.tenant, people.folder / f"rest.{form}"
    export = ("records", "export", "workers", "--tenant", tenant, f"--{form}", "--out", str(file))
    people.manage(*export)
    with pytest.raises(ConflictError, match="exists"):
        people.manage(*export)
    listed = people.manage("records", "list", "workers", "--tenant", tenant, "--most", "5")
    continued = people.manage(*export, "--continuation", listed["continuation"])
    assert continued["records"] == 2
    rows = read_rows(file, WORKER_RULES).rows
    references = [json.loads(row)["PersonnelRef"] for row in rows]
    assert references == [*(f"P{at}" for at in range(7)), "P5", "P6"]
    assert {json.loads(row)["KnownAs"] for row in rows[-2:]} == {"K5", "K6"}
    assert file.stat().st_mode & 0o077 == 0
