"""Rows of the vendor's answer for people, for the demo: a line per row, its messages below it."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

Result = dict[str, Any]


BAD_ON_PURPOSE = "(bad on purpose)"


def row_lines(results: list[Result], made_to_fail: Set[str] = frozenset()) -> Iterator[str]:
    """Index, key and status of each row, then a line for each of its messages.

    `made_to_fail` has a record id of each row that is to fail; such a row is marked.
    """
    width = max((len(_row_key(result)) for result in results), default=0)
    for index, result in enumerate(results):
        is_marked = any(part["value"] in made_to_fail for part in result["recordIds"])
        mark = f"  {BAD_ON_PURPOSE}" if is_marked else ""
        yield f"index {index:<3}  {_row_key(result):<{width}}  {result['importStatus']}{mark}"
        for message in result["messages"]:
            yield f"         {_message_line(message)}"


def from_neutral(items: list[dict[str, Any]]) -> list[Result]:
    """Results as `/api/imports/{id}/results` has them, in the order of the payload."""
    return [
        {
            "recordIds": [{"field": name, "value": text} for name, text in item["key"].items()],
            "importStatus": "Error" if item["outcome"] == "failed" else "OK",
            "messages": item["messages"],
        }
        for item in sorted(items, key=lambda item: int(item["index"]))
    ]


def failed_rows(results: list[Result]) -> list[Result]:
    """The rows that did not go in."""
    return [result for result in results if result["importStatus"] == "Error"]


def _row_key(result: Result) -> str:
    return " / ".join(str(part["value"]) for part in result["recordIds"]) or "(no key)"


def _message_line(message: dict[str, Any]) -> str:
    about = [f"{message[name]}" for name in ("fieldName", "fieldValue") if name in message]
    field = f" [{' = '.join(about)}]" if about else ""
    return f"{message['messageType']} {message['errorID']}: {message['message']}{field}"
