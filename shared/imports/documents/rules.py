"""The rules of documents: what `failed-rows` shows. The services decide on a document itself."""

from __future__ import annotations

from shared.imports.import_type import Rules

KEY_FIELDS = ("workerexternalId", "communicationRoundCode", "fileName", "documentId")
# The fields in failed-rows; the gateway has added the other fields of a row itself.
_SHOWN_FIELDS = (*KEY_FIELDS[:3], "generationTime", "size")

RULES = Rules(
    key_fields=KEY_FIELDS,
    record_id_fields=KEY_FIELDS,
    identify=lambda _row: None,
    json_schema=dict,
    is_sensitive=lambda _path: False,
    shown=lambda row: {name: row[name] for name in _SHOWN_FIELDS if row.get(name)},
)
