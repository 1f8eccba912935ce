"""Continuations of lists: text that the caller gives back and need not understand."""

from __future__ import annotations

import base64
import binascii

from shared.errors import InvalidRequestError


def to_opaque(text: str) -> str:
    """The continuation that stands for a place in a list."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_opaque(continuation: str) -> str:
    """The inverse of `to_opaque`. Raises InvalidRequestError."""
    try:
        return base64.urlsafe_b64decode(continuation + "=" * (-len(continuation) % 4)).decode()
    except (binascii.Error, ValueError):
        raise wrong_continuation() from None


def wrong_continuation() -> InvalidRequestError:
    """The refusal of a continuation that no page gave."""
    return InvalidRequestError("continuation must be the one that the last page gave.")
