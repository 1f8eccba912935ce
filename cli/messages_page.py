"""Writes `docs/messages.md` from the message catalogue: `python -m cli.messages_page`.

A test compares the page with the catalogue, so a message cannot change without its document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cli.message_examples import examples
from cli.refusals import refusals
from cli.settings_page import markdown_table
from shared.imports.messages import CATALOGUE, Message
from shared.web.responses import FAULTS

MESSAGES_PAGE = Path(__file__).parent.parent / "docs" / "messages.md"

_MESSAGES_HEAD = """# Messages of rows

Every message of a row has one of these ids (`errorID`). A row with an Error fails, and nothing of
it is stored; a Warning or an Info does not make a row fail. `fieldName` is the path of the field,
such as `PrimaryBankDetails.BankSortCode`. `fieldValue` is the value that was sent; it is left out
for bank details, national insurance and passport numbers. The sentence of a message says what is
wrong and what to do; the vendor's own sentences stay as they are.

This page is written by `python -m cli.messages_page`.
"""


_PLACEHOLDER: Final = re.compile(r"\{[a-z_]+\}")
_REFUSALS_HEAD = """
# Refusals of calls

A call that is refused as a whole is answered `{"message": "…"}`; `/connect/token` answers
`{"error": "…", "error_description": "…"}`. Nothing of the call was accepted, unless the message
says that it may have been. `…` in this table is a part that is known only at the call. A refusal
never quotes a key or a personal value. Some of the messages are those of `manage.py`, which prints
them on standard error.
"""


def render_messages_page() -> str:
    """The whole page, in Markdown."""
    rows = [
        (str(id_), entry.severity.value, entry.text, entry.advice, _example_text(example))
        for (id_, entry), example in zip(CATALOGUE.items(), examples().values(), strict=True)
    ]
    head = ("Id", "Kind", "Message", "What to do", "Example")
    refused = [(str(status), _cell(text)) for status, text in _refusal_rows()]
    return (
        f"{_MESSAGES_HEAD}\n{markdown_table(head, rows)}{_REFUSALS_HEAD}\n"
        f"{markdown_table(('Status', 'Message'), refused)}"
    )


def _refusal_rows() -> Iterator[tuple[int, str]]:
    """Those that the source raises, and the answers to faults of storage and of the gateway."""
    told = {(each.status, each.text) for each in refusals()}
    yield from sorted(told | {(status, _PLACEHOLDER.sub("…", text)) for status, text in FAULTS})


def _example_text(message: Message) -> str:
    """Field, value and sentence, as a caller gets them."""
    field = f"`{message.field}` " if message.field else ""
    value = f"`{message.value}` " if message.value else ""
    return _cell(f"{field}{value}{message.text}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    MESSAGES_PAGE.write_text(render_messages_page(), encoding="utf-8")
