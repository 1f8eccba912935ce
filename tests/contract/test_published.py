"""The contract that the gateway publishes of itself, and that its examples run.

See docs/contracts.md#5.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from shared.imports.messages import CATALOGUE
from shared.web.openapi.document import document
from shared.web.openapi.operations import Limits
from tests.contract.limits import DRY_RUN_ROWS, MAX_BODY_BYTES, MAX_DOCUMENT_BYTES, MAX_ROWS
from tests.contract.refusals import check_refusal
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
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
    found: dict[str, Any] = gateway.call("GET", "/api/openapi.json").json
    return found


def _schema_of(published: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    answer = published["paths"][path][method]["responses"][status]
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return {**schema, "components": published["components"]}


def test_the_document_names_the_limits_in_force(published: dict[str, Any]) -> None:
    assert published == document(LIMITS)


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


def test_a_refusal_in_xml_is_described(gateway: GatewayProcess, published: dict[str, Any]) -> None:
    path = "/v1/imports/licenses"
    answer = gateway.call("POST", path, b"[]", {"Accept": "application/xml"})
    media = answer.headers["content-type"].partition(";")[0]
    described = published["paths"][path]["post"]["responses"][str(answer.status)]
    assert media == "application/xml"
    assert media in described["content"]


def test_capabilities_name_the_calls_and_the_limits(
    gateway: GatewayProcess, published: dict[str, Any]
) -> None:
    told = gateway.call("GET", "/api/capabilities").json
    OAS31Validator(_schema_of(published, "/api/capabilities", "get", "200")).validate(told)
    assert told["limits"] == LIMITS.model_dump(by_alias=True)
    assert (told["limits"]["bodyBytes"], told["limits"]["rows"]) == (MAX_BODY_BYTES, MAX_ROWS)
    for kind in told["messageTypes"]:
        assert kind["schema"] is None or gateway.call("GET", kind["schema"]).status == 200
        assert {call["path"] for call in kind["calls"]} <= set(published["paths"])
    for address in told["links"].values():
        assert gateway.call("GET", address).status in (200, 401)


def test_errors_are_the_message_catalogue(gateway: GatewayProcess) -> None:
    told = gateway.call("GET", "/api/errors").json["errors"]
    assert {item["errorID"]: item["messageType"] for item in told} == {
        entry.id: entry.severity.value for entry in CATALOGUE.values()
    }


def test_the_page_may_load_only_its_own_files(gateway: GatewayProcess) -> None:
    page = gateway.call("GET", "/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert b"//" not in page.body.replace(b"<!doctype", b"")


@pytest.mark.parametrize("name", ["start.js", "swagger-ui.css", "swagger-ui-bundle.js"])
def test_a_file_of_the_page_comes_compressed_and_only_once(
    gateway: GatewayProcess, name: str
) -> None:
    address = f"/api/docs/{name}"
    plain = gateway.call("GET", address)
    packed = gateway.call("GET", address, None, {"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(packed.body) == plain.body
    again = gateway.call("GET", address, None, {"If-None-Match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["README.md", "..%2Fpage.py", "swagger-ui.css.map"])
def test_the_page_has_no_other_files(gateway: GatewayProcess, name: str) -> None:
    answer = gateway.call("GET", f"/api/docs/{name}")
    assert answer.status == 404
    if answer.body:
        check_refusal(answer, 404, "/api/docs")
