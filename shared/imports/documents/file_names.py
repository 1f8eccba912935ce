"""Names of files: what may be stored and handed back as the name of a download.

A name is kept as it was sent, trimmed and in NFC; one that is a path, or means something to a file
system or a terminal, is refused rather than mended, since a mended name would replace the wrong
document (CONTRACTS 4: file name missing or unsafe).
"""

from __future__ import annotations

import unicodedata

MOST_CHARACTERS = 200
_MOST_BYTES = 255
"""What the usual file systems take."""
_FORBIDDEN = frozenset('/\\:*?"<>|\ufffd')
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)


def safe_name(sent: str) -> str | None:
    """The name to keep; None where it is missing or unsafe."""
    trimmed = sent.strip()
    if len(trimmed) > MOST_CHARACTERS * 4:
        return None
    name = unicodedata.normalize("NFC", trimmed)
    if not 0 < len(name) <= MOST_CHARACTERS or len(_bytes(name)) > _MOST_BYTES:
        return None
    if name.startswith(".") or name.endswith((".", " ")):
        return None
    if name.partition(".")[0].strip().lower() in _DEVICES:
        return None
    return None if any(_is_unsafe(mark) for mark in name) else name


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
