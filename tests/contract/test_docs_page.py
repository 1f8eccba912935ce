"""`/api/docs` in a real browser: it draws the contract, and no request leaves this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
TITLE = "Payroll Import Gateway"


@pytest.fixture(name="page")
def fixture_page(sender: Sender) -> Iterator[Page]:
    """A page of a browser of its own; behind `sender`, since both need the thread's event loop."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine: on Debian, apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_the_page_draws_every_operation_and_asks_only_here(
    gateway: GatewayProcess, page: Page
) -> None:
    asked: list[str] = []
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("request", lambda request: asked.append(request.url))
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{gateway.port}/api/docs")
    page.get_by_role("heading", name=TITLE).wait_for()
    page.get_by_role("heading", name="Which key goes where").wait_for()
    page.locator(".opblock").first.wait_for()
    assert page.locator(".opblock").count() == len(operations(Limits.of(settings_for(""))))
    for name in ("import_workers", "health"):
        block = page.locator(f'.opblock[id$="-{name}"]')
        block.locator("button.opblock-summary-control").click()
        block.locator(".responses-inner").first.wait_for()

    elsewhere = [url for url in asked if urlsplit(url).scheme not in ("data", "blob")]
    assert {urlsplit(url).netloc for url in elsewhere} == {f"127.0.0.1:{gateway.port}"}
    assert complaints == []


def test_a_call_can_be_tried_from_the_page(
    gateway: GatewayProcess, sender: Sender, page: Page
) -> None:
    page.goto(f"http://127.0.0.1:{gateway.port}/api/docs")
    page.get_by_role("button", name="Authorize").first.click()
    for scheme, value in zip(
        ("functionKey", "softwareKey"),
        (sender.headers["X-Functions-Key"], sender.headers["X-Software-Key"]),
        strict=True,
    ):
        form = page.locator("form").filter(has_text=scheme)
        form.locator("input").fill(value)
        form.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close", exact=True).first.click()
    block = page.locator('.opblock[id$="-import_workers"]')
    block.locator("button.opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/api/import/workers**") as answered:
        block.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    assert answered.value.json()["results"][0]["importStatus"] == "OK"
