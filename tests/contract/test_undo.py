"""Undoing an import: calls, refusals, what is shown, and the commands of docs/undo.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cli.environment import ROOT
from tests.builders import a_worker, body_of, workers
from tests.contract.calls import DRY_RUN_ROWS, check_refusal
from tests.contract.test_pay_and_bill import an_assignment
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.integration.manage import Manage
from tests.tenants import Sender

pytestmark = pytest.mark.e2e


def undo(
    gateway: GatewayProcess, sender: Sender, import_id: str, query: str = "", **headers: str
) -> Answer:
    path = f"/api/imports/{import_id}/undo{query}"
    return gateway.call("POST", path, None, {**sender.headers, **headers})


def send(gateway: GatewayProcess, sender: Sender, *rows: Any) -> str:
    return gateway.post(sender, list(rows)).import_id


def outcomes(gateway: GatewayProcess, sender: Sender, import_id: str) -> dict[int, tuple[str, Any]]:
    """Outcome and message ids of each row by index."""
    items = gateway.get(f"/api/imports/{import_id}/results", sender).json["items"]
    return {
        item["index"]: (item["outcome"], [message["errorID"] for message in item["messages"]])
        for item in items
    }


def test_an_undo_shows_the_rows_of_the_import_that_took_effect(
    gateway: GatewayProcess, sender: Sender
) -> None:
    send(gateway, sender, a_worker("P1"), a_worker("P2", Title="Ms"))
    parent = send(
        gateway,
        sender,
        a_worker("P3", Gender="x"),
        a_worker("P1"),
        a_worker("P2", Title="Dr"),
        a_worker("P4"),
        a_worker("P5"),
    )
    send(gateway, sender, a_worker("P4", Title="Mr"))
    shown = gateway.get(f"/api/imports/{parent}", sender).json
    assert (shown["undoneBy"], shown["links"]["undo"]) == (None, f"/api/imports/{parent}/undo")

    judged = undo(gateway, sender, parent, "?dryRun=true&view=rows")
    assert judged.headers["dry-run"] == "true"
    items = {item["index"]: item for item in judged.json["items"]}
    assert items[2]["changes"] == [{"field": "Title", "before": "Dr", "after": "Ms"}]
    assert {change["after"] for change in items[4]["changes"]} == {None}
    counted = undo(gateway, sender, parent, "?dryRun=true").json
    assert counted["rows"] == {"total": 3, "reversed": 2, "unchanged": 0, "failed": 1}
    assert [(each["errorID"], each["firstIndexes"]) for each in counted["failures"]] == [
        (1104, [3])
    ]

    answer = undo(gateway, sender, parent)
    assert answer.status == 200, answer.body
    child = answer.json
    assert answer.headers["location"] == child["links"]["self"]
    assert (child["undoes"], child["parentId"], child["type"]) == (parent, None, "workers")
    assert child["caller"] == {"integration": sender.integration.software_key}
    assert child["state"] == "CompletedWithErrors"
    rows = child["rows"]
    assert (rows["new"], rows["updated"], rows["reversed"], rows["failed"]) == (0, 0, 2, 1)
    expected = {2: ("reversed", []), 3: ("failed", [1104]), 4: ("reversed", [])}
    assert outcomes(gateway, sender, child["importId"]) == expected
    here = f"/api/imports/{child['importId']}"
    found = gateway.get(f"{here}/results?outcome=reversed", sender).json["items"]
    assert [item["index"] for item in found] == [2, 4]
    assert gateway.get(f"{here}/results?outcome=updated", sender).json["items"] == []
    groups = gateway.get(f"{here}/failures", sender).json["items"]
    assert [group["firstIndexes"] for group in groups] == [[3]]
    [failed] = gateway.get(f"{here}/failed-rows", sender).json
    assert failed["row"] == {"index": 3, "EmployerRef": "E1", "PersonnelRef": "P4"}
    assert failed["index"] == 3
    assert gateway.get(f"{here}/answer", sender).json["importId"] == child["importId"]

    shown = gateway.get(f"/api/imports/{parent}", sender).json
    assert shown["undoneBy"] == child["importId"]
    assert "undo" not in shown["links"]
    assert shown["rows"]["repaired"] == 0
    gone = gateway.get("/api/records/workers?deleted=true", sender).json["items"]
    assert [(item["key"]["PersonnelRef"], item["changedBy"]) for item in gone] == [
        ("P5", child["importId"])
    ]


def test_a_worker_with_an_assignment_stays_until_that_is_undone(
    gateway: GatewayProcess, sender: Sender
) -> None:
    parent = send(gateway, sender, a_worker("P1"), a_worker("P2"))
    path = "/api/import/assignments?version=1"
    body = body_of([an_assignment() | {"PersonnelRef": "P1"}])
    assignments = gateway.call("POST", path, body, sender.headers).import_id
    child = undo(gateway, sender, parent).json["importId"]
    assert outcomes(gateway, sender, child) == {0: ("failed", [1105]), 1: ("reversed", [])}
    [item] = gateway.get(f"/api/imports/{child}/results?outcome=failed", sender).json["items"]
    assert item["messages"][0]["fieldName"] == "AssignmentRef"

    undone = undo(gateway, sender, assignments).json
    assert undone["rows"]["reversed"] == 1
    corrections = body_of([{"index": 0, "row": a_worker("P9")}])
    refused = gateway.call("POST", f"/api/imports/{child}/retry", corrections, sender.headers)
    check_refusal(refused, 400, "rows cannot be corrected")
    retried = gateway.call("POST", f"/api/imports/{child}/retry", None, sender.headers).json
    assert (retried["undoes"], retried["parentId"]) == (parent, child)
    assert outcomes(gateway, sender, retried["importId"]) == {0: ("reversed", [])}
    assert gateway.get(f"/api/imports/{child}", sender).json["state"] == "Repaired"

    # The worker is gone, so the assignment cannot come back before it.
    back = undo(gateway, sender, undone["importId"]).json["importId"]
    assert outcomes(gateway, sender, back) == {0: ("failed", [2001])}
    assert undo(gateway, sender, retried["importId"]).json["rows"]["reversed"] == 1
    again = gateway.call("POST", f"/api/imports/{back}/retry", None, sender.headers).json
    assert (again["rows"]["reversed"], again["state"]) == (1, "Completed")


def test_a_key_makes_one_undo(gateway: GatewayProcess, sender: Sender) -> None:
    parent = send(gateway, sender, a_worker("P1"))
    headers = {"Prefer": "respond-async", "Idempotency-Key": "once"}
    first = undo(gateway, sender, parent, "?onlyIfAll=true", **headers)
    gateway.ended(sender, first.import_id)
    again = undo(gateway, sender, parent, "?onlyIfAll=true", **headers)
    assert again.import_id == first.import_id
    check_refusal(undo(gateway, sender, parent, "", **headers), 422)
    message = check_refusal(undo(gateway, sender, parent), 409, "undone this import already")
    assert first.import_id in message


def test_what_cannot_be_undone_is_refused(gateway: GatewayProcess, sender: Sender) -> None:
    send(gateway, sender, a_worker("P1"))
    same = send(gateway, sender, a_worker("P1"), a_worker("P2", Gender="x"))
    check_refusal(undo(gateway, sender, same), 409, "nothing to undo")
    check_refusal(undo(gateway, sender, same, "?dryRun=true"), 409, "nothing to undo")
    assert "undo" not in gateway.get(f"/api/imports/{same}", sender).json["links"]
    parent = send(gateway, sender, a_worker("P3"), a_worker("P4"))
    send(gateway, sender, a_worker("P4", Title="Dr"))
    check_refusal(undo(gateway, sender, parent, "?onlyIfAll=true"), 409, "1 of 2 rows")
    for query in ("?onlyIfAll=perhaps", "?view=rows", "?dryRun=true&onlyIfAll=true", "?dry_run=1"):
        check_refusal(undo(gateway, sender, parent, query), 400)
    path = f"/api/imports/{parent}/undo"
    body = body_of([{"index": 0}])
    check_refusal(gateway.call("POST", path, body, sender.headers), 400, "takes no body")
    check_refusal(undo(gateway, sender, parent, Accept="text/html"), 406)
    check_refusal(undo(gateway, sender, "00000000-0000-0000-0000-000000000000"), 404)
    assert gateway.get(f"/api/imports/{parent}", sender).json["undoneBy"] is None


def test_more_rows_than_a_dry_run_takes_are_undone_without_one(
    gateway: GatewayProcess, sender: Sender
) -> None:
    parent = send(gateway, sender, *workers(DRY_RUN_ROWS + 1))
    for query in ("?dryRun=true", "?onlyIfAll=true"):
        check_refusal(undo(gateway, sender, parent, query), 413, "without dryRun and onlyIfAll")
    assert undo(gateway, sender, parent).json["rows"]["reversed"] == DRY_RUN_ROWS + 1


def test_another_tenant_cannot_undo(
    gateway: GatewayProcess, sender: Sender, unused_senders: Any
) -> None:
    parent = send(gateway, sender, a_worker("P1"))
    check_refusal(undo(gateway, next(unused_senders), parent), 404)
    check_refusal(gateway.call("POST", f"/api/imports/{parent}/undo", None, {}), 401)


# The commands of the page run as they stand there, each on an import of its own.

COMMANDS = re.findall(
    r"^(?:python3 dev\.py manage|gw) .*$",
    (ROOT / "docs" / "undo.md").read_text("utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_do_what_it_says(
    command: str, gateway: GatewayProcess, storage: str, sender: Sender, tmp_path: Path
) -> None:
    parent = send(gateway, sender, a_worker("P1"), a_worker("P2"))
    names = {"ID": parent}
    if "$UNDO" in command:
        # A retry has something to send.
        kept = [a_worker("P2", Title="Dr")] if " retry " in command else []
        send(gateway, sender, *kept, a_worker("P3"))
        names["UNDO"] = undo(gateway, sender, parent).json["importId"]
    for name, value in names.items():
        command = command.replace(f"${name}", value)
    if command.startswith("gw"):
        [path] = re.findall(r'"http://127\.0\.0\.1:7071(.*)"', command)
        answer = gateway.call("POST", path, None, sender.headers)
        assert answer.status == 200, answer.body
        assert b"reversed" in answer.body
    else:
        words = command.replace("--tenant acme", f"--tenant {sender.tenant}").split()[3:]
        ran = Manage(storage, tmp_path).run(*words)
        assert (ran.returncode, ran.stderr) == (int("retry" in words), ""), ran.stdout
        assert ("1104" if "retry" in words else "2 ") in ran.stdout
        assert "reversed" in ran.stdout


def test_the_list_of_imports_says_which_were_undone(
    gateway: GatewayProcess, storage: str, sender: Sender, tmp_path: Path
) -> None:
    parent = send(gateway, sender, a_worker("P1"))
    first = undo(gateway, sender, parent).json["importId"]
    second = undo(gateway, sender, first).json["importId"]
    ran = Manage(storage, tmp_path).run("imports", "list", "--tenant", sender.tenant)
    head, *lines = ran.stdout.splitlines()
    notes = {line.split()[0]: line[head.index("UNDO") : head.index("ACCEPTED")] for line in lines}
    assert {import_id: text.strip() for import_id, text in notes.items()} == {
        second: "undo",
        first: "undo, undone",
        parent: "undone",
    }
    listed = gateway.get("/api/imports", sender).json["items"]
    assert [item["undoneBy"] for item in listed] == [None, second, first]


def test_the_page_has_commands() -> None:
    assert len([command for command in COMMANDS if "dev.py manage" in command]) >= 5
    assert len(COMMANDS) >= 9
