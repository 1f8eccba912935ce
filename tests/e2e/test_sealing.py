"""Sensitive values at rest: nothing in the clear, what a lost key leaves, rotations that die."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import string
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from azure.data.tables import TableServiceClient
from typer.testing import CliRunner

from cli.app import app
from shared.app import data_key_rotation_of, record_repair_of
from shared.bootstrap import open_gateway
from shared.clock import SystemClock
from shared.errors import DataKeysNotSetError
from shared.gateway import Gateway
from shared.imports.authdata.hashing import HashKey
from shared.imports.persons import Identity, IdentityKind
from shared.imports.registry import TYPE_CATALOGUE
from shared.services.admin.audit import Action
from shared.services.data_key_rotation import MARGIN, DataKeyState
from shared.storage.audit_records import audit_entry
from shared.storage.names import AUDIT, ROW_DROP
from shared.storage.ports import Merge, Replace
from shared.storage.sealing import DataKeys, key_number
from tests.builders import Row, a_worker, body_of
from tests.contract.test_secrets import everything
from tests.e2e.gateway_process import ROOT, WORKERS, Answer, GatewayProcess, started
from tests.e2e.test_large_loads import list_names
from tests.e2e.test_row_drops import SETTINGS, drop_all
from tests.emulator import DATA_KEYS, Emulator, settings_for
from tests.tenants import Sender, a_sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
OTHER_KEYS = f"other:{base64.b64encode(b'o' * 32).decode()}"
MARK = "Zq7xJ0secret"
DIGITS = "8361592746"
SEEN = "Zq7xJ0surname"
DROP_SETTINGS = {**SETTINGS, "GATEWAY_KEEP_DROPS_DAYS": "0"}
Value = TypeVar("Value")


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    return emulator.account("killed")


def marked(reference: str, number: int = 0, **changes: Any) -> Row:
    """A worker with a mark in each sensitive field; `number` makes other marks."""
    mark = f"{MARK}{number}"
    account = {
        "BankSortCode": "102030",
        "BankAccountNumber": DIGITS,
        "BankAccountName": mark,
        "BankRef": mark,
        "BuildingSocietyName": mark,
        "BuildingSocietyNumber": mark,
        "IBAN": mark,
        "BIC": mark,
    }
    values = {
        "Surname": SEEN,
        "PassportNumber": mark,
        "PrimaryBankDetails": account,
        "SecondaryBankDetails": account,
        "UKPayrollDetails": {"NINumber": mark, "PAYECode": "1250L"},
    }
    return a_worker(reference, **{**values, **changes})


def noise(size: int) -> str:
    """Text that no compression makes shorter."""
    return "".join(random.Random(1).choices(string.ascii_letters, k=size))


def test_no_sensitive_value_lies_open_anywhere(storage: str, tmp_path: Path) -> None:
    assert {kind.name for kind in TYPE_CATALOGUE.all if kind.sealed_names} == {"workers"}, (
        "this test has to send marked rows of every type with sensitive fields"
    )
    sender = a_sender(storage)
    with started(storage, tmp_path, **DROP_SETTINGS) as gateway:
        dropped = drop_marked_rows(storage, sender)
        headers = {"Idempotency-Key": MARK[:4]}
        first = gateway.post(sender, [marked(f"P{at}") for at in range(3)], **headers)
        again = gateway.post(sender, [marked(f"P{at}") for at in range(3)], **headers)
        assert again.headers["idempotent-replayed"] == "true"
        rows = [marked(f"P{at}", PersonnelNotes="x" * 2_000) for at in range(60)]
        gateway.post(sender, rows)
        # Former values that are in the record, and in a blob.
        gateway.post(sender, [marked("P1", number=1), marked("P2", number=1)])
        gateway.post(sender, [marked("P3", PersonnelNotes=noise(20_000))])
        gateway.post(sender, [marked("P3", number=1, PersonnelNotes=noise(20_001))])
        bad = [
            marked("P4", Gender=MARK[:2], PassportNumber=[MARK]),
            marked("P5", StartDate="never", UKPayrollDetails={"NINumber": {"a": MARK}}),
            marked("", PrimaryBankDetails=MARK),
            {**marked("P6"), "Unknown": "x", "PrimaryBankDetails": {"Unknown": MARK}},
            {**marked("P7", PrimaryBankDetails={"BankSortCode": MARK}), "Odd": MARK},
        ]
        undone = [
            gateway.post(sender, [marked("P8", number=3), marked("P1", number=3)]).import_id,
            gateway.post(sender, [marked("P2", number=3, PersonnelNotes=noise(20_002))]).import_id,
        ]
        failed = gateway.post(sender, bad).import_id
        corrected = [{"index": 1, "row": marked("P5", StartDate="2026-01-31")}]
        retry = gateway.call(
            "POST", f"/api/imports/{failed}/retry", body_of(corrected), sender.headers
        )
        answers = [first, again, retry]
        for each in undone:
            for query in ("?dryRun=true&view=rows", ""):
                address = f"/api/imports/{each}/undo{query}"
                answers.append(gateway.call("POST", address, None, sender.headers))
            address = f"/api/imports/{answers[-1].import_id}/undo"
            answers.append(gateway.call("POST", address, None, sender.headers))
            assert answers[-1].json["rows"]["reversed"] == answers[-1].json["rows"]["total"]
        answers += [
            gateway.call("POST", f"{WORKERS}&dryRun=true{view}", body_of(rows[:9]), sender.headers)
            for view in ("", "&view=rows")
        ]
        answers += [
            gateway.get(f"/api/imports/{failed}{what}", sender)
            for what in ("", "/results", "/answer", "/failures")
        ]
        answers += [gateway.get("/api/records/workers?pageSize=100", sender)]
        for answer in answers:
            check_closed("an answer", answer.body)
        sent = gateway.get(f"/api/imports/{failed}/failed-rows", sender)
        assert MARK.encode() in sent.body, "a sender sees what was sent"
        # A part of the cancelled import stays accepted and unprocessed.
        waiting = gateway.post(sender, rows, Prefer="respond-async").import_id
        gateway.call("POST", f"/api/imports/{waiting}/cancel", b"", sender.headers)
        check_closed("the log", gateway.log().encode())
        gateway.ended(sender, waiting)
        wait_until(
            lambda: not asyncio.run(list_names(storage, ROW_DROP, dropped)), "the drop is done"
        )
    places = asyncio.run(everything(storage))
    of_drop = [data for place, data in places.items() if place.startswith("blob row-results")]
    assert any(b"***cret" in data for data in of_drop), "failed.csv has the masks"
    own = {place: data for place, data in places.items() if sender.tenant in place}
    assert any(" Sealed0" in place for place in own)
    assert any("former-" in place for place in own)
    assert any(place.startswith("blob import-payloads") for place in own)
    open_places = {place.split()[0] for place, data in own.items() if SEEN.encode() in data}
    assert open_places == {"Workers"}, "what is not sensitive is found, in records alone"
    for place, data in places.items():
        check_closed(place, data)


def drop_marked_rows(storage: str, sender: Sender) -> str:
    """Drop a file with marks, which a profile maps, and which is not kept; its name."""
    columns = {"M": "EmployerRef", "Nr": "PersonnelRef", "Pass": "PassportNumber", "Art": "Gender"}
    profile = json.dumps({"type": "workers", "columns": columns})
    on_gateway(storage, lambda opened: opened.profiles.set(sender.tenant, "own", profile))
    rows = [f"E1;D{at};{MARK};{gender};{MARK}" for at, gender in enumerate(("1", "x"))]
    name = f"{sender.tenant}/{sender.integration.software_key}/workers@own/a.csv"
    text = "\n".join(("M;Nr;Pass;Art;Extra", *rows))
    asyncio.run(drop_all(storage, {name: text.encode()}))
    return name


def check_closed(place: str, data: bytes) -> None:
    for value in (MARK.encode(), DIGITS.encode(), base64.b64encode(MARK.encode())[:-4]):
        assert value not in data, place


def on_gateway(
    storage: str, action: Callable[[Gateway], Awaitable[Value]], *keys: HashKey
) -> Value:
    """Run `action` in this process, by default under the keys of the tests."""

    async def run() -> Value:
        settings = settings_for(storage, **({"data_keys": keys} if keys else {}))
        async with open_gateway(settings) as gateway:
            return await action(gateway)

    return asyncio.run(run())


@contextmanager
def gateway_with(storage: str, folder: Path, keys: str) -> Iterator[GatewayProcess]:
    with started(storage, folder, GATEWAY_DATA_KEYS=keys) as gateway:
        yield gateway


def items(gateway: GatewayProcess, sender: Sender) -> Mapping[str, Any]:
    answer = gateway.get("/api/records/workers?pageSize=100", sender)
    assert answer.status == 200, answer.body
    return {item["record"]["PersonnelRef"]: item for item in answer.json["items"]}


FIELDS = [
    "PassportNumber", "PrimaryBankDetails", "SecondaryBankDetails", "UKPayrollDetails.NINumber",
]  # fmt: skip


def test_what_a_missing_key_leaves_and_what_its_return_brings_back(
    storage: str, tmp_path: Path
) -> None:
    sender = a_sender(storage)
    with gateway_with(storage, tmp_path, DATA_KEYS) as gateway:
        gateway.post(sender, [marked("P1"), marked("P2"), a_worker("P3")])
        gateway.post(sender, [marked("P1", number=1)])
        failed = gateway.post(sender, [marked("P4", Gender="x")]).import_id
        large = [marked("P5", Gender="x", PersonnelNotes="x" * 30_000)]
        failed_blob = gateway.post(sender, large).import_id
        before = items(gateway, sender)
        assert "PassportNumber" in before["P1"]["previous"]
    for keys in ("", OTHER_KEYS):
        with gateway_with(storage, tmp_path, keys) as gateway:
            found = items(gateway, sender)
            assert found["P1"]["unreadable"] == [*FIELDS, "previous"]
            assert found["P2"]["unreadable"] == FIELDS
            assert found["P2"]["record"]["UKPayrollDetails"] == {"PAYECode": "1250L"}
            assert "unreadable" not in found["P3"]
            lines = gateway.call(
                "GET", "/api/records/workers", None,
                {**sender.headers, "Accept": "application/x-ndjson"},
            )  # fmt: skip
            assert lines.status == 200
            assert len(lines.body.splitlines()) == 3
            assert gateway.get("/api/changes", sender).status == 200
            for import_id in (failed, failed_blob):
                check_sealed(gateway.get(f"/api/imports/{import_id}/failed-rows", sender))
                again = f"/api/imports/{import_id}/retry"
                check_sealed(gateway.call("POST", again, b"", sender.headers))
            refused = gateway.post(sender, [a_worker("P6")])
            assert refused.status == 503
            assert "no key to seal" in refused.json["message"]
            assert "GATEWAY_DATA_KEYS" in gateway.log()
            assert f"tenant={sender.tenant}" in gateway.log()
    # The operator gives the key up: the tenant can be imported again, and says what it lost.
    other = HashKey("other", b"o" * 32)

    async def lose(gateway: Gateway) -> None:
        await gateway.data_keys.hash_key(sender.tenant)

    on_gateway(storage, lose)

    async def give_up(gateway: Gateway) -> None:
        rotation = data_key_rotation_of(gateway)
        with pytest.raises(Exception, match="--lost"):
            await rotation.rotate(sender.tenant)
        person = [Identity(IdentityKind.EMPLOYEE_ID, ("E1",))]
        with pytest.raises(DataKeysNotSetError):
            await gateway.persons.erase(sender.tenant, person)
        await rotation.rotate(sender.tenant, is_lost=True)
        assert not (await gateway.persons.erase(sender.tenant, person)).report.counts
        await rotation.reseal(sender.tenant)

    async def wait(gateway: Gateway) -> list[tuple[int, int | None]]:
        states = await expire(gateway, sender.tenant)
        return [(state.key.number, state.records) for state in states]

    on_gateway(storage, give_up, other)
    with gateway_with(storage, tmp_path, OTHER_KEYS) as gateway:
        changed = {"PassportNumber": "1", "PrimaryBankDetails": {"BankRef": "new"}, "Title": "Ms"}
        answer = gateway.post(sender, [a_worker("P2", **changed), a_worker("P1", Title="Mr")])
        assert [row["importStatus"] for row in answer.results] == ["OK", "OK"]
        found = items(gateway, sender)
        assert found["P2"]["unreadable"] == ["SecondaryBankDetails", "UKPayrollDetails.NINumber"]
        assert found["P1"]["unreadable"] == FIELDS
    assert on_gateway(storage, wait, other) == [(1, 2), (2, 1)]
    # The key is found again.
    with gateway_with(storage, tmp_path, f"{OTHER_KEYS},{DATA_KEYS}") as gateway:
        found = items(gateway, sender)
        assert not any("unreadable" in item for item in found.values())
        assert found["P2"]["record"]["PassportNumber"] == "***"
        assert found["P2"]["record"]["PrimaryBankDetails"] == {"BankRef": "***"}
        for reference, names in (("P1", before["P1"]["masked"]), ("P2", ["UKPayrollDetails"])):
            for name in {each.partition(".")[0] for each in names}:
                assert found[reference]["record"][name] == before[reference]["record"][name]
        corrected = [{"index": 0, "row": marked("P4")}]
        retry = f"/api/imports/{failed}/retry"
        done = gateway.call("POST", retry, body_of(corrected), sender.headers)
        assert done.json["rows"]["new"] == 1
        found = items(gateway, sender)
    # It goes when nothing is sealed under it any more.
    old = settings_for(storage).data_keys
    assert on_gateway(storage, wait, other, *old) == [(2, 3)]
    with gateway_with(storage, tmp_path, OTHER_KEYS) as gateway:
        assert items(gateway, sender) == found


def check_sealed(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert "is sealed" in answer.json["message"]


def test_rows_whose_payload_does_not_open_end_at_once_and_can_be_retried(
    storage: str, tmp_path: Path
) -> None:
    sender = a_sender(storage)
    rows = [a_worker(f"P{at}") for at in range(3)]
    large = [a_worker("P9", PersonnelNotes="x" * 30_000)]

    async def accept(gateway: Gateway) -> list[str]:
        from shared.imports.workers.definition import WORKERS as KIND

        accepted = [
            await gateway.intake.accept(KIND, sender.caller, body_of(each))
            for each in (rows, large)
        ]
        return [record.import_id for record in accepted if record is not None]

    imports = on_gateway(storage, accept)
    with gateway_with(storage, tmp_path, OTHER_KEYS) as gateway:
        for import_id in imports:
            ended = gateway.ended(sender, import_id)
            assert ended["state"] == "CompletedWithErrors"
            assert ended["rows"]["failed"] == ended["rows"]["total"]
        assert "maxDequeueCount" not in gateway.log()
    with gateway_with(storage, tmp_path, DATA_KEYS) as gateway:
        for import_id in imports:
            retried = gateway.call("POST", f"/api/imports/{import_id}/retry", b"", sender.headers)
            assert retried.json["rows"]["new"] == retried.json["rows"]["total"]


def test_what_was_changed_in_storage_is_read_without_the_sealed_fields(
    storage: str, tmp_path: Path
) -> None:
    """A value of another record, one that was removed, and one whose document was changed."""
    sender = a_sender(storage)
    with gateway_with(storage, tmp_path, DATA_KEYS) as gateway:
        gateway.post(sender, [marked(f"P{at}") for at in range(1, 6)])
        gateway.post(sender, [marked("P1", number=1), marked("P2", number=3)])

        async def copy(opened: Gateway) -> None:
            tables = opened.account.unsealed_tables
            one = await tables.get("Workers", f"{sender.tenant}|E1", "r|P1")
            two = await tables.get("Workers", f"{sender.tenant}|E1", "r|P2")
            assert one is not None
            assert two is not None
            values = {name: one.values[name] for name in ("Sealed0", "Previous")}
            await tables.write("Workers", Merge(replace(two, values=values)))
            three = await tables.get("Workers", f"{sender.tenant}|E1", "r|P3")
            assert three is not None
            values = {name: each for name, each in three.values.items() if name != "Sealed0"}
            await tables.write("Workers", Replace(replace(three, values=values)))
            for reference, old, new in (
                ("P4", SEEN, f"Other {SEEN}"),
                ("P5", '"PassportNumber":true,', ""),
            ):
                entity = await tables.get("Workers", f"{sender.tenant}|E1", f"r|{reference}")
                assert entity is not None
                text = entity.text("Document0").replace(old, new)
                await tables.write("Workers", Merge(replace(entity, values={"Document0": text})))

        on_gateway(storage, copy)
        found = items(gateway, sender)
        assert "record.sealed_values_missing" in gateway.log()
        assert "unreadable" not in found["P1"]
        assert found["P2"]["unreadable"] == [*FIELDS, "previous"]
        assert found["P3"]["unreadable"] == FIELDS
        assert "unreadable" not in found["P4"]
        assert found["P4"]["record"]["PassportNumber"] == f"***{MARK[-3:]}0"
        assert found["P5"]["unreadable"] == FIELDS[1:]
        gateway.post(sender, [marked("P3"), a_worker("P5", PrimaryBankDetails={"BankRef": "1"})])
        found = items(gateway, sender)
        assert "unreadable" not in found["P3"]
        assert found["P5"]["unreadable"] == FIELDS[2:]


class Killed(BaseException):
    """The process ends here."""


class LaterClock(SystemClock):
    """The machine's clock, ahead by some time."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


