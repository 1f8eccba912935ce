"""The refusals of an import call in their order, unknown query parameters, storage away."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from shared.auth.integrations import PERMISSIONS
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import IMPORT_TYPES
from shared.storage_account import emulator_connection_string
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Access, Limits, Operation
from tests.builders import a_worker, body_of
from tests.contract.calls import AUTHDATA, MAX_BODY_BYTES, MAX_ROWS, STAGE, check_refusal
from tests.contract.conftest import Kind
from tests.documents import Form, a_ready_sender, upload_headers
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess, started
from tests.emulator import settings_for
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.e2e


# The refusals of an import call, each with its words, and which goes before which.


@dataclass(frozen=True)
class Fault:
    """Something wrong with a call, and how it is refused; only one fault `about` a thing fits."""

    name: str
    status: int
    wording: str
    about: str = ""


FAULTS = (
    Fault("no key", 401, "X-Functions-Key", about="key"),
    Fault("unknown key", 401, "not known", about="key"),
    Fault("another software key", 403, "Key name does not match Software Key"),
    Fault("disabled", 403, "Integration missing for Software Key or disabled"),
    Fault("database not active", 403, "Pay and Bill Database not active"),
    Fault("unknown version", 501, "Message Type not found/implemented", about="version"),
    Fault("version no number", 400, "version", about="version"),
    Fault("old database", 400, "Invalid DB Version"),
    Fault("too many bytes", 413, str(MAX_BODY_BYTES)),
    Fault("encoded", 415, "Content-Encoding"),
    Fault("key of another call", 422, "Idempotency-Key"),
    Fault("not json", 400, "not valid JSON"),
    Fault("not only objects", 501, "Payload data not supported"),
    Fault("too many rows", 413, str(MAX_ROWS)),
)
"""In the order in which they are refused."""
USED = "used"
"""An Idempotency-Key that each sender has sent with a call of its own."""


def _send(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender], faults: set[str]
) -> tuple[Answer, Sender]:
    """A call with these faults and no other."""
    version = 0 if "old database" in faults else 1
    sender = senders["disabled" not in faults, "database not active" not in faults, version]
    if "key of another call" in faults:
        gateway.post(sender, [], **{"Idempotency-Key": USED})
    answer = gateway.call("POST", _address(faults), _body(faults), _headers(sender, faults))
    return answer, sender


def _headers(sender: Sender, faults: set[str]) -> dict[str, str]:
    headers = {"Content-Type": "application/json", **sender.headers}
    if "no key" in faults:
        del headers["X-Functions-Key"]
    if "unknown key" in faults:
        headers["X-Functions-Key"] = "pig_nobody"
    if "another software key" in faults:
        headers["X-Software-Key"] += "x"
    if "encoded" in faults:
        headers["Content-Encoding"] = "br"
    if "key of another call" in faults:
        headers["Idempotency-Key"] = USED
    return headers


def _address(faults: set[str]) -> str:
    version = "2" if "unknown version" in faults else "1"
    version = "abc" if "version no number" in faults else version
    return f"/api/import/workers?version={version}"


def _body(faults: set[str]) -> bytes:
    rows: list[Any] = [a_worker("P1")] * (MAX_ROWS + 1 if "too many rows" in faults else 1)
    body = body_of([7, *rows] if "not only objects" in faults else rows)
    if "not json" in faults:
        body += b"}"
    return body + b" " * (MAX_BODY_BYTES if "too many bytes" in faults else 0)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_refused_in_its_own_words(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender], fault: Fault
) -> None:
    answer, _ = _send(gateway, senders, {fault.name})
    check_refusal(answer, fault.status, fault.wording)


@pytest.mark.parametrize("first", FAULTS, ids=lambda fault: fault.name)
def test_the_first_of_two_faults_decides_the_refusal(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender], first: Fault
) -> None:
    pairs = [pair for pair in combinations(FAULTS, 2) if pair[0] is first]
    for _, second in pairs:
        if first.about and first.about == second.about:
            continue
        answer, _ = _send(gateway, senders, {first.name, second.name})
        message = check_refusal(answer, first.status, first.wording)
        assert second.wording in first.wording or second.wording not in message, second.name


def test_a_call_without_faults_is_imported(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender]
) -> None:
    answer, _ = _send(gateway, senders, set())
    assert answer.status == 200


def test_no_refused_call_leaves_an_import(
    gateway: GatewayProcess, senders: Mapping[Kind, Sender]
) -> None:
    _, sender = _send(gateway, senders, set())
    before = gateway.get("/api/imports?pageSize=1000", sender).json["items"]
    for fault in FAULTS:
        _send(gateway, senders, {fault.name})
    assert gateway.get("/api/imports?pageSize=1000", sender).json["items"] == before


def test_a_missing_software_key_counts_as_a_missing_integration(
    gateway: GatewayProcess, sender: Sender
) -> None:
    headers = {"X-Functions-Key": sender.function_key}
    answer = gateway.call("POST", _address(set()), _body(set()), headers)
    check_refusal(answer, 403, "Integration missing for Software Key or disabled")


@pytest.mark.parametrize("address", ["licences", "workers2", "workers/more", "zz"])
def test_an_unknown_message_type_is_501(
    gateway: GatewayProcess, sender: Sender, address: str
) -> None:
    answer = gateway.call("POST", f"/api/import/{address}", b"[]", sender.headers)
    check_refusal(answer, 501, "Message Type not found/implemented")


def test_an_unknown_message_type_needs_a_key_first(gateway: GatewayProcess) -> None:
    check_refusal(gateway.call("POST", "/api/import/anything", b"[]"), 401)


@pytest.mark.parametrize("name", ["version", "Version", "VERSION"])
def test_the_name_of_the_version_parameter_matches_in_any_case(
    gateway: GatewayProcess, sender: Sender, name: str
) -> None:
    for version, status in (("1", 200), ("2", 501), ("x", 400)):
        address = f"/api/import/workers?{name}={version}"
        body = _body(set())
        assert gateway.call("POST", address, body, sender.headers).status == status


def test_a_missing_version_is_version_1(gateway: GatewayProcess, sender: Sender) -> None:
    answer = gateway.call("POST", "/api/import/workers", _body(set()), sender.headers)
    assert answer.status == 200


def test_a_plain_correlation_id_of_the_caller_is_returned(
    gateway: GatewayProcess,
) -> None:
    for sent, is_kept in (("abc-1.x_Y", True), ("a b", False), ("x" * 65, False)):
        answer = gateway.call("POST", "/api/import/workers", b"[]", {"X-Correlation-Id": sent})
        assert (answer.headers["x-correlation-id"] == sent) is is_kept


# Query parameters over every route: what is not known is refused, and no dry run imports.

OPERATIONS = operations(Limits.of(settings_for("")))
OF_VENDORS = {
    *(f"import_{name}" for name, kind in IMPORT_TYPES.items() if kind.contract is PAY_AND_BILL),
    *("import_documents", "import_zz_unknown_type"),
    *("licenses_import", "licenses_delete", "licenses_delete_by_post", "import_schema"),
    *("licenses_export_division", "licenses_export_employee"),
    *("authdata_stage", "authdata_review", "authdata_process", "authdata_stage_and_process"),
    *("connect_token", "openid_configuration", "openid_keys"),
    *("openid_configuration_connect", "openid_keys_connect"),
}
"""Functions at addresses that a vendor, or a standard, has named."""
ID = "00000000-0000-0000-0000-00000000000a"
DRY = [item for item in OPERATIONS if "dryRun" in {each.name for each in item.parameters}]
ALMOST_DRY = (
    "dry_run=true",
    "dry-run=true",
    "dryrunn=true",
    "dyrRun=true",
    "dryRn=true",
    "dryRun%20=true",
    "+dryRun=true",
    "DRY_RUN=TRUE",
    "dry%E2%80%8BRun=true",
    "isDryRun=true",
    "dryRun[]=true",
    "amp;dryRun=true",
    "%3FdryRun=true",
    "trace=1?dryRun=true",
    "code=abc?dry_run=true",
    "trace=1;dryRun=true",
    "trace=1%26dryRun%3Dtrue",
    "dry=true",
    "dry_run",
    "dryRun=yes",
    "dryRun=1",
    "dryRun=ture",
    "dryRun=%20true",
    "dryRun=true,true",
    "dryRun=",
    "dryRun",
    "dryRun=false&dryRun=true",
    "dryRun=true&DRYRUN=false",
    "viwe=rows",
)
AT_DRY = pytest.mark.parametrize("operation", DRY, ids=lambda item: f"{item.method} {item.path}")
EVERYWHERE = pytest.mark.parametrize(
    "operation",
    [item for item in OPERATIONS if item.function != "import_zz_unknown_type"],
    ids=lambda item: f"{item.method} {item.path}",
)


@pytest.fixture(name="ready", scope="module")
def fixture_ready(storage: str) -> Sender:
    """An integration that may also send documents, and administer."""
    tenant = a_ready_sender(storage).tenant
    return a_sender(storage, tenant, permissions=frozenset(PERMISSIONS))


def _call(
    gateway: GatewayProcess, sender: Sender, operation: Operation, query: str, **headers: str
) -> Answer:
    """The operation with a body that it takes; ids are of nothing that there is."""
    path = re.sub(r"\{\w+\}", ID, operation.path)
    path += f"{'&' if '?' in path else '?'}{query}" if query else ""
    known = {} if operation.access is Access.OPEN else sender.headers
    if operation.function == "import_documents":
        headers = {**upload_headers(sender), **headers}
        return gateway.call(operation.method, path, Form().body(), headers)
    body = None
    if operation.method != "GET":
        headers = {"Content-Type": "application/json", **headers}
        is_batch = operation.path in (AUTHDATA, STAGE)
        body = b'{"employee":[]}' if is_batch else b"" if "{" in operation.path else b"[]"
    return gateway.call(operation.method, path, body, {**known, **headers})


def _known(operation: Operation) -> list[str]:
    return [item.name for item in operation.parameters if item.place == "query"]


@EVERYWHERE
def test_a_query_parameter_that_is_not_known(
    gateway: GatewayProcess, ready: Sender, operation: Operation
) -> None:
    answer = _call(gateway, ready, operation, "frobnicate=1&code=abc&other_name=2")
    if operation.function in OF_VENDORS:
        assert b"frobnicate" not in answer.body
        assert answer.body == _call(gateway, ready, operation, "").body or answer.status == 200
        return
    refusal = check_refusal(answer, 400, "frobnicate, other_name")
    assert all(name in refusal for name in _known(operation))
    assert "code" not in refusal.split("this call takes")[0]
    assert "dry-run" not in answer.headers


@EVERYWHERE
def test_every_published_query_parameter_is_known_in_any_case(
    gateway: GatewayProcess, ready: Sender, operation: Operation
) -> None:
    for name in _known(operation):
        for spelling in (name, name.upper(), name.lower()):
            answer = _call(gateway, ready, operation, f"{spelling}=")
            assert b"does not take" not in answer.body, spelling


@EVERYWHERE
def test_a_call_that_has_no_dry_run_refuses_one(
    gateway: GatewayProcess, ready: Sender, operation: Operation
) -> None:
    if operation in DRY or operation.path.startswith(("/.well-known", "/connect/.well-known")):
        return
    for query, headers in (
        ("dryRun=true", {}),
        ("code=abc?dryRun=true", {}),
        ("", {"Dry-Run": "true"}),
        ("", {"X-Dry-Run": "true"}),
        ("", {"DryRun": "true"}),
    ):
        if operation.path == "/connect/token" and query != "dryRun=true":
            continue
        answer = _call(gateway, ready, operation, query, **headers)
        assert answer.status == 400, (query, headers)
        assert "no dry run" in str(answer.json), (query, headers)


@AT_DRY
def test_every_answer_of_a_dry_run_says_that_it_is_one(
    gateway: GatewayProcess, ready: Sender, operation: Operation
) -> None:
    calls = (
        _call(gateway, ready, operation, "dryRun=true"),
        _call(gateway, ready, operation, "DRYRUN=True&view=rows"),
        _call(gateway, ready, operation, "dryRun=true&frobnicate=1"),
        _call(gateway, ready, operation, "dryRun=true&veiw=rows"),
        _call(gateway, ready, operation, "dryRun=true&view=columns"),
        _call(gateway, ready, operation, "dryRun=true", Accept="image/png"),
        _call(gateway, ready, operation, "dryRun=true", **{"Content-Encoding": "br"}),
        gateway.call(
            operation.method, re.sub(r"\{\w+\}", ID, operation.path) + "?dryRun=true", b"{"
        ),
    )
    for answer in calls:
        assert answer.headers["dry-run"] == "true", answer.body
        assert "x-import-id" not in answer.headers
    statuses = {answer.status for answer in calls}
    assert {401, 400} <= statuses
    assert 200 in statuses or operation.function in ("authdata_process", "imports_undo")
    for query in ("", "dryRun=false"):
        assert "dry-run" not in _call(gateway, ready, operation, query).headers


@AT_DRY
def test_a_misspelt_dry_run_is_refused(
    gateway: GatewayProcess, sender: Sender, ready: Sender, operation: Operation
) -> None:
    caller = ready if operation.function == "import_documents" else sender
    before = _imports(gateway, caller)
    for query in ALMOST_DRY:
        answer = _call(gateway, caller, operation, query)
        assert answer.status == 400, query
        assert "dry-run" not in answer.headers, query
        assert "nothing was done" in str(answer.json) or "takes" in str(answer.json), query
    for header in ("Dry-Run", "X-Dry-Run", "dryRun", "X-DryRun"):
        assert _call(gateway, caller, operation, "", **{header: "true"}).status == 400
    assert _imports(gateway, caller) == before


def _imports(gateway: GatewayProcess, sender: Sender) -> list[str]:
    imports = gateway.get("/api/imports", sender).json["items"]
    return [item["importId"] for item in imports]


def test_nothing_of_a_misspelt_dry_run_is_imported(gateway: GatewayProcess, sender: Sender) -> None:
    headers = {"Content-Type": "application/json", **sender.headers}
    for query in ALMOST_DRY:
        answer = gateway.call("POST", f"{WORKERS}&{query}", body_of([a_worker("P1")]), headers)
        check_refusal(answer, 400, "dryRun")
    assert _imports(gateway, sender) == []


@pytest.mark.parametrize(
    "query", ["trace=1", "api-version=2", "utm_source=x", "v=1", "sig=a%2Bb", "run=1", "q"]
)
def test_a_vendors_address_passes_over_what_is_far_from_any_name(
    gateway: GatewayProcess, sender: Sender, query: str
) -> None:
    headers = {"Content-Type": "application/json", **sender.headers}
    answer = gateway.call("POST", f"{WORKERS}&{query}", body_of([a_worker("P1")]), headers)
    assert answer.status == 200
    assert answer.import_id


@pytest.mark.parametrize(
    ("path", "query", "known"),
    [
        (WORKERS.partition("?")[0], "verson=2", "version"),
        ("/v1/imports/licenses", "import_action=Merge", "importAction"),
        ("/v1/imports/licenses", "importActoin=Merge", "importAction"),
        ("/v1/imports/licenses", "allowSamefiles=false", "allowSameFile"),
    ],
)
def test_a_slip_in_another_name_of_a_vendor_is_refused_too(
    gateway: GatewayProcess, sender: Sender, path: str, query: str, known: str
) -> None:
    headers = {"Content-Type": "application/json", **sender.headers}
    refusal = check_refusal(gateway.call("POST", f"{path}?{query}", b"[]", headers), 400, known)
    assert query.partition("=")[0] in refusal


def test_a_refusal_of_names_shows_no_control_characters_and_is_short(
    gateway: GatewayProcess, sender: Sender
) -> None:
    query = "&".join(f"{quote(chr(27))}n{number}{'x' * 90}=1" for number in range(50))
    refusal = check_refusal(
        gateway.call("GET", f"/api/imports?{query}", None, sender.headers), 400, "and 45 more"
    )
    assert "\x1b" not in refusal
    assert len(refusal) < 600


def test_who_calls_is_judged_before_what_is_asked(gateway: GatewayProcess) -> None:
    for path in ("/api/imports?frobnicate=1", f"{WORKERS}&dry_run=true"):
        check_refusal(gateway.call("GET" if "imports" in path else "POST", path, None, {}), 401)


@pytest.mark.parametrize("name", ["Comit", "commits", "dryRun", "dry_run", "allow_no_auths"])
def test_a_misspelt_trial_of_authentication_data_stages_nothing(
    gateway: GatewayProcess, sender: Sender, name: str
) -> None:
    body = json.dumps({name: False, "employee": [{"employeeId": "E1", "authValue1": "1"}]})
    headers = {"Content-Type": "application/json", **sender.headers}
    for address in (STAGE, AUTHDATA):
        refusal = check_refusal(gateway.call("POST", address, body.encode(), headers), 400)
        assert name.lower() in refusal.lower()
    assert _imports(gateway, sender) == []


def test_a_dry_run_that_is_asked_for_in_the_form_is_refused(
    gateway: GatewayProcess, ready: Sender
) -> None:
    form = Form(file_name="form.pdf", more=[("dryRun", "true")])
    answer = gateway.call("POST", "/api/import/documents", form.body(), upload_headers(ready))
    check_refusal(answer, 400, "dryRun=true in the query")


# Storage does not answer: nothing is accepted, and the caller is asked to retry.


@pytest.mark.parametrize("host", ["127.0.0.1", "storage.invalid"])
def test_a_gateway_without_its_storage_answers_503(tmp_path: Path, host: str) -> None:
    with socket.socket() as closed_port:
        closed_port.bind(("127.0.0.1", 0))
        port = closed_port.getsockname()[1]
        ports = dict.fromkeys(("blob", "queue", "table"), port)
        storage = emulator_connection_string(host, ports)
        with started(storage, tmp_path, LOCAL_HOST_STOP_SECONDS="1") as gateway:
            keys = {"X-Functions-Key": "pig_any", "X-Software-Key": "any"}
            for answer, expected_text in (
                (gateway.call("GET", "/api/health"), "Storage does not answer"),
                (
                    gateway.call("POST", WORKERS, body_of([a_worker("P1")]), keys),
                    "nothing was accepted",
                ),
            ):
                check_refusal(answer, 503, expected_text)
                assert int(answer.headers["retry-after"]) > 0
