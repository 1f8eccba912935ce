"""Writes `docs/messages.md` from the message catalogue: `python -m cli.messages_page`.

A test compares the page with the catalogue, so a message cannot change without its document.
"""

from __future__ import annotations

from pathlib import Path

from cli.settings_page import markdown_table
from shared.imports.messages import CATALOGUE

PAGE = Path(__file__).parent.parent / "docs" / "messages.md"

_HEAD = """# Messages of rows

Every message of a row has one of these ids (`errorID`). An Error means that the row did not go in;
a Warning and an Info change nothing about it. `fieldName` is the path of the field,
`PrimaryBankDetails.BankSortCode`; `fieldValue` is what was sent, and is left out for bank details,
national insurance and passport numbers.

This page is written by `python -m cli.messages_page`.
"""


def render() -> str:
    """The whole page, in Markdown."""
    rows = [
        (str(entry.id), entry.severity.value, entry.text, entry.advice)
        for entry in CATALOGUE.values()
    ]
    return f"{_HEAD}\n{markdown_table(('Id', 'Kind', 'Message', 'What to do'), rows)}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
