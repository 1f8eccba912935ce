"""Mapping profiles: how a sender's columns and codes become the fields of a type.

A profile is a JSON document without expressions or code (docs/mapping-profiles.md). It is read and
checked as a whole, and refused with all its faults at once.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from shared.errors import InvalidRequestError
from shared.imports.files.columns import is_date
from shared.imports.import_type import ImportType
from shared.imports.json_rows import json_kind
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.text_checks import escaped, nearest, trimmed, without_hidden

# The limits of a profile.
MAX_PROFILE_BYTES: Final = 256 * 1024
MAX_PROFILE_COLUMNS: Final = 1_000
MAX_ENTRIES: Final = 10_000
MAX_NAME: Final = 40
# Characters of a column name, and of a text in a table.
MAX_TEXT: Final = 1_000
_MOST_FAULTS: Final = 100
# Digits of a number that JSON readers keep.
_MOST_DIGITS: Final = 15

_NAME: Final = re.compile(rf"[a-z0-9](?:[a-z0-9_-]{{0,{MAX_NAME - 2}}}[a-z0-9])?")
_LIST_INDEX: Final = re.compile(r"\[(0|[1-9][0-9]{0,5})\]")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")
_DATE_TOKEN: Final = re.compile("Y+|M+|D+|[^YMD]")
_DATE_MARKS: Final = "./- "
_PARTS: Final = ("type", "version", "columns", "constants", "values", "dates", "decimal", "skip")
# The word of `skip` for any value.
ANY: Final = "any"


class Otherwise(StrEnum):
    """What becomes of a code of the sender without an entry."""

    # Its row fails with 1010.
    ERROR = "error"
    # The field gets the code itself.
    KEEP = "keep"
    # The field gets the value that the table has for it.
    VALUE = "value"


# A JSON value that is neither an object nor a list.
Scalar = str | int | Decimal | bool | None
Step = str | int


class ProfileRefusedError(InvalidRequestError):
    """A profile has faults; `faults` are all of them, each a sentence."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults[:_MOST_FAULTS])
        left_out = len(faults) - len(self.faults)
        if left_out:
            self.faults = (*self.faults, f"{left_out} more faults are left out here.")
        count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(
            f"The profile has {count}, so it was not stored: {' '.join(self.faults)} Correct the "
            "file and set it again."
        )


class ProfileRef(NamedTuple):
    """A version of a profile; the name is "" for an import without a profile."""

    name: str = ""
    version: int = 0


NO_PROFILE: Final = ProfileRef()


def profile_name(text: str) -> str:
    """The name of a profile, in lower case. Raises InvalidRequestError for what cannot be one."""
    name = text.lower()
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{escaped(text[:100])!r} cannot be the name of a profile: use 1 to {MAX_NAME} letters "
            "from a to z, digits, hyphens and underscores, with a letter or digit at both ends."
        )
    return name


@lru_cache(maxsize=10_000)
def column_key(name: str) -> str:
    """What two names of one column share: case, width, blanks and invisible characters are not
    compared.
    """
    text = " ".join(unicodedata.normalize("NFKC", name).split())
    return without_hidden(trimmed(text)).casefold()


class Field(NamedTuple):
    """A field that has a value: its path under contract names, and its JSON Schema."""

    path: str
    schema: Mapping[str, Any]

    @property
    def types(self) -> frozenset[str]:
        """The JSON types that the schema allows."""
        types = self.schema.get("type", ())
        return frozenset([types] if isinstance(types, str) else types)

    @property
    def is_date(self) -> bool:
        """Whether the field is a calendar day."""
        return is_date(self.schema)

    @property
    def is_number(self) -> bool:
        """Whether the field is a number."""
        return bool(self.types & {"integer", "number"})

    @property
    def steps(self) -> tuple[Step, ...]:
        """The path as names, and indexes of lists."""
        return tuple(name or int(index) for name, index in _STEP.findall(self.path))


