"""What a command prints: lines for people, or one JSON object for programs.

What is shown came from callers, so it is made printable on its way: see `cli.terminal`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

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


# The bar of a long command, on standard error: rows or bytes, rate, remaining time.
#
# Without a terminal there is none, so that a log is not filled with it.


class RateColumn(ProgressColumn):
    """Rows per second over the last half minute."""

    def render(self, task: Task) -> Text:
        """The rate, once there is one."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} rows/s")


@contextmanager
def row_progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar for the time of the block; the function is called with how many rows are done.

    `total` is None where it is not known how many there are.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(printable(title)), total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def byte_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """The same for the bytes of a file."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(printable(title)), total=total)
        yield lambda done: progress.update(task, completed=done)