async def work(opened: Gateway, tenant: str, deaths: int, ahead: timedelta) -> bool:
    """The timer's work on the tenant, in a process of its own; whether it died at a write."""
    clock = LaterClock(ahead)
    tables: Any = DyingTables(opened.account.unsealed_tables, deaths)
    rotation = data_key_rotation_of(opened, clock)
    rotation._tables = tables
    rotation._data_keys = DataKeys(tables, opened.settings.data_keys, clock, 0)
    try:
        await rotation.work_on(tenant, clock.elapsed() + 60)
    except Killed:
        return True
    return False


async def expire(opened: Gateway, tenant: str) -> list[DataKeyState]:
    """The data keys that are left when payloads and results of their time have expired."""
    for days in (1, 1, 1, 200, 200):
        assert not await work(opened, tenant, 99, timedelta(days=days))
    return await data_key_rotation_of(opened).states(tenant, counts=True)


def test_a_rotation_that_dies_anywhere_loses_nothing(storage: str, tmp_path: Path) -> None:
    sender = a_sender(storage)
    tenant = sender.tenant
    [old], new = settings_for(storage).data_keys, HashKey("new", b"n" * 32)
    with gateway_with(storage, tmp_path, DATA_KEYS) as gateway:
        gateway.post(sender, [marked(f"P{at}") for at in range(12)])
        gateway.post(sender, [marked(f"P{at}", number=1) for at in range(6)])
        before = items(gateway, sender)

    async def die_everywhere(opened: Gateway) -> list[DataKeyState]:
        await data_key_rotation_of(opened).rotate(tenant)
        deaths = 0
        while await work(opened, tenant, deaths, MARGIN * 2):
            deaths += 1
            assert await read_all(opened, sender) == 12
        assert deaths >= 4
        return await data_key_rotation_of(opened).states(tenant, counts=True)

    states = on_gateway(storage, die_everywhere, new, old)
    assert [state.records for state in states] == [0, 12]
    assert {state.key.under for state in states} == {"new"}
    with gateway_with(storage, tmp_path, f"new:{base64.b64encode(b'n' * 32).decode()}") as gateway:
        assert items(gateway, sender) == before, "the old key of the setting is not needed any more"
        gateway.post(sender, [marked("P1", number=2)])

    async def end(opened: Gateway) -> list[DataKeyState]:
        states = await expire(opened, tenant)
        assert await read_all(opened, sender) == 12
        return states

    assert [state.key.number for state in on_gateway(storage, end, new)] == [2]


