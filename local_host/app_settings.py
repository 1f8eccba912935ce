"""App settings: `local.settings.json` into the environment, `%NAME%`, storage connections.

The platform reads every setting from the environment, so this does too (docs/platform.md#6).
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_host.errors import AppRefusedError

_DEVELOPMENT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_DEVELOPMENT_STORAGE = (
    f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={_DEVELOPMENT_KEY};"
    + "".join(
        f"{service}Endpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        for service, port in (("Blob", 10000), ("Queue", 10001), ("Table", 10002))
    )
)
_SERVICES = ("blob", "queue", "table")


@dataclass(frozen=True, slots=True)
class Connection:
    """A storage account: by connection string, or by service addresses and an identity."""

    connection_string: str = ""
    addresses: tuple[tuple[str, str], ...] = ()
    client_id: str = ""

    def address_of(self, service: str) -> str:
        """The address of `blob`, `queue` or `table`, empty where the setting lacks it."""
        return dict(self.addresses).get(service, "")


def load_settings_file(path: Path) -> None:
    """Put `Values` of a local.settings.json into the environment. Existing variables are kept.

    Raises AppRefusedError if the file is encrypted, not JSON, or has a value that is not a string.
    """
    try:
        document = json.loads(path.read_text("utf-8-sig"))
        values = document.get("Values", {})
        is_encrypted = document.get("IsEncrypted", False)
        not_texts = [name for name, value in values.items() if not isinstance(value, str)]
    except (OSError, ValueError, AttributeError) as error:
        raise AppRefusedError([f"settings file {path} cannot be read: {error}"]) from None
    if is_encrypted:
        raise AppRefusedError([f"settings file {path} is encrypted; only plain files are read"])
    if not_texts:
        raise AppRefusedError(
            [f"settings file {path}: the value of {n} is no string" for n in not_texts]
        )
    for name, value in values.items():
        os.environ.setdefault(name, value)


def expand_settings(text: str) -> tuple[str, list[str]]:
    """Replace each `%NAME%` in a binding's text. Returns the text and the unset names."""
    missing = [name for name in re.findall(r"%([^%]+)%", text) if name not in os.environ]
    return re.sub(r"%([^%]+)%", lambda m: os.environ.get(m[1], m[0]), text), missing


def resolve_connection(name: str) -> Connection | None:
    """The connection of a binding, or None if no setting has it.

    An empty name means AzureWebJobsStorage. A connection string takes precedence over an identity.
    """
    names = (name, f"AzureWebJobs{name}") if name else ("AzureWebJobsStorage",)
    for candidate in names:
        if text := os.environ.get(candidate, "").strip():
            is_emulator = text.rstrip(";").lower() == "usedevelopmentstorage=true"
            return Connection(_DEVELOPMENT_STORAGE if is_emulator else text)
    for candidate in names:
        if addresses := _identity_addresses(f"{candidate}__", os.environ):
            return Connection(
                addresses=addresses, client_id=os.environ.get(f"{candidate}__clientId", "")
            )
    return None


def _identity_addresses(prefix: str, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    account = environment.get(f"{prefix}accountName", "")
    shared = environment.get(f"{prefix}serviceUri", "")
    pairs = []
    for service in _SERVICES:
        address = environment.get(f"{prefix}{service}ServiceUri", "") or shared
        if not address and account:
            address = f"https://{account}.{service}.core.windows.net"
        if address:
            pairs.append((service, address))
    return tuple(pairs)


def is_disabled(function_name: str) -> bool:
    """Whether a setting disables the function."""
    plain = function_name.replace("-", "_")
    keys = (f"AzureWebJobs.{function_name}.Disabled", f"AzureWebJobs_{plain}_Disabled")
    return any(is_set(key) for key in keys)


def is_set(name: str) -> bool:
    """Whether a setting says 1 or true."""
    return os.environ.get(name, "").lower() in ("1", "true")


def read_number(name: str, default: float) -> float:
    """A positive number from the environment; raises AppRefusedError for anything else."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise AppRefusedError([f"setting {name} must be a positive number, it is {text!r}"])
    return value
