"""The vendor's exact answer to an ended import of any type (CONTRACTS 5, `/answer`)."""

from __future__ import annotations

import azure.functions as func

from shared.gateway import Gateway
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.licenses.definition import LICENSES
from shared.imports.registry import import_type
from shared.services.status import ImportReport
from shared.web import authdata, pay_and_bill, viventium
from shared.web.imports import not_yet


async def answer_later(
    gateway: Gateway, req: func.HttpRequest, report: ImportReport
) -> func.HttpResponse:
    """As the call itself would have given it; 202 while the import runs.

    Raises NotAcceptableError where the type's answer has none of the media types that the call
    accepts.
    """
    record = report.record
    if record.type_name == LICENSES.name:
        media_type = viventium.accepted_media_type(req, viventium.offered_first(record.media_type))
        if record.is_open:
            return viventium.licenses_not_yet(report, media_type)
        return await viventium.licenses_answer(gateway, record, media_type)
    if record.is_open:
        return not_yet(report)
    if record.type_name == DOCUMENTS.name:
        from shared.web.documents import document_answer

        return await document_answer(gateway, record)
    if record.type_name == AUTHDATA.name:
        return await authdata.authdata_answer(gateway, record)
    return await pay_and_bill.vendor_answer(
        gateway, import_type(record.type_name, record.type_version), record
    )