def test_a_rotation_that_is_killed_while_imports_run_loses_nothing(
    storage: str, tmp_path: Path
) -> None:
    sender = a_sender(storage)
    rows = 1_500
    environ = {**os.environ, "AzureWebJobsStorage": storage, "GATEWAY_DATA_KEYS": DATA_KEYS}

    def begin(*words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "manage.py"), "data-key", *words]
        command += ["--tenant", sender.tenant]
        return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)

    def key_of(reference: str) -> int:
        entity = workers.get_entity(f"{sender.tenant}|E1", f"r|{reference}", select=["Sealed0"])
        return key_number(entity["Sealed0"])

    references = [f"P{at:05}" for at in range(rows)]
    with (
        gateway_with(storage, tmp_path, DATA_KEYS) as gateway,
        TableServiceClient.from_connection_string(storage) as service,
    ):
        workers = service.get_table_client("Workers")
        assert gateway.post(sender, [marked(each) for each in references]).status == 200
        assert begin("rotate").wait() == 0
        reseal = begin("reseal")
        wait_until(lambda: key_of(references[0]) == 2, "the first records under the new key")
        reseal.kill()
        reseal.wait()
        assert key_of(references[-1]) == 1, "killed too late: all records were sealed anew"

        # Half of the workers are imported again while it is rotated once more.
        body = [marked(each, number=1) for each in references[::2]]
        import_id = gateway.post(sender, body, Prefer="respond-async").import_id
        while not gateway.get(f"/api/imports/{import_id}", sender).json["endedAt"]:
            assert begin("rotate").wait() == 0
            reseal = begin("reseal")
            wait_until(lambda: key_of(references[0]) >= 2, "a record under a new key")
            reseal.kill()
            reseal.wait()
        ended = gateway.ended(sender, import_id)
        assert (ended["rows"]["updated"], ended["rows"]["failed"]) == (len(body), 0)
        assert begin("reseal").wait() == 0

    async def check(opened: Gateway) -> list[int]:
        assert await read_all(opened, sender) == rows
        query = opened.account.tables.query
        found = await query("Workers", f"{sender.tenant}|E1", "r|", "r|~")
        marks = [json.loads(entity.text("Document0"))["PassportNumber"] for entity in found]
        assert marks == [f"{MARK}{1 - at % 2}" for at in range(rows)]
        assert not await data_key_rotation_of(opened).reseal(sender.tenant)
        states = await data_key_rotation_of(opened).states(sender.tenant, counts=True)
        return [state.records or 0 for state in states]

    *older, newest = on_gateway(storage, check)
    assert (set(older), newest) == ({0}, rows)


