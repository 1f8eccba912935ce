"""What a dry run tells row by row: the neutral results, with what each row would change."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import azure.functions as func

from shared.imports.definition import ImportType
from shared.web.import_views import result_view
from shared.web.requests import JSON

if TYPE_CHECKING:
    from shared.imports.changes import FieldChange
    from shared.services.dry_runs import Judgement


async def judged_rows(
    kind: ImportType, judgement: Judgement, media_type: str = JSON
) -> func.HttpResponse:
    """200 with every row as `/results` would show it, and its `changes`; all on one page."""
    body = await asyncio.to_thread(_rendered, kind, judgement)
    return func.HttpResponse(body, mimetype=media_type)


def _rendered(kind: ImportType, judgement: Judgement) -> str:
    items = [
        {
            **result_view(kind, result),
            "changes": [_change_view(each) for each in judgement.changes.get(result.index, ())],
        }
        for result in judgement.results
    ]
    page = {"items": items, "continuation": None}
    return json.dumps(page, ensure_ascii=False, separators=(",", ":"))


def _change_view(change: FieldChange) -> dict[str, Any]:
    return {"field": change.field, "before": change.before, "after": change.after}
