"""Paths of dropped files: `{tenantId}/{round}/{worker}/{file}`, percent-encoded (CONTRACTS 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_SEGMENTS = 4
_TENANT = re.compile(r"[a-z0-9-]{3,40}")
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class DropPath:
    """Where a dropped file is meant to go."""

    tenant: str
    round_code: str
    worker_ref: str
    file_name: str


def tenant_of(name: str) -> str | None:
    """The tenant that a blob's name begins with; None where it cannot be one."""
    tenant = name.partition("/")[0]
    return tenant if _TENANT.fullmatch(tenant) else None


def read_path(name: str) -> DropPath | None:
    """The path that a blob's name is; None where it is none."""
    segments = name.split("/")
    tenant = tenant_of(name)
    if tenant is None or len(segments) != _SEGMENTS:
        return None
    decoded = [_decoded(segment) for segment in segments[1:]]
    if any(not text for text in decoded):
        return None
    round_code, worker_ref, file_name = (text or "" for text in decoded)
    return DropPath(tenant, round_code, worker_ref, file_name)


def _decoded(segment: str) -> str | None:
    """Percent-encoding undone; None where it is broken or not UTF-8."""
    if not _ENCODED.fullmatch(segment):
        return None
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
