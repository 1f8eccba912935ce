"""The hooks that every type of Pay & Bill has (docs/contracts.md#1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from shared.imports.import_type import ImportType
from shared.imports.import_type_module import (
    ImportTypeModule,
    OpenApiArea,
    StoredRecords,
    when_ended,
)
from shared.imports.registry import import_type

if TYPE_CHECKING:
    import azure.functions as func

    from shared.gateway import Gateway
    from shared.services.records.sources import RecordSource
    from shared.storage.import_records import ImportRecord


def pay_and_bill_module(
    definition: ImportType, source: Callable[[], RecordSource] | None = None
) -> ImportTypeModule:
    """The module of a type of this contract.

    `source` finds its records where they are found by more than their key.
    """
    return ImportTypeModule(
        definition=definition,
        answer=when_ended(_answer),
        openapi_area=_openapi_area,
        records=StoredRecords(definition.name, source or partial(_records, definition)),
        names_database=True,
    )


def _records(definition: ImportType) -> RecordSource:
    from shared.services.records.sources import BusinessRecords

    return BusinessRecords(definition)


async def _answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    from shared.web.pay_and_bill import vendor_answer

    kind = import_type(record.type_name, record.type_version)
    return await vendor_answer(gateway, kind, record)


def _openapi_area() -> OpenApiArea:
    from shared.web.openapi import pay_and_bill

    return OpenApiArea(
        lambda limits, names: pay_and_bill.operations(limits.rows, names), pay_and_bill.shapes
    )