class FieldNames:
    """The fields of a type by their path in lower case, with `[]` for every index of a list."""

    def __init__(self, kind: ImportType) -> None:
        schema = kind.rules.json_schema()
        self._root = schema
        self._fields: dict[str, Field] = {}
        self._largest: dict[str, int] = {}
        self._inner: set[str] = set()
        self._add(schema, "")

    def _add(self, node: Mapping[str, Any], path: str) -> None:
        node = self._resolved(node)
        if "properties" in node or "items" in node:
            self._inner.add(path.lower())
        if "properties" in node:
            for name, child in node["properties"].items():
                self._add(child, f"{path}.{name}" if path else name)
        elif "items" in node:
            self._largest[f"{path}[]".lower()] = node.get("maxItems", 1_000)
            self._add(node["items"], f"{path}[]")
        else:
            self._fields[path.lower()] = Field(path, node)

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        for option in (node, *node.get("anyOf", ())):
            if "$ref" in option:
                resolved: Mapping[str, Any] = self._root["$defs"][option["$ref"].rpartition("/")[2]]
                return resolved
        return node

    def find(self, path: str, *, names_nearest: bool = True) -> Field:
        """The field at a path, in any case. Raises ValueError with the fault as a clause."""
        general = _LIST_INDEX.sub("[]", path).lower()
        field = self._fields.get(general)
        if field is None:
            if general in self._inner:
                raise ValueError(
                    f"{_shown(path)} has fields of its own: name one of them, as in "
                    f"{self._first_below(general)}"
                )
            meant = names_nearest and nearest(_LIST_INDEX.sub("[0]", path), self._paths())
            hint = f"; {meant} is the nearest one" if meant else ""
            raise ValueError(f"{_shown(path)} is no field of the type{hint}")
        indexes = [int(index) for index in _LIST_INDEX.findall(path)]
        at = 0
        for index in indexes:
            at = general.index("[]", at) + 2
            if index >= self._largest[general[:at]]:
                raise ValueError(
                    f"{_shown(path)} is beyond the end of the list, which has at most "
                    f"{self._largest[general[:at]]} elements"
                )
        places = iter(indexes)
        return field._replace(path=re.sub(r"\[\]", lambda _: f"[{next(places)}]", field.path))

    def _paths(self) -> Iterator[str]:
        return (each.path.replace("[]", "[0]") for each in self._fields.values())

    def _first_below(self, general: str) -> str:
        return next(path for path in self._paths() if _starts_with(path.lower(), general))


def _starts_with(path: str, general: str) -> bool:
    return _LIST_INDEX.sub("[]", path).startswith(general)


@lru_cache(maxsize=50)
def fields_of(kind: ImportType) -> FieldNames:
    """The fields of a type."""
    return FieldNames(kind)


@dataclass(frozen=True, slots=True)
class DateFormat:
    """How the sender writes dates, in the tokens D, DD, M, MM, YY and YYYY.

    `years_from` is the first of the hundred years that two digits name; 0 without such a year.
    """

    text: str
    years_from: int
    pattern: re.Pattern[str] = field(repr=False)

    def to_iso(self, text: str) -> str | None:
        """A date of the sender as ISO text; None where it is no calendar day of this format."""
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        day, month, year = (int(match[name]) for name in ("D", "M", "Y"))
        if self.years_from:
            year += self.years_from // 100 * 100
            year += 100 if year < self.years_from else 0
        try:
            return date(year, month, day).isoformat()
        except ValueError:
            return None

    def from_iso(self, text: str) -> str:
        """A calendar day in ISO text as the sender writes it."""
        year, month, day = text[:10].split("-")
        tokens = {
            "YYYY": year,
            "YY": year[2:],
            "MM": month,
            "M": month.removeprefix("0"),
            "DD": day,
            "D": day.removeprefix("0"),
        }
        return _DATE_TOKEN.sub(lambda token: tokens.get(token[0], token[0]), self.text)


