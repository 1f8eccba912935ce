"""A PostgreSQL server of its own for a bench, in a folder that goes away with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring.waiting import BenchError

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_USER = "postgres"


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, if PostgreSQL is installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    return next((each for each in (*folders, *_FOLDERS) if (each / "pg_ctl").exists()), None)


@contextmanager
def running_postgres(programs: Path) -> Iterator[str]:
    """A server with durable commits for the time of the block; its address for SQLAlchemy.

    It listens on a socket in its folder only. PostgreSQL refuses to run as root, so root starts it
    as the user `postgres`. Raises BenchError when it does not start.
    """
    user = _USER if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="bench-postgres-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w"]
        _run([str(programs / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust"], user, folder)
        options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        _run([*control, "-l", str(folder / "log"), "-o", options, "start"], user, folder)
        try:
            yield f"postgresql+psycopg://{_USER}@/postgres?host={folder}"
        finally:
            _run([*control, "-m", "immediate", "stop"], user, folder)


def _run(command: list[str], user: str | None, folder: Path) -> None:
    # The server keeps the output of `pg_ctl start` open, so it is no pipe.
    with (folder / "commands.log").open("wb") as log:
        ran = subprocess.run(command, user=user, cwd=folder, stdout=log, stderr=log, check=False)
    if ran.returncode:
        raise BenchError(f"{command[0]}: {(folder / 'commands.log').read_text()[-500:]}")
