"""The field types of every import type: strict, exact, and safe for any JSON value.

A model uses `Text`, `Reference`, `CalendarDate` …; null or blank clears a field of type `X | None`.
Only these values are converted: references are trimmed and put into NFC, dates become ISO text of
the day as written, amounts become the text of the number (docs/contracts.md#0).

Numbers must be `int` or `Decimal`; a `float` has lost digits and is refused with 1002.
`FAULTS` says which message each fault of a field type becomes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum, auto
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, TypeVar, Union, get_args, get_origin

from annotated_types import GroupedMetadata, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticKnownError

from shared.imports.messages import MessageId
from shared.imports.text_checks import trimmed


class Mark(Enum):
    """Properties of a field besides its type, declared by `Annotated[…, Mark.X]`."""

    # The stored value differs from the sent one and is taken from the model.
    CONVERTED = auto()
    # It names a record, so an invisible character in it makes a second record.
    REFERENCE = auto()
    # A secret or personal identity, which never appears in a message.
    SENSITIVE = auto()
    # May be missing in a row, but not in the resulting record.
    IN_RECORD = auto()


# The lowest usual length of any text field.
SHORTEST: Final = 255


@dataclass(frozen=True, slots=True)
class UsualLength:
    """The usual maximum length of a text field: SHORTEST or more."""

    most: int


@dataclass(frozen=True, slots=True)
class UsualNumbers:
    """The usual range of a field's numbers, both ends included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class UsualDays:
    """The field is a date; with `is_past`, one that is not after the day of the import."""

    is_past: bool = False


@dataclass(frozen=True, slots=True)
class UsualItems:
    """The field is a list whose elements each have another value of the field `unique`."""

    unique: str


# A value outside of the usual range is accepted with Warning 2003.
Usual = UsualLength | UsualNumbers | UsualDays | UsualItems

MAX_REFERENCE: Final = 60
# The vendor states no maximum length for licenses.
MAX_LICENSE_REFERENCE: Final = 200
# Characters of any text; a longer one never fits into one record.
MAX_TEXT: Final = 1024 * 1024
INT32: Final = 2**31

# Text that must not be null must not be blank either, because both clear the field.
NOT_BLANK: Final = r"\S"

# The faults of the field types: pydantic's error type → catalogue id, and the detail, which may
# quote limits but no value. Only this table knows pydantic's error names; a test checks all of
# them. `declare_fault` adds those of our own types.
_NO_TEXT = "the text is not valid Unicode"
FAULTS: Final[dict[str, tuple[int, str | None]]] = {
    "missing": (MessageId.REQUIRED_FIELD_MISSING, None),
    "string_type": (MessageId.WRONG_TYPE, "a string is expected"),
    "int_type": (MessageId.WRONG_TYPE, "a whole number is expected"),
    "bool_type": (MessageId.WRONG_TYPE, "true or false is expected"),
    "model_type": (MessageId.WRONG_TYPE, "an object is expected"),
    "list_type": (MessageId.WRONG_TYPE, "a list is expected"),
    "string_too_long": (MessageId.WRONG_LENGTH, "at most {max_length} characters are allowed"),
    "string_too_short": (MessageId.WRONG_LENGTH, "at least {min_length} characters are needed"),
    "too_long": (MessageId.WRONG_LENGTH, "at most {max_length} elements are allowed"),
    "too_short": (MessageId.WRONG_LENGTH, "at least {min_length} elements are needed"),
    "string_pattern_mismatch": (MessageId.WRONG_FORM, "the pattern is {pattern}"),
    "string_unicode": (MessageId.WRONG_FORM, _NO_TEXT),
    "literal_error": (MessageId.VALUE_NOT_ALLOWED, "one of {expected} is expected"),
    "greater_than_equal": (MessageId.OUT_OF_RANGE, "at least {ge} is expected"),
    "less_than_equal": (MessageId.OUT_OF_RANGE, "at most {le} is expected"),
}


def declare_fault(error_type: str, message_id: int, detail: str | None = None) -> str:
    """Add a fault that a field type raises as `PydanticCustomError`. Returns its error type."""
    if error_type in FAULTS:
        raise ValueError(f"the fault {error_type} is declared twice")
    FAULTS[error_type] = message_id, detail
    return error_type


