"""What a command prints: lines for people, or one JSON object for programs.

What is shown came from callers, so it is made printable on its way: see `cli.terminal`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from cli.terminal import fits, say
from shared.printable import printable, printable_json


def _choose_json(ctx: typer.Context, chosen: bool) -> bool:
    """`--json` counts before the command and behind it."""
    root = ctx.find_root()
    root.obj = bool(root.obj) or chosen
    return bool(root.obj)


AsJson = Annotated[
    bool,
    typer.Option("--json", callback=_choose_json, help="Print one JSON object for programs."),
]


def show(as_json: bool, document: dict[str, Any], lines: Iterable[str]) -> None:
    """Print `document` as JSON, or `lines`."""
    if as_json:
        text = printable_json(json.dumps(document, ensure_ascii=False, indent=2))
        print(text if fits(text, sys.stdout) else json.dumps(document, indent=2))
        return
    say(lines)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines, columns aligned, nothing cut; without rows it says that there are none."""
    if not rows:
        return ["There are none."]
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    ]
