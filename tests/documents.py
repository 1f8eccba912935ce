"""Documents for tests: forms, real files, tenants that may take them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.gateway import Gateway
from shared.imports.documents.rounds import Feature, RoundStatus
from tests.emulator import open_ready_gateway, settings_for
from tests.tenants import Sender, new_sender

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "documents"
PDF = (SAMPLES / "payslip.pdf").read_bytes()
JPEG = (SAMPLES / "notice.jpg").read_bytes()
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
ROUND = "2026-01"
BOUNDARY = "a-boundary-of-the-tests"
MEDIA_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def an_archive(entry: str = "[Content_Types].xml") -> bytes:
    """What Office files are: a ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(entry, "<Types/>")
    return content.getvalue()


def sha256(content: bytes) -> str:
    """To compare files by."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Form:
    """A form with one document; parts are given as they come on the wire."""

    worker: str | None = "P1"
    round_code: str | None = ROUND
    file_name: str | None = "payslip.pdf"
    content: bytes = PDF
    generation_time: str | None = "2026-01-31"
    more: list[tuple[str, str]] = field(default_factory=list)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields that are no files."""
        named = (
            ("workerexternalId", self.worker),
            ("communicationRoundCode", self.round_code),
            ("generationTime", self.generation_time),
        )
        return [(name, value) for name, value in named if value is not None] + self.more

    def body(self) -> bytes:
        """The bytes of the form, to be sent as MEDIA_TYPE."""
        parts = [a_part(f'name="{name}"', value.encode()) for name, value in self.fields]
        if self.file_name is not None:
            parts.append(a_part(f'name="file"; filename="{self.file_name}"', self.content))
        return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def a_part(disposition: str, content: bytes) -> bytes:
    """One part of a form."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


async def make_ready(gateway: Gateway, tenant: str, *rounds: tuple[str, RoundStatus]) -> None:
    """Let a tenant take documents: the feature, and rounds (by default an open one)."""
    await gateway.documents.features.switch(tenant, Feature.DOCUMENTS, True)
    for code, status in rounds or ((ROUND, RoundStatus.OPEN),):
        await gateway.documents.rounds.add(tenant, code, status)


def a_ready_sender(storage: str, *rounds: tuple[str, RoundStatus]) -> Sender:
    """An integration of a new tenant that may take documents."""

    async def create() -> Sender:
        async with open_ready_gateway(settings_for(storage)) as gateway:
            sender = await new_sender(gateway)
            await make_ready(gateway, sender.tenant, *rounds)
            return sender

    return asyncio.run(create())


def upload_headers(sender: Sender, **more: str) -> dict[str, Any]:
    """The headers of an upload."""
    return {"Content-Type": MEDIA_TYPE, **sender.headers, **more}
