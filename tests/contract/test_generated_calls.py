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

from shared.web.openapi.document import Limits, operations
from shared.web.openapi.operations import Operation
from tests.builders import a_worker
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
CALLS = 10
OF_THE_CONTRACT = 501
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
OPERATIONS = operations(Limits(1, 1, 1))
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
    """Half of the addresses that name an import name one that there is."""
    described = published[operation.path][operation.method]
    calls = described.as_strategy(GenerationMode.POSITIVE)
    if "{importId}" in operation.path:
        there = gateway.post(sender, [a_worker("P1"), a_worker("P2", Gender="x")]).import_id
        calls |= described.as_strategy(path_parameters={"importId": there})
    _send(calls, sender)


@named
def test_calls_that_do_not_fit_are_answered_within_the_document(
    published: Any, sender: Sender, operation: Operation
) -> None:
    if operation.parameters or operation.body:
        described = published[operation.path][operation.method]
        _send(described.as_strategy(GenerationMode.NEGATIVE), sender)


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
