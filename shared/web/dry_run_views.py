"""What a dry run tells row by row: the neutral results, with what each row would change."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import azure.functions as func

from shared.imports.definition import ImportType
from shared.imports.outcomes import RowResult
from shared.web.import_views import result_view
from shared.web.requests import JSON

if TYPE_CHECKING:
    from shared.services.dry_runs import Judgement


async def judged_rows(
    kind: ImportType, judgement: Judgement, media_type: str = JSON
) -> func.HttpResponse:
    """200 with every row as `/results` would show it, and its `changes`; all on one page."""
    body = await asyncio.to_thread(_rendered, kind, judgement)
    return func.HttpResponse(body, mimetype=media_type)


def _rendered(kind: ImportType, judgement: Judgement) -> bytes:
    items = [
        f'{_vendor_result(kind, result)[:-1]},"changes":'
        f"{judgement.changes.get(result.index, '[]')}}}".encode()
        for result in judgement.results
    ]
    return b'{"dryRun":true,"items":[' + b",".join(items) + b'],"continuation":null}'


def _vendor_result(kind: ImportType, result: RowResult) -> str:
    return json.dumps(result_view(kind, result), ensure_ascii=False, separators=(",", ":"))
