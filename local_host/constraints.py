"""The inline constraints of ASP.NET route templates (`{id:guid}`), judged as .NET judges them."""

import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

Check = Callable[[str], bool]

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
    host would not start (PLATFORM 1.4).
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
