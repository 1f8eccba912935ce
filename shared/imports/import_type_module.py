"""What an import type hands over to the rest of the gateway, in one object.

`shared/imports/<type>/module.py` has it as `MODULE`, `shared/imports/modules.py` collects them.
Both are read while the app is indexed, so a hook imports what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.imports.import_type import ImportType

if TYPE_CHECKING:
    import azure.functions as func

    from shared.clock import Clock
    from shared.gateway import Gateway
    from shared.services.record_repair import StoredShape
    from shared.services.records.sources import RecordSource
    from shared.services.retention import LogRange, RetentionStep
    from shared.services.row_processor import ProcessorContext, RowProcessor
    from shared.services.status import ImportReport
    from shared.storage.import_records import ImportRecord
    from shared.web.openapi.operations import Limits, Operation

    Answer = Callable[[Gateway, func.HttpRequest, ImportReport], Awaitable[func.HttpResponse]]
    EndedAnswer = Callable[[Gateway, ImportRecord], Awaitable[func.HttpResponse]]


@dataclass(frozen=True, slots=True)
class OpenApiArea:
    """The part of the OpenAPI document that describes the calls of a vendor's contract.

    operations(limits, names)    the calls, where the types of these names share the area
    shapes()                     the schemas of its answers by name
    """

    operations: Callable[[Limits, Sequence[str]], Sequence[Operation]]
    shapes: Callable[[], Mapping[str, dict[str, Any]]]


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

    answer(gateway, req, report)       the vendor's answer to an import that is asked for later, as
                                       the call itself would have given it; 202 while it runs
    openapi_area()                     where its calls are described; types that share a contract
                                       share the function
    make_processor(context)            the work on its rows, where they do not each name one record
    retention(gateway, clock)          what goes after its time besides payloads and results
    log_range()                        the rows that it logs of its imports beside its records
    stored_shape()                     how a stored record is checked and mended, where its rows do
                                       not each name one record
    records                            how its stored records are read back
    names_database                     whether its callers name the database that they send to
    """

    definition: ImportType
    answer: Answer
    openapi_area: Callable[[], OpenApiArea]
    make_processor: Callable[[ProcessorContext], RowProcessor] | None = None
    retention: Callable[[Gateway, Clock], Iterable[RetentionStep]] = lambda _gateway, _clock: ()
    log_range: Callable[[], LogRange] | None = None
    stored_shape: Callable[[], StoredShape] | None = None
    records: StoredRecords | None = None
    names_database: bool = False


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
