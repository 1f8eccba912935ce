"""Which files are taken: by the extension of the name and by the first bytes of the content.

Both must agree. A text has no signature, so it must look like one: no bytes that only binary files
have (UTF-16 with its mark is a text). Office files are ZIP archives, which is all that their first
bytes tell.
"""

from __future__ import annotations

import codecs
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from shared.imports.documents.file_names import extension_of
from shared.imports.reference_text import escaped

HEAD_BYTES = 4_096
"""How many of the first bytes are looked at."""
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
"""Every type that the gateway knows, by its extension; the settings may allow fewer."""
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
