"""The settings: one declared table, and the one reader of the environment.

The fields of `Settings` are the table: each carries its `Setting` (name, kind, default, purpose,
limits). Tests compare `local.settings.example.json` and `docs/settings.md` with the table. All
problems are reported in one `SettingsError`, so that an operator sees them in one restart.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from shared.clock import is_guid
from shared.early_settings import DROP_SOURCE, EVENT_GRID, OPEN_TELEMETRY, TELEMETRY
from shared.errors import SettingsError
from shared.imports.authdata.hashing import HashKey
from shared.storage_account import (
    CONNECTION,
    DEVELOPMENT,
    StorageAccount,
    read_storage_account,
)

# The declaration of a setting: its kind, its row in the table, its field in `Settings`.


class Kind(StrEnum):
    """How the text of a setting is read."""

    CONNECTION = "connection"
    CHOICE = "choice"
    WORDS = "words"
    ROWS = "rows"
    CALLS = "calls"
    BYTES = "bytes"
    SECONDS = "seconds"
    DAYS = "days"
    IMPORTS = "imports"
    HASH_KEYS = "hash keys"
    ADDRESS = "address"
    SECURE_ADDRESS = "https address"
    GUID = "GUID"
    NAMES = "names"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `least` and `most` limit a number, `choices` a word."""

    name: str
    kind: Kind
    default: str
    purpose: str
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()


def number(name: str, kind: Kind, default: int, least: int, most: int, purpose: str) -> Any:
    """Declare a whole number from `least` to `most`."""
    setting = Setting(name, kind, str(default), purpose, least, most)
    return field(default=default, metadata={"setting": setting})


def choice(name: str, default: str, choices: tuple[str, ...], purpose: str) -> Any:
    """Declare a setting of one of these words."""
    setting = Setting(name, Kind.CHOICE, default, purpose, choices=choices)
    return field(default=default, metadata={"setting": setting})


def text(name: str, kind: Kind, shown_default: str, default: Any, purpose: str) -> Any:
    """Declare a text; `shown_default` is its default as the documents show it."""
    return field(default=default, metadata={"setting": Setting(name, kind, shown_default, purpose)})


def words(name: str, choices: tuple[str, ...], purpose: str) -> Any:
    """Declare a list of some of these words, all of them by default."""
    setting = Setting(name, Kind.WORDS, ",".join(choices), purpose, choices=choices)
    return field(default=frozenset(choices), metadata={"setting": setting})


# Readers of settings that are texts: addresses, GUIDs, lists of names.
#
# Each reader returns the normalised text, or None if it is wrong. No problem quotes it whole.

# The platform sets this variable to the app's own host name, Core Tools to `localhost` and a port.
PLATFORM_HOST = "WEBSITE_HOSTNAME"
# The default address of `func start` and of the local host.
DEFAULT_ADDRESS = "http://localhost:7071"

_NAME = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,200}")
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")  # noqa: S104 (only compared)


def read_address(text: str) -> str | None:
    """Read an http or https address without query. Slashes at its end are removed."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc)
    except ValueError:
        return None
    if not is_address or parts.query or parts.fragment or re.search(r"[\s?#]", text):
        return None
    return text.rstrip("/")


def read_secure_address(text: str) -> str | None:
    """Read an https address without query."""
    return read_address(text) if text.lower().startswith("https://") else None


def read_guid(text: str) -> str | None:
    return text.lower() if is_guid(text) else None


def read_names(text: str) -> tuple[str, ...] | None:
    """Read a comma-separated list of at least one name."""
    names = tuple(name.strip() for name in text.split(","))
    return names if all(_NAME.fullmatch(name) for name in names) else None


def own_address(environ: Mapping[str, str]) -> str:
    """The address of the gateway, from the host name that the platform sets."""
    host = environ.get(PLATFORM_HOST, "").strip()
    if not _HOST.fullmatch(host):
        return DEFAULT_ADDRESS
    is_local = host.rpartition(":")[0] in _LOCAL_HOSTS or host in _LOCAL_HOSTS
    return f"http://{host}" if is_local else f"https://{host}"


# The keys for hashing authentication values (docs/contracts.md#3).
#
#     GATEWAY_AUTHDATA_KEYS = 2027:<base64>,2026:<base64>
#
# Each key has an id and a secret; the current key is first. The gateway also compares values with
# the older keys, so that it recognises values that were stored before a rotation.

FORM = "id:secret, or several with commas between, the current one first"
MOST_KEYS = 5
LEAST_BYTES = 32
# The secret of the example file, which is public.
EXAMPLE_SECRET = b"for a local gateway only, no secret"
_ID = re.compile(r"[A-Za-z0-9_-]{1,20}")


def read_hash_keys(name: str, text: str, problems: list[str]) -> tuple[HashKey, ...]:
    """Read the keys. Errors are appended to `problems`, which never quote a secret."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_KEYS:
        problems.append(f"{name} must have at most {MOST_KEYS} keys.")
        return ()
    keys = [_read_key(part) for part in parts]
    if None in keys:
        problems.append(
            f"{name} must be {FORM}: an id of up to 20 letters, digits, _ and -, and at least "
            f"{LEAST_BYTES} random bytes in base64 (key number {keys.index(None) + 1} is not)."
        )
        return ()
    unique = tuple(key for key in keys if key is not None)
    if len({key.id for key in unique}) != len(unique):
        problems.append(f"{name} must give each key an id of its own.")
        return ()
    return unique


