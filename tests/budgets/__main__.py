"""Measures every entry with every input: `python -m tests.budgets [--page] [ENTRY…]`.

Prints a row for each input. With `--page` the table in `docs/limits.md` is written anew, with the
dearest input of each entry.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.budgets.entries import entries
from tests.budgets.measuring import Entry, Reading, measure

PAGE = Path(__file__).parent.parent.parent / "docs" / "limits.md"
BEGIN, END = "<!-- budgets -->", "<!-- end of budgets -->"
_LARGER = 5
"""Times the size of the test, so that what is fixed counts less in the page."""
_HEAD = (
    "| Entry | Worst input for time | CPU per MB | Worst input for memory | Memory per byte |\n"
    "| --- | --- | --- | --- | --- |\n"
)


def rows_of(entry: Entry) -> Iterator[Reading]:
    """The cost of each input, printed as it comes."""
    for name in entry.worst:
        reading = measure(entry, name)
        print(
            f"{entry.name:28} {name:44} {reading.seconds_per_megabyte:8.3f} s/MB "
            f"{reading.memory_per_byte:7.1f} B/B {'; '.join(reading.faults())}",
            flush=True,
        )
        yield reading


def table_row(entry: Entry, readings: Sequence[Reading]) -> str:
    """The dearest inputs of an entry as a row of the page."""
    slow = max(readings, key=lambda reading: reading.seconds_per_megabyte)
    large = max(readings, key=lambda reading: reading.memory_per_byte)
    return (
        f"| {entry.name} | {slow.input} | {slow.seconds_per_megabyte:.2f} s "
        f"| {large.input} | {large.memory_per_byte:.0f} |\n"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure; write the page where that is asked for."""
    names = [name for name in arguments if name != "--page"]
    size = _LARGER if "--page" in arguments else 1
    rows = [
        table_row(entry, list(rows_of(replace(entry, bytes=entry.bytes * size))))
        for entry in entries()
        if not names or any(name in entry.name for name in names)
    ]
    if "--page" in arguments:
        page = PAGE.read_text("utf-8")
        table = f"{BEGIN}\n{_HEAD}{''.join(rows)}{END}"
        PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, page, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
