"""Patterns of administrators: regular expressions that cannot be made to run for long.

They run on the engine of Rust's `regex`, which pydantic brings: it never backtracks, so a value
takes a time that is linear in its length, whatever the pattern. It knows neither look-around nor
back-references. A pattern has to match the whole value; classes of characters are ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# Characters of a pattern.
MAX_PATTERN: Final = 200
# Parts of a pattern once its counts are written out: each costs time for each character.
MAX_EXPANDED: Final = 500

# What these escapes of Python mean with ASCII classes, in Rust's words.
_ASCII: Final = {
    "d": "[0-9]",
    "D": "[^0-9]",
    "w": "[A-Za-z0-9_]",
    "W": "[^A-Za-z0-9_]",
    "s": r"[ \t\n\r\f\v]",
    "S": r"[^ \t\n\r\f\v]",
    "b": r"(?-u:\b)",
    "B": r"(?-u:\B)",
    "Z": r"\z",
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ATOM = re.compile(
    r"(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:?))?)|(?P<close>\))"
    r"|(?P<one>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\()])",
    re.DOTALL,
)
_COUNT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")

Matches = Callable[[str], bool]


class PatternError(ValueError):
    """The engine cannot run the pattern; the argument completes "The format of X …"."""


def compile_pattern(pattern: str) -> Matches:
    """Whether a text matches the pattern as a whole. Raises PatternError."""
    # The engine is imported with the first pattern: most gateways have none.
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"has over {MAX_PATTERN} characters")
    if _expanded(pattern) > MAX_EXPANDED:
        raise PatternError(
            f"repeats too much: written out, its counts come to over {MAX_EXPANDED} parts"
        )
    text = _ESCAPE.sub(lambda found: _ASCII.get(found[1], found[0]), pattern)
    try:
        # Alone first: `a)|(b` would be well-formed inside of the parentheses.
        SchemaValidator(core_schema.str_schema(pattern=text))
        whole = SchemaValidator(core_schema.str_schema(pattern=f"^(?:{text})$", strict=True))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
        raise PatternError(
            f"cannot be run ({reason.rstrip('.')}): write it without look-around and "
            "back-references, in the syntax of Rust's regex"
        ) from None
    return whole.isinstance_python


def _expanded(pattern: str) -> int:
    """About how many parts the pattern has with its counts written out; at least that many."""
    sizes = [0]
    last = 0
    position = 0
    while position < len(pattern):
        count = _COUNT.match(pattern, position)
        if count is not None:
            times = int((count[3] if count[2] and count[3] else count[1])[:9])
            sizes[-1] += last * max(times - 1, 0)
            last *= max(times, 1)
            position = count.end()
            continue
        atom = _ATOM.match(pattern, position)
        if atom is None:
            position += 1
            continue
        position = atom.end()
        if atom["open"]:
            sizes.append(0)
        elif atom["close"]:
            last = sizes.pop() if len(sizes) > 1 else 0
            sizes[-1] += last
        else:
            last = 1
            sizes[-1] += 1
    return sum(sizes)
