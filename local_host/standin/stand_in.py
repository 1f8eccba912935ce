"""The ASGI app in front of the app's: answers `/_standin/…`, and journals and breaks other calls.

Only a program on this machine may make control calls: the host binds the loopback address alone,
and a call whose Host names another machine, or that a web page of another origin made, is refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from local_host.http_connection import ABORT
from local_host.http_trigger import AsgiApp, Receive, Scope, Send
from local_host.indexing import AppFunction
from local_host.invoking import Invoker
from local_host.standin.clock import StandInClock
from local_host.standin.control_calls import Gate, RefusedCallError
from local_host.standin.faults import BadRulesError, Fault, FaultRules
from local_host.standin.journal import MOST_CALLS, Journal, JournalEntry
from local_host.standin.snapshots import SnapshotFolder, load_snapshot, take_snapshot
from local_host.standin.storage import EmulatorStorage, open_storage
from local_host.standin.tenants import TestTenants
from local_host.timer_trigger import TimerListener
from shared.bootstrap import gateway, renew_gateway, use_clock
from shared.gateway import Gateway

_log = logging.getLogger(__name__)

PREFIX = "/_standin"
# A test that looks at what is stored sends this header: its own calls are neither journaled nor
# broken by the rules for the client under test.
OBSERVER = "x-standin-observer"
_TOKEN_PATH = "/connect/token"  # noqa: S105 (a path)
_MOST_BYTES = 1_048_576
# Ten years.
_MOST_SECONDS = 315_360_000
# How long a move of the clock and a snapshot wait for what runs, and a reset for the handlers that
# it breaks off.
_QUIET_SECONDS = 10.0
_BREAK_OFF_SECONDS = 5.0
# How long a reset of a tenant lets timers run on.
_TIMER_SECONDS = 0.3
_PAUSE_SECONDS = 0.05
_RESET_TEXT = b'{"message": "The stand-in was reset during this call."}'
_RESET_START = {
    "type": "http.response.start",
    "status": 503,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_RESET_TEXT)).encode()),
    ],
}
_RESET_BODY = {"type": "http.response.body", "body": _RESET_TEXT}
_NAMES_OF_THIS_MACHINE = frozenset(("localhost", "127.0.0.1", "[::1]"))

# How many parts may follow the name of the thing in the path.
_MOST_PARTS = {"faults": 1, "snapshots": 2}

Query = Mapping[str, str]
Reply = tuple[int, Any]
Message = MutableMapping[str, Any]
ControlCall = Callable[[list[str], Query, Any], Awaitable[Reply]]


class StandIn:
    """The stand-in of one host."""

    def __init__(self, address: str, snapshots: Path) -> None:
        """`address` is that of the host, `snapshots` the folder with their files."""
        self._snapshots = SnapshotFolder(snapshots)
        self._gate = Gate()
        self._clock = StandInClock()
        use_clock(self._clock, self._clock.from_stored)
        self._open_calls: set[_OpenCall] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._journal = Journal()
        self._faults = FaultRules()
        self._tenants = TestTenants(address)
        self._control_calls: dict[str, dict[str, ControlCall]] = {
            "tenants": {"POST": self._post_tenants},
            "requests": {"GET": self._get_requests, "DELETE": self._delete_requests},
            "faults": {
                "GET": self._get_faults,
                "POST": self._post_faults,
                "DELETE": self._delete_faults,
            },
            "reset": {"POST": self._post_reset},
            "snapshots": {
                "GET": self._get_snapshots,
                "POST": self._post_snapshots,
                "DELETE": self._delete_snapshots,
            },
            "clock": {
                "GET": self._get_clock,
                "POST": self._post_clock,
                "DELETE": self._delete_clock,
            },
        }

    def now(self) -> datetime:
        """The time of day of the app, by which timers run too."""
        return self._clock.now()

    def wrap(self, app: AsgiApp, invoker: Invoker, timers: Sequence[TimerListener]) -> AsgiApp:
        """The ASGI app; `app` answers what no control call and no fault answers."""
        self._app, self._invoker, self._timers = app, invoker, timers
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == PREFIX or path.startswith(f"{PREFIX}/"):
            await self._answer_control_call(scope, receive, send)
        else:
            await self._answer_app_call(scope, receive, send)

    # Calls of the app.

    async def _answer_app_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers_of(scope)
        method, path = scope["method"], scope["path"]
        if OBSERVER in headers:
            tenant = await self._find_tenant(path, headers, b"")
            await self._call_app(scope, receive, send, _OpenCall(tenant))
            return
        query = scope["query_string"].decode("latin-1")
        entry = self._journal.begin(self._clock.now(), method, path, query, scope["headers"])
        recorded = _RecordedBody(receive, entry)
        try:
            form = b""
            if path.lower().rstrip("/") == _TOKEN_PATH:
                form = await recorded.read_ahead()
            entry.tenant = await self._find_tenant(path, headers, form)
            rule = self._faults.pick(method, path, entry.tenant)
            if rule is None:
                await self._record_call(scope, recorded.receive, send, entry)
            else:
                entry.fault = {"id": rule.id, **rule.fault_as_sent}
                await self._apply_fault(rule.fault, scope, recorded, send, entry)
        except BaseException:
            entry.end("failed")
            raise
        if entry.state == "running":
            is_answered = entry.status and not recorded.is_client_gone
            entry.end("answered" if is_answered else "disconnected")

    async def _find_tenant(self, path: str, headers: Mapping[str, str], form: bytes) -> str:
        async with self._gate.entered():
            return await self._tenants.find(path, headers, form)

    async def _record_call(
        self, scope: Scope, receive: Receive, send: Send, entry: JournalEntry
    ) -> None:
        open_call = _OpenCall(entry.tenant)
        await self._call_app(scope, receive, _recording(send, entry), open_call)
        if open_call.is_broken_off:
            entry.end("reset")

    async def _call_app(
        self, scope: Scope, receive: Receive, send: Send, open_call: _OpenCall
    ) -> None:
        """Let the app answer. A call that a reset has broken off does no work, and answers 503."""

        async def receive_from_client() -> Message:
            # A reset may have come while the rest of the body was awaited.
            message = {"type": "http.disconnect"} if open_call.is_broken_off else await receive()
            return {"type": "http.disconnect"} if open_call.is_broken_off else message

        async def answer(message: Message) -> None:
            self._open_calls.discard(open_call)
            if open_call.is_broken_off:
                is_start = message["type"] == "http.response.start"
                message = _RESET_START if is_start else _RESET_BODY
            await send(message)

        await self._gate.wait_until_open()
        self._open_calls.add(open_call)
        try:
            await self._app(scope, receive_from_client, answer)
        finally:
            self._open_calls.discard(open_call)

    async def _apply_fault(
        self, fault: Fault, scope: Scope, recorded: _RecordedBody, send: Send, entry: JournalEntry
    ) -> None:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.is_cut:
            await recorded.read_ahead()
            await _cut(scope, recorded)
            entry.end("cut")
        elif fault.is_lost:
            await self._record_call(scope, recorded.receive, _discard, entry)
            await _cut(scope, recorded)
            entry.end("lost")
        elif fault.status:
            from local_host.standin.refusals import fault_answer

            await recorded.read_ahead()
            status, headers, body = fault_answer(
                fault, scope["method"], scope["path"], _headers_of(scope), entry.tenant
            )
            answer = _recording(send, entry)
            await answer({"type": "http.response.start", "status": status, "headers": headers})
            await answer({"type": "http.response.body", "body": body})
        elif fault.is_accepted:
            other_headers = [pair for pair in scope["headers"] if pair[0] != b"prefer"]
            async_scope = {**scope, "headers": [*other_headers, (b"prefer", b"respond-async")]}
            await self._record_call(async_scope, recorded.receive, _without_preference(send), entry)
        else:
            await self._record_call(scope, recorded.receive, send, entry)

    # The control calls.

    async def _answer_control_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check_caller(scope)
            status, document = await self._carry_out(scope, receive)
        except RefusedCallError as refused:
            status = refused.status
            document = {"message": refused.message, "errors": refused.errors}
        except Exception:
            _log.exception("a control call of the stand-in failed")
            status, document = (
                500,
                {"message": "The call failed: read the log of the host."},
            )
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _carry_out(self, scope: Scope, receive: Receive) -> Reply:
        body = await _read_body(receive)
        raw_path = scope["raw_path"].decode("ascii")
        name, *rest = [unquote(part) for part in raw_path.split("/")[2:]] or [""]
        methods = self._control_calls.get(name)
        if methods is None:
            known = ", ".join(f"{PREFIX}/{each}" for each in sorted(self._control_calls))
            raise RefusedCallError(404, f"The stand-in has no such address: it has {known}.")
        control_call = methods.get(scope["method"])
        if control_call is None:
            raise RefusedCallError(405, f"{PREFIX}/{name} takes {', '.join(sorted(methods))}.")
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = dict(pairs)
        if len(query) < len(pairs):
            raise RefusedCallError(400, "Nothing was done: name each parameter of the query once.")
        document = None
        if body.strip():
            try:
                document = json.loads(body)
            except ValueError:
                raise RefusedCallError(
                    400, "The body cannot be read as JSON: send JSON, or no body."
                ) from None
        # An empty part is most likely a variable that is not set, and would widen what is deleted.
        if "" in rest or len(rest) > _MOST_PARTS.get(name, 0):
            raise RefusedCallError(404, f"The stand-in has no address {scope['path']}.")
        return await control_call(rest, query, document)

    async def _post_tenants(self, _rest: list[str], query: Query, document: Any) -> Reply:
        _check_query(query)
        async with self._gate.entered():
            return 201, await self._tenants.create(document)

    async def _get_requests(self, _rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query, "import", "tenant", "limit")
        limit = query.get("limit", str(MOST_CALLS))
        if not limit.isdecimal() or not 1 <= int(limit) <= MOST_CALLS:
            raise RefusedCallError(
                400,
                "No call is shown: correct the query.",
                [f"limit must be a whole number from 1 to {MOST_CALLS}."],
            )
        entries = self._journal.find(query.get("import", ""), query.get("tenant", ""), int(limit))
        return 200, {"items": entries}

    async def _delete_requests(self, _rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query, "tenant")
        return 200, {"deleted": self._journal.forget(query.get("tenant", ""))}

    async def _get_faults(self, _rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query, "tenant")
        rules = self._faults.list_rules(query.get("tenant", ""))
        return 200, {"items": [rule.document() for rule in rules]}

    async def _post_faults(self, _rest: list[str], query: Query, document: Any) -> Reply:
        _check_query(query)
        try:
            rules = self._faults.add(document)
        except BadRulesError as bad:
            message = "No rule was added: correct the rules and send them again."
            raise RefusedCallError(400, message, bad.errors) from None
        documents = [rule.document() for rule in rules]
        return 201, {"ids": [rule.id for rule in rules], "items": documents}

    async def _delete_faults(self, rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query, "tenant")
        deleted = self._faults.remove(rule_id="".join(rest), tenant=query.get("tenant", ""))
        if rest and not deleted:
            raise RefusedCallError(
                404, f"There is no rule {rest[0]}: GET {PREFIX}/faults lists them."
            )
        return 200, {"deleted": deleted}

    async def _post_reset(self, _rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query, "tenant")
        started = time.monotonic()
        async with self._gate.closed():
            if tenant := query.get("tenant", ""):
                await self._reset_tenant(tenant)
            else:
                async with self._with_empty_storage():
                    pass
                await self._move_clock(self._clock.go_back)
            self._journal.forget(tenant)
            self._faults.remove(tenant=tenant)
        return 200, {"milliseconds": round((time.monotonic() - started) * 1000)}

    async def _reset_tenant(self, tenant: str) -> None:
        if tenant not in await (await gateway()).tenants.list_ids():
            raise RefusedCallError(
                404, f"There is no tenant {tenant}: create it with POST {PREFIX}/tenants."
            )
        # No handler may start before the end: it would work with what it has read before.
        with self._invoker.paused():
            self._break_off_calls(tenant)
            timers = [
                task
                for task, (function, _) in self._invoker.running.items()
                if function.kind == "timerTrigger"
            ]
            # They work for all tenants, and begin again at their next occurrence.
            if timers:
                await asyncio.wait(timers, timeout=_TIMER_SECONDS)
            own = await self._handlers_of_tenant(self._invoker.running, tenant)
            await self._invoker.break_off([*own, *timers], _BREAK_OFF_SECONDS)
            # Handlers of other tenants go on with the former gateway; its caches may know this
            # one's data.
            former, running = renew_gateway(), self._invoker.running
            async with open_storage() as storage:
                await storage.empty_tenant(tenant)
            waiting = await self._handlers_of_tenant(self._invoker.waiting, tenant)
            await self._invoker.break_off(waiting, _BREAK_OFF_SECONDS)
        if former is not None:
            closing = asyncio.create_task(_close_later(former, running))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _break_off_calls(self, tenant: str = "") -> None:
        """Answer 503 to the calls of a tenant, or to all, that have no answer yet."""
        for open_call in [each for each in self._open_calls if tenant in ("", each.tenant)]:
            open_call.is_broken_off = True
            self._open_calls.discard(open_call)

    async def _handlers_of_tenant(
        self, handlers: Mapping[asyncio.Task[Any], tuple[AppFunction, Any]], tenant: str
    ) -> list[asyncio.Task[Any]]:
        return [
            task
            for task, (function, argument) in handlers.items()
            if await self._tenants.find_worker(function, argument) == tenant
        ]

    async def _get_snapshots(self, rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query)
        if rest:
            name = "/".join(rest)
            return 200, self._snapshots.read(name).document(name)
        return 200, {"items": [{"name": name} for name in self._snapshots.names()]}

    async def _post_snapshots(self, rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query)
        match rest:
            case [name, "load"]:
                return await self._load(name)
            case [name]:
                return await self._save(name)
            case _:
                message = (
                    f"POST {PREFIX}/snapshots/NAME saves a snapshot, and "
                    f"POST {PREFIX}/snapshots/NAME/load loads it."
                )
                raise RefusedCallError(404, message)

    async def _delete_snapshots(self, rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query)
        if not rest:
            message = (
                f"DELETE {PREFIX}/snapshots/NAME deletes one; GET {PREFIX}/snapshots lists them."
            )
            raise RefusedCallError(404, message)
        self._snapshots.delete("/".join(rest))
        return 200, {"deleted": 1}

    async def _save(self, name: str) -> Reply:
        self._snapshots.check_name(name)
        async with self._gate.closed(), open_storage() as storage:
            keys = (await gateway()).data_keys  # there are all tables now
            async with self._while_idle(storage):
                made = [self._tenants.made[tenant] for tenant in sorted(self._tenants.made)]
                snapshot = await take_snapshot(storage, keys, made)
        file = self._snapshots.save(name, snapshot)
        return 201, {**snapshot.document(name), "file": str(file)}

    @asynccontextmanager
    async def _while_idle(self, storage: EmulatorStorage) -> AsyncIterator[None]:
        """Wait until every import has ended. No handler runs or starts during the block.

        Raises RefusedCallError where that takes too long: messages are not in a snapshot, so an
        import that is open in it would stay open.
        """
        deadline = time.monotonic() + _QUIET_SECONDS
        while True:
            await self._invoker.wait_until_idle(deadline - time.monotonic())
            with self._invoker.paused():
                open_imports = await storage.open_imports()
                if not self._invoker.running and not open_imports:
                    yield
                    return
            if time.monotonic() > deadline:
                raise RefusedCallError(
                    409,
                    "No snapshot was taken: let the imports and calls that are running end first.",
                    [f"Import {each} has not ended." for each in open_imports],
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _load(self, name: str) -> Reply:
        snapshot = self._snapshots.read(name)
        async with self._gate.closed(), self._with_empty_storage() as storage:
            await load_snapshot(storage, (await gateway()).data_keys, snapshot)
            former = renew_gateway()
            if former is not None:
                await former.account.close()
            for made in snapshot.tenants:
                self._tenants.learn({**made, "tokenUrl": self._tenants.token_url})
        return 200, {**snapshot.document(name), "tenants": list(self._tenants.made.values())}

    @asynccontextmanager
    async def _with_empty_storage(self) -> AsyncIterator[EmulatorStorage]:
        """Break off what runs, and delete everything; another gateway takes the next call.

        No handler starts during the block.
        """
        with self._invoker.paused():
            self._break_off_calls()
            await self._invoker.break_off(self._invoker.running, _BREAK_OFF_SECONDS)
            await gateway()  # there are all tables now
            # What still uses the former gateway can write nothing any more.
            former = renew_gateway()
            if former is not None:
                await former.account.close()
            async with open_storage() as storage:
                await storage.empty()
                self._tenants.forget()
                yield storage
            # Those with a message or a blob of before.
            waiting = self._invoker.waiting.items()
            handlers = [task for task, (function, _) in waiting if function.kind != "timerTrigger"]
            await self._invoker.break_off(handlers, _BREAK_OFF_SECONDS)

    async def _get_clock(self, _rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query)
        return 200, self._clock_document()

    async def _post_clock(self, _rest: list[str], query: Query, document: Any) -> Reply:
        _check_query(query)
        properties = document if isinstance(document, dict) else {}
        seconds: Any = properties.get("advance")
        errors = [f"There is no property {name!r}." for name in properties if name != "advance"]
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 < seconds <= _MOST_SECONDS:
            errors.append(f"advance must be a number of seconds over 0 and up to {_MOST_SECONDS}.")
        if errors:
            raise RefusedCallError(
                400, 'The clock was not moved: send {"advance": seconds}.', errors
            )
        async with self._gate.closed():
            # No call and no handler sees the clock jump, unless it takes too long.
            ran = await self._move_clock(lambda: self._clock.advance(timedelta(seconds=seconds)))
        return 200, {**self._clock_document(), "ran": ran}

    async def _delete_clock(self, _rest: list[str], query: Query, _document: Any) -> Reply:
        _check_query(query)
        async with self._gate.closed():
            await self._move_clock(self._clock.go_back)
        return 200, self._clock_document()

    async def _move_clock(self, move: Callable[[], None]) -> list[str]:
        """Move the clock when nothing runs, and let the timers run what is due then."""
        await self._invoker.wait_until_idle(_QUIET_SECONDS)
        for timer in self._timers:
            await timer.wait_until_idle()
        move()
        ran = await asyncio.gather(*(timer.catch_up() for timer in self._timers))
        return sorted(filter(None, ran))

    def _clock_document(self) -> dict[str, Any]:
        now = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"now": now, "ahead": self._clock.ahead.total_seconds()}


@dataclass(eq=False)
class _OpenCall:
    """A call of the app that has passed the gate and has no answer yet."""

    tenant: str
    is_broken_off: bool = False


class _RecordedBody:
    """The body of a call as it passes to the app, entered in the journal."""

    def __init__(self, receive: Receive, entry: JournalEntry) -> None:
        self._receive = receive
        self._entry = entry
        self._messages: list[Message] = []
        self.is_client_gone = False

    async def receive(self) -> Message:
        """The next message of the client."""
        return self._messages.pop(0) if self._messages else await self._next()

    async def read_ahead(self) -> bytes:
        """The whole body, which `receive` then gives once more."""
        while not self._messages or self._messages[-1].get("more_body", False):
            self._messages.append(await self._next())
        return b"".join(bytes(message.get("body", b"")) for message in self._messages)

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.is_client_gone = not self._entry.status
        else:
            self._entry.body.add(message.get("body", b""))
        return message


async def _close_later(former: Gateway, running: Collection[asyncio.Task[Any]]) -> None:
    """Close a gateway when the handlers that may use it have ended."""
    if running:
        await asyncio.wait(running)
    await former.account.close()


def _recording(send: Send, entry: JournalEntry) -> Send:
    async def record(message: Message) -> None:
        if message["type"] == "http.response.start":
            entry.status = message["status"]
            entry.answer_headers = list(message.get("headers", ()))
        else:
            entry.answer.add(message.get("body", b""))
        await send(message)

    return record


def _without_preference(send: Send) -> Send:
    """The client has not asked for the 202, so the answer must not say so."""

    async def pass_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if pair[0] != b"preference-applied"]
            message = {**message, "headers": headers}
        await send(message)

    return pass_on


async def _discard(_message: Message) -> None:
    """The answer is lost."""


async def _cut(scope: Scope, recorded: _RecordedBody) -> None:
    """Cut the connection, and wait until the server knows, so that it does not answer itself."""
    scope[ABORT]()
    while (await recorded.receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedCallError(400, "The client closed the connection.")
        body += message.get("body", b"")
        if len(body) > _MOST_BYTES:
            raise RefusedCallError(413, f"The body must have at most {_MOST_BYTES} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


def _headers_of(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("utf-8", "replace")
        for name, value in scope["headers"]
    }


def _check_caller(scope: Scope) -> None:
    """Only a program of this machine passes: no other name for it, and no page of a browser."""
    headers = _headers_of(scope)
    host = headers.get("host", "").lower()
    name = host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host
    name = name if host.startswith("[") else host.partition(":")[0]
    if name not in _NAMES_OF_THIS_MACHINE:
        raise RefusedCallError(403, "Call the stand-in by 127.0.0.1 or localhost.")
    own = f"{scope['scheme']}://{host}"
    if headers.get("origin", own).lower() != own:
        raise RefusedCallError(403, "A web page of another origin may not call the stand-in.")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise RefusedCallError(403, "A web page of another origin may not call the stand-in.")


def _check_query(query: Query, *known: str) -> None:
    errors = [
        f"There is no parameter {name!r} here"
        + (f"; there is {', '.join(known)}." if known else ", and no other.")
        for name in query
        if name not in known
    ]
    errors += [
        f"{name} is empty: give it a value, or leave it out."
        for name, value in query.items()
        if name in known and not value.strip()
    ]
    if errors:
        raise RefusedCallError(400, "Nothing was done: correct the query.", errors)
