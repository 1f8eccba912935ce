"""The answers that several operations give, as pydantic models, and how their schemas are made.

The models describe answers and check them in tests; the gateway writes its answers without them, so
that a cold start need not load pydantic. A docstring of a model is the description of its component
in the document.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from shared.imports.import_type import ImportType
from shared.imports.messages import Severity
from shared.imports.results import Outcome
from shared.imports.sender import CALLER_MEANINGS, CallerKind
from shared.services.status import ImportState

# What a media type carries: a type that pydantic makes a schema of, such as `list[FailedRow]`, or a
# JSON Schema where the types of Python do not say it (rows, whose schemas have their own source).
Content = Any
Schema = Mapping[str, Any]
REFERENCE: Final = "#/components/schemas/{model}"


class AnswerModel(BaseModel):
    """An object with the named properties and no others."""

    model_config = ConfigDict(extra="forbid")


class _AnswerSchemas(GenerateJsonSchema):
    """Schemas as pydantic makes them, without what says nothing to a caller."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Null among the types of the value, which is shorter than `anyOf`, but for a reference."""
        inner = self.generate_inner(schema["schema"])
        if "type" not in inner:
            return super().nullable_schema(schema)
        return {**inner, "type": [inner["type"], "null"]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default only says here that the property can be absent."""
        return self.generate_inner(schema["schema"])


def make_schemas(contents: Iterable[Content]) -> tuple[dict[Content, Schema], dict[str, Schema]]:
    """The schemas of some types of content, and the components that they refer to.

    All of them at once, because pydantic's generator is slow to set up.
    """
    schemas, definitions = TypeAdapter.json_schemas(
        [(content, "serialization", TypeAdapter(content)) for content in dict.fromkeys(contents)],
        ref_template=REFERENCE,
        schema_generator=_AnswerSchemas,
    )
    return {content: schema for (content, _), schema in schemas.items()}, definitions["$defs"]


Count = Annotated[int, Field(ge=0)]
Guid = uuid.UUID
Index = Annotated[Count, Field(description="The row's place in the payload, from 0.")]
ImportId = Annotated[Guid, Field(description="The id of the import.")]
Item = TypeVar("Item")


class Page(AnswerModel, Generic[Item]):
    items: list[Item] = Field(description="The entries of this page.")
    continuation: str | None = Field(
        description="Send it as `continuation` to get the next page; null on the last page."
    )


class Refusal(AnswerModel):
    message: str = Field(description="One sentence that says what is wrong and what to do.")


# Messages and the results of rows


MessageType = Annotated[
    Severity,
    Field(
        description="`Error`: the row failed. A `Warning` or an `Info` does not make a row fail."
    ),
]
SentAs = Annotated[
    str,
    Field(
        description="The sender's column of the field, where a mapping profile has made the rows."
    ),
]
MessageText = Annotated[
    str, Field(description="What is wrong, or worth knowing, and what to do about it.")
]
MessageId = Annotated[Count, Field(description="One of /api/errors.")]
Advice = Annotated[str, Field(description="What to do about messages of this id.")]


class Message(AnswerModel):
    messageType: MessageType
    message: MessageText
    fieldName: str = Field(default="", description="The path of the field.")
    sentAs: SentAs = ""
    fieldValue: str = Field(default="", description="What was sent; left out for secret fields.")
    errorID: MessageId


Messages = Annotated[list[Message], Field(description="All messages of the row.")]


class MessageGroup(AnswerModel):
    messageType: MessageType
    errorID: MessageId
    message: MessageText
    advice: Advice
    fieldName: str = Field(default="", description="The path of the field.")
    sentAs: SentAs = ""
    count: Count = Field(description="How many messages the group has.")
    firstIndexes: list[Count] = Field(description="The first rows, by their index in the payload.")


class MessageGroups(AnswerModel):
    items: list[MessageGroup] = Field(description="The entries of this page.")
    leftOut: Count = Field(description="Messages that are in none of the groups.")
    continuation: None = Field(description="Always null: all groups are on one page.")


class UnmappedValue(AnswerModel):
    fieldName: str = Field(description="The path of the field.")
    sentAs: str | None = Field(
        description="The sender's column of the field; null where the profile cannot be read."
    )
    value: str | None = Field(
        description="The value, at most 200 characters of it; null for the values of a field that "
        "is not shown."
    )
    count: Count = Field(description="How many rows have it.")
    firstIndex: Count = Field(description="The first row with it, by its index in the payload.")


class UnmappedValues(AnswerModel):
    items: list[UnmappedValue] = Field(
        description="The distinct values of each field, the most frequent first."
    )
    leftOut: Count = Field(description="Rows with values that are not listed.")
    continuation: None = Field(description="Always null: all values are on one page.")


class CatalogueEntry(AnswerModel):
    errorID: Count = Field(
        description="The id of the message; it stays the same from version to version."
    )
    messageType: MessageType
    message: str = Field(description="The beginning of every message of this id.")
    advice: Advice


class Catalogue(AnswerModel):
    errors: list[CatalogueEntry] = Field(description="Every message that a row can get.")


class Result(AnswerModel):
    index: Index
    key: dict[str, str] = Field(
        description="The fields that name the row's record, as far as the row has them."
    )
    outcome: Outcome = Field(
        description="What became of the row: `new`, `updated`, `unchanged` or `failed`; of an undo "
        "`reversed`, `unchanged` or `failed`."
    )
    messages: Messages


class ResultPage(Page[Result]):
    pass


class FieldChange(AnswerModel):
    field: str = Field(description="The path of the field.")
    before: Any = Field(description="What is stored, null where nothing is; `***` if secret.")
    after: Any = Field(description="What would be stored.")


class JudgedRow(Result):
    outcome: Outcome = Field(description="The outcome that the row would have in an import.")
    changes: list[FieldChange] = Field(
        description="What would change in the record, field by field."
    )


class JudgedPage(Page[JudgedRow]):
    dryRun: Literal[True] = Field(description="Always true: nothing was imported.")
    skipped: Count = Field(
        default=0,
        description="Rows of the body that its mapping profile passed over; only with a profile.",
    )


class JudgedUndoCounts(AnswerModel):
    total: Count = Field(description="Rows of the import that took effect.")
    reversed: Count = Field(description="Rows whose record would be what it was before.")
    unchanged: Count = Field(description="Rows whose record was put back already.")
    failed: Count = Field(description="Rows whose record would be kept as it is.")


class JudgedUndo(AnswerModel):
    dryRun: Literal[True] = Field(description="Always true: nothing was undone.")
    undoes: Guid = Field(description="The import that would be undone.")
    type: str = Field(description="Its type.")
    rows: JudgedUndoCounts = Field(description="What would become of the rows.")
    failures: list[MessageGroup] = Field(
        description="The messages of the rows in groups, the largest first."
    )


SentRow = Annotated[
    dict[str, Any],
    Field(
        description="A row as it is sent to its endpoint: of an import with a mapping profile in "
        "the layout of the sender."
    ),
]


class FailedRow(AnswerModel):
    index: Index
    line: int | None = Field(
        default=None,
        description="The line of the file, or the row of the sheet, where the row begins, from 1; "
        "only for rows of a file.",
    )
    row: SentRow
    messages: Messages


class CorrectedRow(BaseModel):
    """Other properties are ignored, so a failed row can be sent back as it is."""

    index: Count = Field(description="That of the failed row.")
    row: SentRow


# Imports


class RowCounts(AnswerModel):
    total: Count = Field(description="Rows of the payload.")
    done: Count = Field(description="Rows that have a result.")
    new: Count = Field(description="Rows that created a record.")
    updated: Count = Field(description="Rows that changed a stored record.")
    unchanged: Count = Field(
        description="Rows that changed nothing, since their record already has their values."
    )
    failed: Count = Field(description="Rows with an Error; they changed nothing.")
    repaired: Count = Field(
        description="Failed rows that retries, or retries of those, have imported since."
    )
    warnings: Count = Field(description="Rows that have a Warning.")
    infos: Count = Field(description="Rows that have an Info.")
    skipped: Count = Field(
        default=0,
        description="Rows of the body that its mapping profile passed over; they are not in total, "
        "and only an import with a profile has the count.",
    )
    reversed: Count = Field(
        default=0,
        description="Rows whose record is what it was before the import that was undone; only of "
        "an undo, in place of new and updated.",
    )
    cancelled: Count = Field(
        default=0, description="Failed rows that a cancel ended; only of a cancelled import."
    )


class Caller(AnswerModel):
    """One name: the property says what the caller is."""

    model_config = ConfigDict(json_schema_extra={"maxProperties": 1})

    integration: str = Field(default="", description=CALLER_MEANINGS[CallerKind.INTEGRATION])
    client: str = Field(default="", description=CALLER_MEANINGS[CallerKind.CLIENT])
    command: str = Field(default="", description=CALLER_MEANINGS[CallerKind.COMMAND])
    drop: str = Field(default="", description=CALLER_MEANINGS[CallerKind.DROP])


class ProfileVersion(AnswerModel):
    name: str = Field(description="The name of the profile.")
    version: Annotated[int, Field(ge=1)] = Field(description="Its version.")


class Import(AnswerModel):
    importId: ImportId
    type: str = Field(description="The import type.")
    state: ImportState = Field(description="The state of the import; docs/values.md explains each.")
    rows: RowCounts = Field(
        description="Counts of rows; once the import has ended, total is the sum of the four "
        "outcomes."
    )
    rowsPerSecond: Annotated[float, Field(ge=0)] | None = Field(
        description="The average so far; null while it is not known."
    )
    secondsLeft: Count | None = Field(
        description="An estimate in seconds; null while it is not known."
    )
    acceptedAt: AwareDatetime = Field(description="When the gateway accepted the import, in UTC.")
    endedAt: AwareDatetime | None = Field(
        description="When the last row was done, in UTC; null while the import is open."
    )
    caller: Caller | None = Field(
        description="Who had the import made; null where it is not known."
    )
    cancelledBy: Caller | None = Field(
        description="Who asked for the cancel of the import; null where nobody has, or where an "
        "earlier version did not keep it."
    )
    source: str | None = Field(
        description="The name of the file that was sent; null where the call names none."
    )
    bodySha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        description="A keyed hash of the body. Imports with the same hash had the same body; "
        "nobody can guess the content of the body from it. Null where there was no body."
    )
    profile: ProfileVersion | None = Field(
        description="The version of the mapping profile that has made the rows; null without one."
    )
    parentId: Guid | None = Field(
        description="The import that this one is a retry of; null where it is no retry."
    )
    childIds: list[Guid] = Field(description="Its retries, in order.")
    undoes: Guid | None = Field(
        description="The import that this one undoes; null where it is no undo."
    )
    undoneBy: Guid | None = Field(
        description="The import that has undone this one, or is doing so; null where there is none."
    )
    links: dict[str, str] = Field(description="The addresses that can be used now, by name.")


class ImportPage(Page[Import]):
    pass


# The rows of every import type as components of the document, from the models.
#
# A model's schema stands by itself, with its own `$defs`; in the document each of these becomes a
# component of its own (`workers.Address`), because tools follow references more surely than ids.

_OWN = "#/$defs/"


def row_schemas(kinds: Iterable[ImportType]) -> dict[str, dict[str, Any]]:
    """A component for the row of each type, and for each object in it."""
    components: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        owner = component_name(kind)
        schema = dict(kind.rules.json_schema())
        schema.pop("$schema", None)
        for name, definition in schema.pop("$defs", {}).items():
            components[f"{owner}.{name}"] = _readdressed(definition, owner)
        components[owner] = _readdressed(schema, owner)
    return components


def component_name(kind: ImportType) -> str:
    """The name of the type, with the version where that is another than the first."""
    return kind.name if kind.version == 1 else f"{kind.name}.v{kind.version}"


def _readdressed(node: Any, owner: str) -> Any:
    """The same schema, its references leading to the components."""
    if isinstance(node, list):
        return [_readdressed(item, owner) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"#/components/schemas/{owner}.{value.removeprefix(_OWN)}"
        if name == "$ref"
        else _readdressed(value, owner)
        for name, value in node.items()
    }
