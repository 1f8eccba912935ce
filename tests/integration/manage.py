"""`manage.py` as a child process on one storage account."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cli.environment import ROOT
from shared.auth.callers import Caller, KeyPairAuthenticator
from shared.clock import SystemClock
from shared.storage.account import Account
from shared.storage_account import StorageAccount


class Manage:
    """Runs `manage.py` on one storage account."""

    def __init__(self, connection_string: str, folder: Path) -> None:
        self._storage = connection_string
        kept = {name: value for name, value in os.environ.items() if "GATEWAY_" not in name}
        self._environ = {**kept, "GATEWAY_DATA": str(folder), "PYTHONUTF8": "1"}

    def run(
        self, *words: str, answer: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; `answer` is what is typed."""
        own = {**self._environ, "AzureWebJobsStorage": self._storage, **environ}
        command = [sys.executable, str(ROOT / "manage.py"), *words]
        return subprocess.run(
            command,
            env=own,
            input=answer,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def document(self, *words: str) -> dict[str, Any]:
        """What a command prints with --json, as one object."""
        ran = self.run(*words, "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        found = json.loads(ran.stdout)
        assert isinstance(found, dict)
        return found

    def authenticate(self, headers: dict[str, str]) -> Caller:
        """What a gateway on this storage makes of a key pair."""

        async def asked() -> Caller:
            account = Account(StorageAccount(connection_string=self._storage))
            try:
                authenticator = KeyPairAuthenticator(account.tables, SystemClock(), 0)
                return await authenticator.authenticate(headers)
            finally:
                await account.close()

        return asyncio.run(asked())
