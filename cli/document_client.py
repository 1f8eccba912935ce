"""Sending a document to a running gateway, block by block; with the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cli.calls import Answer, CallFailedError, call
from cli.upload_form import UploadForm


def _ignore_progress(_sent: int) -> None:
    """Nobody watches."""


def post_document(
    url: str,
    credentials: Mapping[str, str],
    file: Path,
    fields: Mapping[str, str],
    sent: Callable[[int], None] = _ignore_progress,
) -> Answer:
    """Send a file; `sent` is told how many of its bytes went. Raises CallFailedError."""
    with file.open("rb") as content:
        form = UploadForm(fields, file.name, content, file.stat().st_size, sent)
        headers = {
            **credentials,
            "Content-Type": form.media_type,
            "Content-Length": str(form.size),
        }
        return call("POST", f"{url.rstrip('/')}/api/import/documents", headers, form)


def send_document(
    url: str,
    credentials: Mapping[str, str],
    file: Path,
    fields: Mapping[str, str],
    sent: Callable[[int], None] = _ignore_progress,
) -> dict[str, Any]:
    """The same, and what became of the document. Raises CallFailedError for a refusal too."""
    answer = post_document(url, credentials, file, fields, sent)
    if answer.status != 200:
        raise CallFailedError(answer.refusal)
    [item] = answer.document["items"]
    return dict(item)
