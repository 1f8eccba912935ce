"""The app that the tests of the local host run: each function shows one behaviour."""

import asyncio
import json
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
seen: list[dict[str, object]] = []


def _json(value: object, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), status_code=status, mimetype="application/json")


@app.route("echo/{name?}", methods=["GET", "POST", "PUT"])
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "params": dict(req.params),
            "route": dict(req.route_params),
            "length": len(req.get_body()),
            "type": type(req.get_body()).__name__,
            "text": req.get_body()[:100].decode("utf-8", "replace"),
            "invocation": context.invocation_id,
            "function": context.function_name,
            "trace": context.trace_context.trace_parent,
        }
    )


@app.queue_trigger("msg", "%JOBS_QUEUE%", "AzureWebJobsStorage")
async def jobs(msg: func.QueueMessage) -> None:
    body = msg.get_json()
    seen.append({"job": body["job"], "id": msg.id, "count": msg.dequeue_count, "at": time.time()})
    if delay := body.get("sleep"):
        await asyncio.sleep(delay)
    if body.get("fail"):
        raise RuntimeError("asked to fail")


@app.route("seen", methods=["GET"])
def seen_so_far(req: func.HttpRequest) -> func.HttpResponse:
    return _json(seen)
