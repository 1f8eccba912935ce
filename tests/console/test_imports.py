"""The pages of imports: a failing import is repaired, a wrong one undone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from shared.auth.integrations import READ
from tests.builders import a_worker
from tests.console.conftest import NARROW, WIDE, Console
from tests.e2e.gateway_process import WORKERS, GatewayProcess
from tests.files_of_rows import as_xlsx
from tests.tenants import Sender

pytestmark = pytest.mark.e2e


def send(gateway: GatewayProcess, sender: Sender, rows: list[Any], source: str) -> str:
    """Import workers from a file of that name; returns the id of the import."""
    disposition = f'attachment; filename="{source}"'
    return gateway.post(sender, rows, **{"Content-Disposition": disposition}).import_id


def test_a_failing_file_is_uploaded_and_repaired_from_its_group_to_a_corrected_cell(
    console: Console, gateway: GatewayProcess, sender: Sender, tmp_path: Path
) -> None:
    rows = [a_worker(f"P{number}") for number in range(20)]
    rows += [a_worker(f"X{number}", Gender="female", StartDate="soon") for number in range(2)]
    file = tmp_path / "january.xlsx"
    file.write_bytes(as_xlsx(rows, "xlsxwriter").body)
    page = console.page
    console.open("#/upload?type=workers")
    console.sign_in(sender)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("region", name="Import", exact=True).get_by_text("2 failed").wait_for()
    console.go("#/imports")
    failed = page.get_by_role("region", name="Imports with failed rows")
    failed.wait_for()
    console.check_accessibility()
    failed.get_by_role("link", name="january.xlsx").click()
    console.heading("january.xlsx").wait_for()
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
    stored = gateway.get("/api/records/workers?EmployerRef=E1&PersonnelRef=X1", sender).json
    [record] = [item["record"] for item in stored["items"]]
    assert (record["Gender"], record["StartDate"]) == (2, "2026-01-05")


def test_a_corrected_row_that_fails_again_shows_what_was_typed_last(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("P1", Gender="female"), a_worker("P2", Gender="male")]
    import_id = send(gateway, sender, rows, "again.json")
    page = console.page
    console.open(f"#/imports/{import_id}")
    console.sign_in(sender)

    def cell(row: int) -> Locator:
        return page.get_by_label(f"Gender of row {row}", exact=True)

    def send_again(failed: str) -> None:
        page.get_by_role("button", name="Send again…").click()
        page.get_by_role("dialog").get_by_role("button", name=f"Send {failed} again").click()

    cell(1).fill("two")
    cell(2).fill("2")
    send_again("2 rows")
    page.get_by_text("1 row corrected, 1 failed again").wait_for()
    expect(cell(1)).to_have_value("two")
    expect(cell(2)).to_have_count(0)
    cell(1).fill("1")
    page.get_by_text("1 row corrected, not sent yet").wait_for()
    send_again("1 row")
    page.get_by_text("retries have imported all of them").first.wait_for()
    stored = gateway.get("/api/records/workers?EmployerRef=E1&PersonnelRef=P1", sender).json
    assert [item["record"]["Gender"] for item in stored["items"]] == [1]


def press_until(page: Page, name: str) -> None:
    """Press Tab until the element of that name has the focus."""
    focused = """() => {
        const item = document.activeElement;
        return item.getAttribute("aria-label") ?? item.labels?.[0]?.innerText ?? item.innerText;
    }"""
    names = []
    for _ in range(60):
        page.keyboard.press("Tab")
        names.append(str(page.evaluate(focused)).strip())
        if names[-1].startswith(name):
            return
    pytest.fail(f"Tab does not come to {name!r}, but to {names}")


def test_a_wrong_import_is_undone_with_the_keyboard_alone(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    send(gateway, sender, [a_worker("P1"), a_worker("P2")], "right.json")
    send(gateway, sender, [a_worker("P1", Surname="Wrong"), a_worker("P3")], "wrong.json")
    page = console.page
    console.open()
    console.heading("Sign in").wait_for()
    press_until(page, "Software key")
    page.keyboard.type(sender.integration.software_key)
    page.keyboard.press("Tab")
    page.keyboard.type(sender.function_key)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="wrong.json").wait_for()
    press_until(page, "wrong.json")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Undo…").wait_for()
    assert page.evaluate("document.activeElement.id") == "main"
    press_until(page, "Undo…")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text("nothing is done yet").wait_for()
    press_until(page, "Show the rows")
    page.keyboard.press("Enter")
    undone = page.get_by_role("region", name="Rows of the undo")
    expect(undone.get_by_role("row").filter(has_text="P1")).to_contain_text("Wrong → Sample")
    console.check_accessibility()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Undo…")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Undo: put back 2 rows").wait_for()
    press_until(page, "Undo: put back 2 rows")
    page.keyboard.press("Enter")
    page.get_by_text("Undone by").wait_for()
    page.get_by_role("link", name="Open it").wait_for()
    press_until(page, "Open it")
    page.keyboard.press("Enter")
    page.get_by_text("2 put back").wait_for()
    here = "/api/records/workers?EmployerRef=E1&PersonnelRef"
    [record] = gateway.get(f"{here}=P1", sender).json["items"]
    assert record["record"]["Surname"] == "Sample"
    assert gateway.get(f"{here}=P3", sender).json["items"] == []


@pytest.fixture
def reader(make_sender: Callable[..., Sender], sender: Sender) -> Sender:
    """Another integration of the tenant, which may only read."""
    return make_sender(sender.tenant, permissions=frozenset({READ}))


def test_hostile_values_are_text_and_a_caller_without_the_permission_is_told(
    reader: Sender, console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    markup = "<img src=x onerror=alert(1)>"
    rows = [a_worker(f"P{markup}", Gender=f"{markup}\u202e\u200b" + "z" * 20_000)]
    rows.append(a_worker("P2", StartDate=[{markup: markup}], UKPayrollDetails={markup: markup}))
    send(gateway, sender, rows, "january & february=100%?#.json")
    page = console.page
    page.on("dialog", lambda dialog: console.complaints.append(dialog.message))
    console.open()
    console.sign_in(reader)
    page.get_by_role("link", name="january").first.click()
    page.get_by_role("button", name="Compare with what is stored").first.click()
    expect(page.get_by_label("Gender of row 1", exact=True)).to_have_value(re.compile("^<img"))
    page.get_by_text("No record of this key is stored.").wait_for()
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert page.locator("main img").count() == 0
    with page.expect_download() as download:
        page.get_by_role("button", name="Download failed rows (CSV)").click()
    assert markup in download.value.path().read_text("utf-8-sig")
    page.get_by_role("button", name="Send the failed rows again…").click()
    page.get_by_role("button", name="Send 2 rows again").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("You may not do this").wait_for()
    dialog.get_by_role("button", name="Close").click()
    retry = page.get_by_role("button", name="Send the failed rows again…")
    expect(retry).to_be_disabled()
    expect(retry).to_have_accessible_description(re.compile("operate"))
    page.get_by_role("button", name="Sign out").click()
    console.heading("Sign in").wait_for()
    assert "onerror" not in page.content()


def test_an_import_of_100_000_rows_opens_with_less_than_a_second_of_work(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    """The answers are those of a real import, with the counts and groups of a large one.

    An import of this size takes minutes with the emulator. The page reads every import in pages, so
    these answers have the size of those of a large one. Its work is measured in processor time,
    which does not depend on what else the machine does.
    """
    rows = [a_worker(f"P{number}", Gender="x", StartDate="soon") for number in range(60)]
    import_id = send(gateway, sender, rows, "large.json")
    here = f"/api/imports/{import_id}"
    counts = {"total": 100_000, "done": 100_000, "new": 40_000, "updated": 19_500, "failed": 40_500}
    shown = gateway.get(here, sender).json
    shown["rows"] |= counts
    [group, *_] = gateway.get(f"{here}/failures", sender).json["items"]
    groups = [group | {"fieldName": f"Rates[{at}].RateCode", "count": 900} for at in range(500)]

    def answer(route: Route) -> None:
        address = route.request.url.partition("?")[0]
        if address.endswith("/failures"):
            route.fulfill(json={"items": groups, "leftOut": 7, "continuation": None})
        elif address.endswith(here):
            route.fulfill(json=shown)
        else:
            route.continue_()

    page = console.page
    console.open()
    console.sign_in(sender)
    page.get_by_text("No import is running.").wait_for()
    page.route(f"**{here}**", answer)
    answers: list[Response] = []
    page.on("response", lambda response: answers.append(response))  # noqa: PLW0108
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds_of_work() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    before = seconds_of_work()
    console.go(f"#/imports/{import_id}")
    page.get_by_text("40,500 of 100,000 rows failed.").wait_for()
    page.get_by_role("button", name="Show all 500 groups").wait_for()
    expect(page.get_by_role("article")).to_have_count(20)
    page.get_by_role("region", name="Results by row").get_by_text("P0").first.wait_for()
    work = seconds_of_work() - before
    received = sum(len(each.body()) for each in answers if "/api/" in each.url)
    assert work < 1.0
    assert received < 400_000
    page.get_by_role("button", name="Show all 500 groups").click()
    groups_table = page.get_by_role("region", name="Messages in groups")
    expect(groups_table.get_by_role("row")).to_have_count(501)
    print(f"{work:.3f} s of work, {received} bytes, {seconds_of_work() - before:.3f} s with groups")


SHIFTS = """() => {
    window.shifts = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.shifts += entry.value;
    }).observe({ type: "layout-shift" });
}"""


def test_a_running_import_is_followed_without_anything_that_jumps(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    """The answers are those of an import that has ended, as they were while it ran."""
    rows = [a_worker(f"P{number}", Gender="x" if number % 2 else 1) for number in range(40)]
    import_id = send(gateway, sender, rows, "running.json")
    here = f"/api/imports/{import_id}"
    ended = gateway.get(here, sender).json
    asked: list[str] = []
    done = [0]

    def answer(route: Route) -> None:
        asked.append(route.request.url.partition("?")[0].rpartition("/")[2])
        if asked[-1] != import_id:
            route.continue_()
        elif done[0] == len(rows):
            route.fulfill(json=ended)
        else:
            half = done[0] // 2
            counts = ended["rows"] | {"done": done[0], "new": half, "failed": half}
            running = {"state": "Processing", "endedAt": None, "rows": counts}
            route.fulfill(json=ended | running | {"rowsPerSecond": 4, "secondsLeft": 5})

    page = console.page
    page.clock.install()
    console.open()
    console.sign_in(sender)
    page.route(f"**{here}**", answer)
    console.go(f"#/imports/{import_id}")
    page.get_by_text("0 of 40 rows done.").first.wait_for()
    page.get_by_role("region", name="Messages in groups").wait_for()
    page.evaluate(SHIFTS)
    for done[0] in (10, 20, 30):
        page.clock.run_for(2_100)
        page.get_by_text(f"{done[0]} of 40 rows done.").wait_for()
    assert page.evaluate("window.shifts") < 0.05
    assert asked.count("failures") <= 2
    assert "results" not in asked
    page.get_by_role("button", name="Show those that are done").click()
    page.get_by_role("region", name="Results by row").wait_for()
    done[0] = len(rows)
    page.clock.run_for(2_100)
    page.get_by_text("20 of 40 rows failed.").wait_for()
    expect(page.get_by_role("article")).to_have_count(20)


def test_a_row_of_any_names_and_values_is_shown_corrected_and_sent_as_it_was(
    console: Console, gateway: GatewayProcess, sender: Sender
) -> None:
    """A sender cannot break the page: by names that objects have, or by an object as a key."""
    odd = {"source": 1, "toString": 1, "valueOf": 1}
    exact = '"Gender": "x", "__proto__": "one", "constructor": "two", "Surname": "<b>1</b>"'
    body = f"""[{{"EmployerRef": "E1", "PersonnelRef": "P1", {exact}}},
      {{"EmployerRef": "E1", "PersonnelRef": {json.dumps(odd)}}}]"""
    source = f"{'x' * 200}.json"
    answer = gateway.call("POST", WORKERS, body.encode(), {
        **sender.headers, "Content-Type": "application/json",
        "Content-Disposition": f'attachment; filename="{source}"',
    })  # fmt: skip
    page = console.page
    console.open()
    console.sign_in(sender)
    page.get_by_title(source).first.click()
    page.get_by_role("button", name="All 6 fields").click()
    assert page.url.endswith(answer.import_id)
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.set_viewport_size(WIDE)
    expect(page.get_by_label("constructor of row 1", exact=True)).to_have_value("two")
    expect(page.get_by_label("PersonnelRef.source of row 2", exact=True)).to_have_value("1")
    page.get_by_label("__proto__ of row 1", exact=True).fill("three")
    page.get_by_label("Gender of row 1", exact=True).fill("1")
    # What is not sent yet is there after a look at another page.
    console.go("#/health")
    console.heading("Health").wait_for()
    page.go_back()
    page.get_by_text("1 row corrected, not sent yet").wait_for()
    with page.expect_request("**/retry") as request:
        page.get_by_role("button", name="Send again…").click()
        page.get_by_role("dialog").get_by_role("button", name="Send 2 rows again").click()
    [sent] = json.loads(request.value.post_data or "")
    assert sent["row"] == {
        "EmployerRef": "E1", "PersonnelRef": "P1", "Gender": 1, "__proto__": "three",
        "constructor": "two", "Surname": "<b>1</b>",
    }  # fmt: skip
    page.get_by_text("1 of 2 rows failed, 1 row repaired since").first.wait_for()
    # The key of a result leads to its record.
    page.get_by_role("region", name="Results by row").get_by_role("link", name="P1").click()
    page.get_by_role("region", name="Records: workers").get_by_role("button", name="P1").wait_for()
    for broken in ("#/imports/%2e%2e", "#/records?of=constructor"):
        console.go(broken)
        page.locator("h1").get_by_text("Not found" if "imports" in broken else "Records").wait_for()
