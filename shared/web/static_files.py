"""Files of the gateway's own pages, `/api/docs` and `/console`, and the policy of these pages.

The policy tells the browser that scripts, styles and calls come from the gateway itself, that
nothing is inline, and that there are no frames.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import azure.functions as func

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Browsers revalidate files by their ETag, so that a new version of the gateway is seen immediately.
REVALIDATED: Final = {"Cache-Control": "no-cache"}
PAGE_HEADERS: Final = {
    **REVALIDATED,
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MEDIA_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file, also compressed, with the tag that changes with its content."""

    media_type: str
    content: bytes
    compressed: bytes
    tag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> StaticFile:
        """The file with that content; its name says its media type."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        compressed = gzip.compress(content, 6, mtime=0)
        return cls(MEDIA_TYPES[Path(name).suffix], content, compressed, tag)

    def answer(self, req: func.HttpRequest) -> func.HttpResponse:
        """The file, compressed if the browser accepts that; 304 if it has a current copy."""
        headers = {**PAGE_HEADERS, "ETag": self.tag, "Vary": "Accept-Encoding"}
        if self.tag in req.headers.get("If-None-Match", ""):
            return func.HttpResponse(status_code=304, headers=headers)
        if "gzip" in req.headers.get("Accept-Encoding", "").lower():
            headers["Content-Encoding"] = "gzip"
            return func.HttpResponse(self.compressed, headers=headers, mimetype=self.media_type)
        return func.HttpResponse(self.content, headers=headers, mimetype=self.media_type)
