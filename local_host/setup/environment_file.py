"""The file of `dev.py run --env FILE`: what a test of any language needs to reach the gateway.

It has lines `NAME=value` that a shell, `node --env-file` and the usual libraries read. It is
complete when it appears, and removed when the gateway ends.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from local_host.setup.data_folder import RunningGateway
from local_host.setup.messages import SetupError

_PREFIX = "GATEWAY_"
_SECONDS = 60.0


def prepare_environment_file(path: Path) -> None:
    """Remove the file of an earlier gateway, so that a test can wait for the new one.

    Raises SetupError for a file with anything else in it, and where no file can be written.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"--env cannot replace {path}: {error}") from error
    if not all(line.startswith(_PREFIX) for line in text.splitlines()):
        raise SetupError(
            f"{path} has lines that no gateway wrote. Name another file with --env: it is "
            "replaced now and removed when the gateway ends."
        )
    try:
        path.unlink(missing_ok=True)
        _draft(path).write_text("", "utf-8")
        _draft(path).unlink()
    except OSError as error:
        raise SetupError(f"--env cannot write {path}: {error.strerror}.") from error


@contextmanager
def environment_file(path: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Have these variables in the file for the time of the block; only the user may read it."""
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    draft = _draft(path)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
    try:
        yield
    finally:
        # Another gateway may have been started with the same file.
        with suppress(OSError, UnicodeDecodeError):
            if path.read_text("utf-8") == text:
                path.unlink()


def variables_of(gateway: RunningGateway) -> dict[str, str]:
    """The variables of the file; makes a tenant for tests. Raises SetupError."""
    tenant = _create_tenant(gateway)
    certificate = {"GATEWAY_CA_FILE": gateway.certificate} if gateway.certificate else {}
    return {
        "GATEWAY_URL": gateway.url,
        "GATEWAY_STANDIN_URL": f"{gateway.url}/_standin",
        "GATEWAY_TOKEN_URL": f"{gateway.url}/connect/token",
        "GATEWAY_TENANT": tenant["tenant"],
        "GATEWAY_FUNCTIONS_KEY": tenant["functionsKey"],
        "GATEWAY_SOFTWARE_KEY": tenant["softwareKey"],
        "GATEWAY_CLIENT_ID": tenant["clientId"],
        "GATEWAY_CLIENT_SECRET": tenant["clientSecret"],
        "GATEWAY_STORAGE": gateway.storage,
        **certificate,
    }


def _create_tenant(gateway: RunningGateway) -> Mapping[str, str]:
    import ssl
    import urllib.request

    request = urllib.request.Request(  # noqa: S310 -- the address is that of our own host
        f"{gateway.url}/_standin/tenants",
        data=b"{}",
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    trust = ssl.create_default_context(cafile=gateway.certificate) if gateway.certificate else None
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=trust) as answer:  # noqa: S310
            tenant: Mapping[str, str] = json.load(answer)
            return tenant
    except (OSError, ValueError) as error:
        raise SetupError(f"The gateway made no tenant for tests: {error}") from error


def _draft(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
