"""One document on its way in: what was sent, what was found out about it, its row in the import.

Everything is decided before the import is accepted and written into its row, so that whoever works
on it, the call, the blob trigger or the sweep after a crash, comes to the same end.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from shared.imports.json_rows import line_of, read_lines
from shared.imports.messages import FIELD_OF, Message
from shared.imports.reference_text import escaped, warn_of_reference
from shared.imports.results import Outcome, RowResult


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


# Contract names in the row, so that failed rows can be shown as they are.
_NAMES = {
    "worker_ref": "workerexternalId",
    "round_code": "communicationRoundCode",
    "file_name": "fileName",
    "generation_time": "generationTime",
    "file_type": "fileType",
}
_FIELDS = tuple(Upload.__dataclass_fields__)


def derived_id(*parts: str) -> str:
    """A GUID (version 8) that equal parts, and only they, lead to."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


# Names of files: what may be stored and handed back as the name of a download.
#
# A name is kept as it was sent, trimmed and in NFC; one that is a path, or means something to a
# file system or a terminal, is refused rather than mended, since a mended name would replace the
# wrong document (docs/contracts.md#4: file name missing or unsafe).

MOST_CHARACTERS = 200
# What the usual file systems take.
_MOST_BYTES = 255
# What stands for bytes that could not be decoded.
_REPLACED = "\ufffd"
_FORBIDDEN = frozenset(f'/\\:*?"<>|{_REPLACED}')
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)


def safe_name(sent: str) -> str | None:
    """The name to keep; None where it is missing or unsafe."""
    return None if name_fault(sent) else unicodedata.normalize("NFC", sent.strip())


def name_fault(sent: str) -> str:
    """What makes a name unsafe, and what to do about it; "" for a safe one."""
    trimmed = sent.strip()
    if not trimmed:
        return "it is missing; send one"
    # Normalising a long run of combining marks takes quadratic time.
    is_far_too_long = len(trimmed) > MOST_CHARACTERS * 4
    name = "" if is_far_too_long else unicodedata.normalize("NFC", trimmed)
    if is_far_too_long or len(name) > MOST_CHARACTERS or len(_bytes(name)) > _MOST_BYTES:
        return f"it has more than {MOST_CHARACTERS} characters or {_MOST_BYTES} bytes; shorten it"
    if name.startswith("."):
        return "it begins with a dot; leave the dot out"
    if name.endswith("."):
        return "it ends with a dot; leave the dot out"
    stem = name.partition(".")[0].strip().lower()
    if stem in _DEVICES:
        return f"{stem} is the name of a device; choose another one"
    for place, mark in enumerate(name, 1):
        if _is_unsafe(mark):
            if mark == _REPLACED:
                return f"its character {place} is not UTF-8; send the name in UTF-8"
            return f"it has {_described(mark)} at character {place}; leave it out"
    return ""


def _described(mark: str) -> str:
    """A mark in words that can be shown anywhere."""
    if mark.isprintable():
        return f"the character {mark}"
    called = unicodedata.name(mark, "")
    return f"the character U+{ord(mark):04X}" + (f" ({called})" if called else "")


def extension_of(name: str) -> str:
    """What follows the last dot, in lower case; "" where there is none."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""


def _is_unsafe(mark: str) -> bool:
    """Path marks, controls, separators of lines, marks that turn the direction, no characters."""
    is_character = ord(mark) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(mark) <= 0xFDEF
    is_hidden = unicodedata.category(mark) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return mark in _FORBIDDEN or is_hidden or not is_character


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


# Which files are taken: by the extension of the name and by the first bytes of the content.
#
# Both must agree. A text has no signature, so it must look like one: no bytes that only binary
# files have (UTF-16 with its mark is a text). Office files are ZIP archives, which is all that
# their first bytes tell.

# How many of the first bytes are looked at.
HEAD_BYTES = 4_096
_ZIP = (b"PK\x03\x04",)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CHARSET_MARKS = (
    # The mark of UTF-32 begins like that of UTF-16, so it is looked for first.
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
        """Whether content that begins like this can be of the type."""
        if self.signatures:
            return head.startswith(self.signatures)
        return head.startswith(_UTF16) or len(head.translate(None, _BINARY)) == len(head)

    def content_type(self, content: bytes) -> str:
        """The media type of a file with this content; of a text with its charset where it is known.

        What is neither marked as UTF-16 or UTF-32 nor valid UTF-8 can be any of the older charsets.
        So can a text with escape characters, by which ISO 2022 switches. It gets no charset, so
        that its reader does not take it for UTF-8.
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
    """Why a file of this name has no type, and what to do about it."""
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


