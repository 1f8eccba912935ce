"""The import type of documents: one document per call or drop, without queues and JSON schema.

The call or the blob trigger processes it; where that dies, the sweep does.
"""

from __future__ import annotations

from shared.imports.import_type import ImportType, Rules

KEY_FIELDS = ("workerexternalId", "communicationRoundCode", "fileName", "documentId")
# The fields in failed-rows; the gateway has added the other fields of a row itself.
_SHOWN_FIELDS = (*KEY_FIELDS[:3], "generationTime", "size")


def _load_rules() -> Rules:
    return Rules(
        key_fields=KEY_FIELDS,
        record_id_fields=KEY_FIELDS,
        identify=lambda _row: None,
        json_schema=dict,
        is_sensitive=lambda _path: False,
        shown=lambda row: {name: row[name] for name in _SHOWN_FIELDS if row.get(name)},
    )


DOCUMENTS = ImportType(
    name="documents",
    version=1,
    table="Documents",
    load_rules=_load_rules,
    has_queues=False,
    keeps_rows=False,
    has_schema=False,
    scope="import_inbox",
)
