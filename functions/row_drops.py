"""Dropped rows: the blob trigger (docs/contracts.md#11)."""

from __future__ import annotations

import azure.functions as func

from functions.documents import DROP_SOURCE, drop_failed, dropped_name
from functions.loading import gateway_in_background

blueprint = func.Blueprint()

CONNECTION = "AzureWebJobsStorage"
DROP = "row-drop"


@blueprint.function_name("row_drops")
@blueprint.blob_trigger(
    "blob", f"{DROP}/{{name}}", CONNECTION, source=DROP_SOURCE, data_type=func.DataType.BINARY
)
async def row_drops(blob: func.InputStream) -> None:
    """Import the rows of a dropped file by its name. The content is read from storage."""
    name = dropped_name(blob)
    try:
        async with gateway_in_background() as app:
            await app.row_drops.import_drop(name)
    except Exception as error:
        raise drop_failed("row_drops", name, error) from None
