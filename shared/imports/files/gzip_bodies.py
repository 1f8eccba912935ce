"""Compressed bodies and files: unpacked up to a limit, which a bomb does not reach in memory."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Final

from shared.errors import InvalidRequestError, TooLargeError

_MAGIC: Final = b"\x1f\x8b"
# gzip with its header and checksum (zlib.decompressobj).
_GZIP_BITS: Final = 31
# Bytes that are read and unpacked at a time.
_STEP: Final = 256 * 1024
# The most bytes that a compressed byte may become. Rows of text reach some 20, all equal rows 200;
# a bomb reaches 1,000.
_MAX_RATIO: Final = 400
# Each member costs time, also an empty one. Blocks of 64 KB of the largest body are 1,600.
_MAX_MEMBERS: Final = 10_000
# A small body may have a high ratio: it does no harm.
_SMALL: Final = 1024 * 1024


def is_gzip(content: bytes) -> bool:
    """Whether a content begins as gzip does."""
    return content.startswith(_MAGIC)


def unpacked(content: bytes, max_bytes: int) -> bytes:
    """The bytes that gzip has compressed, also in several members, as `cat a.gz b.gz` makes them.

    Raises TooLargeError for more than `max_bytes`, or for a ratio that no rows have, before they
    are in memory; InvalidRequestError for what is no gzip, is cut off or does not fit its checksum.
    """
    buffer = BytesIO()
    view = memoryview(content)
    member = zlib.decompressobj(_GZIP_BITS)
    has_begun = False
    members = 0
    for start in range(0, len(content), _STEP):
        rest = bytes(view[start : start + _STEP])
        while rest:
            if member.eof or not has_begun:
                # Zeros behind a member are padding, as some programs write it.
                rest = rest.lstrip(b"\0") if has_begun else rest
                if not rest:
                    break
                member = zlib.decompressobj(_GZIP_BITS)
                has_begun = True
                members += 1
                if members > _MAX_MEMBERS:
                    raise TooLargeError(
                        f"The file or body has more than {_MAX_MEMBERS} members of gzip, which is "
                        "the limit: compress it as a whole, and send it again."
                    )
            try:
                part = member.decompress(rest, _STEP)
            except zlib.error:
                raise InvalidRequestError(
                    "The file or body is not gzip, or was changed on the way: send the rows "
                    "again, compressed once."
                ) from None
            rest = member.unused_data if member.eof else member.unconsumed_tail
            buffer.write(part)
            _check_size(buffer.tell(), len(content), max_bytes)
    while has_begun and not member.eof:
        # What the library still holds back of the last bytes.
        part = member.decompress(b"", _STEP)
        if not part:
            raise InvalidRequestError(
                "The end of the compressed file or body is missing: send it again as a whole."
            )
        buffer.write(part)
        _check_size(buffer.tell(), len(content), max_bytes)
    return buffer.getvalue()


def _check_size(size: int, packed: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLargeError(
            f"The file or body has more than {max_bytes} bytes when it is unpacked, which is the "
            "limit: send its rows in several files or calls."
        )
    if size > _SMALL and size > _MAX_RATIO * packed:
        raise TooLargeError(
            f"The file or body becomes more than {_MAX_RATIO} times larger when it is unpacked, "
            "which is the limit: send it without compression."
        )
