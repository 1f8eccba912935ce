"""Retrying records of authentication data: only with the rows in the body (CONTRACTS 3).

The gateway kept no value, so it cannot send a record again; who has the values can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from shared.errors import InvalidRequestError
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.records import AuthRecord
from shared.imports.corrections import check_indexes, read_corrections
from shared.imports.origins import Origins
from shared.imports.outcomes import Outcome
from shared.imports.payload import fold_names
from shared.services.authdata.processing import plan_of
from shared.services.authdata.staging import Staging
from shared.services.intake import Intake, PlanLimits
from shared.services.offload import Offload
from shared.services.reporting import Reporting
from shared.storage.import_records import ImportRecord

NEEDS_ROWS = (
    'Authentication values are not kept: send the records that are to be retried as [{"index", '
    '"row"}, …], with all their values.'
)


class AuthdataRetrier:
    """A `Retrier` whose rows come from the body alone."""

    def __init__(
        self,
        staging: Staging,
        intake: Intake,
        reporting: Reporting,
        offload: Offload,
        limits: PlanLimits,
    ) -> None:
        self._staging = staging
        self._intake = intake
        self._reporting = reporting
        self._offload = offload
        self._limits = limits

    async def retry(self, parent: ImportRecord, body: bytes, import_id: str) -> ImportRecord:
        """See `Retrier`. Raises InvalidRequestError without rows, or for one that did not fail."""
        rows = await self._offload(len(body), read_corrections, body, self._limits.max_rows)
        if not rows:
            raise InvalidRequestError(NEEDS_ROWS)
        failed = {
            row.index
            async for row in self._reporting.all_results(parent)
            if row.outcome is Outcome.FAILED
        }
        check_indexes(rows, failed, await self._reporting.repaired_rows(parent))
        records = await self._records(parent.tenant, rows)
        planned = await self._offload(len(body), plan_of, parent.tenant, records, self._limits)
        draft = await self._intake.draft_retry(
            AUTHDATA, parent, rows, Origins((0,) * len(records)), planned, import_id
        )
        draft = replace(draft, batch=parent.batch)
        return await self._intake.accept_planned(AUTHDATA, draft, planned)

    async def _records(self, tenant: str, rows: Mapping[int, str]) -> list[AuthRecord]:
        """The records in the order of the parent, hashed; they are records of this day."""
        folded = [fold_names(json.loads(text)) for _, text in sorted(rows.items())]
        return await self._staging.read_rows(tenant, folded)
