"""The documents of a license, from the row to storage (docs/contracts.md#2).

A document's identity in its license is (name, documentTypeCode); of equal ones the last is used.
The license stores everything of a document but its bytes, which are in a blob:

    {"name", "sourcePath", "mimeType", "documentTypeCode", "sha256", "length", "blob"}

A blob belongs to one document and one import. The same bytes sent again keep their blob; other
bytes (or another media type, which is in the blob's metadata) get a new one. So removing an old
blob can never remove one that is in use again.
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

DESCRIPTION_FIELDS: Final = ("name", "sourcePath", "mimeType", "documentTypeCode")
# Fields of a document that are in its blob's metadata.
BLOB_METADATA_FIELDS: Final = ("name", "documentTypeCode", "mimeType")
# Characters of one value; a blob has room for 8 KiB of metadata.
_MAX_METADATA_LENGTH: Final = 2_000
_CONTENT_FIELDS: Final = ("sha256", "length", "blob")
# Identifies the stored content in a row that has no content.
DIGEST: Final = "sha256"
# What is returned of a stored document: what a row may contain of it except the content.
EXPORTED_FIELDS: Final = (*DESCRIPTION_FIELDS, DIGEST)


@dataclass(frozen=True, slots=True)
class MergedAttachments:
    """The documents of a license after a row, and the new bytes by blob name."""

    documents: list[Document]
    contents: dict[str, bytes]


def merge_attachments(
    sent: Iterable[Document], stored: Sequence[Document], *, keeps: bool, blob: Callable[[str], str]
) -> MergedAttachments:
    """Replace the stored documents by the sent ones, or (`keeps`) merge them.

    A sent document without content keeps the stored content of its identity with `keeps`, or if it
    has the digest of that content, so what was read back can be sent again unchanged. `blob`
    returns the name of a blob for a digest of the document.
    """
    by_identity = {_identity(document): document for document in stored}
    result = dict(by_identity) if keeps else {}
    contents: dict[str, bytes] = {}
    for document in sent:
        identity = _identity(document)
        stored_document = by_identity.get(identity, {})
        description: Document = {
            name: document[name] for name in DESCRIPTION_FIELDS if name in document
        }
        if "content" in document:
            data = binascii.a2b_base64(document["content"])
            content_fields = _bytes_of(data, description, stored_document, blob)
            contents[content_fields["blob"]] = data
        else:
            keeps_content = keeps or document.get(DIGEST, "") == stored_document.get(DIGEST)
            content_fields = {
                name: stored_document[name]
                for name in _CONTENT_FIELDS
                if keeps_content and name in stored_document
            }
        result[identity] = description | content_fields
    in_use = blobs_of(result.values()) - blobs_of(stored)
    return MergedAttachments(list(result.values()), {name: contents[name] for name in in_use})


def blob_metadata(document: Document, license_key: str) -> dict[str, str]:
    """The metadata of a document's blob, percent-encoded because metadata are ASCII.

    They do not change with the license later.
    """
    fields = {name.lower(): document[name] for name in BLOB_METADATA_FIELDS if name in document}
    return {name: _encoded(text) for name, text in fields.items()} | {"licensekey": license_key}


def _encoded(text: str) -> str:
    """The percent-encoded text, cut to the limit between characters."""
    encoded: list[str] = []
    remaining = _MAX_METADATA_LENGTH
    for character in text[:_MAX_METADATA_LENGTH]:
        quoted = quote(character, safe="")
        remaining -= len(quoted)
        if remaining < 0:
            break
        encoded.append(quoted)
    return "".join(encoded)


def blobs_of(documents: Iterable[Document]) -> set[str]:
    """The names of the documents' blobs."""
    return {document["blob"] for document in documents if "blob" in document}


def without_blobs(license_: Document | None) -> Document | None:
    """The license without the names of its blobs, which callers do not see."""
    if license_ is None or "documents" not in license_:
        return license_
    documents = [
        {name: value for name, value in document.items() if name != "blob"}
        for document in license_["documents"]
    ]
    return {**license_, "documents": documents}


def exported_documents(documents: Iterable[Document]) -> list[Document]:
    """Stored documents as a row may send them, without their content."""
    return [
        {name: document[name] for name in EXPORTED_FIELDS if name in document}
        for document in documents
    ]


def content_bytes(documents: object) -> int:
    """About the size of the largest document in a row's value, which may be anything."""
    if not isinstance(documents, list):
        return 0
    # Blanks and padding of base64 are not digits; four digits are three bytes.
    lengths = [
        (len(value) - sum(map(value.count, (*" \t\r\n", "=")))) * 3 // 4
        for document in documents
        if isinstance(document, dict)
        for name, value in document.items()
        if name.lower() == "content" and isinstance(value, str)
    ]
    return max(lengths, default=0)


def _bytes_of(
    data: bytes, description: Document, stored_document: Document, blob: Callable[[str], str]
) -> Document:
    digest = hashlib.sha256(data).hexdigest()
    if stored_document.get("sha256") == digest and stored_document.get(
        "mimeType"
    ) == description.get("mimeType"):
        return {name: stored_document[name] for name in _CONTENT_FIELDS}
    identity_text = json.dumps([description.get(name) for name in BLOB_METADATA_FIELDS] + [digest])
    name = blob(hashlib.sha256(identity_text.encode()).hexdigest())
    return {"sha256": digest, "length": len(data), "blob": name}


def _identity(document: Document) -> tuple[str | None, str | None]:
    return document.get("name"), document.get("documentTypeCode")
