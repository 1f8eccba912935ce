"""How a row of licenses changes the licenses of its employee (docs/contracts.md#2, importAction).

    Insert    a license that is there is an error
    Update    one that is missing is an error; absent properties keep their value
    Merge     either; absent properties keep their value
    Override  either; the license becomes what the row says
    Replace   like Override, and the employee's other licenses are removed; all of its rows or none
    Delete    one that is missing is an error

A blank text clears under all actions, null under those that replace (`without_silent_values`). A
row that names no employee changes the license of its key, which stays with its employee.
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
from shared.imports.licenses.messages import LicenseMessageId
from shared.imports.licenses.model import (
    IDENTITY_FIELDS,
    NATURAL_KEY_FIELDS,
    NEEDED_TO_FIND,
    NO_EMPLOYEE,
    Employee,
    License,
    LicenseIdentity,
    can_be_found,
    explicit_key,
    generate_keys,
    is_unidentified,
    keep_employee_fields,
    keys_differ,
    natural_key,
    result_key,
    sent_identity,
    usable_license_reference,
    without_silent_values,
)
from shared.imports.licenses.xml_reader import DATES, DOCUMENT, INPUT, KEYS
from shared.imports.merge_rules import ChangeListener, merge, unusual_values
from shared.imports.messages import TOO_LARGE_RECORD, Message, MessageId
from shared.imports.model import DATE_FORM, schema_of, shape_of
from shared.imports.results import MAX_REMOVED, Outcome, RowResult, failed
from shared.imports.row_reader import is_sensitive, read_row

# What the fields of licenses mean, for the published schema: by model class and field.
#
# Where the vendor's page says nothing of a field's values, the text says so.

_OPEN: Final = "The vendor publishes no list of values; any text is taken."
_DAY: Final = "A calendar day; a time of day is ignored. 0/0/0 in XML means none."

_IDENTITY: Final[Mapping[str, str]] = {
    "companyCode": "Code of the company; in every row.",
    "divisionCode": "Code of the division within the company. It is not checked.",
    "employeeNumber": "The employee's number in the company. It is not checked against workers.",
    "employeePersonalId": "The employee's personal id; 0 means none.",
    "licenseTypeCode": f"Which kind of license it is. {_OPEN}",
    "licenseNumber": "The license's own number. Its form is not checked.",
    "licenseKey": "The license's guid. Given, it alone decides which license is meant; `<empty>` "
    "and all zeros mean none.",
    "serializableLicenseKey": "The same guid under another name; both must agree.",
}
MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "LicenseIdentity": _IDENTITY,
    "License": {
        **_IDENTITY,
        "licenseCertificateCode": f"Code of the certificate. {_OPEN}",
        "issuedDate": f"First day of the license. {_DAY}",
        "expirationDate": f"Last day of the license; before issuedDate it gets a Warning. {_DAY}",
        "reminder": "When and where the employee is reminded of the end; its fields merge one by "
        "one.",
        "notes": "Notes on the license; more than 10,000 characters get a Warning.",
        "stateCode": "Code of the state that issued the license. It is not checked.",
        "documents": "Files of the license. Merge and Update add them or replace those of the "
        "same name and type; the other actions replace the list.",
    },
    "LicenseReminder": {
        "isShowingOnDashboard": "Whether the reminder shows on the dashboard.",
        "isShowingOnPayStub": "Whether the reminder shows on the pay stub.",
        "isShowingOnESS": "Whether the reminder shows in employee self-service.",
        "offset": "How far from the expiration date the reminder is. The unit is not published.",
        "offsetDirection": "Whether the reminder is before or after the expiration date.",
    },
    "LicenseDocument": {
        "content": "The file's bytes in base64. No message shows them.",
        "name": "The file's name; with documentTypeCode it tells the license's files apart.",
        "sourcePath": "Where the file came from. It is kept and never opened.",
        "mimeType": "Media type of the file. It is not checked.",
        "documentTypeCode": f"Which kind of document it is. {_OPEN}",
        "sha256": "The SHA-256 of the stored bytes in hexadecimal, as it is read back. A document "
        "without content keeps its stored bytes if they have it.",
    },
}


class Results:
    """Collects the results of rows; a later row may add a message to an earlier result.

    `committed` has the results that are already committed; a committed result that changes is
    collected again. `overwritten_before` are the overwritten rows whose result is in neither;
    `estimated_size` is about the characters that the results take in storage.
    """

    def __init__(self, committed: Mapping[int, RowResult] = MappingProxyType({})) -> None:
        self._by_index: dict[int, RowResult] = {}
        self._delivered: dict[int, RowResult] = {}
        self._committed = committed
        self.overwritten_before: list[int] = []
        self.estimated_size = 0

    def add(self, *results: RowResult) -> None:
        for result in results:
            self._by_index[result.index] = result
            self.estimated_size += estimate_size(result)

    def mark_overwritten(self, index: int) -> None:
        """Add the message that a later row changed the same license."""
        result = (
            self._by_index.get(index) or self._delivered.get(index) or self._committed.get(index)
        )
        if result is None:
            self.overwritten_before.append(index)
        else:
            self.add(result.with_message(Message(MessageId.OVERWRITTEN_BY_LATER_ROW)))

    def fail_others(self, message: Message) -> None:
        """Make all results fail with `message` that have not failed already."""
        for index, result in self._by_index.items():
            if result.outcome is not Outcome.FAILED:
                self._by_index[index] = failed(index, result.key, message)

    def in_order(self) -> list[RowResult]:
        """The results in the order in which they were added."""
        return list(self._by_index.values())

    def take(self) -> list[RowResult]:
        """Return the results and start again with none."""
        results = self.in_order()
        self._delivered |= self._by_index
        self._by_index.clear()
        self.estimated_size = 0
        return results

    def __len__(self) -> int:
        return len(self._by_index)


@dataclass(frozen=True, slots=True)
class CommittedRows:
    """Rows of the import that are already committed.

    `last` is the last row that took effect, by key of the license.
    """

    results: Mapping[int, RowResult]
    last: Mapping[str, int]


NOTHING_COMMITTED: Final = CommittedRows({}, {})


def find_committed(results: Mapping[int, RowResult]) -> CommittedRows:
    """The committed rows with these results."""
    last_rows = {
        key: index
        for index, result in sorted(results.items())
        if result.outcome.took_effect and (key := result.key[-1]) is not None
    }
    return CommittedRows(dict(results), last_rows)


def estimate_size(result: RowResult) -> int:
    """About the characters that a result takes in storage."""
    parts = (*result.key, *result.removed[:MAX_REMOVED])
    key_size = sum(len(part or "") + _OVERHEAD for part in parts)
    message_size = sum(
        _OVERHEAD + len(message.field or "") + len(message.value or "") + len(message.detail or "")
        for message in result.messages
    )
    return 2 * _OVERHEAD + key_size + message_size


# Characters that JSON adds to a value or a message.
_OVERHEAD: Final = 10

MOVED_TOO_OFTEN: Final = "its license changes employees too often in one import"
# Characters of a license as JSON: four bytes each fit into an entity.
MAX_DOCUMENT: Final = 240_000


class RowFailedError(Exception):
    """The row cannot be applied; `messages` are the reasons, besides the row's own messages."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*(message.id for message in messages))
        self.messages = messages


