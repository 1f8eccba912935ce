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
_REPLACED = "\ufffd"
"""What stands for bytes that could not be decoded."""
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
