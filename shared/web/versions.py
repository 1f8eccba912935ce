"""Which version of a message type a call means: `version=N`, the lowest one without it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from shared.errors import InvalidRequestError, UnknownMessageTypeError
from shared.imports.import_type import ImportType
from shared.imports.registry import Catalogue

_VERSION: Final = re.compile(r"[0-9]{1,100}")


def version_in_query(catalogue: Catalogue, name: str, query: Mapping[str, str]) -> ImportType:
    """The version of the type that the query names; the type must be in the catalogue.

    Raises InvalidRequestError for a version that is no number, UnknownMessageTypeError for one
    that the type does not have.
    """
    numbers = [str(kind.version) for kind in catalogue.versions(name)]
    text = query.get("version", numbers[0])
    if not _VERSION.fullmatch(text):
        raise InvalidRequestError(f"version must be a whole number: send {' or '.join(numbers)}.")
    found = catalogue.find(name, int(text))
    if found is None:
        has = f"version {numbers[0]}" if len(numbers) == 1 else f"the versions {_listed(numbers)}"
        raise UnknownMessageTypeError(f"Message Type not found/implemented: {name} has {has}.")
    return found


def _listed(numbers: list[str]) -> str:
    return f"{', '.join(numbers[:-1])} and {numbers[-1]}"
