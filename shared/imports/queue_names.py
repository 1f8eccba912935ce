"""The names of the queues of an import type; a module of its own, since the index needs no more."""

from __future__ import annotations


def queue_of(type_name: str) -> str:
    """The queue of imports of up to 100 rows."""
    return f"import-{type_name}"


def bulk_queue_of(type_name: str) -> str:
    """The queue of larger imports, so that small imports do not wait behind many chunks."""
    return f"import-{type_name}-bulk"
