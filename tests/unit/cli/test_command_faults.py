"""Whatever a command meets is one sentence on standard error, never a traceback."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli.app import main

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
    ("content", "said"),
    [
        (b'EmployerRef,"Personnel\rRef\nC1,1\n', "never closed"),
        (b'EmployerRef,"PersonnelRef"x\nC1,1\n', "text follows the closing quotation mark"),
        (b"EmployerRef,PersonnelRef\nC1," + b"1" * 17_000_000 + b"\n", "has more than 16777216"),
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
    said: str,
) -> None:
    (tmp_path / FILE).write_bytes(content)
    for kind in ("workers", "authdata"):
        status, printed = _run(monkeypatch, capsys, "import", kind, str(tmp_path / FILE), *HERE)
        assert (status, printed.count("\n")) == (1, 1)
        assert printed.startswith(FILE)
        assert said in printed


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
    ("option", "value", "said"),
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
    said: str,
) -> None:
    (tmp_path / FILE).write_bytes(b"EmployerRef\nC1\n")
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path))
    words = ("import", "workers", str(tmp_path / FILE), *HERE, option, value)
    status, printed = _run(monkeypatch, capsys, *words)
    assert (status, printed.count("\n")) == (1, 1)
    assert said in printed
    assert "ключ" not in printed


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
    assert printed.startswith("\\udcff.csv is not UTF-8")
