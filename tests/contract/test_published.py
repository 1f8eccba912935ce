"""The published contract: its examples run, generated calls, its page in a real browser."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from openapi_schema_validator import OAS31Validator
from playwright.sync_api import ConsoleMessage, Page, sync_playwright
from pydantic import TypeAdapter
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from shared.imports.files.templates import SAMPLES
from shared.imports.registry import MESSAGE_CATALOGUE as CATALOGUE
from shared.web.openapi.document import all_answers, document, operations
from shared.web.openapi.operations import JSON, Limits, Operation
from tests.contract.calls import (
    DRY_RUN_ROWS,
    MAX_BODY_BYTES,
    MAX_DOCUMENT_BYTES,
    MAX_ROWS,
    check_refusal,
)
from tests.documents import Form, a_ready_sender, upload_headers
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

# The contract that the gateway publishes of itself, and that its examples run.

LIMITS = Limits.of(
    settings_for(
        "",
        max_body_bytes=MAX_BODY_BYTES,
        max_rows=MAX_ROWS,
        max_document_bytes=MAX_DOCUMENT_BYTES,
        wait_seconds=60,
        dry_run_rows=DRY_RUN_ROWS,
    )
)


@pytest.fixture(name="published", scope="module")
def fixture_published(gateway: GatewayProcess) -> dict[str, Any]:
    document: dict[str, Any] = gateway.call("GET", "/api/openapi.json").json
    return document


def _schema_of(published: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    answer = published["paths"][path][method]["responses"][status]
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return {**schema, "components": published["components"]}


@pytest.mark.e2e
def test_the_document_names_the_limits_in_force(published: dict[str, Any]) -> None:
    assert published == document(LIMITS)


@pytest.mark.e2e
def test_every_example_can_be_sent_and_is_answered_as_described(
    gateway: GatewayProcess, sender: Sender, published: dict[str, Any]
) -> None:
    for path, item in published["paths"].items():
        for method, operation in item.items():
            for media, body in operation.get("requestBody", {}).get("content", {}).items():
                for example in body.get("examples", {}).values():
                    headers = {"Content-Type": media, **sender.headers}
                    sent = json.dumps(example["value"]).encode()
                    answer = gateway.call(method.upper(), path, sent, headers)
                    assert answer.status == 200, (path, answer.body)
                    schema = _schema_of(published, path, method, "200")
                    OAS31Validator(schema).validate(answer.json)


@pytest.mark.e2e
def test_a_refusal_in_xml_is_described(gateway: GatewayProcess, published: dict[str, Any]) -> None:
    path = "/v1/imports/licenses"
    answer = gateway.call("POST", path, b"[]", {"Accept": "application/xml"})
    media = answer.headers["content-type"].partition(";")[0]
    described = published["paths"][path]["post"]["responses"][str(answer.status)]
    assert media == "application/xml"
    assert media in described["content"]


@pytest.mark.e2e
def test_capabilities_name_the_calls_and_the_limits(
    gateway: GatewayProcess, published: dict[str, Any]
) -> None:
    document = gateway.call("GET", "/api/capabilities").json
    OAS31Validator(_schema_of(published, "/api/capabilities", "get", "200")).validate(document)
    assert document["limits"] == LIMITS.model_dump(by_alias=True)
    assert (document["limits"]["bodyBytes"], document["limits"]["rows"]) == (
        MAX_BODY_BYTES,
        MAX_ROWS,
    )
    for kind in document["messageTypes"]:
        assert kind["schema"] is None or gateway.call("GET", kind["schema"]).status == 200
        assert {call["path"] for call in kind["calls"]} <= set(published["paths"])
    for address in document["links"].values():
        assert gateway.call("GET", address).status in (200, 401)


@pytest.mark.e2e
def test_errors_are_the_message_catalogue(gateway: GatewayProcess) -> None:
    entries = gateway.call("GET", "/api/errors").json["errors"]
    assert {item["errorID"]: item["messageType"] for item in entries} == {
        entry.id: entry.severity.value for entry in CATALOGUE.values()
    }


@pytest.mark.e2e
def test_the_page_may_load_only_its_own_files(gateway: GatewayProcess) -> None:
    page = gateway.call("GET", "/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert b"//" not in page.body.replace(b"<!doctype", b"")


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["start.js", "swagger-ui.css", "swagger-ui-bundle.js"])
def test_a_file_of_the_page_is_compressed_and_cached(gateway: GatewayProcess, name: str) -> None:
    address = f"/api/docs/{name}"
    plain = gateway.call("GET", address)
    packed = gateway.call("GET", address, None, {"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(packed.body) == plain.body
    again = gateway.call("GET", address, None, {"If-None-Match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["README.md", "..%2Fpage.py", "swagger-ui.css.map"])
def test_the_page_has_no_other_files(gateway: GatewayProcess, name: str) -> None:
    answer = gateway.call("GET", f"/api/docs/{name}")
    assert answer.status == 404
    if answer.body:
        check_refusal(answer, 404, "/api/docs")


# Generated calls, good and bad ones, against the running gateway with its own document.

CALLS = 6
OF_THE_CONTRACT = 501
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
OPERATIONS = operations(Limits.of(settings_for("")))
BOUNDED = settings(
    max_examples=CALLS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck),
)
named = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: f"{op.method} {op.path}")


@pytest.fixture(name="checked_schema", scope="module")
def fixture_checked_schema(gateway: GatewayProcess) -> Any:
    load_all_checks()
    schema = schemathesis.openapi.from_dict(gateway.call("GET", "/api/openapi.json").json)
    schema.config.update(base_url=f"http://127.0.0.1:{gateway.port}")
    return schema


@dataclass(frozen=True)
class Grounds:
    """A tenant with something in it, and ids of what there is by the name of their parameter."""

    sender: Sender
    ids: Mapping[str, list[str]]


@pytest.fixture(name="grounds", scope="module")
def fixture_grounds(gateway: GatewayProcess, storage: str) -> Grounds:
    """Every sample is imported, and a document of a worker of the samples."""
    sender = a_ready_sender(storage)
    imported = [_sent(gateway, sender, item) for item in OPERATIONS if item.body and _sample(item)]
    [worker, *_] = json.loads((SAMPLES / "workers.json").read_bytes())
    form = Form(worker=worker["PersonnelRef"]).body()
    uploaded = gateway.call("POST", "/api/import/documents", form, upload_headers(sender))
    ids = {
        "importId": [uploaded.import_id, *(answer.import_id for answer in imported)],
        "documentId": [uploaded.json["items"][0]["documentId"]],
        "fileLogId": [
            answer.json["fileLogId"] for answer in imported if "fileLogId" in answer.json
        ],
    }
    return Grounds(sender, ids)


def _sample(operation: Operation) -> str:
    return operation.body.sample if operation.body and operation.message_type else ""


def _sent(gateway: GatewayProcess, sender: Sender, operation: Operation) -> Answer:
    headers = {"Content-Type": JSON, **sender.headers}
    sample = (SAMPLES / _sample(operation)).read_bytes()
    return gateway.call(operation.method, operation.path, sample, headers)


@pytest.mark.e2e
@pytest.mark.timeout(180)
@named
def test_calls_that_fit_are_answered_within_the_document(
    gateway: GatewayProcess, checked_schema: Any, grounds: Grounds, operation: Operation
) -> None:
    """Of the addresses that name an import or a document, most name one that there is."""
    described = checked_schema[operation.path][operation.method]
    calls = described.as_strategy(GenerationMode.POSITIVE)
    for parameter in operation.parameters:
        for known in grounds.ids.get(parameter.name, ()):
            calls |= described.as_strategy(path_parameters={parameter.name: known})
    _send(gateway, calls, grounds.sender, operation)


@pytest.mark.e2e
@pytest.mark.timeout(180)
@named
def test_calls_that_do_not_fit_are_answered_within_the_document(
    gateway: GatewayProcess, checked_schema: Any, grounds: Grounds, operation: Operation
) -> None:
    if operation.parameters or operation.body:
        described = checked_schema[operation.path][operation.method]
        calls = described.as_strategy(GenerationMode.NEGATIVE)
        _send(gateway, calls, grounds.sender, operation)


def _why(gateway: GatewayProcess, correlation_id: str) -> list[str]:
    """What the gateway's log says of a call."""
    return [line for line in gateway.log().splitlines() if correlation_id in line]