REFERENCE_LENGTH: Final = declare_fault(
    "reference_length", MessageId.WRONG_LENGTH, "1 to {most} characters are allowed"
)
NOT_UNICODE: Final = declare_fault("not_unicode", MessageId.WRONG_FORM, _NO_TEXT)
NOT_IN_XML: Final = declare_fault(
    "not_in_xml",
    MessageId.WRONG_FORM,
    "the text has a control character that XML does not have; remove it",
)
NOT_A_DATE: Final = declare_fault("not_a_date", MessageId.NOT_A_DATE, "{advice}")
NOT_A_NUMBER: Final = declare_fault("not_a_number", MessageId.WRONG_TYPE, "a number is expected")
AMOUNT_RANGE: Final = declare_fault(
    "amount_range",
    MessageId.OUT_OF_RANGE,
    "28 digits at most, before and after the decimal point together",
)
TOO_MANY_PLACES: Final = declare_fault(
    "too_many_places",
    MessageId.OUT_OF_RANGE,
    "at most {places} digits after the decimal point are allowed",
)

_SURROGATE = re.compile("[\ud800-\udfff]")
# A noncharacter of Unicode; XML allows it in texts but not in names.
XML_ESCAPE: Final = "\ufdd0"
_XML_FAULT = re.compile(f"{XML_ESCAPE}U\\+[0-9A-F]{{4}}{XML_ESCAPE}")
_MIDNIGHT = "T00:00:00"
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?)?"
)

_DAY_NUMBER = re.compile(r"[0-9]{4,6}(?:[.,][0-9]+)?")
DATE_FORM: Final = "send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS"


