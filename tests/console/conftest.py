"""One gateway and one browser for the tests of the console.

A test fails where the browser complains, where the page breaks its policy, or where it asks another
address. It gets a tenant of its own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    ViewportSize,
    sync_playwright,
)

from tests.e2e.gateway_process import GatewayProcess, started
from tests.emulator import Emulator
from tests.tenants import Sender, a_sender

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDE: Final[ViewportSize] = {"width": 1280, "height": 900}
NARROW: Final[ViewportSize] = {"width": 360, "height": 740}
# What is new in WCAG 2.2 AA and before, and what axe calls good practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
Result = TypeVar("Result")
# The browser itself writes a line for each answer that is a refusal.
OF_AN_ANSWER = "Failed to load resource: the server responded with a status of"


@dataclass
class Console:
    """The console in a page of the browser, and what the browser complains about."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)

    def watch(self) -> None:
        """Note what a test must not see, from now on."""
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note_address)

    def open(self, hash_: str = "") -> None:
        """Open a page of the console, without a sign-in."""
        self.page.goto(f"{self.url}/console{hash_}")

    def sign_in(self, sender: Sender) -> None:
        """Sign in with the key pair of an integration, on the page that is open."""
        self.page.get_by_label("Software key").fill(sender.integration.software_key)
        self.page.get_by_label("Function key").fill(sender.function_key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def go(self, hash_: str) -> None:
        """Go to a page by its hash and stay signed in."""
        self.page.evaluate("hash => { location.hash = hash }", hash_)

    def heading(self, name: str) -> Locator:
        return self.page.get_by_role("heading", name=name)

    def check_accessibility(self) -> None:
        """Let axe-core look at the page as it is, in light; in dark at what a theme changes."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(f"() => {{ {AXE.read_text('utf-8')} }}")
        for theme in THEMES:
            self.page.emulate_media(color_scheme=theme)
            found: list[dict[str, Any]] = self.page.evaluate(
                "only => axe.run(document, {runOnly: only}).then(report => report.violations)",
                TAGS if theme == "light" else COLOUR_RULES,
            )
            assert [
                (theme, each["id"], node["html"][:300], node["failureSummary"][:500])
                for each in found
                for node in each["nodes"]
            ] == []
        self.page.emulate_media(color_scheme="light")

    def check(self) -> None:
        """What holds at the end of every test."""
        assert self.complaints == []
        assert self.addresses <= {urlsplit(self.url).netloc}

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(OF_AN_ANSWER):
            self.complaints.append(message.text)

    def _note_address(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.addresses.add(parts.netloc)


def run_apart(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run it in a thread of its own: Playwright keeps the event loop of this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="package")
def storage(emulator: Emulator) -> str:
    return emulator.account("console")


@pytest.fixture(scope="package")
def gateway(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with started(storage, tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture(scope="package")
def make_sender(storage: str) -> Callable[..., Sender]:
    """Makes integrations of new tenants; the arguments are those of `a_sender`."""

    def make(tenant: str = "", **fields: object) -> Sender:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(a_sender, storage, tenant, **fields).result()

    return make


@pytest.fixture
def sender(make_sender: Callable[..., Sender]) -> Sender:
    """An integration of a tenant of its own."""
    return make_sender()


@pytest.fixture(scope="package")
def browser(gateway: GatewayProcess) -> Iterator[Browser]:
    """One browser for all tests; each has a context of its own, with nothing of another.

    It starts behind `gateway`, whose storage is made in the event loop of this thread.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on this machine: on Debian, apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def console(browser: Browser, gateway: GatewayProcess) -> Iterator[Console]:
    """The console in a page of its own, 1280 pixels wide, in English and with a time zone."""
    context = browser.new_context(
        viewport=WIDE,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        color_scheme="light",
        reduced_motion="reduce",
    )
    console = Console(context.new_page(), gateway.url)
    console.watch()
    yield console
    console.check()
    context.close()
