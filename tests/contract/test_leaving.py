"""A tenant and a person can leave: what is exported, what is erased, and that nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from typer.testing import CliRunner

from cli.app import app
from cli.environment import ROOT
from shared.app import tenant_erasure_of
from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from shared.imports.persons import Identity, IdentityKind
from shared.services.persons.service import Erased
from tests.builders import a_worker
from tests.contract.calls import send_authdata, send_document
from tests.contract.conftest import SETTINGS
from tests.documents import PDF, Form, a_ready_sender
from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import DATA_KEYS, Emulator, open_ready_gateway, settings_for
from tests.integration.harness import an_employee
from tests.marked import MarkedPerson, MarkedTenant, fill, places_of
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    """An account with little in it, since all of it is searched."""
    return emulator.account("searched")


@pytest.fixture(name="gateway", scope="module")
def fixture_gateway(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway"), **SETTINGS) as process:
        yield process


@pytest.fixture(name="filled", scope="module")
def fixture_filled(gateway: GatewayProcess, storage: str) -> MarkedTenant:
    """A tenant of whom first a person is erased, then everything."""
    return fill(gateway, storage, uuid.uuid4().hex[:10])


def _identities(person: MarkedPerson) -> list[Identity]:
    return [
        Identity(IdentityKind.WORKER, ("E1", person.personnel)),
        Identity(IdentityKind.LICENSE_EMPLOYEE, ("C1", "", person.employee_number)),
        Identity(IdentityKind.EMPLOYEE_ID, (person.employee_id,)),
    ]


def _begin_and_kill(storage: str, tenant: str, person: MarkedPerson) -> None:
    """Kill the command as soon as its import is accepted."""
    command = [sys.executable, str(ROOT / "manage.py"), "person", "erase", "--tenant", tenant]
    command += ["--yes", "--employer", "E1", "--personnel", person.personnel, "--company", "C1"]
    command += ["--employee-number", person.employee_number, "--employee-id", person.employee_id]
    own = {"AzureWebJobsStorage": storage, "GATEWAY_DATA_KEYS": DATA_KEYS}
    process = subprocess.Popen(command, env={**os.environ, **own})
    query = f"PartitionKey eq '{tenant}' and RowKey gt 'open|person' and RowKey lt 'open|q'"

    def is_accepted() -> bool:
        assert process.poll() is None, "the command has ended before it could be killed"
        return any(imports.query_entities(query))

    with TableServiceClient.from_connection_string(storage) as service:
        imports = service.get_table_client("Imports")
        wait_until(is_accepted, "the acceptance of the erasure", 60)
        process.kill()
        process.wait()
        assert any(imports.query_entities(query)), "the command was killed too late"


async def _erase(storage: str, tenant: str, person: MarkedPerson) -> Erased:
    async with open_ready_gateway(settings_for(storage)) as opened:
        return await opened.persons.erase(tenant, _identities(person))


def test_a_document_that_is_uploaded_while_its_person_is_erased_is_refused(
    gateway: GatewayProcess, storage: str
) -> None:
    sender = a_ready_sender(storage)
    person, other = MarkedPerson(uuid.uuid4().hex[:10]), MarkedPerson("other")
    rows = [a_worker(each.personnel, ExternalWorkerRef=each.external) for each in (person, other)]
    assert gateway.post(sender, rows).status == 200
    before = send_document(gateway, sender, Form(worker=person.external)).json["items"][0]
    _begin_and_kill(storage, sender.tenant, person)
    # Both workers are still stored, so the calls find them; their imports wait for the erasure.
    uploads = [
        send_document(gateway, sender, Form(worker=each.external, file_name="late.pdf"))
        for each in (person, other)
    ]
    assert [answer.status for answer in uploads] == [202, 202]
    erased = asyncio.run(_erase(storage, sender.tenant, person))
    assert erased.report.counts["documents"] == 1

    async def sweep() -> None:
        settings = settings_for(storage, document_sweep_seconds=0)
        async with open_ready_gateway(settings) as opened:
            await opened.sweep.run()

    asyncio.run(sweep())
    ended = [gateway.ended(sender, answer.import_id) for answer in uploads]
    assert [each["rows"]["new"] for each in ended] == [0, 1]
    answers = [gateway.get(f"/api/imports/{each.import_id}/answer", sender) for each in uploads]
    assert [answer.status for answer in answers] == [404, 200]
    [listed] = gateway.get("/api/documents", sender).json["items"]
    assert listed["workerexternalId"] == other.external
    content = gateway.get(f"/api/documents/{before['documentId']}/content", sender)
    assert content.status == 404
    again = asyncio.run(_erase(storage, sender.tenant, person))
    assert "documents" not in again.report.counts


def test_nothing_of_an_erased_person_is_left_and_nothing_brings_the_person_back(
    gateway: GatewayProcess, storage: str, filled: MarkedTenant
) -> None:
    sender, person = filled.sender, filled.person
    marks = (person.mark, person.license_key)
    assert len(places_of(storage, *marks)) > 30
    others = len(places_of(storage, filled.other.mark))

    _begin_and_kill(storage, sender.tenant, person)
    erased = asyncio.run(_erase(storage, sender.tenant, person))
    assert erased.report.unreadable == {}
    areas = ("workers", "assignments", "timesheets", "placements", "licenses", "documents")
    for area in (*areas, "authdata", "imports", "deleted records", "former values"):
        assert erased.report.counts[area] > 0, area
    left = places_of(storage, *marks)
    assert left == [], "\n".join(left)
    assert len(places_of(storage, filled.other.mark)) > others - 10
    again = asyncio.run(_erase(storage, sender.tenant, person))
    assert again.report.counts == {}

    # A repeated call, a retry, and the answers of old imports.
    repeated = gateway.call(
        "POST",
        "/api/import/workers",
        json.dumps(filled.keyed_rows).encode(),
        {"Content-Type": "application/json", **sender.headers, "Idempotency-Key": filled.key},
    )
    assert repeated.status in (200, 410)
    retry = f"/api/imports/{filled.failed_import}/retry"
    retried = gateway.call("POST", retry, None, dict(sender.headers))
    assert retried.status == 409
    assert "9004" in retried.json["message"]
    for address in ("results", "answer", "failed-rows"):
        shown = gateway.get(f"/api/imports/{filled.failed_import}/{address}", sender)
        assert shown.status == 200, shown.body
        assert person.mark.encode() not in shown.body
    assert gateway.get("/api/changes", sender).status == 200
    undo = f"/api/imports/{filled.keyed_answer.import_id}/undo"
    undone = gateway.call("POST", undo, None, dict(sender.headers))
    assert undone.status == 200, undone.body
    assert places_of(storage, *marks) == []
    for import_id in (erased.import_id, again.import_id):
        shown = gateway.get(f"/api/imports/{import_id}", sender)
        assert shown.json["type"] == "person-erasure"
        undone = gateway.call("POST", f"/api/imports/{import_id}/undo", None, dict(sender.headers))
        assert undone.status == 501
        answer = gateway.get(f"/api/imports/{import_id}/answer", sender)
        assert answer.status == 404, answer.body

    # The same references may be used again.
    hired = gateway.post(sender, [a_worker(person.personnel)])
    assert hired.results[0]["importStatus"] == "OK"


def test_a_hold_counts_under_every_id_of_a_renamed_employee(
    gateway: GatewayProcess, storage: str
) -> None:
    sender = a_ready_sender(storage)
    for employee in ("E1", "E2"):
        assert send_authdata(gateway, sender, [an_employee(employee, "same")]).status == 200

    async def hold_and_erase(held: str, erased: str) -> None:
        one, other = ([Identity(IdentityKind.EMPLOYEE_ID, (each,))] for each in (held, erased))
        async with open_ready_gateway(settings_for(storage)) as opened:
            await opened.persons.hold(sender.tenant, one, "Case 14")
            with pytest.raises(ConflictError, match="Case 14"):
                await opened.persons.erase(sender.tenant, other)
            await opened.persons.release(sender.tenant, one)

    asyncio.run(hold_and_erase("E2", "E1"))
    asyncio.run(hold_and_erase("E1", "E2"))


def test_nothing_of_an_erased_tenant_is_left_but_its_audit_log(
    gateway: GatewayProcess, storage: str, filled: MarkedTenant
) -> None:
    tenant = filled.sender.tenant
    before = places_of(storage, tenant, filled.other.mark)
    assert len(before) > 50

    async def erase(confirmation: str) -> dict[str, int]:
        async with open_ready_gateway(settings_for(storage, cache_seconds=0.1)) as opened:
            return dict(await tenant_erasure_of(opened).erase(tenant, confirmation))

    with pytest.raises(InvalidRequestError, match=f"--confirm {tenant}"):
        asyncio.run(erase("other"))
    assert places_of(storage, filled.other.mark) != []
    deleted = asyncio.run(erase(tenant))
    assert deleted["Workers"] > 150
    left = places_of(storage, tenant, filled.other.mark)
    assert {place.split()[0] for place in left} == {"Audit", "Tenants"}
    assert [place for place in left if place.startswith("Tenants")] == [f"Tenants erased {tenant}"]
    assert asyncio.run(erase(tenant)) == {}
    assert gateway.get("/api/imports", filled.sender).status == 401


def test_the_id_of_an_erased_tenant_is_never_given_again(storage: str) -> None:
    slug = f"t{uuid.uuid4().hex[:12]}"

    async def create_and_erase() -> None:
        async with open_ready_gateway(settings_for(storage, cache_seconds=0)) as opened:
            await opened.tenants.create(f"Name {slug}", slug)
            await tenant_erasure_of(opened).erase(slug, slug)
            with pytest.raises(ConflictError, match="choose another id"):
                await opened.tenants.create("New", slug)
            with pytest.raises(NotFoundError):
                await tenant_erasure_of(opened).erase(f"{slug}-2", f"{slug}-2")

    asyncio.run(create_and_erase())


def _commands_of_the_guide() -> list[list[str]]:
    page = (ROOT / "docs" / "persons-and-tenants.md").read_text("utf-8")
    head = "python3 dev.py manage "
    return [shlex.split(line[len(head) :]) for line in page.splitlines() if line.startswith(head)]


def test_an_export_that_fails_leaves_no_file(
    gateway: GatewayProcess, storage: str, tmp_path: Path
) -> None:
    sender = a_ready_sender(storage)
    assert gateway.post(sender, [a_worker("P7")]).status == 200
    out = tmp_path / "person.zip"
    words = ["person", "export", "--tenant", sender.tenant, "--out", str(out)]
    words += ["--employer", "E1", "--personnel", "P7"]
    # The file may not become larger than a block, so that the export fails in the middle.
    command = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", sys.executable, str(ROOT / "manage.py")]
    own = {"AzureWebJobsStorage": storage, "GATEWAY_DATA_KEYS": DATA_KEYS}
    own["PYTHONDONTWRITEBYTECODE"] = "1"
    ran = subprocess.run(
        [*command, *words],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert "person.zip" in ran.stderr
    assert not out.exists()


def test_the_commands_of_the_guide_run(
    gateway: GatewayProcess, storage: str, tmp_path: Path
) -> None:
    sender = a_ready_sender(storage)
    worker = a_worker("P7", ExternalWorkerRef="hr-7", Surname="Marked")
    bank = {"BankSortCode": "123456", "BankAccountNumber": "12345678", "PayMethod": "BACS"}
    rows = [{**worker, "PrimaryBankDetails": bank}, a_worker("P8")]
    assert gateway.post(sender, rows).status == 200
    assert send_document(gateway, sender, Form(worker="hr-7")).status == 200
    environ = {
        "AzureWebJobsStorage": storage,
        "GATEWAY_DATA_KEYS": DATA_KEYS,
        "GATEWAY_CACHE_SECONDS": "0",
        "GATEWAY_DATA": str(tmp_path),
    }
    out = tmp_path / "person.zip"
    documents: dict[str, Any] = {}
    for words in _commands_of_the_guide():
        named = {"acme": sender.tenant, "person.zip": str(out)}
        actual = [named.get(word, word) for word in words]
        ran = CliRunner().invoke(app, [*actual, "--json"], env=environ, catch_exceptions=False)
        documents[" ".join(words[:2])] = json.loads(ran.stdout)
        if words[1] == "hold":
            erase = ["person", "erase", "--tenant", sender.tenant, "--yes"]
            erase += ["--employer", "E1", "--personnel", "P7"]
            refused = CliRunner().invoke(app, erase, env=environ)
            assert isinstance(refused.exception, ConflictError)
            assert "Case 14" in str(refused.exception)
        if words[:2] == ["person", "erase"]:
            address = f"/api/imports/{documents['person erase']['importId']}"
            assert "undo" not in gateway.get(address, sender).json["links"]
    found = {each["what"]: each["found"] for each in documents["person export"]["searched"]}
    assert (found["workers"], found["documents"], found["rows of payloads"]) == (1, 1, 2)
    assert found["licenses"] == 0
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        [worker_shown] = json.loads(archive.read("records/workers.json"))
        assert archive.read("files/1") == PDF
    assert "manifest.json" in names
    assert worker_shown["record"]["PrimaryBankDetails"]["BankAccountNumber"] == "12345678"
    assert documents["person erase"]["erased"]["workers"] == 1
    assert documents["person erase"]["kept"] == []
    assert documents["tenant erase"]["deleted"]["Workers"] > 0
    assert documents["person hold"]["person"] == documents["person release"]["person"]
    acts = CliRunner().invoke(app, ["audit", "--tenant", sender.tenant, "--json"], env=environ)
    actions = {item["action"] for item in json.loads(acts.stdout)["items"]}
    assert actions >= {"person.export", "person.erase", "person.hold", "person.release"}
    assert "P7" not in acts.stdout
