"""HTTP triggers: an ASGI app that answers as host and worker together do (docs/platform.md#1)."""

import asyncio
import contextlib
import io
import logging
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from azure.functions.meta import Datum

from local_host.app_settings import InvocationFailedError, is_set, read_number
from local_host.host_json import HttpOptions
from local_host.http_connection import ConnectionLimits
from local_host.indexing import AppFunction, find_converter
from local_host.invoking import Invoker, decode_trigger
from local_host.routes import Route, find_route

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_OWN_PATHS = re.compile(r"/(admin|runtime)(/|$)", re.IGNORECASE)
_DRAIN_SECONDS = 5.0
# The most bytes of bodies that functions have not received yet (LOCAL_HOST_BODIES_BYTES).
_BODIES = 1_073_741_824
_SECOND_LOOK = 0.1
_RETRY_AFTER = ("Retry-After", "5")
_HOME_PAGE = b"<!doctype html><title>Local host</title><p>The function app is running.</p>"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers as they go out, and the whole body."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class _RequestRefusedError(Exception):
    """The request ends here with a status and an empty body."""

    def __init__(self, status: int, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.answer = Answer(status, headers)


class _ThrottledError(_RequestRefusedError):
    """The host has no room for the request; this answer carries no `customHeaders`."""

    def __init__(self) -> None:
        super().__init__(429, ("X-FUNCTION-SCALEOUT", "1"))


class HttpFrontEnd:
    """The ASGI app."""

    def __init__(
        self,
        functions: Sequence[AppFunction],
        options: HttpOptions,
        invoker: Invoker,
        limits: ConnectionLimits,
    ) -> None:
        """`functions` are in the host's order. Those that are not HTTP functions are ignored."""
        self._functions = {f.name: f for f in functions}
        self._routes: list[Route] = [f.route for f in functions if f.route]
        self._options = options
        self._invoker = invoker
        self._body_limit = int(read_number("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", 104_857_600))
        self._most_body_bytes = int(read_number("LOCAL_HOST_BODIES_BYTES", _BODIES))
        self._body_bytes = 0
        self._limits = limits
        self._outstanding = 0
        limit = options.max_concurrent
        self._slots = asyncio.Semaphore(limit) if limit > 0 else contextlib.nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        strict = self._strict_transport(scope)
        custom = (*self._options.custom_headers, *strict)
        try:
            answer = await self._answer(scope, receive)
            headers = _encode_headers(answer, custom)
        except _RequestRefusedError as refused:
            answer = refused.answer
            is_throttled = isinstance(refused, _ThrottledError)
            headers = _encode_headers(answer, strict if is_throttled else custom)
        except asyncio.CancelledError:
            # The host stops and has waited long enough. The client gets a complete answer.
            answer = Answer(503, (_RETRY_AFTER, ("Connection", "close")))
            headers = _encode_headers(answer, custom)
        except Exception:
            _log.exception("a request could not be answered")
            answer, headers = Answer(500), [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _strict_transport(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        # Not for localhost: a browser would then refuse http to every program of this machine.
        value = self._options.strict_transport
        host = dict(scope["headers"]).get(b"host", b"").lower()
        if not value or scope["scheme"] != "https" or host.startswith(b"localhost"):
            return ()
        return (("Strict-Transport-Security", value),)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, path = scope["method"], _decode_path(scope["raw_path"])
        match = None if _OWN_PATHS.match(path) else find_route(self._routes, method, path)
        if match is None:
            return _home_page() if (method, path) == ("GET", "/") else Answer(404)
        route, values = match
        function = self._functions[route.function_name]
        if 0 <= self._options.max_outstanding <= self._outstanding:
            raise _ThrottledError
        self._outstanding += 1
        try:
            # As in the platform's host the body is read inside the slot, so that
            # maxConcurrentRequests bounds the bodies in memory too.
            async with self._slots:
                with self._reserve_body_bytes(_content_length(scope)):
                    body = await self._read_body(scope, receive, function.name)
                    request = _build_request(function, scope, path, values, body)
                    del body
                return await self._invoke(function, request, scope)
        finally:
            self._outstanding -= 1

    @contextlib.contextmanager
    def _reserve_body_bytes(self, size: int) -> Iterator[None]:
        """Reserve the bytes of a body from its head until the function gets it."""
        reserved = min(size, self._body_limit)
        if self._body_bytes + reserved > self._most_body_bytes:
            raise _ThrottledError
        self._body_bytes += reserved
        try:
            yield
        finally:
            self._body_bytes -= reserved

    async def _invoke(self, function: AppFunction, request: Any, scope: Scope) -> Answer:
        parent = next((v.decode("latin-1") for k, v in scope["headers"] if k == b"traceparent"), "")
        try:
            return _render(await self._invoker.run(function, request, parent))
        except InvocationFailedError:
            return Answer(500)
        except Exception:
            _log.exception("function %s: its answer cannot be sent", function.name)
            return Answer(500)

    async def _read_body(self, scope: Scope, receive: Receive, name: str) -> bytes:
        """Read the body, once in memory. It is empty if there is no Content-Length."""
        headers = dict(scope["headers"])
        length = _content_length(scope)
        if length > self._body_limit:
            if b"expect" not in headers:
                await _drain(receive)
            raise _BodyRefusedError
        if b"transfer-encoding" in headers:
            _log.warning("function %s: a chunked body does not reach a function", name)
        body, total = io.BytesIO(), 0
        async for chunk in self._chunks_in_time(receive):
            total += len(chunk)
            if total > self._body_limit:
                raise _BodyRefusedError
            if length:
                body.write(chunk)
        return body.getvalue()

    async def _chunks_in_time(self, receive: Receive) -> AsyncIterator[bytes]:
        """Yield the chunks of a body. A body below the minimum rate is refused."""
        clock = asyncio.get_running_loop().time
        seconds_waited, total = 0.0, 0

        async def receive_in_time() -> MutableMapping[str, Any]:
            nonlocal seconds_waited
            start = clock()
            due = max(self._limits.body_grace_seconds, total / self._limits.body_bytes_per_second)
            # A host that was stopped for a while sees what came meanwhile only at its second look.
            for seconds in (max(0.0, due - seconds_waited), _SECOND_LOOK):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        message = await receive()
                    seconds_waited += clock() - start
                    return message
            raise _BodyRefusedError

        async for chunk in _chunks(receive_in_time):
            total += len(chunk)
            yield chunk


class _BodyRefusedError(_RequestRefusedError):
    """Kestrel refuses the body. The host's middleware turns its exception into an empty 500."""

    def __init__(self) -> None:
        super().__init__(500, ("Connection", "close"))


def _content_length(scope: Scope) -> int:
    return int(dict(scope["headers"]).get(b"content-length", b"0"))


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the chunks of a body. The request is refused if the client disconnects."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RequestRefusedError(400)
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _drain(receive: Receive) -> None:
    """Read on for a short time, so that a client that is still sending receives the answer."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in _chunks(receive):
                pass
    except (TimeoutError, _RequestRefusedError):
        return


def _decode_path(raw_path: bytes) -> str:
    """The path as Kestrel passes it: decoded except for %2F, without dot segments."""
    try:
        text = re.sub("%2[fF]", lambda m: f"%25{m[0][1:]}", raw_path.decode("ascii"))
        path = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _RequestRefusedError(400) from None
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[max(1, len(segments) - 1) :]
        elif segment != ".":
            segments.append(segment)
    return "/".join(segments) or "/"


def _decode_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lower-case names; several values of one name joined with a comma."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("ascii").lower()
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            raise _RequestRefusedError(400) from None
        before = joined.get(name)
        joined[name] = ",".join(part for part in (before, value) if part) if before else value
    return joined


def _decode_query(query: str) -> dict[str, str]:
    """Names match in any case, values of one name are joined, empty ones are dropped."""
    joined: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for name, value in parse_qsl(query):
        first = spelling.setdefault(name.lower(), name)
        joined[first] = f"{joined[first]},{value}" if first in joined else value
    return joined


def _build_request(
    function: AppFunction, scope: Scope, path: str, values: Mapping[str, str], body: bytes
) -> Any:
    headers = _decode_headers(scope["headers"])
    query = scope["query_string"].decode("latin-1")
    url_path = (
        quote(path, safe="/!$&'()*+,;=:@-._~").replace("%252F", "%2F").replace("%252f", "%2f")
    )
    own_url = f"{scope['scheme']}://{headers.get('host', '')}"
    url = f"{own_url}{url_path}" + (f"?{query}" if query else "")
    parts: dict[str, Any] = {
        "method": Datum(scope["method"], "string"),
        "url": Datum(url, "string"),
        "headers": _datums(headers),
        "params": _datums(values),
        "query": _datums(_decode_query(query)),
        "body": Datum(body, "bytes"),
    }
    return decode_trigger(function, Datum(parts, "http"), {})


def _datums(values: Mapping[str, str]) -> dict[str, Datum]:
    return {name: Datum(value, "string") for name, value in values.items()}


def _render(result: Any) -> Answer:
    """Render a result as worker and host would."""
    datum = find_converter("http").encode(result, expected_type=None)
    if datum.type == "string":
        content_type = ("Content-Type", "text/plain; charset=utf-8")
        return Answer(200, (content_type,), datum.value.encode("utf-8"))
    value = datum.value
    headers = [(name, str(header.value)) for name, header in value["headers"].items()]
    for jar in value["cookies"] or ():
        headers += [("Set-Cookie", morsel.OutputString()) for morsel in jar.values()]
    return Answer(int(value["status_code"].value), tuple(headers), value["body"].value)


def _encode_headers(answer: Answer, custom: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Encode headers. Raises UnicodeEncodeError for one that is not ASCII, like Kestrel."""
    app_headers = {name.lower() for name, _ in answer.headers}
    headers = [
        (name.lower().encode("ascii"), value.encode("ascii"))
        for name, value in (
            *answer.headers,
            *(h for h in custom if h[0].lower() not in app_headers),
        )
        if name.lower() not in ("content-length", "transfer-encoding")
    ]
    if answer.status in (204, 304):
        return headers
    return [*headers, (b"content-length", str(len(answer.body)).encode())]


def _home_page() -> Answer:
    if is_set("AzureWebJobsDisableHomepage"):
        return Answer(204)
    return Answer(200, (("Content-Type", "text/html"),), _HOME_PAGE)
