"""What a row of licenses does to the shelf of its employee (docs/contracts.md#2, importAction).

    Insert    a license that is there is an error
    Update    one that is missing is an error; absent properties keep their value
    Merge     either; absent properties keep their value
    Override  either; the license becomes what the row says
    Replace   like Override, and the employee has no others afterwards; all of its rows or none
    Delete    one that is missing is an error

A blank text clears in all, null in those that replace (`silent_values`). A row that names nobody
speaks of the license of its key, whosever it is: the license stays with its employee.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from shared.imports.import_type import Document, ReadRow, RowKey, Rules
from shared.imports.json_rows import fold_names
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.attachments import merge_attachments, without_blobs
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.meanings import MEANINGS
from shared.imports.licenses.model import (
    IDENTITY_FIELDS,
    NATURAL_KEY_FIELDS,
    NEEDED_TO_FIND,
    NOBODY,
    Employee,
    License,
    LicenseIdentity,
    can_be_found,
    given_key,
    is_unidentified,
    kept_of_employee,
    keys_differ,
    made_keys,
    natural_key,
    sent_identity,
    shown_key,
    usable_license_reference,
)
from shared.imports.licenses.silent_values import without_silent_values
from shared.imports.licenses.xml_reader import DATES, DOCUMENT, INPUT, KEYS
from shared.imports.merge_rules import ChangeListener, merge
from shared.imports.messages import TOO_LARGE_RECORD, Message, MessageId
from shared.imports.model import DATE_FORM, schema_of, shape_of
from shared.imports.results import MAX_REMOVED, Outcome, RowResult, failed
from shared.imports.row_reader import is_sensitive, read_row
from shared.imports.usual_values import unusual_values

# Results of the rows of a licenses import as they come, and those that are there already.


class Results:
    """The results of rows as they come; a later row may add to an earlier one's messages.

    `known` has those that were given away before: one that changes comes a second time.
    `elsewhere` are the rows that were overwritten and are in neither; `weight` is about the
    characters that the results take in storage.
    """

    def __init__(self, known: Mapping[int, RowResult] = MappingProxyType({})) -> None:
        self._by_index: dict[int, RowResult] = {}
        self._given: dict[int, RowResult] = {}
        self._known = known
        self.elsewhere: list[int] = []
        self.weight = 0

    def add(self, *results: RowResult) -> None:
        """More results."""
        for result in results:
            self._by_index[result.index] = result
            self.weight += result_weight(result)

    def overwritten(self, index: int) -> None:
        """A later row changed the same license."""
        result = self._by_index.get(index) or self._given.get(index) or self._known.get(index)
        if result is None:
            self.elsewhere.append(index)
        else:
            self.add(result.with_message(Message(MessageId.OVERWRITTEN_BY_LATER_ROW)))

    def fail_others(self, message: Message) -> None:
        """Those that did not fail by themselves fail with `message`."""
        for index, result in self._by_index.items():
            if result.outcome is not Outcome.FAILED:
                self._by_index[index] = failed(index, result.key, message)

    def in_order(self) -> list[RowResult]:
        """All of them, in the order in which they came."""
        return list(self._by_index.values())

    def take(self) -> list[RowResult]:
        """All of them, which are given away by that."""
        taken = self.in_order()
        self._given |= self._by_index
        self._by_index.clear()
        self.weight = 0
        return taken

    def __len__(self) -> int:
        return len(self._by_index)


@dataclass(frozen=True, slots=True)
class Done:
    """Rows that another handler of the import has brought to their results.

    `last` has the last row of a license, by key, that took effect.
    """

    results: Mapping[int, RowResult]
    last: Mapping[str, int]


NOTHING_DONE: Final = Done({}, {})


def done_before(results: Mapping[int, RowResult]) -> Done:
    """What there is to know of rows with these results."""
    last = {
        key: index
        for index, result in sorted(results.items())
        if result.outcome.took_effect and (key := result.key[-1]) is not None
    }
    return Done(dict(results), last)


def result_weight(result: RowResult) -> int:
    """About the characters that a result takes in storage."""
    parts = (*result.key, *result.removed[:MAX_REMOVED])
    shown = sum(len(part or "") + _MARKS for part in parts)
    said = sum(
        _MARKS + len(message.field or "") + len(message.value or "") + len(message.detail or "")
        for message in result.messages
    )
    return 2 * _MARKS + shown + said


_MARKS: Final = 10


MOVED_TOO_OFTEN: Final = "its license changes employees too often in one import"
MAX_DOCUMENT: Final = 240_000
"""Characters of a license as JSON: four bytes each fit into an entity."""


class RowFailedError(Exception):
    """The row cannot be applied; `messages` say why, beside the row's own."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*(message.id for message in messages))
        self.messages = messages


