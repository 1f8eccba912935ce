"""What every type of Pay & Bill has for free: each is sent its sample, and walked through.

A type that is added runs through this module without a change in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from shared.auth.integrations import Database, ReadPermission
from shared.imports.files.templates import SAMPLES
from shared.imports.import_type import ImportType, OnExisting
from shared.imports.modules import IMPORT_MODULES
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from tests.contract.calls import check_refusal
from tests.contract.test_records_round_trip import Round
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import DATA_KEYS
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e
KINDS = [kind for kind in IMPORT_TYPES.values() if kind.contract is PAY_AND_BILL]


@dataclass(frozen=True)
class Course:
    """A tenant that was sent the sample of each type, after a dry run of it."""

    gateway: GatewayProcess
    sender: Sender
    dry_runs: Mapping[str, Answer]
    imports: Mapping[str, Answer]

    def send(self, kind: ImportType, query: str = "", sender: Sender | None = None) -> Answer:
        body = (SAMPLES / f"{kind.name}.json").read_bytes()
        headers = (sender or self.sender).headers
        return self.gateway.call("POST", f"{kind.address}{query}", body, headers)

    def get(self, path: str) -> Any:
        answer = self.gateway.get(path, self.sender)
        assert answer.status == 200, answer.body
        return answer.json

    def failures(self, kind: ImportType) -> frozenset[str]:
        failures = IMPORT_MODULES[kind.name].sample_failures
        assert failures is not None
        return failures

    def sent(self, kind: ImportType) -> int:
        return len(json.loads((SAMPLES / f"{kind.name}.json").read_text("utf-8")))


@pytest.fixture(name="course", scope="module")
def fixture_course(gateway: GatewayProcess, unused_senders: Iterator[Sender]) -> Course:
    course = Course(gateway, next(unused_senders), dry_runs := {}, imports := {})
    for kind in KINDS:
        dry_runs[kind.name] = course.send(kind, "?dryRun=true")
        imports[kind.name] = course.send(kind)
    return course


every_type = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def references_of_failed(answer: Answer) -> set[str]:
    return {
        result["recordIds"][-1]["value"]
        for result in answer.results
        if result["importStatus"] == "Error"
    }


@every_type
def test_a_call_without_a_version_imports_the_sample(course: Course, kind: ImportType) -> None:
    answer = course.imports[kind.name]
    assert len(answer.results) == course.sent(kind)
    assert references_of_failed(answer) == course.failures(kind)
    first = course.gateway.call("GET", f"/api/import/{kind.schema_name}")
    assert first.status == 200
    other = max(each.version for each in TYPE_CATALOGUE.versions(kind.name)) + 1
    check_refusal(course.send(kind, f"?version={other}"), 501)


@every_type
def test_a_dry_run_foretells_the_import(course: Course, kind: ImportType) -> None:
    assert course.dry_runs[kind.name].json == course.imports[kind.name].json


def _key(item: Mapping[str, Any], kind: ImportType) -> dict[str, str]:
    return {name: item["record"][name] for name in kind.rules.key_fields}


@every_type
def test_its_records_are_read_back_by_call_and_by_command(
    course: Course, kind: ImportType, storage: str, tmp_path: Path
) -> None:
    items = course.get(f"/api/records/{kind.name}?pageSize=1000")["items"]
    assert len(items) == course.sent(kind) - len(course.failures(kind))
    key = _key(items[0], kind)
    query = "&".join(f"{name}={value.replace(' ', '%20')}" for name, value in key.items())
    assert course.get(f"/api/records/{kind.name}?{query}")["items"] == items[:1]
    environ = {"AzureWebJobsStorage": storage, "GATEWAY_DATA": str(tmp_path)}
    words = ["records", "list", kind.name, "--tenant", course.sender.tenant, "--json"]
    ran = CliRunner().invoke(app, words, env=environ, catch_exceptions=False)
    listed = json.loads(ran.stdout)["items"]
    assert [_key(each, kind) for each in listed] == [_key(each, kind) for each in items]


@every_type
def test_its_failed_rows_come_back_and_are_retried(
    course: Course, kind: ImportType, storage: str
) -> None:
    import_id = course.imports[kind.name].import_id
    failed = course.get(f"/api/imports/{import_id}/failed-rows")
    assert len(failed) == len(course.failures(kind))
    path = f"/api/imports/{import_id}/retry"
    inactive = a_sender(storage, course.sender.tenant, database=Database(active=False))
    refused = course.gateway.call("POST", path, b"", inactive.headers)
    assert "Pay and Bill Database not active" in check_refusal(refused, 403)
    retried = course.gateway.call("POST", path, b"", course.sender.headers)
    assert retried.status == 200, retried.body
    assert retried.json["rows"]["failed"] == len(failed)


@every_type
def test_its_changes_are_in_the_feed(course: Course, kind: ImportType) -> None:
    items = course.get(f"/api/changes?type={kind.name}&pageSize=1000")["items"]
    import_id = course.imports[kind.name].import_id
    created = [each["key"] for each in items if each["importId"] == import_id]
    assert len(created) == course.sent(kind) - len(course.failures(kind))
    assert all(set(key) == set(kind.rules.key_fields) for key in created)


@every_type
def test_a_second_time_is_judged_by_the_type_or_by_the_integration(
    course: Course, kind: ImportType, storage: str
) -> None:
    """Nothing to change, or the message of an existing record in each row."""
    succeeded = course.sent(kind) - len(course.failures(kind))
    for on_existing in OnExisting:
        sender = a_sender(storage, course.sender.tenant, on_existing=on_existing)
        answer = course.send(kind, "?dryRun=true", sender)
        ids = Counter(
            message["errorID"] for result in answer.results for message in result["messages"]
        )
        is_error = on_existing is OnExisting.ERROR or (
            on_existing is OnExisting.DEFAULT and kind.on_existing is OnExisting.ERROR
        )
        exists = sum(ids[entry.id] for entry in kind.messages)
        assert (ids[1103], exists >= succeeded) == ((0, True) if is_error else (succeeded, False))


@every_type
def test_exported_records_go_in_again_and_change_nothing(
    course: Course, kind: ImportType, storage: str, tmp_path: Path
) -> None:
    updating = a_sender(
        storage, course.sender.tenant, on_existing=OnExisting.UPDATE, read=ReadPermission.FULL
    )
    files = Round(course.gateway, storage, updating, tmp_path)
    count = files.check(kind.name, kind.table, kind.name)
    assert count == course.sent(kind) - len(course.failures(kind))


def test_an_export_of_a_person_finds_the_records_of_every_type(
    course: Course, storage: str, tmp_path: Path
) -> None:
    person = {"EmployerRef": "NORTHWIND", "PersonnelRef": "00418"}
    environ = {
        "AzureWebJobsStorage": storage,
        "GATEWAY_DATA": str(tmp_path),
        "GATEWAY_DATA_KEYS": DATA_KEYS,
    }
    words = ["person", "export", "--tenant", course.sender.tenant, "--json"]
    words += ["--employer", "NORTHWIND", "--personnel", "00418", "--out", str(tmp_path / "p.zip")]
    ran = CliRunner().invoke(app, words, env=environ, catch_exceptions=False)
    found = {each["what"]: each["found"] for each in json.loads(ran.stdout)["searched"]}
    for kind in KINDS:
        items = course.get(f"/api/records/{kind.name}?pageSize=1000")["items"]
        records = [item["record"] for item in items]
        theirs = [record for record in records if person.items() <= record.items()]
        assert theirs, "the sample has a row of this worker"
        assert found[kind.name] == len(theirs)


def test_imports_are_undone_from_the_last_type_to_the_first(course: Course) -> None:
    """A record that another one still refers to would be kept (1105)."""
    for kind in reversed(KINDS):
        path = f"/api/imports/{course.imports[kind.name].import_id}/undo"
        answer = course.gateway.call("POST", path, b"", course.sender.headers)
        assert answer.status == 200, answer.body
        assert answer.json["rows"]["failed"] == 0
        assert course.get(f"/api/records/{kind.name}")["items"] == []
