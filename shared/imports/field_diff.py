"""What a row changes in a record, field by field (docs/contracts.md#0, dryRun)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.imports.import_type import Document
from shared.imports.row_reader import dotted

MASK: Final = "***"
"""What is shown of a value that no message shows."""
_MASKED_ALL: Final = 8
"""Characters below which nothing of a value is shown."""
_SHOWN: Final = 4

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
    """The single values that differ, in the order of the fields; None stands for no record."""
    old, new = dict(leaves((), before)), dict(leaves((), after))
    return tuple(
        FieldChange(dotted(path), *_shown(path, old.get(path), new.get(path), is_sensitive))
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    )


def changes_text(changes: Sequence[FieldChange]) -> str:
    """As the JSON that callers are shown; as objects, they would take ten times the memory."""
    shown = [{"field": item.field, "before": item.before, "after": item.after} for item in changes]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """The single values in a value, each with its path."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves((*path, name), item)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves((*path, place), item)
    elif value is not None:
        yield path, value


def masked_value(value: Any) -> str:
    """What is shown of a sensitive value of a record: of eight or more characters the last four."""
    if isinstance(value, str) and len(value) >= _MASKED_ALL:
        return f"{MASK}{value[-_SHOWN:]}"
    return MASK


def looks_masked(value: Any) -> bool:
    """Whether a value may be what `masked_value` has made of one."""
    is_text = isinstance(value, str) and value.startswith(MASK)
    return is_text and len(value) in (len(MASK), len(MASK) + _SHOWN)


def _shown(path: Path, before: Any, after: Any, is_sensitive: IsSensitive) -> tuple[Any, Any]:
    if not is_sensitive(path):
        return before, after
    return (None if before is None else MASK), (None if after is None else MASK)
