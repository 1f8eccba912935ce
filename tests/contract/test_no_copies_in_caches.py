"""`Cache-Control` of every published call: only what is public may be kept."""

from __future__ import annotations

import pytest

from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits, Operation
from tests.builders import a_worker
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender

pytestmark = pytest.mark.e2e
PUBLIC = (
    "/.well-known/",
    "/connect/.well-known/",
    "/api/capabilities",
    "/api/docs",
    "/api/errors",
    "/api/openapi.json",
)


def may_be_kept(path: str) -> bool:
    return path.startswith(PUBLIC) or path.endswith(".schema")


@pytest.mark.parametrize(
    "operation", operations(Limits.of(settings_for(""))), ids=lambda op: f"{op.method} {op.path}"
)
def test_every_answer_but_the_published_contract_forbids_copies(
    gateway: GatewayProcess, sender: Sender, operation: Operation
) -> None:
    guid = "00000000-0000-4000-8000-000000000001"
    path = operation.path.replace("{importId}", guid).replace("{fileLogId}", guid)
    path = path.replace("{documentId}", guid).replace("{file}", "none.js")
    body = None if operation.method == "GET" else b"[]"
    for headers in ({}, sender.headers):
        answer = gateway.call(operation.method, path, body, dict(headers))
        is_public = answer.status == 200 and may_be_kept(path)
        found = answer.headers["cache-control"]
        assert (found == "no-store") is not is_public, (answer.status, found)


def test_answers_of_an_import_and_what_follows_it_forbid_copies(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker("1"), a_worker("2", Gender="x")]
    key = {"Idempotency-Key": "once"}
    first, again = gateway.post(sender, rows, **key), gateway.post(sender, rows, **key)
    assert again.headers["idempotent-replayed"] == "true"
    here = f"/api/imports/{first.import_id}"
    answers = [first, again, gateway.post(sender, [], Prefer="respond-async")]
    paths = ("", "/results", "/answer", "/failed-rows")
    answers += [gateway.get(here + path, sender) for path in paths]
    answers.append(gateway.call("POST", "/api/import/unknown", b"[]", dict(sender.headers)))
    assert [answer.status for answer in answers[3:]] == [200, 200, 200, 200, 501]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize("name", ["workers.v1", "assignments.v1", "licenses.v1", "authdata.v1"])
def test_schemas_may_be_kept(gateway: GatewayProcess, name: str) -> None:
    answer = gateway.call("GET", f"/api/import/{name}.schema")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
