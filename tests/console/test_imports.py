"""The pages of imports: a failing import is repaired, a wrong one undone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.builders import a_worker
from tests.console.conftest import NARROW, Console
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e


def send(gateway: GatewayProcess, sender: Sender, rows: list[Any], source: str) -> str:
    """Import workers from a file of that name; returns the id of the import."""
    disposition = f'attachment; filename="{source}"'
    return gateway.post(sender, rows, **{"Content-Disposition": disposition}).import_id


def test_a_failing_import_is_repaired_from_its_group_to_a_corrected_cell(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"P{number}") for number in range(20)]
    rows += [a_worker(f"X{number}", Gender="female", StartDate="soon") for number in range(2)]
    send(gateway, sender, rows, "january.json")
    page = console.page
    console.open()
    console.sign_in(sender)
    failed = page.get_by_role("region", name="Imports with failed rows")
    failed.get_by_role("link", name="january.json").click()
    console.heading("january.json").wait_for()
    groups = page.get_by_role("region", name="Messages in groups")
    groups.get_by_role("row").filter(has_text="Gender").get_by_role("link").click()
    cell = page.get_by_label("Gender of row 21", exact=True)
    expect(cell).to_have_value("female")
    console.check_accessibility()
    for row in (21, 22):
        page.get_by_label(f"Gender of row {row}", exact=True).fill("2")
        page.get_by_label(f"StartDate of row {row}", exact=True).fill("2026-01-05")
    page.get_by_text("2 rows corrected, not sent yet").wait_for()
    page.get_by_role("button", name="Send again…").click()
    page.get_by_role("dialog").get_by_role("button", name="Send 2 rows again").click()
    page.get_by_text("retries have imported all of them").first.wait_for()
    assert page.get_by_role("button", name="Send the failed rows again…").count() == 0
    page.set_viewport_size(NARROW)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]
    stored = gateway.get("/api/records/workers?EmployerRef=E1&PersonnelRef=X1", sender).json
    [record] = [item["record"] for item in stored["items"]]
    assert (record["Gender"], record["StartDate"]) == (2, "2026-01-05")
