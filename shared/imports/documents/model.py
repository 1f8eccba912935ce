"""An uploaded document: the sent values, the gateway's findings, and its row in the import.

Everything is decided before the import is accepted and is written into its row. So the call, the
blob trigger, and the sweep after a crash all get the same result.
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

from shared.imports.documents.messages import FIELD_OF
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


def derived_id(*parts: str) -> str:
    """A GUID (version 8) that is derived from these parts."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


# Names of files that the gateway may store and return as the name of a download.
#
# A name is stored as sent, trimmed and in NFC. A name that is a path, or has a meaning for a file
# system or a terminal, is refused rather than corrected, because a corrected name could replace the
# wrong document (docs/contracts.md#4: file name missing or unsafe).

MAX_NAME_LENGTH = 200
# The limit of common file systems.
_MAX_NAME_BYTES = 255
# Replaces bytes that could not be decoded.
_REPLACEMENT_CHARACTER = "\ufffd"
_FORBIDDEN = frozenset(f'/\\:*?"<>|{_REPLACEMENT_CHARACTER}')
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)


def safe_name(sent: str) -> str | None:
    """The name to store; None where it is missing or unsafe."""
    return None if name_fault(sent) else unicodedata.normalize("NFC", sent.strip())


def name_fault(sent: str) -> str:
    """The reason why a name is unsafe, and what to do; "" for a safe one."""
    stripped = sent.strip()
    if not stripped:
        return "it is missing; send one"
    # Normalising a long run of combining marks takes quadratic time.
    is_far_too_long = len(stripped) > MAX_NAME_LENGTH * 4
    name = "" if is_far_too_long else unicodedata.normalize("NFC", stripped)
    size = len(name.encode("utf-8", "surrogatepass"))
    if is_far_too_long or len(name) > MAX_NAME_LENGTH or size > _MAX_NAME_BYTES:
        return (
            f"it has more than {MAX_NAME_LENGTH} characters or {_MAX_NAME_BYTES} bytes; shorten it"
        )
    if name.startswith("."):
        return "it begins with a dot; leave the dot out"
    if name.endswith("."):
        return "it ends with a dot; leave the dot out"
    stem = name.partition(".")[0].strip().lower()
    if stem in _DEVICES:
        return f"{stem} is the name of a device; choose another one"
    for position, character in enumerate(name, 1):
        if _is_unsafe(character):
            if character == _REPLACEMENT_CHARACTER:
                return f"its character {position} is not UTF-8; send the name in UTF-8"
            return f"it has {_describe_character(character)} at character {position}; leave it out"
    return ""


def _describe_character(character: str) -> str:
    """A character in words that are safe to show."""
    if character.isprintable():
        return f"the character {character}"
    name = unicodedata.name(character, "")
    return f"the character U+{ord(character):04X}" + (f" ({name})" if name else "")


def extension_of(name: str) -> str:
    """The extension in lower case; "" without one."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""


def _is_unsafe(character: str) -> bool:
    """Whether it is a path, control, line separator, direction or non-character code point."""
    is_character = ord(character) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(character) <= 0xFDEF
    is_hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return character in _FORBIDDEN or is_hidden or not is_character


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


# Paths of dropped files: `{tenantId}/{round}/{worker}/{file}`, percent-encoded
# (docs/contracts.md#4).

_PARTS = ("tenant", "round", "worker", "file name")
_SEGMENTS = len(_PARTS)
_TENANT = re.compile(r"[a-z0-9-]{3,40}")
# Controls, and characters that XML 1.0 does not have; the list of a container is XML.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Segments of a rejected blob's path; a name may have 254 in all.
_MAX_SEGMENTS = 200
# Characters of a rejected blob's path before the import id; a name may have 1,024 in all.
_MAX_PATH_LENGTH = 980
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class DropPath:
    """The destination of a dropped file."""

    tenant: str
    round_code: str
    worker_ref: str
    file_name: str


def has_all_parts(name: str) -> bool:
    """Whether a blob's name has all parts of a path, so that the first is a tenant."""
    return name.count("/") == _SEGMENTS - 1


def plain_name(name: str) -> str:
    """A blob's name for a log line or a terminal; blanks and invisible characters are escaped."""
    return "".join(
        character if character.isprintable() and character != " " else _escape(character)
        for character in name
    )


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def rejected_path(name: str, import_id: str) -> str:
    """The name of a rejected blob: the same path, then the id of its import.

    A path that would be too long, or have too many segments, is shortened. Characters that break
    the listing of a container are percent-encoded.
    """
    path = _UNLISTABLE.sub(lambda match: quote(match[0], errors="surrogatepass"), name)
    *segments, remainder = path.split("/", _MAX_SEGMENTS)
    path = "/".join([*segments, remainder.replace("/", "%2F")])
    return f"{path[:_MAX_PATH_LENGTH]}/{import_id}"


def tenant_of(name: str) -> str | None:
    """The tenant at the start of a blob's name; None where it cannot be one."""
    tenant = name.partition("/")[0]
    return tenant if _TENANT.fullmatch(tenant) else None


def read_path(name: str) -> DropPath | None:
    """The path in a blob's name; None where it is not a path."""
    if path_fault(name):
        return None
    tenant, *encoded = name.split("/")
    round_code, worker_ref, file_name = (_decoded(segment) or "" for segment in encoded)
    return DropPath(tenant, round_code, worker_ref, file_name)


def path_fault(name: str) -> str:
    """The reason why a blob's name is not a path, and what to do; "" for a valid one."""
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
    """The segment without percent-encoding; None where it is invalid or not UTF-8."""
    if not _ENCODED.fullmatch(segment):
        return None
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
