"""The definition of an import type; routes, queues and addresses are derived from it.

An import type is a folder of this package with the same few files:

    definition.py   its name, version and table (light: read when the app is indexed)
    model.py        its fields, as a pydantic model
    rules.py        its key, reading a row, deciding what it does, what becomes a column

`Rules` is loaded only when the first row arrives, so that a cold start does not pay for models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, NamedTuple

from shared.imports.messages import CatalogueEntry, Message
from shared.imports.queue_names import bulk_queue_of, queue_of
from shared.imports.results import Outcome

# The kinds of reference lists that a tenant may load.
#
# A list is optional. Where a tenant has loaded one of a kind, the values of that kind must be in it
# (docs/contracts.md#1); else any value is allowed.


class ReferenceKind(StrEnum):
    """What the entries of a list name; the value is what `--kind` takes.

    kind          fields
    client        ClientRef, ReportToClientRef, InvoiceToClientRef
    comparator    ComparatorRef
    consultant    ConsultantRef of a worker and of each split of an assignment
    contract      ContractRefPrimaryContract
    currency      CurrencyRef
    department    DepartmentRef
    division      DivisionRef
    job-category  JobCategoryRef
    sort-code     BankSortCode, while the pay method of that account is BACS
    """

    CLIENT = "client"
    COMPARATOR = "comparator"
    CONSULTANT = "consultant"
    CONTRACT = "contract"
    CURRENCY = "currency"
    DEPARTMENT = "department"
    DIVISION = "division"
    JOB_CATEGORY = "job-category"
    SORT_CODE = "sort-code"


# The fields of each kind, without the path of their object.
FIELDS_OF_KIND: Final[dict[ReferenceKind, tuple[str, ...]]] = {
    ReferenceKind.CLIENT: ("ClientRef", "ReportToClientRef", "InvoiceToClientRef"),
    ReferenceKind.COMPARATOR: ("ComparatorRef",),
    ReferenceKind.CONSULTANT: ("ConsultantRef",),
    ReferenceKind.CONTRACT: ("ContractRefPrimaryContract",),
    ReferenceKind.CURRENCY: ("CurrencyRef",),
    ReferenceKind.DEPARTMENT: ("DepartmentRef",),
    ReferenceKind.DIVISION: ("DivisionRef",),
    ReferenceKind.JOB_CATEGORY: ("JobCategoryRef",),
    ReferenceKind.SORT_CODE: ("BankSortCode",),
}

KIND_OF_FIELD: Final = {field: kind for kind, fields in FIELDS_OF_KIND.items() for field in fields}


def find_kind(text: str) -> ReferenceKind | None:
    """The kind of this name, or of the field of this name, in any case; None without one.

    `job-category`, `JobCategory` and `JobCategoryRef` are one kind.
    """
    return _KINDS_BY_NAME.get(_without_separators(text))


def _without_separators(text: str) -> str:
    return re.sub("[-_ ]", "", text).lower()


_KINDS_BY_NAME: Final = {
    _without_separators(name): kind
    for kind, fields in FIELDS_OF_KIND.items()
    for name in (kind.value, *fields)
}


# A stored record: JSON values by contract field name; dates as ISO text, decimals as text.
Document = dict[str, Any]


class OnExisting(StrEnum):
    """The effect of a row on a record that is already stored (a setting of the integration)."""

    DEFAULT = "default"
    UPDATE = "update"
    ERROR = "error"


# The meaning of each value, for the OpenAPI document and the docs.
ON_EXISTING_MEANINGS: Final[Mapping[OnExisting, str]] = {
    OnExisting.DEFAULT: "As the type says: as with `update`, or as with `error` for types of "
    "which no record may be sent twice. It is in force where nothing is set.",
    OnExisting.UPDATE: "A row changes the record that is stored under its key.",
    OnExisting.ERROR: "A row whose key is stored already fails.",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an import, from the caller's integration and from the call.

    `action` is the importAction of licenses, "" for other types. `accepted_on` is the day of the
    import as ISO text, for dates that must not be in the future.
    """

    on_existing: OnExisting = OnExisting.UPDATE
    action: str = ""
    accepted_on: str = ""


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """The key of a row's record: its group (an employer, a company) and its reference in it.

    Both are trimmed and in Unicode NFC; case and leading zeros are as sent.
    """

    group: str
    reference: str


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row after reading, with its values and faults.

    `values` has the row's values under contract names, None where it clears a field. A row with an
    Error among its messages fails; its `values` are the readable fields, so that the rules can find
    further faults. `unreadable` has the paths of the other fields: those with a wrong value, and
    required ones that are missing. An element of a list stays in it with its readable fields.
    """

    index: int
    key: tuple[str | None, ...]
    values: Document
    messages: tuple[Message, ...]
    unreadable: frozenset[str] = frozenset()
    # The indexes that its sender's profile gives the elements of lists, where they differ.
    lists: Mapping[str, Sequence[int]] | None = None

    @property
    def is_readable(self) -> bool:
        """Whether all fields are readable; an unreadable row fails."""
        return not any(message.is_error for message in self.messages)


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a row: its outcome, the resulting record (None: unchanged), its messages.

    `failed_document` is the record that would result from the readable fields of a failing row, so
    that its references are checked too.
    """

    outcome: Outcome
    document: Document | None
    messages: tuple[Message, ...] = ()
    failed_document: Document | None = None


