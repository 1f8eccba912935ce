"""The page of `/api/docs`: Swagger UI from its npm package, served by the gateway.

Its two files are kept as the package has them (`shared/web/swagger_ui`), so the page works without
any other address, and its policy tells the browser so. Styles that React sets one by one do not
count as inline styles, so the policy needs no exception for them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from shared.web.static_files import StaticFile

FOLDER: Final = Path(__file__).resolve().parent.parent / "swagger_ui"
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
_PACKAGED: Final = ("swagger-ui-bundle.js", "swagger-ui.css")


@cache
def page() -> StaticFile:
    """The page itself."""
    return StaticFile.of("page.html", PAGE.encode())


def page_file(name: str) -> StaticFile | None:
    """The file of that name, None where the page has none."""
    return _read(name) if name == "start.js" or name in _PACKAGED else None


@cache
def _read(name: str) -> StaticFile:
    content = START.encode() if name == "start.js" else (FOLDER / name).read_bytes()
    return StaticFile.of(name, content)