Whose = Callable[[ReadRow], Employee | None]
"""The employee that a row belongs to, also of one that cannot be read."""


@dataclass
class LicenseRules:
    """One import of licenses of one company at work on a shelf.

    `pending` holds the results since they were last taken, `contents` the bytes of new documents by
    the name of their blob, `content_bytes` in all; `weight` counts the characters that the licenses
    which were put together take in a transaction. `unknown` are rows that failed only because the
    shelf does not have the licenses of the employee whose their license would become.
    `is_overtaken(index, number)` tells whether a row must not be applied where import `number` has
    changed its license (a row of a retry that was not corrected). `unforeseen` is told of an error
    that no rule foresaw, and says what the row's result is to say; `on_change` of each row that
    takes effect.
    """

    tenant: str
    company: str
    action: LicenseAction
    number: int
    import_id: str
    shelf: LicenseSet
    unforeseen: Callable[[Exception], Message]
    on_change: ChangeListener | None = None
    is_overtaken: Callable[[int, int], bool] = lambda _index, _number: False
    contents: dict[str, bytes] = field(default_factory=dict)
    content_bytes: int = 0
    pending: Results = field(init=False)
    done: Done = field(default_factory=lambda: NOTHING_DONE)
    weight: int = 0
    unknown: dict[int, Employee] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    _replaced: _Replaced | None = None

    def __post_init__(self) -> None:
        self.pending = Results(self.done.results)

    def steps(self, rows: Sequence[ReadRow], whose: Whose) -> Iterator[None]:
        """Apply the rows of a unit, in the order they were sent; after each step is a good moment
        to write down what has changed: Replace takes all rows of an employee in one.
        """
        if self.action is not LicenseAction.REPLACE:
            for row in rows:
                self.pending.add(self._result(row, self.pending))
                yield
            return
        for employee, of_employee in _by_employee(rows, whose, self.shelf):
            self._replace(employee, of_employee)
            yield

    def _result(self, row: ReadRow, results: Results) -> RowResult:
        try:
            return self._applied(row, results)
        except RowFailedError as error:
            return failed(row.index, row.key, *row.messages, *error.messages)
        except Exception as error:
            own = () if row.is_readable else row.messages
            return failed(row.index, row.key, *own, self.unforeseen(error))

    def _replace(self, employee: Employee, rows: Sequence[ReadRow]) -> None:
        """All of an employee's rows or none; what it has beyond them goes."""
        mark = self.shelf.mark()
        results = Results()
        self._replaced = _Replaced(employee, {key for row in rows if (key := row.key[-1])}, [])
        for row in rows:
            result = self._result(row, results)
            results.add(result)
            self._replaced.keys.add(result.key[-1] or "")
        if any(result.outcome is Outcome.FAILED for result in results.in_order()):
            self.shelf.go_back(mark)
            results.fail_others(Message(MessageId.OTHER_LICENSE_FAILED))
            results.elsewhere.clear()
        elif employee.is_named:
            named = {result.key[-1] for result in results.in_order()}
            for held in self.shelf.held_by(employee):
                if held.key not in named:
                    self._remove_replaced(held)
        self.shelf.keep()
        self.pending.add(*self._with_removed(results.in_order()))
        for index in results.elsewhere:
            self.pending.overwritten(index)

    def _remove_replaced(self, held: StoredLicense) -> None:
        assert self._replaced is not None, "only Replace removes what no row names"
        self.shelf.remove(held.key, self.number)
        self._replaced.removed.append(held.key)

    def _with_removed(self, results: list[RowResult]) -> list[RowResult]:
        """The results of an employee's rows; the first one tells what Replace removed.

        Rows behind it, of other employees, may make a license of such a key anew.
        """
        replaced = self._replaced
        if replaced is None or results[0].outcome is Outcome.FAILED:
            return results
        gone = sorted(key for key in replaced.removed if self.shelf.by_key(key) is None)
        return [replace(results[0], removed=tuple(gone)), *results[1:]]

    def _applied(self, row: ReadRow, results: Results) -> RowResult:
        """Raises RowFailedError, with all that is wrong beside the row's own messages.

        A row that could not be read fails; it is judged as far as its license can be found.
        """
        if not can_be_found(row):
            raise RowFailedError
        held, key = self._found(row)
        faults = self._faults_of_found(row, held, key)
        if self.action is LicenseAction.DELETE:
            if faults or held is None or not row.is_readable:
                raise RowFailedError(*faults)
            self.shelf.remove(held.key, self.number)
            self._notice(row, held, None)
            told = self._took_effect(row, held.key, held.document or {}, Outcome.UPDATED, results)
            return replace(told, removed=(held.key,))
        is_taken = held is not None and self.action is LicenseAction.INSERT
        document, contents = self._document(row, None if is_taken else held, key)
        text = json.dumps(document, ensure_ascii=False)
        if len(text) > MAX_DOCUMENT:
            faults.append(Message(MessageId.WRONG_LENGTH, detail=TOO_LARGE_RECORD))
        if row.unreadable.isdisjoint(NATURAL_KEY_FIELDS):
            faults += self._faults_of_natural_key(row, document, key)
        if faults or not row.is_readable:
            raise RowFailedError(*faults)
        self.weight += len(json.dumps(text))
        self._take_contents(contents)
        if held is not None and held.document == document:
            shown = shown_key(document, key)
            return RowResult(
                row.index,
                shown,
                Outcome.UNCHANGED,
                (*row.messages, Message(MessageId.NOTHING_TO_CHANGE)),
            )
        self.shelf.put(key, document, self.number)
        self._notice(row, held, document)
        outcome = Outcome.NEW if held is None else Outcome.UPDATED
        return self._took_effect(row, key, document, outcome, results)

    def _took_effect(
        self, row: ReadRow, key: str, document: Document, outcome: Outcome, results: Results
    ) -> RowResult:
        before = self._last.get(key, self.done.last.get(key))
        if before is not None:
            results.overwritten(before)
        self.shelf.on_go_back(partial(self._set_last, key, self._last.get(key)))
        self._last[key] = row.index
        return RowResult(row.index, shown_key(document, key), outcome, row.messages)

    def _set_last(self, key: str, index: int | None) -> None:
        if index is None:
            self._last.pop(key, None)
        else:
            self._last[key] = index

    def _notice(self, row: ReadRow, held: StoredLicense | None, after: Document | None) -> None:
        if self.on_change is not None:
            before = held.document if held is not None else None
            self.on_change(row.index, without_blobs(before), without_blobs(after))

    def _found(self, row: ReadRow) -> tuple[StoredLicense | None, str]:
        """The license that the row speaks of, and its key, which a new one gets here."""
        given = given_key(row.values)
        if given is not None:
            held = self.shelf.by_key(given)
            if held is None and self.action is LicenseAction.UPDATE:
                raise RowFailedError(Message(MessageId.NO_LICENSE_TO_UPDATE, "licenseKey", given))
            return held, given
        natural = natural_key(row.values)
        assert natural is not None, "can_be_found has seen to it"
        held = self.shelf.by_natural(natural)
        if held is None and self.action is LicenseAction.UPDATE:
            raise RowFailedError(Message(MessageId.NO_LICENSE_TO_UPDATE))
        if held is not None:
            return held, held.key
        made = made_keys(self.tenant, self.company, natural, self.import_id)
        return None, next(key for key in made if not self.shelf.is_taken(key))

    def _faults_of_found(self, row: ReadRow, held: StoredLicense | None, key: str) -> list[Message]:
        """What is wrong with the license that the row speaks of, as it is on the shelf."""
        faults: list[Message] = []
        if held is None and self.action is LicenseAction.DELETE:
            faults.append(
                Message(MessageId.NO_LICENSE_TO_DELETE, "licenseKey", given_key(row.values))
            )
        if held is not None and self.action is LicenseAction.INSERT:
            faults.append(Message(MessageId.LICENSE_EXISTS))
        # A row that is sent again as it was must not undo what a later import did.
        natural = natural_key(row.values) if given_key(row.values) is None else None
        last = held or self.shelf.tombstone(key, natural)
        changed_by = self.number if last is None else last.number
        if changed_by != self.number and self.is_overtaken(row.index, changed_by):
            faults.append(Message(MessageId.CHANGED_BY_LATER_IMPORT))
        return faults

    def _document(
        self, row: ReadRow, held: StoredLicense | None, key: str
    ) -> tuple[Document, dict[str, bytes]]:
        """The license as the row leaves it, and the bytes of its new documents by blob name."""
        stored = held.document if held is not None else None
        sent = {name: value for name, value in row.values.items() if name not in _APART}
        keeps = self.action.keeps_what_is_absent
        document = merge(_kept(stored, sent, keeps), sent, License)
        document["licenseKey"] = key
        before = (stored or {}).get("documents", [])
        if "documents" not in row.values:
            if keeps and before:
                document["documents"] = before
            return document, {}
        documents = row.values["documents"]
        found = merge_attachments(
            documents or [],
            before,
            keeps=keeps and documents is not None,
            blob=lambda digest: f"{key}/{self.number}-{digest}",
        )
        if found.documents:
            document["documents"] = found.documents
        return document, found.contents

    def _faults_of_natural_key(self, row: ReadRow, document: Document, key: str) -> list[Message]:
        """Whether another license has the natural key, or might have it."""
        natural = natural_key(document)
        if natural is None:
            return []
        if not self.shelf.knows(natural.employee):
            if not row.is_readable:
                return []
            self.unknown[row.index] = natural.employee
            return [Message(MessageId.COULD_NOT_BE_PROCESSED, detail=MOVED_TOO_OFTEN)]
        other = self.shelf.by_natural(natural)
        if other is None or other.key == key:
            return []
        if self._replaced is None or not self._replaced.would_remove(other):
            return [Message(MessageId.LICENSE_NUMBER_TAKEN)]
        self._remove_replaced(other)
        return []

    def _take_contents(self, contents: dict[str, bytes]) -> None:
        for name, data in contents.items():
            if name not in self.contents:
                self.contents[name] = data
                self.content_bytes += len(data)
                self.shelf.on_go_back(partial(self._drop_content, name))

    def _drop_content(self, name: str) -> None:
        self.content_bytes -= len(self.contents.pop(name))