async def read_all(opened: Gateway, sender: Sender) -> int:
    """How many records open, with their former values."""
    found = await opened.account.tables.query("Workers", f"{sender.tenant}|E1", "r|", "r|~")
    repair = record_repair_of(opened)
    assert not [each async for each in repair.find(sender.tenant, ["workers"])]
    return sum("Unreadable" not in entity.values for entity in found)


class DyingTables:
    """Tables of a process that dies after so many writes: before one, or after it."""

    def __init__(self, tables: Any, deaths: int) -> None:
        self._tables = tables
        self._writes, self._is_after = divmod(deaths, 2)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    async def write(self, table: str, operation: Any) -> str:
        return str(await self._counted(self._tables.write(table, operation)))

    async def transact(self, table: str, operations: Any) -> None:
        await self._counted(self._tables.transact(table, operations))

    async def _counted(self, write: Any) -> Any:
        if self._writes == 0 and not self._is_after:
            write.close()
            raise Killed
        done = await write
        if self._writes == 0:
            raise Killed
        self._writes -= 1
        return done


# The commands of the page run as they stand there, one after another.

COMMANDS = re.findall(
    r"^python3 dev\.py manage (.*)$",
    (ROOT / "docs" / "sealing.md").read_text("utf-8"),
    re.MULTILINE,
)


