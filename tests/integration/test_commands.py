"""`manage.py` as people and programs call it, on the emulator."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from cli.app import app
from cli.row_files import UnreadableFileError
from shared.errors import InvalidRequestError, NotFoundError
from shared.imports.import_type import OnExisting
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import messages_for
from shared.storage.import_records import ImportRecord
from tests.builders import a_worker, body_of
from tests.emulator import DATA_KEYS, Emulator, open_ready_gateway, settings_for
from tests.files_of_rows import as_xlsx, csv_text
from tests.integration.harness import (
    AuthdataHarness,
    accept_without_messages,
    an_employee,
    play_authdata,
)
from tests.integration.manage import Manage
from tests.tenants import Sender, a_sender

pytestmark = pytest.mark.integration
SOFTWARE_KEY = "PAY ROLL Łódź"


def test_a_tenant_and_an_integration_are_made_listed_and_changed(
    manage: Manage, tenant: str
) -> None:
    where = ("--tenant", tenant, "--software-key", SOFTWARE_KEY)
    added = manage.document("integration", "add", *where, "--name", "Löhne")
    assert {name: added[name] for name in ("tenant", "softwareKey", "name")} == {
        "tenant": tenant,
        "softwareKey": SOFTWARE_KEY,
        "name": "Löhne",
    }
    changed = manage.document(
        "integration", "set", *where,
        "--on-existing", "error", "--database-active", "false", "--database-version", "0",
    )  # fmt: skip
    assert changed["name"] == "Löhne"
    assert changed["database"] == {"active": False, "version": 0}
    assert manage.document("integration", "disable", *where)["enabled"] is False
    enabled = manage.document("integration", "enable", *where)
    listed = manage.document("integration", "list", "--tenant", tenant)
    assert listed == {"integrations": [enabled]}
    assert "functionKey" not in enabled
    headers = {"x-functions-key": added["functionKey"], "x-software-key": SOFTWARE_KEY}
    assert manage.authenticate(headers).options.on_existing is OnExisting.ERROR


def test_a_tenant_is_created_once_renamed_disabled_and_enabled(manage: Manage) -> None:
    name = f"Büro {uuid.uuid4()}"
    created = manage.run("tenant", "create", name)
    assert created.stdout.startswith("Created tenant bu")
    slug = created.stdout.split()[2]
    again = manage.run("tenant", "create", f" {name.upper()}")
    assert (again.returncode, again.stdout) == (1, "")
    for part in (slug, "Nothing was created", "--allow-same-name"):
        assert part in again.stderr
    second = manage.document("tenant", "create", name, "--allow-same-name")
    assert second["tenant"] != slug
    other = f"Other {uuid.uuid4()}"
    assert "is named" in manage.run("tenant", "rename", slug, other).stdout
    assert "already" in manage.run("tenant", "rename", slug, other).stdout
    assert manage.document("tenant", "rename", other, other)["tenant"] == slug
    refused = manage.run("tenant", "rename", slug, name)
    assert (refused.returncode, second["tenant"] in refused.stderr) == (1, True)
    for word, expected in (("disable", False), ("enable", True)):
        assert f"is {word}d now" in manage.run("tenant", word, slug).stdout
        assert f"was {word}d already" in manage.run("tenant", word, slug).stdout
        assert manage.document("tenant", "show", slug)["enabled"] is expected
    assert manage.run("tenant", "disable", "nobody").returncode == 1


def test_a_rotated_key_is_printed_once_and_replaces_the_old_one(
    manage: Manage, tenant: str
) -> None:
    where = ("--tenant", tenant, "--software-key", SOFTWARE_KEY)
    added = manage.run("integration", "add", *where)
    assert "shown only here" in added.stdout
    rotated = manage.document("key", "rotate", *where)
    assert rotated["functionKey"] not in added.stdout
    assert rotated["softwareKey"] == SOFTWARE_KEY
    headers = {"x-functions-key": rotated["functionKey"], "x-software-key": SOFTWARE_KEY}
    assert manage.authenticate(headers).tenant == tenant


def test_json_counts_before_the_command_too(manage: Manage, tenant: str) -> None:
    ran = manage.run("--json", "tenant", "show", tenant)
    assert json.loads(ran.stdout)["tenant"] == tenant
    listed = json.loads(manage.run("--json", "tenant", "list").stdout)["tenants"]
    assert tenant in [item["tenant"] for item in listed]


def test_a_tenant_without_imports_lists_none(manage: Manage, tenant: str) -> None:
    assert manage.document("imports", "list", "--tenant", tenant) == {"imports": []}
    shown = manage.run("imports", "show", "--tenant", tenant, str(uuid.uuid4()))
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.startswith("There is no import of this id")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("tenant", "show", "nobody"), 1),
        (("tenant", "create", " "), 1),
        (("integration", "list", "--tenant", "nobody"), 1),
        (("key", "rotate", "--tenant", "nobody", "--software-key", "A"), 1),
        (("integration", "add", "--tenant", "nobody"), 2),
        (("integration", "set", "--tenant", "t", "--software-key", "A"), 2),
        (("integration", "add", "--tenant", "t", "--software-key", "A", "--on-existing", "no"), 2),
        (("purge", "--days", "-1"), 2),
        (("person", "hold", "--tenant", "t", "--reason", "r", "--employee-id", "I",
          "--division", "D"), 1),
    ],
)  # fmt: skip
def test_faults_go_to_standard_error_with_their_status(
    manage: Manage, words: tuple[str, ...], status: int
) -> None:
    ran = manage.run(*words)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert "Traceback" not in ran.stderr
    assert status == 2 or len(ran.stderr.splitlines()) == 1


def test_a_process_of_its_own_prints_and_ends_as_a_command_in_this_process(
    manage: Manage, tenant: str
) -> None:
    """The other tests run commands in their own process."""
    for answer, *words in (
        ("", "--json", "tenant", "show", tenant),
        ("", "purge", "--days", "-1"),
        ("n\n", "purge", "--tenant", tenant, "--days", "0"),
    ):
        assert manage.run_process(*words, answer=answer) == manage.run(*words, answer=answer)


def test_settings_that_are_wrong_are_all_named(manage: Manage) -> None:
    ran = manage.run("tenant", "list", AzureWebJobsStorage="none", GATEWAY_MAX_ROWS="0")
    assert ran.returncode == 1
    assert [line.split()[0] for line in ran.stderr.splitlines()] == [
        "AzureWebJobsStorage",
        "GATEWAY_MAX_ROWS",
    ]


def test_storage_that_does_not_answer_is_one_sentence(manage: Manage) -> None:
    nowhere = "".join(
        f"{service}Endpoint=http://127.0.0.1:9/local;" for service in ("Blob", "Queue", "Table")
    )
    ran = manage.run(
        "tenant", "list", AzureWebJobsStorage=f"AccountName=local;AccountKey=bG9jYWw=;{nowhere}"
    )
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("Storage cannot be reached")
    assert "bG9jYWw=" not in ran.stderr


def test_sending_to_nobody_is_one_sentence(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[]")
    ran = manage.run(
        "import", "workers", str(tmp_path / "rows.json"), "--url", "http://127.0.0.1:9",
        GATEWAY_FUNCTION_KEY="pig_made-up", GATEWAY_SOFTWARE_KEY=SOFTWARE_KEY,
    )  # fmt: skip
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "pig_made-up" not in ran.stderr


def test_features_and_rounds_are_switched_added_and_changed(manage: Manage, tenant: str) -> None:
    where = ("--tenant", tenant)
    assert manage.document("feature", "enable", "documents", *where)["enabled"] is True
    assert manage.document("feature", "disable", "documents", *where)["enabled"] is False
    added = manage.document("round", "add", *where, "--code", "Ö 1")
    assert (added["code"], added["status"]) == ("Ö 1", "Open")
    assert manage.run("round", "add", *where, "--code", "Ö 1").returncode == 1
    manage.document("round", "set", *where, "--code", "Ö 1", "--status", "in progress")
    listed = manage.document("round", "list", *where)["rounds"]
    assert listed == [{"code": "Ö 1", "status": "In Progress"}]
    refused = manage.run("round", "set", *where, "--code", "Ö 2", "--status", "Closed")
    assert (refused.returncode, "no round of this code" in refused.stderr) == (1, True)


def test_failed_drops_are_listed_and_taken_in_once_more(emulator: Emulator, tmp_path: Path) -> None:
    """The messages are those that the host leaves (docs/platform.md#3)."""
    storage = emulator.account("documents")
    name = f"nobody-{uuid.uuid4().hex[:8]}/r/w/a.pdf"
    with (
        BlobServiceClient.from_connection_string(storage) as blobs,
        QueueServiceClient.from_connection_string(storage) as queues,
    ):
        blobs.get_blob_client("document-drop", name).upload_blob(b"%PDF-")
        queue = queues.get_queue_client("webjobs-blobtrigger-poison")
        with suppress(ResourceExistsError):
            queue.create_queue()
        for container in ("document-drop", "another"):
            text = json.dumps({"ContainerName": container, "BlobName": name, "ETag": '"x"'})
            queue.send_message(base64.b64encode(text.encode()).decode())
        own = Manage(storage, tmp_path)
        assert [each["name"] for each in own.document("poison", "list")["failed"]] == [name]
        done = own.document("poison", "requeue")["drops"]
        assert done == [{"container": "document-drop", "name": name, "settled": True}]
        assert not blobs.get_blob_client("document-drop", name).exists()
        remaining = [json.loads(base64.b64decode(each.content)) for each in queue.peek_messages(32)]
        assert [each["ContainerName"] for each in remaining] == ["another"]
        queue.clear_messages()


def test_purge_asks_first_and_deletes_nothing_without_a_yes(manage: Manage, tenant: str) -> None:
    words = ("purge", "--tenant", tenant, "--days", "0")
    for answer in ("", "n\n"):
        refused = manage.run(*words, answer=answer)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"everything of tenant {tenant} that ended over 0 days ago? [y/N]" in refused.stderr
        assert "Nothing was deleted: answer y, or add --yes" in refused.stderr
    assert manage.run(*words, answer="y\n").stdout.startswith("Deleted:")
    confirmed = manage.run(*words, "--json", answer="y\n")
    assert set(json.loads(confirmed.stdout)) == {"expired", "failed"}
    assert set(manage.document(*words, "--yes")) == {"expired", "failed"}
    unknown = manage.run("purge", "--tenant", "nobody", answer="y\n")
    assert (unknown.returncode, "There is no tenant" in unknown.stderr) == (1, True)


# A command that adds or changes, what it says the first time, and what a second call says.
SAID = (
    (
        ("integration", "add", "--software-key", "S"),
        "Added an integration",
        "has an integration with this software key already",
    ),
    (
        ("integration", "set", "--software-key", "S", "--on-existing", "error"),
        "Changed the integration",
        "had these settings already: nothing changed",
    ),
    (
        ("integration", "disable", "--software-key", "S"),
        "Changed the integration",
        "had these settings already: nothing changed",
    ),
    (
        ("integration", "enable", "--software-key", "S"),
        "Changed the integration",
        "had these settings already: nothing changed",
    ),
    (
        ("key", "rotate", "--software-key", "S"),
        "Made a new function key",
        "Made a new function key",
    ),
    (
        ("key", "add", "--software-key", "S"),
        "Made a function key; the one before works as well",
        "There are 2 valid function keys already",
    ),
    (
        ("client", "add", "--name", "CLIENT", "--scope", "import_inbox"),
        "Added a client; there was none of this id",
        "already",
    ),
    (
        ("client", "set", "CLIENT", "--scope", "read_records"),
        "Changed the client; this is in force",
        "had these scopes already: nothing changed",
    ),
    (
        ("secret", "add", "CLIENT"),
        "Made a secret; the one before works as well",
        "There are 2 valid secrets already",
    ),
    (("feature", "enable", "documents"), "is enabled now", "was enabled already"),
    (("feature", "disable", "documents"), "is disabled now", "was disabled already"),
    (("round", "add", "--code", "R"), "Added the round R, which is Open", "has this round already"),
    (
        ("round", "set", "--code", "R", "--status", "Closed"),
        "is Closed now",
        "was Closed already: nothing changed",
    ),
    (
        ("reference", "load", "VALUES", "--kind", "currency"),
        "with 2 values; there was none of this kind",
        "with 2 values; it replaces the one before",
    ),
    (
        ("profile", "set", "hr", "PROFILE"),
        "Version 1 of the profile hr is set",
        "The profile hr was this already: nothing changed",
    ),
    (
        ("threshold", "set", "--errors", "5"),
        "The thresholds of tenant TENANT were changed",
        "were these already: nothing changed",
    ),
    (
        ("format", "set", "--employee-id", "[0-9]+"),
        "The formats of tenant TENANT were changed",
        "were these already: nothing changed",
    ),
)


def test_every_command_that_adds_or_sets_says_whether_it_changed_something(
    connection_string: str, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureWebJobsStorage", connection_string)
    monkeypatch.setenv("GATEWAY_DATA_KEYS", DATA_KEYS)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    values = tmp_path / "values.txt"
    values.write_text("GBP\nEUR\n")
    profile = tmp_path / "profile.json"
    profile.write_text('{"type": "workers", "columns": {"A": "EmployerRef", "B": "PersonnelRef"}}')
    own = {"VALUES": str(values), "CLIENT": f"client-{tenant}", "PROFILE": str(profile)}
    for words, first, again in SAID:
        call = [*(own.get(word, word) for word in words), "--tenant", tenant]
        for sentence in (first, again):
            ran = CliRunner().invoke(app, call)
            assert sentence.replace("TENANT", tenant) in f"{ran.output}{ran.exception}", words


def test_every_command_that_adds_or_sets_is_in_that_table() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    named = {
        (group, name)
        for group, each in root.commands.items()
        for name in getattr(each, "commands", {})
        if name in ("add", "set", "create", "load", "enable", "disable", "rename")
    }
    assert named - {(words[0], words[1]) for words, _, _ in SAID} == {
        ("tenant", name) for name in ("create", "rename", "enable", "disable")
    }


# `manage.py client` and `manage.py signing-key`, as people and programs call them.


def test_clients_are_added_listed_and_revoked(manage: Manage, tenant: str) -> None:
    where = ("client", "add", "--tenant", tenant, "--scope", "import_inbox")
    name = f"Büro {uuid.uuid4()}"
    added = manage.document(*where, "--name", name, "--scope", "import_authdata")
    assert (added["clientId"], added["tenant"]) == (name, tenant)
    assert added["scopes"] == ["import_authdata", "import_inbox"]
    assert added.pop("clientSecret").startswith("pigs_")

    guid = str(uuid.uuid4())
    registered = manage.document(*where, "--client-id", guid.upper(), "--name", "HR")
    assert (registered["clientId"], registered["name"]) == (guid, "HR")
    assert (registered["identityProvider"], "clientSecret" in registered) == ("entra", False)

    listed = manage.document("client", "list", "--tenant", tenant)["clients"]
    assert listed == sorted([added, registered], key=lambda client: str(client["clientId"]))
    assert manage.document("client", "revoke", name) == added
    again = manage.run("client", "revoke", name)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("There is no client of this id")


def test_a_secret_is_shown_once(manage: Manage, tenant: str) -> None:
    ran = manage.run("client", "add", "--tenant", tenant, "--scope", "import_inbox")
    assert f"Client id      {tenant}-" in ran.stdout
    assert "Client secret  pigs_" in ran.stdout
    assert "shown only here" in ran.stdout


def test_signing_keys_are_rotated_with_overlap_or_at_once(manage: Manage) -> None:
    rotated = manage.document("signing-key", "rotate")["keys"]
    assert (rotated[0]["endsAt"], bool(rotated[1]["endsAt"])) == (None, True)
    assert "PRIVATE" not in str(rotated)
    [remaining] = manage.document("signing-key", "rotate", "--at-once")["keys"]
    assert remaining["kid"] not in [key["kid"] for key in rotated]


# `manage.py imports retry|cancel` and `purge`, where no gateway works on the rows.


Run = Callable[..., str]


@pytest.fixture(name="run")
def fixture_run(delivered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process; its output."""
    monkeypatch.setenv("AzureWebJobsStorage", delivered)
    monkeypatch.setenv("GATEWAY_DATA_KEYS", DATA_KEYS)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))

    def run(*words: str) -> str:
        ran = CliRunner().invoke(app, [*words], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    return run


def _imported(storage: str, sender: Sender, rows: list[Any]) -> ImportRecord:
    """An import that has ended."""

    async def create() -> ImportRecord:
        async with open_ready_gateway(settings_for(storage)) as gateway:
            record = await accept_without_messages(gateway, sender.caller, body_of(rows))
            for message in messages_for(record, [], [0]):
                await gateway.chunks.process(message)
            return record

    return asyncio.run(create())


def test_failed_rows_are_retried_with_a_corrected_file(
    delivered: str, run: Run, tmp_path: Path
) -> None:
    sender = a_sender(delivered)
    bad = a_worker("P2", Gender="x")
    record = _imported(delivered, sender, [a_worker("P1"), bad])
    file = tmp_path / "corrected.json"
    file.write_text(json.dumps([{"index": 1, "row": {**bad, "Gender": 1}, "messages": []}]))
    here = ("--tenant", sender.tenant)
    retry = ("imports", "retry", *here, record.import_id, "--rows", str(file), "--wait", "0")
    child = json.loads(run(*retry, "--json"))
    assert (child["parentId"], child["rows"]["total"]) == (record.import_id, 1)
    assert child["type"] == WORKERS.name
    shown = run("imports", "show", *here, record.import_id)
    assert re.search(r"Error +\d+ +Gender +1 +1 ", shown), shown
    assert re.search(r"^index 1 ", shown, re.MULTILINE), shown
    assert "0 rows with warnings, 0 rows with infos" in shown
    document = json.loads(run("imports", "show", *here, record.import_id, "--json"))
    assert [group["firstIndexes"] for group in document["messageGroups"]] == [[1]]
    assert f"Retry     {child['importId']}" in shown
    corrected = {"_index": 1, **bad, "Gender": 1, "_error": "x"}
    for name, body in (
        ("failed.csv", csv_text([corrected], ";").encode()),
        ("failed.ndjson", json.dumps({"index": 1, "row": bad}).encode()),
        ("failed.xlsx.gz", gzip.compress(as_xlsx([corrected], "openpyxl").body)),
    ):
        file.with_name(name).write_bytes(body)
        again = json.loads(run(*retry[:6], str(file.with_name(name)), *retry[7:], "--json"))
        assert (again["source"], again["rows"]["total"]) == (name, 1)
    cancelled = run("imports", "cancel", *here, child["importId"], "--wait", "0")
    assert f"Retry of  {record.import_id}" in cancelled
    assert "It has not ended yet" in cancelled


def test_an_empty_file_neither_retries_the_failed_rows_nor_empties_a_list(
    delivered: str, run: Run, tmp_path: Path
) -> None:
    sender = a_sender(delivered)
    record = _imported(delivered, sender, [a_worker("P1", Gender="x")])
    here = ("--tenant", sender.tenant)
    empty = tmp_path / "empty.txt"
    empty.write_text("\ufeff\n \n", "utf-8")
    with pytest.raises(UnreadableFileError, match=r"empty\.txt is empty, so nothing was sent"):
        run("imports", "retry", *here, record.import_id, "--rows", str(empty), "--wait", "0")
    assert len(json.loads(run("imports", "list", *here, "--json"))["imports"]) == 1
    with pytest.raises(UnreadableFileError, match=r"empty\.txt has no values"):
        run("reference", "load", *here, "--kind", "division", str(empty))


def test_purge_lets_go_what_has_ended(delivered: str, run: Run) -> None:
    sender = a_sender(delivered)
    rows = [a_worker("P1", Gender="x")]
    _, newest = (_imported(delivered, sender, rows) for _ in range(2))
    here = ("--tenant", sender.tenant)
    went = json.loads(run("purge", *here, "--days", "0", "--yes", "--json"))["expired"]
    assert (went["payloads"], went["results"]) == (2, 2)
    assert newest.import_id in run("imports", "show", *here, newest.import_id)
    assert "strayPayloads" in went, "names are those of JSON"
    assert "results" in run("purge", *here, "--yes")


# `manage.py threshold` and `format`: what is set is shown, kept, and in force.


def test_thresholds_are_set_one_by_one_and_removed(manage: Manage, tenant: str) -> None:
    where = ("--tenant", tenant)
    first = manage.document("threshold", "set", *where, "--added", "2.50", "--errors", "10%")
    assert first == {
        "tenant": tenant,
        "thresholds": {"added": "2.5", "updated": None, "errors": "10"},
    }
    second = manage.document("threshold", "set", *where, "--added", "none", "--updated", "0")
    assert second["thresholds"] == {"added": None, "updated": "0", "errors": "10"}
    assert manage.document("threshold", "show", *where) == second
    assert "errors   10 %" in manage.run("threshold", "show", *where).stdout


def test_formats_are_set_one_by_one_and_removed(manage: Manage, tenant: str) -> None:
    where = ("--tenant", tenant)
    pattern = r"\d{4}[A-Z]?"
    manage.document("format", "set", *where, "--auth-value1", pattern, "--employee-id", "E.*")
    changed = manage.document("format", "set", *where, "--employee-id", "none")
    assert changed == {"tenant": tenant, "formats": {"authValue1": pattern}}
    assert manage.document("format", "show", *where) == changed


@pytest.mark.parametrize(
    "changes", [{"added": "-1"}, {"updated": "1001"}, {"errors": "1e2"}, {"errors": "ten"}]
)
def test_a_threshold_that_is_no_percentage_is_refused(
    delivered: str, changes: dict[str, str | None]
) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        with pytest.raises(InvalidRequestError, match="percentage"):
            await stage.gateway.authdata.rules.set_thresholds(stage.tenant, changes)

    play_authdata(delivered, scenario)


def test_a_format_is_in_force_and_a_bad_one_is_refused(delivered: str) -> None:
    async def scenario(stage: AuthdataHarness) -> None:
        rules = stage.gateway.authdata.rules
        await rules.set_formats(stage.tenant, {"authValue1": r"\d+"})
        rows = [an_employee("E1", "12"), an_employee("E2", "x12")]
        staged = await stage.stage(rows, commit=False)
        assert (staged.answer["totalNew"], staged.answer["totalErrors"]) == (1, 1)
        free = await stage.stage(rows, commit=False, validate=False)
        assert free.answer["totalNew"] == 2
        for bad in ({"authValue1": "("}, {"other": "x"}, {"authValue1": "x" * 201}):
            with pytest.raises(InvalidRequestError):
                await rules.set_formats(stage.tenant, bad)
        with pytest.raises(NotFoundError):
            await rules.set_formats("nobody", {"authValue1": "x"})

    play_authdata(delivered, scenario)


def test_a_file_of_rows_is_dropped_once(emulator: Emulator, tmp_path: Path) -> None:
    storage = emulator.account("documents")
    sender = a_sender(storage)
    file = tmp_path / "workers 1.json"
    file.write_text("[]")
    own = Manage(storage, tmp_path)
    words = ("--tenant", sender.tenant, "--software-key", sender.integration.software_key)
    done = own.document("drop", str(file), *words, "--type", "workers")
    name = f"{sender.tenant}/{sender.integration.software_key}/workers/workers%201.json"
    assert (done["container"], done["name"], done["result"]) == ("row-drop", name, None)
    with BlobServiceClient.from_connection_string(storage) as blobs:
        blob = blobs.get_blob_client("row-drop", name)
        assert blob.download_blob().readall() == b"[]"
        again = own.run("drop", str(file), *words, "--type", "workers")
        assert (again.returncode, "waits already" in again.stderr) == (1, True)
        unknown = own.run("drop", str(file), *words, "--type", "nothing")
        assert (unknown.returncode, "names no type" in unknown.stderr) == (1, True)
        blob.delete_blob()