def date_format(text: str, years_from: int = 0) -> DateFormat:
    """The format of this text. Raises ValueError with the fault as a clause."""
    tokens = _DATE_TOKEN.findall(text)
    letters = [token[0] for token in tokens if token[0] in "YMD"]
    if sorted(letters) != ["D", "M", "Y"]:
        raise ValueError("a format has the day, the month and the year once each, as in DD.MM.YYYY")
    parts: list[str] = []
    for place, token in enumerate(tokens):
        match token:
            case "DD" | "MM" | "YY" | "YYYY":
                parts.append(f"(?P<{token[0]}>[0-9]{{{len(token)}}})")
            case "D" | "M":
                beside = tokens[max(0, place - 1) : place + 2]
                if any(each != token and each[0] in "YMD" for each in beside):
                    raise ValueError(
                        f"{token} needs a mark before and behind it: write {token * 2}"
                    )
                parts.append(f"(?P<{token}>[0-9]{{1,2}})")
            case _ if token in _DATE_MARKS:
                parts.append(re.escape(token))
            case _:
                raise ValueError(
                    f"{_shown(token)} is no token of a format: there are D, DD, M, MM, YY and "
                    "YYYY, and between them full stops, slashes, hyphens and spaces"
                )
    if ("YY" in tokens) != bool(years_from):
        raise ValueError(
            "YY needs yearsFrom, the first of the hundred years that two digits name, as in "
            '{"format": "DD.MM.YY", "yearsFrom": 1950}'
            if "YY" in tokens
            else "yearsFrom belongs to a format with YY alone"
        )
    return DateFormat(text, years_from, re.compile("".join(parts)))