# Finds the employee of a row, also of a row that cannot be read.
FindEmployee = Callable[[ReadRow], Employee | None]


@dataclass
class LicenseRules:
    """Applies the rows of one import to the licenses of one company.

    `results` has the results since the last `Results.take`, `contents` the bytes of new documents
    by blob name and `content_bytes` their sum. `estimated_size` counts the characters of the
    changed licenses in a transaction. `needed_employees` are the employees, by row, whose licenses
    are not in the set although the row would move its license to them; such a row fails.

    `is_overtaken(index, number)` is whether a row must not be applied because import `number` has
    changed its license (an uncorrected row of a retry). `describe_error` logs an unexpected error
    and returns the message for the row; `on_change` is called for each row that takes effect.
    """

    tenant: str
    company: str
    action: LicenseAction
    number: int
    import_id: str
    license_set: LicenseSet
    describe_error: Callable[[Exception], Message]
    on_change: ChangeListener | None = None
    is_overtaken: Callable[[int, int], bool] = lambda _index, _number: False
    contents: dict[str, bytes] = field(default_factory=dict)
    content_bytes: int = 0
    results: Results = field(init=False)
    committed: CommittedRows = field(default_factory=lambda: NOTHING_COMMITTED)
    estimated_size: int = 0
    needed_employees: dict[int, Employee] = field(default_factory=dict)
    _last_rows: dict[str, int] = field(default_factory=dict)
    _replacement: _Replacement | None = None

    def __post_init__(self) -> None:
        self.results = Results(self.committed.results)

    def apply(self, rows: Sequence[ReadRow], find_employee: FindEmployee) -> Iterator[None]:
        """Apply the rows of a group in the order they were sent.

        The caller can commit the changes at each yield, which is after each row, or under Replace
        after all rows of an employee.
        """
        if self.action is not LicenseAction.REPLACE:
            for row in rows:
                self.results.add(self._apply_row(row, self.results))
                yield
            return
        for employee, employee_rows in _group_by_employee(rows, find_employee, self.license_set):
            self._replace_employee(employee, employee_rows)
            yield

    def _apply_row(self, row: ReadRow, results: Results) -> RowResult:
        try:
            return self._decide_row(row, results)
        except RowFailedError as error:
            return failed(row.index, row.key, *row.messages, *error.messages)
        except Exception as error:
            own = () if row.is_readable else row.messages
            return failed(row.index, row.key, *own, self.describe_error(error))

    def _replace_employee(self, employee: Employee, rows: Sequence[ReadRow]) -> None:
        """Apply all of an employee's rows or none, and remove the employee's other licenses."""
        savepoint = self.license_set.savepoint()
        results = Results()
        row_keys = {key for row in rows if (key := row.key[-1])}
        self._replacement = _Replacement(employee, row_keys, [])
        for row in rows:
            result = self._apply_row(row, results)
            results.add(result)
            self._replacement.keys.add(result.key[-1] or "")
        if any(result.outcome is Outcome.FAILED for result in results.in_order()):
            self.license_set.roll_back(savepoint)
            results.fail_others(Message(LicenseMessageId.OTHER_LICENSE_FAILED))
            results.overwritten_before.clear()
        elif employee.is_named:
            kept_keys = {result.key[-1] for result in results.in_order()}
            for stored_license in self.license_set.find_by_employee(employee):
                if stored_license.key not in kept_keys:
                    self._remove_replaced(stored_license)
        self.license_set.release_savepoints()
        self.results.add(*self._with_removed(results.in_order()))
        for index in results.overwritten_before:
            self.results.mark_overwritten(index)

    def _remove_replaced(self, stored_license: StoredLicense) -> None:
        assert self._replacement is not None, "only Replace removes other licenses"
        self.license_set.remove(stored_license.key, self.number)
        self._replacement.removed.append(stored_license.key)

    def _with_removed(self, results: list[RowResult]) -> list[RowResult]:
        """The results of an employee's rows; the first one gets the keys that Replace removed.

        Later rows, of other employees, may create a license of such a key again.
        """
        replacement = self._replacement
        if replacement is None or results[0].outcome is Outcome.FAILED:
            return results
        removed = sorted(
            key for key in replacement.removed if self.license_set.find_by_key(key) is None
        )
        return [replace(results[0], removed=tuple(removed)), *results[1:]]

    def _decide_row(self, row: ReadRow, results: Results) -> RowResult:
        """Raises RowFailedError with all faults besides the row's own messages.

        An unreadable row fails; it is still checked as far as its license can be found.
        """
        if not can_be_found(row):
            raise RowFailedError
        stored_license, key = self._find_license(row)
        faults = self._check_license(row, stored_license, key)
        if self.action is LicenseAction.DELETE:
            if faults or stored_license is None or not row.is_readable:
                raise RowFailedError(*faults)
            self.license_set.remove(stored_license.key, self.number)
            self._notify_change(row, stored_license, None)
            result = self._record_effect(
                row, stored_license.key, stored_license.document or {}, Outcome.UPDATED, results
            )
            return replace(result, removed=(stored_license.key,))
        already_exists = stored_license is not None and self.action is LicenseAction.INSERT
        document, contents = self._merge_row(row, None if already_exists else stored_license, key)
        text = json.dumps(document, ensure_ascii=False)
        if len(text) > MAX_DOCUMENT:
            faults.append(Message(MessageId.WRONG_LENGTH, detail=TOO_LARGE_RECORD))
        if row.unreadable.isdisjoint(NATURAL_KEY_FIELDS):
            faults += self._check_natural_key(row, document, key)
        if faults or not row.is_readable:
            raise RowFailedError(*faults)
        self.estimated_size += len(json.dumps(text))
        for name, data in contents.items():
            if name not in self.contents:
                self.contents[name] = data
                self.content_bytes += len(data)
                self.license_set.on_rollback(partial(self._drop_content, name))
        if stored_license is not None and stored_license.document == document:
            return RowResult(
                row.index,
                result_key(document, key),
                Outcome.UNCHANGED,
                (*row.messages, Message(MessageId.NOTHING_TO_CHANGE)),
            )
        self.license_set.put(key, document, self.number)
        self._notify_change(row, stored_license, document)
        outcome = Outcome.NEW if stored_license is None else Outcome.UPDATED
        return self._record_effect(row, key, document, outcome, results)

    def _record_effect(
        self, row: ReadRow, key: str, document: Document, outcome: Outcome, results: Results
    ) -> RowResult:
        before = self._last_rows.get(key, self.committed.last.get(key))
        if before is not None:
            results.mark_overwritten(before)
        self.license_set.on_rollback(partial(self._set_last, key, self._last_rows.get(key)))
        self._last_rows[key] = row.index
        return RowResult(row.index, result_key(document, key), outcome, row.messages)

    def _set_last(self, key: str, index: int | None) -> None:
        if index is None:
            self._last_rows.pop(key, None)
        else:
            self._last_rows[key] = index

    def _notify_change(
        self, row: ReadRow, stored_license: StoredLicense | None, after: Document | None
    ) -> None:
        if self.on_change is not None:
            before = stored_license.document if stored_license is not None else None
            self.on_change(row.index, without_blobs(before), without_blobs(after))

    def _find_license(self, row: ReadRow) -> tuple[StoredLicense | None, str]:
        """The stored license of the row, and its key; a new license gets its key here."""
        readable_key = explicit_key(row.values)
        if readable_key is not None:
            stored_license = self.license_set.find_by_key(readable_key)
            if stored_license is None and self.action is LicenseAction.UPDATE:
                raise RowFailedError(
                    Message(LicenseMessageId.NO_LICENSE_TO_UPDATE, "licenseKey", readable_key)
                )
            return stored_license, readable_key
        natural = natural_key(row.values)
        assert natural is not None, "can_be_found has checked it"
        stored_license = self.license_set.find_by_natural_key(natural)
        if stored_license is None and self.action is LicenseAction.UPDATE:
            raise RowFailedError(Message(LicenseMessageId.NO_LICENSE_TO_UPDATE))
        if stored_license is not None:
            return stored_license, stored_license.key
        generated = generate_keys(self.tenant, self.company, natural, self.import_id)
        return None, next(key for key in generated if not self.license_set.is_key_used(key))

    def _check_license(
        self, row: ReadRow, stored_license: StoredLicense | None, key: str
    ) -> list[Message]:
        """The faults that follow from whether the row's license is stored, and who changed it."""
        faults: list[Message] = []
        if stored_license is None and self.action is LicenseAction.DELETE:
            faults.append(
                Message(
                    LicenseMessageId.NO_LICENSE_TO_DELETE, "licenseKey", explicit_key(row.values)
                )
            )
        if stored_license is not None and self.action is LicenseAction.INSERT:
            faults.append(Message(LicenseMessageId.LICENSE_EXISTS))
        # An uncorrected row of a retry must not undo the change of a later import.
        natural = natural_key(row.values) if explicit_key(row.values) is None else None
        last_change = stored_license or self.license_set.tombstone(key, natural)
        changed_by = self.number if last_change is None else last_change.number
        if changed_by != self.number and self.is_overtaken(row.index, changed_by):
            faults.append(Message(MessageId.CHANGED_BY_LATER_IMPORT))
        return faults

    def _merge_row(
        self, row: ReadRow, stored_license: StoredLicense | None, key: str
    ) -> tuple[Document, dict[str, bytes]]:
        """The license that results from the row, and its new documents' bytes by blob name."""
        stored = stored_license.document if stored_license is not None else None
        sent = {name: value for name, value in row.values.items() if name not in _MERGED_SEPARATELY}
        keeps = self.action.keeps_what_is_absent
        base = stored
        if stored is not None and keeps:
            base = {name: value for name, value in stored.items() if name != "documents"}
        elif stored is not None:
            base = keep_employee_fields(stored, sent, keeps=False)
        document = merge(base, sent, License)
        document["licenseKey"] = key
        before = (stored or {}).get("documents", [])
        if "documents" not in row.values:
            if keeps and before:
                document["documents"] = before
            return document, {}
        documents = row.values["documents"]
        merged = merge_attachments(
            documents or [],
            before,
            keeps=keeps and documents is not None,
            blob=lambda digest: f"{key}/{self.number}-{digest}",
        )
        if merged.documents:
            document["documents"] = merged.documents
        return document, merged.contents

    def _check_natural_key(self, row: ReadRow, document: Document, key: str) -> list[Message]:
        """The fault that another license has the natural key, or might have it."""
        natural = natural_key(document)
        if natural is None:
            return []
        if not self.license_set.has_employee(natural.employee):
            # Also for an unreadable row, whose messages must not depend on the grouping of rows.
            self.needed_employees[row.index] = natural.employee
            return [Message(MessageId.COULD_NOT_BE_PROCESSED, detail=MOVED_TOO_OFTEN)]
        other = self.license_set.find_by_natural_key(natural)
        if other is None or other.key == key:
            return []
        if self._replacement is None or not self._replacement.would_remove(other):
            return [Message(LicenseMessageId.LICENSE_NUMBER_TAKEN)]
        self._remove_replaced(other)
        return []

    def _drop_content(self, name: str) -> None:
        self.content_bytes -= len(self.contents.pop(name))


