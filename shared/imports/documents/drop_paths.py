"""Paths of dropped files: `{tenantId}/{round}/{worker}/{file}`, percent-encoded (CONTRACTS 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_PARTS = ("tenant", "round", "worker", "file name")
_SEGMENTS = len(_PARTS)
_TENANT = re.compile(r"[a-z0-9-]{3,40}")
_UNLISTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Controls, and what XML 1.0 does not know: the list of a container is XML."""
_MOST_SEGMENTS = 200
"""Of a rejected blob's path; a name may have 254 in all."""
_LONGEST_PATH = 980
"""Characters of a rejected blob's path, so that the import id fits behind it (1,024 in all)."""
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class DropPath:
    """Where a dropped file is meant to go."""

    tenant: str
    round_code: str
    worker_ref: str
    file_name: str


def names_a_tenant(name: str) -> bool:
    """Whether a blob's name has as many parts as a path, so that its first one is a tenant."""
    return name.count("/") == _SEGMENTS - 1


def plain_name(name: str) -> str:
    """A blob's name for a log line or a terminal: blanks and what cannot be seen are escaped."""
    return "".join(mark if mark.isprintable() and mark != " " else _escape(mark) for mark in name)


def _escape(mark: str) -> str:
    code = ord(mark)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def rejected_path(name: str, import_id: str) -> str:
    """Where a rejected blob of this name goes: behind the same path, by the id of its import.

    A name that would be too long, or have too many segments, with the id behind it is shortened.
    Marks that break the listing of a container are percent-encoded.
    """
    path = _UNLISTABLE.sub(lambda found: quote(found[0], errors="surrogatepass"), name)
    *segments, rest = path.split("/", _MOST_SEGMENTS)
    path = "/".join([*segments, rest.replace("/", "%2F")])
    return f"{path[:_LONGEST_PATH]}/{import_id}"


def tenant_of(name: str) -> str | None:
    """The tenant that a blob's name begins with; None where it cannot be one."""
    tenant = name.partition("/")[0]
    return tenant if _TENANT.fullmatch(tenant) else None


def read_path(name: str) -> DropPath | None:
    """The path that a blob's name is; None where it is none."""
    if path_fault(name):
        return None
    tenant, *encoded = name.split("/")
    round_code, worker_ref, file_name = (_decoded(segment) or "" for segment in encoded)
    return DropPath(tenant, round_code, worker_ref, file_name)


def path_fault(name: str) -> str:
    """Why a blob's name is no path, and what to do about it; "" for one that is."""
    segments = name.split("/")
    if len(segments) != _SEGMENTS:
        return (
            f"it has {len(segments)} parts and {_SEGMENTS} are expected; percent-encode a slash "
            "within a part as %2F"
        )
    for part, segment in zip(_PARTS[1:], segments[1:], strict=True):
        if not segment:
            return f"its {part} is empty; name it"
        if not _ENCODED.fullmatch(segment):
            return f"its {part} has a percent sign that encodes nothing; write it as %25"
        if _decoded(segment) is None:
            return f"its {part} is not UTF-8 once it is decoded; encode it in UTF-8"
    return "" if tenant_of(name) else "its tenant is no id of a tenant; correct it"


def _decoded(segment: str) -> str | None:
    """Percent-encoding undone; None where it is broken or not UTF-8."""
    if not _ENCODED.fullmatch(segment):
        return None
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
