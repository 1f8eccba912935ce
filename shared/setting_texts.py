"""Reading those settings that are texts: addresses, GUIDs, lists of names.

Each reader returns the text in its one form, None where it is wrong; no problem quotes it whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

PLATFORM_HOST = "WEBSITE_HOSTNAME"
"""Set by the platform to the app's own host name, and by Core Tools to `localhost` and the port."""
DEFAULT_ADDRESS = "http://localhost:7071"
"""Where `func start` and the local host answer by default."""

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,200}")
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")  # noqa: S104 (only compared)


def read_address(text: str) -> str | None:
    """An http or https address without query and without a slash at its end."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc)
    except ValueError:
        return None
    if not is_address or parts.query or parts.fragment or re.search(r"[\s?#]", text):
        return None
    return text.rstrip("/")


def read_secure_address(text: str) -> str | None:
    """The same, https only."""
    return read_address(text) if text.lower().startswith("https://") else None


def read_guid(text: str) -> str | None:
    """A GUID in lower case."""
    return text.lower() if _GUID.fullmatch(text) else None


def read_names(text: str) -> tuple[str, ...] | None:
    """Names with commas between them; at least one."""
    names = tuple(name.strip() for name in text.split(","))
    return names if all(_NAME.fullmatch(name) for name in names) else None


def own_address(environ: Mapping[str, str]) -> str:
    """Where the gateway is reached, as far as the platform tells."""
    host = environ.get(PLATFORM_HOST, "").strip()
    if not _HOST.fullmatch(host):
        return DEFAULT_ADDRESS
    is_local = host.rpartition(":")[0] in _LOCAL_HOSTS or host in _LOCAL_HOSTS
    return f"http://{host}" if is_local else f"https://{host}"
