"""Which storage a command works on, and how a key pair travels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.calls import KeyPair
from cli.surroundings import LocalGateway, commands_settings, data_folder, local_gateway
from shared.errors import SettingsError

LOCAL = "DefaultEndpointsProtocol=http;AccountName=local;AccountKey=bG9jYWw=;"
GIVEN = "DefaultEndpointsProtocol=http;AccountName=given;AccountKey=Z2l2ZW4=;"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose data folder says that a local gateway runs."""
    document = {"url": "http://127.0.0.1:7071", "storage": LOCAL, "pid": 1}
    (tmp_path / "gateway.json").write_text(json.dumps(document))
    return {"GATEWAY_DATA": str(tmp_path)}


def test_the_running_gateways_storage_is_the_default(environ: dict[str, str]) -> None:
    assert commands_settings(environ).storage.connection_string == LOCAL


def test_the_environments_storage_comes_first(environ: dict[str, str]) -> None:
    given = commands_settings({**environ, "AzureWebJobsStorage": GIVEN})
    assert given.storage.connection_string == GIVEN
    by_identity = commands_settings({**environ, "AzureWebJobsStorage__accountName": "acct"})
    assert by_identity.storage.uses_identity


def test_other_settings_of_the_environment_count(environ: dict[str, str]) -> None:
    assert commands_settings({**environ, "GATEWAY_MAX_ROWS": "5"}).max_rows == 5
    with pytest.raises(SettingsError, match="GATEWAY_MAX_ROWS"):
        commands_settings({**environ, "GATEWAY_MAX_ROW": "5"})


def test_the_file_of_a_gateway_is_read_without_showing_its_storage(environ: dict[str, str]) -> None:
    gateway = local_gateway(environ)
    assert gateway == LocalGateway("http://127.0.0.1:7071", LOCAL)
    assert "bG9jYWw=" not in repr(gateway)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "http://127.0.0.1"}'])
def test_a_broken_file_of_a_gateway_is_said_so(environ: dict[str, str], text: str) -> None:
    (data_folder(environ) / "gateway.json").write_text(text)
    with pytest.raises(SettingsError, match=r"gateway\.json"):
        commands_settings(environ)


def test_no_gateway_is_none(tmp_path: Path) -> None:
    assert local_gateway({"GATEWAY_DATA": str(tmp_path)}) is None


def test_a_software_key_travels_as_utf_8() -> None:
    sent = KeyPair("Zażółć", " pig_made-up\n").headers()
    assert sent["X-Software-Key"].encode("latin-1") == "Zażółć".encode()
    assert sent["X-Functions-Key"] == "pig_made-up"
    assert "made-up" not in repr(KeyPair("A", "pig_made-up"))
