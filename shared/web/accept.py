"""The media type that an `Accept` header prefers (RFC 9110, 12.5.1), read tolerantly.

Clients send `*`, `*/*; q=.2`, unknown parameters, and worse. An element that cannot be read counts
as `*/*`, so that it refuses nothing. The cost is linear in the length of the header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

ANYTHING: Final = "*/*"
_QUOTED: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_WORD: Final = r"[!#$%&'+.^_`|~0-9a-z-]+"
_RANGE: Final = re.compile(rf"\*/\*|{_WORD}/(?:\*|{_WORD})")
_QUALITY: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


def preferred_type(accept: str, media_types: Sequence[str]) -> str | None:
    """The media type that the header prefers, the first one of equals.

    None if the header excludes all of them.
    """
    qualities: dict[str, float] = {}
    for element in _QUOTED.sub("", accept).split(","):
        if element.strip():
            media_range, quality = _read_element(element)
            qualities[media_range] = max(quality, qualities.get(media_range, 0.0))
    if not qualities:
        return media_types[0]
    best: str | None = None
    best_rank = (0.0, 0)
    for media_type in media_types:
        rank = _rank(media_type, qualities)
        if rank[0] > 0 and rank > best_rank:
            best, best_rank = media_type, rank
    return best


def _read_element(element: str) -> tuple[str, float]:
    """Read a media range and its quality. An element that cannot be read counts as `*/*`."""
    name, *parameters = (part.strip() for part in element.lower().split(";"))
    media_range = ANYTHING if name == "*" else "".join(name.split())
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            if not _QUALITY.fullmatch(value.strip()):
                return ANYTHING, 1.0
            quality = min(float(value), 1.0)
    if not _RANGE.fullmatch(media_range):
        return ANYTHING, 1.0
    return media_range, quality


def _rank(media_type: str, qualities: dict[str, float]) -> tuple[float, int]:
    """The quality and the specificity of the closest range that includes the type."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", ANYTHING)
    for distance, media_range in enumerate(ranges):
        if media_range in qualities:
            return qualities[media_range], len(ranges) - distance
    return 0.0, 0
