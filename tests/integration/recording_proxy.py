"""Stands between the gateway and the emulator's table service and measures transactions.

The emulator takes transactions of any size and says nothing of it, so they are measured on the way:
what counts is what was really sent.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

_PART = b"Content-Transfer-Encoding: binary"
_TABLE_ENDPOINT = re.compile(r"TableEndpoint=(http://[0-9.]+:[0-9]+)")
_NOT_PASSED_ON = {"host", "content-length", "transfer-encoding", "connection"}


@dataclass(frozen=True)
class Transaction:
    """What one transaction was like on the wire."""

    operations: int
    size: int


@dataclass
class Recording:
    """A connection string that leads through the proxy, and what has passed."""

    storage: str
    transactions: list[Transaction] = field(default_factory=list)


@asynccontextmanager
async def recorded(storage: str) -> AsyncIterator[Recording]:
    """A proxy before the table service of that account for the time of the block."""
    match = _TABLE_ENDPOINT.search(storage)
    assert match is not None
    behind = match[1]
    recording = Recording(storage)

    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            if request.path.endswith("/$batch"):
                recording.transactions.append(Transaction(body.count(_PART), len(body)))
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _NOT_PASSED_ON}
            url = URL(behind + request.raw_path, encoded=True)
            async with session.request(
                request.method, url, data=body or None, headers=headers
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _NOT_PASSED_ON}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{anything:.*}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            recording.storage = storage.replace(behind, f"http://127.0.0.1:{port}")
            yield recording
        finally:
            await runner.cleanup()
