"""The storage account of the gateway: one connection string, or addresses and an identity.

These names are separate from `shared.settings` because the platform defines them: the host reads
`AzureWebJobsStorage` too, and a connection string takes precedence over the
`AzureWebJobsStorage__…` parts (docs/platform.md#6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CONNECTION = "AzureWebJobsStorage"
DEVELOPMENT = "UseDevelopmentStorage=true"

# Suffixes of `AzureWebJobsStorage__` for an account that is accessed by identity.
PARTS = {
    "blobServiceUri": "Address of the blob service, for example `https://ACCOUNT.blob.core.windows.net`.",
    "queueServiceUri": "Address of the queue service.",
    "tableServiceUri": "Address of the table service.",
    "accountName": "Instead of the three addresses: the account's name in the public Azure cloud.",
    "credential": "`managedidentity`, or left out for the identity of the surroundings.",
    "clientId": "Client id of a user-assigned managed identity.",
}

_SERVICES = ("blob", "queue", "table")
_EMULATOR_ACCOUNT = "devstoreaccount1"
# The published account key of the storage emulator. It is the same on every machine, and no secret.
_EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_EMULATOR_PORTS = {"blob": 10000, "queue": 10001, "table": 10002}


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """Either a `connection_string`, or three service addresses.

    With addresses, `credential` is `managedidentity` (then `client_id` may name a user-assigned
    identity), or empty for the default chain of credentials.
    """

    connection_string: str = field(default="", repr=False)
    blob_service_uri: str = ""
    queue_service_uri: str = ""
    table_service_uri: str = ""
    credential: str = ""
    client_id: str = ""

    @property
    def uses_identity(self) -> bool:
        """Whether the account is accessed by identity instead of a connection string."""
        return not self.connection_string


def read_storage_account(environ: Mapping[str, str], problems: list[str]) -> StorageAccount:
    """Read the account from the environment. Errors are appended to `problems`.

    No problem quotes a connection string, since it contains the account's key.
    """
    connection = environ.get(CONNECTION, "").strip()
    if connection:
        return StorageAccount(connection_string=_read_connection(connection, problems))
    parts = {name: environ.get(f"{CONNECTION}__{name}", "").strip() for name in PARTS}
    if not any(parts.values()):
        problems.append(
            f"{CONNECTION} is missing: set a connection string, {DEVELOPMENT} for the emulator, "
            f"or {CONNECTION}__accountName for an account that is reached by identity."
        )
        return StorageAccount()
    account = parts["accountName"]
    addresses = {}
    for service in _SERVICES:
        default = f"https://{account}.{service}.core.windows.net" if account else ""
        address = parts[f"{service}ServiceUri"] or default
        addresses[f"{service}_service_uri"] = address.rstrip("/")
        problems.extend(_find_address_problems(f"{CONNECTION}__{service}ServiceUri", address))
    credential = parts["credential"].lower()
    if credential not in ("", "managedidentity"):
        problems.append(f"{CONNECTION}__credential must be managedidentity or left out.")
    if parts["clientId"] and not credential:
        problems.append(f"{CONNECTION}__clientId needs {CONNECTION}__credential=managedidentity.")
    return StorageAccount(**addresses, credential=credential, client_id=parts["clientId"])


def _read_connection(connection: str, problems: list[str]) -> str:
    if connection.lower().rstrip(";") == DEVELOPMENT.lower():
        return emulator_connection_string()
    if connection.startswith("@Microsoft.KeyVault("):
        problems.append(
            f"{CONNECTION} is a Key Vault reference that the platform did not resolve: check the "
            "secret's address and that the app's identity may read it."
        )
        return connection
    names = {part.partition("=")[0].strip().lower() for part in connection.split(";") if part}
    has_account = {"accountname", "accountkey"} <= names
    if not has_account and "sharedaccesssignature" not in names:
        problems.append(
            f"{CONNECTION} is no connection string: it needs AccountName and AccountKey, or "
            f"SharedAccessSignature, or must be {DEVELOPMENT}."
        )
    return connection


def _find_address_problems(name: str, address: str) -> list[str]:
    if not address:
        return [f"{name} is missing: an account reached by identity needs all three addresses."]
    if not address.startswith("https://"):
        return [f"{name} must begin with https://, since identities are not sent in the clear."]
    return []


def emulator_connection_string(
    host: str = "127.0.0.1", ports: Mapping[str, int] = _EMULATOR_PORTS
) -> str:
    """The full connection string of a storage emulator.

    `host` must not be `localhost`: the tables SDK takes `localhost` with a port for another product
    (docs/platform.md#tables).
    """
    endpoints = "".join(
        f"{service.capitalize()}Endpoint=http://{host}:{ports[service]}/{_EMULATOR_ACCOUNT};"
        for service in _SERVICES
    )
    account = f"AccountName={_EMULATOR_ACCOUNT};AccountKey={_EMULATOR_KEY};"
    return f"DefaultEndpointsProtocol=http;{account}{endpoints}"
