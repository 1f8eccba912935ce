"""The model with imports of licenses alone, of one company, whose keys and employees meet."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from shared.errors import StorageUnavailableError
from shared.imports.import_type import Options
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from tests.model.harness import TENANT, Process
from tests.model.simulation import Simulation

KEYS = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(1, 4)]


class LicenseSimulation(Simulation):
    """Calls of every action, on few employees; a chunk of them takes many requests."""

    handler_seconds = 300
    steps_between_sweeps = 800

    async def _call(self, process: Process) -> None:
        action = self.random.choice(list(LicenseAction))
        rows = [self._license(position) for position in range(self.random.randint(1, 6))]
        with suppress(StorageUnavailableError):
            planned = await process.intake.read(LICENSES, TENANT, json.dumps(rows).encode())
            options = Options(action=action.value)
            draft = process.intake.draft(LICENSES, TENANT, planned, options)
            await process.intake.accept_planned(LICENSES, draft, planned)

    def _license(self, position: int) -> dict[str, Any]:
        pick = self.random
        row: dict[str, Any] = {"companyCode": "C1"}
        if pick.random() < 0.85:
            row["employeeNumber"] = pick.choice(["1", "2"])
            row["licenseNumber"] = pick.choice(["A", "B", "C"])
        if pick.random() < 0.4:
            row["licenseKey"] = pick.choice(KEYS)
        if pick.random() < 0.7:
            row["notes"] = pick.choice(["x", "y", None, f"n{self.calls}{position}"])
        if pick.random() < 0.3:
            content = pick.choice(["QQ==", "Qg==", "Qw=="])
            row["documents"] = [{"name": pick.choice(["d1", "d2"]), "content": content}]
        if pick.random() < 0.05:
            row["issuedDate"] = "no date"
        if pick.random() < 0.03:
            del row["companyCode"]
        return row
