"""The console is served with a strict policy, signs in and out, and keeps no credential."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from shared.web.console_files import FOLDER, console_file
from tests.console.conftest import Console
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender

pytestmark = pytest.mark.e2e


def test_the_page_and_its_files_come_with_a_strict_policy_and_are_revalidated(
    gateway: GatewayProcess,
) -> None:
    for path in ("/console", "/console/main.js", "/console/packages/pico/pico.min.css"):
        plain = gateway.call("GET", path)
        packed = gateway.call("GET", path, None, {"Accept-Encoding": "gzip"})
        again = gateway.call("GET", path, None, {"If-None-Match": plain.headers["etag"]})
        assert gzip.decompress(packed.body) == plain.body
        assert (again.status, again.body) == (304, b"")
        assert plain.headers["cache-control"] == "no-cache"
        assert plain.headers["x-content-type-options"] == "nosniff"
        assert plain.headers["referrer-policy"] == "no-referrer"
        policy = set(plain.headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
            "img-src 'self' data:", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'",
        }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["package.json", "tsconfig.json", "..%2Fhost.json", "../host.json", "pages", "a/b/c.js"]
)
def test_nothing_else_is_served(gateway: GatewayProcess, name: str) -> None:
    assert gateway.call("GET", f"/console/{name}").status == 404


def test_it_signs_in_and_out_and_keeps_nothing(console: Console, sender: Sender) -> None:
    console.open("#/imports?state=Completed")
    page = console.page
    page.get_by_label("Software key").fill(sender.integration.software_key)
    page.get_by_label("Function key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("did not accept").wait_for()
    console.check_accessibility()
    console.sign_in(sender)
    console.heading("Imports").wait_for()
    kept = json.dumps(page.context.storage_state())
    kept += page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, location.href])")
    assert sender.function_key not in kept
    page.get_by_role("button", name="Sign out").click()
    console.heading("Sign in").wait_for()
    assert page.url == f"{console.url}/console"
    assert sender.function_key not in page.content()
    page.reload()
    console.heading("Sign in").wait_for()


def test_no_file_names_an_address_outside_or_a_style_or_script_in_the_page() -> None:
    page = (FOLDER / "index.html").read_text("utf-8")
    assert "style=" not in page
    assert "<script>" not in page
    own = [path for path in FOLDER.rglob("*.*") if not {"packages", "node_modules"} & {*path.parts}]
    named = {Path(path).name for path in own if path.suffix in (".js", ".css", ".html")}
    assert {"main.js", "gateway.js", "style.css", "index.html"} <= named
    for path in own:
        if path.suffix in (".js", ".css", ".html"):
            assert console_file(path.relative_to(FOLDER).as_posix()) is not None
            assert "https://" not in path.read_text("utf-8"), path