def normal_reference(text: str, most: int = MAX_REFERENCE) -> str | None:
    """The text of a reference, trimmed and in NFC; None where it is empty or too long.

    The length is checked before NFC (which shrinks text to a quarter at most), because normalising
    a long run of combining marks takes quadratic time.
    """
    reference = trimmed(text)
    if not reference.isascii():
        if len(reference) > most * 4:
            return None
        reference = unicodedata.normalize("NFC", reference)
    return reference if 0 < len(reference) <= most else None


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8, that is, has no lone surrogate."""
    return text.isascii() or _SURROGATE.search(text) is None


def xml_fault(character: str) -> str:
    """The substitute in a row for a character that XML 1.0 does not have."""
    return f"{XML_ESCAPE}U+{ord(character):04X}{XML_ESCAPE}"


def has_xml_fault(text: str) -> bool:
    """Whether a text came from XML with a character that XML 1.0 does not have."""
    return XML_ESCAPE in text and _XML_FAULT.search(text) is not None


def _xml_text(text: str) -> str:
    if has_xml_fault(text):
        raise PydanticCustomError(NOT_IN_XML, "a character that XML does not have")
    return text


def _reference_of(most: int) -> Callable[[str], str]:
    def reference(text: str) -> str:
        normal = normal_reference(text, most)
        if normal is None:
            raise PydanticCustomError(REFERENCE_LENGTH, "reference length", {"most": most})
        if not is_unicode(normal):
            raise PydanticCustomError(NOT_UNICODE, "lone surrogate")
        return normal

    return reference


def _calendar_date(text: str) -> str:
    day = text[:10]
    try:
        if text[10:] not in ("", _MIDNIGHT) and not _DATE.fullmatch(text):
            raise ValueError
        if date.fromisoformat(day).isoformat() == day:
            return day
    except ValueError:
        pass
    raise PydanticCustomError(NOT_A_DATE, "no calendar date", {"advice": _date_advice(text)})


def _moment(text: str) -> str:
    day = _calendar_date(text)
    return text if text[len(day) :] else day + _MIDNIGHT


def _date_advice(text: str) -> str:
    """Advice for a text that is not a date, by what it most likely is."""
    if _DATE.fullmatch(text):
        return "there is no such day; send one that exists"
    if _DAY_NUMBER.fullmatch(text):
        return f"this is a spreadsheet's number of a day; format the cell as a date, {DATE_FORM}"
    if _DATE.fullmatch(text.replace(" ", "T", 1)):
        return "write a T between the date and the time, or send the date alone"
    return DATE_FORM


MAX_PERCENTAGE: Final = 100

_MAX_COEFFICIENT = 2**96
_MAX_SCALE = 28
# Any number of this form fits into .NET's decimal, and its digits are those of its text.
_USUAL_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,13})(?:\.[0-9]{1,14})?")


def _amount(value: Any) -> str:
    if type(value) is int:
        number = Decimal(value) if abs(value) < _MAX_COEFFICIENT else None
    elif isinstance(value, Decimal) and value.is_finite():
        number = value
    else:
        raise PydanticCustomError(NOT_A_NUMBER, "no number")
    text = None if number is None else _exact_text(number)
    if text is None:
        raise PydanticCustomError(AMOUNT_RANGE, "out of range")
    return text


def _exact_text(number: Decimal) -> str | None:
    """The number in plain digits, or None where .NET's decimal cannot hold it exactly.

    That type has 96 bits of digits and a scale of 0 to 28. This drops zeros at the end of a
    fraction, so that equal numbers have equal texts. `Decimal.normalize` would round.
    """
    text = str(number)
    if _USUAL_NUMBER.fullmatch(text):
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    sign, digits, exponent = number.as_tuple()
    significant = bytes(digits).rstrip(b"\0")
    if not significant or not isinstance(exponent, int):
        return "0"
    shift = exponent + len(digits) - len(significant)
    length = len(significant)
    if shift < -_MAX_SCALE or length + shift > _MAX_SCALE + 1 or length > _MAX_SCALE + 1:
        return None
    coefficient = int("".join(map(str, significant))) * 10 ** max(shift, 0)
    if coefficient >= _MAX_COEFFICIENT:
        return None
    return format(Decimal((sign, tuple(significant), shift)), "f")


@dataclass(frozen=True, slots=True)
class FieldType(GroupedMetadata):
    """What `Annotated[str, reference(10)]` says of a field: checks, marks and schema in one."""

    parts: tuple[Any, ...]

    def __iter__(self) -> Iterator[object]:
        """The parts, as pydantic and `shape_of` read them."""
        return iter(self.parts)


def reference(most: int = MAX_REFERENCE) -> FieldType:
    """The name of a record: trimmed, NFC, 1 to `most` characters, case and zeros as sent."""
    return FieldType(
        (
            Strict(),
            AfterValidator(_reference_of(most)),
            Mark.CONVERTED,
            Mark.REFERENCE,
            WithJsonSchema({"type": "string", "pattern": NOT_BLANK, "maxLength": most}),
        )
    )


def decimal(
    *, least: int | None = None, most: int | None = None, places: int | None = None
) -> FieldType:
    """An exact decimal number, kept as its text; 10.0 and 10.00 are both kept as "10".

    It is from `least` to `most`, both included, with at most `places` digits after the point.
    """

    def bounded(value: Any) -> str:
        text = _amount(value)
        number = Decimal(text)
        if least is not None and number < least:
            raise PydanticKnownError("greater_than_equal", {"ge": least})
        if most is not None and number > most:
            raise PydanticKnownError("less_than_equal", {"le": most})
        if places is not None and len(text.partition(".")[2]) > places:
            raise PydanticCustomError(TOO_MANY_PLACES, "decimal places", {"places": places})
        return text

    is_free = least is None and most is None and places is None
    limits = {"minimum": least, "maximum": most}
    schema: dict[str, Any] = {"type": "number"}
    schema |= {name: limit for name, limit in limits.items() if limit is not None}
    if places is not None:
        schema["multipleOf"] = 10**-places
    validator = PlainValidator(_amount if is_free else bounded)
    return FieldType((validator, Mark.CONVERTED, WithJsonSchema(schema)))


def items(most: int, *, least: int = 0, unique: str = "") -> FieldType:
    """The number of a list's elements; where two have the same value of the field `unique`, the
    list gets a Warning.
    """
    lengths = (MaxLen(most), *((MinLen(least),) if least else ()))
    return FieldType((*lengths, *((UsualItems(unique),) if unique else ())))


def moment() -> FieldType:
    """A day with its time of day, kept as sent; a day alone is its midnight."""
    return FieldType(
        (
            Strict(),
            AfterValidator(_moment),
            Mark.CONVERTED,
            UsualDays(),
            WithJsonSchema({"type": "string", "pattern": f"^{_DATE.pattern}$"}),
        )
    )


# Any text, as sent. The bound also makes pydantic refuse lone surrogates.
Text = Annotated[str, Strict(), StringConstraints(max_length=MAX_TEXT), UsualLength(SHORTEST)]

# Text for people, which may be long.
LongText = Annotated[Text, UsualLength(10_000)]

# Text of a record that may come as XML; it has no character that XML does not allow.
XmlText = Annotated[Text, AfterValidator(_xml_text)]

# The name of a record, 1 to 60 characters; with `reference(N)` another number of them.
Reference = Annotated[str, reference()]

# The name of a license: 1 to 200 characters.
LicenseReference = Annotated[str, AfterValidator(_xml_text), reference(MAX_LICENSE_REFERENCE)]

# A 32-bit integer written as one: 5.0, true and "5" are 1002.
WholeNumber = Annotated[int, Strict(), Field(ge=-INT32, le=INT32 - 1)]

# true or false; no other value is converted.
Flag = Annotated[bool, Strict()]

# A day from 0001-01-01 on; a time of day and an offset are ignored.
CalendarDate = Annotated[
    str,
    Strict(),
    AfterValidator(_calendar_date),
    Mark.CONVERTED,
    UsualDays(),
    WithJsonSchema({"type": "string", "pattern": f"^{_DATE.pattern}$"}),
]

# A day that is not in the future.
BirthDate = Annotated[CalendarDate, UsualDays(is_past=True)]

# A day with its time of day.
Moment = Annotated[str, moment()]

# An exact decimal number; with `decimal(…)` one with bounds.
Amount = Annotated[str, decimal()]

# An amount from 0 to 100, both included.
Percentage = Annotated[str, decimal(least=0, most=MAX_PERCENTAGE)]

# An amount of money, in the currency of its record.
Money = Annotated[Amount, UsualNumbers(0, 1_000_000)]

# A number of weeks; more than ten years are implausible.
Weeks = Annotated[Amount, UsualNumbers(0, 520)]

# A pattern matches the whole value, because pydantic's engine is Rust's, whose `$` matches only the
# end of the text.
SortCode = Annotated[str, Strict(), StringConstraints(pattern="^[0-9]{6}$")]
AccountNumber = Annotated[str, Strict(), StringConstraints(pattern="^[0-9]{8}[0-9]{0,2}$")]


# The shape of a model, for reading, merging and the schema; computed once per model class.
#
# A model of an import type is a `Record`. So is a nested object of it; its `merge_kind` says how it
# merges, for example `MergeKind.WHOLE` for an address. The class of a nested object needs another
# name than its field, or the annotation of the field resolves to the field's default.
#
# Reading uses these shapes instead of pydantic's aliases, because names match in any case at every
# level and an unknown property must be reported with its path (docs/contracts.md#0).

Declared = TypeVar("Declared", UsualLength, UsualDays, UsualNumbers, UsualItems)


class MergeKind(Enum):
    """How a nested object changes the stored one (docs/contracts.md#0, merge)."""

    # The object is one value and replaces the stored one.
    WHOLE = auto()
    # Each property merges separately, like those of the record.
    PER_PROPERTY = auto()


class Record(BaseModel):
    """The base of every model of an import type, top level or nested."""

    merge_kind: ClassVar[MergeKind] = MergeKind.PER_PROPERTY
    # Fields of which a record must have one at least, in groups; a message names the first.
    needs_one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    # Whether all its values are secret; `Mark.SENSITIVE` is for single fields.
    is_sensitive: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One property of a model.

    `kind` is the Python type of its value (`str` where only some texts are allowed); text from XML
    or a form is converted to it. `is_text` says that its value is sent as a string, `is_any_text`
    that null and every text are valid, `is_any_flag` the same of flags. `nested` is the shape of
    its object, or of its list's elements, at most `max_items`; `is_sensitive` says that its value
    may be secret; `usual` is the range of its usual values.
    """

    name: str
    kind: type
    is_text: bool
    is_any_text: bool
    is_any_flag: bool
    is_nullable: bool
    is_list: bool
    max_items: int | None
    is_sensitive: bool
    nested: Shape | None
    usual: Usual | None = None


# The checks of `Text` and of `Flag`.
_TEXT_CHECKS: Final = [Strict(), StringConstraints(max_length=MAX_TEXT)]
_FLAG_CHECKS: Final = [Strict()]


@dataclass(frozen=True, slots=True)
class UsualFields:
    """The fields of one model class that declare usual values, by kind of declaration."""

    lengths: Mapping[str, UsualLength]
    days: Mapping[str, UsualDays]
    numbers: Mapping[str, UsualNumbers]
    items: Mapping[str, UsualItems]


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one model class, by contract name and by lower-cased name.

    `converted` names the fields whose stored value may differ from the sent one; `merging` has the
    nested objects that merge property by property; `references` are the fields that name records;
    `sensitive` are those whose value may be secret, or has such values in it.
    """

    model: type[Record]
    fields: Mapping[str, FieldShape]
    folded: Mapping[str, FieldShape]
    nested: Mapping[str, Shape]
    merging: Mapping[str, Shape]
    converted: frozenset[str]
    references: tuple[str, ...]
    required_in_record: tuple[str, ...]
    sensitive: tuple[str, ...]
    merge_kind: MergeKind
    usual: UsualFields


@cache
def shape_of(model: type[Record]) -> Shape:
    """The shape of a model class, cached."""
    fields = {name: _field(name, info, model) for name, info in model.model_fields.items()}
    nested = {name: field.nested for name, field in fields.items() if field.nested is not None}
    in_record = _marked(model, Mark.IN_RECORD)
    references = _marked(model, Mark.REFERENCE)
    return Shape(
        model=model,
        fields=fields,
        folded={name.lower(): field for name, field in fields.items()},
        nested=nested,
        merging={
            name: shape
            for name, shape in nested.items()
            if shape.merge_kind is MergeKind.PER_PROPERTY and not fields[name].is_list
        },
        converted=_marked(model, Mark.CONVERTED)
        | {name for name, shape in nested.items() if shape.converted},
        references=tuple(name for name in fields if name in references),
        required_in_record=tuple(name for name in fields if name in in_record),
        sensitive=tuple(name for name, field in fields.items() if field.is_sensitive),
        merge_kind=model.merge_kind,
        usual=UsualFields(
            lengths=_of_kind(fields, UsualLength),
            days=_of_kind(fields, UsualDays),
            numbers=_of_kind(fields, UsualNumbers),
            items=_of_kind(fields, UsualItems),
        ),
    )


def _marked(model: type[Record], mark: Mark) -> frozenset[str]:
    return frozenset(
        name
        for name, info in model.model_fields.items()
        if mark in (*_parts(info.metadata), *_unwrap(info.annotation).metadata)
    )


def _field(name: str, info: FieldInfo, owner: type[Record]) -> FieldShape:
    bare = _unwrap(info.annotation)
    is_list = get_origin(bare.type) is list
    item = _unwrap(get_args(bare.type)[0]).type if is_list else bare.type
    nested = shape_of(item) if isinstance(item, type) and issubclass(item, Record) else None
    kind = list if is_list else bare.type if isinstance(bare.type, type) else str
    metadata = (*_parts(info.metadata), *bare.metadata)
    checks = [each for each in metadata if not isinstance(each, (Mark, Usual))]
    return FieldShape(
        name=name,
        kind=kind,
        is_text=kind is str and not any(isinstance(each, PlainValidator) for each in checks),
        is_any_text=bare.is_nullable and kind is str and checks == _TEXT_CHECKS,
        is_any_flag=bare.is_nullable and kind is bool and checks == _FLAG_CHECKS,
        is_nullable=bare.is_nullable,
        is_list=is_list,
        max_items=_max_length(metadata) if is_list else None,
        is_sensitive=owner.is_sensitive
        or (nested is not None and bool(nested.sensitive))
        or name in _marked(owner, Mark.SENSITIVE),
        nested=nested,
        # The outermost declaration applies; it is the last in the metadata.
        usual=next(
            (
                item
                for item in (*reversed(_parts(info.metadata)), *bare.metadata[::-1])
                if isinstance(item, Usual)
            ),
            None,
        ),
    )


def list_of_anything(info: FieldInfo) -> Any:
    """The annotation of a field that is a list, for the checks of the list without its elements."""
    bare = _unwrap(info.annotation)
    # Annotated needs metadata, which a field may lack; pydantic ignores the text.
    kind: Any = Annotated[list[Any], "as in its model", *bare.metadata]
    return Annotated[kind | None if bare.is_nullable else kind, "as in its model", *info.metadata]


def _of_kind(fields: Mapping[str, FieldShape], kind: type[Declared]) -> dict[str, Declared]:
    return {name: field.usual for name, field in fields.items() if isinstance(field.usual, kind)}


def _max_length(metadata: Iterable[Any]) -> int | None:
    for item in metadata:
        if isinstance(item, FieldInfo):
            return _max_length(item.metadata)
        if isinstance(item, MaxLen):
            return item.max_length
    return None


@dataclass(frozen=True, slots=True)
class _Bare:
    type: Any
    metadata: tuple[Any, ...]
    is_nullable: bool


def _parts(metadata: Iterable[Any]) -> tuple[Any, ...]:
    """The metadata of a field, with the parts of its field types in place of these."""
    return tuple(
        part
        for item in metadata
        for part in (item.parts if isinstance(item, FieldType) else (item,))
    )


def _unwrap(annotation: Any) -> _Bare:
    """The bare type of an annotation, its metadata, and whether None is allowed."""
    if get_origin(annotation) is Annotated:
        bare = _unwrap(annotation.__origin__)
        metadata = _parts(annotation.__metadata__)
        return _Bare(bare.type, (*metadata, *bare.metadata), bare.is_nullable)
    if get_origin(annotation) in (Union, UnionType):
        (item,) = (item for item in get_args(annotation) if item is not NoneType)
        bare = _unwrap(item)
        return _Bare(bare.type, bare.metadata, True)
    return _Bare(annotation, (), False)


# The JSON Schema of an import type, from its model: 2020-12, open for unknown properties.
#
# It is pydantic's own schema without titles and defaults of fields, and with the short form of
# nullable types. It describes what a caller should send; reading accepts a little more, for example
# blank text instead of null, or names in another case.

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
UNDESCRIBED: Final[Mapping[str, Mapping[str, str]]] = {}


def schema_of(
    model: type[Record], title: str, meanings: Mapping[str, Mapping[str, str]] = UNDESCRIBED
) -> dict[str, Any]:
    """The schema of one row of that model; the endpoint adds `$id`.

    `meanings` are the descriptions of its fields, by model class. Raises ValueError for one of a
    field that does not exist.
    """
    schema = model.model_json_schema(mode="validation")
    bases = {base.__name__ for base in model.__mro__}
    if foreign := meanings.keys() - {*bases, *schema.get("$defs", {})}:
        raise ValueError(f"{title} has no {sorted(foreign)}")
    definitions = {
        name: _object(definition, meanings.get(name, {}))
        for name, definition in schema.pop("$defs", {}).items()
    }
    row = _object(schema, meanings.get(model.__name__, {}))
    described = {"$schema": DIALECT, "title": title, **row}
    return described | ({"$defs": definitions} if definitions else {})


def _object(schema: dict[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    """An object's schema with its properties tidied and described."""
    properties = {name: _property(item) for name, item in schema["properties"].items()}
    if foreign := meanings.keys() - properties.keys():
        raise ValueError(f"fields without a model: {sorted(foreign)}")
    for name in meanings:
        properties[name]["description"] = meanings[name]
    tidied: dict[str, Any] = {"type": "object", "properties": properties}
    if "required" in schema:
        tidied["required"] = schema["required"]
    return tidied | {"additionalProperties": True}


def _property(schema: dict[str, Any]) -> dict[str, Any]:
    """A property's schema without title and default, with `null` as one of its types if allowed."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "default")}
    if "anyOf" not in plain:
        return {"pattern": NOT_BLANK} | plain if plain.get("type") == "string" else plain
    (value,) = (item for item in plain.pop("anyOf") if item != {"type": "null"})
    if "$ref" in value or "const" in value:
        return plain | {"anyOf": [value, {"type": "null"}]}
    tidied: dict[str, Any] = plain | value | {"type": [value["type"], "null"]}
    if "enum" in tidied:
        tidied["enum"] = [*tidied["enum"], None]
    return tidied
