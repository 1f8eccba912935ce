"""Loaded into a gateway that the bench `sealing` measures: no field of any record is sealed.

Without data keys a gateway accepts nothing, so there is no setting for this.
"""

from __future__ import annotations

from functools import cache

import shared.app
from shared.storage.sealed_storage import SealedFields


def _no_fields(table: str) -> SealedFields | None:  # noqa: ARG001 (the table does not matter)
    return None


shared.app.sealed_fields = cache(_no_fields)
