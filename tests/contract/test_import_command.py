"""`manage.py import` against a gateway with small limits: calls, repeats, failures, files."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.environment import ROOT
from cli.file_import import UnknownOptionError
from cli.row_files import RowFileError
from shared.imports.files.templates import SAMPLES
from shared.imports.registry import MESSAGE_TYPES
from tests.builders import a_worker
from tests.contract.calls import DRY_RUN_ROWS, MAX_ROWS
from tests.e2e.gateway_process import GatewayProcess
from tests.files_of_rows import as_xlsx
from tests.integration.manage import Manage, Ran
from tests.tenants import Sender
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Client:
    """The command as one sender runs it, in a folder of its own."""

    def __init__(self, gateway: GatewayProcess, sender: Sender, folder: Path) -> None:
        self._folder = folder
        environ = {name: value for name, value in os.environ.items() if "GATEWAY_" not in name}
        self._environ = {
            **environ,
            "GATEWAY_URL": f"http://127.0.0.1:{gateway.port}",
            "GATEWAY_FUNCTIONS_KEY": sender.function_key,
            "GATEWAY_SOFTWARE_KEY": sender.integration.software_key,
            "PYTHONUTF8": "1",
        }

    def file(self, name: str, content: Any) -> str:
        """Write a file: text as it is, anything else as JSON."""
        path = self._folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return str(path)

    def started(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "manage.py"), "import", *words]
        return subprocess.Popen(
            command,
            env={**self._environ, **environ},
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *words: str, **environ: str) -> Ran:
        """The command within this process, which spares its start."""
        ran = CliRunner().invoke(app, ["import", *words], env={**self._environ, **environ})
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return Ran(ran.exit_code, ran.stdout, ran.stderr)

    def document(self, *words: str) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads(self.run(*words, "--json").stdout)
        return summary


@pytest.fixture(name="client")
def fixture_client(gateway: GatewayProcess, sender: Sender, tmp_path: Path) -> Client:
    return Client(gateway, sender, tmp_path)


def _imports(gateway: GatewayProcess, sender: Sender) -> list[dict[str, Any]]:
    imports: list[dict[str, Any]] = gateway.get("/api/imports?pageSize=1000", sender).json["items"]
    return imports


def test_a_small_file_shows_every_row_and_a_table_of_what_failed(client: Client) -> None:
    rows = [a_worker("007"), a_worker("008", Gender="x"), a_worker("009", Odd=1)]
    ran = client.run("workers", client.file("rows.json", rows))
    assert (ran.returncode, ran.stderr) == (1, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == "index 0, line 1     E1 / 007  new"
    assert lines[1] == "index 1, line 1     E1 / 008  failed"
    assert lines[3].startswith("         Info 1007: ")
    assert re.match(r"1 +1 +E1 / 008 +1002 +Gender +x +Value has the wrong type", lines[6])
    assert re.search(r"^Info +1007 +Odd +1 +2 +1 ", ran.stdout, re.MULTILINE)
    assert "Field Odd is not known" in ran.stdout
    assert "0 rows with warnings, 1 row with infos." in ran.stdout
    assert lines[-2] == "3 rows: 2 new, 0 updated, 0 unchanged; 1 failed."
    assert lines[-1].startswith("Import ")


def test_a_faulty_cell_of_a_spreadsheet_fails_its_row_alone_as_in_a_call(
    client: Client, gateway: GatewayProcess, sender: Sender, tmp_path: Path
) -> None:
    rows = [a_worker("007"), a_worker("008", Surname=12.5), a_worker("009", Gender="x")]
    sent = as_xlsx(rows, "openpyxl")
    file = tmp_path / "rows.xlsx"
    file.write_bytes(sent.body)
    address = "/api/import/workers?dryRun=true&view=rows"
    in_call = gateway.call("POST", address, sent.body, {**sender.headers, **sent.headers})
    dry = client.document("workers", str(file), "--dry-run")
    expected = {"line": 3, **in_call.json["items"][1]}
    assert dry["results"][1] == {name: expected[name] for name in dry["results"][1]}
    assert dry["rows"]["failed"] == 2
    assert [result["index"] for result in dry["results"]] == [0, 1, 2]
    failed = tmp_path / "failed.csv"
    ran = client.run("workers", str(file), "--failed-rows", str(failed))
    assert ran.returncode == 1
    assert "3 rows: 1 new, 0 updated, 0 unchanged; 2 failed." in ran.stdout
    assert re.search(r"1 +3 +E1 / 008 +1002 +Surname .* the cell \w+ has a number", ran.stdout)
    assert re.search(r"2 +4 +E1 / 009 +1002 +Gender", ran.stdout)
    assert failed.read_text("utf-8-sig").count("E1") == 2


def test_control_characters_of_rows_and_file_names_do_not_reach_the_terminal(
    client: Client, storage: str, sender: Sender, tmp_path: Path
) -> None:
    ref, field = "\x1b]0;x\x07\u202e1", "\x1b[2JOdd\x9b\u2028"
    rows = [a_worker(ref, **{field: 1}), a_worker(ref, Gender="x")]
    words = "workers", client.file("\x1b[31mrows\u202e.json", rows)
    shown = [client.run(*words), client.run(*words, "--dry-run"), client.run(*words, "--json")]
    document = json.loads(shown[2].stdout)
    assert ref in json.dumps(document, ensure_ascii=True).encode().decode("unicode_escape")
    manage = Manage(storage, tmp_path)
    of_tenant = ("--tenant", sender.tenant)
    missing = tmp_path / "\x1b[31mmissing"
    shown += [
        manage.run("imports", "show", *of_tenant, document["importIds"][0]),
        manage.run("imports", "show", *of_tenant, "\x1b[31m\u202eno-import"),
        manage.run("tenant", "show", "\x1b[31m\u202e"),
        manage.run("reference", "load", *of_tenant, "--kind", "x", str(missing)),
        manage.run("\x1b[31mno-command"),
    ]
    for ran in shown:
        text = ran.stdout + ran.stderr
        assert text.strip()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text), ascii(text)
    assert r"\x1b]0;x\x07\u202e1" in shown[0].stdout
    assert r"\x1b]0;x\x07\u202e1" in shown[3].stdout


def test_a_file_over_the_limits_is_sent_in_several_calls_and_only_once(
    client: Client, gateway: GatewayProcess, sender: Sender
) -> None:
    count = 2 * MAX_ROWS + 10
    text = "".join(
        f'{{"EmployerRef":"E1","PersonnelRef":"{n:05d}","Surname":"S"}}\n' for n in range(count)
    )
    name = client.file("rows.ndjson", text)
    first = client.document("workers", name)
    assert first["rows"] == {
        "total": count,
        "new": count,
        "updated": 0,
        "unchanged": 0,
        "failed": 0,
        "warnings": 0,
        "infos": 0,
    }
    assert len(first["importIds"]) == 3
    again = client.run("workers", name)
    assert again.returncode == 0
    assert f"{count} new, 0 updated" in again.stdout
    assert "3 of 3 calls were sent before" in again.stdout
    assert len(_imports(gateway, sender)) == 3
    anew = client.document("workers", name, "--again", "tuesday")
    assert anew["rows"]["unchanged"] == count


def test_a_terminal_shows_how_far_how_fast_and_how_long(client: Client) -> None:
    rows = [a_worker(f"{number:05d}") for number in range(300)]
    ran = client.run("workers", client.file("rows[red].json", rows), FORCE_COLOR="1", COLUMNS="100")
    assert ran.returncode == 0
    assert "rows[red].json" in ran.stderr
    assert "300/300" in ran.stderr
    assert "rows/s" in ran.stderr
    assert re.search(r"0:00:\d\d", ran.stderr)
    assert "rows/s" not in ran.stdout


def test_a_dry_run_reports_what_would_change_and_stores_nothing(
    client: Client, gateway: GatewayProcess, sender: Sender
) -> None:
    client.run("workers", client.file("before.json", [a_worker("1", Title="Mr")]))
    name = client.file("rows.json", [a_worker("1", Title="Dr"), a_worker("2", Gender="x"), {}])
    out = client.file("failed.ndjson", "")
    ran = client.run("workers", name, "--dry-run", "--failed-rows", out)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.startswith(
        'index 0, line 1     E1 / 1  updated\n         Title: "Mr" → "Dr"\n'
    )
    assert "3 rows: would be 0 new, 1 updated, 0 unchanged; 2 failed." in ran.stdout
    assert len(Path(out).read_text("utf-8").splitlines()) == 2
    assert len(_imports(gateway, sender)) == 1


def test_a_long_dry_run_is_sent_in_calls_of_its_own_limit(client: Client) -> None:
    rows = [a_worker(f"{number:05d}") for number in range(DRY_RUN_ROWS + 1)]
    ran = client.run("workers", client.file("rows.json", rows), "--dry-run")
    assert ran.returncode == 0
    assert f"would be {DRY_RUN_ROWS + 1} new" in ran.stdout
    assert "The dry run tried each call by itself" in ran.stdout


@pytest.mark.parametrize("words", [(), ("--part-rows", "70"), ("--dry-run",)])
def test_a_column_that_is_no_field_is_named_once_with_the_nearest_field(
    client: Client, words: tuple[str, ...]
) -> None:
    rows = "".join(f"E1,{number:05d},S,Ann,Bank\n" for number in range(150))
    name = client.file("r.csv", f"EmployerRef,PersonnelRef,Surname,Forename1,Banked\n{rows}")
    ran = client.run("workers", name, *words)
    shown = ran.stdout + ran.stderr
    assert ran.returncode == 0
    assert shown.count("Forename1") == 1
    assert "Column Forename1 (line 1) is no field of workers" in ran.stderr
    assert "Did you mean FirstForename?" in ran.stderr
    assert "0 rows with warnings, 150 rows with infos." in ran.stdout
    summary = client.document("workers", name, *words)
    assert summary["unknownColumns"][0] == {
        "column": "Forename1",
        "line": 1,
        "nearest": "FirstForename",
    }
    [group, _] = [each for each in summary["messageGroups"] if each["errorID"] == 1007]
    assert (group["fieldName"], group["count"]) == ("Banked", 150)
    assert group["firstIndexes"] == list(range(10))


@pytest.mark.parametrize("words", [(), ("--part-rows", "2"), ("--dry-run",)])
def test_messages_come_in_groups_with_index_and_line_in_the_file(
    client: Client, words: tuple[str, ...]
) -> None:
    lines = [json.dumps(a_worker(f"{number}", Gender="x", Odd=1)) for number in range(3)]
    ran = client.run("workers", client.file("r.ndjson", "\n\n".join(lines)), *words)
    assert ran.returncode == 1
    assert re.search(r"^Error +1002 +Gender +3 +0, 1, 2 +1, 3, 5 +", ran.stdout, re.MULTILINE)
    assert re.search(r"^Info +1007 +Odd +3 +0, 1, 2 +1, 3, 5 +", ran.stdout, re.MULTILINE)
    assert re.search(r"^2 +5 +E1 / 2 +1002 +Gender", ran.stdout, re.MULTILINE)


EMPTY = {
    "a.json": "",
    "b.json": "[]",
    "c.csv": "\ufeff",
    "d.csv": "EmployerRef;PersonnelRef\n;\n",
    "e.ndjson": "\n\n",
    "f": " ",
}


@pytest.mark.parametrize("type_name", ["workers", "authdata"])
@pytest.mark.parametrize("name", EMPTY)
def test_a_file_without_rows_is_an_error_of_the_command(
    client: Client, gateway: GatewayProcess, sender: Sender, type_name: str, name: str
) -> None:
    file = client.file(name, EMPTY[name])
    problem = "has no rows|has no header|has no column of this type"
    for words in ((), ("--dry-run",)):
        with pytest.raises(RowFileError, match=f"^{re.escape(name)}.*({problem})"):
            client.run(type_name, file, *words)
    assert _imports(gateway, sender) == []


def test_csv_keeps_leading_zeros_and_failed_rows_come_back_as_csv(client: Client) -> None:
    name = client.file(
        "rows.csv",
        "EmployerRef;PersonnelRef;Surname;Gender;WorkerAddress.Postcode\n"
        "E1;007;=Doe;1;01234\n"
        "E1;008;=Roe;male;00001\n",
    )
    out = client.file("failed.csv", "")
    ran = client.run("workers", name, "--failed-rows", out)
    assert ran.returncode == 1, ran.stderr
    assert "E1 / 007  new" in ran.stdout
    [row] = csv.DictReader(Path(out).read_text("utf-8-sig").splitlines())
    assert (row["_index"], row["PersonnelRef"], row["Surname"]) == ("1", "008", "'=Roe")
    assert "1002 Gender" in row["_error"]

    corrected = Path(out).read_text("utf-8").replace('"male"', '"2"')
    assert client.run("workers", client.file("corrected.csv", corrected)).returncode == 0
    unchanged = [
        {"EmployerRef": "E1", "PersonnelRef": "008", "Surname": "=Roe", "Gender": 2,
         "WorkerAddress": {"Postcode": "00001"}},
    ]  # fmt: skip
    summary = client.document("workers", client.file("same.json", unchanged))
    assert summary["rows"]["unchanged"] == 1


@pytest.mark.parametrize("ending", ["json", "ndjson"])
def test_failed_rows_are_written_as_they_were_sent(client: Client, ending: str) -> None:
    text = '[{"EmployerRef":"E1",\n"PersonnelRef":"1","Surname":"S","Gender":1.50},\n{}]'
    out = client.file(f"failed.{ending}", "")
    assert (
        client.run("workers", client.file("rows.json", text), "--failed-rows", out).returncode == 1
    )
    written = Path(out).read_text("utf-8")
    assert '"Gender":1.50' in written
    again = client.document("workers", out)
    assert [item["index"] for item in again["results"]] == [0, 1]
    assert again["rows"]["failed"] == 2


def test_a_killed_command_resumes_and_imports_no_row_twice(
    client: Client, gateway: GatewayProcess, sender: Sender
) -> None:
    count, parts = 1_500, 6
    rows = [a_worker(f"{number:05d}", EmployerRef=f"E{number % 5}") for number in range(count)]
    name = client.file("rows.json", rows)
    process = client.started("workers", name)
    wait_until(lambda: len(_imports(gateway, sender)) >= parts // 2, "half of the calls")
    process.kill()
    process.communicate()
    assert parts // 2 <= len(_imports(gateway, sender)) < parts, "it was killed too late"

    ran = client.run("workers", name)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"{count} rows: {count} new, 0 updated, 0 unchanged; 0 failed." in ran.stdout
    imports = _imports(gateway, sender)
    assert len(imports) == parts
    assert sum(item["rows"]["new"] for item in imports) == count


def test_ctrl_c_ends_the_command_and_says_what_continues(
    client: Client, gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_worker(f"{number:05d}") for number in range(3_000)]
    process = client.started("workers", client.file("rows.json", rows), "--part-rows", "50")
    wait_until(lambda: _imports(gateway, sender), "the first call")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "Run the same command again to continue from there" in errors
    assert "Traceback" not in errors


def test_a_file_that_cannot_be_read_is_one_sentence_and_no_call(
    client: Client, gateway: GatewayProcess, sender: Sender
) -> None:
    process = client.started("workers", client.file("rows.json", "[{]"))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("rows.json: The body is not valid JSON")
    assert len(errors.splitlines()) == 1
    assert _imports(gateway, sender) == []


@pytest.mark.parametrize("name", [name for name in MESSAGE_TYPES if name != "authdata"])
def test_every_sample_goes_through_the_command(client: Client, name: str) -> None:
    sample = SAMPLES / f"{name}.json"
    summary = client.document(name, str(sample))
    assert (
        summary["rows"]["total"] == len(json.loads(sample.read_bytes())) == len(summary["results"])
    )


def test_authentication_data_is_sent_as_one_batch(
    client: Client, gateway: GatewayProcess, sender: Sender, tmp_path: Path
) -> None:
    sample = str(SAMPLES / "authdata.json")
    dry = client.document("authdata", sample, "--dry-run")
    out = tmp_path / "failed.json"
    ran = client.run("authdata", sample, "--part-rows", "2", "--failed-rows", str(out))
    assert ran.returncode == 1, "one record of the sample is bad"
    assert re.search(r"^new +3$", ran.stdout, re.MULTILINE)
    assert re.search(r"^4 +\d+ +\(no key\) +1001 +employeeId", ran.stdout, re.MULTILINE)
    assert [each["row"]["authValue1"] for each in json.loads(out.read_text())] == ["Nobody"]
    again = client.document("authdata", sample, "--part-rows", "2")
    # Three calls with records, and the one that processes them.
    assert (dry["sentBefore"], again["sentBefore"]) == (0, 4)
    ids = {"fileLogId": "", "importId": "", "sentBefore": 0}
    assert {**again, **ids} == {**dry, **ids}
    assert len(_imports(gateway, sender)) == 1
    rows = [{"employeeId": "00410", "authValue1": "Sample", "authValue2": "1984-02-29"}]
    array = client.document("authdata", client.file("more.json", rows))
    assert array["totalNoChange"] == 1


def test_options_of_a_batch_can_be_given(client: Client) -> None:
    rows = [{"employeeId": "1"}]
    assert client.document("authdata", client.file("a.json", rows))["totalErrors"] == 1
    summary = client.document("authdata", client.file("b.json", rows), "--with", "allowNoAuth=true")
    assert summary["totalNew"] == 1
    with pytest.raises(UnknownOptionError):
        client.run("authdata", client.file("c.json", rows), "--with", "commit=false")


def test_a_call_can_say_more_in_its_query(client: Client) -> None:
    name = client.file("licenses.json", (SAMPLES / "licenses.json").read_text("utf-8"))
    summary = client.document("licenses", name, "--with", "importAction=Update")
    assert summary["rows"]["failed"] == summary["rows"]["total"]
    again = client.document("licenses", name, "--with", "importAction=Merge")
    assert again["rows"]["new"] > 0


def test_a_refused_call_is_reported_in_the_words_of_the_gateway_alone(client: Client) -> None:
    process = client.started("workers", client.file("r.json", [{}]), "--software-key", "other")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert errors == "Key name does not match Software Key\n", "nothing goes on: do not say so"
