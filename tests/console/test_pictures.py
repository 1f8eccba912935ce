"""The pictures of docs/console.md, made where CONSOLE_PICTURES asks for them.

    CONSOLE_PICTURES=docs .venv/bin/python -m pytest tests/console/test_pictures.py

`docs` writes docs/images/console-NAME.png. Any other value is a folder, which gets each page in
light, dark and narrow, to be looked at.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from shared.auth.integrations import PERMISSIONS, ReadPermission
from tests.console.conftest import NARROW, ROOT, WIDE, Console, run_apart
from tests.contract.calls import STAGE, send_authdata
from tests.documents import Form, make_ready, upload_headers
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.integration.harness import an_employee
from tests.tenants import Sender, new_sender, new_tenant

WANTED = os.environ.get("CONSOLE_PICTURES", "")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not WANTED, reason="CONSOLE_PICTURES asks for no pictures"),
]
SURNAMES = ("Weber", "Schmidt", "Müller", "Wolf", "Braun", "Krüger", "Hofmann", "Vogel")
FORENAMES = ("Anna", "Jonas", "Mia", "Paul", "Lea", "Emil", "Ida", "Max")
MOST_BYTES = 150_000
LOOKS: tuple[tuple[str, ViewportSize, Literal["light", "dark"]], ...] = (
    ("", WIDE, "light"),
    ("-dark", WIDE, "dark"),
    ("-narrow", NARROW, "light"),
)
BANK = {"BankSortCode": "200000", "BankAccountNumber": "55779911"}


@pytest.fixture(name="sender")
def fixture_sender(storage: str) -> Sender:
    async def create() -> Sender:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            await make_ready(opened, tenant)
            await opened.authdata.rules.set_thresholds(tenant, {"added": "20", "errors": "15"})
            return await new_sender(
                opened,
                tenant,
                software_key="PAYROLL",
                permissions=frozenset(PERMISSIONS),
                read=ReadPermission.MASKED,
            )

    return run_apart(create())


def staff(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "EmployerRef": "NORTHWIND",
            "PersonnelRef": f"{at + 1:05d}",
            "FirstForename": FORENAMES[at % 8],
            "Surname": SURNAMES[at % 7],
            "Gender": 1,
            **changes,
        }
        for at in range(count)
    ]


def send(gateway: GatewayProcess, sender: Sender, name: str, rows: list[dict[str, Any]]) -> str:
    return gateway.post(
        sender, rows, **{"Content-Disposition": f'attachment; filename="{name}"'}
    ).import_id


def take(page: Page, name: str) -> None:
    """Write a picture of the page as it is."""
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    if WANTED == "docs":
        path = ROOT / "docs" / "images" / f"console-{name}.png"
        page.screenshot(path=path)
        assert path.stat().st_size < MOST_BYTES
        return
    for suffix, size, theme in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=theme)
        page.screenshot(path=Path(WANTED) / f"{name}{suffix}.png", full_page=True)
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")


def test_pictures_of_all_pages(
    console: Console, gateway: GatewayProcess, sender: Sender, tmp_path: Path
) -> None:
    page = console.page
    if WANTED == "docs":
        page.set_viewport_size({"width": 1100, "height": 760})
    send(gateway, sender, "staff-2026-01.csv", staff(60))
    changed = staff(60, JobCategoryRef="A1")
    for at in (3, 17, 31, 44):
        changed[at]["Gender"] = "divers"
    for at in (8, 20):
        changed[at]["DateOfBirth"] = "31.02.1990"
    changed[0] |= {"Surname": "Weber-Lang", "PrimaryBankDetails": BANK}
    failing = send(gateway, sender, "staff-2026-02.csv", changed)
    send(gateway, sender, "leavers.json", staff(4, LeavingDate="2026-02-28"))
    employees = [an_employee(f"{at + 1:05d}") for at in range(40)]
    send_authdata(gateway, sender, employees[:30])
    send_authdata(
        gateway, sender, [*employees[28:34], an_employee("00029"), an_employee("")], STAGE
    )
    for worker in ("00001", "00002", "00003", "99999"):
        body = Form(worker=worker, file_name=f"payslip-{worker}.pdf").body()
        gateway.call("POST", "/api/import/documents", body, upload_headers(sender))
    console.open("#/imports")
    console.sign_in(sender)
    expect(page.get_by_text("staff-2026-02.csv").first).to_be_visible()
    take(page, "imports")
    console.go(f"#/imports/{failing}")
    expect(page.get_by_role("region", name="What the gateway says")).to_be_visible()
    expect(page.get_by_text("Gender").first).to_be_visible()
    expect(page.get_by_role("table").last).to_be_visible()
    take(page, "import")

    console.go("#/upload")
    rows = "EmployerRef;PersonnelRef;Surname;Gender\n"
    rows += "NORTHWIND;00001;Weber;2\nNORTHWIND;00002;Schmidt-Roth;1\nNORTHWIND;00003;Müller;1\n"
    rows += "NORTHWIND;00061;Neumann;2\nNORTHWIND;00062;Otto;männlich\n"
    file = tmp_path / "staff-2026-03.csv"
    file.write_text(rows, "utf-8")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Try it first").click()
    page.get_by_role("button", name="updated").click()
    take(page, "upload")

    console.go("#/records?of=person&person=00001")
    page.get_by_role("region", name="workers", exact=True).get_by_role("button").first.click()
    record = page.get_by_role("region", name="Record NORTHWIND")
    expect(record.get_by_role("link")).to_have_count(2)
    take(page, "records")

    console.go("#/batches")
    page.get_by_role("row", name="waits").get_by_role("link").click()
    expect(page.get_by_role("region", name="Employees")).to_be_visible()
    take(page, "batches")
    for name in ("documents", "health"):
        console.go(f"#/{name}")
        page.get_by_role("table").first.wait_for()
        take(page, name)
