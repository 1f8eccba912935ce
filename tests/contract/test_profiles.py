"""Mapping profiles over HTTP: a sender's columns and codes, from the file to its corrections."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from cli.environment import ROOT
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.manage import Manage, Ran
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e

PLACEMENTS = "/api/import/placements?version=1"
HEADER = "Mandant;Vorgang;S/H;Beginn;Gehalt;Kostenstelle;Satzart"
EXPORT = f"""{HEADER}
E1;000123;S;01.03.2026;37,5;K9;S
E1;000124;H;15.03.2026;1.000,25;K9;S
E1;000125;Storno;01.04.2026;;K9;S
E1;000126;H;2026-03-01;;K8;S
E1;000127;S;31.02.2026;12.5;"a;b";S
;;;;1.037,75;;SUMME
"""
PROFILE: dict[str, Any] = {
    "type": "placements",
    "columns": {
        "Mandant": "EmployerRef",
        "Vorgang": "PlacementRef",
        "S/H": "DebitOrCreditIndicator",
        "Beginn": "StartDate",
        "Gehalt": "Salary",
    },
    "values": {"DebitOrCreditIndicator": {"entries": {"S": "Debit", "H": "Credit"}}},
    "constants": {"PlacementCategory": "ContractPlacement"},
    "dates": "DD.MM.YYYY",
    "decimal": ",",
    "skip": {"Satzart": ["SUMME"]},
}
WORKER_HEADER = "Mandant;Nr.;Name;Geschlecht;NI;Kostenstelle"
WORKER_PROFILE: dict[str, Any] = {
    "type": "workers",
    "columns": {
        "Mandant": "EmployerRef",
        "Nr.": "PersonnelRef",
        "Name": "Surname",
        "Geschlecht": "Gender",
        "NI": "UKPayrollDetails.NINumber",
    },
    "values": {"Gender": {"entries": {"M": 1, "W": 2}}},
}
CSV = {"Content-Type": "text/csv"}


def set_profile(storage: str, sender: Sender, profile: dict[str, Any], **parts: Any) -> int:
    """Set the profile as an administrator; returns its version."""

    async def write() -> int:
        async with open_ready_gateway(settings_for(storage)) as opened:
            text = json.dumps({**profile, **parts})
            version, _ = await opened.profiles.set(sender.tenant, "payroll", text)
            return version.ref.version

    return asyncio.run(write())


def delete_profile(storage: str, sender: Sender) -> None:
    async def delete() -> None:
        async with open_ready_gateway(settings_for(storage)) as opened:
            await opened.profiles.delete(sender.tenant, "payroll")

    asyncio.run(delete())


def send(
    gateway: GatewayProcess,
    sender: Sender,
    body: str,
    query: str = "",
    address: str = PLACEMENTS,
    name: str = "payroll",
    **headers: str,
) -> Answer:
    called = f"{address}&profile={name}{query}"
    return gateway.call("POST", called, body.encode(), {**sender.headers, **CSV, **headers})


def retry(gateway: GatewayProcess, sender: Sender, import_id: str, rows: list[Any]) -> Answer:
    headers = {**sender.headers, "Content-Type": "application/json"}
    address = f"/api/imports/{import_id}/retry"
    return gateway.call("POST", address, json.dumps(rows).encode(), headers)


def failed_rows(gateway: GatewayProcess, sender: Sender, import_id: str) -> list[Any]:
    rows: list[Any] = gateway.get(f"/api/imports/{import_id}/failed-rows", sender).json
    return rows


def errors(row: dict[str, Any]) -> list[tuple[int, str | None, str | None, str | None]]:
    return [
        (each["errorID"], each.get("fieldName"), each.get("sentAs"), each.get("fieldValue"))
        for each in row["messages"]
        if each["messageType"] == "Error"
    ]


def test_the_story_of_a_file_with_foreign_columns_and_codes(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    assert set_profile(storage, sender, PROFILE) == 1

    dry = send(gateway, sender, EXPORT, "&dryRun=true")
    assert [row["importStatus"] for row in dry.results] == ["OK", "OK", "Error", "Error", "Error"]
    assert errors(dry.results[2]) == [(1010, "DebitOrCreditIndicator", "S/H", "Storno")]
    assert errors(dry.results[3]) == [(1006, "StartDate", "Beginn", "2026-03-01")]
    unknown = [each for each in dry.results[0]["messages"] if each["errorID"] == 1007]
    assert [each["fieldName"] for each in unknown] == ["Kostenstelle"]

    by_row = send(gateway, sender, EXPORT, "&dryRun=true&view=rows").json

    first = send(gateway, sender, EXPORT)
    assert first.json == dry.json
    shown = gateway.get(f"/api/imports/{first.import_id}", sender).json
    assert by_row["skipped"] == shown["rows"]["skipped"] > 0
    assert shown["profile"] == {"name": "payroll", "version": 1}
    unmapped = gateway.get(shown["links"]["unmapped"], sender).json
    names = ("fieldName", "sentAs", "value", "count", "firstIndex")
    assert [tuple(item[name] for name in names) for item in unmapped["items"]] == [
        ("DebitOrCreditIndicator", "S/H", "Storno", 1, 2)
    ]
    groups = gateway.get(shown["links"]["failures"], sender).json["items"]
    assert ("StartDate", "Beginn", 2) in [
        (each.get("fieldName"), each.get("sentAs"), each["count"]) for each in groups
    ]
    stored = gateway.get("/api/records/placements?EmployerRef=E1", sender).json["items"]
    assert [item["record"] for item in stored] == [
        {
            "EmployerRef": "E1",
            "PlacementRef": ref,
            "DebitOrCreditIndicator": indicator,
            "StartDate": start,
            "Salary": salary,
            "PlacementCategory": "ContractPlacement",
        }
        for ref, indicator, start, salary in (
            ("000123", "Debit", "2026-03-01", 37.5),
            ("000124", "Credit", "2026-03-15", 1000.25),
        )
    ]

    # The mended profile is a new version; what is stored already says 1103.
    entries = {"S": "Debit", "H": "Credit", "Storno": "Debit"}
    mended = {"DebitOrCreditIndicator": {"entries": entries}}
    assert set_profile(storage, sender, PROFILE, values=mended) == 2
    second = send(gateway, sender, EXPORT)
    assert [row["importStatus"] for row in second.results] == ["OK", "OK", "OK", "Error", "Error"]
    import_id = second.import_id
    assert gateway.get(f"/api/imports/{import_id}/unmapped", sender).json["items"] == []

    # A later version does not change how the rows of the import are retried.
    assert set_profile(storage, sender, PROFILE, dates="YYYY-MM-DD") == 3
    sent = [
        dict(zip(HEADER.split(";"), line, strict=True))
        for line in list(csv.reader(StringIO(EXPORT), delimiter=";"))[4:6]
    ]
    accept = {**sender.headers, "Accept": "text/csv"}
    failed = gateway.call("GET", f"/api/imports/{import_id}/failed-rows", headers=accept)
    rows = list(csv.DictReader(StringIO(failed.body.decode("utf-8-sig"), newline="")))
    assert [name for name in rows[0] if not name.startswith("_")] == HEADER.split(";")
    assert [{name: row[name] for name in sent[0]} for row in rows] == sent
    assert "1006 StartDate (Beginn): " in rows[0]["_error"]

    correct = failed_rows(gateway, sender, import_id)
    assert [item["row"] for item in correct] == sent
    assert errors(correct[1]) == [
        (1006, "StartDate", "Beginn", "31.02.2026"),
        (1002, "Salary", "Gehalt", "12.5"),
    ]
    correct[0]["row"]["Beginn"] = "01.03.2026"
    half = retry(gateway, sender, import_id, correct).json
    assert (half["rows"]["new"], half["rows"]["failed"]) == (1, 1)
    assert half["profile"] == {"name": "payroll", "version": 2}
    # What was sent back as it was has its faults again.
    [left] = failed_rows(gateway, sender, half["importId"])
    assert (left["row"], errors(left)) == (sent[1], errors(correct[1]))
    # A deleted profile still reads the corrections of its imports, here as the file of failed rows.
    delete_profile(storage, sender)
    check_refusal(send(gateway, sender, EXPORT), 400, "The tenant has no profile payroll")
    address = f"/api/imports/{half['importId']}"
    file = gateway.call("GET", f"{address}/failed-rows", headers=accept).body.decode("utf-8-sig")
    corrected = file.replace('"31.02.2026"', '"28.02.2026"').replace('"12.5"', '"12,5"')
    assert corrected != file
    as_csv = {**sender.headers, **CSV}
    whole = gateway.call("POST", f"{address}/retry", corrected.encode(), as_csv).json
    assert (whole["state"], whole["rows"]["new"]) == ("Completed", 1)
    assert gateway.get(f"/api/imports/{import_id}", sender).json["state"] == "Repaired"
    ended = gateway.get("/api/records/placements?EmployerRef=E1", sender).json["items"]
    assert len(ended) == 5
    assert ended[4]["record"]["Salary"] == 12.5


def test_a_profile_that_the_tenant_does_not_have_is_refused(
    gateway: GatewayProcess, storage: str, sender: Sender, unused_senders: Iterator[Sender]
) -> None:
    set_profile(storage, sender, PROFILE)
    other = next(unused_senders)
    check_refusal(send(gateway, other, EXPORT), 400, "The tenant has no profile payroll")
    for name in ("", "..%2Fpayroll", "payroll%2F1", "a@b", "p%7Cpayroll"):
        check_refusal(send(gateway, sender, EXPORT, name=name), 400, "cannot be the name of a")
    for address, wording in (
        (PLACEMENTS + "&profil=payroll", "profil. Correct or remove"),
        (WORKERS, "is for placements version 1"),
    ):
        check_refusal(send(gateway, sender, EXPORT, address=address), 400, wording)
    for body, wording in (
        ("A;B\n1;2\n", "has no column of the profile payroll"),
        ("Vorgang;VORGANG\n1;2\n", "more than one column of the same name"),
    ):
        check_refusal(send(gateway, sender, body), 400, wording)


def test_sensitive_values_are_masked_in_the_layout_of_the_sender(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    set_profile(storage, sender, WORKER_PROFILE)
    other = a_sender(storage, sender.tenant)
    rows = f"{WORKER_HEADER}\nE1;1;Müller;x;AB123456D;K-17-secret\n"
    import_id = send(gateway, sender, rows, address=WORKERS).import_id
    [own] = failed_rows(gateway, sender, import_id)
    assert (own["row"]["NI"], own["row"]["Kostenstelle"]) == ("AB123456D", "K-17-secret")
    [masked] = failed_rows(gateway, other, import_id)
    assert masked["row"] == {**own["row"], "NI": "***456D", "Kostenstelle": "***cret"}
    # A mask that comes back as it was shown stands for the value; another one is a fault.
    text = json.dumps({**masked["row"], "Geschlecht": "M", "NI": "***456E"})
    answer = retry(gateway, other, import_id, [{"index": 0, "row": json.loads(text)}])
    assert answer.json["rows"]["failed"] == 1
    masked["row"]["Geschlecht"] = "M"
    answer = retry(gateway, other, import_id, [masked])
    assert answer.json["rows"]["failed"] == 0
    [stored] = gateway.get("/api/records/workers?EmployerRef=E1", sender).json["items"]
    assert stored["record"]["UKPayrollDetails"]["NINumber"] == "***456D"


def test_a_masked_row_that_comes_back_as_it_was_shown_is_no_correction(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    """In the layout of the sender and in that of the type: a later import is not overwritten."""
    set_profile(storage, sender, WORKER_PROFILE)
    other = a_sender(storage, sender.tenant)
    later = {"EmployerRef": "E1", "PersonnelRef": "1", "Surname": "Later", "Forename": "A"}
    mapped = send(
        gateway, sender, f"{WORKER_HEADER}\nE1;1;Old;x;AB123456D;K-17-secret\n", address=WORKERS
    )
    plain: dict[str, Any] = {
        "EmployerRef": "E1",
        "PersonnelRef": "1",
        "Surname": "Old",
        "Gender": "x",
    }
    plain["UKPayrollDetails"] = {"NINumber": "AB123456D"}
    body = json.dumps([plain | {"Unknown": 12.50}]).encode()
    headers = {**sender.headers, "Content-Type": "application/json"}
    sent = gateway.call("POST", WORKERS, body, headers)
    gateway.call("POST", WORKERS, json.dumps([later]).encode(), headers)
    for import_id in (mapped.import_id, sent.import_id):
        [shown] = failed_rows(gateway, other, import_id)
        assert "***456D" in json.dumps(shown)
        child = retry(gateway, other, import_id, [shown])
        [again] = failed_rows(gateway, sender, child.import_id)
        assert 1101 in [message["errorID"] for message in again["messages"]]
        # A stored mask would be masked again, as *** alone.
        assert again["row"] == shown["row"]


LICENSES = "/v1/imports/licenses?importAction=Merge"


def test_licenses_are_mapped_in_files_and_not_in_forms_and_xml(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    columns = {
        "Firma": "companyCode",
        "Nr": "employeeNumber",
        "Art": "licenseTypeCode",
        "Ende": "expirationDate",
    }
    values = {"licenseTypeCode": {"entries": {"FS": "DRIVER"}}}
    parts = {"columns": columns, "values": values, "constants": {}, "type": "licenses"}
    set_profile(storage, sender, PROFILE, **parts)
    rows = "Firma;Nr;Art;Ende;Satzart\nC1;7;FS;31.12.2026;S\nC1;8;XX;31.12.2026;S\nC1;9;;;SUMME\n"
    answer = send(gateway, sender, rows, address=LICENSES)
    assert answer.status == 200, answer.body
    stored = gateway.get("/api/records/licenses?companyCode=C1", sender).json["items"]
    assert [
        (record["employeeNumber"], record["licenseTypeCode"], record["expirationDate"])
        for record in (item["record"] for item in stored)
    ] == [("7", "DRIVER", "2026-12-31")]
    [failed] = failed_rows(gateway, sender, answer.import_id)
    assert (failed["row"]["Nr"], errors(failed)) == (
        "8",
        [(1010, "licenseTypeCode", "Art", "XX")],
    )
    failed["row"]["Art"] = "FS"
    assert retry(gateway, sender, answer.import_id, [failed]).json["rows"]["new"] == 1
    as_xml = {"Content-Type": "application/xml"}
    refused = send(gateway, sender, "<a/>", address=LICENSES, **as_xml)
    check_refusal(refused, 400, "A profile maps rows of CSV")


def test_a_repeated_call_gets_its_answer_whatever_became_of_its_profile(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    set_profile(storage, sender, PROFILE)
    rows = f"{HEADER}\nE1;1;S;01.03.2026;1;K;S\n"
    key = {"Idempotency-Key": "k1"}
    first = send(gateway, sender, rows, **key)
    delete_profile(storage, sender)
    again = send(gateway, sender, rows, **key)
    assert (again.status, again.json) == (200, first.json)
    assert "x-profile-version" not in again.headers
    set_profile(storage, sender, PROFILE | {"decimal": "."})
    again = send(gateway, sender, rows, **key)
    assert (again.json, again.headers["x-profile-version"]) == (first.json, "2")
    # The key belongs to a call with that profile.
    check_refusal(send(gateway, sender, rows, name="other", **key), 422)


def test_rows_in_json_are_mapped_and_given_back_as_they_were(
    gateway: GatewayProcess, storage: str, sender: Sender
) -> None:
    columns = {
        "client.id": "EmployerRef",
        "no": "PlacementRef",
        "names[0]": "ApplicantName",
        "s/h": "DebitOrCreditIndicator",
        "hours": "Salary",
    }
    set_profile(storage, sender, PROFILE, columns=columns)
    rows = [
        {"client": {"id": "E1"}, "no": "1", "names": ["Müller"], "s/h": "S", "hours": 7.50},
        {"Client": {"ID": "E1"}, "NO": "2", "Names": ["a\u001f\nb"], "S/H": "x", "hours": "1,5"},
        {"client": {"id": "E1"}, "no": "3", "satzart": "SUMME"},
    ]
    as_json = {"Content-Type": "application/json"}
    answer = send(gateway, sender, json.dumps(rows), **as_json)
    assert [row["importStatus"] for row in answer.results] == ["OK", "Error"]
    [failed] = failed_rows(gateway, sender, answer.import_id)
    assert failed["row"] == rows[1]
    failed["row"]["S/H"] = "H"
    assert retry(gateway, sender, answer.import_id, [failed]).json["rows"]["new"] == 1
    stored = gateway.get("/api/records/placements?EmployerRef=E1", sender).json["items"]
    assert stored[1]["record"]["ApplicantName"] == "a\u001f\nb"
    check_refusal(
        send(gateway, sender, '[{"no":"1","a.b":1,"a":{"b":2}}]', **as_json), 400, "twice"
    )


def test_the_commands_of_the_page_import_its_example(
    gateway: GatewayProcess, storage: str, sender: Sender, tmp_path: Path
) -> None:
    page = (ROOT / "docs/mapping-profiles.md").read_text("utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    export, failed_header = [text for language, text in blocks if language == "csv"]
    profile = next(text for language, text in blocks if language == "json")
    commands = next(text for language, text in blocks if not language).splitlines()
    for name, text in (("export.csv", export), ("payroll.json", profile)):
        (tmp_path / name).write_text(text, "utf-8")
    manage = Manage(storage, tmp_path)
    keys = {
        "GATEWAY_URL": f"http://127.0.0.1:{gateway.port}",
        "GATEWAY_FUNCTIONS_KEY": sender.function_key,
        "GATEWAY_SOFTWARE_KEY": sender.integration.software_key,
    }

    def run(command: str) -> Ran:
        words = command.removeprefix("python3 dev.py manage ").replace("acme", sender.tenant)
        return manage.run(
            *(
                str(tmp_path / word) if re.search(r"\.(csv|json)$", word) else word
                for word in words.split()
            ),
            **keys,
        )

    set_once, tried, imported = map(run, commands)
    assert set_once.stdout.startswith("Version 1 of the profile payroll is set."), set_once
    assert (tried.returncode, tried.stderr) == (0, "")
    assert re.search(r"Geburtsdatum +24.12.1990 +DateOfBirth +1990-12-24", tried.stdout)
    assert "The rows would be: 2 new, 2 failed." in tried.stdout
    assert re.search(r"Geschlecht +Gender +divers +1 +2", tried.stdout)
    assert imported.returncode == 1
    assert "4 rows: 2 new, 0 updated, 0 unchanged; 2 failed." in imported.stdout
    import_id = re.findall(r"Import ([0-9a-f-]{36})", imported.stdout)[0]
    unmapped = run(f"python3 dev.py manage imports unmapped --tenant acme {import_id}")
    assert re.search(r"Geschlecht +Gender +divers +1 +2", unmapped.stdout)
    shown = run(f"python3 dev.py manage imports show --tenant acme {import_id}").stdout
    assert re.search(r"^index 2, line 4  4711 / 000125$", shown, re.MULTILINE), shown
    assert "[Gender (Geschlecht)]" in shown
    failed = (tmp_path / "failed.csv").read_text("utf-8-sig")
    header = next(csv.reader(StringIO(failed, newline="")))
    assert header == next(csv.reader([failed_header]))

    # The entry is added and a date corrected in the file of failed rows; both rows are in then.
    (tmp_path / "payroll.json").write_text(profile.replace('"W": 2', '"W": 2, "divers": 3'))
    (tmp_path / "failed.csv").write_text(failed.replace('"1990-12-24"', '"24.12.1990"'))
    assert run(commands[0]).stdout.startswith("Version 2 of")
    again = run("import workers failed.csv --profile payroll")
    assert "2 rows: 2 new, 0 updated, 0 unchanged; 0 failed." in again.stdout, again
    # The same command imports the file once more by the new version, and then says so.
    same = run(commands[2])
    assert "4 rows: 0 new, 0 updated, 3 unchanged; 1 failed." in same.stdout, same.stdout
    assert "sent before" not in same.stdout
    same = run(commands[2])
    assert "1 of 1 calls were sent before" in same.stdout
    assert "read by version 2 of the profile payroll then" in same.stdout
    document = json.loads(run(f"{commands[2]} --json").stdout)
    assert document["sentBefore"] == 1
    assert document["profile"] == {"name": "payroll", "version": 2}
