"""The documents agree with the code: calls, commands, messages, values, and what they link."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import typer
from typer._click import Command
from typer.core import TyperGroup

from cli.app import app
from cli.reference_pages import (
    MESSAGES_PAGE,
    VALUES_PAGE,
    Refusal,
    examples,
    refusals,
    render_messages_page,
    render_values_page,
)
from cli.type_pages import PARTS, TYPES_PAGE, parts_in, render_types_page, with_parts
from shared.imports.import_type import ON_EXISTING_MEANINGS, OnExisting
from shared.imports.licenses.actions import ACTION_MEANINGS, IMPORT_ACTIONS
from shared.imports.messages import CATALOGUE, Message, Severity
from shared.imports.results import OUTCOME_MEANINGS, Outcome
from shared.services.status import STATE_MEANINGS, ImportState
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits
from shared.web.responses import FAULTS
from tests.emulator import settings_for
from tests.guides import GUIDES, OUTPUT, blocks, inline, scripts
from tests.unit.house.source_tree import OUTSIDE, PRODUCT, ROOT, modules

# The documents agree with the code: calls, commands, modules that they name, and what they link.

PAGES = sorted((ROOT / "docs").rglob("*.md"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link into the page may name: explicit ids, and headings as GitHub makes them."""
    text = page.read_text("utf-8")
    explicit = re.findall(r'<a id="([^"]+)">', text)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
    return frozenset((*explicit, *slugs))


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


def test_the_index_by_reader_links_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", index.read_text("utf-8"))
    linked = {(index.parent / link).resolve() for link in links}
    assert [page.name for page in PAGES if page != index and page not in linked] == []
    assert "docs/README.md" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"\b((?:shared|functions|cli|local_host|tests|benchmarks)/[\w/]+\.py)\b",
        page.read_text("utf-8"),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_page_of_calls_has_every_call_and_no_other() -> None:
    named = re.findall(
        r"`(GET|POST|DELETE|PUT|PATCH) (/[^`?]+)`", (ROOT / "docs" / "api.md").read_text("utf-8")
    )
    described = {(each.method, each.path) for each in operations(Limits.of(settings_for("")))}
    assert set(named) == described


def test_the_page_of_commands_has_every_command_and_no_other() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8").partition("## manage.py")[2]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {words for cell in cells for words in re.findall(r"`([a-z-]+(?: [a-z-]+)?)", cell)}
    assert named == set(commands_of(typer.main.get_command(app), ()))


PAGES_WITH_COMMANDS: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda path: path.name)
def test_a_command_on_a_page_has_the_options_that_it_is_given(page: Path) -> None:
    known = dict(options_of(typer.main.get_command(app), ()))
    wrong = []
    for given in re.findall(r"manage(?:\.py)? ([a-z][^`\n|#>]*)", page.read_text("utf-8")):
        words = re.match(r"[a-z-]+(?: [a-z-]+)?", given)
        name = next((each for each in known if f"{given} ".startswith(f"{each} ")), None)
        if name is None:
            # A sentence may speak of manage.py, and of a group of its commands.
            first = given.split()[0]
            if words and any(each.startswith(f"{first} ") for each in known) and " --" in given:
                wrong.append(given)
            continue
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", given))
        wrong += [f"{given}: {option}" for option in options - known[name] - {"--help"}]
    assert wrong == []


def options_of(command: Command, path: tuple[str, ...]) -> Iterator[tuple[str, set[str]]]:
    """The words of every command with its options."""
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from options_of(each, (*path, name))
    else:
        yield " ".join(path), {option for each in command.params for option in each.opts}


