"""The console is served with a strict policy, signs in and out, and keeps no credential."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Request, Route

from local_host.setup.azurite import Programs
from shared.auth.clients import Scope
from shared.web.console_files import FOLDER, console_file
from tests.console.conftest import Console, run_apart
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import open_ready_gateway, settings_for
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


@pytest.fixture
def credentials(storage: str, sender: Sender) -> tuple[str, str]:
    """The id and secret of a client of the tenant."""

    async def create() -> tuple[str, str]:
        async with open_ready_gateway(settings_for(storage)) as opened:
            issued = await opened.clients.add(sender.tenant, "", [Scope.IMPORT_AUTHDATA])
            return issued.client.client_id, issued.client_secret

    return run_apart(create())


def test_a_client_signs_in_and_its_token_is_renewed_before_it_expires_or_when_it_is_refused(
    credentials: tuple[str, str], console: Console
) -> None:
    page = console.page
    tokens: list[str] = []

    def issue(route: Route) -> None:
        answer = route.fetch()
        tokens.append(answer.json()["access_token"])
        seconds = 1 if len(tokens) == 1 else 3_600
        route.fulfill(response=answer, json={**answer.json(), "expires_in": seconds})

    page.route("**/connect/token", issue)
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))  # noqa: PLW0108
    console.open("#/health")
    page.get_by_text("the id and secret of a client").click()
    page.get_by_label("Client id").fill(credentials[0])
    page.get_by_label("Client secret").fill(credentials[1])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.wait_for_timeout(600)
    console.go("#/imports")
    page.get_by_text("No import is running.").wait_for()
    assert len(tokens) == 2
    # The gateway refuses the token: the page gets another one and asks again.
    page.route("**/api/imports?**", lambda route: route.fulfill(status=401, json={}), times=1)
    page.get_by_label("State").select_option("Cancelled")
    page.get_by_text("No import fits the filters.").wait_for()
    assert len(tokens) == 3
    # Its secret is revoked: the page says so and forgets it.
    page.route("**/api/imports?**", lambda route: route.fulfill(status=401, json={}))
    refusal = {"error": "invalid_client"}
    page.route("**/connect/token", lambda route: route.fulfill(status=401, json=refusal))
    page.get_by_label("State").select_option("Repaired")
    console.heading("Sign in").wait_for()
    page.get_by_text("You are signed out").wait_for()
    asked = [each for each in sent if each.url.endswith("/connect/token")]
    assert all(credentials[1] in (each.post_data or "") for each in asked)
    assert not any(credentials[1] in each.url for each in sent)


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


def test_a_corrected_row_keeps_its_digits_and_takes_its_types_from_the_schema() -> None:
    script = Path(__file__).with_name("rows_check.mjs")
    node = Programs.from_environ().node
    ran = subprocess.run([node, script], capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stderr
