"""Commands of `manage.py`: their help, and the one sentence that they print on an error."""

from __future__ import annotations

import re
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._click import Command
from typer.core import TyperGroup

from cli.app import app, main
from cli.commands import placeholder

# The help of every command of `manage.py`, as it is printed.

ROOT = typer.main.get_command(app)
# A word in capitals, or `NAME=VALUE`; the words of a usage line that no parameter has.
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*(=[A-Z]+)?")
OF_USAGE = {"[OPTIONS]", "COMMAND", "[ARGS]..."}
GROUPS = ("Set up:", "Every day:", "Emergencies:")


def commands(command: Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Command]]:
    yield words, command
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands(each, (*words, name))


ALL = dict(commands(ROOT, ()))
OVERVIEWS = {words: each for words, each in ALL.items() if isinstance(each, TyperGroup)}
LEAVES = {words: each for words, each in ALL.items() if words not in OVERVIEWS}


@cache
def help_of(words: tuple[str, ...]) -> str:
    output = StringIO()
    with redirect_stdout(output), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        assert ROOT.main([*words, "--help"], prog_name="manage.py", standalone_mode=False) == 0
    return output.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_there_are_many_commands() -> None:
    assert len(LEAVES) > 35


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_usage_line_has_one_kind_of_placeholder(words: tuple[str, ...]) -> None:
    usage, _, _ = help_of(words).partition("\n\n")
    program = ("Usage:", "manage.py", *words)
    assert tuple(usage.split()[: len(program)]) == program
    others = set(usage.split()[len(program) :]) - OF_USAGE
    assert [word for word in others if not PLACEHOLDER.fullmatch(word)] == []


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_value_has_a_placeholder_in_capitals_and_a_sentence(words: tuple[str, ...]) -> None:
    shown = flat(help_of(words))
    for parameter in LEAVES[words].params:
        assert flat(getattr(parameter, "help", None) or ""), parameter.name
        if getattr(parameter, "is_flag", False):
            continue
        name = placeholder(parameter)
        assert PLACEHOLDER.fullmatch(name), name
        if parameter.param_type_name == "option":
            assert f"{parameter.opts[0]} {name} " in shown
    assert not re.search(r"<[a-z |]+>|\{[a-z]+\}", shown)


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_shows_an_example_that_it_takes(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, shown = help_of(words).partition("\n  Example:\n")
    program, *example = shlex.split(shown)
    assert program == "manage.py"
    assert tuple(example[: len(words)]) == words
    monkeypatch.chdir(tmp_path)
    for word in example:
        if re.fullmatch(r"[\w-]+\.[a-z]+", word):
            (tmp_path / word).touch()
    for name in ("FUNCTIONS_KEY", "SOFTWARE_KEY", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"GATEWAY_{name}", "set")
    # Reads the words as a call would, and refuses what is unknown, missing or wrong.
    LEAVES[words].make_context(words[-1], example[len(words) :])


@pytest.mark.parametrize("words", OVERVIEWS, ids=" ".join)
def test_an_overview_cuts_no_sentence(words: tuple[str, ...]) -> None:
    shown = flat(help_of(words))
    for name, command in OVERVIEWS[words].commands.items():
        first, _, _ = (command.help or "").partition("\n\n")
        assert first.rstrip().endswith("."), name
        assert f" {name} {flat(first)}" in shown
    assert ". . ." not in shown
    assert "..." not in shown.replace("[ARGS]...", "")


def test_the_overview_is_in_groups_with_an_example_each() -> None:
    shown = help_of(())
    assert re.findall(r"^[A-Z].*:$", shown, re.MULTILINE) == ["Options:", *GROUPS]
    _, _, examples = shown.partition("Examples:\n")
    for group in GROUPS:
        assert re.search(rf"^ +{group[:-1]} +manage\.py ", examples, re.MULTILINE)
    for example in re.findall(r"manage\.py ([a-z].*)", examples):
        words = shlex.split(example)
        assert (words[0],) in LEAVES or tuple(words[:2]) in LEAVES


# Whatever a command meets is one sentence on standard error, never a traceback.

HERE = ("--function-key", "k", "--software-key", "s", "--url", "http://127.0.0.1:9")
FILE = "rows.csv"


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["manage.py", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert printed.out == ""
    return int(ended.value.code or 0), printed.err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'EmployerRef,"Personnel\rRef\nC1,1\n', "never closed"),
        (b'EmployerRef,"PersonnelRef"x\nC1,1\n', "text follows the closing quotation mark"),
        (b"_more,PersonnelRef\n," + b"1" * 17_000_000 + b"\n", "has more than 16777216"),
        (b"EmployerRef,PersonnelRef\nC1,M\xfcller\n", "save it as UTF-8"),
        (b"a.b" + b".c" * 40 + b"\n1\n", "nested more than 32 levels"),
        (b"EmployerRef,_more\nC1," + b"[" * 40_000 + b"\n", "_more must hold"),
    ],
)
def test_a_file_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes,
    problem: str,
) -> None:
    (tmp_path / FILE).write_bytes(content)
    for kind in ("workers", "authdata"):
        status, printed = _run(monkeypatch, capsys, "import", kind, str(tmp_path / FILE), *HERE)
        assert (status, printed.count("\n")) == (1, 1)
        assert printed.startswith(FILE)
        assert problem in printed


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"employee":' + b"[" * 100_000])
def test_a_batch_that_is_nested_too_deep(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes,
) -> None:
    (tmp_path / "batch.json").write_bytes(content)
    status, printed = _run(
        monkeypatch, capsys, "import", "authdata", str(tmp_path / "batch.json"), *HERE
    )
    assert (status, printed.count("\n")) == (1, 1)
    assert "nested more than 32 levels" in printed


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--url", "http://[", "must begin with http:// or https://"),
        ("--url", "http://127.0.0.1:port", "must begin with http:// or https://"),
        ("--url", "ftp://127.0.0.1", "must begin with http:// or https://"),
        ("--url", "http://a b/", "must begin with http:// or https://"),
        ("--function-key", "ключ", "The header X-Functions-Key cannot be sent"),
        ("--software-key", "a\nb", "The header X-Software-Key cannot be sent"),
        ("--url", "http:///path", "must begin with http:// or https://"),
        ("--url", "", "No local gateway is running"),
    ],
)
def test_an_address_or_a_key_that_no_call_can_use(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    option: str,
    value: str,
    problem: str,
) -> None:
    (tmp_path / FILE).write_bytes(b"EmployerRef\nC1\n")
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    words = ("import", "workers", str(tmp_path / FILE), *HERE, option, value)
    status, printed = _run(monkeypatch, capsys, *words)
    assert (status, printed.count("\n")) == (1, 1)
    assert problem in printed
    assert "ключ" not in printed


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "set GATEWAY_FUNCTIONS_KEY to the key that `manage.py integration add`"),
        (HERE[:2], "set GATEWAY_SOFTWARE_KEY to that of the integration"),
    ],
)
def test_a_missing_key_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    problem: str,
) -> None:
    (tmp_path / FILE).write_bytes(b"EmployerRef\nC1\n")
    for name in ("FUNCTIONS_KEY", "FUNCTION_KEY", "SOFTWARE_KEY"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
    status, printed = _run(monkeypatch, capsys, "import", "workers", str(tmp_path / FILE), *words)
    assert status == 2
    assert problem in printed
    assert "['" not in printed


def test_failed_rows_that_could_not_be_written_are_refused_before_the_rows_are_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(b"EmployerRef\nC1\n")
    out = str(tmp_path / "none" / "failed.csv")
    words = ("import", "workers", str(tmp_path / FILE), *HERE, "--failed-rows", out)
    status, printed = _run(monkeypatch, capsys, *words)
    assert status == 2
    assert "make it first" in printed


class _NoGateway(BaseHTTPRequestHandler):
    """A server that answers every call with an empty JSON object."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's)
        """Nothing is to be written."""


class _Refuses(_NoGateway):
    """Storage whose account gives the caller no role."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST = do_GET  # noqa: N815 (the library's names)


def test_storage_that_refuses_the_administrator_says_that_roles_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/local;"
        ends = "".join(f"{name}Endpoint={address}" for name in ("Blob", "Queue", "Table"))
        connection = f"AccountName=local;AccountKey=bG9jYWw=;{ends}"
        monkeypatch.setenv("AzureWebJobsStorage", connection)
        status, printed = _run(monkeypatch, capsys, "tenant", "list")
        server.shutdown()
    assert (status, printed.count("\n")) == (1, 1)
    assert "You need roles on the account" in printed


def test_an_error_that_no_command_foresees_names_its_place_and_quotes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_bytes(b"EmployerRef\nC1\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoGateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        words = ("import", "workers", str(tmp_path / FILE), *HERE, "--url", url)
        status, printed = _run(monkeypatch, capsys, *words)
        server.shutdown()
    assert (status, printed.count("\n")) == (1, 1)
    assert "KeyError at import_client.py, line" in printed


@pytest.mark.parametrize(
    "words",
    [
        ("tenant", "show", "\udcff\udcfe"),
        ("client", "revoke", "\udcff"),
        ("imports", "show", "--tenant", "t", "\udcff"),
        ("format", "set", "--tenant=\udcff", "--employee-id", "x"),
        ("import", "workers", FILE, "--function-key", "\udcff", "--software-key", "s"),
    ],
)
def test_bytes_that_are_no_text_are_named_by_their_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    status, printed = _run(monkeypatch, capsys, *words)
    [place] = [at for at, word in enumerate(words, 1) if "\udcff" in word]
    assert (status, printed.count("\n")) == (1, 1)
    assert printed.startswith(f"Word {place} behind manage.py is not text")


def test_the_name_of_a_file_may_be_any_bytes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "\udcff.csv"
    file.write_bytes(b"EmployerRef\rC1\xff")
    status, printed = _run(monkeypatch, capsys, "import", "workers", str(file), *HERE)
    assert (status, printed.count("\n")) == (1, 1)
    assert printed.startswith("\\udcff.csv: The text is not UTF-8")
