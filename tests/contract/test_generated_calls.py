"""Generated calls, good and bad ones, against the running gateway with its own document.

For every operation schemathesis makes calls that fit the document and calls that do not. Whatever
comes: no 5xx but the contract's own 501, and no status, media type, header or body that the
document does not name. What the host refuses before the gateway (an address that no route has, an
unreadable request line) has no X-Correlation-Id and is not the gateway's answer.

The run is bounded and the same each time: a fixed seed, few calls per operation.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks

from shared.web.openapi.document import SAMPLES, operations
from shared.web.openapi.limits import Limits
from shared.web.openapi.operations import Operation
from tests.e2e.gateway_process import GatewayProcess
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


@named
def test_calls_that_fit_are_answered_within_the_document(
    gateway: GatewayProcess, published: Any, sender: Sender, operation: Operation
) -> None:
    """Of the addresses that name an import, most name one that there is, of any type."""
    described = published[operation.path][operation.method]
    calls = described.as_strategy(GenerationMode.POSITIVE)
    if "{importId}" in operation.path:
        for import_id in _imported_samples(gateway, sender):
            calls |= described.as_strategy(path_parameters={"importId": import_id})
    _send(calls, sender)


@named
def test_calls_that_do_not_fit_are_answered_within_the_document(
    published: Any, sender: Sender, operation: Operation
) -> None:
    if operation.parameters or operation.body:
        described = published[operation.path][operation.method]
        _send(described.as_strategy(GenerationMode.NEGATIVE), sender)


def _imported_samples(gateway: GatewayProcess, sender: Sender) -> list[str]:
    """The ids of imports of the samples, one for each type that has one."""
    headers = {"Content-Type": "application/json", **sender.headers}
    samples = [item for item in OPERATIONS if item.message_type and item.body and item.body.sample]
    return [
        gateway.call(
            item.method, item.path, (SAMPLES / item.body.sample).read_bytes(), headers
        ).import_id
        for item in samples
        if item.body
    ]


def _send(calls: Any, sender: Sender) -> None:
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
        assert answer.status_code < 500 or answer.status_code == OF_THE_CONTRACT, answer.text
        case.validate_response(answer, checks=CHECKS)

    send()
    print(dict(seen))
