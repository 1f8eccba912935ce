"""Settings that are texts: addresses, GUIDs, names, and where the gateway is reached by default."""

from __future__ import annotations

import pytest

from shared.errors import SettingsError
from shared.settings import (
    Settings,
    own_address,
    read_address,
    read_guid,
    read_names,
    read_settings,
)

DEVELOPMENT = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
GUID = "72F988BF-0000-4000-8000-2D7CD011DB47"
ENTRA = {
    **DEVELOPMENT,
    "GATEWAY_IDENTITY_PROVIDER": "Entra",
    "GATEWAY_ENTRA_TENANT": GUID,
    "GATEWAY_AUDIENCE": "api://payroll, 11111111-2222-4333-8444-555555555555",
}


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    return [problem.split()[0] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://gateway.example", "https://gateway.example"),
        ("https://gateway.example/payroll/", "https://gateway.example/payroll"),
        ("http://127.0.0.1:7071", "http://127.0.0.1:7071"),
        ("http://[::1]:7071/", "http://[::1]:7071"),
    ],
)
def test_an_address_is_taken_without_a_slash_at_its_end(text: str, read: str) -> None:
    assert read_address(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "gateway.example", "ftp://a.example", "https://", "https://a.example?x=1", "https://[",
        "https://a.example#x", "https://user:pass@a.example", "https://a example", "javascript:x",
    ],
)  # fmt: skip
def test_what_is_no_address_is_not(text: str) -> None:
    assert read_address(text) is None


def test_names_and_guids() -> None:
    assert read_names("one, api://two") == ("one", "api://two")
    assert [read_names(text) for text in ("", "one,", "o ne", ",")] == [None] * 4
    assert read_guid(GUID) == GUID.lower()
    assert read_guid("contoso.example") is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "http://localhost:7071"),
        ("payroll.azurewebsites.net", "https://payroll.azurewebsites.net"),
        ("localhost:7072", "http://localhost:7072"),
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("localhost.example", "https://localhost.example"),
        ("a b", "http://localhost:7071"),
    ],
)
def test_the_platform_tells_where_the_gateway_is_reached(host: str, address: str) -> None:
    assert own_address({"WEBSITE_HOSTNAME": host}) == address
    assert read_settings({**DEVELOPMENT, "WEBSITE_HOSTNAME": host}).base_url == address


def test_a_set_address_wins_over_the_platforms() -> None:
    given = {
        **DEVELOPMENT,
        "WEBSITE_HOSTNAME": "a.example",
        "GATEWAY_BASE_URL": "https://b.example",
    }
    assert read_settings(given).base_url == "https://b.example"


def test_entra_is_told_its_directory_and_who_the_gateway_is() -> None:
    settings: Settings = read_settings(ENTRA)
    assert settings.identity_provider == "entra"
    assert settings.entra_tenant == GUID.lower()
    assert settings.audiences == ("api://payroll", "11111111-2222-4333-8444-555555555555")


def test_entra_without_them_is_a_problem_each() -> None:
    given = {**DEVELOPMENT, "GATEWAY_IDENTITY_PROVIDER": "entra"}
    assert problems_of(given) == ["GATEWAY_ENTRA_TENANT", "GATEWAY_AUDIENCE"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_IDENTITY_PROVIDER", "okta"),
        ("GATEWAY_ENTRA_TENANT", "contoso.example"),
        ("GATEWAY_ENTRA_AUTHORITY", "http://login.example"),
        ("GATEWAY_AUDIENCE", "one two"),
        ("GATEWAY_BASE_URL", "gateway.example"),
    ],
)
def test_a_wrong_text_is_named(name: str, value: str) -> None:
    assert problems_of({**ENTRA, name: value}) == [name]