_APART: Final = ("documents", "licenseKey", "serializableLicenseKey")


def _kept(stored: Document | None, sent: Document, keeps: bool) -> Document | None:
    """What of the stored license stays where the row is silent."""
    if stored is None:
        return None
    if keeps:
        return {name: value for name, value in stored.items() if name != "documents"}
    return kept_of_employee(stored, sent, keeps=False)


@dataclass(frozen=True, slots=True)
class _Replaced:
    """The employee who is being replaced, and the keys that its rows speak of.

    `removed` are the licenses that went.
    """

    employee: Employee
    keys: set[str]
    removed: list[str]

    def would_remove(self, held: StoredLicense) -> bool:
        """Whether the license goes in the end, and so cannot be in anybody's way."""
        return held.employee == self.employee and held.key not in self.keys


def _by_employee(
    rows: Sequence[ReadRow], whose: Callable[[ReadRow], Employee | None], shelf: LicenseSet
) -> Iterator[tuple[Employee, list[ReadRow]]]:
    """Rows by the employee they name; a row that names nobody goes with the first one of its key
    that does, else with the employee who holds the license.

    What the payload says comes first: it is the same when half of the rows are done.
    """
    named: dict[str, Employee] = {}
    for row in rows:
        employee, key = whose(row), row.key[-1]
        if employee is not None and employee.is_named and key is not None:
            named.setdefault(key, employee)
    groups: dict[Employee | int, tuple[Employee, list[ReadRow]]] = {}
    for row in rows:
        employee = whose(row)
        if employee is None or not employee.is_named:
            key = row.key[-1] or ""
            held = shelf.by_key(key)
            employee = named.get(key, NOBODY if held is None else held.employee)
        group = employee if employee.is_named else row.index
        groups.setdefault(group, (employee, []))[1].append(row)
    yield from groups.values()


