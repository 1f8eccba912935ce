"""The arguments of `dev.py run` and the variables that it hands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_host.setup.gateway import (
    find_storage_account,
    gateway_environ,
    read_local_settings,
    read_run_options,
)
from local_host.setup.messages import SetupError
from local_host.setup.paths import ROOT


def test_the_defaults_are_those_of_the_contract() -> None:
    options = read_run_options([], {})
    assert (options.port, options.data) == (7071, ROOT / ".local")
    assert (options.fresh, options.demo, options.exit) == (False, True, False)
    assert not options.tls


def test_a_variable_names_another_data_folder() -> None:
    assert read_run_options([], {"GATEWAY_DATA": "/data"}).data == Path("/data")


def test_every_argument_is_read() -> None:
    words = ["--port", "0", "--data", "d", "--fresh", "--no-demo", "--exit", "--tls"]
    options = read_run_options(words, {})
    assert (options.port, options.data) == (0, Path("d"))
    assert (options.fresh, options.demo, options.exit) == (True, False, True)
    assert options.tls


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_what_is_no_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_run_options([f"--port={port}"], {})
    assert "--port" in capsys.readouterr().err


def test_the_settings_file_wins_over_the_example_and_a_variable_over_both(tmp_path: Path) -> None:
    (tmp_path / "local.settings.example.json").write_text('{"Values": {"A": "0", "B": "0"}}')
    (tmp_path / "local.settings.json").write_text('\ufeff{"Values": {"A": "1", "C": "1"}}')
    settings = read_local_settings(tmp_path)
    environ = gateway_environ({"C": "2"}, settings)
    assert (environ["A"], environ["C"]) == ("1", "2")
    assert "B" not in environ


def test_without_any_settings_file_there_are_no_defaults(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"Values": []}'])
def test_a_broken_settings_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.settings.json").write_text(text)
    with pytest.raises(SetupError, match=r"local\.settings\.json"):
        read_local_settings(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("UseDevelopmentStorage=true", ""),
        (" UseDevelopmentStorage=true; ", ""),
        ("AccountName=mine;AccountKey=k", "AccountName=mine;AccountKey=k"),
    ],
)
def test_only_a_real_account_replaces_the_emulator(value: str, expected: str) -> None:
    assert find_storage_account({"AzureWebJobsStorage": value}) == expected
