"""Route templates as ASP.NET's conventional routing matches them (docs/platform.md#1).

The first route that matches wins; no route is "more specific" than another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

# An inline constraint of a template (`{id:guid}`), which decides as .NET does.
Check = Callable[[str], bool]

_RESERVED_PREFIXES = ("admin", "runtime")
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_NUMBER = re.compile(
    r"\s*[+-]?(?:[0-9]{1,3}(?:,?[0-9]{3})*|[0-9]+)?\.?[0-9]*(?:[eE][+-]?[0-9]+)?\s*"
)
_HEX = "[0-9a-fA-F]"
_DASHED = f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
_GUID = re.compile(rf"\s*(?:{_HEX}{{32}}|{_DASHED}|\{{{_DASHED}\}}|\({_DASHED}\))\s*")
_DATE_FORMATS = ("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S")


def build_check(text: str) -> Check:
    """The check for one constraint as written, e.g. `int`, `length(2,5)`, `regex(^a+$)`.

    Raises ValueError for a constraint that the host does not know or with wrong arguments: the
    host would not start (docs/platform.md#1.4).
    """
    name, bracket, rest = text.partition("(")
    name = name.strip().lower()
    if not bracket and name in _PLAIN:
        return _PLAIN[name]
    if not bracket or not rest.endswith(")"):
        raise ValueError(text)
    if name == "regex":
        pattern = re.compile(rest[:-1].replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
        return lambda value: pattern.search(value) is not None
    numbers = [int(part) for part in rest[:-1].split(",")]
    if name not in _WITH_NUMBERS or len(numbers) not in _WITH_NUMBERS[name][0]:
        raise ValueError(text)
    if any(low > high for low, high in pairwise(numbers)):
        raise ValueError(text)
    return _WITH_NUMBERS[name][1](*numbers)


def _is_integer(bits: int) -> Check:
    def check(value: str) -> bool:
        return _INTEGER.fullmatch(value) is not None and -(2**bits) <= int(value) < 2**bits

    return check


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None and any(c.isdigit() for c in value)


def _is_date(value: str) -> bool:
    try:
        datetime.fromisoformat(value.strip())
    except ValueError:
        return any(_parses(value.strip(), form) for form in _DATE_FORMATS)
    return True


def _parses(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)  # noqa: DTZ007  only its form is asked for
    except ValueError:
        return False
    return True


def _is_file(value: str) -> bool:
    dot = value.rpartition("/")[2].find(".")
    return dot != -1 and not value.endswith(".")


def _in_range(low: int, high: int) -> Check:
    is_long = _is_integer(63)
    return lambda value: is_long(value) and low <= int(value) <= high


def _length(low: int, high: int | None = None) -> Check:
    return lambda value: low <= len(value) <= (low if high is None else high)


_PLAIN: dict[str, Check] = {
    "int": _is_integer(31),
    "long": _is_integer(63),
    "bool": lambda value: value.strip().lower() in ("true", "false"),
    "datetime": _is_date,
    "decimal": _is_number,
    "double": _is_number,
    "float": _is_number,
    "guid": lambda value: _GUID.fullmatch(value) is not None,
    "alpha": lambda value: re.fullmatch("[a-zA-Z]*", value) is not None,
    "required": bool,
    "file": _is_file,
    "nonfile": lambda value: not _is_file(value),
}
_WITH_NUMBERS: dict[str, tuple[tuple[int, ...], Callable[..., Check]]] = {
    "minlength": ((1,), lambda low: lambda value: len(value) >= low),
    "maxlength": ((1,), lambda high: lambda value: len(value) <= high),
    "length": ((1, 2), _length),
    "min": ((1,), lambda low: _in_range(low, 2**63 - 1)),
    "max": ((1,), lambda high: _in_range(-(2**63), high)),
    "range": ((2,), _in_range),
}


class BadTemplateError(ValueError):
    """The host would refuse this route template. The text is the reason."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One `{name}` of a template."""

    name: str
    is_catch_all: bool
    is_optional: bool
    default: str | None
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed route template."""

    pattern: re.Pattern[str]
    parameters: tuple[Parameter, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The route values of a decoded path, or None. An absent optional value has no key."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        values = {}
        for position, parameter in enumerate(self.parameters):
            value = match[f"p{position}"] or parameter.default
            if value is None:
                continue
            if not all(check(value) for check in parameter.checks):
                return None
            values[parameter.name] = value
        return values


@dataclass(frozen=True, slots=True)
class Route:
    """The route of one HTTP function. No methods means every method."""

    function_name: str
    text: str
    methods: tuple[str, ...]
    template: Template


def sort_key(function_name: str) -> str:
    """The host's order of functions: ordinal over upper-cased names, so `_` sorts after letters."""
    return function_name.upper()


def full_template(route: str | None, function_name: str, prefix: str) -> str:
    """The whole template; raises BadTemplateError for a route that is the host's own."""
    text = route if route and route.strip() else function_name
    if text.strip("/").lower().startswith(_RESERVED_PREFIXES):
        raise BadTemplateError(
            f"its route {text!r} begins with one of {_RESERVED_PREFIXES}, which are the host's"
        )
    return f"{prefix}/{text}" if prefix else text


def parse_template(text: str) -> Template:
    """Parse a whole template; raises BadTemplateError where the host's parser would."""
    body = text[2:] if text.startswith("~/") else text.removeprefix("/")
    if "//" in text or body.startswith("/"):
        raise BadTemplateError(f"the route template {text!r} has two slashes in a row")
    parameters: list[Parameter] = []
    pattern = ""
    segments = _split_segments(body.removesuffix("/"))
    for position, segment in enumerate(segments):
        pattern += _segment_pattern(segment, position == len(segments) - 1, parameters, text)
    names = [parameter.name.lower() for parameter in parameters]
    if len(names) != len(set(names)):
        raise BadTemplateError(f"the route template {text!r} names a parameter twice")
    return Template(re.compile(rf"{pattern}/?", re.DOTALL), tuple(parameters))


def same_route(one: Route, other: Route) -> bool:
    """Whether the host calls two routes duplicates: same text and a method in common."""
    if one.text.strip("/").lower() != other.text.strip("/").lower():
        return False
    return not one.methods or not other.methods or bool(set(one.methods) & set(other.methods))


def find_route(
    routes: Sequence[Route], method: str, path: str
) -> tuple[Route, dict[str, str]] | None:
    """The first route that matches method and path."""
    for route in routes:
        if route.methods and method not in route.methods:
            continue
        values = route.template.match(path)
        if values is not None:
            return route, values
    return None


def _split_segments(text: str) -> list[str]:
    """Cut at slashes outside of braces (a regex constraint may hold one)."""
    segments, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "/" and depth == 0:
            segments.append("")
        else:
            segments[-1] += character
    return [segment for segment in segments if segment]


def _segment_pattern(segment: str, is_last: bool, parameters: list[Parameter], text: str) -> str:
    parts = _split_parts(segment, text)
    pattern = ""
    for is_parameter, part in parts:
        if not is_parameter:
            pattern += f"(?i:{re.escape(part)})"
            continue
        parameter = _parse_parameter(part, text)
        if parameter.is_catch_all and not (is_last and len(parts) == 1):
            raise BadTemplateError(
                f"the route template {text!r} has a catch-all that is not its end"
            )
        if len(parts) > 1 and (parameter.is_optional or parameter.default is not None):
            raise BadTemplateError(
                f"the route template {text!r} has an optional part inside a segment"
            )
        pattern += f"(?P<p{len(parameters)}>{'.*' if parameter.is_catch_all else '[^/]+'})"
        parameters.append(parameter)
    may_be_absent = len(parts) == 1 and parts[0][0] and _may_be_absent(parameters[-1])
    return f"(?:/{pattern})?" if may_be_absent else f"/{pattern}"


def _may_be_absent(parameter: Parameter) -> bool:
    return parameter.is_optional or parameter.is_catch_all or parameter.default is not None


def _split_parts(segment: str, text: str) -> list[tuple[bool, str]]:
    """Literals and parameters of one segment, in turn: (is a parameter, its text)."""
    parts: list[tuple[bool, str]] = []
    for literal, parameter in re.findall(r"([^{}]+)|\{((?:[^{}]|\{\{|\}\})+)\}(?!\})", segment):
        if parameter and parts and parts[-1][0]:
            raise BadTemplateError(
                f"the route template {text!r} has two parameters without a literal"
            )
        parts.append((bool(parameter), parameter or literal))
    if "".join(f"{{{part}}}" if is_one else part for is_one, part in parts) != segment:
        raise BadTemplateError(f"the route template {text!r} has braces that do not fit")
    return parts


def _parse_parameter(part: str, text: str) -> Parameter:
    body = part.lstrip("*")
    is_optional = body.endswith("?")
    name, *constraints = _split_outside_brackets(body.removesuffix("?"), ":")
    *ends, default = _split_outside_brackets(([name, *constraints])[-1], "=")
    if ends:
        name, constraints = (name, [*constraints[:-1], ends[0]]) if constraints else (ends[0], [])
    if not name.strip() or re.search(r"[/{}?*]", name):
        raise BadTemplateError(f"the route template {text!r} has a parameter that cannot be read")
    try:
        checks = tuple(build_check(constraint) for constraint in constraints)
    except (ValueError, re.error):
        raise BadTemplateError(f"the route template {text!r} has an unknown constraint") from None
    return Parameter(
        name.strip(), part.startswith("*"), is_optional, default if ends else None, checks
    )


def _split_outside_brackets(text: str, separator: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
