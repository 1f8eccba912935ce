"""Writes `docs/values.md`: states, actions and options, each with its meaning.

Run it with `python -m cli.values_page`. A test compares the page with the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.settings_page import markdown_table
from shared.imports.import_type import ON_EXISTING_MEANINGS
from shared.imports.licenses.actions import ACTION_MEANINGS
from shared.imports.results import OUTCOME_MEANINGS
from shared.services.status import STATE_MEANINGS
from shared.settings import read_settings
from shared.storage_account import CONNECTION, DEVELOPMENT
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits, Parameter

VALUES_PAGE = Path(__file__).parent.parent / "docs" / "values.md"

_VALUES_HEAD = """# States, actions and options

The meaning of the words in calls and answers. This page is written by `python -m cli.values_page`.
The meaning of every field is in the schemas (`GET /api/import/workers.v1.schema`), and the messages
are in [messages.md](messages.md).
"""


def render_values_page() -> str:
    """The whole page, in Markdown."""
    actions = [
        (f"`{action}`", meaning.stored, meaning.missing, meaning.absent)
        for action, meaning in ACTION_MEANINGS.items()
    ]
    sections = (
        _VALUES_HEAD,
        "## States of an import\n",
        markdown_table(("State", "What it says"), _meaning_rows(STATE_MEANINGS)),
        "## Outcomes of a row\n",
        markdown_table(("Outcome", "What it says"), _meaning_rows(OUTCOME_MEANINGS)),
        "## importAction of licenses\n",
        "`Override` is the default.\n",
        markdown_table(
            (
                "Action",
                "A stored license",
                "A license that is not stored",
                "A field that the row leaves out",
            ),
            actions,
        ),
        "## onExisting of an integration\n",
        markdown_table(("Value", "What it says"), _meaning_rows(ON_EXISTING_MEANINGS)),
        "## Options of calls\n",
        markdown_table(("Name", "Where", "What it does", "Calls"), [*_option_rows()]),
    )
    return "\n".join(sections)


def _meaning_rows(meanings: Mapping[Any, str]) -> list[tuple[str, str]]:
    return [(f"`{value}`", text) for value, text in meanings.items()]


def _option_rows() -> Iterator[tuple[str, str, str, str]]:
    """Every parameter of the published contract that is no part of an address, once."""
    calls: dict[tuple[str, str, str], list[str]] = {}
    for operation in operations(Limits.of(read_settings({CONNECTION: DEVELOPMENT}))):
        for item in operation.parameters:
            if item.place != "path":
                key = (item.name, item.place, _parameter_text(item))
                calls.setdefault(key, []).append(f"`{operation.method} {operation.path}`")
    for (name, place, text), named in sorted(calls.items(), key=lambda each: each[0][0].lower()):
        few = ", ".join(named[:3])
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        yield f"`{name}`", place, text, few + more


def _parameter_text(item: Parameter) -> str:
    """What a parameter does, its values and its default."""
    values = item.schema.get("enum")
    listed = f" Values: {', '.join(f'`{value}`' for value in values)}." if values else ""
    default = item.schema.get("default")
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{item.text}{listed}" + (f" Default: `{shown}`." if default is not None else "")


if __name__ == "__main__":
    VALUES_PAGE.write_text(render_values_page(), encoding="utf-8")