def _read_key(part: str) -> HashKey | None:
    id_, _, secret = part.partition(":")
    try:
        data = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not _ID.fullmatch(id_) or len(data) < LEAST_BYTES:
        return None
    return HashKey(id_, data)


LOCAL_HOST = "LOCAL_HOST"
EXAMPLE_KEY_PROBLEM = (
    "{setting} has the key of local.settings.example.json, which is public and is "
    'accepted under the local host only. Make a key with `python3 -c "import base64, secrets; '
    'print(base64.b64encode(secrets.token_bytes(32)).decode())"` and set a name for it, a colon, '
    "and the key."
)
POLLING = "polling"
UNKNOWN = "unknown"
FORWARDED = "forwarded"
OFF = "off"
_INTEGER = re.compile(r"[0-9]{1,15}")
_MOST_SHOWN = 12
_AUDIENCE = "payroll-import-gateway"
_AUTHORITY = "https://login.microsoftonline.com"


class IdentityProvider(StrEnum):
    """The issuer of the tokens that the gateway accepts."""

    LOCAL = "local"
    ENTRA = "entra"


_TEXTS: Mapping[Kind, tuple[Callable[[str], str | tuple[str, ...] | None], str]] = {
    Kind.ADDRESS: (read_address, "an http or https address without query"),
    Kind.SECURE_ADDRESS: (read_secure_address, "an https address without query"),
    Kind.GUID: (read_guid, "a GUID"),
    Kind.NAMES: (read_names, "names without blanks, with commas between them"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a gateway. Sizes are in bytes, times in seconds."""

    storage: StorageAccount = field(
        metadata={
            "setting": Setting(
                CONNECTION,
                Kind.CONNECTION,
                "",
                f"Where everything is kept: a connection string, or `{DEVELOPMENT}` for a storage "
                "emulator on its usual ports. Required, unless the account is reached by identity.",
            )
        }
    )
    worker_runtime: str = choice(
        "FUNCTIONS_WORKER_RUNTIME", "python", ("python",), "The platform's choice of language."
    )
    host_body_bytes: int = number(
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", Kind.BYTES, 104_857_600, 104_857_600, 2_147_483_647,
        "The largest body that the host hands to the app; it answers a larger one with an empty "
        "500. Set it well above GATEWAY_MAX_BODY_BYTES, as the example file does: up to it the "
        "gateway answers 413 and says why.",
    )  # fmt: skip
    max_body_bytes: int = number(
        "GATEWAY_MAX_BODY_BYTES", Kind.BYTES, 99_614_720, 1, 104_857_600,
        "The largest body of a call; the host's own limit is FUNCTIONS_REQUEST_BODY_SIZE_LIMIT.",
    )  # fmt: skip
    max_document_bytes: int = number(
        "GATEWAY_MAX_DOCUMENT_BYTES", Kind.BYTES, 26_214_400, 1, 104_857_600,
        "The largest document, uploaded, dropped or in a license.",
    )  # fmt: skip
    max_rows: int = number(
        "GATEWAY_MAX_ROWS", Kind.ROWS, 100_000, 1, 1_000_000, "The most rows of one import."
    )
    wait_seconds: int = number(
        "GATEWAY_WAIT_SECONDS", Kind.SECONDS, 200, 0, 225,
        "How long a call waits for its rows before it answers 202; the platform cuts at 230 s.",
    )  # fmt: skip
    chunk_rows: int = number(
        "GATEWAY_CHUNK_ROWS", Kind.ROWS, 1_000, 1, 1_000,
        "Rows of one chunk. Rows of one key stay together, even past this.",
    )  # fmt: skip
    chunk_bytes: int = number(
        "GATEWAY_CHUNK_BYTES", Kind.BYTES, 4_194_304, 1_024, 4_194_304,
        "Bytes of one chunk, counted as its rows are written to the payload.",
    )  # fmt: skip
    cache_seconds: int = number(
        "GATEWAY_CACHE_SECONDS", Kind.SECONDS, 3, 0, 5,
        "How long a look-up of a key or an integration is remembered, and so how long a change by "
        "`manage.py` may take.",
    )  # fmt: skip
    sweep_after_seconds: int = number(
        "GATEWAY_SWEEP_AFTER_SECONDS", Kind.SECONDS, 900, 1, 86_400,
        "How long an open import is without a new result before the sweep sends what is missing.",
    )  # fmt: skip
    handler_seconds: int = number(
        "GATEWAY_HANDLER_SECONDS", Kind.SECONDS, 300, 1, 600,
        "How long a queue handler commits before it hands the rest to a new message.",
    )  # fmt: skip
    failures_per_credential: int = number(
        "GATEWAY_FAILURES_PER_CREDENTIAL", Kind.CALLS, 30, 1, 1_000_000,
        "How many calls a minute with one wrong function key, token or client id are answered as "
        "wrong; further ones are answered 429. A right credential always passes.",
    )  # fmt: skip
    failures_per_source: int = number(
        "GATEWAY_FAILURES_PER_SOURCE", Kind.CALLS, 120, 1, 1_000_000,
        "The same for all calls with wrong credentials of one source.",
    )  # fmt: skip
    caller_address: str = choice(
        "GATEWAY_CALLER_ADDRESS", UNKNOWN, (UNKNOWN, FORWARDED),
        "What tells sources apart: nothing, or the last entry of X-Forwarded-For. Set `forwarded` "
        "only where a front end appends the caller's address there, as Azure's does.",
    )  # fmt: skip
    trial_calls: int = number(
        "GATEWAY_AUTHDATA_TRIAL_CALLS", Kind.CALLS, 30, 1, 1_000_000,
        "How many dry runs of authentication data a caller may make a minute; each tells whether "
        "values are those that are stored.",
    )  # fmt: skip
    trial_records: int = number(
        "GATEWAY_AUTHDATA_TRIAL_RECORDS", Kind.ROWS, 100_000, 1, 1_000_000_000,
        "How many records a caller may try in such dry runs an hour.",
    )  # fmt: skip
    stop_seconds: int = number(
        "GATEWAY_STOP_SECONDS", Kind.SECONDS, 5, 1, 60,
        "How long the process runs on after SIGTERM: calls that wait answer 202, chunks in work "
        "are handed on, and what does not finish is answered 503.",
    )  # fmt: skip
    dry_run_rows: int = number(
        "GATEWAY_DRY_RUN_ROWS", Kind.ROWS, 20_000, 1, 100_000,
        "The most rows of a dry run, which works inside the call and keeps in memory what its rows "
        "would write.",
    )  # fmt: skip
    imports_at_once: int = number(
        "GATEWAY_TENANT_IMPORTS_AT_ONCE", Kind.IMPORTS, 4, 1, 1_000,
        "How many imports of up to 100 rows of one tenant and type are worked on at a time; "
        "of larger ones a quarter of that, and of one import four times as many chunks. The others "
        "wait, so that other tenants need not wait behind them.",
    )  # fmt: skip
    open_imports: int = number(
        "GATEWAY_TENANT_OPEN_IMPORTS", Kind.IMPORTS, 1_000, 1, 100_000,
        "How many open imports a tenant may have before a call that would add one is answered 429.",
    )  # fmt: skip
    waiting_calls: int = number(
        "GATEWAY_TENANT_WAITING_CALLS", Kind.CALLS, 200, 1, 10_000,
        "How many calls of one tenant and kind (imports, dry runs, downloads) may wait for their "
        "turn in a process before the next one is answered 429.",
    )  # fmt: skip
    keep_payload_days: int = number(
        "GATEWAY_KEEP_PAYLOADS_DAYS", Kind.DAYS, 30, 1, 3_650,
        "How long after its end the rows of an import are kept, and so how long it can be retried.",
    )  # fmt: skip
    keep_result_days: int = number(
        "GATEWAY_KEEP_RESULTS_DAYS", Kind.DAYS, 90, 1, 3_650,
        "How long after its end an import is listed and its results are kept; its rows go with "
        "them at the latest.",
    )  # fmt: skip
    keep_tombstone_days: int = number(
        "GATEWAY_KEEP_TOMBSTONES_DAYS", Kind.DAYS, 30, 1, 3_650,
        "How much longer than the rows of imports the marks are kept that deleted records and "
        "ended rows leave behind.",
    )  # fmt: skip
    keep_replaced_days: int = number(
        "GATEWAY_KEEP_REPLACED_DAYS", Kind.DAYS, 30, 1, 3_650,
        "How long the file of a document is kept once the document has another one.",
    )  # fmt: skip
    keep_drop_days: int = number(
        "GATEWAY_KEEP_DROPS_DAYS", Kind.DAYS, 30, 0, 3_650,
        "How long a dropped file of rows is kept once it is imported, at most as long as the "
        "results of imports; 0 deletes it at once.",
    )  # fmt: skip
    idempotency_seconds: int = number(
        "GATEWAY_IDEMPOTENCY_SECONDS", Kind.SECONDS, 86_400, 1, 2_592_000,
        "How long an Idempotency-Key is remembered, and so the first answer to its call.",
    )  # fmt: skip
    take_over_seconds: int = number(
        "GATEWAY_TAKE_OVER_SECONDS", Kind.SECONDS, 60, 1, 600,
        "How long a call with an Idempotency-Key may work before the next call with that key "
        "takes it for dead and does the same work.",
    )  # fmt: skip
    authdata_keys: tuple[HashKey, ...] = field(
        default=(),
        repr=False,
        metadata={
            "setting": Setting(
                "GATEWAY_AUTHDATA_KEYS",
                Kind.HASH_KEYS,
                "",
                "The secret keys under which authentication values are hashed, the current one "
                "first: `id:base64` of at least 32 random bytes, with commas between. In Azure a "
                "Key Vault reference. Authentication data is refused without it; an old key may go "
                "when nothing is stored under it any more.",
            )
        },
    )
    data_keys: tuple[HashKey, ...] = field(
        default=(),
        repr=False,
        metadata={
            "setting": Setting(
                "GATEWAY_DATA_KEYS",
                Kind.HASH_KEYS,
                "",
                "The secret keys under which the data keys of tenants are sealed, the current one "
                "first: `id:base64` of at least 32 random bytes, with commas between. In Azure a "
                "Key Vault reference. Imports of types with sensitive fields are refused without "
                "it; what is sealed under a key that is lost cannot be read again.",
            )
        },
    )
    batch_seconds: int = number(
        "GATEWAY_BATCH_SECONDS", Kind.SECONDS, 604_800, 60, 31_536_000,
        "How long a staged batch of authentication data waits for its Process call after the last "
        "record came; then it expires and its records are removed.",
    )  # fmt: skip
    identity_provider: str = choice(
        "GATEWAY_IDENTITY_PROVIDER", IdentityProvider.LOCAL.value, tuple(IdentityProvider),
        "Who issues the bearer tokens: the gateway itself, or Entra ID.",
    )  # fmt: skip
    base_url: str = text(
        "GATEWAY_BASE_URL", Kind.ADDRESS, "", DEFAULT_ADDRESS,
        "Where callers reach the gateway: the issuer of its tokens and the addresses in its "
        "discovery document. By default https and the platform's WEBSITE_HOSTNAME.",
    )  # fmt: skip
    audiences: tuple[str, ...] = text(
        "GATEWAY_AUDIENCE", Kind.NAMES, _AUDIENCE, (_AUDIENCE,),
        "The audience of tokens. With Entra the gateway's application: its id URI, and its client "
        "id behind a comma.",
    )  # fmt: skip
    token_seconds: int = number(
        "GATEWAY_TOKEN_SECONDS", Kind.SECONDS, 3_600, 60, 86_400,
        "How long a token of the gateway's own lives.",
    )  # fmt: skip
    entra_tenant: str = text(
        "GATEWAY_ENTRA_TENANT", Kind.GUID, "", "",
        "The directory (tenant) id whose tokens are taken; required with Entra.",
    )  # fmt: skip
    entra_authority: str = text(
        "GATEWAY_ENTRA_AUTHORITY", Kind.SECURE_ADDRESS, _AUTHORITY, _AUTHORITY,
        "Where Entra ID answers; national clouds have another one.",
    )  # fmt: skip
    document_types: frozenset[str] = words(
        "GATEWAY_DOCUMENT_TYPES", ("pdf", "png", "jpg", "docx", "xlsx", "csv", "txt"),
        "The types of documents that are taken, separated by commas.",
    )  # fmt: skip
    drop_source: str = choice(
        DROP_SOURCE, POLLING, (POLLING, EVENT_GRID),
        "How the app hears of dropped files: by looking at the container, or by events that a "
        "subscription of Event Grid sends (the Flex Consumption plan knows only those).",
    )  # fmt: skip
    document_sweep_seconds: int = number(
        "GATEWAY_DOCUMENT_SWEEP_SECONDS", Kind.SECONDS, 300, 1, 86_400,
        "How long a document's import is open, or a dropped file lies (a minute at most), before "
        "the sweep does the work.",
    )  # fmt: skip
    row_drop_seconds: int = number(
        "GATEWAY_ROW_DROP_SECONDS", Kind.SECONDS, 5, 0, 3_600,
        "How long a dropped file of rows must not have changed before it is imported, so that one "
        "which is still being written is not.",
    )  # fmt: skip
    log_level: str = choice(
        "GATEWAY_LOG_LEVEL", "info", ("debug", "info", "warning", "error"),
        "The least severe log lines that are written.",
    )  # fmt: skip
    telemetry: str = choice(
        TELEMETRY, OFF, (OFF, OPEN_TELEMETRY),
        "Whether the gateway makes traces and metrics. It needs the packages of "
        "requirements-telemetry.txt.",
    )  # fmt: skip


_BY_FIELD: dict[str, Setting] = {item.name: item.metadata["setting"] for item in fields(Settings)}

# Every declared setting, in the order of the documents.
SETTINGS: tuple[Setting, ...] = tuple(_BY_FIELD.values())

# Variables that only the commands read. They are not settings of the gateway.
COMMAND_NAMES = {
    "GATEWAY_DATA": "The folder of the local gateway; `.local` beside `manage.py` by default.",
    "GATEWAY_URL": "The address that `manage.py import` and the demo send to; the running local "
    "gateway's by default.",
    "GATEWAY_CLIENT_ID": "The client that `manage.py document` gets its token for.",
    "GATEWAY_CLIENT_SECRET": "The secret of that client.",
    "GATEWAY_CA_FILE": "Certificates that the commands trust besides the usual ones, for a gateway "
    "whose https is signed by one's own; the running local gateway's is known.",
    "GATEWAY_FUNCTIONS_KEY": "The function key that `manage.py import` sends as X-Functions-Key.",
    "GATEWAY_FUNCTION_KEY": "The former name of GATEWAY_FUNCTIONS_KEY, for one more release.",
    "GATEWAY_SOFTWARE_KEY": "The software key that `manage.py import` sends.",
    "GATEWAY_TOKEN_URL": "Where a client under test gets tokens; `dev.py run --env` writes it, and "
    "the next three.",
    "GATEWAY_STANDIN_URL": "The control calls of the stand-in, for tests of clients.",
    "GATEWAY_TENANT": "The tenant of a client under test.",
    "GATEWAY_STORAGE": "The connection string of the storage emulator, for tests of clients.",
    "GATEWAY_WORKER_PYTHON": "A Python with the vendor's worker library, for the tests that need "
    "one; `dev.py test` sets it.",
}


def read_settings(environ: Mapping[str, str], *, takes_example_key: bool = True) -> Settings:
    """Read and check every declared setting. A blank value counts as not set.

    `takes_example_key`: whether to accept the public key of the example file.

    Raises SettingsError with one sentence for each problem, a misspelt GATEWAY_ name included.
    """
    problems: list[str] = []
    values: dict[str, Any] = {"storage": read_storage_account(environ, problems)}
    for name, setting in _BY_FIELD.items():
        text = environ.get(setting.name, "").strip()
        if setting.kind is Kind.CONNECTION or not text:
            continue
        values[name] = _read_value(setting, text, problems)
    values.setdefault("base_url", own_address(environ))
    problems.extend(_find_contradictions(values))
    problems.extend(_find_unknown_names(environ))
    for name in ("authdata_keys", "data_keys"):
        keys: tuple[HashKey, ...] = values.get(name, ())
        if not takes_example_key and any(key.secret == EXAMPLE_SECRET for key in keys):
            problems.append(EXAMPLE_KEY_PROBLEM.format(setting=_BY_FIELD[name].name))
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def settings_in_force() -> Settings:
    """The settings of this process's environment. Raises SettingsError.

    The public key of the example file is accepted under the local host only, which sets LOCAL_HOST
    to its process id.
    """
    is_local = os.environ.get(LOCAL_HOST) == str(os.getpid())
    return read_settings(os.environ, takes_example_key=is_local)


def _find_contradictions(values: Mapping[str, Any]) -> list[str]:
    """Problems with settings that depend on each other."""
    is_entra = values.get("identity_provider") == IdentityProvider.ENTRA
    missing = {
        "GATEWAY_ENTRA_TENANT": ("entra_tenant", "the directory whose tokens are taken"),
        "GATEWAY_AUDIENCE": ("audiences", "the gateway's own application"),
    }
    return [
        f"{name} is missing: GATEWAY_IDENTITY_PROVIDER=entra needs {reason}."
        for name, (value, reason) in missing.items()
        if is_entra and value not in values
    ]


def _read_value(setting: Setting, text: str, problems: list[str]) -> Any:
    if setting.kind is Kind.HASH_KEYS:
        return read_hash_keys(setting.name, text, problems)
    if setting.kind is Kind.WORDS:
        return _read_words(setting, text, problems)
    if setting.kind in _TEXTS:
        read, description = _TEXTS[setting.kind]
        value = read(text)
        if value is None:
            problems.append(f"{setting.name} must be {description}, not {_quoted(text)}.")
        return value
    if setting.kind is Kind.CHOICE:
        if text.lower() not in setting.choices:
            allowed = " or ".join(setting.choices)
            problems.append(f"{setting.name} must be {allowed}, not {_quoted(text)}.")
        return text.lower()
    number = int(text) if _INTEGER.fullmatch(text) else -1
    if not setting.least <= number <= setting.most:
        problems.append(
            f"{setting.name} must be a whole number of {setting.kind.value} from "
            f"{setting.least} to {setting.most}, not {_quoted(text)}."
        )
    return number


def _read_words(setting: Setting, text: str, problems: list[str]) -> frozenset[str]:
    words = frozenset(word.strip().lower() for word in text.split(","))
    if words - {*setting.choices}:
        allowed = ", ".join(setting.choices)
        problems.append(
            f"{setting.name} must be words of {allowed}, separated by commas, not {_quoted(text)}."
        )
    return words


def _quoted(text: str) -> str:
    """A wrong value for a problem, shortened, so that a misplaced secret is not shown whole."""
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


def _find_unknown_names(environ: Mapping[str, str]) -> list[str]:
    setting_names = [item.name for item in SETTINGS]
    problems = []
    for name in sorted(environ):
        if (
            not name.upper().startswith("GATEWAY_")
            or name in setting_names
            or name in COMMAND_NAMES
        ):
            continue
        similar = get_close_matches(name.upper(), setting_names, n=1)
        advice = (
            f"did you mean {similar[0]}?" if similar else "docs/settings.md lists the settings."
        )
        problems.append(f"{name} is no setting of the gateway; {advice}")
    return problems