# Reading rows of licenses, and what the house knows of the type (docs/contracts.md#2).

_DATE_FORM: Final = (
    f"{DATE_FORM}, or in XML the elements Year, Month and Day of the namespace {DATES}"
)
_KEY_FORM: Final = f"send a guid, or in XML _value within _entityKey, both of the namespace {KEYS}"
XML_FORMS: Final[Mapping[str, str]] = {
    "issuedDate": _DATE_FORM,
    "expirationDate": _DATE_FORM,
    "licenseKey": _KEY_FORM,
    "reminder": f"send an object, or in XML its elements in the namespace {INPUT}",
    "documents": f"send a list of objects, or in XML {DOCUMENT.partition('}')[2]} elements of the "
    f"namespace {INPUT}",
}
"""What JSON and XML send where a value is more than a text."""
GROUP: Final = "companyCode"
_OF_BYTES: Final = ("sha256", "length")
"""What is stored of a document and was not sent like that."""


def read_license(index: int, row: Mapping[str, Any], action: LicenseAction) -> ReadRow:
    """Every fault of a row as messages, its values by contract name.

    A list of documents that is empty says nothing where absent properties keep their value:
    senders write an empty list for documents that they do not know.
    """
    model = LicenseIdentity if action is LicenseAction.DELETE else License
    spoken = without_silent_values(row, action)
    read = read_row(index, spoken, model, (GROUP,))
    values = read.values
    if action.keeps_what_is_absent and fold_names(spoken).get("documents") == []:
        values = {name: value for name, value in values.items() if name != "documents"}
    key = shown_key(values, given_key(values)) if read.is_readable else sent_key(spoken)
    messages = [_with_xml_form(message) for message in read.messages]
    if keys_differ(values):
        messages.append(Message(MessageId.LICENSE_KEYS_DIFFER, "licenseKey", values["licenseKey"]))
    if is_unidentified(read):
        messages.append(Message(MessageId.LICENSE_NOT_IDENTIFIED, detail=NEEDED_TO_FIND))
    messages += [*unusual_values(values, shape_of(model)), *_order_of_dates(values)]
    return replace(read, key=key, values=values, messages=tuple(messages))