def test_the_commands_of_the_page_do_what_it_says(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = a_sender(storage)
    with gateway_with(storage, tmp_path, DATA_KEYS) as gateway:
        gateway.post(sender, [marked("P1"), marked("P2")])
        monkeypatch.setenv("AzureWebJobsStorage", storage)
        monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
        monkeypatch.setenv("GATEWAY_DATA_KEYS", DATA_KEYS)
        printed = []
        for command in COMMANDS:
            # The other tenants of this account have lost their keys, or would be rotated.
            words = command if "--tenant" in command else f"{command} --tenant acme"
            words = words.replace("acme", sender.tenant)
            ran = CliRunner().invoke(app, words.split(), catch_exceptions=False)
            assert ran.exit_code == 0, (command, ran.output)
            printed.append(ran.stdout.splitlines())
        assert [len(lines) for lines in printed] == [2, 2, 2, 4, 4, 2]
        assert printed[2][1].split() == [sender.tenant, "2"]
        assert [line.split()[-1] for line in printed[4][1:]] == ["0", "0", "2"]
        assert len(items(gateway, sender)) == 2
    audit = on_gateway(storage, lambda opened: rotations(opened, sender.tenant))
    assert audit == [{"key": number} for number in (4, 3, 2)]


async def rotations(opened: Gateway, tenant: str) -> list[Any]:
    """What the audit log says of the rotations of a tenant, newest first."""
    found = await opened.account.tables.query(AUDIT, tenant)
    entries = [audit_entry(entity) for entity in found]
    return [each.after for each in entries if each.action == Action.DATA_KEY_ROTATE]
