"""The page of `/api/docs`: Swagger UI from its npm package, served by the gateway.

Its two files are kept as the package has them (`shared/web/swagger_ui`), so the page works without
any other address. The policy tells the browser so: scripts, styles and calls come from the gateway
itself, nothing is inline, and there are no frames. Styles that React sets one by one do not count
as inline styles, so the policy needs no exception for them.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "swagger_ui"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Payroll Import Gateway</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
</head>
<body>
<div id="contract"></div>
<noscript>This page needs JavaScript; the document itself is at /api/openapi.json.</noscript>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""
START: Final = """SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#contract",
  validatorUrl: null,
  queryConfigEnabled: false,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list"
});
"""
_PACKAGED: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page, also compressed, with the tag that changes with its content."""

    media_type: str
    content: bytes
    compressed: bytes
    tag: str


def page_file(name: str) -> PageFile | None:
    """The file of that name, None where the page has none."""
    return _read(name) if name == "start.js" or name in _PACKAGED else None


@cache
def _read(name: str) -> PageFile:
    content = START.encode() if name == "start.js" else (FOLDER / name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    media_type = _PACKAGED.get(name, "text/javascript")
    return PageFile(media_type, content, gzip.compress(content, 6, mtime=0), tag)
