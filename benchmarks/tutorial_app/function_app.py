"""The way of the tutorials: a message per row, one upsert, one result write. The caller asks for
the results until all are there. It neither checks rows nor survives the loss of a message.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import suppress
from functools import cache

import azure.functions as func
from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

STORAGE = "AzureWebJobsStorage"

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("workers", methods=["POST"])
async def import_workers(req: func.HttpRequest) -> func.HttpResponse:
    """Send a message for each row."""
    rows, import_id = req.get_json(), uuid.uuid4().hex
    for row in rows:
        await _queue().send_message(json.dumps({"import": import_id, "row": row}))
    return func.HttpResponse(json.dumps({"import": import_id}), status_code=202)


@app.queue_trigger("msg", "tutorial-rows", STORAGE)
async def import_row(msg: func.QueueMessage) -> None:
    """Store a row and its result."""
    message = json.loads(msg.get_body())
    row = message["row"]
    key = {"PartitionKey": row["EmployerRef"], "RowKey": row["PersonnelRef"]}
    await _table("TutorialWorkers").upsert_entity({**key, "document": json.dumps(row)})
    result = {"PartitionKey": message["import"], "RowKey": row["PersonnelRef"], "status": "OK"}
    await _table("TutorialResults").upsert_entity(result)


@app.route("results/{import_id}", methods=["GET"])
async def read_results(req: func.HttpRequest) -> func.HttpResponse:
    """The results that are there so far."""
    query = f"PartitionKey eq '{req.route_params['import_id']}'"
    results = [result async for result in _table("TutorialResults").query_entities(query)]
    statuses = {result["RowKey"]: result["status"] for result in results}
    return func.HttpResponse(json.dumps(statuses))


@app.route("storage", methods=["POST"])
async def create_storage(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 (the host)
    """Create the tables and the queue."""
    for table in ("TutorialWorkers", "TutorialResults"):
        await _tables().create_table_if_not_exists(table)
    with suppress(ResourceExistsError):
        await _queue().create_queue()
    return func.HttpResponse("{}")


@cache
def _tables() -> TableServiceClient:
    return TableServiceClient.from_connection_string(os.environ[STORAGE])


@cache
def _table(name: str) -> TableClient:
    return _tables().get_table_client(name)


@cache
def _queue() -> QueueClient:
    return QueueClient.from_connection_string(
        os.environ[STORAGE],
        "tutorial-rows",
        message_encode_policy=TextBase64EncodePolicy(),
    )
