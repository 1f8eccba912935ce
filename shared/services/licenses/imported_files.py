"""Which contents a tenant has imported already (CONTRACTS 2, allowSameFile).

The acceptance of an import writes the hash of its body in the same transaction as its record
(`import_records.file_row`), so no content is known without its import, and no import without its
content.
"""

from __future__ import annotations

import hashlib

from shared.errors import ConflictError
from shared.imports.licenses.definition import LICENSES
from shared.services.import_log import ImportLog
from shared.services.offload import to_thread_if_large


class ImportedFiles:
    """Finds the imports of a content."""

    def __init__(self, imports: ImportLog) -> None:
        self._imports = imports

    async def check(self, tenant: str, body_sha256: str, import_id: str = "") -> None:
        """Raise ConflictError where another import of the content runs or ended without errors.

        `import_id` is that of the call itself: it may come again, and meet what it has accepted.
        """
        async for other in self._imports.sent_as(tenant, LICENSES.name, body_sha256):
            is_good = other.is_open or not (other.counts.failed or other.results_expired_at)
            if is_good and other.import_id != import_id:
                raise ConflictError(
                    f"The same content was imported before, as import {other.import_id}: change "
                    "it, or send it with allowSameFile=true."
                )


async def hash_of(body: bytes) -> str:
    """What is compared: the bytes as they were sent, whatever is to be done with them."""
    return await to_thread_if_large(len(body), _sha256, body)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
