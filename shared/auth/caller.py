"""Who is calling, once that is known."""

from __future__ import annotations

from dataclasses import dataclass

from shared.auth.integration import Integration
from shared.errors import ForbiddenError, InvalidRequestError
from shared.imports.definition import Options


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's integration that showed its function key. Holds no secret."""

    tenant: str
    key_name: str
    software_key: str
    integration: Integration

    @property
    def options(self) -> Options:
        """What the rules need to know of the integration."""
        return self.integration.options


def check_database(caller: Caller) -> None:
    """For Pay & Bill types only: the integration's database must be active (CONTRACTS 1).

    Raises ForbiddenError with the vendor's words.
    """
    if not caller.integration.database.active:
        raise ForbiddenError("Pay and Bill Database not active")


def check_database_version(caller: Caller, needed: int) -> None:
    """For Pay & Bill types only: the integration's database must not be older than `needed`.

    Raises InvalidRequestError with the vendor's words.
    """
    if caller.integration.database.version < needed:
        raise InvalidRequestError("Invalid DB Version")
