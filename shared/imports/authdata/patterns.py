"""Regular expressions of administrators, which must not run for long.

They run on Rust's `regex` engine, which is part of pydantic. It never backtracks, so the time is
linear in the length of the value for every pattern. It supports neither look-around nor
back-references. A pattern must match the whole value; character classes are ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# Characters of a pattern.
MAX_PATTERN: Final = 200
# Parts of a pattern after expanding its counts; each part costs time for each character.
MAX_EXPANDED: Final = 500

# Python's escapes with ASCII classes, in Rust's syntax.
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
    """A function that says whether a text matches the whole pattern. Raises PatternError."""
    # Imported late, because most gateways have no pattern.
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"has over {MAX_PATTERN} characters")
    if _expanded_size(pattern) > MAX_EXPANDED:
        raise PatternError(
            f"repeats too much: written out, its counts come to over {MAX_EXPANDED} parts"
        )
    text = _ESCAPE.sub(lambda match: _ASCII.get(match[1], match[0]), pattern)
    try:
        # First without parentheses, inside of which `a)|(b` would be valid.
        SchemaValidator(core_schema.str_schema(pattern=text))
        validator = SchemaValidator(core_schema.str_schema(pattern=f"^(?:{text})$", strict=True))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
        raise PatternError(
            f"cannot be run ({reason.rstrip('.')}): write it without look-around and "
            "back-references, in the syntax of Rust's regex"
        ) from None
    return validator.isinstance_python


def _expanded_size(pattern: str) -> int:
    """An upper bound of the parts of the pattern after expanding its counts."""
    sizes = [0]
    last_size = 0
    position = 0
    while position < len(pattern):
        count = _COUNT.match(pattern, position)
        if count is not None:
            times = int((count[3] if count[2] and count[3] else count[1])[:9])
            sizes[-1] += last_size * max(times - 1, 0)
            last_size *= max(times, 1)
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
            last_size = sizes.pop() if len(sizes) > 1 else 0
            sizes[-1] += last_size
        else:
            last_size = 1
            sizes[-1] += 1
    return sum(sizes)
