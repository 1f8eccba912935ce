"""Undo over HTTP of the types that store more than a record per row (docs/contracts.md#9)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from tests.contract.calls import a_license, send_licenses, stored_blobs, stored_licenses
from tests.e2e.gateway_process import GatewayProcess
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