_MERGED_SEPARATELY: Final = ("documents", "licenseKey", "serializableLicenseKey")


@dataclass(frozen=True, slots=True)
class _Replacement:
    """The employee whose licenses are replaced, and the license keys of its rows.

    `removed` has the keys of the licenses that were removed.
    """

    employee: Employee
    keys: set[str]
    removed: list[str]

    def would_remove(self, stored_license: StoredLicense) -> bool:
        """Whether Replace will remove the license, so that its natural key is free."""
        return stored_license.employee == self.employee and stored_license.key not in self.keys


def _group_by_employee(
    rows: Sequence[ReadRow],
    find_employee: Callable[[ReadRow], Employee | None],
    license_set: LicenseSet,
) -> Iterator[tuple[Employee, list[ReadRow]]]:
    """Group rows by employee.

    A row without an employee joins the first row of its license key that names one, else the
    employee of the stored license. The payload comes first because it does not change when half of
    the rows are committed.
    """
    employee_by_key: dict[str, Employee] = {}
    for row in rows:
        employee, key = find_employee(row), row.key[-1]
        if employee is not None and employee.is_named and key is not None:
            employee_by_key.setdefault(key, employee)
    groups: dict[Employee | int, tuple[Employee, list[ReadRow]]] = {}
    for row in rows:
        employee = find_employee(row)
        if employee is None or not employee.is_named:
            key = row.key[-1] or ""
            stored_license = license_set.find_by_key(key)
            employee = employee_by_key.get(
                key, NO_EMPLOYEE if stored_license is None else stored_license.employee
            )
        group = employee if employee.is_named else row.index
        groups.setdefault(group, (employee, []))[1].append(row)
    yield from groups.values()


