"""The app that the tests of the local host run: each function shows one behaviour."""

import asyncio
import json
import logging
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
seen: list[dict[str, Any]] = []
running = {"now": 0, "most": 0}


def _json(value: object, status: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), status_code=status, mimetype="application/json")


async def _release(name: str) -> None:
    """Wait until the test lets go on what it holds by this name."""
    while not (Path(os.environ["RELEASES"]) / name).exists():  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.02)


def _message(msg: func.QueueMessage) -> dict[str, Any]:
    times = (msg.insertion_time, msg.expiration_time, msg.time_next_visible)
    return {
        "id": msg.id,
        "count": msg.dequeue_count,
        "receipt": msg.pop_receipt,
        "times": [moment.isoformat() if moment else None for moment in times],
        "body": msg.get_body().decode(),
    }


@app.route("echo/{name?}", methods=["GET", "POST", "PUT"])
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    body = req.get_body()
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "params": dict(req.params),
            "route": dict(req.route_params),
            "length": len(body),
            "type": type(body).__name__,
            "text": body[:100].decode("utf-8", "replace"),
            "invocation": context.invocation_id,
            "function": context.function_name,
            "directory": context.function_directory,
            "trace": context.trace_context.trace_parent,
            "retries": context.retry_context.retry_count,
            "own_host": os.environ.get("WEBSITE_HOSTNAME"),
            "setting": os.environ.get(req.params.get("setting", "")),
        }
    )


@app.route("a/{id}", methods=["GET"])
async def aa_first(req: func.HttpRequest) -> func.HttpResponse:
    return _json("aa_first")


@app.route("a/recent")
async def bb_shadowed_for_get(req: func.HttpRequest) -> func.HttpResponse:
    return _json("bb_shadowed_for_get")


@app.route("import/{type}.v{n:int}.schema", methods=["GET"])
async def schema(req: func.HttpRequest) -> func.HttpResponse:
    return _json(dict(req.route_params))


@app.route("outcome/{kind}")
async def outcome(req: func.HttpRequest) -> func.HttpResponse:
    kind = req.route_params["kind"]
    if kind == "raise":
        raise RuntimeError("asked to fail")
    if kind == "none":
        return None  # type: ignore[return-value]
    if kind == "dict":
        return {"a": 1}  # type: ignore[return-value]
    if kind == "text":
        return "plain text"  # type: ignore[return-value]
    if kind == "cookies":
        response = func.HttpResponse(status_code=204)
        response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly")
        response.headers.add("Set-Cookie", "b=2")
        return response
    name = "naïve.pdf" if kind == "non-ascii-header" else "plain.pdf"
    return func.HttpResponse(b"%PDF", headers={"Content-Disposition": name}, status_code=201)


@app.route("held/{name}")
async def held(req: func.HttpRequest) -> func.HttpResponse:
    name = req.route_params["name"]
    seen.append({"held": name})
    await _release(name)
    return _json(len(req.get_body()))


@app.route("slow-sync", methods=["GET"])
def slow_sync(req: func.HttpRequest) -> func.HttpResponse:
    seen.append({"thread": threading.current_thread().name})
    while not (Path(os.environ["RELEASES"]) / req.params["until"]).exists():
        time.sleep(0.02)
    return _json(threading.current_thread().name)


@app.route("handles-sigterm", methods=["GET"])
async def handles_sigterm(req: func.HttpRequest) -> func.HttpResponse:
    before = signal.getsignal(signal.SIGTERM)

    def note(number: int, frame: FrameType | None) -> None:
        logging.getLogger("sample").warning("the app was told to end")
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, note)
    return _json("ok")


@app.route("switched-off", methods=["GET"])
async def switched_off(req: func.HttpRequest) -> func.HttpResponse:
    return _json("on")


@app.route("head", methods=["HEAD", "GET"])
async def with_head(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"" if req.method == "HEAD" else b"body")


@app.route("seen", methods=["GET"])
async def seen_so_far(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"seen": seen, "most": running["most"]})


@app.queue_trigger("msg", "%JOBS_QUEUE%", "AzureWebJobsStorage")
async def jobs(msg: func.QueueMessage) -> Any:
    body = msg.get_json()
    running["now"] += 1
    running["most"] = max(running.values())
    seen.append({"job": body["job"], "at": time.monotonic(), **_message(msg)})
    try:
        await asyncio.sleep(body.get("sleep", 0))
        if "until" in body:
            await _release(body["until"])
    finally:
        running["now"] -= 1
    if body.get("fail"):
        raise RuntimeError("asked to fail")
    seen.append({"done": body["job"]})
    return body.get("return")


@app.queue_trigger("msg", "%JOBS_QUEUE%-poison", "AzureWebJobsStorage")
async def jobs_poison(msg: func.QueueMessage) -> None:
    seen.append({"poison": msg.get_body().decode(), "at": time.monotonic(), **_message(msg)})
    if "fail-in-poison" in msg.get_body().decode():
        raise RuntimeError("asked to fail")


@app.timer_trigger("timer", "%TICK_SCHEDULE%", run_on_startup=False)
async def tick(timer: func.TimerRequest) -> None:
    seen.append({"tick": time.time(), "past_due": timer.past_due})
    await asyncio.sleep(1.2)
    seen.append({"tock": time.time()})


@app.schedule("timer", "0 0 0 1 1 *", run_on_startup=True)
async def yearly(timer: func.TimerRequest) -> None:
    seen.append({"yearly": timer.past_due})


@app.blob_trigger(
    "blob", "%DROP%/in/{name}.bin", "AzureWebJobsStorage", data_type=func.DataType.BINARY
)
async def drop(blob: func.InputStream) -> None:
    content = blob.read()
    seen.append(
        {
            "blob": blob.name,
            "hex": content.hex(),
            "length": blob.length,
            "uri": blob.uri,
            "metadata": getattr(blob, "metadata", None),
            "created": getattr(blob, "blob_properties", {}).get("CreatedOn"),
        }
    )
    if content.startswith(b"bad"):
        raise RuntimeError("asked to fail")
