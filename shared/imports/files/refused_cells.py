"""The cells of a spreadsheet that were refused, in failed rows that come back.

Such a cell is empty in the failed row, and a message of the row names it: in `_error` of a CSV, in
`messages` of JSON. While both are so, the row fails again, so that it does not come in without the
value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from shared.imports.csv_export import ERROR, leaves_of
from shared.imports.messages import Message, MessageId, bounded
from shared.imports.text_checks import escaped

# Characters of a field's name that a message repeats.
_MAX_SHOWN: Final = 200
# Faults of the cells of one row that have a message each.
_MAX_FAULTS: Final = 100
_TEXT: Final = r"(?:[^:]*: )?the cell (?:[A-Z]{1,3}[0-9]+|was refused)\b"
_STILL_EMPTY: Final = (
    f"the cell was refused and is empty: enter the value as text, or clear {ERROR} (in JSON: "
    "messages) in this row to send none"
)
_ELEMENT: Final = re.compile(r"\[[0-9]+\]")
_MESSAGE: Final = re.compile(_TEXT)
_PART: Final = re.compile(r"; (?=[0-9]{4} )")
_REFUSED: Final = re.compile(rf"[0-9]{{4}} (?P<place>.+?): {_TEXT}")


class RefusedCells:
    """The refused cells of the rows of a CSV or a spreadsheet."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names`: those of the columns, as messages show them."""
        lower = [name.lower() for name in names]
        self._at = lower.index(ERROR) if ERROR in lower else len(names)
        self._names = lower

    def still_empty(self, cells: Sequence[Any]) -> Sequence[int]:
        """The places of the cells of a row that were refused and are empty."""
        error = cells[self._at] if self._at < len(cells) else ""
        if not isinstance(error, str) or ": the cell " not in error:
            return ()
        refused: set[str] = set()
        for part in _PART.split(error):
            match = _REFUSED.match(part)
            if match is not None:
                # A field, and behind it the sender's column in brackets.
                field, _, column = match["place"].lower().partition(" (")
                refused |= {match["place"].lower(), field, column.removesuffix(")")}
        return [
            at
            for at, name in enumerate(self._names)
            if name in refused and (at >= len(cells) or not cells[at])
        ]


def refused_cell_faults(failed_row: Mapping[str, Any]) -> Sequence[Message]:
    """The faults of the refused cells that are empty in `{"index", "row", "messages"}`.

    The names of members may be in any case; the caller may have changed each of them.
    """
    messages = failed_row.get("messages")
    row = failed_row.get("row")
    if not isinstance(messages, list) or not isinstance(row, dict):
        return ()
    # By their names in lower case, each once.
    refused: dict[str, tuple[str, str]] = {}
    for each in messages:
        if not isinstance(each, dict):
            continue
        message = {name.lower(): value for name, value in each.items()}
        text, field = message.get("message"), message.get("fieldname")
        if isinstance(text, str) and isinstance(field, str) and _MESSAGE.match(text):
            column = message.get("sentas")
            refused[field.lower()] = (field, column if isinstance(column, str) else field)
    if not refused:
        return ()
    filled = {path.lower() for path, value in leaves_of(row) if value != ""}
    faults = [
        refused_cell_fault(field)
        for name, (field, column) in refused.items()
        if not _is_filled(name, filled) and not _is_filled(column.lower(), filled)
    ]
    return bounded(faults, _MAX_FAULTS)


def _is_filled(path: str, filled: Collection[str]) -> bool:
    """Whether a row has a value at a path, given the paths of all its values.

    A row has the elements of a list without the gaps of its file, so where it has no element of the
    index, the value of any element counts.
    """
    list_name, bracket, rest = path.partition("[")
    element = f"{list_name}[{rest.partition(']')[0]}]"
    if path in filled or not bracket or any(each.startswith(element) for each in filled):
        return path in filled
    return _ELEMENT.sub("[]", path) in {_ELEMENT.sub("[]", each) for each in filled}


def refused_cell_fault(name: str) -> Message:
    """The fault of a refused cell that is still empty; `name` is that of its field."""
    return Message(MessageId.WRONG_TYPE, escaped(name)[:_MAX_SHOWN], None, _STILL_EMPTY)
