"""The pages Upload, Records, Batches, Documents and Health, in a browser."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueServiceClient
from playwright.sync_api import Page, expect

from shared.auth.integrations import PERMISSIONS, ReadPermission
from shared.storage.dropped_blobs import POISON_QUEUE
from tests.builders import a_worker
from tests.console.conftest import NARROW, Console, run_apart
from tests.documents import PDF, ROUND, make_ready
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import Sender, new_sender, new_tenant

pytestmark = pytest.mark.e2e
# What a page must show as text.
HOSTILE = "<img src=x onerror=alert(1)><b>Weber</b>"
BANK = {"BankSortCode": "123456", "BankAccountNumber": "12345678"}


@pytest.fixture(name="senders")
def fixture_senders(storage: str) -> tuple[Sender, Sender]:
    """An administrator who reads everything, and an integration whose values are masked."""

    async def create() -> tuple[Sender, Sender]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            tenant = await new_tenant(opened)
            await make_ready(opened, tenant)
            return (
                await new_sender(
                    opened, tenant, permissions=frozenset(PERMISSIONS), read=ReadPermission.FULL
                ),
                await new_sender(opened, tenant, read=ReadPermission.MASKED),
            )

    return run_apart(create())


@pytest.fixture(name="sender")
def fixture_sender(senders: tuple[Sender, Sender]) -> Sender:
    return senders[0]


def drop_file(page: Page, name: str, text: str) -> None:
    """Drop a file on the field for files."""
    dropped = page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], name));
            return transfer;
        }""",
        [name, text],
    )
    page.dispatch_event(".file-drop", "drop", {"dataTransfer": dropped})


def test_a_file_is_tried_imported_and_followed(
    console: Console, gateway: GatewayProcess, sender: Sender, tmp_path: Path
) -> None:
    gateway.post(sender, [a_worker("W1", Surname="Before"), a_worker("W2")])
    profile = {
        "type": "workers",
        "columns": {
            "Mandant": "EmployerRef", "Nr": "PersonnelRef", "Name": "Surname", "G": "Gender",
        },
        "values": {"Gender": {"entries": {"M": 1}, "otherwise": "error"}},
    }  # fmt: skip
    headers = {"Content-Type": "application/json", **sender.headers}
    address = "/api/admin/profiles/payroll"
    assert gateway.call("PUT", address, json.dumps(profile).encode(), headers).status == 200
    file = tmp_path / "märz <i>1.csv"
    file.write_text(f"Mandant;Nr;Name;G\nE1;W1;{HOSTILE};M\nE1;W2;Sample;\nE1;W3;New;X\n", "utf-8")
    console.open("#/upload?type=workers")
    page = console.page
    console.sign_in(sender)
    page.get_by_label("Mapping profile").select_option("payroll")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Try it first").click()
    dry_run = page.get_by_role("region", name="Dry run")
    rows = dry_run.locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("has no entry for the value")
    dry_run.get_by_role("button", name="updated 1").click()
    expect(rows.locator("del")).to_have_text("Before")
    expect(rows).to_contain_text(HOSTILE)
    console.check_accessibility()
    assert gateway.get("/api/imports", sender).json["items"][0]["rows"]["total"] == 2
    page.get_by_role("button", name="Import", exact=True).click()
    following = page.get_by_role("region", name="Import", exact=True)
    expect(following).to_contain_text("1 updated")
    expect(following).to_contain_text("1 failed")
    expect(following.get_by_role("region", name="Values without an entry")).to_contain_text("X")
    console.check_accessibility()
    [shown, _] = gateway.get("/api/imports", sender).json["items"]
    assert (shown["source"], shown["rows"]["failed"]) == (file.name, 1)
    following.get_by_role("link", name="Open the import").click()
    page.wait_for_url(f"**/imports/{shown['importId']}")


def test_a_file_whose_answer_was_lost_is_imported_once(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    console.open("#/upload")
    page = console.page
    console.sign_in(sender)
    drop_file(page, "workers.ndjson", json.dumps(a_worker("W1")))
    sent: list[str] = []

    def lose(route: Any) -> None:
        sent.append(route.request.headers["idempotency-key"])
        if len(sent) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/api/import/workers", lose)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Import again").click()
    expect(page.get_by_role("region", name="Import", exact=True)).to_contain_text("1 new")
    assert len(set(sent)) == 1
    assert len(sent) == 2
    assert len(gateway.get("/api/imports", sender).json["items"]) == 1
    console.complaints.clear()


