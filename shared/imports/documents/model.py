"""An uploaded document: the sent values, the gateway's findings, and its row in the import.

Everything is decided before the import is accepted and is written into its row. So the call, the
blob trigger, and the sweep after a crash all get the same result.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from shared.clock import derived_id
from shared.imports.documents.messages import FIELD_OF
from shared.imports.file_names import extension_of, path_segments
from shared.imports.json_rows import line_of, read_lines
from shared.imports.messages import Message
from shared.imports.results import Outcome, RowResult
from shared.imports.text_checks import escaped, warn_of_reference


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

        It is derived, so that two concurrent uploads write one record.
        """
        assert self.worker is not None, "only a document whose worker is known has an id"
        worker = self.worker
        parts = [tenant, self.round_code, worker.employer, worker.personnel, self.file_name]
        return derived_id("document", *parts)

    def result(self, outcome: Outcome, document_id: str | None, *messages: Message) -> RowResult:
        """The result of the one row of its import."""
        key = (self.worker_ref, self.round_code, self.file_name, document_id)
        reference_warnings = (
            warn_of_reference("workerexternalId", self.worker_ref),
            warn_of_reference("communicationRoundCode", self.round_code),
        )
        warnings = (warning for warning in reference_warnings if warning is not None)
        return RowResult(0, tuple(part or None for part in key), outcome, (*messages, *warnings))

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


# Contract names in the row, so that failed rows can be shown as they are.
_NAMES = {
    "worker_ref": "workerexternalId",
    "round_code": "communicationRoundCode",
    "file_name": "fileName",
    "generation_time": "generationTime",
    "file_type": "fileType",
}
_FIELDS = tuple(Upload.__dataclass_fields__)


# The allowed types of files, by the extension of the name and by the first bytes of the content.
#
# Both must agree. A text has no signature, so it must not contain bytes that only binary files have
# (UTF-16 with a byte order mark is a text). Office files are ZIP archives; their first bytes tell
# no more.

# The number of first bytes that are checked.
HEAD_BYTES = 4_096
_ZIP = (b"PK\x03\x04",)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHARSET_MARKS = (
    # The mark of UTF-32 begins like that of UTF-16, so it comes first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPE = b"\x1b"
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
_BINARY = bytes(number for number in range(32) if number not in _TEXT_CONTROLS)


@dataclass(frozen=True, slots=True)
class FileType:
    """A type of the allow-list. Without signatures it is a text."""

    name: str
    media_type: str
    signatures: tuple[bytes, ...] = ()

    def fits(self, head: bytes) -> bool:
        """Whether content with these first bytes can be of the type."""
        if self.signatures:
            return head.startswith(self.signatures)
        return head.startswith(_UTF16) or len(head.translate(None, _BINARY)) == len(head)

    def content_type(self, content: bytes) -> str:
        """The media type of a file with this content; for a text with its charset if known.

        A text that is neither marked as UTF-16 or UTF-32 nor valid UTF-8 can have any older
        charset. So can a text with escape characters, which ISO 2022 uses to switch. It gets no
        charset, so that its reader does not read it as UTF-8.
        """
        if self.signatures:
            return self.media_type
        for mark, charset in _CHARSET_MARKS:
            if content.startswith(mark):
                return f"{self.media_type}; charset={charset}"
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return self.media_type
        return self.media_type if _ESCAPE in content else f"{self.media_type}; charset=utf-8"


_OFFICE = "application/vnd.openxmlformats-officedocument."
# Every type that the gateway knows, by its extension; the settings may allow fewer.
FILE_TYPES = {
    kind.name: kind
    for kind in (
        FileType("pdf", "application/pdf", (b"%PDF-",)),
        FileType("png", "image/png", (b"\x89PNG\r\n\x1a\n",)),
        FileType("jpg", "image/jpeg", (b"\xff\xd8\xff",)),
        FileType("docx", f"{_OFFICE}wordprocessingml.document", _ZIP),
        FileType("xlsx", f"{_OFFICE}spreadsheetml.sheet", _ZIP),
        FileType("csv", "text/csv"),
        FileType("txt", "text/plain"),
    )
}
_ALIASES = {"jpeg": "jpg"}


def type_fault(name: str, allowed: AbstractSet[str]) -> str:
    """The reason why a file of this name is not allowed, and what to do."""
    extension = extension_of(name)
    kind = FILE_TYPES.get(_ALIASES.get(extension, extension))
    if kind is None or kind.name not in allowed:
        ending = (
            f"the name ends in .{escaped(extension)}" if extension else "the name has no extension"
        )
        return f"{ending}; send a file of one of these types: {', '.join(sorted(allowed))}"
    return (
        f"the content does not begin like a {kind.name} file; send one, or name the file by what "
        "it is"
    )


def file_type_of(name: str, head: bytes, allowed: AbstractSet[str]) -> FileType | None:
    """The type of a file; None where it is not allowed or its content is of another type."""
    extension = extension_of(name)
    kind = FILE_TYPES.get(_ALIASES.get(extension, extension))
    if kind is None or kind.name not in allowed or not kind.fits(head):
        return None
    return kind


# `generationTime`, when a document was generated, is a time in the past (docs/contracts.md#4).

_FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def past_moment(text: str, now: datetime) -> datetime | None:
    """The time in the text, in UTC; None where it is invalid or after `now`.

    Without an offset it is UTC; a date alone means 00:00.
    """
    stripped = text.strip()
    if not _FORM.fullmatch(stripped):
        return None
    try:
        moment = datetime.fromisoformat(stripped.upper())
        with_zone = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        in_utc = with_zone.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return in_utc if in_utc <= now else None


# The path of a dropped file: `{tenantId}/{round}/{worker}/{file}` (docs/contracts.md#4).

PATH_PARTS: Final = ("tenant", "round", "worker", "file name")


@dataclass(frozen=True, slots=True)
class DropPath:
    """The destination of a dropped file."""

    tenant: str
    round_code: str
    worker_ref: str
    file_name: str


def read_path(name: str) -> DropPath | None:
    """The path in a blob's name; None where it is not a path."""
    segments = path_segments(name)
    return DropPath(*segments) if segments and len(segments) == len(PATH_PARTS) else None
