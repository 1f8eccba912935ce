"""`manage.py` on one storage account, in the process of the tests or in one of its own."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.app import main
from cli.environment import ROOT
from shared.auth.callers import Caller, KeyPairAuthenticator
from shared.clock import SystemClock
from shared.storage.account import Account
from shared.storage_account import StorageAccount
from tests.emulator import DATA_KEYS


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


class Manage:
    """Runs `manage.py` on one storage account."""

    def __init__(self, connection_string: str, folder: Path) -> None:
        self._storage = connection_string
        environ = {name: value for name, value in os.environ.items() if "GATEWAY_" not in name}
        self._environ = {**environ, "GATEWAY_DATA": str(folder), "PYTHONUTF8": "1"}

    def run(self, *words: str, answer: str = "", **environ: str) -> Ran:
        """Run a command in this process, which spares its start; `answer` is what is typed."""
        typed, printed, complaints = (
            io.TextIOWrapper(io.BytesIO(text), "utf-8") for text in (answer.encode(), b"", b"")
        )
        with pytest.MonkeyPatch.context() as patch:
            own = self._environ_of_command(environ)
            for name in os.environ.keys() - own.keys():
                patch.delenv(name)
            for name, value in own.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["manage.py", *words])
            patch.setattr(sys, "stdin", typed)
            patch.setattr(sys, "stdout", printed)
            patch.setattr(sys, "stderr", complaints)
            with pytest.raises(SystemExit) as end:
                main()
        texts = []
        for stream in (printed, complaints):
            stream.flush()
            stream.seek(0)
            texts.append(stream.read())
        return Ran(int(end.value.code or 0), *texts)

    def run_process(self, *words: str, answer: str = "", **environ: str) -> Ran:
        """The same in a process of its own."""
        command = [sys.executable, str(ROOT / "manage.py"), *words]
        done = subprocess.run(
            command,
            env=self._environ_of_command(environ),
            input=answer,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def document(self, *words: str) -> dict[str, Any]:
        """What a command prints with --json, as one object."""
        ran = self.run(*words, "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        document = json.loads(ran.stdout)
        assert isinstance(document, dict)
        return document

    def authenticate(self, headers: dict[str, str]) -> Caller:
        """What a gateway on this storage makes of a key pair."""

        async def authenticate() -> Caller:
            account = Account(StorageAccount(connection_string=self._storage))
            try:
                authenticator = KeyPairAuthenticator(account.tables, SystemClock(), 0)
                return await authenticator.authenticate(headers)
            finally:
                await account.close()

        return asyncio.run(authenticate())

    def _environ_of_command(self, environ: dict[str, str]) -> dict[str, str]:
        own = {"AzureWebJobsStorage": self._storage, "GATEWAY_DATA_KEYS": DATA_KEYS}
        return {**self._environ, **own, **environ}