_DEPLOYMENT: Final = "test_the_first_import_goes_as_the_page_of_the_deployment_says"
RUN_BY: Final = {
    "GET /api/health": _DEPLOYMENT,
    "GET /api/health/queues": "test_the_queues_are_shown_in_numbers",
    "curl GATEWAY_URL/api/health": _DEPLOYMENT,
    "python3 dev.py build": "test_the_built_folder_has_the_app_and_the_locked_packages",
    "python3 dev.py build --telemetry": "test_the_folder_with_telemetry_has_its_packages",
}
"""Commands of the guides between backticks, with the test that does what each says."""
NOT_RUN: Final = ("az ", "azd ", "func ")
"""Programs of which the page of the deployment says that they were not run."""


@pytest.mark.parametrize("page", GUIDES)
def test_every_command_of_a_guide_runs_in_a_test_or_is_marked(page: str) -> None:
    unmarked = [each.text for each in blocks(page) if each.language not in ("sh", *OUTPUT)]
    assert unmarked == [], "begin the block with ```sh, or ```text where it is output"
    runs = (ROOT / "tests/contract/test_guides.py").read_text("utf-8")
    assert not scripts(page) or f'scripts("{page}")' in runs
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for command in inline(page):
        # Those of manage.py are collected by the test that runs them.
        if not command.startswith(("manage.py ", *NOT_RUN)):
            assert f"def {RUN_BY[command]}(" in tests
    what_was_not_run = (ROOT / "docs/deploy.md").read_text("utf-8").partition("## What was not")[2]
    assert [name for name in NOT_RUN if f"`{name.strip()}`" not in what_was_not_run] == []


