"""A form with one file as it goes over the wire: read block by block, never whole in memory."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Mapping
from typing import IO


class UploadForm:
    """What `http.client` reads as the body of a call; tells `sent` how much of the file went."""

    def __init__(
        self,
        fields: Mapping[str, str],
        name: str,
        content: IO[bytes],
        content_size: int,
        sent: Callable[[int], None],
    ) -> None:
        boundary = secrets.token_hex(16)
        head = b"".join(
            _part_head(boundary, f'name="{field}"') + text.encode() + b"\r\n"
            for field, text in fields.items()
        )
        head += _part_head(boundary, f'name="file"; filename="{_quote_name(name)}"')
        tail = f"\r\n--{boundary}--\r\n".encode()
        self.media_type = f"multipart/form-data; boundary={boundary}"
        self.size = len(head) + content_size + len(tail)
        self._parts: list[IO[bytes]] = [io.BytesIO(head), content, io.BytesIO(tail)]
        self._content = content
        self._sent = sent

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        while self._parts:
            block = self._parts[0].read(size)
            if block:
                if self._parts[0] is self._content:
                    self._sent(self._content.tell())
                return block
            self._parts.pop(0)
        return b""


def _part_head(boundary: str, disposition: str) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


def _quote_name(name: str) -> str:
    """As browsers write it."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
