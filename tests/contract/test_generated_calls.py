"""Generated calls, good and bad ones, against the running gateway with its own document.

For every operation schemathesis makes calls that fit the document and calls that do not. Whatever
comes: no 5xx but the contract's own 501, and no status, media type, header or body that the
document does not name. A JSON body is also parsed by the model that the document is made from,
which checks the ids and times in it. What the host refuses before the gateway (an address that no
route has, an unreadable request line) has no X-Correlation-Id and is not the gateway's answer.

The run is bounded and the same each time: a fixed seed, few calls per operation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from pydantic import TypeAdapter
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from shared.web.openapi.document import SAMPLES, all_answers, operations
from shared.web.openapi.operations import JSON, Limits, Operation
from tests.documents import Form, a_ready_sender, upload_headers
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
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


@pytest.fixture(name="published", scope="module")
def fixture_published(gateway: GatewayProcess) -> Any:
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


@named
def test_calls_that_fit_are_answered_within_the_document(
    gateway: GatewayProcess, published: Any, grounds: Grounds, operation: Operation
) -> None:
    """Of the addresses that name an import or a document, most name one that there is."""
    described = published[operation.path][operation.method]
    calls = described.as_strategy(GenerationMode.POSITIVE)
    for parameter in operation.parameters:
        for known in grounds.ids.get(parameter.name, ()):
            calls |= described.as_strategy(path_parameters={parameter.name: known})
    _send(gateway, calls, grounds.sender, operation)


@named
def test_calls_that_do_not_fit_are_answered_within_the_document(
    gateway: GatewayProcess, published: Any, grounds: Grounds, operation: Operation
) -> None:
    if operation.parameters or operation.body:
        described = published[operation.path][operation.method]
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
