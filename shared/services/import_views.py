"""An import, a result and a message in the JSON shapes of docs/contracts.md#5."""

from __future__ import annotations

from typing import Any

from shared.imports.import_type import ImportType
from shared.imports.messages import Message
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.imports.results import RowResult
from shared.services.status import ImportReport
from shared.storage.import_records import ImportRecord

IMPORTS = "/api/imports"


def address(record: ImportRecord) -> str:
    """The address of an import."""
    return f"{IMPORTS}/{record.import_id}"


def import_view(report: ImportReport) -> dict[str, Any]:
    """The import object. A cancelled import also counts the rows that the cancel ended."""
    record, counts, sender = report.record, report.counts, report.record.sender
    rows = {
        "total": record.rows,
        "done": counts.done,
        "new": 0 if record.is_undo else counts.new,
        "updated": 0 if record.is_undo else counts.updated,
        "unchanged": counts.unchanged,
        "failed": counts.failed,
        "repaired": report.repaired,
        "warnings": counts.warnings,
        "infos": counts.infos,
    }
    if record.profile.name:
        rows["skipped"] = record.skipped
    if record.is_undo:
        rows["reversed"] = counts.new + counts.updated
    if record.is_cancelled:
        rows["cancelled"] = counts.cancelled
    return {
        "importId": record.import_id,
        "type": record.type_name,
        "state": report.state.value,
        "rows": rows,
        "rowsPerSecond": _rounded(report.pace.rows_per_second, 1),
        "secondsLeft": _rounded(report.pace.seconds_left, 0),
        "acceptedAt": record.accepted_at,
        "endedAt": record.ended_at or None,
        "caller": sender.caller.to_document() if sender.caller else None,
        "cancelledBy": record.cancelled_by.to_document() if record.cancelled_by else None,
        "source": sender.source or None,
        "profile": record.profile._asdict() if record.profile.name else None,
        "bodySha256": sender.body_hash or None,
        "parentId": record.parent.import_id or None,
        "childIds": list(report.children),
        "undoes": record.undoes.import_id or None,
        "undoneBy": record.undone_by or None,
        "links": _links(report),
    }


def _rounded(value: float | None, digits: int) -> float | int | None:
    if value is None:
        return None
    return round(value, digits) if digits else round(value)


def _links(report: ImportReport) -> dict[str, str]:
    """The links of an import: only to what exists, and to what can be done now."""
    record = report.record
    kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
    has_queues = kind is not None and kind.has_queues
    own_address = address(record)
    links = {"self": own_address}
    if not record.results_expired_at:
        links |= {
            "results": f"{own_address}/results",
            "failures": f"{own_address}/failures",
        }
        if record.profile.name:
            links["unmapped"] = f"{own_address}/unmapped"
        if record.type_name in IMPORT_TYPES:
            links["answer"] = f"{own_address}/answer"
    if report.still_out and not record.payload_expired_at:
        links["failedRows"] = f"{own_address}/failed-rows"
        if not record.is_open and has_queues and not record.is_broken:
            links["retry"] = f"{own_address}/retry"
    if record.is_open and not record.is_cancelled and has_queues:
        links["cancel"] = f"{own_address}/cancel"
    if _can_be_undone(report):
        links["undo"] = f"{own_address}/undo"
    if record.undoes.import_id:
        links["undoes"] = f"{IMPORTS}/{record.undoes.import_id}"
    if record.undone_by:
        links["undoneBy"] = f"{IMPORTS}/{record.undone_by}"
    if record.parent.import_id:
        links["parent"] = f"{IMPORTS}/{record.parent.import_id}"
    return links


def _can_be_undone(report: ImportReport) -> bool:
    record = report.record
    took_effect = report.counts.new + report.counts.updated + report.counts.removing
    return (
        took_effect > 0
        and record.type_name in IMPORT_TYPES
        and not (record.is_open or record.is_broken)
        and not (record.undone_by or record.results_expired_at)
    )


def result_view(kind: ImportType, result: RowResult) -> dict[str, Any]:
    """One row's result in the neutral shape."""
    keys = zip(kind.rules.key_fields, result.key, strict=True)
    return {
        "index": result.index,
        "key": {field: value for field, value in keys if value is not None},
        "outcome": result.outcome.value,
        "messages": [message_view(message) for message in result.messages],
    }


def message_view(message: Message) -> dict[str, Any]:
    """One message; `fieldName` and `fieldValue` are absent where they do not apply."""
    view: dict[str, Any] = {"messageType": message.severity.value, "message": message.text}
    if message.field is not None:
        view["fieldName"] = message.field
    if message.column is not None:
        view["sentAs"] = message.column
    if message.value is not None:
        view["fieldValue"] = message.value
    view["errorID"] = message.id
    return view
