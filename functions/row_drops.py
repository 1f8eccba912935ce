"""Dropped rows: the blob trigger (docs/contracts.md#11)."""

from __future__ import annotations

import azure.functions as func

from functions.documents import DROP_SOURCE, DropFailedError
from shared import log
from shared.bootstrap import gateway
from shared.storage_time import BACKGROUND_SECONDS, storage_time

blueprint = func.Blueprint()

CONNECTION = "AzureWebJobsStorage"
DROP = "row-drop"


@blueprint.function_name("row_drops")
@blueprint.blob_trigger(
    "blob", f"{DROP}/{{name}}", CONNECTION, source=DROP_SOURCE, data_type=func.DataType.BINARY
)
async def row_drops(blob: func.InputStream) -> None:
    """Import the rows of a dropped file by its name. The content is read from storage."""
    from shared.imports.file_names import plain_name

    name = (blob.name or "").partition("/")[2]
    try:
        with storage_time(BACKGROUND_SECONDS):
            await (await gateway()).row_drops.import_drop(name)
    except Exception as error:
        log.failure("drop.failed", error, function="row_drops", drop=plain_name(name))
        raise DropFailedError(type(error).__name__) from None
