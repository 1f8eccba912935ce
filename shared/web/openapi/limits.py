"""The limits in force that callers have to know: in the document and in `/api/capabilities`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from shared.imports.outcomes import MAX_MESSAGES
from shared.imports.payload import MAX_NAME, MAX_NAMES, MAX_ROW_BYTES, MAX_VALUES
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int
    document_bytes: int
    rows: int
    dry_run_rows: int
    wait_seconds: int
    idempotency_seconds: int
    row_bytes: int = MAX_ROW_BYTES
    row_values: int = MAX_VALUES
    object_names: int = MAX_NAMES
    name_characters: int = MAX_NAME
    row_messages: int = MAX_MESSAGES

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings."""
        return cls(
            body_bytes=settings.max_body_bytes,
            document_bytes=settings.max_document_bytes,
            rows=settings.max_rows,
            dry_run_rows=settings.dry_run_rows,
            wait_seconds=settings.wait_seconds,
            idempotency_seconds=settings.idempotency_seconds,
        )

    def view(self) -> dict[str, int]:
        """By the names that callers see."""
        return {_camel_case(name): value for name, value in asdict(self).items()}


def limit_names() -> list[str]:
    """The names that callers see."""
    return [_camel_case(name) for name in Limits.__dataclass_fields__]


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