def _send(gateway: GatewayProcess, calls: Any, sender: Sender, operation: Operation) -> None:
    answers = all_answers(operation)
    seen: Counter[int] = Counter()

    @seed(1)
    @BOUNDED
    @given(case=calls)
    def send(case: Case[Any]) -> None:
        answer = case.call(headers=dict(sender.headers))
        if "x-correlation-id" not in answer.headers:
            assert answer.status_code in (400, 404)
            return
        seen[answer.status_code] += 1
        is_fault = answer.status_code >= 500 and answer.status_code != OF_THE_CONTRACT
        assert not is_fault, _why(gateway, answer.headers["x-correlation-id"][0])
        case.validate_response(answer, checks=CHECKS)
        if answer.headers["content-type"][0].partition(";")[0] == JSON and answer.content:
            content = answers[answer.status_code].media[JSON]
            TypeAdapter(content).validate_json(answer.content, strict=True)

    send()
    print(dict(seen))


# `/api/docs` in a real browser: it draws the contract, and no request leaves this machine.

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


@pytest.mark.e2e
def test_the_page_draws_every_operation_and_asks_only_here(
    gateway: GatewayProcess, page: Page
) -> None:
    requests: list[str] = []
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("request", lambda request: requests.append(request.url))
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

    elsewhere = [url for url in requests if urlsplit(url).scheme not in ("data", "blob")]
    assert {urlsplit(url).netloc for url in elsewhere} == {f"127.0.0.1:{gateway.port}"}
    assert complaints == []


@pytest.mark.e2e
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
