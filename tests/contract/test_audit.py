"""Every administrative act leaves its entry in the audit log, and no entry has a secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import typer
from azure.data.tables.aio import TableServiceClient
from typer._click import Command
from typer.core import TyperGroup
from typer.testing import CliRunner

from cli.app import app
from cli.environment import command_caller
from shared.auth.clients import hash_client_secret
from shared.auth.integrations import ReadPermission, hash_function_key
from shared.errors import ConflictError, StorageUnavailableError
from shared.gateway import Gateway
from shared.imports.documents.rounds import RoundStatus
from shared.services.admin.audit import Action
from shared.storage.audit_records import audit_partition
from shared.storage.business_records import partition_of, row_of
from shared.storage.names import AUDIT
from tests.builders import a_worker
from tests.contract.calls import check_refusal
from tests.e2e.gateway_process import GatewayProcess
from tests.emulator import DATA_KEYS, open_ready_gateway, settings_for
from tests.integration.harness import set_columns
from tests.tenants import Sender, a_sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
PATH = "/api/audit"
MARK = "Zq7xJ0"
Item = dict[str, Any]

READING = {
    "data-key list",
    # Seals the same values anew.
    "data-key reseal",
    *("tenant list", "tenant show", "integration list", "client list", "round list"),
    *("threshold show", "format show", "imports list", "imports show", "records check"),
    *("poison list", "signing-key list", "audit", "records list", "records show"),
    *("records changes", "imports unmapped", "template"),
    *("profile list", "profile show", "profile try", "key list", "secret list"),
}
"""Commands that change nothing; of those that read records, only masked ones are meant."""
OF_IMPORTS = {
    *("import", "imports retry", "imports cancel", "imports undo", "document upload", "drop"),
}
"""Commands whose effect is an import, which says itself who had it made, or ends one."""


@dataclass
class Commands:
    """Runs commands of manage.py in this process, and keeps the secrets that they print."""

    secrets: list[str] = field(default_factory=list)

    def run(self, *words: str, status: int = 0) -> Any:
        ran = CliRunner().invoke(app, [*words, "--json"])
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.exit_code == status, ran.output
        document = json.loads(ran.stdout)
        for name in ("functionKey", "clientSecret"):
            if name in document:
                self.secrets.append(document[name])
        return document

    def log(self, *words: str) -> list[Item]:
        """The entries that `audit` lists, oldest first."""
        items: list[Item] = self.run("audit", "--most", "1000", *words)["items"]
        return items[::-1]


@pytest.fixture(name="commands")
def fixture_commands(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("AzureWebJobsStorage", storage)
    monkeypatch.setenv("GATEWAY_DATA_KEYS", DATA_KEYS)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    return Commands()


def on(storage: str, use: Callable[[Gateway], Any]) -> Any:
    """Use a gateway on this storage."""

    async def used() -> Any:
        async with open_ready_gateway(settings_for(storage), command_caller()) as opened:
            return await use(opened)

    return asyncio.run(used())


def everything(storage: str, tenant: str) -> str:
    """All that the table has of a tenant and of the gateway itself, as text."""

    async def read() -> str:
        lines: list[str] = []
        async with TableServiceClient.from_connection_string(storage) as service:
            table = service.get_table_client(AUDIT)
            for partition in (audit_partition(tenant), audit_partition("")):
                async for entity in table.query_entities(f"PartitionKey eq '{partition}'"):
                    lines += [str(value) for value in entity.values()]
        return "\n".join(lines)

    return asyncio.run(read())


def listed(gateway: GatewayProcess, sender: Sender, **query: str) -> list[Item]:
    answer = gateway.get(f"{PATH}?{urlencode(query)}", sender)
    assert answer.status == 200, answer.body
    items: list[Item] = answer.json["items"]
    return items


def all_commands(command: Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from all_commands(each, (*path, name))
    else:
        yield " ".join(path)


def test_every_command_that_changes_something_leaves_an_entry(
    gateway: GatewayProcess,
    storage: str,
    commands: Commands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = ("--employer", "E1", "--personnel", "no-one")
    tenant = commands.run("tenant", "create", f"Audited {MARK} {datetime.now(UTC)}")["tenant"]
    here = ("--tenant", tenant)
    own = (*here, "--software-key", "HR1")
    added = commands.run("integration", "add", *own, "--read", "full")
    key = added["functionKey"]
    sender = Sender(a_sender(storage, tenant).integration, key)
    headers = {"X-Functions-Key": key, "X-Software-Key": "HR1"}
    values = tmp_path / "currencies.txt"
    values.write_text("EUR\nGBP\n")
    profile = tmp_path / "profile.json"
    profile.write_text('{"type": "workers", "columns": {"A": "EmployerRef", "B": "PersonnelRef"}}')
    worker = a_worker("P1", PrimaryBankDetails=None, ExternalWorkerRef=f"{MARK}X")
    body = json.dumps([worker]).encode()
    sent = gateway.call("POST", "/api/import/workers?version=1", body, headers)
    assert sent.status == 200, sent.body
    place = partition_of(tenant, "E1")
    asyncio.run(set_columns(storage, "Workers", place, row_of("P1"), {"Number": "seven"}))

    walked: list[tuple[tuple[str, ...], Action]] = [
        (("tenant", "rename", tenant, f"Renamed {tenant}"), Action.TENANT_RENAME),
        (("tenant", "disable", tenant), Action.TENANT_DISABLE),
        (("tenant", "enable", tenant), Action.TENANT_ENABLE),
        (("integration", "set", *own, "--on-existing", "error"), Action.INTEGRATION_SET),
        (("integration", "disable", *own), Action.INTEGRATION_DISABLE),
        (("integration", "enable", *own), Action.INTEGRATION_ENABLE),
        (("key", "add", *own, "--expires", "2099-01-01"), Action.KEY_ADD),
        (("key", "revoke", "{id}", *own), Action.KEY_REVOKE),
        (("key", "rotate", *own), Action.KEY_ROTATE),
        (
            ("client", "add", *here, "--name", f"c-{tenant}", "--scope", "import_inbox"),
            Action.CLIENT_ADD,
        ),
        (("client", "set", f"c-{tenant}", "--scope", "read_records"), Action.CLIENT_SET),
        (("secret", "add", f"c-{tenant}", *here), Action.SECRET_ADD),
        (("secret", "revoke", f"c-{tenant}", "--id", "{id}"), Action.SECRET_REVOKE),
        (("client", "revoke", f"c-{tenant}"), Action.CLIENT_REVOKE),
        (("feature", "enable", "documents", *here), Action.FEATURE_ENABLE),
        (("feature", "disable", "documents", *here), Action.FEATURE_DISABLE),
        (("round", "add", *here, "--code", "R1"), Action.ROUND_ADD),
        (("round", "set", *here, "--code", "R1", "--status", "Closed"), Action.ROUND_SET),
        (("threshold", "set", *here, "--errors", "5"), Action.THRESHOLD_SET),
        (("format", "set", *here, "--employee-id", "[0-9]{5}"), Action.FORMAT_SET),
        (("reference", "load", str(values), *here, "--kind", "currency"), Action.REFERENCE_LOAD),
        (("profile", "set", "hr", str(profile), *here), Action.PROFILE_SET),
        (("profile", "delete", "hr", *here), Action.PROFILE_DELETE),
        (("records", "repair", *here, "--yes"), Action.RECORDS_REPAIR),
        (
            ("records", "export", "workers", *here, "--read", "full", "--out",
             str(tmp_path / "workers.ndjson"), "--filter", f"ExternalWorkerRef={MARK}X"),
            Action.RECORDS_EXPORT,
        ),
        (("data-key", "rotate", *here), Action.DATA_KEY_ROTATE),
        (("person", "hold", *here, *person, "--reason", "a case"), Action.PERSON_HOLD),
        (("person", "release", *here, *person), Action.PERSON_RELEASE),
        (("person", "export", *here, *person, "--out", str(tmp_path / "person.zip")),
         Action.PERSON_EXPORT),
        (("person", "erase", *here, *person, "--yes"), Action.PERSON_ERASE),
        (("purge", *here, "--days", "0", "--yes"), Action.PURGE),
    ]  # fmt: skip
    before = len(commands.log(*here))
    issued: dict[str, Any] = {}
    for words, _ in walked:
        key_id = issued.get("key", issued).get("id", "")
        issued = commands.run(*(word.replace("{id}", key_id) for word in words))
    entries = commands.log(*here)[before:]
    assert [entry["action"] for entry in entries] == [action.value for _, action in walked]
    assert {entry["state"] for entry in entries} == {"done"}
    caller = command_caller().to_document()
    assert all(entry["caller"] == caller for entry in entries)
    of_gateway = {"signing-key rotate": Action.SIGNING_KEY_ROTATE,
                  "poison requeue": Action.POISON_REQUEUE}  # fmt: skip
    for command in of_gateway:
        commands.run(*command.split())
    monkeypatch.setenv("GATEWAY_CACHE_SECONDS", "0")
    other = commands.run("tenant", "create", f"other {tenant}")["tenant"]
    commands.run("tenant", "erase", other, "--confirm", other)
    own_acts = [item for item in commands.log() if item["tenant"] is None]
    assert [item for item in own_acts if item["target"] == {"tenant": other}][-1]["action"] == (
        Action.TENANT_ERASE
    )
    created = [item for item in own_acts if item["target"] == {"tenant": tenant}]
    assert [item["action"] for item in created] == [Action.TENANT_CREATE]
    assert {Action.SIGNING_KEY_ROTATE, Action.POISON_REQUEUE} <= {i["action"] for i in own_acts}

    acts = {" ".join(words[:1] if words[0] == "purge" else words[:2]) for words, _ in walked}
    acts |= {"tenant create", "tenant erase", "integration add", *of_gateway}
    known = set(all_commands(typer.main.get_command(app)))
    assert known - READING - OF_IMPORTS == acts, "a new command reads, imports, or is audited"
    tested = {action for _, action in walked} | {*of_gateway.values()}
    tested |= {Action.TENANT_CREATE, Action.TENANT_ERASE, Action.INTEGRATION_ADD}
    assert tested == set(Action)

    by_action = {entry["action"]: entry for entry in entries}
    assert by_action["integration.set"]["before"] == {"onExisting": "default"}
    assert by_action["integration.set"]["after"] == {"onExisting": "error"}
    assert by_action["integration.disable"]["after"] == {"enabled": False}
    assert by_action["round.set"]["target"] == {"code": "R1"}
    assert by_action["round.set"]["before"] == {"status": "Open"}
    assert by_action["threshold.set"]["before"] == {"errors": None}
    assert by_action["threshold.set"]["after"] == {"errors": "5"}
    assert by_action["format.set"]["after"] == {"employeeId": "[0-9]{5}"}
    assert by_action["reference.load"]["after"] == {"values": 2}
    assert by_action["key.add"]["after"]["expiresAt"] == "2099-01-01T00:00:00.000Z"
    assert by_action["key.revoke"]["target"]["key"] == by_action["key.add"]["after"]["key"]
    assert by_action["client.set"]["before"] == {"scopes": ["import_inbox"]}
    assert by_action["client.set"]["after"] == {"scopes": ["read_records"]}
    assert by_action["client.revoke"]["before"]["scopes"] == ["read_records"]
    assert by_action["records.repair"]["target"] == {"broken": {"workers": 1}}
    assert by_action["records.repair"]["after"] == {"mended": 1}
    export = {"records": "workers", "filters": ["externalworkerref"]}
    assert by_action["records.export"]["target"] == export

    stored = everything(storage, tenant)
    assert "integration.set" in stored
    assert len(commands.secrets) == 5
    for secret in commands.secrets:
        assert secret not in stored
        assert hash_function_key(secret) not in stored
        assert hash_client_secret(secret)[:20] not in stored
    assert f"{MARK}X" not in stored, "a value by which records were looked for"
    assert sender.tenant == tenant


def test_a_key_pair_reads_the_log_of_its_tenant_and_no_other(
    gateway: GatewayProcess, storage: str, commands: Commands
) -> None:
    sender = a_sender(storage, read=ReadPermission.NONE)
    other = a_sender(storage)
    commands.run("round", "add", "--tenant", sender.tenant, "--code", "R1")
    commands.run("round", "add", "--tenant", other.tenant, "--code", "R2")
    items = listed(gateway, sender)
    assert [(item["action"], item["target"]) for item in items] == [
        ("round.add", {"code": "R1"}),
        ("integration.add", {"softwareKey": sender.integration.software_key}),
    ]
    assert items[0] == {
        "at": items[0]["at"],
        "action": "round.add",
        "state": "done",
        "caller": command_caller().to_document(),
        "target": {"code": "R1"},
        "before": None,
        "after": {"status": "Open"},
    }
    assert other.tenant not in json.dumps(items)
    first = gateway.get(f"{PATH}?pageSize=1", other).json
    following = gateway.get(f"{PATH}?pageSize=1&continuation={first['continuation']}", sender).json
    assert other.tenant not in json.dumps(following)


def test_the_log_comes_page_by_page_of_one_action_and_of_a_time(
    gateway: GatewayProcess, storage: str
) -> None:
    sender = a_sender(storage)

    async def acted(opened: Gateway) -> None:
        for at in range(5):
            await opened.documents.rounds.add(sender.tenant, f"R{at}", RoundStatus.OPEN)
            await opened.tenants.rename(sender.tenant, f"{sender.tenant} {at}")

    begin = datetime.now(UTC)
    on(storage, acted)
    end = datetime.now(UTC)
    pages, query = [], {"pageSize": "3"}
    while True:
        answer = gateway.get(f"{PATH}?{urlencode(query)}", sender).json
        pages.append(answer["items"])
        if answer["continuation"] is None:
            break
        query["continuation"] = answer["continuation"]
    items = [item for page in pages for item in page]
    assert all(len(page) <= 3 for page in pages)
    assert items == listed(gateway, sender)
    assert len(items) == 11
    times = [item["at"] for item in items]
    assert times == sorted(times, reverse=True)
    rounds = listed(gateway, sender, action="Round.Add")
    assert [item["target"]["code"] for item in rounds] == ["R4", "R3", "R2", "R1", "R0"]
    both = listed(gateway, sender, since=begin.isoformat(), until=end.isoformat())
    assert len(both) == 10
    assert listed(gateway, sender, since=(end + timedelta(seconds=1)).isoformat()) == []
    assert len(listed(gateway, sender, until=begin.isoformat())) == 1
    assert len(listed(gateway, sender, since="0001-01-01", until="9999-12-31")) == 11
    assert len(listed(gateway, sender, action="round.add", pageSize="2")) == 2


@pytest.mark.parametrize(
    ("query", "wording"),
    [
        ("action=tenant", "action must be one of tenant.create,"),
        ("action=", "action must be one of"),
        ("since=soon", "since must be a time as 2026-01-31"),
        ("until=9999999", "until must be a time"),
        ("since=0001-01-01T00:00:00%2B14:00", "since must be a time"),
        ("pageSize=0", "pageSize must be a whole number from 1 to 1000"),
        ("pageSize=1001", "pageSize must be a whole number from 1 to 1000"),
        ("continuation=x", "continuation must be the value of the previous page"),
        (f"continuation={quote('fHx8')}", "continuation must be the value of the previous page"),
        ("tenant=acme", "Correct or remove them: this call takes action, since, until"),
        ("dryRun=true", "This call has no dry run"),
    ],
)
def test_a_wrong_question_is_refused_with_what_is_wrong(
    gateway: GatewayProcess, sender: Sender, query: str, wording: str
) -> None:
    check_refusal(gateway.get(f"{PATH}?{query}", sender), 400, wording)


def test_the_log_is_json_and_cannot_be_changed(gateway: GatewayProcess, sender: Sender) -> None:
    headers = {**sender.headers, "Accept": "text/csv"}
    check_refusal(gateway.call("GET", PATH, None, headers), 406)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert gateway.call(method, PATH, b"[]", dict(sender.headers)).status in (404, 405)
    check_refusal(gateway.call("GET", PATH, None, {}), 401)


def test_sensitive_values_that_are_given_out_leave_an_entry_for_each_call(
    gateway: GatewayProcess, storage: str
) -> None:
    full = a_sender(storage, read=ReadPermission.FULL)
    masked = a_sender(storage, full.tenant)
    gateway.post(full, [a_worker(f"{MARK}1"), a_worker(f"{MARK}2")])

    def exports() -> list[Item]:
        return listed(gateway, full, action="records.export")

    def ask(sender: Sender, path: str, accept: str = "application/json") -> None:
        headers = {**sender.headers, "Accept": accept}
        assert gateway.call("GET", f"/api/records/{path}", None, headers).status == 200

    ask(masked, "workers")
    ask(full, "workers?EmployerRef=nobody")
    ask(full, "employees")
    assert exports() == [], "nothing sensitive was given out"
    for accept in ("application/json", "application/x-ndjson", "text/csv"):
        ask(full, f"workers?PersonnelRef={MARK}1&EmployerRef=E1", accept)
    ask(full, "workers")
    entries = exports()
    assert len(entries) == 4
    assert {item["state"] for item in entries} == {"done"}
    caller = {"integration": full.integration.software_key}
    assert all(item["caller"] == caller for item in entries)
    assert entries[0]["target"] == {"records": "workers", "filters": [], "count": 2}
    one = {"records": "workers", "filters": ["employerref", "personnelref"], "count": 1}
    assert entries[1]["target"] == one
    assert MARK not in everything(storage, full.tenant)


class DiedError(BaseException):
    """What stands for the end of the process in the middle of an act."""


def test_an_act_that_dies_stays_begun_and_one_that_is_refused_says_so(
    gateway: GatewayProcess, storage: str
) -> None:
    sender = a_sender(storage)
    faults: tuple[BaseException, ...] = (
        DiedError(),
        asyncio.CancelledError(),
        StorageUnavailableError("away"),
        ConflictError("Another was faster."),
    )

    async def fail(opened: Gateway, fault: BaseException) -> None:
        async with opened.audit.act(
            sender.tenant, Action.ROUND_SET, {}, before={"a": 1}, after={"a": 2}
        ):
            at_work = await opened.audit_reader.page(sender.tenant, 1)
            assert at_work.entries[0].state == "begun", "it is there before the act"
            raise fault

    async def acted(opened: Gateway) -> None:
        for fault in faults:
            with pytest.raises(type(fault)):
                await fail(opened, fault)

    on(storage, acted)
    entries = listed(gateway, sender, action="round.set")
    assert [item["state"] for item in entries] == ["refused", "begun", "begun", "begun"]
    assert all((item["before"], item["after"]) == ({"a": 1}, {"a": 2}) for item in entries)


def test_what_changes_nothing_leaves_no_entry_and_what_is_refused_does(
    gateway: GatewayProcess, storage: str, commands: Commands
) -> None:
    sender = a_sender(storage)
    here = ("--tenant", sender.tenant)
    commands.run("round", "add", *here, "--code", "R1")
    before = len(listed(gateway, sender))
    commands.run("tenant", "enable", sender.tenant)
    with pytest.raises(ConflictError):
        commands.run("round", "add", *here, "--code", "R1")
    with pytest.raises(Exception, match="There is no tenant"):
        commands.run("round", "add", "--tenant", "nobody-at-all", "--code", "R1")
    added = listed(gateway, sender)[: len(listed(gateway, sender)) - before]
    assert [(item["action"], item["state"]) for item in added] == [("round.add", "refused")]


def test_the_command_shows_the_log_as_a_table_and_for_a_tenant_that_is_gone(
    storage: str, commands: Commands
) -> None:
    sender = a_sender(storage)
    ran = CliRunner().invoke(app, ["audit", "--tenant", sender.tenant])
    assert ran.exit_code == 0
    head, line = ran.stdout.splitlines()
    assert head.split() == [
        *("TIME", "TENANT", "CALLER", "ACTION", "STATE", "TARGET", "BEFORE", "AFTER"),
    ]
    assert f"softwareKey={sender.integration.software_key}" in line

    async def noted(opened: Gateway) -> None:
        await opened.audit.note("gone-tenant", Action.PURGE, {})

    on(storage, noted)
    assert commands.log("--tenant", "gone-tenant")[0]["action"] == "purge"
    with pytest.raises(Exception, match="There is no tenant"):
        commands.run("audit", "--tenant", "never-was-there")
