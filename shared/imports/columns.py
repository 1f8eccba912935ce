"""Text of a record as a column of its entity, to be searched by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shared.imports.definition import Document

MAX_COLUMN: Final = 255
"""Characters of a column: it is there to be searched, the document has the whole value."""


def text_columns(document: Document, names: Iterable[str]) -> dict[str, str]:
    """These texts of the record, where it has them; control characters become blanks."""
    return {name: _searchable(document[name][:MAX_COLUMN]) for name in names if name in document}


def _searchable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
