"""The bodies of licenses calls in their three formats, as payloads (CONTRACTS 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import TooLargeError
from shared.imports.licenses.filing import content_bytes
from shared.imports.payload import MAX_ROW_BYTES, Payload, payload_of, read_payload

_DOCUMENTS_OF_A_ROW = 2
"""Documents of the largest size, in base64, that a row in JSON has room for beside its fields."""

Place = Callable[[Mapping[str, Any]], str | None]


class BodyFormat(StrEnum):
    """How the rows of a call are written."""

    JSON = "JSON"
    XML = "XML"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads bodies of one format; a document may have so many bytes."""

    format: BodyFormat
    max_document_bytes: int

    def __call__(self, body: bytes, place: Place, max_rows: int) -> Payload:
        """The payload. Raises InvalidRequestError, UnsupportedPayloadError, TooLargeError."""
        looked_at = self._looking_at_documents(place)
        match self.format:
            case BodyFormat.JSON:
                most = MAX_ROW_BYTES + _DOCUMENTS_OF_A_ROW * self.max_document_bytes * 4 // 3
                return read_payload(body, looked_at, max_rows, most)
            case BodyFormat.XML:
                # lxml is slow to import, and most callers send JSON.
                from shared.imports.licenses.xml_rows import read_license_xml

                return payload_of(read_license_xml(body, max_rows), looked_at)
            case BodyFormat.FORM:
                from shared.imports.licenses.form_rows import read_license_form

                return payload_of(read_license_form(body, max_rows), looked_at)

    def _looking_at_documents(self, place: Place) -> Place:
        def look(row: Mapping[str, Any]) -> str | None:
            size = content_bytes(row.get("documents"))
            if size > self.max_document_bytes:
                raise TooLargeError(
                    f"A document has about {size} bytes and the limit is "
                    f"{self.max_document_bytes}: leave it out, or send a smaller one."
                )
            return place(row)

        return look
