"""The hooks of the types of Pay & Bill (docs/contracts.md#1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from shared.imports.import_type import ImportType
from shared.imports.import_type_module import ImportTypeModule, StoredRecords, when_ended
from shared.imports.registry import import_type

if TYPE_CHECKING:
    import azure.functions as func

    from shared.gateway import Gateway
    from shared.services.persons.search import PersonSource
    from shared.services.records.sources import RecordSource
    from shared.storage.import_records import ImportRecord
    from shared.web.openapi.operations import Limits, Operation


def pay_and_bill_module(
    definition: ImportType,
    source: Callable[[], RecordSource] | None = None,
    *,
    sample_failures: Iterable[str] = (),
) -> ImportTypeModule:
    """The module of a type of this contract.

    `source` finds its records where they are found by more than their key. `sample_failures` are
    the references of the rows of its sample that are made to fail.
    """
    return ImportTypeModule(
        definition=definition,
        answer=when_ended(_answer),
        describe_calls=_describe_calls,
        sample_failures=frozenset(sample_failures),
        records=StoredRecords(definition.name, source or partial(_records, definition)),
        person=partial(_person, definition),
    )


def _records(definition: ImportType) -> RecordSource:
    from shared.services.records.sources import BusinessRecords

    return BusinessRecords(definition)


def _person(definition: ImportType) -> PersonSource:
    from shared.imports.pay_and_bill.person import PayAndBillPerson

    return PayAndBillPerson(definition)


async def _answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    from shared.imports.pay_and_bill.http import vendor_answer

    kind = import_type(record.type_name, record.type_version)
    return await vendor_answer(gateway, kind, record)


def _describe_calls(limits: Limits, names: Sequence[str]) -> Sequence[Operation]:
    from shared.imports.pay_and_bill import openapi

    return openapi.operations(limits.rows, names)