@dataclass(frozen=True, slots=True)
class ValueTable:
    """The sender's codes of a field, and what becomes of others; `value` is that of VALUE."""

    entries: Mapping[str, Scalar]
    otherwise: Otherwise = Otherwise.ERROR
    value: Scalar = None

    @property
    def otherwise_part(self) -> Scalar:
        """Its part `otherwise` in the document of the profile."""
        return self.value if self.otherwise is Otherwise.VALUE else self.otherwise.value


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile of a type; paths are under contract names.

    `columns` has the field of each column by its name. `skip` has the texts by which a column makes
    its row be passed over; None: any text.
    """

    kind: ImportType
    columns: Mapping[str, Field]
    constants: Mapping[str, Scalar] = field(default_factory=dict)
    values: Mapping[str, ValueTable] = field(default_factory=dict)
    dates: DateFormat | None = None
    decimal: str = ""
    skip: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """The JSON document of the profile, with paths under contract names."""
        document: dict[str, Any] = {
            "type": self.kind.name,
            "version": self.kind.version,
            "columns": {name: each.path for name, each in self.columns.items()},
        }
        if self.constants:
            document["constants"] = dict(self.constants)
        if self.values:
            document["values"] = {
                path: {
                    "entries": dict(table.entries),
                    "otherwise": table.otherwise_part,
                }
                for path, table in self.values.items()
            }
        if self.dates:
            years = {"yearsFrom": self.dates.years_from} if self.dates.years_from else {}
            document["dates"] = {"format": self.dates.text, **years} if years else self.dates.text
        if self.decimal:
            document["decimal"] = self.decimal
        if self.skip:
            document["skip"] = {
                name: ANY if texts is None else sorted(texts) for name, texts in self.skip.items()
            }
        return document

    def to_text(self) -> str:
        """The profile as it is stored."""
        return json.dumps(
            self.to_document(), ensure_ascii=False, separators=(",", ":"), default=_json_number
        )


def _json_number(value: Any) -> float:
    assert isinstance(value, Decimal)
    return float(value)


def read_profile(text: str) -> Profile:
    """Read a profile and check it as a whole. Raises ProfileRefusedError with all faults."""
    if len(text) > MAX_PROFILE_BYTES or len(text.encode()) > MAX_PROFILE_BYTES:
        raise ProfileRefusedError([f"It has more than {MAX_PROFILE_BYTES} bytes."])
    try:
        document = json.loads(
            text,
            object_pairs_hook=_unique_names,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
        )
        text.encode()
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ProfileRefusedError([f"It is not valid JSON: {error.msg} ({place})."]) from None
    except _RepeatedNameError as error:
        raise ProfileRefusedError([f"It has the name {error} twice in one object."]) from None
    except UnicodeEncodeError:
        raise ProfileRefusedError(
            ["It has half a surrogate pair, which is no character."]
        ) from None
    except (ValueError, ArithmeticError, RecursionError):
        raise ProfileRefusedError(
            ["It has a number out of range, or is nested too deep."]
        ) from None
    if not isinstance(document, dict):
        raise ProfileRefusedError([f"It is {json_kind(document)}: send one JSON object."])
    profile = _ProfileReader(document).read()
    if len(profile.to_text().encode()) > MAX_PROFILE_BYTES:
        raise ProfileRefusedError(
            [f"It has more than {MAX_PROFILE_BYTES} bytes with the parts that the gateway adds."]
        )
    return profile


class _RepeatedNameError(ValueError):
    """A name that an object has twice."""


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _RepeatedNameError(_shown(counts.most_common(1)[0][0]))
    return entries


def _refuse_constant(_name: str) -> Any:
    raise ValueError


class _ProfileReader:
    """Reads the parts of a profile and collects their faults."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._faults: list[str] = []
        self._keys: dict[str, str] = {}
        # The part and the name that give each field, by its path in lower case.
        self._sources: dict[str, tuple[str, str]] = {}

    def read(self) -> Profile:
        for name in self._document:
            if name not in _PARTS:
                meant = nearest(name, _PARTS)
                hint = f"; {meant} is the nearest one" if meant else ""
                self._add(_shown(name), f"is no part of a profile{hint}")
        kind = self._kind()
        if kind is None:
            raise ProfileRefusedError(self._faults)
        fields = fields_of(kind)
        columns = self._columns(fields)
        constants = self._constants(fields)
        values = self._values(fields)
        profile = Profile(
            kind, columns, constants, values, self._dates(), self._decimal(), self._skip()
        )
        required = kind.rules.json_schema().get("required", ())
        for key_field in kind.rules.key_fields:
            if key_field in required and key_field.lower() not in self._sources:
                self._add("columns", f"has no column for {key_field}, and there is no constant")
        if self._faults:
            raise ProfileRefusedError(self._faults)
        return profile

    def _add(self, place: str, fault: str) -> None:
        self._faults.append(f"{place} {fault}.")

    def _kind(self) -> ImportType | None:
        name, version = self._document.get("type"), self._document.get("version")
        known = [kind for kind in TYPE_CATALOGUE.all if takes_profiles(kind)]
        names = ", ".join(dict.fromkeys(kind.name for kind in known))
        if not isinstance(name, str) or name.lower() not in {kind.name for kind in known}:
            self._add("type", f"must be one of {names}")
            return None
        versions = [kind for kind in known if kind.name == name.lower()]
        if version is None:
            return versions[0]
        for kind in versions:
            if version == kind.version and not isinstance(version, bool):
                return kind
        numbers = ", ".join(str(kind.version) for kind in versions)
        self._add("version", f"must be a version of {versions[0].name}: {numbers}")
        return None

    def _object(self, name: str, *, is_required: bool = False) -> Mapping[str, Any]:
        value = self._document.get(name)
        if value is None and not is_required:
            return {}
        if not isinstance(value, dict) or (is_required and not value):
            self._add(
                name,
                "must be an object with at least one name" if is_required else "must be an object",
            )
            return {}
        return value

    def _columns(self, fields: FieldNames) -> dict[str, Field]:
        columns: dict[str, Field] = {}
        paths = self._object("columns", is_required=True)
        if len(paths) > MAX_PROFILE_COLUMNS:
            self._add("columns", f"has more than {MAX_PROFILE_COLUMNS} names")
            return {}
        for name, path in paths.items():
            place = f"columns.{_shown(name)}"
            if not self._is_column_name(place, name):
                continue
            key = column_key(name)
            if key in self._keys:
                self._add(
                    place,
                    f"is the same column as {_shown(self._keys[key])}, since case, width and "
                    "blanks are not compared",
                )
                continue
            self._keys[key] = name
            field = self._field(place, path, fields)
            if field is not None and self._claim_field("columns", name, field.path):
                columns[name] = field
        return columns

    def _is_column_name(self, place: str, name: str) -> bool:
        if not column_key(name):
            self._add(place, "has no visible character")
        elif len(name) > MAX_TEXT:
            self._add(place, f"has more than {MAX_TEXT} characters")
        elif column_key(name) in ("_index", "_line", "_error", "_more"):
            self._add(place, "is a column of failed rows, so a file of the sender cannot have it")
        else:
            return True
        return False

    def _field(self, place: str, path: Any, fields: FieldNames) -> Field | None:
        if not isinstance(path, str):
            self._add(place, f"must name a field; it is {json_kind(path)}")
            return None
        try:
            # Comparing a name with all fields takes some milliseconds.
            return fields.find(path, names_nearest=len(self._faults) < _MOST_FAULTS)
        except ValueError as error:
            self._add(place, f"names an unknown field: {error}")
            return None

    def _claim_field(self, part: str, name: str, path: str) -> bool:
        """Whether no other column or constant gives the field at a path."""
        source = self._sources.setdefault(path.lower(), (part, name))
        if source == (part, name):
            return True
        other = f"{source[0]}.{_shown(source[1])}"
        self._add(f"{part}.{_shown(name)}", f"gives the field {path}, which {other} gives already")
        return False

    def _constants(self, fields: FieldNames) -> dict[str, Scalar]:
        constants: dict[str, Scalar] = {}
        for path, value in self._object("constants").items():
            place = f"constants.{_shown(path)}"
            field = self._field(place, path, fields)
            if field is not None and self._claim_field("constants", path, field.path):
                constants[field.path] = self._checked(place, value, field)
        return constants

    def _values(self, fields: FieldNames) -> dict[str, ValueTable]:
        tables: dict[str, ValueTable] = {}
        count = 0
        for path, document in self._object("values").items():
            place = f"values.{_shown(path)}"
            field = self._field(place, path, fields)
            if not isinstance(document, dict):
                self._add(place, 'must be an object: {"entries": {…}, "otherwise": …}')
                continue
            for name in document.keys() - {"entries", "otherwise"}:
                self._add(place, f"has no part {_shown(name)}: there are entries and otherwise")
            entries = document.get("entries")
            if not isinstance(entries, dict) or not entries:
                self._add(place, "needs entries: an object with at least one code of the sender")
                continue
            count += len(entries)
            if field is None:
                continue
            if field.path in tables:
                self._add(place, f"is a second table for {field.path}")
                continue
            part, _ = self._sources.get(field.path.lower(), ("", ""))
            if part != "columns":
                self._add(place, f"belongs to the field {field.path}, which no column gives")
            tables[field.path] = self._table(place, entries, document, field)
        if count > MAX_ENTRIES:
            self._add("values", f"has more than {MAX_ENTRIES} entries")
        return tables

    def _table(
        self, place: str, entries: Mapping[str, Any], document: Mapping[str, Any], field: Field
    ) -> ValueTable:
        known: dict[str, Scalar] = {}
        for code, target in entries.items():
            entry_place = f"{place}.entries.{_shown(code)}"
            if trimmed(code) in known:
                self._add(entry_place, "is there twice, since blanks at the ends do not count")
            elif len(code) > MAX_TEXT:
                self._add(entry_place, f"has more than {MAX_TEXT} characters")
            else:
                known[trimmed(code)] = self._checked(entry_place, target, field)
        otherwise = document.get("otherwise", Otherwise.ERROR.value)
        if otherwise in (Otherwise.ERROR.value, Otherwise.KEEP.value):
            return ValueTable(known, Otherwise(otherwise))
        value = self._checked(f"{place}.otherwise", otherwise, field)
        return ValueTable(known, Otherwise.VALUE, value)

    def _checked(self, place: str, value: Any, field: Field) -> Scalar:
        fault = schema_fault(value, field)
        if fault:
            self._add(place, f"is a value that {field.path} does not take: {fault}")
            return None
        checked: Scalar = value
        return checked

    def _dates(self) -> DateFormat | None:
        value = self._document.get("dates")
        text, years_from = value, 0
        if isinstance(value, dict):
            for name in value.keys() - {"format", "yearsFrom"}:
                self._add("dates", f"has no part {_shown(name)}: there are format and yearsFrom")
            text, years_from = value.get("format", ""), value.get("yearsFrom", 0)
            if type(years_from) is not int or not (years_from == 0 or 1000 <= years_from <= 9900):
                self._add("dates", "has a yearsFrom that is no year from 1000 to 9900")
                return None
        if text is None:
            return None
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            self._add("dates", "must be a format, as in DD.MM.YYYY")
            return None
        try:
            return date_format(text, years_from)
        except ValueError as error:
            self._add("dates", f"cannot be used: {error}")
            return None

    def _decimal(self) -> str:
        mark = self._document.get("decimal")
        if mark in (",", "."):
            return str(mark)
        if mark is not None:
            self._add("decimal", 'must be "," or "."')
        return ""

    def _skip(self) -> dict[str, frozenset[str] | None]:
        skip: dict[str, frozenset[str] | None] = {}
        keys: set[str] = set()
        for name, texts in self._object("skip").items():
            place = f"skip.{_shown(name)}"
            if not self._is_column_name(place, name):
                continue
            if column_key(name) in keys:
                self._add(place, "names a column that skip has already")
            keys.add(column_key(name))
            if texts == ANY:
                skip[name] = None
            elif isinstance(texts, list) and texts and all(isinstance(each, str) for each in texts):
                if not all(map(trimmed, texts)):
                    self._add(place, "has a blank text; an empty cell cannot skip its row")
                skip[name] = frozenset(map(trimmed, texts))
            else:
                self._add(place, f'must be a list of texts, or "{ANY}"')
        if sum(len(texts or ()) for texts in skip.values()) > MAX_ENTRIES:
            self._add("skip", f"has more than {MAX_ENTRIES} texts")
        return skip


