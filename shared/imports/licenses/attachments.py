"""The documents of a license: from what a row sends to what is stored of them.

See docs/contracts.md#2.

A document's identity in its license is (name, documentTypeCode); of equal ones the last counts.
What is stored of a document is everything but its bytes, which lie in a blob:

    {"name", "sourcePath", "mimeType", "documentTypeCode", "sha256", "length", "blob"}

A blob belongs to one document and one import: the same bytes brought again keep the blob that is
there, other bytes (or a media type, which the blob's metadata tell) get a new one, so that removing
an old blob can never hit one that is in use again.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from shared.imports.import_type import Document

DESCRIBED: Final = ("name", "sourcePath", "mimeType", "documentTypeCode")
# What a blob's metadata say of the document whose bytes it holds.
TOLD_BY_BLOB: Final = ("name", "documentTypeCode", "mimeType")
# Characters of one value: a blob has room for 8 KiB of metadata in all.
_MOST_METADATA: Final = 2_000
_BYTES: Final = ("sha256", "length", "blob")


@dataclass(frozen=True, slots=True)
class Filed:
    """What a license has after a row: its documents, and the bytes that are new, by blob name."""

    documents: list[Document]
    contents: dict[str, bytes]


def merge_attachments(
    sent: Iterable[Document], stored: Sequence[Document], *, keeps: bool, blob: Callable[[str], str]
) -> Filed:
    """Put the sent documents in place of the stored ones, or (`keeps`) among them.

    A sent document without content keeps that of the stored one of its identity, if `keeps`.
    `blob` gives the name of a blob by a digest of the document.
    """
    by_identity = {_identity(document): document for document in stored}
    result = dict(by_identity) if keeps else {}
    contents: dict[str, bytes] = {}
    for document in sent:
        identity = _identity(document)
        before = by_identity.get(identity, {})
        described: Document = {name: document[name] for name in DESCRIBED if name in document}
        if "content" in document:
            data = binascii.a2b_base64(document["content"])
            found = _bytes_of(data, described, before, blob)
            contents[found["blob"]] = data
        else:
            found = {name: before[name] for name in _BYTES if keeps and name in before}
        result[identity] = described | found
    in_use = blobs_of(result.values()) - blobs_of(stored)
    return Filed(list(result.values()), {name: contents[name] for name in in_use})


def blob_metadata(document: Document, license_key: str) -> dict[str, str]:
    """What the blob of a stored document says of itself, percent-encoded: metadata are ASCII.

    As it was when the bytes came; the license itself tells how it is now.
    """
    told = {name.lower(): document[name] for name in TOLD_BY_BLOB if name in document}
    return {name: _encoded(text) for name, text in told.items()} | {"licensekey": license_key}


def _encoded(text: str) -> str:
    """As much of the text as there is room for; never a part of a character."""
    encoded: list[str] = []
    room = _MOST_METADATA
    for character in text[:_MOST_METADATA]:
        item = quote(character, safe="")
        room -= len(item)
        if room < 0:
            break
        encoded.append(item)
    return "".join(encoded)


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
        _decoded_length(value)
        for document in documents
        if isinstance(document, dict)
        for name, value in document.items()
        if name.lower() == "content" and isinstance(value, str)
    ]
    return max(lengths, default=0)


def _decoded_length(content: str) -> int:
    """The bytes that base64 stands for, whatever blanks are in it; about, where it is none."""
    digits = len(content) - sum(map(content.count, (*" \t\r\n", "=")))
    return digits * 3 // 4


def _bytes_of(
    data: bytes, described: Document, before: Document, blob: Callable[[str], str]
) -> Document:
    digest = hashlib.sha256(data).hexdigest()
    if before.get("sha256") == digest and before.get("mimeType") == described.get("mimeType"):
        return {name: before[name] for name in _BYTES}
    own = json.dumps([described.get(name) for name in TOLD_BY_BLOB] + [digest])
    name = blob(hashlib.sha256(own.encode()).hexdigest())
    return {"sha256": digest, "length": len(data), "blob": name}


def _identity(document: Document) -> tuple[str | None, str | None]:
    return document.get("name"), document.get("documentTypeCode")
