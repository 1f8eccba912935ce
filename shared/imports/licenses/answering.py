"""The vendor's answer to an import of licenses, as its JSON object (CONTRACTS 2).

What is unchanged counts as updated, so newRecords + updatedRecords + errors = rows. Only Errors
are told; the other messages are in the results of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from shared.imports.licenses.model import NO_KEY_TEXT
from shared.imports.licenses.xml_names import pascal
from shared.imports.messages import Message
from shared.imports.outcomes import MAX_FULL_ANSWER, Outcome, RowResult

_INDEX = re.compile(r"\[([0-9]+)\]")
LICENSE_KEY: Final = -1
"""Where the key of a license is among the values of `RowResult.key`: it is the last of them."""


def import_answer(
    results: Iterable[RowResult], import_key: str | None, room: int = MAX_FULL_ANSWER
) -> dict[str, Any]:
    """The answer to rows with these results, in their order; once `room` characters of errors are
    used, only the first error of each row.

    `import_key` is the import's id; None where there is no import, as in a dry run.
    """
    errors: list[dict[str, Any]] = []
    new: list[dict[str, Any]] = []
    updated: list[dict[str, Any]] = []
    for result in results:
        match result.outcome:
            case Outcome.FAILED:
                details = _details(result if room > 0 else result.shortened())
                room -= sum(len(text) for each in details for text in each["errorMessages"])
                errors.append({"index": result.index, "details": details})
            case Outcome.NEW:
                new.append(_record(result))
            case Outcome.UPDATED | Outcome.UNCHANGED:
                updated.append(_record(result))
    return {
        "newRecords": len(new),
        "updatedRecords": len(updated),
        "errors": errors,
        "newRecordKeys": new,
        "updatedRecordKeys": updated,
        "importKey": import_key or NO_KEY_TEXT,
    }


def _record(result: RowResult) -> dict[str, Any]:
    return {"index": result.index, "key": result.key[LICENSE_KEY]}


def _details(result: RowResult) -> list[dict[str, Any]]:
    """One detail for each property, with all its errors; inside a list, for each element's."""
    details: dict[tuple[str, int | None], list[str]] = {}
    for message in result.messages:
        if message.is_error:
            details.setdefault(_property(message), []).append(message.text)
    return [
        {"propertyName": name}
        | ({} if place is None else {"arrayIndex": place})
        | {"errorMessages": texts}
        for (name, place), texts in details.items()
    ]


def _property(message: Message) -> tuple[str, int | None]:
    """`documents[1].content` as `Documents.Content` and 1; a row's own error as nothing."""
    path = message.field or ""
    index = _INDEX.search(path)
    names = _INDEX.sub("", path).split(".")
    return ".".join(map(pascal, names)), None if index is None else int(index[1])
