"""The environment of the commands: the data folder, the local gateway, the settings, the user.

The commands use the storage of the environment variables, else that of the running local gateway,
else that of `local.settings.json`. This module imports only the standard library and what is
light, so that the demo starts quickly.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import SettingsError
from shared.imports.sender import CallerKind, NamedCaller, named_caller
from shared.settings import Settings, read_settings
from shared.storage_account import CONNECTION, PARTS

ROOT = Path(__file__).resolve().parent.parent
STORAGE_NAMES = (CONNECTION, *(f"{CONNECTION}__{part}" for part in PARTS))


@dataclass(frozen=True, slots=True)
class LocalGateway:
    """The running gateway of `dev.py run`, from its `gateway.json`."""

    url: str
    storage: str = field(repr=False)
    certificate: str = ""
    data_keys: str = field(default="", repr=False)


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the local gateway: GATEWAY_DATA, by default `.local` in the repository."""
    return Path(environ.get("GATEWAY_DATA", "").strip() or ROOT / ".local")


def local_gateway(environ: Mapping[str, str] = os.environ) -> LocalGateway | None:
    """The running local gateway; None if there is none."""
    try:
        document = json.loads((data_folder(environ) / "gateway.json").read_text("utf-8"))
        certificate, data_keys = (str(document.get(n, "")) for n in ("certificate", "data_keys"))
        return LocalGateway(str(document["url"]), str(document["storage"]), certificate, data_keys)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(["gateway.json of the local gateway cannot be read."]) from None


def trusted_certificate(url: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The certificate to trust at that address, of GATEWAY_CA_FILE or of the local gateway.

    None if only the usual certificates are trusted. Raises SettingsError.
    """
    configured = environ.get("GATEWAY_CA_FILE", "").strip()
    if configured:
        if not Path(configured).is_file():
            raise SettingsError(["GATEWAY_CA_FILE must name a file of certificates."])
        return Path(configured)
    gateway = local_gateway(environ) if url.startswith("https://127.0.0.1:") else None
    if gateway is None or not gateway.certificate:
        return None
    is_its_own = f"{url}/".startswith(f"{gateway.url}/")
    return Path(gateway.certificate) if is_its_own else None


def ca_bundle(environ: Mapping[str, str] = os.environ) -> str:
    """The file or folder of certificates that programs with `requests` trust here; "" for none."""
    return environ.get("REQUESTS_CA_BUNDLE", "") or environ.get("CURL_CA_BUNDLE", "")


def command_caller() -> NamedCaller:
    """Who runs a command, for imports and the audit log: `user@host`, which proves nothing."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # This machine has no user with the user id of the process.
        user = "unknown"
    return named_caller(CallerKind.COMMAND, f"{user}@{socket.gethostname()}")


def commands_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings for the commands. Raises SettingsError."""
    values = {**_read_local_settings(), **environ}
    if not _names_storage(environ):
        gateway = local_gateway(environ)
        if gateway is not None:
            values[CONNECTION] = gateway.storage
            if gateway.data_keys:
                values["GATEWAY_DATA_KEYS"] = gateway.data_keys
    else:
        for name in STORAGE_NAMES:
            values[name] = environ.get(name, "")
    if not _names_storage(values):
        raise SettingsError(
            [
                "No storage is in force: start the local gateway with `python3 dev.py run`, or set "
                f"{CONNECTION}."
            ]
        )
    return read_settings(values)


def _names_storage(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name, "").strip() for name in STORAGE_NAMES)


def _read_local_settings() -> dict[str, str]:
    try:
        document = json.loads((ROOT / "local.settings.json").read_text("utf-8-sig"))
        return {str(name): str(value) for name, value in document["Values"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsError(
            ["local.settings.json cannot be read: compare it with local.settings.example.json."]
        ) from None
