"""Dry runs of documents: what an upload would come to, and nothing is written (CONTRACTS 0, I5)."""

from __future__ import annotations

from shared.errors import NotFoundError
from shared.imports.changes import changed_fields, changes_text
from shared.imports.definition import Document
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.upload import Upload
from shared.imports.outcomes import Outcome
from shared.services.documents.listing import DocumentList
from shared.services.documents.uploads import Documents
from shared.services.documents.work import described
from shared.services.dry_runs import Judgement

NOT_FORETOLD = "00000000-0000-0000-0000-000000000000"
"""In place of an id that only a run would make."""


class DocumentTrials:
    """Judges uploads by the code that takes them in."""

    def __init__(self, documents: Documents, reading: DocumentList) -> None:
        self._documents = documents
        self._reading = reading

    async def judge(self, tenant: str, upload: Upload) -> Judgement:
        """What the import of an upload would come to, and what it would change."""
        placed = await self._documents.place(tenant, upload)
        if placed.fault is not None:
            return Judgement((placed.result(Outcome.FAILED, None, placed.fault),))
        stored = await self._stored(tenant, placed)
        changes = changed_fields(stored, described(placed), DOCUMENTS.rules.is_sensitive)
        outcome = Outcome.NEW if stored is None else Outcome.UPDATED
        document_id = NOT_FORETOLD if stored is None else placed.document_id(tenant)
        return Judgement((placed.result(outcome, document_id),), {0: changes_text(changes)})

    async def _stored(self, tenant: str, placed: Upload) -> Document | None:
        try:
            found = await self._reading.find(tenant, placed.document_id(tenant))
        except NotFoundError:
            return None
        return {name: found[name] for name in described(placed)}