# Reading rows of licenses, and the rules of the type (docs/contracts.md#2).

_DATE_FORM: Final = (
    f"{DATE_FORM}, or in XML the elements Year, Month and Day of the namespace {DATES}"
)
_KEY_FORM: Final = f"send a guid, or in XML _value within _entityKey, both of the namespace {KEYS}"
# The JSON and XML forms of values that are more than a text.
XML_FORMS: Final[Mapping[str, str]] = {
    "issuedDate": _DATE_FORM,
    "expirationDate": _DATE_FORM,
    "licenseKey": _KEY_FORM,
    "reminder": f"send an object, or in XML its elements in the namespace {INPUT}",
    "documents": f"send a list of objects, or in XML {DOCUMENT.partition('}')[2]} elements of the "
    f"namespace {INPUT}",
}
GROUP: Final = "companyCode"
# Stored properties of a document that the row did not send.
_CONTENT_FIELDS: Final = ("sha256", "length")


def read_license(index: int, row: Mapping[str, Any], action: LicenseAction) -> ReadRow:
    """Read a row: its faults as messages, its values by contract name.

    An empty list of documents counts as absent where absent properties keep their value, because
    senders write an empty list for documents that they do not know.
    """
    model = LicenseIdentity if action is LicenseAction.DELETE else License
    effective = without_silent_values(row, action)
    parsed = read_row(index, effective, model, (GROUP,))
    values = parsed.values
    if action.keeps_what_is_absent and fold_names(effective).get("documents") == []:
        values = {name: value for name, value in values.items() if name != "documents"}
    key = (
        result_key(values, explicit_key(values)) if parsed.is_readable else readable_key(effective)
    )
    messages = [_with_xml_form(message) for message in parsed.messages]
    if keys_differ(values):
        messages.append(
            Message(LicenseMessageId.LICENSE_KEYS_DIFFER, "licenseKey", values["licenseKey"])
        )
    if is_unidentified(parsed):
        messages.append(Message(LicenseMessageId.LICENSE_NOT_IDENTIFIED, detail=NEEDED_TO_FIND))
    messages += [*unusual_values(values, shape_of(model)), *_order_of_dates(values)]
    return replace(parsed, key=key, values=values, messages=tuple(messages))


