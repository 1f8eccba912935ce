"""Undo over HTTP of the types that store more than a record per row (docs/contracts.md#9)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from shared.storage.names import DOCUMENT_BLOBS
from tests.builders import a_worker
from tests.contract.calls import (
    a_license,
    item_of,
    send_authdata,
    send_document,
    send_licenses,
    stored_blobs,
    stored_licenses,
)
from tests.documents import PDF, ROUND, Form, a_ready_sender
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.harness import an_employee
from tests.integration.manage import Manage
from tests.tenants import Sender

pytestmark = pytest.mark.e2e


def undo(gateway: GatewayProcess, sender: Sender, import_id: str, query: str = "") -> Any:
    """The answer to an undo call."""
    answer = gateway.call("POST", f"/api/imports/{import_id}/undo{query}", None, sender.headers)
    assert answer.status == 200, answer.body
    return answer.json


def rows_of(gateway: GatewayProcess, sender: Sender, import_id: str) -> list[tuple[Any, ...]]:
    """Index, outcome and message ids of each row of an import."""
    answer = gateway.get(f"/api/imports/{import_id}/results", sender).json
    return outcomes(answer["items"])


def outcomes(items: Sequence[Any]) -> list[tuple[Any, ...]]:
    return sorted(
        (each["index"], each["outcome"], *(message["errorID"] for message in each["messages"]))
        for each in items
    )


def changes_of(gateway: GatewayProcess, sender: Sender, field: str) -> list[tuple[str, str]]:
    """What the last import changed, as the feed has it."""
    items = gateway.get("/api/changes", sender).json["items"]
    last = max(each["number"] for each in items)
    return sorted((each["change"], each["key"][field]) for each in items if each["number"] == last)


# Licenses: files, an employee as a unit, a license that moved.


def a_file(data: bytes) -> list[dict[str, str]]:
    return [{"name": "scan", "content": base64.b64encode(data).decode()}]


def test_a_wrong_replacement_of_licenses_is_undone_with_its_files(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    def send(rows: list[Any], action: str) -> str:
        return send_licenses(gateway, sender, rows, f"importAction={action}").import_id

    good = [a_license("L1", documents=a_file(b"good")), a_license("L2"), a_license("L3", "8")]
    send([*good, a_license("L4", "9", documents=a_file(b"nine"))], "Override")
    first = stored_licenses(storage, sender)
    l1, l2, l3, l4 = (each["licenseKey"] for each in first)
    wrong = [
        a_license("L1", documents=a_file(b"wrong")),
        a_license("L5"),
        a_license("L3", "8", notes="wrong"),
        a_license("L4", "10", licenseKey=l4),
    ]
    parent = send(wrong, "Replace")
    again = "importAction=Replace&allowSameFile=false"
    assert send_licenses(gateway, sender, wrong, again).status == 409
    second = stored_licenses(storage, sender)
    [l5] = {each["licenseKey"] for each in second} - {l1, l2, l3, l4}
    send([a_license("L3", "8", notes="corrected")], "Merge")

    foretold = undo(gateway, sender, parent, "?dryRun=true&view=rows")
    expected = [(0, "reversed"), (1, "reversed"), (2, "failed", 1104), (3, "reversed")]
    assert outcomes(foretold["items"]) == expected
    files = stored_blobs(storage, sender)
    assert stored_licenses(storage, sender) != first, "a dry run changes nothing"

    done = undo(gateway, sender, parent)
    assert (done["rows"]["reversed"], done["rows"]["failed"]) == (3, 1)
    assert rows_of(gateway, sender, done["importId"]) == expected
    corrected = {**first[2], "notes": "corrected"}
    assert stored_licenses(storage, sender) == [first[0], first[1], corrected, first[3]]
    assert changes_of(gateway, sender, "licenseKey") == sorted(
        [("updated", l1), ("created", l2), ("updated", l4), ("deleted", l5)]
    )
    assert stored_blobs(storage, sender) == files, "no file is lost"
    [document] = first[0]["documents"]
    assert files[document["blob"]].data == b"good"

    back = undo(gateway, sender, done["importId"])
    assert (back["rows"]["reversed"], back["rows"]["failed"]) == (3, 0)
    after = [corrected if each["licenseKey"] == l3 else each for each in second]
    assert stored_licenses(storage, sender) == after
    assert stored_blobs(storage, sender) == files
    answer = send_licenses(gateway, sender, wrong, again)
    assert answer.status == 200, "an import that was undone does not count"


# Authentication data: hashes, a rename, values that another employee has by now.


def lookups_of(storage: str, sender: Sender) -> list[tuple[str, str]]:
    """The employees that a combination of values names, and those that have one."""

    async def read() -> list[tuple[str, str]]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            entities = await opened.account.tables.query("AuthData", sender.tenant)
        named = sorted(each.row.rpartition("|")[2] for each in entities if each.row[0] == "x")
        live = sorted(
            each.row[2:]
            for each in entities
            if each.row[0] == "r" and each.text("Lookups") and not each.flag("Deleted")
        )
        return list(zip_longest(named, live))

    return asyncio.run(read())


def test_employees_get_their_hashes_and_their_ids_back(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    def send(*rows: Any) -> Any:
        answer = send_authdata(gateway, sender, list(rows))
        assert answer.status == 200, answer.body
        return answer

    def unchanged(*rows: Any) -> int:
        return int(send(*rows).json["totalNoChange"])

    first = [an_employee(f"E{at}", f"value-{at}") for at in range(1, 5)]
    send(*first)
    wrong = [
        an_employee("E1", "wrong"),
        an_employee("N2", "value-2"),
        {**an_employee("E3", "value-3"), "employeeStatus": "Left"},
        an_employee("E5", "value-5"),
        an_employee("E4", "value-4b"),
    ]
    done = send(*wrong)
    assert (done.json["totalNew"], done.json["totalEmpIdUpdate"]) == (1, 1)
    parent = done.import_id
    later = {**an_employee("E3", "value-3"), "employeeStatus": "Later"}
    send(later, an_employee("E6", "value-4"))

    foretold = undo(gateway, sender, parent, "?dryRun=true&view=rows")
    expected = [
        (0, "reversed"),
        (1, "reversed"),
        (2, "failed", 1104),
        (3, "reversed"),
        (4, "failed", 1104),
    ]
    assert outcomes(foretold["items"]) == expected
    assert "value" not in str([each.get("changes") for each in foretold["items"]])
    undone = undo(gateway, sender, parent)
    assert rows_of(gateway, sender, undone["importId"]) == expected
    assert changes_of(gateway, sender, "employeeId") == [
        ("created", "E2"),
        ("deleted", "E5"),
        ("deleted", "N2"),
        ("updated", "E1"),
    ]
    named = lookups_of(storage, sender)
    assert named == [(each, each) for each in ("E1", "E2", "E3", "E4", "E6")]

    back = undo(gateway, sender, undone["importId"])
    assert (back["rows"]["reversed"], back["rows"]["failed"]) == (3, 0)
    assert unchanged(*wrong[:2], wrong[3], wrong[4], later) == 5
    named = lookups_of(storage, sender)
    assert named == [(each, each) for each in ("E1", "E3", "E4", "E5", "E6", "N2")]
    undo(gateway, sender, back["importId"])
    assert unchanged(*first[:2], later, wrong[4]) == 4


# Documents: the earlier file, a document that goes, a file that is not kept, a closed round.


def files_of(storage: str, sender: Sender) -> dict[str, bytes]:
    """The files of the tenant's documents by name."""
    with ContainerClient.from_connection_string(storage, DOCUMENT_BLOBS) as container:
        names = [blob.name for blob in container.list_blobs(f"{sender.tenant}/")]
        return {name: container.download_blob(name).readall() for name in names}


