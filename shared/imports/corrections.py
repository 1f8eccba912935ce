"""The body of a retry: corrected rows by their index in the parent (CONTRACTS 5).

    [{"index": 5, "row": {…}}, …]

It is what `failed-rows` gives as JSON, so that a file can be corrected and sent back as it is;
other properties are read over. Rows stay the text that they are: digits are not touched.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.errors import InvalidRequestError
from shared.imports.payload import member_text, read_payload
from shared.imports.row_sets import rows_in

_ROW = "row"
_NAMED = 5


def read_corrections(body: bytes, max_rows: int) -> dict[int, str]:
    """The text of each corrected row by its index; an empty body has none.

    Raises InvalidRequestError, UnsupportedPayloadError or TooLargeError, never quoting the body.
    """
    if not body.strip():
        return {}
    indexes: list[int | None] = []

    def look_at(item: Mapping[str, Any]) -> None:
        indexes.append(_index(item))

    payload = read_payload(body, look_at, max_rows)
    corrections: dict[int, str] = {}
    for raw, index in zip(payload.rows, indexes, strict=True):
        if index is None:
            raise InvalidRequestError(
                f"Item {raw.index} (counted from 0) needs an index (a whole number) and a row "
                "(an object)."
            )
        if index in corrections:
            raise InvalidRequestError(f"The row of index {index} is there twice: send it once.")
        corrections[index] = member_text(payload.text, raw.start, _ROW)
    return corrections


def check_indexes(corrections: Collection[int], failed: Collection[int], repaired: int) -> None:
    """Raises InvalidRequestError for rows that did not fail, or that a retry brought in since.

    `repaired` is the set of the rows that were brought in.
    """
    brought_in = sorted(set(corrections) & set(rows_in(repaired)))
    if brought_in:
        raise InvalidRequestError(
            f"A retry has brought in the row of index {name_indexes(brought_in)}: leave it out. "
            "failed-rows has the rows that are still out."
        )
    strange = sorted(set(corrections) - set(failed))
    if strange:
        raise InvalidRequestError(
            f"No failed row has the index {name_indexes(strange)}: take the indexes from "
            "failed-rows."
        )


def name_indexes(indexes: Sequence[int]) -> str:
    """The first of these indexes, and how many more there are."""
    named = ", ".join(str(index)[:20] for index in indexes[:_NAMED])
    more = f" and {len(indexes) - _NAMED} more" if len(indexes) > _NAMED else ""
    return f"{named}{more}"


def is_same_row(text: str, other: str) -> bool:
    """Whether two rows say the same, however they are spaced, ordered and escaped."""
    return text == other or _canonical(text) == _canonical(other)


def _index(item: Mapping[str, Any]) -> int | None:
    """The index of an item whose names are in lower case; None where the item is none."""
    index = item.get("index")
    is_index = type(index) is int and index >= 0
    return index if is_index and isinstance(item.get(_ROW), dict) else None


def _canonical(text: str) -> str:
    row = json.loads(text, parse_float=_number, parse_int=_number)
    return json.dumps(row, sort_keys=True)


def _number(text: str) -> dict[str, str]:
    """A number as it is written: it equals no text, and 10 is not 10.0."""
    return {"": text}
