"""Refuses content that a tenant has imported before (docs/contracts.md#2, allowSameFile).

The acceptance of an import writes the hash of its body in the same transaction as its record
(`import_records.file_row`), so every import has its hash and every hash its import.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import ConflictError
from shared.imports.licenses.definition import LICENSES
from shared.services.import_log import ImportLog


class ImportedFiles:
    """Finds imports by the hash of their body."""

    def __init__(self, imports: ImportLog) -> None:
        self._imports = imports

    async def check(self, tenant: str, hashes: Sequence[str], import_id: str = "") -> None:
        """Raise ConflictError where another import of the content runs or ended without errors.

        `hashes` are those of the content under each key (`FingerprintKeys`). `import_id` is the id
        of the call itself, which may be repeated and find its own import.
        """
        for content_hash in hashes:
            async for other in self._imports.sent_as(tenant, LICENSES.name, content_hash):
                is_valid = other.is_open or not (other.counts.failed or other.results_expired_at)
                if is_valid and other.import_id != import_id:
                    raise ConflictError(
                        f"The same content was imported before, as import {other.import_id}: "
                        "change it, or send it with allowSameFile=true."
                    )
