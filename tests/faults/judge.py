"""The checker: what is stored must be what the accepted imports would leave one after another.

`judge(ledger)` applies every accepted import to a store in memory, in order of acceptance, by the
rules of its type alone. Rows that ended as 9001, 9002 or 1101 count as not sent; a 9001 needs a
poisoned chunk of that import, a 9002 a cancel of it. Everything that differs is a finding:

    lost      accepted and not there, or an outcome that nothing explains
    doubled   there more often than it was sent
    wrong     another outcome, another value, something that was refused or that nobody sent
    stuck     not ended although the faults have stopped
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.answer import results_of
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.hashing import Hasher
from shared.imports.authdata.model import AuthRecord, Employee, RecordReader, StoredEmployees
from shared.imports.authdata.rules import BatchOptions, Classification, classify
from shared.imports.authdata.store import employee_key
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.model import Upload
from shared.imports.import_type import Document, ReadRow, Reference
from shared.imports.json_rows import fold_names
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import LicenseSet
from shared.imports.licenses.model import Employee as LicenseEmployee
from shared.imports.licenses.model import employee_of, natural_key, sent_identity
from shared.imports.licenses.rules import LicenseRules, read_license
from shared.imports.messages import Message
from shared.imports.registry import import_type
from shared.imports.results import STORED_OUTCOMES, Outcome, RowResult
from shared.imports.workers.definition import WORKERS
from shared.settings import read_hash_keys
from shared.storage.business_records import partition_of, row_of
from shared.storage.import_records import ImportRecord
from tests.builders import Row
from tests.emulator import AUTHDATA_KEYS
from tests.faults.ledger import (
    CallKind,
    ImportBook,
    Ledger,
    Reply,
    SentCall,
    TenantBooks,
    by_mark,
    mark_of,
    same_json,
)

FAILED_TOO_OFTEN = 9001
CANCELLED = 9002
OVERTAKEN = 1101
MARK_FIELDS = {
    WORKERS.name: "PersonnelRef",
    ASSIGNMENTS.name: "AssignmentRef",
    LICENSES.name: "licenseNumber",
    AUTHDATA.name: "employeeId",
}
"""The field whose value is the mark in one row of each call."""
SIZE_OF_MARK = 1_000
"""A file of the n-th call has this many bytes and n more: its size is its mark."""
_KEYS = read_hash_keys("tests", AUTHDATA_KEYS, [])


STABLE_WORKERS = ("S1", "S2", "S3")
"""Workers whom no import changes once the faults begin; documents are theirs."""


class FindingKind(StrEnum):
    """The columns of the table."""

    LOST = "lost"
    DOUBLED = "doubled"
    WRONG = "wrong"
    STUCK = "stuck"


@dataclass(frozen=True)
class Finding:
    kind: FindingKind
    tenant: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.tenant}: {self.text}"


@dataclass
class Judgement:
    """What was found, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    calls: int = 0
    imports: int = 0
    rows: int = 0
    rows_failed_too_often: int = 0
    rows_cancelled: int = 0
    answers_500: int = 0


def judge(ledger: Ledger) -> Judgement:
    """Judge every tenant."""
    judgement = Judgement(calls=len(ledger.calls))
    judgement.answers_500 = sum(
        reply.status == 500 for call in ledger.calls for reply in call.replies
    )
    for tenant, books in ledger.books.items():
        calls = [call for call in ledger.calls if call.tenant == tenant]
        others = {call.mark for call in ledger.calls if call.tenant != tenant}
        _TenantJudge(books, calls, others, ledger.poisoned, judgement).judge()
    return judgement


