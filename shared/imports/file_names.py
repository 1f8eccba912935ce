"""Names of files that callers send, and paths of dropped files.

A path is the name of a blob: segments with slashes between, the tenant first, the others
percent-encoded where they have other characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

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


# Paths of dropped files.

_TENANT = re.compile(r"[a-z0-9-]{3,40}")
# Controls, and characters that XML 1.0 does not have; the list of a container is XML.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Segments of the path of a moved blob; a name may have 254 in all.
_MAX_SEGMENTS = 200
# Characters of the path of a moved blob before the import id; a name may have 1,024 in all.
_MAX_PATH_LENGTH = 970
_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


def plain_name(name: str) -> str:
    """A blob's name for a log line or a terminal; blanks and invisible characters are escaped."""
    return "".join(
        character if character.isprintable() and character != " " else _escape(character)
        for character in name
    )


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def settled_path(name: str, import_id: str) -> str:
    """The name of a drop in the container to which it moves: its path, then the id of its import.

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


def path_segments(name: str) -> tuple[str, ...] | None:
    """The tenant and the decoded further segments of a path; None where it is not valid."""
    tenant, *encoded = name.split("/")
    if path_fault(name, [""] * (len(encoded) + 1)):
        return None
    return (tenant, *(_decoded(segment) or "" for segment in encoded))


def path_fault(name: str, parts: Sequence[str]) -> str:
    """The reason why a name is not a path of these parts, and what to do; "" for a valid one.

    The first part is the tenant.
    """
    segments = name.split("/")
    if len(segments) != len(parts):
        return (
            f"it has {len(segments)} parts and {len(parts)} are expected; percent-encode a slash "
            "within a part as %2F"
        )
    for part, segment in zip(parts[1:], segments[1:], strict=True):
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
