"""What a model looks like to reading, merging and the schema: worked out once per model class.

A model of an import type is a `Record`. So is a nested object of it, which says how it merges by
its `merge_kind`, for example `MergeKind.WHOLE` for an address. The class of a nested object needs
another name than the field that holds it, or the annotation of the field finds the field's default.

Reading goes by these shapes, not by pydantic's own aliases: names match in any case at every
level, and an unknown property must be reported with its path (CONTRACTS 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from annotated_types import MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.imports.fields import Mark, Usual, UsualDays, UsualLength, UsualNumbers

Declared = TypeVar("Declared", UsualLength, UsualDays, UsualNumbers)


class MergeKind(Enum):
    """What a nested object does to the one that is stored (CONTRACTS 0, merge)."""

    WHOLE = auto()
    """It is one value and replaces the stored one."""
    PER_PROPERTY = auto()
    """Each property merges on its own, like those of the record."""


class Record(BaseModel):
    """The base of every model of an import type, top level or nested."""

    merge_kind: ClassVar[MergeKind] = MergeKind.PER_PROPERTY
    is_sensitive: ClassVar[bool] = False
    """Whether every value of it is secret; for single fields there is `Mark.SENSITIVE`."""


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One property of a model.

    `kind` is the Python type of its value (`str` where only some texts are allowed), which is
    what text from XML or a form is converted to. `nested` is the shape of its object, or of its
    list's elements, of which there may be `max_items`; `is_sensitive` says that its value may hold
    something that no message shows; `usual` is what its values usually are.
    """

    name: str
    kind: type
    is_nullable: bool
    is_list: bool
    max_items: int | None
    is_sensitive: bool
    nested: Shape | None
    usual: Usual | None = None


@dataclass(frozen=True, slots=True)
class UsualFields:
    """The fields of one model class for which something is usual, by what that is."""

    lengths: Mapping[str, UsualLength]
    days: Mapping[str, UsualDays]
    numbers: Mapping[str, UsualNumbers]


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one model class, by contract name and by lower-cased name.

    `converted` names the fields whose stored value is not simply the one that was sent; `merging`
    has the nested objects that merge property by property; `references` names records.
    """

    model: type[Record]
    fields: Mapping[str, FieldShape]
    folded: Mapping[str, FieldShape]
    nested: Mapping[str, Shape]
    merging: Mapping[str, Shape]
    converted: frozenset[str]
    references: tuple[str, ...]
    required_in_record: tuple[str, ...]
    is_sensitive: bool
    merge_kind: MergeKind
    usual: UsualFields


@cache
def shape_of(model: type[Record]) -> Shape:
    """The shape of a model class; made once, then looked up."""
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
        is_sensitive=any(field.is_sensitive for field in fields.values()),
        merge_kind=model.merge_kind,
        usual=UsualFields(
            lengths=_of_kind(fields, UsualLength),
            days=_of_kind(fields, UsualDays),
            numbers=_of_kind(fields, UsualNumbers),
        ),
    )


def _marked(model: type[Record], mark: Mark) -> frozenset[str]:
    return frozenset(
        name
        for name, info in model.model_fields.items()
        if mark in info.metadata or mark in _unwrap(info.annotation).metadata
    )


def _field(name: str, info: FieldInfo, owner: type[Record]) -> FieldShape:
    bare = _unwrap(info.annotation)
    is_list = get_origin(bare.type) is list
    item = _unwrap(get_args(bare.type)[0]).type if is_list else bare.type
    nested = shape_of(item) if isinstance(item, type) and issubclass(item, Record) else None
    return FieldShape(
        name=name,
        kind=list if is_list else bare.type if isinstance(bare.type, type) else str,
        is_nullable=bare.is_nullable,
        is_list=is_list,
        max_items=_max_length((*info.metadata, *bare.metadata)) if is_list else None,
        is_sensitive=owner.is_sensitive
        or (nested is not None and nested.is_sensitive)
        or name in _marked(owner, Mark.SENSITIVE),
        nested=nested,
        # Of several the outermost counts, which comes last.
        usual=next(
            (
                item
                for item in (*info.metadata[::-1], *bare.metadata[::-1])
                if isinstance(item, Usual)
            ),
            None,
        ),
    )


def _of_kind(fields: Mapping[str, FieldShape], kind: type[Declared]) -> dict[str, Declared]:
    return {name: field.usual for name, field in fields.items() if isinstance(field.usual, kind)}


def _usual(metadata: Sequence[Any]) -> Usual | None:
    """What is usual for a field; of several declarations the outermost one, which comes last."""
    found = [item for item in metadata if isinstance(item, Usual)]
    return found[-1] if found else None


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


def _unwrap(annotation: Any) -> _Bare:
    """The bare type of an annotation, what it is annotated with, and whether None is allowed."""
    if get_origin(annotation) is Annotated:
        bare = _unwrap(annotation.__origin__)
        return _Bare(bare.type, (*annotation.__metadata__, *bare.metadata), bare.is_nullable)
    if get_origin(annotation) in (Union, UnionType):
        (item,) = (item for item in get_args(annotation) if item is not NoneType)
        bare = _unwrap(item)
        return _Bare(bare.type, bare.metadata, True)
    return _Bare(annotation, (), False)
