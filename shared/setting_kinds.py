"""How a setting is declared: its kind, its row in the table, the field of `Settings` made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How the text of a setting is read."""

    CONNECTION = "connection"
    CHOICE = "choice"
    WORDS = "words"
    ROWS = "rows"
    CALLS = "calls"
    BYTES = "bytes"
    SECONDS = "seconds"
    DAYS = "days"
    IMPORTS = "imports"
    HASH_KEYS = "hash keys"
    ADDRESS = "address"
    SECURE_ADDRESS = "https address"
    GUID = "GUID"
    NAMES = "names"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `least` and `most` bound a number, `choices` a word."""

    name: str
    kind: Kind
    default: str
    purpose: str
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()


def number(name: str, kind: Kind, default: int, least: int, most: int, purpose: str) -> Any:
    """A field of a whole number from `least` to `most`."""
    declared = Setting(name, kind, str(default), purpose, least, most)
    return field(default=default, metadata={"setting": declared})


def choice(name: str, default: str, choices: tuple[str, ...], purpose: str) -> Any:
    """A field of one of these words."""
    declared = Setting(name, Kind.CHOICE, default, purpose, choices=choices)
    return field(default=default, metadata={"setting": declared})


def text(name: str, kind: Kind, declared: str, default: Any, purpose: str) -> Any:
    """A field of text; `declared` is its default as the documents show it."""
    return field(default=default, metadata={"setting": Setting(name, kind, declared, purpose)})


def words(name: str, choices: tuple[str, ...], purpose: str) -> Any:
    """A field of some of these words, all of them by default."""
    declared = Setting(name, Kind.WORDS, ",".join(choices), purpose, choices=choices)
    return field(default=frozenset(choices), metadata={"setting": declared})
