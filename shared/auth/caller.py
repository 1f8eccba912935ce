"""Who is calling, once that is known: an integration with its key pair, or a client with a token.

An endpoint takes either as `AnyCaller`; both have the tenant, the options for the rules, and which
imports they see.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.auth.integration import Integration
from shared.auth.scopes import Scope
from shared.errors import ForbiddenError, InvalidRequestError
from shared.imports.import_type import Options


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's integration that showed its function key. Holds no secret."""

    tenant: str
    key_name: str
    software_key: str
    integration: Integration

    @property
    def name(self) -> str:
        """What tells it from the other callers of its tenant."""
        return f"integration {self.software_key}"

    @property
    def options(self) -> Options:
        """What the rules need to know of the integration."""
        return self.integration.options

    def sees(self, type_name: str) -> bool:  # noqa: ARG002 (a token's caller looks at the type)
        """Whether imports of this type are shown to it: a key pair sees all of its tenant."""
        return True


@dataclass(frozen=True, slots=True)
class TokenCaller:
    """A tenant's client that showed a bearer token. Holds no secret."""

    tenant: str
    client_id: str
    scopes: frozenset[Scope]

    @property
    def name(self) -> str:
        """What tells it from the other callers of its tenant."""
        return f"client {self.client_id}"

    @property
    def options(self) -> Options:
        """What the rules need to know: a client has no settings of its own."""
        return Options()

    def sees(self, type_name: str) -> bool:
        """Whether imports of this type are shown to it: those of its scopes."""
        return any(scope.type_name == type_name for scope in self.scopes)


AnyCaller = Caller | TokenCaller


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