def _order_of_dates(values: Document) -> Iterator[Message]:
    issued, expires = values.get("issuedDate"), values.get("expirationDate")
    if issued is not None and expires is not None and expires < issued:
        detail = "it is before issuedDate; check both"
        yield Message(MessageId.VALUES_DISAGREE, "expirationDate", expires, detail)


def _with_xml_form(message: Message) -> Message:
    """The message of a wrong type, in words that fit JSON and XML alike.

    An XML element with others in it is read as an object, of which its sender knows nothing.
    """
    if message.id != MessageId.WRONG_TYPE or message.field is None:
        return message
    expected, _, sent = (message.detail or "").rpartition(", ")
    form = XML_FORMS.get(message.field)
    if form is None and sent == "an object was sent":
        form = f"{expected}, or in XML an element without others in it"
    return message if form is None else replace(message, detail=form)


def sent_key(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The key of a row as far as it is usable, whatever else is wrong with it."""
    values = sent_identity(fold_names(row))
    return shown_key(values, values.get("licenseKey"))


def identify(folded: Mapping[str, Any]) -> RowKey | None:
    """The company: its rows are one unit of order (docs/design.md#1.2)."""
    company = usable_license_reference(folded.get(GROUP.lower()))
    return None if company is None else RowKey(company, "")


RULES = Rules(
    key_fields=IDENTITY_FIELDS,
    record_id_fields=(),
    identify=identify,
    json_schema=lambda: schema_of(License, "Licenses v1", MEANINGS),
    is_sensitive=lambda path: path[-1] not in _OF_BYTES and is_sensitive(path, shape_of(License)),
)