def _order_of_dates(values: Document) -> Iterator[Message]:
    issued, expires = values.get("issuedDate"), values.get("expirationDate")
    if issued is not None and expires is not None and expires < issued:
        detail = "it is before issuedDate; check both"
        yield Message(MessageId.VALUES_DISAGREE, "expirationDate", expires, detail)


def _with_xml_form(message: Message) -> Message:
    """The message of a wrong type, in words for JSON and XML.

    An XML element with child elements is read as an object, but its sender does not know JSON.
    """
    if message.id != MessageId.WRONG_TYPE or message.field is None:
        return message
    expected, _, actual = (message.detail or "").rpartition(", ")
    form = XML_FORMS.get(message.field)
    if form is None and actual == "an object was sent":
        form = f"{expected}, or in XML an element without others in it"
    return message if form is None else replace(message, detail=form)


def readable_key(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The usable part of a row's key, whatever other faults the row has."""
    values = sent_identity(fold_names(row))
    return result_key(values, values.get("licenseKey"))


def identify(folded: Mapping[str, Any]) -> RowKey | None:
    """The company; its imports run in order (docs/design.md#1.2)."""
    company = usable_license_reference(folded.get(GROUP.lower()))
    return None if company is None else RowKey(company, "")


RULES = Rules(
    key_fields=IDENTITY_FIELDS,
    record_id_fields=(),
    identify=identify,
    json_schema=lambda: schema_of(License, "Licenses v1", MEANINGS),
    is_sensitive=lambda path: (
        path[-1] not in _CONTENT_FIELDS and is_sensitive(path, shape_of(License))
    ),
)
