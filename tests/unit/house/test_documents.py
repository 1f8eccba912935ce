"""The documents agree with the code: calls, commands, modules that they name, and what they link.

Docstrings and comments cite rules as `docs/contracts.md#3`; each citation has to open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer._click import Command
from typer.core import TyperGroup

from cli.app import app
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits
from tests.emulator import settings_for
from tests.unit.house.source_tree import OUTSIDE, PRODUCT, ROOT, modules

EXAMPLE = "placements"
"""The type that `docs/adding-an-import-type.md` adds."""
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link into the page may name: explicit ids, and headings as GitHub makes them."""
    text = page.read_text("utf-8")
    explicit = re.findall(r'<a id="([^"]+)">', text)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
    return frozenset((*explicit, *made))


def opens(page: Path, anchor: str) -> bool:
    """Whether the page is there, with the anchor where one is named."""
    return page.exists() and (not anchor or anchor in anchors(page))


def test_every_citation_in_the_code_opens() -> None:
    broken = []
    for module in modules(*PRODUCT, *OUTSIDE):
        for page, anchor in re.findall(r"(docs/[\w./-]+\.md)(?:#([\w.-]*\w))?", module.text):
            if not opens(ROOT / page, anchor):
                broken.append(f"{module.name}: {page}#{anchor}")
    assert broken == []


def test_the_code_cites_no_text_outside_the_repository() -> None:
    outside = re.compile(r"\b(?:CONTRACTS|DESIGN|PLATFORM|LIBRARIES|STYLE) ?\d")
    assert [
        module.name for module in modules(*PRODUCT, *OUTSIDE) if outside.search(module.text)
    ] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_link_of_a_page_opens(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text("utf-8"))
    broken = [
        f"{target}#{anchor}"
        for target, anchor in links
        if not opens((page.parent / target).resolve() if target else page, anchor)
    ]
    assert broken == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"\b((?:shared|functions|cli|local_host|tests|benchmarks)/[\w/]+\.py)\b",
        page.read_text("utf-8"),
    )
    gone = [name for name in named if not (ROOT / name).exists()]
    assert [name for name in gone if EXAMPLE not in name] == []


def test_the_page_of_calls_has_every_call_and_no_other() -> None:
    named = re.findall(
        r"`(GET|POST|DELETE|PUT) (/[^`?]+)`", (ROOT / "docs" / "api.md").read_text("utf-8")
    )
    described = {(each.method, each.path) for each in operations(Limits.of(settings_for("")))}
    assert set(named) == described


def test_the_page_of_commands_has_every_command_and_no_other() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8").partition("## manage.py")[2]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {words for cell in cells for words in re.findall(r"`([a-z-]+(?: [a-z-]+)?)", cell)}
    assert named == set(commands_of(typer.main.get_command(app), ()))


def commands_of(command: Command, path: tuple[str, ...]) -> Iterator[str]:
    """The words of every command below this one."""
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands_of(each, (*path, name))
    else:
        yield " ".join(path)