def takes_profiles(kind: ImportType) -> bool:
    """Whether rows of a type may be mapped: those that are JSON rows and are kept as sent."""
    return kind.keeps_rows and kind.has_schema


def schema_fault(value: Any, field: Field) -> str:
    """Why the schema of a field refuses a value; "" where it takes it."""
    schema, types = field.schema, field.types
    match value:
        case None:
            return "" if "null" in types else "it cannot be cleared"
        case bool():
            return "" if "boolean" in types else f"it takes {_listed(types)}"
        case str():
            return _text_fault(value, field)
        case int() | Decimal():
            number = Decimal(value)
            if abs(number) >= 10**_MOST_DIGITS or Decimal(repr(float(number))) != number:
                return f"it has more than {_MOST_DIGITS} digits"
            if not field.is_number or ("number" not in types and number != int(number)):
                return f"it takes {_listed(types)}"
            low, high = schema.get("minimum"), schema.get("maximum")
            if (low is None or low <= number) and (high is None or number <= high):
                return ""
            return f"it takes numbers from {low} to {high}"
        case _:
            return f"it is {json_kind(value)}"


def _text_fault(value: str, field: Field) -> str:
    schema = field.schema
    if "string" not in field.types:
        return f"it takes {_listed(field.types)}"
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        names = ", ".join(str(each) for each in allowed if each is not None)
        return f"it takes {names}"
    if len(value) > schema.get("maxLength", len(value)):
        return f"it takes {schema['maxLength']} characters at most"
    if len(value) < schema.get("minLength", 0):
        return f"it takes {schema['minLength']} characters at least"
    if field.is_date and not _is_iso_date(value):
        return "it takes a calendar day as YYYY-MM-DD"
    pattern = schema.get("pattern")
    if pattern and not re.search(pattern, value):
        return f"it must match {pattern}"
    return ""


def _is_iso_date(text: str) -> bool:
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def _listed(types: frozenset[str]) -> str:
    names = {"string": "text", "integer": "whole numbers", "number": "numbers"}
    return " or ".join(sorted(names.get(each, "true and false") for each in types - {"null"}))


def _shown(text: str) -> str:
    return escaped(text)[:60] or '""'
