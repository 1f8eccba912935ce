"""The hooks that an import type hands over to the gateway, in one object.

`shared/imports/<type>/module.py` has it as `MODULE`, `shared/imports/modules.py` collects them.
Both are read while the app is indexed, so a hook imports what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from shared.imports.import_type import ImportType

if TYPE_CHECKING:
    import azure.functions as func

    from shared.clock import Clock
    from shared.gateway import Gateway
    from shared.imports.files.formats import FileFormat
    from shared.imports.json_rows import Reader
    from shared.services.persons.search import PersonSource
    from shared.services.record_repair import BrokenFinder, StoredShape
    from shared.services.records.sources import RecordSource
    from shared.services.retention import LogRange, RetentionStep
    from shared.services.row_processor import FindReferrers, ProcessorContext, RowProcessor
    from shared.services.status import ImportReport
    from shared.storage.import_records import ImportRecord
    from shared.web.openapi.operations import Limits, Operation

    Answer = Callable[[Gateway, func.HttpRequest, ImportReport], Awaitable[func.HttpResponse]]
    EndedAnswer = Callable[[Gateway, ImportRecord], Awaitable[func.HttpResponse]]

    class MakeFileReader(Protocol):
        def __call__(
            self, file_format: FileFormat, *, max_document_bytes: int
        ) -> Reader | None: ...

    DescribeCalls = Callable[[Limits, Sequence[str]], Sequence[Operation]]


@dataclass(frozen=True, slots=True)
class StoredRecords:
    """The records of a type that can be read back: under which name, and their source.

    `are_renamed`: what a row removed is its own record under the key that it had before.
    """

    name: str
    source: Callable[[], RecordSource]
    are_renamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTypeModule:
    """One import type and its hooks.

    answer(gateway, req, report)       the vendor's answer for a caller that asks for an import
                                       later; the same as the call's own, 202 while it runs
    describe_calls(limits, names)      its calls in the OpenAPI document; types that share a
                                       contract share the function, which gets their names
    make_processor(context)            the row processor, where a row does not name one record
    make_undo_processor(context)       the row processor of an undo, where a row does not name one
                                       record; without one, imports of such a type cannot be undone
    referrers()                        finds its records that belong to records of the types that
                                       `belongs_to` names
    retention(gateway, clock)          its retention steps besides payloads and results
    log_range()                        the rows of its import logs in its records' table
    stored_shape()                     how to check and repair a stored record, where a row does not
                                       name one record
    find_broken                        functions that find unreadable data for `manage.py records`,
                                       by area; one under the type's name replaces the check by
                                       `stored_shape`
    records                            how its stored records are read back
    person()                           what it stores about persons
    make_file_reader(format, max_document_bytes)
                                       the reader of files in a format of its vendor; None for a
                                       format that it reads as every type does
    sample_failures                    the last record id of each row of `samples/<type>.json` that
                                       is made to fail; None where the demo shows the type in
                                       another way than by sending that file
    is_sent_in_batches                 whether `manage.py import` stages the rows of a file as a
                                       batch and processes it, instead of sending them as imports
    """

    definition: ImportType
    answer: Answer
    describe_calls: DescribeCalls
    make_processor: Callable[[ProcessorContext], RowProcessor] | None = None
    make_undo_processor: Callable[[ProcessorContext], RowProcessor] | None = None
    referrers: Callable[[], FindReferrers] | None = None
    retention: Callable[[Gateway, Clock], Iterable[RetentionStep]] = lambda _gateway, _clock: ()
    log_range: Callable[[], LogRange] | None = None
    stored_shape: Callable[[], StoredShape] | None = None
    find_broken: Mapping[str, BrokenFinder] = field(default_factory=dict)
    records: StoredRecords | None = None
    person: Callable[[], PersonSource] | None = None
    make_file_reader: MakeFileReader | None = None
    sample_failures: frozenset[str] | None = None
    is_sent_in_batches: bool = False

    @property
    def can_be_undone(self) -> bool:
        """Whether imports of the type can be undone."""
        is_by_record = self.make_processor is None and self.definition.keeps_rows
        return is_by_record or self.make_undo_processor is not None


def when_ended(render: EndedAnswer) -> Answer:
    """The answer of a type that renders ended imports only, and in one media type."""

    async def answer(
        gateway: Gateway, _req: func.HttpRequest, report: ImportReport
    ) -> func.HttpResponse:
        from shared.web.imports import not_yet

        if report.record.is_open:
            return not_yet(report)
        return await render(gateway, report.record)

    return answer