def test_the_page_of_security_names_tests_that_exist() -> None:
    page = (ROOT / "docs/security.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 25
    assert named - set(re.findall(r"def (test_\w+)\(", sources)) == set()


def commands_of(command: Command, path: tuple[str, ...]) -> Iterator[str]:
    """The words of every command below this one."""
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands_of(each, (*path, name))
    else:
        yield " ".join(path)


# The page of messages is the catalogue, and every message and refusal says what to do.

VERBATIM: Final = (
    "Integration missing for Software Key or disabled",
    "Invalid DB Version",
    "Key name does not match Software Key",
    "Message Type not found/implemented",
    "Pay and Bill Database not active",
    "Required field missing or empty",
    "Worker already exists in the system",
)
"""The vendor's sentences, to which nothing is added."""
WHAT_TO_DO: Final = re.compile(
    r"\b(accept|allowed|ask|begin|check|choose|compare|correct|drop|enable|encode|expected|get|give|"
    r"import|leave|let|look|make|must|name|needed|needs|nothing|process|remove|report|retry|rotate|"
    r"save|send|set|shows them|stage|take|try|unmerge|use|usual|wait|percent-encode|"
    r"the pattern is|it begins)\b"
)
"""Words by which a sentence says what to do, or what is expected in place of what was sent."""
COMPOSED: Final = ("Payload data not supported: ….",)
"""Templates whose advice is in the part that is made at the call, which has tests of its own."""
OF_A_WHOLE_ROW: Final = {
    1101, 1102, 1103, 1104, 1105, 1106, 3003, 3004, 3007, 3008, 4001, 4002, 4003, 4013, 4018,
    *range(5001, 5007), *range(5101, 5106), 9001, 9002, 9004,
}  # fmt: skip
"""Messages that are about the row, or the record, and not about one field of it."""


def test_the_page_of_messages_is_the_one_that_the_catalogue_renders() -> None:
    assert MESSAGES_PAGE.read_text(encoding="utf-8") == render_messages_page(), (
        "run: python -m cli.reference_pages"
    )


@pytest.mark.parametrize("message", examples().values(), ids=lambda message: str(message.id))
def test_a_message_of_a_row_names_its_place_and_what_to_do(message: Message) -> None:
    assert (message.field is None) == (message.id in OF_A_WHOLE_ROW)
    text = message.text
    assert text.isprintable()
    if message.severity is not Severity.INFO and text not in VERBATIM:
        assert WHAT_TO_DO.search(text.removeprefix(CATALOGUE[message.id].text)), text


def test_a_message_of_a_field_shows_its_value_but_no_secret_one() -> None:
    without = {id_ for id_, each in examples().items() if each.field and each.value is None}
    assert without == {
        1001,  # nothing was sent
        1004,  # a sort code
        1007,  # the field is not known, so neither is whether its value is secret
        3002,  # the bytes of a file
        4005, 4006, 4014, 4015, 4016, 4017,  # a file
        4007,  # what was sent is no time, and may be anything
    }  # fmt: skip


@pytest.mark.parametrize("refused", refusals(), ids=lambda each: each.text[:60])
def test_a_refusal_says_what_to_do(refused: Refusal) -> None:
    text = refused.text
    if text.startswith(VERBATIM) or text in COMPOSED:
        return
    assert text.endswith((".", "…")), refused
    assert WHAT_TO_DO.search(text[:1].lower() + text[1:]) or text.count("…") >= 2, refused
    assert len(text) < 320, refused


@pytest.mark.parametrize(("status", "text"), FAULTS)
def test_the_answer_to_a_fault_says_what_to_do(status: int, text: str) -> None:
    assert status in (409, 500, 503)
    assert WHAT_TO_DO.search(text)


def test_refusals_are_found_in_the_source() -> None:
    texts_by_status = {(each.status, each.text) for each in refusals()}
    assert len(texts_by_status) > 150
    assert (403, "Integration missing for Software Key or disabled") in texts_by_status
    assert (
        413,
        "The payload has … rows and the limit is …: send it in several calls.",
    ) in texts_by_status
    assert (401, "Send your function key in the header X-Functions-Key.") in texts_by_status


# The page of states, actions and options is what the code says, and leaves none of them out.


def test_the_page_of_values_is_the_one_that_the_code_renders() -> None:
    assert VALUES_PAGE.read_text(encoding="utf-8") == render_values_page(), (
        "run: python -m cli.reference_pages"
    )


def test_the_pages_say_what_types_there_are() -> None:
    assert TYPES_PAGE.read_text("utf-8") == render_types_page(), (
        "run: python -m cli.reference_pages"
    )
    used: list[str] = []
    for page in PAGES:
        text = page.read_text("utf-8")
        assert with_parts(text) == text, f"{page.name}: run: python -m cli.reference_pages"
        used += parts_in(text)
    assert sorted(used) == sorted(PARTS)


def test_every_value_has_its_meaning() -> None:
    assert tuple(STATE_MEANINGS) == tuple(ImportState)
    assert tuple(OUTCOME_MEANINGS) == tuple(Outcome)
    assert tuple(ACTION_MEANINGS) == IMPORT_ACTIONS
    assert tuple(ON_EXISTING_MEANINGS) == tuple(OnExisting)


# PARITY.md names a test for everything that it calls mirrored.


def parity_rows() -> list[tuple[str, str, str]]:
    lines = (ROOT / "local_host" / "PARITY.md").read_text("utf-8").splitlines()
    cells = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in lines if line.startswith("| ")]
    return [(row[0], row[1], row[2]) for row in cells if row[1].strip() and row[1] != "here"]


def local_host_test_names() -> set[str]:
    sources = (
        path.read_text("utf-8") for path in (ROOT / "tests" / "local_host").glob("test_*.py")
    )
    pattern = re.compile(r"^def (test_\w+)\(", re.MULTILINE)
    return {name for source in sources for name in pattern.findall(source)}


def test_every_row_has_one_of_three_states() -> None:
    assert {state for _, state, _ in parity_rows()} == {"mirrored", "simplified", "absent"}


def test_every_mirrored_row_names_a_test() -> None:
    assert [
        what
        for what, state, proof in parity_rows()
        if state == "mirrored" and "`test_" not in proof
    ] == []


def test_every_named_test_exists() -> None:
    named = {name for *_, proof in parity_rows() for name in re.findall(r"`(test_\w+)`", proof)}
    assert len(named) > 40
    assert named - local_host_test_names() == set()
