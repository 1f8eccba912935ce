"""Which values of a record belong into reference lists (`shared.imports.reference_kinds`).

Entries and values are compared in the form of a reference: trimmed, in Unicode NFC, case and zeros
as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.imports.definition import Document, ListedValue
from shared.imports.fields import normal_reference
from shared.imports.reference_kinds import KIND_OF_FIELD


def listed_form(text: str) -> str:
    """An entry of a list, or a value, in the form that both are compared in.

    What is too long for a reference is only trimmed: no list has it.
    """
    return normal_reference(text) or text.strip()


def listed_values(
    document: Document, names: Iterable[str], path: str = "", *, is_sensitive: bool = False
) -> Iterator[ListedValue]:
    """The values of these fields, where the object has them; `path` stands before their names."""
    for name in names:
        value = document.get(name)
        if value is not None:
            kind = KIND_OF_FIELD[name]
            yield ListedValue(path + name, kind, listed_form(value), is_sensitive)
