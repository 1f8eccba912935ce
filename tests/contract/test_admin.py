"""`/api/admin/…`: a tenant administers itself, and nothing of another (docs/contracts.md#8)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pytest
from openapi_schema_validator import OAS31Validator
from typer.testing import CliRunner

from cli.app import app
from shared.auth.clients import Scope
from shared.auth.integrations import PERMISSIONS
from shared.services.admin.audit import Action
from shared.web.openapi.document import document, operations
from shared.web.openapi.operations import Limits
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.emulator import settings_for
from tests.tenants import Sender, a_sender, a_token_client

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
HERE = "/api/admin"
LIMITS = Limits.of(settings_for(""))
PROFILE = {"type": "workers", "columns": {"A": "EmployerRef", "B": "PersonnelRef"}}
EVERYTHING = frozenset(PERMISSIONS)


class Desk:
    """An administrator at the gateway, whose answers are compared with the document."""

    described = document(LIMITS)
    called: ClassVar[set[tuple[str, str]]] = set()

    def __init__(self, gateway: GatewayProcess, headers: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._headers = headers

    def call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        address = f"{HERE}/{path}" + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        return self._gateway.call(method, address, content, dict(self._headers))

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        answer = self.call(method, path, body, query)
        assert answer.status == 200, answer.body
        paths = self.described["paths"]
        name = next(
            each
            for each in paths
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), f"{HERE}/{path}")
            and not each.startswith(f"{HERE}/authdata")
        )
        media = paths[name][method.lower()]["responses"]["200"]["content"]["application/json"]
        schema = {**media["schema"], "components": self.described["components"]}
        OAS31Validator(schema).validate(answer.json)
        self.called.add((method, name))
        return answer.json


@pytest.fixture(name="admin")
def fixture_admin(storage: str) -> Sender:
    return a_sender(storage, permissions=EVERYTHING, software_key="ADMIN")


@pytest.fixture(name="desk")
def fixture_desk(gateway: GatewayProcess, admin: Sender) -> Desk:
    return Desk(gateway, admin.headers)


def test_a_tenant_administers_itself_and_every_change_is_in_its_log(
    gateway: GatewayProcess, admin: Sender, desk: Desk
) -> None:
    assert desk.ask("GET", "tenant")["tenant"] == admin.tenant
    added = desk.ask(
        "POST", "integrations", {"softwareKey": "Büro/1?", "permissions": ["import:workers"]}
    )
    key = added["key"]
    headers = {"X-Functions-Key": key["functionKey"], "X-Software-Key": quote("Büro/1?")}
    assert gateway.call("POST", "/api/import/workers", b"[]", headers).status == 200
    # A second key, both work, the first one goes.
    second = desk.ask(
        "POST", "keys", {"softwareKey": "Büro/1?", "expiresAt": "2099-01-31T08:30:00+02:00"}
    )
    assert second["expiresAt"] == "2099-01-31T06:30:00.000Z"
    for function_key in (key["functionKey"], second["functionKey"]):
        sent = {**headers, "X-Functions-Key": function_key}
        assert gateway.call("POST", "/api/import/workers", b"[]", sent).status == 200
    shown = desk.ask("GET", "keys", softwareKey="Büro/1?")["keys"]
    assert [each["id"] for each in shown] == [second["id"], key["id"]]
    assert desk.ask("DELETE", "keys", softwareKey="Büro/1?", id=key["id"])["id"] == key["id"]
    changed = desk.ask(
        "PATCH",
        "integrations",
        {"softwareKey": "Büro/1?", "enabled": False, "database": {"version": 7}},
    )
    assert (changed["enabled"], changed["database"]) == (False, {"active": True, "version": 7})
    assert changed["permissions"] == ["import:workers"]
    listed = desk.ask("GET", "integrations")["integrations"]
    assert [each["softwareKey"] for each in listed] == ["ADMIN", "Büro/1?"]

    client = desk.ask("POST", "clients", {"scopes": ["import_inbox"]})
    client_id = client["clientId"]
    assert client_id.startswith(f"{admin.tenant}-")
    other = desk.ask("POST", "secrets", {"clientId": client_id, "expiresAt": "2099-01-31"})
    for secret in (client["clientSecret"], other["clientSecret"]):
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        media = {"Content-Type": "application/x-www-form-urlencoded"}
        assert gateway.call("POST", "/connect/token", urlencode(form).encode(), media).status == 200
    first = client["secrets"][0]["id"]
    left = desk.ask("DELETE", "secrets", clientId=client_id, id=first)["secrets"]
    assert [each["id"] for each in left] == [other["secrets"][0]["id"]]
    scopes = ["admin", "read_records"]
    changed = desk.ask("PATCH", "clients", {"clientId": client_id, "scopes": scopes})
    assert changed["scopes"] == scopes
    [shown_client] = desk.ask("GET", "clients")["clients"]
    assert "clientSecret" not in shown_client
    assert shown_client["scopes"] == scopes
    desk.ask("DELETE", "clients", clientId=client_id)

    assert desk.ask("PUT", "profiles/hr", PROFILE)["version"] == 1
    assert desk.ask("GET", "profiles/hr", version="1")["profile"]["columns"] == PROFILE["columns"]
    assert [each["name"] for each in desk.ask("GET", "profiles")["profiles"]] == ["hr"]
    desk.ask("DELETE", "profiles/hr")
    assert desk.ask("PUT", "references/currency", {"values": ["EUR", " ", "GBP"]})["values"] == 2
    desk.ask("PATCH", "thresholds", {"errors": "5"})
    assert desk.ask("GET", "thresholds")["errors"] == "5"
    assert desk.ask("PATCH", "thresholds", {"errors": None})["errors"] is None
    desk.ask("PATCH", "formats", {"employeeId": "[0-9]{5}"})
    desk.ask("GET", "formats")
    desk.ask("POST", "rounds", {"code": "R1"})
    assert desk.ask("PATCH", "rounds", {"code": "R1", "status": "closed"})["status"] == "Closed"
    assert len(desk.ask("GET", "rounds")["rounds"]) == 1

    entries = desk.ask("GET", "audit")["items"][::-1]
    assert [entry["action"] for entry in entries] == [
        *(Action.INTEGRATION_ADD, Action.INTEGRATION_ADD, Action.KEY_ADD, Action.KEY_REVOKE),
        *(Action.INTEGRATION_SET, Action.CLIENT_ADD, Action.SECRET_ADD, Action.SECRET_REVOKE),
        *(Action.CLIENT_SET, Action.CLIENT_REVOKE, Action.PROFILE_SET, Action.PROFILE_DELETE),
        *(Action.REFERENCE_LOAD, Action.THRESHOLD_SET, Action.THRESHOLD_SET, Action.FORMAT_SET),
        *(Action.ROUND_ADD, Action.ROUND_SET),
    ]
    assert all(entry["caller"] == {"integration": "ADMIN"} for entry in entries[1:])
    log = json.dumps(entries)
    for secret in (key["functionKey"], second["functionKey"], other["clientSecret"]):
        assert secret not in log
    own = {(item.method, item.path) for item in operations(LIMITS) if item.tag == "Administration"}
    assert desk.called >= own, "a call that this test does not make"


def test_an_administrator_touches_nothing_of_another_tenant(
    storage: str, desk: Desk, gateway: GatewayProcess
) -> None:
    other = a_sender(storage, permissions=EVERYTHING, software_key="THEIRS")
    theirs = Desk(gateway, other.headers)
    client = theirs.ask("POST", "clients", {"scopes": ["admin"]})
    theirs.ask("PUT", "profiles/theirs", PROFILE)
    before = theirs.ask("GET", "audit")["items"]
    key_id = other.integration.keys[0].id
    secret_id = client["secrets"][0]["id"]
    own = {"softwareKey": "THEIRS"}
    for method, path, body, query in (
        ("PATCH", "integrations", {**own, "enabled": False}, {}),
        ("GET", "keys", None, own),
        ("POST", "keys", own, {}),
        ("DELETE", "keys", None, {**own, "id": key_id}),
        ("DELETE", "keys", None, {"softwareKey": "ADMIN", "id": key_id}),
        ("PATCH", "clients", {"clientId": client["clientId"], "scopes": ["import_inbox"]}, {}),
        ("DELETE", "clients", None, {"clientId": client["clientId"]}),
        ("POST", "secrets", {"clientId": client["clientId"]}, {}),
        ("DELETE", "secrets", None, {"clientId": client["clientId"], "id": secret_id}),
        ("GET", "profiles/theirs", None, {}),
        ("DELETE", "profiles/theirs", None, {}),
    ):
        check_refusal(desk.call(method, path, body, query), 404)
    for path in ("integrations", "clients", "profiles"):
        assert "THEIRS" not in json.dumps(desk.ask("GET", path))
        assert client["clientId"] not in json.dumps(desk.ask("GET", path))
    # No call takes the name of a tenant.
    named: tuple[tuple[str, str, Any, dict[str, str]], ...] = (
        ("GET", "integrations", None, {"tenant": other.tenant}),
        ("POST", "integrations", {"softwareKey": "X", "tenant": other.tenant}, {}),
        ("POST", "clients", {"scopes": ["admin"], "clientId": "x"}, {}),
    )
    for call in named:
        check_refusal(desk.call(*call), 400, "emove them: ")
    assert theirs.ask("GET", "audit")["items"] == before


def test_no_caller_ends_what_it_calls_with(
    gateway: GatewayProcess, storage: str, admin: Sender, desk: Desk
) -> None:
    for method, path, body, query in (
        ("PATCH", "integrations", {"softwareKey": " ADMIN", "enabled": False}, {}),
        ("PATCH", "integrations", {"softwareKey": "ADMIN", "permissions": ["import"]}, {}),
        ("DELETE", "keys", None, {"softwareKey": "ADMIN", "id": admin.integration.keys[0].id}),
    ):
        check_refusal(desk.call(method, path, body, query), 409, "made with what it would end")
    client = a_token_client(storage, gateway.url, admin.tenant, Scope.ADMIN)
    by_token = Desk(gateway, client.headers)
    assert by_token.ask("GET", "tenant")["tenant"] == admin.tenant
    own = {"clientId": client.client.client_id.upper()}
    check_refusal(by_token.call("DELETE", "clients", None, own), 409, "made with what it would end")
    less = {**own, "scopes": ["import_inbox"]}
    check_refusal(by_token.call("PATCH", "clients", less), 409, "made with what it would end")
    check_refusal(
        by_token.call("POST", "secrets", {"clientId": client.client.client_id}), 409, "Entra"
    )
    only = desk.ask("POST", "integrations", {"softwareKey": "ONE"})["key"]["id"]
    alone = {"softwareKey": "ONE", "id": only}
    check_refusal(desk.call("DELETE", "keys", None, alone), 409, "add a new function key first")


def test_what_a_lost_answer_has_made_is_found_and_replaced(desk: Desk) -> None:
    """The steps of docs/api.md for calls whose answer was lost."""
    new = {"softwareKey": "NEW"}
    lost = desk.ask("POST", "integrations", new)
    check_refusal(desk.call("POST", "integrations", new), 409, "already")
    key = desk.ask("POST", "keys", new)
    desk.ask("DELETE", "keys", softwareKey="NEW", id=lost["key"]["id"])
    assert [each["id"] for each in desk.ask("GET", "keys", **new)["keys"]] == [key["id"]]
    desk.ask("POST", "clients", {"scopes": ["import_inbox"]})
    [client] = desk.ask("GET", "clients")["clients"]
    desk.ask("DELETE", "clients", clientId=client["clientId"])
    assert desk.ask("GET", "clients")["clients"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "wording"),
    [
        ("POST", "integrations", b"", "not valid JSON"),
        ("POST", "integrations", b"[]", "no JSON object"),
        ("POST", "integrations", b'{"softwareKey":"A","softwareKey":"B"}', "a property twice"),
        ("POST", "integrations", b"[" * 50_000, "not valid JSON"),
        ("POST", "integrations", b"{}", "lacks softwareKey"),
        ("POST", "integrations", b'{"softwareKey":"\\ud800"}', "not valid JSON"),
        ("POST", "integrations", b'{"softwareKey":7}', "softwareKey must be text"),
        ("POST", "integrations", b'{"softwareKey":"A","permissions":["all"]}', "one or more of"),
        ("POST", "integrations", b'{"softwareKey":"A","permissions":[]}', "one or more of"),
        ("POST", "integrations", b'{"softwareKey":"A","permissions":[7]}', "a list of texts"),
        ("POST", "integrations", b'{"softwareKey":"A","read":"all"}', "none, masked, full"),
        ("POST", "integrations", b'{"softwareKey":"A","database":{"a":1}}', "active, version"),
        ("POST", "integrations", b'{"softwareKey":"A","database":{"version":1.5}}', "whole number"),
        ("POST", "integrations", b'{"softwareKey":"A","expiresAt":"soon"}', "expiresAt must be"),
        ("POST", "integrations", b'{"softwareKey":"A","expiresAt":"2020-01-01"}', "is past"),
        ("POST", "clients", b'{"scopes":[]}', "scopes must name"),
        ("PATCH", "clients", b'{"clientId":"x","scopes":["owner"]}', "scopes must name"),
        ("DELETE", "keys?id=1", b"", "lacks softwareKey"),
        ("PUT", "profiles/hr", b"{}", "The profile has"),
        ("PUT", "references/planets", b'{"values":["x"]}', "must be of one of"),
        ("PUT", "references/currency", b'{"values":[" "]}', "the list stays as it was"),
        ("PUT", "references/currency", b'{"values":["%s"]}' % (b"x" * 61), "at most 60 characters"),
        ("POST", "keys", b'{"softwareKey":"%s"}' % ("\u0301" * 20_000).encode(), "4000 characters"),
        ("PATCH", "thresholds", b"{}", "Nothing to set"),
        ("PATCH", "formats", b'{"employeeId":"("}', "correct it"),
        ("PATCH", "rounds", b'{"code":"R1","status":"Shut"}', "status must be one of Open"),
    ],
)
def test_a_wrong_body_is_refused_with_what_is_wrong(
    gateway: GatewayProcess, many: Sender, method: str, path: str, body: bytes, wording: str
) -> None:
    answer = gateway.call(method, f"{HERE}/{path}", body, dict(many.headers))
    check_refusal(answer, 400, wording)


@pytest.fixture(name="many", scope="module")
def fixture_many(storage: str) -> Sender:
    """An administrator whose tenant no test changes."""
    return a_sender(storage, permissions=EVERYTHING)


def test_the_steps_of_a_rotation_are_no_outage(
    gateway: GatewayProcess, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of docs/operate.md, a new key of a sender, as they stand there."""
    monkeypatch.setenv("AzureWebJobsStorage", storage)
    sender = a_sender(storage, software_key="HR1")
    page = (ROOT / "docs" / "operate.md").read_text("utf-8").partition("### A new key of")[2]
    steps = re.findall(r"`manage\.py (key (?:list|add|revoke) [^`]*--tenant acme[^`]*)`", page)
    assert [step.split()[1] for step in steps] == ["list", "add", "revoke"]

    def run(step: str, old_id: str = "") -> Any:
        words = step.replace("acme", sender.tenant).replace("OLD_ID", old_id).split()
        ran = CliRunner().invoke(app, [*words, "--json"])
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    def status(function_key: str) -> int:
        headers = {**sender.headers, "X-Functions-Key": function_key}
        return gateway.call("POST", "/api/import/workers", b"[]", headers).status

    assert status(sender.function_key) == 200
    [old] = run(steps[0])["keys"]
    new = run(steps[1])["functionKey"]
    assert (status(sender.function_key), status(new)) == (200, 200)
    run(steps[2], old["id"])
    assert status(new) == 200
    assert len(run(steps[0])["keys"]) == 1
