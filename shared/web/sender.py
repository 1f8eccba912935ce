"""The sender of a call that makes an import (docs/contracts.md#8).

The name of the file comes from `Content-Disposition: attachment; filename="…"` (RFC 6266), which an
HTTP client may send with any body. A header that cannot be read is ignored.
"""

from __future__ import annotations

from typing import Final

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.auth.callers import AnyCaller
from shared.gateway import Gateway
from shared.imports.sender import Sender, source_name

CONTENT_DISPOSITION: Final = "Content-Disposition"
_LONGEST_HEADER: Final = 4_096


async def sender_of(gateway: Gateway, caller: AnyCaller, req: func.HttpRequest) -> Sender:
    """The sender of a call whose whole body is the content of the import.

    The hash has a key, so that nobody can guess rows from it. Raises StorageUnavailableError if the
    key cannot be read.
    """
    body = req.get_body()
    body_hash = await gateway.fingerprint_keys.body_hash(body) if body else ""
    return Sender(caller.named, _file_name(req), body_hash)


def _file_name(req: func.HttpRequest) -> str:
    header = req.headers.get(CONTENT_DISPOSITION, "")
    if not header or len(header) > _LONGEST_HEADER:
        return ""
    _, options = parse_options_header(_as_utf8(header))
    return source_name(options.get("filename", ""))


def _as_utf8(header: str) -> str:
    """The header decoded as UTF-8, since the host decodes its bytes as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