@dataclass(frozen=True, slots=True)
class ReferenceField:
    """A field whose value is the reference of a record of another import type.

    `field` is its path; `[]` marks a list (`Members[].MemberRef`). That record is in the group that
    `group_field` of the record names, or in the record's own group where it names none. `agrees`
    are columns of that record; where it has other values than this one, the row gets a Warning.
    """

    field: str
    type: ImportType
    group_field: str = ""
    agrees: tuple[str, ...] = ()

    def find(self, document: Document, own_group_field: str) -> Iterator[Reference]:
        """The references of a record, of which any field may be missing."""
        group = document.get(self.group_field) or document.get(own_group_field)
        if group is not None:
            for field, reference in _values_at(document, self.field):
                yield Reference(field, self.type.table, group, reference)


def _values_at(value: Document, path: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The place and the value of each text at a path of `ReferenceField`."""
    step, _, rest = path.partition(".")
    name = step.removesuffix("[]")
    content = value.get(name)
    if not content:
        return
    if not rest:
        yield prefix + name, content
    elif name == step:
        yield from _values_at(content, rest, f"{prefix}{name}.")
    else:
        for index, item in enumerate(content):
            yield from _values_at(item, rest, f"{prefix}{name}[{index}].")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference of a record to `reference` in `group` of another import type's table.

    `field` is the path of the field with the reference. A row whose resulting record refers to a
    record that does not exist fails with 2001 on that field.
    """

    field: str
    table: str
    group: str
    reference: str


@dataclass(frozen=True, slots=True)
class ListedValue:
    """A value that must be in the tenant's reference list of its kind, if it has loaded one.

    A value that is not in the list fails its row with 2001. `value` is in the form of a list's
    entries; a sensitive one never appears in a message.
    """

    field: str
    kind: ReferenceKind
    value: str
    is_sensitive: bool = False


class FoundBy(NamedTuple):
    """A name that finds a record without its group; `kind` is one lower-case word.

    See `shared.storage.record_indexes`.
    """

    kind: str
    name: str


def no_record(_row: ReadRow) -> None:
    """The default of `alone`."""


def always(_path: Sequence[str | int]) -> bool:
    """The default of `is_sensitive`, for types that do not declare which values may be shown."""
    return True


def none_of(_document: Document) -> tuple[()]:
    """The default for types without references, lists or look-ups."""
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The rules of every import type. No function here reads a clock, storage or a setting.

    key_fields                   the fields that make a row's key, in order
    record_id_fields             the ones of them that the vendor's answer shows as recordIds
    identify(row)                which rows belong together, from a row whose names are lower-cased;
                                 None: unusable. For types whose rows each name one record, its key
    json_schema()                the JSON Schema of one message of this type
    shown(row)                   what failed-rows shows of a row of the payload; None: all of it
    is_sensitive(path)           whether a value of the record, at the path under contract names,
                                 is one that nobody is shown
    """

    key_fields: tuple[str, ...]
    record_id_fields: tuple[str, ...]
    identify: Callable[[Mapping[str, Any]], RowKey | None]
    json_schema: Callable[[], dict[str, Any]]
    shown: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    is_sensitive: Callable[[Sequence[str | int]], bool] = always


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordRules(Rules):
    """The rules of a type whose rows each name one record by its key (`RecordProcessor`).

    read(index, row)             every fault of the row as messages, its values by contract name
    decide(row, stored, options) what the row does to the stored record (None: there is none)
    columns(document)            what is promoted to columns of the entity
    lookups(document)            row keys of the look-up entities that point at the record
    found_by(document)           the names that the record is found by in all groups of its tenant;
                                 `has_names` where a type has such names at all
    listed(document)             the values that must be in the tenant's reference lists, if any
    alone(row)                   the record that a row makes where none is stored; None if it fails

    Listed values are those of the record that would result from a row, also from a row with faults,
    so any field may be missing.
    """

    read: Callable[[int, Mapping[str, Any]], ReadRow]
    decide: Callable[[ReadRow, Document | None, Options], Decision]
    columns: Callable[[Document], Mapping[str, str]]
    lookups: Callable[[Document], Sequence[str]]
    found_by: Callable[[Document], Sequence[FoundBy]] = none_of
    listed: Callable[[Document], Sequence[ListedValue]] = none_of
    alone: Callable[[ReadRow], Document | None] = no_record

    @property
    def has_names(self) -> bool:
        """Whether records are found by names."""
        return self.found_by is not none_of


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of a vendor, which several types may share.

    `needed_database_version`: the integrations of its callers name a database of the vendor, which
    must be active and have this version at least; 0 where they name none.
    """

    name: str
    needed_database_version: int = 0


@dataclass(frozen=True)
class ImportType:
    """One message type of the contract."""

    name: str
    version: int
    table: str
    load_rules: Callable[[], Rules]
    contract: Contract
    # What a row does to a record that is stored already, where the integration does not say.
    on_existing: OnExisting = OnExisting.UPDATE
    # What its imports do where the call does not say, for types with actions.
    default_action: str = ""
    # The messages that only this type has, as `declare_messages` gives them.
    messages: tuple[CatalogueEntry, ...] = ()
    # Its fields that name records of other types. A row whose record names one that is not stored
    # waits while an earlier import of that type is open, and fails with 2001 otherwise.
    references: tuple[ReferenceField, ...] = ()
    # The names of the types whose records its own belong to without such a field. Their undo asks
    # `ImportTypeModule.referrers`.
    belongs_to: tuple[str, ...] = ()
    # Whether its rows are processed from queues; else the call or the sweep processes them.
    has_queues: bool = True
    # Whether its payload has the rows as sent, so that failed ones can be retried.
    #
    # Where it does not, the type names a `Retrier` of its own in `shared/app.py`, or its imports
    # are refused to be retried (501).
    keeps_rows: bool = True
    # Whether an undo may change any record of the tenant, not only those that its rows name. The
    # records are in the tenant's own partition.
    undo_covers_tenant: bool = False
    # Whether its rows are JSON messages with a published schema.
    has_schema: bool = True
    # Whether every later import of the tenant waits until its imports have ended.
    holds_back_all: bool = False
    # The route of its POST; "" for `/api/import/{name}`.
    route: str = ""
    # The scope that a token needs to read its imports; "" where only key pairs may.
    scope: str = ""

    @cached_property
    def rules(self) -> Rules:
        """The rules, loaded on first use."""
        return self.load_rules()

    @property
    def record_rules(self) -> RecordRules:
        """The rules of a type whose rows each name one record; raises TypeError for other types."""
        rules = self.rules
        if not isinstance(rules, RecordRules):
            raise TypeError(f"{self.name} has a processor of its own")
        return rules

    def options_of(self, options: Options) -> Options:
        """The options of an import of this type, from those of its caller."""
        if options.on_existing is OnExisting.DEFAULT:
            options = replace(options, on_existing=self.on_existing)
        return options if options.action else replace(options, action=self.default_action)

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The names of the types whose open imports its rows may have to wait for."""
        return tuple(dict.fromkeys(field.type.name for field in self.references))

    def references_of(self, document: Document) -> list[Reference]:
        """The records that must be there for the record to be stored.

        It is the one that would result from a row, also from a row with faults, so any field may be
        missing.
        """
        if not self.references:
            return []
        own_group_field = self.rules.key_fields[0]
        return [
            reference
            for field in self.references
            for reference in field.find(document, own_group_field)
        ]

    @cached_property
    def sealed_names(self) -> frozenset[str]:
        """The names of the fields whose values storage seals: those that are sensitive.

        An object of which all fields are sensitive is sealed as a whole.
        """
        rules = self.rules
        if not isinstance(rules, RecordRules):
            return frozenset()
        leaves = list(_leaves(rules.json_schema()))
        names: set[str] = set()
        for leaf in leaves:
            if not rules.is_sensitive(leaf):
                continue
            for depth, name in enumerate(leaf, 1):
                within = [each for each in leaves if each[:depth] == leaf[:depth]]
                if all(map(rules.is_sensitive, within)):
                    names.add(name)
                    break
        return frozenset(names)

    @property
    def address(self) -> str:
        """The address of its POST."""
        return self.route or f"/api/import/{self.name}"

    @property
    def queues(self) -> tuple[str, ...]:
        """Its queues, without their poison queues."""
        return (self.queue, self.bulk_queue) if self.has_queues else ()

    @property
    def queue(self) -> str:
        """The queue of imports of up to 100 rows."""
        return queue_of(self.name)

    @property
    def bulk_queue(self) -> str:
        """The queue of larger imports, so that small imports do not wait behind many chunks."""
        return bulk_queue_of(self.name)

    @property
    def schema_name(self) -> str:
        """The last segment of the schema's address."""
        return f"{self.name}.v{self.version}.schema"


def _leaves(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths of the fields of a schema that are no objects and no lists of objects."""

    def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        has_fields = False
        for option in (node, *node.get("anyOf", ()), node.get("items", {})):
            name = option.get("$ref", "").rpartition("/")[2]
            for field, inner in (
                (schema["$defs"][name] if name else option).get("properties", {}).items()
            ):
                has_fields = True
                yield from walk(inner, (*path, field))
        if path and not has_fields:
            yield path

    return walk(schema, ())
