"""The documents of a license: from what a row sends to what is stored of them (CONTRACTS 2).

A document's identity in its license is (name, documentTypeCode); of equal ones the last counts.
What is stored of a document is everything but its bytes, which lie in a blob:

    {"name", "sourcePath", "mimeType", "documentTypeCode", "sha256", "length", "blob"}

A blob belongs to one import: the same bytes brought again keep the blob that is there, other bytes
get a new one, so that removing an old blob can never hit one that is in use again.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.imports.definition import Document

DESCRIBED: Final = ("name", "sourcePath", "mimeType", "documentTypeCode")
_BYTES: Final = ("sha256", "length", "blob")


@dataclass(frozen=True, slots=True)
class Filed:
    """What a license has after a row: its documents, and the bytes that are new, by blob name."""

    documents: list[Document]
    contents: dict[str, bytes]


def filed(
    sent: Iterable[Document], stored: Sequence[Document], *, keeps: bool, blob: Callable[[str], str]
) -> Filed:
    """Put the sent documents in place of the stored ones, or (`keeps`) among them.

    A sent document without content keeps that of the stored one of its identity, if `keeps`.
    `blob` gives the name of the blob for bytes of this SHA-256.
    """
    by_identity = {_identity(document): document for document in stored}
    result = dict(by_identity) if keeps else {}
    contents: dict[str, bytes] = {}
    for document in sent:
        identity = _identity(document)
        before = by_identity.get(identity, {})
        described = {name: document[name] for name in DESCRIBED if name in document}
        if "content" in document:
            data = binascii.a2b_base64(document["content"])
            found = _bytes_of(data, before, blob)
            contents[found["blob"]] = data
        else:
            found = {name: before[name] for name in _BYTES if keeps and name in before}
        result[identity] = described | found
    in_use = blobs_of(result.values()) - blobs_of(stored)
    return Filed(list(result.values()), {name: contents[name] for name in in_use})


def blobs_of(documents: Iterable[Document]) -> set[str]:
    """The names of their blobs."""
    return {document["blob"] for document in documents if "blob" in document}


def without_blobs(license_: Document | None) -> Document | None:
    """The license as people are shown it: where its bytes lie is no matter of theirs."""
    if license_ is None or "documents" not in license_:
        return license_
    documents = [
        {name: value for name, value in document.items() if name != "blob"}
        for document in license_["documents"]
    ]
    return {**license_, "documents": documents}


def content_bytes(documents: object) -> int:
    """About the bytes of the largest document among what a row sends, whatever that is."""
    if not isinstance(documents, list):
        return 0
    lengths = [
        len(value)
        for document in documents
        if isinstance(document, dict)
        for name, value in document.items()
        if name.lower() == "content" and isinstance(value, str)
    ]
    return max(lengths, default=0) * 3 // 4


def _bytes_of(data: bytes, before: Document, blob: Callable[[str], str]) -> Document:
    digest = hashlib.sha256(data).hexdigest()
    if before.get("sha256") == digest:
        return {name: before[name] for name in _BYTES}
    return {"sha256": digest, "length": len(data), "blob": blob(digest)}


def _identity(document: Document) -> tuple[str | None, str | None]:
    return document.get("name"), document.get("documentTypeCode")
