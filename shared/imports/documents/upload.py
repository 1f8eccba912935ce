"""One document on its way in: what was sent, what was found out about it, its row in the import.

Everything is decided before the import is accepted and written into its row, so that whoever works
on it, the call, the blob trigger or the sweep after a crash, comes to the same end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared.imports.documents.messages import FIELD_OF
from shared.imports.messages import Message
from shared.imports.outcomes import Outcome, RowResult
from shared.imports.payload import line_of, read_lines
from shared.imports.reference_text import escaped, warn_of_reference


@dataclass(frozen=True, slots=True)
class WorkerKey:
    """A stored worker."""

    employer: str
    personnel: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A document. Sizes in bytes, times as ISO text in UTC.

    `file_type` is "" where the type is not allowed. An upload goes in where it has a worker, and is
    refused where it has a fault; before it was placed it has neither.
    """

    worker_ref: str
    round_code: str
    file_name: str
    generation_time: str
    size: int
    file_type: str = ""
    worker: WorkerKey | None = None
    fault: Message | None = None

    def refused(self, id_: int, detail: str | None = None) -> Upload:
        """The same with this fault, on the field that it is about."""
        field = FIELD_OF.get(id_)
        values = {
            "workerexternalId": self.worker_ref,
            "communicationRoundCode": self.round_code,
            "fileName": self.file_name,
        }
        value = escaped(values.get(field or "", "")) or None
        return replace(self, fault=Message(id_, field, value, detail))

    def document_id(self, tenant: str) -> str:
        """The id of the document: the same for every upload of this worker, round and name.

        Derived, so that two uploads at once meet in one record.
        """
        assert self.worker is not None, "only a document whose worker is known has an id"
        worker = self.worker
        parts = [tenant, self.round_code, worker.employer, worker.personnel, self.file_name]
        return derived_id("document", *parts)

    def result(self, outcome: Outcome, document_id: str | None, *said: Message) -> RowResult:
        """What became of it, as the one row of its import."""
        key = (self.worker_ref, self.round_code, self.file_name, document_id)
        odd = (
            warn_of_reference("workerexternalId", self.worker_ref),
            warn_of_reference("communicationRoundCode", self.round_code),
        )
        warnings = (warning for warning in odd if warning is not None)
        return RowResult(0, tuple(part or None for part in key), outcome, (*said, *warnings))

    def to_line(self) -> bytes:
        """Its line in the payload of the import, as `payload.read_lines` reads it."""
        values = asdict(self) | {"fault": self.fault.pack() if self.fault else None}
        row = {_NAMES.get(name, name): value for name, value in values.items()}
        return line_of(0, json.dumps(row, separators=(",", ":")))

    @classmethod
    def from_lines(cls, lines: bytes) -> Upload:
        """The inverse of `to_line`."""
        [(_, row)] = read_lines(lines)
        return cls.from_row(row)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Upload:
        """The same from the row of its line. Raises what a row of another shape makes it raise."""
        values: dict[str, Any] = {name: row[_NAMES.get(name, name)] for name in _FIELDS}
        worker: Mapping[str, str] | None = values["worker"]
        fault = values["fault"]
        return cls(
            **values
            | {
                "worker": WorkerKey(**worker) if worker else None,
                "fault": Message.unpack(fault) if fault else None,
            }
        )


_NAMES = {
    "worker_ref": "workerexternalId",
    "round_code": "communicationRoundCode",
    "file_name": "fileName",
    "generation_time": "generationTime",
    "file_type": "fileType",
}
"""Contract names in the row, so that failed rows can be shown as they are."""
_FIELDS = tuple(Upload.__dataclass_fields__)


def derived_id(*parts: str) -> str:
    """A GUID (version 8) that equal parts, and only they, lead to."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