class _TenantJudge:
    def __init__(
        self,
        books: TenantBooks,
        calls: list[SentCall],
        foreign: set[str],
        poisoned: set[tuple[str, int]],
        judgement: Judgement,
    ) -> None:
        self._books = books
        self._calls = calls
        self._by_mark = by_mark(calls)
        self._foreign = foreign
        self._poisoned = poisoned
        self._said = judgement
        self._by_id = {book.record.import_id: book for book in books.imports}
        self._imports_of: dict[str, list[ImportBook]] = defaultdict(list)
        self._children_of: dict[str, list[ImportBook]] = defaultdict(list)
        self._is_whole = True

    def judge(self) -> None:
        numbers = [book.record.number for book in self._books.imports]
        if numbers != list(range(1, len(numbers) + 1)):
            self._find(FindingKind.LOST, f"the imports are numbered {numbers}")
        for book in self._books.imports:
            self._judge_import(book)
        for import_id in self._books.open_imports:
            self._find(FindingKind.STUCK, f"import {import_id} is listed as open")
            self._is_whole = False
        for call in self._calls:
            self._judge_call(call)
        self._judge_files()
        for batch_id, batch in self._books.batches.items():
            if batch.is_closed:
                self._find(FindingKind.STUCK, f"batch {batch_id} is closed and no import was made")
        for name in self._books.drops:
            self._find(FindingKind.STUCK, f"the drop {name} was not taken in")
        if self._is_whole:
            # Behind an import without an end nothing can be said of what should be stored.
            _Reference(self._books, self._find).follow()

    def _find(self, kind: FindingKind, text: str) -> None:
        self._said.findings.append(Finding(kind, self._books.tenant, text))

    # -- one import --------------------------------------------------------------------------

    def _judge_import(self, book: ImportBook) -> None:
        record = book.record
        self._said.imports += 1
        self._said.rows += record.rows
        if record.tenant != self._books.tenant:
            self._find(FindingKind.WRONG, f"import {record.import_id} is of {record.tenant}")
        self._assign(book)
        if record.is_open:
            self._find(FindingKind.STUCK, f"{_name(record)} has not ended")
            self._is_whole = False
            return
        if sorted(book.chunks) != list(range(len(record.chunks))):
            missing = set(range(len(record.chunks))) - set(book.chunks)
            self._find(FindingKind.LOST, f"{_name(record)} has no result of chunks {missing}")
            self._is_whole = False
            return
        self._judge_outcomes(book)

    def _judge_outcomes(self, book: ImportBook) -> None:
        """I1 and I2: one outcome for each row, and counts that add up."""
        record, results = book.record, book.results
        indexes = [row.index for row in results]
        if lost := set(range(record.rows)) - set(indexes):
            self._find(FindingKind.LOST, f"{_name(record)}: rows {sorted(lost)} have no outcome")
            self._is_whole = False
        if len(set(indexes)) < len(indexes):
            self._find(FindingKind.DOUBLED, f"{_name(record)}: a row has two outcomes")
            self._is_whole = False
        outcomes = [row.outcome for row in results]
        counts = record.counts
        counted = (counts.new, counts.updated, counts.unchanged, counts.failed)
        if counted != tuple(outcomes.count(outcome) for outcome in STORED_OUTCOMES):
            self._find(FindingKind.WRONG, f"{_name(record)}: the counts are not those of the rows")
        for chunk, rows in book.chunks.items():
            codes = {message.id for row in rows for message in row.messages}
            if FAILED_TOO_OFTEN in codes:
                self._judge_failed_too_often(record, chunk, rows)
            if CANCELLED in codes:
                self._said.rows_cancelled += _count(rows, CANCELLED)
                if not any(self._is_cancel_of(call, record) for call in self._calls):
                    self._find(FindingKind.LOST, f"{_name(record)}: 9002, and nobody cancelled it")

    def _judge_failed_too_often(
        self, record: ImportRecord, chunk: int, rows: list[RowResult]
    ) -> None:
        self._said.rows_failed_too_often += _count(rows, FAILED_TOO_OFTEN)
        if (record.import_id, chunk) not in self._poisoned:
            reported = {
                message.detail
                for row in rows
                for message in row.messages
                if message.id == FAILED_TOO_OFTEN
            }
            self._find(
                FindingKind.LOST,
                f"{_name(record)}: 9001 in chunk {chunk}, which was not poisoned {reported}",
            )

    @staticmethod
    def _is_cancel_of(call: SentCall, record: ImportRecord) -> bool:
        return call.kind is CallKind.CANCEL and call.about == record.import_id

    # -- calls and imports -------------------------------------------------------------------

    def _assign(self, book: ImportBook) -> None:
        """Which call made this import, and whether it holds what that call sent."""
        record = book.record
        if record.parent.number:
            self._children_of[record.parent.import_id].append(book)
            return
        if record.type_name == AUTHDATA.name:
            self._imports_of[record.batch].append(book)
            return
        if book.rows is None:
            self._find(FindingKind.LOST, f"the payload of {_name(record)} is missing")
            self._is_whole = False
            return
        if record.type_name == DOCUMENTS.name:
            mark = f"call-{int(book.rows[0].get('size', 0)) - SIZE_OF_MARK}"
        else:
            mark = mark_of(book.rows.values(), MARK_FIELDS[record.type_name])
        call = self._by_mark.get(mark)
        if call is None:
            whose = "of another tenant" if mark in self._foreign else "that nobody sent"
            self._find(FindingKind.WRONG, f"{_name(record)} is one {whose}: {mark}")
            return
        self._imports_of[mark].append(book)
        if call.rows and not same_json(call.rows, [row for _, row in sorted(book.rows.items())]):
            self._find(FindingKind.WRONG, f"{_name(record)} has other rows than {mark} sent")

    def _judge_call(self, call: SentCall) -> None:
        if not call.is_settled:
            self._find(FindingKind.STUCK, f"{_told(call)} has had no answer")
        match call.kind:
            case CallKind.RETRY:
                self._judge_made(call, self._children_of[call.about])
                self._judge_retried(call)
            case CallKind.PROCESS:
                # Whoever comes next does it where the call has got no further than closing.
                self._judge_made(call, self._imports_of[call.about], is_refusable=False)
                self._judge_processed(call)
            case CallKind.STAGE_AND_PROCESS:
                self._judge_made(call, self._imports_of[call.about])
                self._judge_staged(call)
            case CallKind.CANCEL:
                self._judge_cancel(call)
            case CallKind.STAGE:
                self._judge_staged(call)
            case CallKind.UPLOAD | CallKind.DROP:
                self._judge_upload(call)
            case CallKind.DRY_RUN:
                if self._imports_of[call.mark]:
                    self._find(FindingKind.WRONG, f"{call.mark} was a dry run and made an import")
            case CallKind.ROW_DROP:
                self._judge_made(call, self._imports_of[call.mark])
                self._judge_results(call)
            case _:
                self._judge_made(call, self._imports_of[call.mark])

    def _judge_made(
        self, call: SentCall, books: list[ImportBook], *, is_refusable: bool = True
    ) -> None:
        """An accepted call has made one import, a refused one none, another one at most one."""
        if len(books) > 1:
            numbers = [book.record.number for book in books]
            self._find(FindingKind.DOUBLED, f"{_told(call)} made imports {numbers}")
        if call.was_accepted and not books:
            self._find(FindingKind.LOST, f"{_told(call)} was accepted and is not there")
        if call.was_refused and books and is_refusable:
            self._find(FindingKind.WRONG, f"{_told(call)} was refused and made an import")
        statuses = {reply.status for reply in call.replies}
        if 500 in statuses and not statuses & {0, 200, 202} and books:
            self._find(FindingKind.WRONG, f"{_told(call)} was answered 500 and made an import")
        for reply in call.replies:
            if reply.import_id and books and reply.accepts:
                self._judge_reply(call, reply, books)

    def _judge_reply(self, call: SentCall, reply: Reply, books: list[ImportBook]) -> None:
        book = self._by_id.get(reply.import_id)
        if book is None or book not in books:
            self._find(FindingKind.LOST, f"{call.mark}: no import {reply.import_id} as answered")
            return
        if not reply.statuses:
            return
        failed = {row.index: row.outcome is Outcome.FAILED for row in book.results}
        answered_errors = [status == "Error" for status in reply.statuses]
        if answered_errors != [failed.get(index, False) for index in range(book.record.rows)]:
            self._find(FindingKind.WRONG, f"{call.mark}: answered otherwise than it ended")

    def _judge_retried(self, call: SentCall) -> None:
        """The rows of a retry are those that failed, with the corrected ones in their places."""
        parent = self._by_id.get(call.about)
        corrected = {item["index"]: item["row"] for item in call.rows}
        for child in self._children_of[call.about]:
            if parent is None or parent.rows is None or child.rows is None:
                continue
            failed = sorted(row.index for row in parent.results if row.outcome is Outcome.FAILED)
            expected = [corrected.get(index, parent.rows.get(index)) for index in failed]
            if not same_json(expected, [row for _, row in sorted(child.rows.items())]):
                self._find(FindingKind.WRONG, f"{call.mark}: other rows are retried than failed")

    def _judge_results(self, call: SentCall) -> None:
        """The files that a sender finds where the rows were dropped."""
        for book in self._imports_of[call.mark]:
            has_failed = any(row.outcome is Outcome.FAILED for row in book.results)
            place = f"{call.about}/{book.record.import_id}/"
            expected = {f"{place}result.json", *([f"{place}failed.csv"] if has_failed else [])}
            found = {name for name in self._books.row_results if name.startswith(place)}
            if found != expected and not book.record.is_open:
                self._find(FindingKind.LOST, f"{_told(call)}: results are {found}, not {expected}")

    def _judge_upload(self, call: SentCall) -> None:
        """A refusal behind the form is an import too, one for each time the file was sent."""
        imports = self._imports_of[call.mark]
        refused = [book for book in imports if book.rows and book.rows[0].get("fault")]
        accepted = [book for book in imports if book not in refused]
        if len(refused) > len(call.replies):
            self._find(FindingKind.DOUBLED, f"{_told(call)} was refused {len(refused)} times")
        if refused and call.about in STABLE_WORKERS:
            faults = {str(book.rows[0]["fault"]) for book in refused if book.rows}
            self._find(
                FindingKind.WRONG, f"{_told(call)} was refused although all is there: {faults}"
            )
        if not refused or call.about in STABLE_WORKERS:
            self._judge_made(call, accepted)
            return
        # An upload that was accepted with 202 may be refused later.
        for reply in call.replies:
            if reply.accepts and reply.import_id not in self._by_id:
                self._find(FindingKind.LOST, f"{_told(call)}: no import {reply.import_id}")

    def _judge_cancel(self, call: SentCall) -> None:
        book = self._by_id.get(call.about)
        if call.was_accepted and (book is None or not book.record.is_cancelled):
            self._find(
                FindingKind.WRONG, f"{call.mark}: {call.about} was not cancelled as answered"
            )

    def _judge_processed(self, call: SentCall) -> None:
        """A batch into which records were accepted does not stay staged."""
        is_filled = any(
            other.kind is CallKind.STAGE and other.about == call.about and other.was_accepted
            for other in self._calls
        )
        if is_filled and call.about in self._books.batches:
            self._find(FindingKind.STUCK, f"{_told(call)}: batch {call.about} was not processed")

    def _judge_staged(self, call: SentCall) -> None:
        """Accepted records are in the batch, once; refused ones are not."""
        staged = self._staged_rows(call)
        times = [row.get("employeeId") for rows in staged for row in rows].count(call.mark)
        if times > 1:
            self._find(FindingKind.DOUBLED, f"{_told(call)} was staged {times} times")
        if call.was_accepted and not times:
            self._find(FindingKind.LOST, f"{_told(call)} was staged and is not in the batch")
        if call.was_refused and times:
            self._find(FindingKind.WRONG, f"{_told(call)} was refused and is in the batch")
        if times:
            self._judge_staged_rows(call, staged)

    def _staged_rows(self, call: SentCall) -> list[list[Row]]:
        """The records of the batch of a call, as staged or in the import that it became."""
        waiting = self._books.batches.get(call.about)
        staged = [
            [row for _, row in sorted((book.rows or {}).items())]
            for book in self._imports_of[call.about]
        ]
        return [*staged, waiting.rows] if waiting else staged

    def _judge_staged_rows(self, call: SentCall, staged: list[list[Row]]) -> None:
        reader = RecordReader(Hasher(_KEYS, call.tenant), {}, allow_no_auth=False)
        for rows in staged:
            first = next(
                (at for at, row in enumerate(rows) if row.get("employeeId") == call.mark), None
            )
            if first is None:
                continue
            expected = [reader.read(0, fold_names(row)).pack() for row in call.rows]
            if not same_json(expected, rows[first : first + len(expected)]):
                self._find(FindingKind.WRONG, f"{call.mark}: other records are staged than sent")

    def _judge_files(self) -> None:
        """The current file of every document is the one that was sent."""
        sent = {call.size: call.digest for call in self._calls if call.size}
        for document in self._books.documents.values():
            digest = self._books.files.get(document["importId"])
            if digest is None:
                self._find(FindingKind.LOST, f"the file of document {document['documentId']}")
            elif digest != sent.get(document["size"]):
                text = f"document {document['documentId']} has other bytes than were sent"
                self._find(FindingKind.WRONG, text)


