"""Which storage a command works on, and how a key pair travels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.calls import KeyPair
from cli.environment import (
    LocalGateway,
    commands_settings,
    data_folder,
    local_gateway,
    trusted_certificate,
)
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


def test_the_certificate_of_the_running_gateway_is_trusted_at_its_own_address_only(
    environ: dict[str, str],
) -> None:
    url = "https://127.0.0.1:7071"
    assert trusted_certificate(url, environ) is None
    document = {"url": url, "storage": LOCAL, "pid": 1, "certificate": "/data/tls/cert.pem"}
    (data_folder(environ) / "gateway.json").write_text(json.dumps(document))
    assert trusted_certificate(f"{url}/api/imports", environ) == Path("/data/tls/cert.pem")
    for other in ("https://127.0.0.1:70712", "https://127.0.0.1.example", "https://a.example"):
        assert trusted_certificate(other, environ) is None


def test_a_named_file_of_certificates_comes_first_and_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    named = {"GATEWAY_CA_FILE": str(file)}
    assert trusted_certificate("https://gateway.example", named) == file
    with pytest.raises(SettingsError, match="GATEWAY_CA_FILE"):
        trusted_certificate("https://gateway.example", {"GATEWAY_CA_FILE": str(tmp_path / "no")})


def test_no_gateway_is_none(tmp_path: Path) -> None:
    assert local_gateway({"GATEWAY_DATA": str(tmp_path)}) is None


def test_a_software_key_travels_as_utf_8() -> None:
    sent = KeyPair("Zażółć", " pig_made-up\n").headers()
    assert sent["X-Software-Key"].encode("latin-1") == "Zażółć".encode()
    assert sent["X-Functions-Key"] == "pig_made-up"
    assert "made-up" not in repr(KeyPair("A", "pig_made-up"))
