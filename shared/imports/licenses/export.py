"""The licenses of a division or of an employee, for Viventium's export (docs/contracts.md#2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from shared import log
from shared.errors import TooLargeError, UnreadableDataError
from shared.imports.import_type import Document
from shared.imports.licenses.attachments import exported_documents
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.model import Employee
from shared.imports.licenses.store import division_rows, employee_rows, license_from_entity
from shared.imports.results import MAX_FULL_ANSWER
from shared.services.background import Offload
from shared.storage.business_records import partition_of
from shared.storage.entities import join_text
from shared.storage.ports import Entity, Tables, query_pages

_READ_AT_ONCE: Final = 1_000
_BYTES_PER_LICENSE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Holder:
    """The employee whose licenses are exported, or without a number the whole division."""

    company: str
    division: str
    number: str | None = None

    @property
    def rows(self) -> str:
        """The prefix of the row keys of the licenses."""
        if self.number is None:
            return division_rows(self.division)
        return employee_rows(Employee(self.division, self.number))


class LicenseExport:
    """Reads stored licenses, at most `most` for one answer."""

    def __init__(self, tables: Tables, offload: Offload, most: int) -> None:
        self._tables = tables
        self._offload = offload
        self._most = most

    async def licenses(self, tenant: str, holder: Holder) -> list[Document]:
        """The licenses in order of employee and key, their documents without content.

        Raises TooLargeError if there are too many for one answer.
        """
        documents: list[Document] = []
        room = MAX_FULL_ANSWER
        async for page in query_pages(
            self._tables,
            LICENSES.table,
            partition_of(tenant, holder.company),
            holder.rows,
            f"{holder.rows}~",
            most=_READ_AT_ONCE,
        ):
            room -= sum(len(join_text("Document", entity.values)) for entity in page)
            documents += await self._offload(_BYTES_PER_LICENSE * len(page), _documents, page)
            if len(documents) > self._most or room < 0:
                raise TooLargeError(
                    f"There are more licenses than one answer holds ({self._most}, or "
                    f"{MAX_FULL_ANSWER} characters): ask for one employee, or read them in pages "
                    "from /api/records/licenses?companyCode=…"
                )
        return documents


def _documents(entities: list[Entity]) -> list[Document]:
    """The licenses of these entities. An unreadable one is logged and left out."""
    licenses: list[Document] = []
    for entity in entities:
        try:
            document = license_from_entity(entity).document
        except UnreadableDataError as error:
            log.failure("license.unreadable", error)
            continue
        if document is not None:
            licenses.append(_without_content(document))
    return licenses


def _without_content(document: dict[str, Any]) -> Document:
    exported = {**document, "serializableLicenseKey": document["licenseKey"]}
    if "documents" in document:
        exported["documents"] = exported_documents(document["documents"])
    return exported
