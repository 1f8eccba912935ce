"""What a row of a workers import does to the worker it speaks of (CONTRACTS 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.imports.definition import Decision, Document, Options, ReadRow, RowKey, Rules
from shared.imports.merging import decide_merge
from shared.imports.messages import Message
from shared.imports.reading import read_key, read_row
from shared.imports.schema import schema_of
from shared.imports.workers.model import Worker
from shared.imports.workers.plausibility import implausible

KEY_FIELDS: Final = ("EmployerRef", "PersonnelRef")
ALREADY_EXISTS: Final = 10000
CONTRADICTION: Final = 2002
COLUMNS: Final = (
    "EmployerRef",
    "PersonnelRef",
    "Surname",
    "FirstForename",
    "ExternalWorkerRef",
)
"""What people search by, and a document finds its worker by."""
MAX_COLUMN: Final = 255
"""Characters of a column: it is there to be searched, the document has the whole value."""


def identify(row: Mapping[str, Any]) -> RowKey | None:
    """The worker that a row with lower-cased names speaks of."""
    return read_key(row, "employerref", "personnelref")


def read(index: int, row: Mapping[str, Any]) -> ReadRow:
    """The row's values and faults."""
    return read_row(index, row, Worker, KEY_FIELDS)


def decide(row: ReadRow, stored: Document | None, options: Options) -> Decision:
    """New, updated or unchanged; or failed with 1001 (no Surname) or 10000 (exists already)."""
    exists = Message(ALREADY_EXISTS, "PersonnelRef", row.key[1])
    return decide_merge(row, stored, options, model=Worker, exists=exists, review=_review)


def _review(sent: Document, merged: Document) -> Iterator[Message]:
    if "LeavingDate" in sent or "StartDate" in sent:
        start, leaving = merged.get("StartDate"), merged.get("LeavingDate")
        if start is not None and leaving is not None and leaving < start:
            yield Message(CONTRADICTION, "LeavingDate", detail="it is before StartDate")
    yield from implausible(sent)


def columns(document: Document) -> dict[str, str]:
    """The columns of a worker's entity; control characters in them become blanks."""
    return {name: _searchable(document[name][:MAX_COLUMN]) for name in COLUMNS if name in document}


def _searchable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def lookups(document: Document) -> tuple[str, ...]:
    """The external reference, where it is another than the worker's own."""
    external = document.get("ExternalWorkerRef")
    return () if external is None or external == document["PersonnelRef"] else (external,)


def json_schema() -> dict[str, Any]:
    """The schema of one worker in the body of a call."""
    return schema_of(Worker, "Workers v1")


RULES = Rules(
    key_fields=KEY_FIELDS,
    record_id_fields=KEY_FIELDS,
    identify=identify,
    read=read,
    decide=decide,
    columns=columns,
    lookups=lookups,
    json_schema=json_schema,
)
