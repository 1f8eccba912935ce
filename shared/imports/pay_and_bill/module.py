"""The hooks that every type of Pay & Bill has (docs/contracts.md#1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.imports.import_type import ImportType
from shared.imports.import_type_module import ImportTypeModule, OpenApiArea, when_ended
from shared.imports.registry import import_type

if TYPE_CHECKING:
    import azure.functions as func

    from shared.gateway import Gateway
    from shared.storage.import_records import ImportRecord


def pay_and_bill_module(definition: ImportType) -> ImportTypeModule:
    """The module of a type of this contract."""
    return ImportTypeModule(
        definition=definition,
        answer=when_ended(_answer),
        openapi_area=_openapi_area,
        names_database=True,
    )


async def _answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    from shared.imports.pay_and_bill.http import vendor_answer

    kind = import_type(record.type_name, record.type_version)
    return await vendor_answer(gateway, kind, record)


def _openapi_area() -> OpenApiArea:
    from shared.imports.pay_and_bill import openapi

    return OpenApiArea(lambda limits, names: openapi.operations(limits.rows, names), openapi.shapes)