def test_records_show_former_values_and_who_changed_them(
    console: Console, gateway: GatewayProcess, senders: tuple[Sender, Sender]
) -> None:
    full, masked = senders
    gateway.post(full, [a_worker("W1", PrimaryBankDetails=BANK)])
    gateway.post(full, [a_worker("W1", Surname=HOSTILE, PrimaryBankDetails=BANK)])
    assignment = {
        "EmployerRef": "E1", "AssignmentRef": "A1", "ClientRef": "C", "PersonnelRef": "W1",
        "DivisionRef": "D", "DepartmentRef": "D", "StartDate": "2026-01-01",
        "ExpectedEndDate": None, "ActualEndDate": None,
    }  # fmt: skip
    body = json.dumps([assignment]).encode()
    assert gateway.call("POST", "/api/import/assignments", body, full.headers).status == 200
    page = console.page
    console.open()
    for sender, account in ((full, "12345678"), (masked, "***5678")):
        console.go("#/records")
        console.sign_in(sender)
        page.get_by_label("Reference of the person").fill("W1")
        page.get_by_label("Reference of the person").press("Enter")
        workers = page.get_by_role("region", name="workers", exact=True)
        expect(workers).to_contain_text(HOSTILE)
        expect(page.get_by_role("region", name="assignments", exact=True)).to_contain_text("A1")
        workers.get_by_role("button", name="E1 · W1").click()
        record = page.get_by_role("region", name="Record E1 · W1")
        expect(record.locator("tr", has_text="BankAccountNumber")).to_contain_text(account)
        surname = record.locator("tr", has_text="Surname")
        expect(surname).to_contain_text(HOSTILE)
        expect(surname.locator("del")).to_have_text("Sample")
        expect(record.get_by_role("link").first).to_have_text(full.integration.software_key)
        console.check_accessibility()
        if sender is full:
            page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Search").first.select_option("workers")
    page.get_by_label("EmployerRef").fill("E1")
    page.get_by_role("button", name="Search").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert "***5678" in Path(download.value.path()).read_text("utf-8")
    console.check_accessibility()


def test_a_batch_is_reviewed_and_processed(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    console.open("#/batches")
    page = console.page
    console.sign_in(sender)
    page.get_by_role("link", name="Stage a file").first.click()
    rows = f"employeeId,authValue1\nE1,a\n{HOSTILE},b\nE1,a\n,c\n"
    drop_file(page, "employees.csv", rows)
    page.get_by_role("button", name="Stage", exact=True).click()
    page.get_by_role("link", name="review the batch").click()
    [batch] = gateway.get("/api/admin/authdata", sender).json["items"]
    assert (batch["state"], batch["records"]) == ("Staged", 4)
    expect(page.get_by_role("region", name="Batches")).to_contain_text(batch["fileLogId"])
    review = page.get_by_role("region", name="Review")
    expect(review.get_by_role("region", name="Employees")).to_contain_text(HOSTILE)
    expect(review.get_by_role("region", name="Records with errors")).to_be_visible()
    console.check_accessibility()
    review.get_by_role("button", name="Process the batch").click()
    console.check_accessibility()
    page.get_by_role("button", name="Process", exact=True).click()
    expect(review).to_contain_text("The batch is processed")
    expect(page.get_by_role("region", name="Batches")).to_contain_text("processed")
    assert gateway.get("/api/imports", sender).json["items"][0]["rows"]["new"] == 2


def test_a_document_is_sent_and_a_refused_one_says_why(
    console: Console, gateway: GatewayProcess, sender: Sender, tmp_path: Path
) -> None:
    gateway.post(sender, [a_worker("W1")])
    file = tmp_path / "payslip & more.pdf"
    file.write_bytes(PDF)
    console.open("#/documents")
    page = console.page
    console.sign_in(sender)
    sending = page.get_by_role("region", name="Send a document")
    sending.get_by_label("Worker", exact=True).fill("W1")
    sending.get_by_label("Round", exact=True).fill(ROUND)
    sending.locator("input[type=file]").set_input_files(file)
    sending.get_by_role("button", name="Send").click()
    expect(sending.get_by_role("status")).to_contain_text("It is stored.")
    documents = page.get_by_role("region", name="Documents", exact=True)
    expect(documents).to_contain_text(file.name)
    sending.get_by_label("Worker", exact=True).fill(HOSTILE)
    sending.locator("input[type=file]").set_input_files(file)
    sending.get_by_role("button", name="Send").click()
    expect(sending.get_by_role("alert")).to_contain_text("worker")
    refused = page.get_by_role("region", name="Refused documents").first
    expect(refused).to_contain_text(HOSTILE)
    console.check_accessibility()
    with page.expect_download() as download:
        documents.get_by_role("button", name=file.name).click()
    assert Path(download.value.path()).read_bytes() == PDF


def test_health_shows_what_failed_too_often(console: Console, sender: Sender, storage: str) -> None:
    with QueueServiceClient.from_connection_string(storage) as queues:
        with suppress(ResourceExistsError):
            queues.create_queue(POISON_QUEUE)
        queues.get_queue_client(POISON_QUEUE).send_message("e30=")
        console.open("#/health")
        console.sign_in(sender)
        page = console.page
        expect(page.get_by_role("status").first).to_contain_text("Storage works")
        expect(page.get_by_role("alert")).to_contain_text("1 dropped file failed too often")
        expect(page.get_by_role("region", name="Queues")).to_contain_text("import-workers")
        console.check_accessibility()
        queues.get_queue_client(POISON_QUEUE).clear_messages()


def test_pages_without_anything_are_usable_when_narrow(
    console: Console, senders: tuple[Sender, Sender]
) -> None:
    """For a caller who is no administrator, 360 pixels wide: no page scrolls aside."""
    console.page.set_viewport_size(NARROW)
    console.open()
    console.sign_in(senders[1])
    for name in ("Upload", "Records", "Batches", "Documents", "Health"):
        console.go(f"#/{name.lower()}")
        console.heading(name).wait_for()
        console.page.wait_for_load_state("networkidle")
        assert console.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        console.check_accessibility()
