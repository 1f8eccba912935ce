"""The import type of documents: one document per call or drop, without queues and JSON schema.

The call or the blob trigger processes it; where that dies, the sweep does.
"""

from __future__ import annotations

from shared.imports.documents.messages import DOCUMENT_MESSAGES
from shared.imports.import_type import Contract, ImportType, Rules
from shared.imports.workers.definition import WORKERS


def _load_rules() -> Rules:
    """The rules, imported when they are needed."""
    from shared.imports.documents.rules import RULES

    return RULES


DOCUMENTS = ImportType(
    name="documents",
    version=1,
    table="Documents",
    load_rules=_load_rules,
    contract=Contract("Pay Suite"),
    messages=DOCUMENT_MESSAGES,
    belongs_to=(WORKERS.name,),
    has_queues=False,
    keeps_rows=False,
    undo_covers_tenant=True,
    has_schema=False,
    scope="import_inbox",
)
