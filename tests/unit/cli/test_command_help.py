"""The help of every command of `manage.py`, as it is printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer._click import Command
from typer.core import TyperGroup
from typer.testing import CliRunner

from cli.app import app
from cli.commands import placeholder

ROOT = typer.main.get_command(app)
# A word in capitals, or `NAME=VALUE`; the words of a usage line that no parameter has.
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*(=[A-Z]+)?")
OF_USAGE = {"[OPTIONS]", "COMMAND", "[ARGS]..."}
GROUPS = ("Set up:", "Every day:", "Emergencies:")


def commands(command: Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Command]]:
    yield words, command
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands(each, (*words, name))


ALL = dict(commands(ROOT, ()))
OVERVIEWS = {words: each for words, each in ALL.items() if isinstance(each, TyperGroup)}
LEAVES = {words: each for words, each in ALL.items() if words not in OVERVIEWS}


def help_of(words: tuple[str, ...]) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="manage.py")
    assert done.exit_code == 0, done.output
    return done.output


def flat(text: str) -> str:
    return " ".join(text.split())


def test_there_are_many_commands() -> None:
    assert len(LEAVES) > 35


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_usage_line_has_one_kind_of_placeholder(words: tuple[str, ...]) -> None:
    usage, _, _ = help_of(words).partition("\n\n")
    program = ("Usage:", "manage.py", *words)
    assert tuple(usage.split()[: len(program)]) == program
    others = set(usage.split()[len(program) :]) - OF_USAGE
    assert [word for word in others if not PLACEHOLDER.fullmatch(word)] == []


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_value_has_a_placeholder_in_capitals_and_a_sentence(words: tuple[str, ...]) -> None:
    shown = flat(help_of(words))
    for parameter in LEAVES[words].params:
        assert flat(getattr(parameter, "help", None) or ""), parameter.name
        if getattr(parameter, "is_flag", False):
            continue
        name = placeholder(parameter)
        assert PLACEHOLDER.fullmatch(name), name
        if parameter.param_type_name == "option":
            assert f"{parameter.opts[0]} {name} " in shown
    assert not re.search(r"<[a-z |]+>|\{[a-z]+\}", shown)


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_shows_an_example_that_it_takes(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, shown = help_of(words).partition("\n  Example:\n")
    program, *example = shlex.split(shown)
    assert program == "manage.py"
    assert tuple(example[: len(words)]) == words
    monkeypatch.chdir(tmp_path)
    for word in example:
        if re.fullmatch(r"[\w-]+\.[a-z]+", word):
            (tmp_path / word).touch()
    for name in ("FUNCTION_KEY", "SOFTWARE_KEY", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"GATEWAY_{name}", "set")
    # Reads the words as a call would, and refuses what is unknown, missing or wrong.
    LEAVES[words].make_context(words[-1], example[len(words) :])


@pytest.mark.parametrize("words", OVERVIEWS, ids=" ".join)
def test_an_overview_cuts_no_sentence(words: tuple[str, ...]) -> None:
    shown = flat(help_of(words))
    for name, command in OVERVIEWS[words].commands.items():
        first, _, _ = (command.help or "").partition("\n\n")
        assert first.rstrip().endswith("."), name
        assert f" {name} {flat(first)}" in shown
    assert ". . ." not in shown
    assert "..." not in shown.replace("[ARGS]...", "")


def test_the_overview_is_in_groups_with_an_example_each() -> None:
    shown = help_of(())
    assert re.findall(r"^[A-Z].*:$", shown, re.MULTILINE) == ["Options:", *GROUPS]
    _, _, examples = shown.partition("Examples:\n")
    for group in GROUPS:
        assert re.search(rf"^ +{group[:-1]} +manage\.py ", examples, re.MULTILINE)
    for example in re.findall(r"manage\.py ([a-z].*)", examples):
        words = shlex.split(example)
        assert (words[0],) in LEAVES or tuple(words[:2]) in LEAVES
