"""HTTP/1.1 connections with the limits and time-outs of Kestrel, the platform's web server.

uvicorn's connection class does the work, with two differences. A head that is too long or too slow
is refused before any function sees it (408, 414, 431). An offered upgrade (`Upgrade: h2c`) is
ignored, so that the body of that request arrives.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_LINE_END = b" HTTP/1.1\r\n"
_HOP_TOKENS = (b"upgrade", b"http2-settings")
# The key of a request's scope under which what cuts its connection is found.
ABORT = "local_host.abort"
_BAD_REQUEST = 400
_TIMED_OUT = 408
_LINE_TOO_LONG = 414
_HEAD_TOO_LARGE = 431


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Kestrel's defaults. A rate is measured only while the host waits for the body."""

    request_line_bytes: int = 8_192
    header_bytes: int = 32_768
    header_count: int = 100
    head_seconds: float = 30.0
    keep_alive_seconds: float = 130.0
    body_bytes_per_second: float = 240.0
    body_grace_seconds: float = 5.0


class _HeadRefusedError(Exception):
    """The head of a request is over a limit; the parser reports it as an error of a callback."""


class HttpConnection(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        """`args` and `options` are uvicorn's."""
        super().__init__(*args, **options)
        self._limits = limits
        self._is_in_head = False
        self._offers_upgrade = False
        self._received_of_head = 0
        self._header_bytes = 0
        self._refusal = _BAD_REQUEST
        self._is_refused = False
        self._kept_headers: list[tuple[bytes, bytes]] | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        if self._is_in_head:
            self._received_of_head += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        if not self._is_in_head:
            if not self._is_answering():
                self._await_request()
            return
        # A single header may be endless, and the parser passes it on only when it is complete.
        if self._received_of_head > self._limits.request_line_bytes + self._limits.header_bytes:
            self._refuse(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # Cuts the connection without an answer, for the faults of the stand-in.
        self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]
        if self._kept_headers is not None:
            return
        self._is_in_head = True
        self._offers_upgrade = False
        self._received_of_head = self._header_bytes = 0
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self._refuse, _TIMED_OUT)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        line = len(self.parser.get_method()) + 1 + len(self.url) + len(_LINE_END)
        self._check(line <= self._limits.request_line_bytes, _LINE_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self._kept_headers is None:
            self._header_bytes += len(name) + len(value) + len(b": \r\n")
            is_small = self._header_bytes <= self._limits.header_bytes
            self._check(is_small and len(self.headers) <= self._limits.header_count,
                        _HEAD_TOO_LARGE)  # fmt: skip

    def on_headers_complete(self) -> None:
        self._end_head()
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        if self._kept_headers is not None:
            self.headers[:] = self._kept_headers
            self._kept_headers = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._offers_upgrade:
            super().on_message_complete()

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The head that was just read, without the offer, for a new parser that is set up here.

        The parser takes what follows an offered upgrade for another protocol, so it cannot go on.
        Raises HttpParserError for CONNECT, which is nothing but an upgrade.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT")
        version = self.parser.get_http_version().encode()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._kept_headers = list(self.headers)
        self._offers_upgrade = False
        lines = [method + b" " + self.url + b" HTTP/" + version]
        for name, value in self._kept_headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(t for t in tokens if t.lower() not in _HOP_TOKENS)  # noqa: PLW2901
            if name != b"upgrade" and value:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def _check(self, is_right: bool, status: int) -> None:
        if not is_right:
            self._refusal = status
            raise _HeadRefusedError

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _end_head(self) -> None:
        self._is_in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_request(self) -> None:
        """Close the connection if no request begins in time."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self._limits.keep_alive_seconds, self.timeout_keep_alive_handler
        )

    def _refuse(self, status: int) -> None:
        """Answer without a body and close. If an earlier request still runs, only close."""
        self._end_head()
        self._is_refused = True
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if self._is_answering():
            cycle.keep_alive = False
            if not cycle.more_body or cycle.response_started:
                return
            # The body of the running request cannot be read on: its function is not called.
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(
            STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()
