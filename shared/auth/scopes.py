"""What a bearer token may be good for, and which imports each scope shows (CONTRACTS 0 and 4)."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A scope by its name in tokens, and in the options of `manage.py client`."""

    IMPORT_INBOX = "import_inbox"
    IMPORT_AUTHDATA = "import_authdata"

    @property
    def type_name(self) -> str:
        """The import type whose imports a token of this scope sees."""
        return _TYPES[self]


_TYPES = {Scope.IMPORT_INBOX: "documents", Scope.IMPORT_AUTHDATA: "authdata"}
