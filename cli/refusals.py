"""Every refusal that the source can raise, as a template: for the page of messages and its test."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared import errors
from shared.errors import RefusedError
from shared.web.responses import STATUS

ROOT: Final = Path(__file__).resolve().parent.parent
_SHARED: Final = ROOT / "shared"
_LEFT_OUT: Final = "…"
"""What stands in a template for a part that is known only at the call."""

_TOKEN_STATUS: Final = {"INVALID_CLIENT": 401, "SERVER_ERROR": 500, "TEMPORARILY_UNAVAILABLE": 503}
"""Of the faults of a token request that are not answered 400."""


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A refusal: its HTTP status, its sentence, and the module that raises it."""

    status: int
    text: str
    module: str


def refusals() -> list[Refusal]:
    """Each one once, by status and sentence."""
    found = {
        (status, text): module.relative_to(ROOT).as_posix()
        for module in sorted(_SHARED.rglob("*.py"))
        for status, text in _refusals_in(module)
    }
    return sorted(Refusal(status, text, module) for (status, text), module in found.items())


def _status_of(kind: type[RefusedError], call: ast.Call) -> int:
    for argument in call.args:
        if isinstance(argument, ast.Attribute) and argument.attr in _TOKEN_STATUS:
            return _TOKEN_STATUS[argument.attr]
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def _refusals_in(module: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(module.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            kind = getattr(errors, node.func.id, None)
            if isinstance(kind, type) and issubclass(kind, RefusedError):
                text = _template(node.args[0], module)
                if text:
                    yield _status_of(kind, node), text


def _template(node: ast.expr, module: Path) -> str:
    """The text of an expression; "" where all of it is known only at the call."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            parts = [_template(value, module) or _LEFT_OUT for value in values]
            return "".join(parts) if any(map(_has_words, parts)) else ""
        case ast.FormattedValue(value=value):
            return _template(value, module)
        case ast.Name(id=name):
            dotted = ".".join(module.relative_to(ROOT).with_suffix("").parts)
            named = getattr(importlib.import_module(dotted), name, None)
            return str(named) if isinstance(named, (str, int)) else ""
        case _:
            return ""


def _has_words(part: str) -> bool:
    return any(mark.isalpha() for mark in part)