def test_the_earlier_file_of_a_document_comes_back_and_a_created_document_goes(
    gateway: GatewayProcess, storage: str, tmp_path: Path
) -> None:
    sender = a_ready_sender(storage)
    worker = json.dumps([a_worker("P1")]).encode()
    headers = {"Content-Type": "application/json", **sender.headers}
    assert gateway.call("POST", "/api/import/workers", worker, headers).status == 200

    def upload(name: str, content: bytes) -> tuple[str, str]:
        answer = send_document(gateway, sender, Form(file_name=name, content=content))
        return item_of(answer)["documentId"], answer.import_id

    def content(document: str) -> tuple[int, bytes]:
        answer = gateway.get(f"/api/documents/{document}/content", sender)
        return answer.status, answer.body

    first, of_first = upload("a.pdf", PDF)
    listed = gateway.get("/api/documents", sender).json
    _, wrong = upload("a.pdf", PDF + b" wrong")
    second, of_second = upload("b.pdf", PDF)
    Manage(storage, tmp_path).run(
        *("round", "set", sender.tenant, "--code", ROUND, "--status", "Closed")
    )
    files = files_of(storage, sender)

    foretold = undo(gateway, sender, wrong, "?dryRun=true&view=rows")
    assert outcomes(foretold["items"]) == [(0, "reversed")]
    assert content(first) == (200, PDF + b" wrong")
    undone = undo(gateway, sender, wrong)
    assert undone["rows"]["reversed"] == 1
    assert content(first) == (200, PDF)
    undone_second = undo(gateway, sender, of_second)
    assert content(second)[0] == 404
    assert gateway.get("/api/documents", sender).json == listed
    assert changes_of(gateway, sender, "documentId") == [("deleted", second)]
    assert files_of(storage, sender) == files, "no file is lost"

    undo(gateway, sender, undone["importId"])
    undo(gateway, sender, undone_second["importId"])
    assert content(first) == (200, PDF + b" wrong")
    assert content(second) == (200, PDF)

    kept = undo(gateway, sender, of_first)
    assert rows_of(gateway, sender, kept["importId"]) == [(0, "failed", 1104)]
    retry = gateway.call("POST", f"/api/imports/{kept['importId']}/retry", None, sender.headers)
    assert (retry.status, retry.json["rows"]["failed"]) == (200, 1)
