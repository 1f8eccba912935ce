"""Who runs a command, as imports and the audit log keep it."""

from __future__ import annotations

import getpass
import socket

from shared.imports.sender import CallerKind, NamedCaller, named_caller


def command_caller() -> NamedCaller:
    """`user@host`, as this machine says it: a note for people, and no proof."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # No user of this machine has the number that the process runs under.
        user = "unknown"
    return named_caller(CallerKind.COMMAND, f"{user}@{socket.gethostname()}")