class _Reference:
    """The sequential reference: a store in memory, to which import after import is applied."""

    def __init__(self, books: TenantBooks, find: Callable[[FindingKind, str], None]) -> None:
        self._books = books
        self._find = find
        self._by_number = {book.record.number: book for book in books.imports}
        self._documents: dict[tuple[str, str, str], Document] = {}
        self._writers: dict[tuple[str, str, str], int] = {}
        self._sent_by: dict[tuple[int, int], int] = {}
        self._retries: defaultdict[int, set[int]] = defaultdict(set)
        self._shelves: dict[str, LicenseSet] = defaultdict(LicenseSet)
        self._employees: dict[str, Employee] = {}
        self._uploads: dict[str, Document] = {}

    def follow(self) -> None:
        for book in self._books.imports:
            for ancestor in book.record.lineage:
                self._retries[ancestor.number].add(book.record.number)
            self._judge_kinship(book)
            match book.record.type_name:
                case WORKERS.name | ASSIGNMENTS.name:
                    self._follow_records(book)
                case LICENSES.name:
                    self._follow_licenses(book)
                case AUTHDATA.name:
                    self._follow_authdata(book)
                case DOCUMENTS.name:
                    self._follow_document(book)
        self._judge_records()
        self._judge_licenses()
        self._judge_employees()
        self._judge_documents()

    def _wrong(self, record: ImportRecord, index: int, text: str) -> None:
        self._find(FindingKind.WRONG, f"{_name(record)} row {index}: {text}")

    def _judge_kinship(self, book: ImportBook) -> None:
        """A retry has the rows of its parent that failed, in their order; some are corrected."""
        record, rows = book.record, book.rows or {}
        parent = self._by_number.get(record.parent.number)
        if parent is None:
            self._sent_by.update({(record.number, index): record.number for index in rows})
            return
        failed = sorted(row.index for row in parent.results if row.outcome is Outcome.FAILED)
        for (index, row), was in zip(sorted(rows.items()), failed, strict=False):
            is_as_sent = same_json(row, (parent.rows or {}).get(was))
            first = self._sent_by.get((parent.record.number, was), parent.record.number)
            self._sent_by[record.number, index] = first if is_as_sent else record.number

    # -- workers and assignments -------------------------------------------------------------

    def _follow_records(self, book: ImportBook) -> None:
        record = book.record
        kind = import_type(record.type_name, record.type_version)
        rules = kind.record_rules
        before = dict(self._writers)
        last_effect: dict[tuple[str, str, str], int] = {}
        results = {row.index: row for row in book.results}
        for index, row in sorted((book.rows or {}).items()):
            result = results[index]
            codes = _codes(result)
            if codes & {FAILED_TOO_OFTEN, CANCELLED}:
                continue
            place = rules.identify(fold_names(row))
            key = (record.type_name, place.group, place.reference) if place else ("", "", "")
            origin, writer = self._sent_by[record.number, index], before.get(key, 0)
            is_overtaken = origin < writer and writer not in self._retries[origin]
            if (OVERTAKEN in codes) is not is_overtaken:
                self._wrong(record, index, f"1101 {OVERTAKEN in codes}, in order {is_overtaken}")
            if is_overtaken:
                continue
            expected = Outcome.FAILED
            read = rules.read(index, row)
            document: Document | None = None
            if read.is_readable:
                decision = rules.decide(read, self._documents.get(key), record.options)
                expected, document = decision.outcome, decision.document
                if expected.took_effect and not self._are_known(kind.references_of(read.values)):
                    expected = Outcome.FAILED
                    if 2001 not in codes:
                        self._wrong(record, index, "a missing worker was not missed")
            if result.outcome is not expected:
                self._wrong(record, index, f"{result.outcome}, in order {expected}")
            if expected.took_effect and document is not None:
                self._documents[key] = document
                self._writers[key] = record.number
                if key in last_effect and 1102 not in _codes(results[last_effect[key]]):
                    self._wrong(record, last_effect[key], "overwritten, and 1102 is missing")
                last_effect[key] = index

    def _are_known(self, references: Iterable[Reference]) -> bool:
        return all((WORKERS.name, each.group, each.reference) in self._documents
                   for each in references)  # fmt: skip

    def _judge_records(self) -> None:
        for name in (WORKERS.name, ASSIGNMENTS.name):
            rules = import_type(name).record_rules
            expected = {
                (partition_of(self._books.tenant, group), row_of(reference)): document
                for (kind, group, reference), document in self._documents.items()
                if kind == name
            }
            self._compare(name, expected, self._books.records[name])
            lookups = {
                (partition, f"x|{lookup}|{row.removeprefix('r|')}")
                for (partition, row), document in expected.items()
                for lookup in rules.lookups(document)
            }
            if lookups != self._books.lookups[name]:
                self._find(FindingKind.WRONG, f"look-ups of {name} are missing or left over")

    def _compare(
        self,
        name: str,
        expected: Mapping[tuple[str, str], Document],
        stored: Mapping[tuple[str, str], Document],
    ) -> None:
        for key in expected.keys() - stored.keys():
            self._find(FindingKind.LOST, f"{name} {key} is not stored")
        for key in stored.keys() - expected.keys():
            self._find(FindingKind.WRONG, f"{name} {key} is stored, and nobody sent it")
        for key in expected.keys() & stored.keys():
            if expected[key] != stored[key]:
                differing = _differing(expected[key], stored[key])
                self._find(FindingKind.WRONG, f"{name} {key} has another {differing}")

    # -- licenses ----------------------------------------------------------------------------

    def _follow_licenses(self, book: ImportBook) -> None:
        record = book.record
        action = LicenseAction(record.options.action)
        results = {row.index: row for row in book.results}
        companies: dict[str, list[ReadRow]] = defaultdict(list)
        whose: dict[int, LicenseEmployee] = {}
        for index, row in sorted((book.rows or {}).items()):
            identity = sent_identity(fold_names(row))
            if _codes(results[index]) & {FAILED_TOO_OFTEN, CANCELLED}:
                continue
            if "companyCode" not in identity:
                if results[index].outcome is not Outcome.FAILED:
                    self._wrong(record, index, "a row without a company went in")
                continue
            companies[identity["companyCode"]].append(read_license(index, row, action))
            whose[index] = employee_of(identity)
        for company, rows in companies.items():
            self._follow_company(record, company, action, rows, whose, results)

    def _follow_company(
        self,
        record: ImportRecord,
        company: str,
        action: LicenseAction,
        rows: list[ReadRow],
        whose: Mapping[int, LicenseEmployee],
        results: Mapping[int, RowResult],
    ) -> None:
        retries = {number: frozenset(later) for number, later in self._retries.items()}
        work = LicenseRules(
            tenant=self._books.tenant,
            company=company,
            action=action,
            number=record.number,
            import_id=record.import_id,
            license_set=self._shelves[company],
            describe_error=_unforeseen,
            is_overtaken=replace(record.origins, retries=retries).is_overtaken,
        )
        for _ in work.apply(rows, lambda row: whose[row.index]):
            pass
        for expected in work.results.take():
            result = results[expected.index]
            if (result.outcome, result.key) != (expected.outcome, expected.key):
                difference = (
                    f"{result.outcome} {result.key}, in order {expected.outcome} {expected.key}"
                )
                self._wrong(record, result.index, difference)
        self._shelves[company].mark_stored()

    def _judge_licenses(self) -> None:
        tenant = self._books.tenant
        expected = {
            (partition_of(tenant, company), license_.key): license_.document or {}
            for company, license_set in self._shelves.items()
            for license_ in license_set.all_licenses()
        }
        stored: dict[tuple[str, str], Document] = {}
        for partition, licenses in self._books.licenses.items():
            keys = [each.key for each in licenses]
            natural = [natural_key(each.document) for each in licenses]
            named = [key for key in natural if key is not None]
            if len(set(keys)) < len(keys) or len(set(named)) < len(named):
                self._find(FindingKind.DOUBLED, f"two licenses of {partition} are the same one")
            stored |= {(partition, each.key): each.document for each in licenses}
            missing = {name for each in licenses for name in each.blobs}
            if missing := missing - self._books.license_files:
                self._find(
                    FindingKind.LOST, f"documents of licenses are missing: {sorted(missing)}"
                )
        self._compare(LICENSES.name, expected, stored)
        owners = {key: employee_of(fields) for key, fields in self._books.owners.items()}
        if owners != {key: employee_of(document) for key, document in expected.items()}:
            self._find(FindingKind.WRONG, "the owners of licenses are not those of the licenses")

    # -- authentication data -----------------------------------------------------------------

    def _follow_authdata(self, book: ImportBook) -> None:
        """A batch is decided as a whole; of its rows those that ended otherwise do nothing."""
        record = book.record
        records = [AuthRecord.unpack(at, row) for at, row in sorted((book.rows or {}).items())]
        holders = {
            triple: employee.employee_id
            for employee in self._employees.values()
            if (triple := employee.triple) is not None
        }
        stored = StoredEmployees(dict(self._employees), holders, len(self._employees))
        classified = classify(records, stored, BatchOptions())
        results = {row.index: row for row in book.results}
        effects: list[Classification] = []
        pairs = zip(results_of(classified), classified.classifications, strict=True)
        for expected, classification in pairs:
            result = results[expected.index]
            if _codes(result) & {FAILED_TOO_OFTEN, CANCELLED}:
                continue
            if result.outcome is not expected.outcome or _codes(result) != _codes(expected):
                difference = f"{result.outcome}, in order {expected.outcome}"
                self._wrong(record, expected.index, difference)
            effects.append(classification)
        for classification in effects:
            if classification.employee is not None:
                self._employees.pop(classification.renamed_from, None)
        for classification in effects:
            if classification.employee is not None:
                self._employees[classification.employee.employee_id] = classification.employee

    def _judge_employees(self) -> None:
        tenant = self._books.tenant
        expected: dict[tuple[str, str], Document] = {}
        lookups: set[tuple[str, str]] = set()
        for employee in self._employees.values():
            key = employee_key(tenant, employee.employee_id)
            expected[key.partition, key.row] = employee.document()
            if employee.triple is not None:
                reference = key.row.removeprefix("r|")
                lookups.add((key.partition, f"x|{employee.triple}|{reference}"))
        self._compare(AUTHDATA.name, expected, self._books.records[AUTHDATA.name])
        if {row.split("|")[-1] for _, row in lookups} != {
            row.split("|")[-1] for _, row in self._books.lookups[AUTHDATA.name]
        } or len(lookups) != len(self._books.lookups[AUTHDATA.name]):
            self._find(FindingKind.WRONG, "look-ups of authdata are missing or left over")

    # -- documents ---------------------------------------------------------------------------

    def _follow_document(self, book: ImportBook) -> None:
        """What was found out before the import was accepted stands in its row."""
        record = book.record
        [result] = book.results
        if _codes(result) & {FAILED_TOO_OFTEN, CANCELLED}:
            return
        upload = Upload.from_lines(record.inline.encode())
        expected = Outcome.FAILED
        if upload.fault is None:
            document_id = upload.document_id(self._books.tenant)
            expected = Outcome.UPDATED if document_id in self._uploads else Outcome.NEW
            self._uploads[document_id] = {"importId": record.import_id, "size": upload.size,
                                          "fileName": upload.file_name}  # fmt: skip
        if result.outcome is not expected:
            self._wrong(record, 0, f"{result.outcome}, in order {expected}")

    def _judge_documents(self) -> None:
        stored = {
            key: {name: document.get(name) for name in ("importId", "size", "fileName")}
            for key, document in self._books.documents.items()
        }
        self._compare(
            DOCUMENTS.name,
            {("", key): document for key, document in self._uploads.items()},
            {("", key): document for key, document in stored.items()},
        )


def _name(record: ImportRecord) -> str:
    return f"import {record.number} of {record.type_name} ({record.import_id})"


def _told(call: SentCall) -> str:
    statuses = ", ".join(f"{reply.status} {reply.text[:60]}".strip() for reply in call.replies)
    key = ", with a key" if call.key else ""
    return f"{call.mark} ({call.kind} of {call.type_name}{key}, answered [{statuses}])"


def _codes(result: RowResult) -> set[int]:
    return {message.id for message in result.messages}


def _count(rows: Iterable[RowResult], code: int) -> int:
    return sum(1 for row in rows if code in _codes(row))


def _differing(one: Document, other: Document) -> str:
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    return ", ".join(f"{name} ({one.get(name)!r} → {other.get(name)!r})" for name in names[:3])


def _unforeseen(error: Exception) -> Message:
    raise error
