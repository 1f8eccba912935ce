"""The settings: every default and limit, all problems at once, documents that agree."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from cli.reference_pages import SETTINGS_PAGE, render_settings_page
from shared.errors import SettingsError
from shared.imports.documents.model import FILE_TYPES
from shared.settings import (
    SETTINGS,
    Setting,
    Settings,
    own_address,
    read_address,
    read_guid,
    read_names,
    read_settings,
    settings_in_force,
)
from shared.storage_account import StorageAccount, emulator_connection_string

ROOT = Path(__file__).parents[2]
DEVELOPMENT = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
ACCOUNT_KEY = "c2VjcmV0LWFjY291bnQta2V5"
NUMBERS = [item for item in SETTINGS if item.most]
SECRET = base64.b64encode(b"s" * 32).decode()


def problems_of(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    return caught.value.problems


def test_every_default_is_the_documented_one() -> None:
    settings = read_settings(DEVELOPMENT)
    assert settings == Settings(
        storage=StorageAccount(connection_string=emulator_connection_string()),
        worker_runtime="python",
        max_body_bytes=99_614_720,
        max_rows=100_000,
        wait_seconds=200,
        chunk_rows=1_000,
        chunk_bytes=4_194_304,
        cache_seconds=3,
        sweep_after_seconds=900,
        handler_seconds=300,
        dry_run_rows=20_000,
        keep_payload_days=30,
        keep_result_days=90,
        keep_tombstone_days=30,
        keep_replaced_days=30,
        idempotency_seconds=86_400,
        take_over_seconds=60,
        authdata_keys=(),
        data_keys=(),
        batch_seconds=604_800,
        identity_provider="local",
        base_url="http://localhost:7071",
        audiences=("payroll-import-gateway",),
        token_seconds=3_600,
        entra_tenant="",
        entra_authority="https://login.microsoftonline.com",
        max_document_bytes=26_214_400,
        document_types=frozenset(("pdf", "png", "jpg", "docx", "xlsx", "csv", "txt")),
        drop_source="polling",
        document_sweep_seconds=300,
        log_level="info",
    )


def test_a_blank_value_counts_as_not_set() -> None:
    assert read_settings({**DEVELOPMENT, "GATEWAY_MAX_ROWS": " "}).max_rows == 100_000


def test_all_problems_are_reported_together() -> None:
    problems = problems_of(
        {
            "FUNCTIONS_WORKER_RUNTIME": "node",
            "GATEWAY_WAIT_SECONDS": "226",
            "GATEWAY_CHUNK_ROWS": "0",
            "GATEWAY_LOG_LEVEL": "loud",
            "GATEWAY_MAX_ROW": "5",
        }
    )
    named = [problem.split()[0] for problem in problems]
    assert named == [
        "AzureWebJobsStorage",
        "FUNCTIONS_WORKER_RUNTIME",
        "GATEWAY_WAIT_SECONDS",
        "GATEWAY_CHUNK_ROWS",
        "GATEWAY_LOG_LEVEL",
        "GATEWAY_MAX_ROW",
    ]
    assert all(problem.endswith((".", "?")) for problem in problems)


@pytest.mark.parametrize("declared", NUMBERS, ids=lambda declared: declared.name)
def test_a_number_is_accepted_up_to_its_limits(declared: Setting) -> None:
    for number in (declared.least, declared.most):
        read_settings({**DEVELOPMENT, declared.name: str(number)})
    for wrong in (declared.least - 1, declared.most + 1, "1.5", "ten", "٣", "9" * 5_000):
        assert len(problems_of({**DEVELOPMENT, declared.name: str(wrong)})) == 1


def test_words_come_in_any_case_and_order_and_only_those_of_the_list() -> None:
    settings = read_settings({**DEVELOPMENT, "GATEWAY_DOCUMENT_TYPES": "TXT, pdf"})
    assert settings.document_types == {"pdf", "txt"}
    for wrong in ("exe", "pdf;txt", "pdf,"):
        [problem] = problems_of({**DEVELOPMENT, "GATEWAY_DOCUMENT_TYPES": wrong})
        assert problem.startswith("GATEWAY_DOCUMENT_TYPES must be words of pdf, png,")


def test_the_types_of_documents_are_those_that_the_gateway_knows() -> None:
    assert Settings(storage=StorageAccount()).document_types == {*FILE_TYPES}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_MAX_ROW", "GATEWAY_MAX_ROWS"),
        ("GATEWAY_WAITSECONDS", "GATEWAY_WAIT_SECONDS"),
        ("gateway_cache_seconds", "GATEWAY_CACHE_SECONDS"),
    ],
)
def test_a_misspelt_setting_is_reported_with_the_correct_name(name: str, meant: str) -> None:
    assert problems_of({**DEVELOPMENT, name: "1"}) == [
        f"{name} is no setting of the gateway; did you mean {meant}?"
    ]


def test_names_of_the_commands_are_no_mistakes() -> None:
    read_settings({**DEVELOPMENT, "GATEWAY_DATA": "/data", "GATEWAY_SOFTWARE_KEY": "A B"})


def test_the_emulator_is_addressed_by_number() -> None:
    account = read_settings({"AzureWebJobsStorage": "usedevelopmentstorage=TRUE;"}).storage
    assert "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1" in account.connection_string
    assert not account.uses_identity


def test_an_account_by_name_has_the_public_addresses() -> None:
    account = read_settings({"AzureWebJobsStorage__accountName": "acct"}).storage
    assert account.uses_identity
    assert account.table_service_uri == "https://acct.table.core.windows.net"


def test_an_account_by_addresses_may_name_a_managed_identity() -> None:
    environ = {
        f"AzureWebJobsStorage__{service}ServiceUri": f"https://acct.{service}.example/"
        for service in ("blob", "queue", "table")
    }
    environ["AzureWebJobsStorage__credential"] = "managedIdentity"
    environ["AzureWebJobsStorage__clientId"] = "11111111-1111-1111-1111-111111111111"
    account = read_settings(environ).storage
    assert account.queue_service_uri == "https://acct.queue.example"
    assert account.credential == "managedidentity"
    assert account.client_id == "11111111-1111-1111-1111-111111111111"


def test_a_connection_string_wins_over_an_identity() -> None:
    environ = {**DEVELOPMENT, "AzureWebJobsStorage__accountName": "acct"}
    assert not read_settings(environ).storage.uses_identity


@pytest.mark.parametrize(
    ("environ", "parts_wrong"),
    [
        ({"blobServiceUri": "https://a.example"}, ["queueServiceUri", "tableServiceUri"]),
        ({"accountName": "a", "tableServiceUri": "http://a.example"}, ["tableServiceUri"]),
        ({"accountName": "a", "credential": "clientsecret"}, ["credential"]),
        ({"accountName": "a", "clientId": "b"}, ["clientId"]),
    ],
)
def test_an_incomplete_identity_is_refused(environ: dict[str, str], parts_wrong: list[str]) -> None:
    problems = problems_of({f"AzureWebJobsStorage__{name}": environ[name] for name in environ})
    assert [problem.split()[0] for problem in problems] == [
        f"AzureWebJobsStorage__{name}" for name in parts_wrong
    ]


@pytest.mark.parametrize(
    "text",
    [
        "https://acct.blob.example",
        f"AccountKey={ACCOUNT_KEY}",
        f"@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/{ACCOUNT_KEY})",
    ],
)
def test_a_wrong_connection_string_is_refused_without_quoting_it(text: str) -> None:
    (problem,) = problems_of({"AzureWebJobsStorage": text})
    assert problem.startswith("AzureWebJobsStorage is ")
    assert ACCOUNT_KEY not in problem


def test_no_connection_string_shows_in_a_repr() -> None:
    text = f"AccountName=acct;AccountKey={ACCOUNT_KEY};EndpointSuffix=core.windows.net"
    settings = read_settings({"AzureWebJobsStorage": text})
    assert settings.storage.connection_string == text
    assert ACCOUNT_KEY not in repr(settings)


def test_keys_are_read_in_order_and_show_nowhere() -> None:
    text = f"2027:{SECRET}, 2026:{SECRET}"
    keys = dict.fromkeys(("GATEWAY_AUTHDATA_KEYS", "GATEWAY_DATA_KEYS"), text)
    settings = read_settings({**DEVELOPMENT, **keys})
    assert settings.authdata_keys == settings.data_keys
    assert [(key.id, key.secret) for key in settings.data_keys] == [
        ("2027", b"s" * 32),
        ("2026", b"s" * 32),
    ]
    assert "sss" not in repr((settings, settings.authdata_keys))


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f":{SECRET}",
        "a:",
        f"a:{SECRET[4:]}",
        f"a:{SECRET}!",
        f"a b:{SECRET}",
        f"a:{SECRET},",
        f"a:{SECRET},a:{SECRET}",
        ",".join(f"k{number}:{SECRET}" for number in range(6)),
        f"@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/{SECRET})",
    ],
)
def test_hash_keys_of_another_form_are_refused_without_quoting_them(text: str) -> None:
    [problem] = problems_of({**DEVELOPMENT, "GATEWAY_AUTHDATA_KEYS": text})
    assert problem.startswith("GATEWAY_AUTHDATA_KEYS must ")
    assert SECRET[4:40] not in problem


def test_the_example_file_has_exactly_the_declared_settings_with_their_defaults() -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    expected = {item.name: item.default for item in SETTINGS}
    expected["AzureWebJobsStorage"] = "UseDevelopmentStorage=true"
    expected["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"] = "134217728"
    expected["GATEWAY_SWEEP_AFTER_SECONDS"] = "60"
    expected["GATEWAY_TAKE_OVER_SECONDS"] = "10"
    [key] = read_settings(values).authdata_keys
    assert key.id == "local"
    expected["GATEWAY_AUTHDATA_KEYS"] = values["GATEWAY_AUTHDATA_KEYS"]
    expected["GATEWAY_DOCUMENT_SWEEP_SECONDS"] = "60"
    assert values == expected


@pytest.mark.parametrize(
    ("at", "setting"),
    [(0, "GATEWAY_AUTHDATA_KEYS"), (1, "GATEWAY_AUTHDATA_KEYS"), (0, "GATEWAY_DATA_KEYS")],
)
@pytest.mark.parametrize("marker", [None, "", "1", "true"])
def test_the_key_of_the_example_is_refused_but_under_the_local_host(
    monkeypatch: pytest.MonkeyPatch, marker: str | None, at: int, setting: str
) -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    keys = [f"2027:{SECRET}"]
    keys.insert(at, values["GATEWAY_AUTHDATA_KEYS"].replace("local:", "renamed:"))
    own_keys = dict.fromkeys(("GATEWAY_AUTHDATA_KEYS", "GATEWAY_DATA_KEYS"), f"2027:{SECRET}")
    changed = {**own_keys, setting: ",".join(keys), "GATEWAY_MAX_ROWS": "none"}
    for name, value in {**values, **changed}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCAL_HOST", raising=False)
    if marker is not None:
        monkeypatch.setenv("LOCAL_HOST", marker)
    with pytest.raises(SettingsError) as caught:
        settings_in_force()
    _, problem = caught.value.problems
    assert setting in problem
    assert "secrets.token_bytes(32)" in problem
    assert keys[at].partition(":")[2] not in problem
    monkeypatch.setenv("LOCAL_HOST", str(os.getpid()))
    monkeypatch.delenv("GATEWAY_MAX_ROWS")
    settings = settings_in_force()
    assert len(settings.authdata_keys) + len(settings.data_keys) == 3


def test_the_settings_page_is_the_one_that_the_table_renders() -> None:
    assert SETTINGS_PAGE.read_text(encoding="utf-8") == render_settings_page(), (
        "run: python -m cli.reference_pages"
    )


# Settings that are texts: addresses, GUIDs, names, and where the gateway is reached by default.

GUID = "72F988BF-0000-4000-8000-2D7CD011DB47"
ENTRA = {
    **DEVELOPMENT,
    "GATEWAY_IDENTITY_PROVIDER": "Entra",
    "GATEWAY_ENTRA_TENANT": GUID,
    "GATEWAY_AUDIENCE": "api://payroll, 11111111-2222-4333-8444-555555555555",
}


def settings_with_problems(environ: dict[str, str]) -> list[str]:
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
def test_a_slash_at_the_end_of_an_address_is_removed(text: str, read: str) -> None:
    assert read_address(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "gateway.example", "ftp://a.example", "https://", "https://a.example?x=1", "https://[",
        "https://a.example#x", "https://user:pass@a.example", "https://a example", "javascript:x",
    ],
)  # fmt: skip
def test_a_text_that_is_not_an_address_is_refused(text: str) -> None:
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
def test_the_address_of_the_gateway_comes_from_the_platform(host: str, address: str) -> None:
    assert own_address({"WEBSITE_HOSTNAME": host}) == address
    assert read_settings({**DEVELOPMENT, "WEBSITE_HOSTNAME": host}).base_url == address


def test_a_set_address_wins_over_the_platforms() -> None:
    environ = {
        **DEVELOPMENT,
        "WEBSITE_HOSTNAME": "a.example",
        "GATEWAY_BASE_URL": "https://b.example",
    }
    assert read_settings(environ).base_url == "https://b.example"


def test_entra_settings_name_the_directory_and_the_audiences() -> None:
    settings: Settings = read_settings(ENTRA)
    assert settings.identity_provider == "entra"
    assert settings.entra_tenant == GUID.lower()
    assert settings.audiences == ("api://payroll", "11111111-2222-4333-8444-555555555555")


def test_entra_without_them_is_a_problem_each() -> None:
    environ = {**DEVELOPMENT, "GATEWAY_IDENTITY_PROVIDER": "entra"}
    assert settings_with_problems(environ) == ["GATEWAY_ENTRA_TENANT", "GATEWAY_AUDIENCE"]


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
    assert settings_with_problems({**ENTRA, name: value}) == [name]
