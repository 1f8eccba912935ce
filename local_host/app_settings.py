"""App settings: `local.settings.json` into the environment, `%NAME%`, storage connections.

The platform reads every setting from the environment, so this does too (docs/platform.md#6).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import getproxies

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueServiceClient

# The refusal of an app, and the failure of an invocation.


class AppRefusedError(Exception):
    """The real host or worker would not run this app. `problems` has a sentence for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class InvocationFailedError(Exception):
    """A handler raised, timed out or returned an invalid result. The failure is logged already."""


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


# Storage clients for the triggers: one per connection and service, closed together at the end.
#
# Retries are short, because the listeners retry themselves and the SDK's defaults wait 80 seconds.

_T = TypeVar("_T")
_RETRY = {"initial_backoff": 0.4, "increment_base": 2, "retry_total": 2}


async def write_blob(container: ContainerClient, name: str, content: bytes) -> None:
    """Write a whole blob, and create its container if it is missing."""
    try:
        await container.upload_blob(name, content, overwrite=True)
    except ResourceNotFoundError:
        with contextlib.suppress(ResourceExistsError):
            await container.create_container()
        await container.upload_blob(name, content, overwrite=True)


class StorageClients:
    """Makes and keeps the service clients by the name of their connection setting."""

    def __init__(self) -> None:
        self._queues: dict[str, QueueServiceClient] = {}
        self._blobs: dict[str, BlobServiceClient] = {}
        self._credentials: list[Any] = []
        # Else aiohttp looks up proxies and ~/.netrc before each request, in two threads, which is a
        # third of the processor time of a poll.
        self._options: dict[str, Any] = {**_RETRY, "use_env_settings": bool(getproxies())}

    def queues(self, connection: str) -> QueueServiceClient:
        """The queue service of a connection; raises AppRefusedError where it has none."""
        return self._client(self._queues, QueueServiceClient, connection, "queue")

    def blobs(self, connection: str) -> BlobServiceClient:
        """The blob service of a connection; raises AppRefusedError where it has none."""
        return self._client(self._blobs, BlobServiceClient, connection, "blob")

    async def close(self) -> None:
        """Close every client and credential."""
        for client in (*self._queues.values(), *self._blobs.values(), *self._credentials):
            await client.close()

    def _client(self, clients: dict[str, _T], kind: Any, name: str, service: str) -> _T:
        if name not in clients:
            connection = resolve_connection(name)
            if connection is None:
                raise AppRefusedError([f"the connection setting {name} is not set"])
            clients[name] = self._open(kind, connection, service, name)
        return clients[name]

    def _open(self, kind: Any, connection: Connection, service: str, name: str) -> Any:
        if connection.connection_string:
            try:
                return kind.from_connection_string(connection.connection_string, **self._options)
            except ValueError as error:
                raise AppRefusedError([f"connection setting {name}: {error}"]) from None
        address = connection.address_of(service)
        if not address:
            raise AppRefusedError([f"connection setting {name} has no {service}ServiceUri"])
        from azure.identity.aio import DefaultAzureCredential

        options = {"managed_identity_client_id": connection.client_id}
        credential = DefaultAzureCredential(**(options if connection.client_id else {}))
        self._credentials.append(credential)
        return kind(address, credential=credential, **self._options)