# When a document was made: `generationTime`, a time in the past (docs/contracts.md#4).

_FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def past_moment(text: str, now: datetime) -> datetime | None:
    """The moment that the text names, in UTC; None where it is none, or after `now`.

    No offset means UTC, a date alone 00:00.
    """
    stripped = text.strip()
    if not _FORM.fullmatch(stripped):
        return None
    try:
        moment = datetime.fromisoformat(stripped.upper())
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        in_utc = aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return in_utc if in_utc <= now else None


# Paths of dropped files: `{tenantId}/{round}/{worker}/{file}`, percent-encoded
# (docs/contracts.md#4).

_PARTS = ("tenant", "round", "worker", "file name")
_SEGMENTS = len(_PARTS)
_TENANT = re.compile(r"[a-z0-9-]{3,40}")
# Controls, and what XML 1.0 does not know: the list of a container is XML.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Of a rejected blob's path; a name may have 254 in all.
_MOST_SEGMENTS = 200
# Characters of a rejected blob's path, so that the import id fits behind it (1,024 in all).
_LONGEST_PATH = 980
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class DropPath:
    """Where a dropped file is meant to go."""

    tenant: str
    round_code: str
    worker_ref: str
    file_name: str


def names_a_tenant(name: str) -> bool:
    """Whether a blob's name has as many parts as a path, so that its first one is a tenant."""
    return name.count("/") == _SEGMENTS - 1


def plain_name(name: str) -> str:
    """A blob's name for a log line or a terminal: blanks and what cannot be seen are escaped."""
    return "".join(mark if mark.isprintable() and mark != " " else _escape(mark) for mark in name)


def _escape(mark: str) -> str:
    code = ord(mark)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def rejected_path(name: str, import_id: str) -> str:
    """Where a rejected blob of this name goes: behind the same path, by the id of its import.

    A name that would be too long, or have too many segments, with the id behind it is shortened.
    Marks that break the listing of a container are percent-encoded.
    """
    path = _UNLISTABLE.sub(lambda found: quote(found[0], errors="surrogatepass"), name)
    *segments, rest = path.split("/", _MOST_SEGMENTS)
    path = "/".join([*segments, rest.replace("/", "%2F")])
    return f"{path[:_LONGEST_PATH]}/{import_id}"


def tenant_of(name: str) -> str | None:
    """The tenant that a blob's name begins with; None where it cannot be one."""
    tenant = name.partition("/")[0]
    return tenant if _TENANT.fullmatch(tenant) else None


def read_path(name: str) -> DropPath | None:
    """The path that a blob's name is; None where it is none."""
    if path_fault(name):
        return None
    tenant, *encoded = name.split("/")
    round_code, worker_ref, file_name = (_decoded(segment) or "" for segment in encoded)
    return DropPath(tenant, round_code, worker_ref, file_name)


def path_fault(name: str) -> str:
    """Why a blob's name is no path, and what to do about it; "" for one that is."""
    segments = name.split("/")
    if len(segments) != _SEGMENTS:
        return (
            f"it has {len(segments)} parts and {_SEGMENTS} are expected; percent-encode a slash "
            "within a part as %2F"
        )
    for part, segment in zip(_PARTS[1:], segments[1:], strict=True):
        if not segment:
            return f"its {part} is empty; name it"
        if not _ENCODED.fullmatch(segment):
            return f"its {part} has a percent sign that encodes nothing; write it as %25"
        if _decoded(segment) is None:
            return f"its {part} is not UTF-8 once it is decoded; encode it in UTF-8"
    return "" if tenant_of(name) else "its tenant is no id of a tenant; correct it"


def _decoded(segment: str) -> str | None:
    """Percent-encoding undone; None where it is broken or not UTF-8."""
    if not _ENCODED.fullmatch(segment):
        return None
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
