"""A tenant's id: a slug `[a-z0-9-]{3,40}` made from its name (CONTRACTS 4, blob drop)."""

from __future__ import annotations

import re
import unicodedata

from shared.errors import InvalidRequestError

MOST = 40
_FALLBACK = "tenant"
_SLUG = re.compile(r"[a-z0-9-]{3,40}")
# Latin letters that Unicode does not take apart into a plain letter and a mark.
_PLAIN = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})


def slug_of(name: str) -> str:
    """The slug of a name in any script; `tenant` is put before what would be too short."""
    parted = unicodedata.normalize("NFKD", name.casefold().translate(_PLAIN))
    plain = "".join(mark for mark in parted if not unicodedata.combining(mark))
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not slug:
        return _FALLBACK
    if len(slug) < 3:
        slug = f"{_FALLBACK}-{slug}"
    return slug[:MOST].rstrip("-")


def numbered_slug(slug: str, number: int) -> str:
    """`slug` itself for number 1, else with the number after it, kept to 40 characters.

    Raises InvalidRequestError where `slug` is none.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidRequestError("A tenant's id must be 3 to 40 of the characters a-z, 0-9 and -.")
    if number == 1:
        return slug
    tail = f"-{number}"
    return slug[: MOST - len(tail)].rstrip("-") + tail
