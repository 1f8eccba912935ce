"""Writes `docs/settings.md` from the declared table: `python -m cli.settings_page`.

A test compares the page with the table, so a setting cannot change without its document.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.settings import COMMAND_NAMES, FORM, SETTINGS, Kind, Setting
from shared.storage_account import CONNECTION, PARTS

SETTINGS_PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

_SETTINGS_HEAD = """# Settings

Settings are environment variables: the application settings of the function app, or `Values` in
`local.settings.json` (copy `local.settings.example.json`). A blank value counts as not set. All
problems are reported together when the app starts, and a misspelt `GATEWAY_` name is one.

This page is written by `python -m cli.settings_page`.
"""

_IDENTITY_HEAD = f"""## An account reached by identity

Instead of `{CONNECTION}` (which wins where both are set):
"""

_COMMANDS_HEAD = """## Read by the commands only
"""


def render_settings_page() -> str:
    """The whole page, in Markdown."""
    parts = [(f"`{CONNECTION}__{suffix}`", purpose) for suffix, purpose in PARTS.items()]
    names = [(f"`{name}`", purpose) for name, purpose in COMMAND_NAMES.items()]
    sections = (
        _SETTINGS_HEAD,
        render_settings(),
        _IDENTITY_HEAD,
        markdown_table(("Name", "What it is for"), parts),
        _COMMANDS_HEAD,
        markdown_table(("Name", "What it is for"), names),
    )
    return "\n".join(sections)


def render_settings() -> str:
    """The table of the declared settings alone, in Markdown."""
    rows = [
        (f"`{item.name}`", _default_text(item), _allowed_text(item), item.purpose)
        for item in SETTINGS
    ]
    return markdown_table(("Name", "Default", "Allowed", "What it is for"), rows)


def _default_text(item: Setting) -> str:
    return f"`{item.default}`" if item.default else "none"


def _allowed_text(item: Setting) -> str:
    if item.kind is Kind.CONNECTION:
        return "connection string"
    if item.kind is Kind.HASH_KEYS:
        return FORM
    if item.kind is Kind.CHOICE:
        return ", ".join(f"`{choice}`" for choice in item.choices)
    if item.kind is Kind.WORDS:
        return "some of these words"
    if item.most:
        return f"{item.least} to {item.most} {item.kind.value}"
    return item.kind.value


def markdown_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(render_settings_page(), encoding="utf-8")
