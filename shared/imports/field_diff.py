"""The changes of a row to a record, field by field (docs/contracts.md#0, dryRun)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.imports.import_type import Document
from shared.imports.row_reader import dotted

# Replaces a sensitive value.
MASK: Final = "***"

Path = tuple[str | int, ...]
IsSensitive = Callable[[Sequence[str | int]], bool]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field's value before and after a row; None where it has none. `field` is its path."""

    field: str
    before: Any
    after: Any


def changed_fields(
    before: Document | None, after: Document | None, is_sensitive: IsSensitive
) -> tuple[FieldChange, ...]:
    """The single values that differ, in the order of the fields; a record may be None."""
    old, new = dict(_values((), before)), dict(_values((), after))
    return tuple(
        FieldChange(dotted(path), *_shown(path, old.get(path), new.get(path), is_sensitive))
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    )


def changes_text(changes: Sequence[FieldChange]) -> str:
    """The changes as the JSON of the answer; as objects they would take ten times the memory."""
    shown = [{"field": item.field, "before": item.before, "after": item.after} for item in changes]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def _values(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """The path of each single value in a value, and that value."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _values((*path, name), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values((*path, index), item)
    elif value is not None:
        yield path, value


def _shown(path: Path, before: Any, after: Any, is_sensitive: IsSensitive) -> tuple[Any, Any]:
    if not is_sensitive(path):
        return before, after
    return (None if before is None else MASK), (None if after is None else MASK)
