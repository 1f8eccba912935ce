"""The commands and requests of the pages that a reader follows step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]
GUIDES: Final = ("deploy", "operate", "security", "tutorial")
"""Pages of docs/ all of whose commands run in a test, or are marked as not run."""
OUTPUT: Final = ("text", "json")
"""Languages of blocks that show what was printed."""

_FENCED = re.compile(
    r"(?P<mark><!-- not run here: [^>]+ -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(
    r"`((?:manage\.py|python3|\.venv/\S+|pip|azd?|func|git|curl|GET|POST|PUT|DELETE) [^`]+)`"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str
    is_run: bool


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page in their order."""
    return [
        Block(page, found["language"], found["text"], is_run=not found["mark"])
        for found in _FENCED.finditer(_text(page))
    ]


def scripts(page: str) -> list[str]:
    """The blocks of commands that a test runs."""
    return [each.text for each in blocks(page) if each.language == "sh" and each.is_run]


def inline(page: str) -> Iterator[str]:
    """The commands and requests between backticks outside of blocks, each once."""
    yield from dict.fromkeys(
        " ".join(found.split()) for found in _INLINE.findall(_FENCED.sub("", _text(page)))
    )


def _text(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text("utf-8")
