"""Who runs a command, for imports and the audit log."""

from __future__ import annotations

import getpass
import socket

from shared.imports.sender import CallerKind, NamedCaller, named_caller


def command_caller() -> NamedCaller:
    """`user@host` from this machine: information for people, not proof."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # This machine has no user with the user id of the process.
        user = "unknown"
    return named_caller(CallerKind.COMMAND, f"{user}@{socket.gethostname()}")
