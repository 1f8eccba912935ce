"""Accepting and judging the undo of an import (docs/contracts.md#9, docs/design.md#1.11).

The rows of an undo come from the results of the undone import, since its payload may have expired.
The undo has the type and the options of that import. It is processed by the rules of `undo_rules`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from shared import log
from shared.errors import (
    ConflictError,
    GoneError,
    NotBuiltError,
    UnreadableDataError,
)
from shared.imports.import_type import ImportType
from shared.imports.json_rows import Payload, RawRow, TextPayload, fold_names
from shared.imports.planning import Plan
from shared.imports.registry import import_type
from shared.imports.results import Outcome, RowResult, row_set
from shared.imports.sender import NO_SENDER, Sender
from shared.services import undo_rules
from shared.services.accept import ImportAcceptor
from shared.services.background import Offload
from shared.services.chunk_messages import RunDirectly, run_without_queues
from shared.services.dry_run import DryRunResult, DryRuns
from shared.services.import_log import AcceptanceCheck, ImportLog
from shared.services.record_processor import sort_key_reader
from shared.services.results import Results
from shared.services.row_processor import BYTES_PER_ROW
from shared.services.status import RESULTS_EXPIRED, UNREADABLE, check_results
from shared.storage.import_records import ImportRecord, Parent

STILL_OPEN = "This import is still running: undo it when it has ended, or cancel it first."
NOTHING_TOOK_EFFECT = "No row of this import changed anything: there is nothing to undo."
ALL_ARE_ERASED = (
    "The rows of this import were erased with the data of their persons (9004), or changed "
    "nothing: there is nothing to undo."
)
UNDONE_ALREADY = (
    "The import {undone_by} has undone this import already: undo that import to bring the rows "
    "back, or retry it to undo the rows that it could not undo."
)
RESULTS_LOST = (
    "The results of this import cannot be read, so its undo would not be whole: send the wanted "
    "values in a new import."
)
WITHOUT_DRY_RUN = "undo the import without dryRun and onlyIfAll"
NOT_ALL = (
    "Nothing was undone, since onlyIfAll is set: {reversed} of {total} rows can be undone, "
    "{failed} cannot ({reasons}). Call with dryRun=true and view=rows to see which, or leave out "
    "onlyIfAll."
)


@dataclass(frozen=True, slots=True)
class PlannedUndo:
    """The undo of an import before it is accepted. `draft` is the record that it would have."""

    kind: ImportType
    draft: ImportRecord
    plan: Plan


@dataclass(frozen=True, slots=True)
class UndoJudgement:
    """What an undo would do. `draft` is the record that it would have."""

    kind: ImportType
    draft: ImportRecord
    result: DryRunResult

    @property
    def shown(self) -> DryRunResult:
        """The results and the changes with the indexes of the import that is undone."""
        indexes = undo_rules.shown_indexes(self.draft)
        return DryRunResult(
            tuple(undo_rules.shown_results(self.draft, self.result.results)),
            {indexes[index]: text for index, text in self.result.changes.items()},
        )


class Undoing:
    """Turns an import that has ended into its undo.

    `types` has the names of the types whose imports can be undone. `run_directly` processes an
    import of a type without queues.
    """

    def __init__(
        self,
        *,
        imports: ImportLog,
        results: Results,
        intake: ImportAcceptor,
        dry_runs: DryRuns,
        offload: Offload,
        run_directly: RunDirectly,
        types: Collection[str],
    ) -> None:
        self._imports = imports
        self._results = results
        self._intake = intake
        self._dry_runs = dry_runs
        self._offload = offload
        self._run_directly = run_directly
        self._types = types

    def can_undo(self, type_name: str) -> bool:
        """Whether imports of a type can be undone."""
        return type_name in self._types

    async def undo(
        self,
        parent: ImportRecord,
        import_id: str = "",
        sender: Sender = NO_SENDER,
        *,
        only_if_all: bool = False,
    ) -> ImportRecord:
        """Accept the undo of an import under `import_id`, by default a new one.

        `sender` asks for it. With `only_if_all` it is judged first. Called again with the same id,
        it is the same undo.

        Raises ConflictError if the import is open, has changed nothing or is undone already, or if
        `only_if_all` is set and a row cannot be undone; GoneError if its results are not there any
        more; NotBuiltError for a type whose imports cannot be undone.
        """
        if import_id and parent.undone_by == import_id:
            accepted = await self._imports.find(parent.tenant, import_id)
            if accepted is not None:
                return accepted
        planned = await self.plan(parent, import_id, sender)
        if only_if_all:
            await self._check_all(planned)
        draft = planned.draft
        check = self._check_again(parent, draft.import_id)
        record = await self._intake.accept_planned(planned.kind, draft, planned.plan, check)
        log.event(
            "import.undo_accepted",
            import_id=record.import_id,
            parent_id=parent.import_id,
            tenant=record.tenant,
            rows=record.rows,
        )
        await run_without_queues(record, self._run_directly)
        return record

    async def judge(self, planned: PlannedUndo, *, with_changes: bool) -> UndoJudgement:
        """What an undo would do. Raises what `DryRuns.judge` raises."""
        self._dry_runs.check_rows(planned.plan, WITHOUT_DRY_RUN)
        result = await self._dry_runs.judge(
            planned.kind, planned.draft, planned.plan, with_changes=with_changes
        )
        return UndoJudgement(planned.kind, planned.draft, result)

    async def _check_all(self, planned: PlannedUndo) -> None:
        judgement = await self.judge(planned, with_changes=False)
        failed = [row for row in judgement.result.results if row.outcome is Outcome.FAILED]
        if not failed:
            return
        ids = Counter(message.id for row in failed for message in row.messages if message.is_error)
        reasons = ", ".join(f"{count} with {id_}" for id_, count in sorted(ids.items()))
        total = len(judgement.result.results)
        raise ConflictError(
            NOT_ALL.format(
                reversed=total - len(failed), total=total, failed=len(failed), reasons=reasons
            )
        )

    async def plan(
        self, parent: ImportRecord, import_id: str = "", sender: Sender = NO_SENDER
    ) -> PlannedUndo:
        """Plan the undo of an import from its results. Raises the refusals of `undo`."""
        if parent.is_broken:
            raise GoneError(UNREADABLE)
        if not self.can_undo(parent.type_name):
            raise NotBuiltError(
                f"Imports of {parent.type_name} cannot be undone: send the wanted values in a new "
                "import."
            )
        if parent.is_open:
            raise ConflictError(STILL_OPEN)
        check_results(parent)
        if parent.undone_by:
            raise ConflictError(UNDONE_ALREADY.format(undone_by=parent.undone_by))
        kind = import_type(parent.type_name, parent.type_version)
        rows = await self._rows(parent, kind)
        if not rows:
            raise ConflictError(ALL_ARE_ERASED if parent.erased_by else NOTHING_TOOK_EFFECT)
        size = sum(len(row.text) for row in rows)
        plan = await self._intake.plan_payload(size, partial(_payload, rows))
        draft = self._intake.draft(kind, parent.tenant, plan, parent.options, import_id, sender)
        draft = replace(
            draft,
            undoes=Parent(parent.import_id, parent.number),
            undone_rows=row_set([row.place for row in rows]),
            media_type=parent.media_type,
        )
        return PlannedUndo(kind, draft, plan)

    async def _rows(self, parent: ImportRecord, kind: ImportType) -> list[_UndoRow]:
        """The rows of the undo, in the order of the rows that they undo.

        Raises GoneError if a result is missing, since its row may have taken effect.
        """
        rows: list[_UndoRow] = []
        chunks = 0
        try:
            async for stored in self._results.chunks(parent.import_id):
                chunks += 1
                counts, results = stored.counts, await self._results.rows(stored)
                if counts is None or counts.done - counts.failed != sum(
                    1 for result in results if result.outcome is not Outcome.FAILED
                ):
                    raise UnreadableDataError("the results of a chunk")
                rows += await self._offload(
                    BYTES_PER_ROW * len(results), _undo_rows, kind, parent.tenant, results
                )
        except UnreadableDataError as error:
            log.failure("result.unreadable", error, import_id=parent.import_id)
            raise GoneError(RESULTS_LOST) from None
        if chunks != len(parent.chunks):
            await self._check_results_again(parent)
            raise GoneError(RESULTS_LOST)
        return sorted(rows, key=lambda row: row.place)

    async def _check_results_again(self, parent: ImportRecord) -> None:
        """Raises GoneError if the results have expired meanwhile."""
        current = await self._imports.read(parent.tenant, parent.number)
        check_results(current or parent)

    def _check_again(self, parent: ImportRecord, import_id: str) -> AcceptanceCheck:
        """Make the check before each attempt to accept the undo.

        An undo that another call has had accepted meanwhile refuses this one.
        """

        async def check() -> None:
            current = await self._imports.check_not_erased(parent)
            if current is None:
                raise GoneError(RESULTS_EXPIRED)
            check_results(current)
            if current.undone_by not in ("", import_id):
                raise ConflictError(UNDONE_ALREADY.format(undone_by=current.undone_by))

        return check


class _UndoRow(NamedTuple):
    """A row of an undo as JSON; `place` is the index of the row that it undoes."""

    place: int
    sort_key: str | None
    text: str


def _undo_rows(kind: ImportType, tenant: str, results: Sequence[RowResult]) -> list[_UndoRow]:
    sort_key_of = sort_key_reader(kind, tenant)
    rows: list[_UndoRow] = []
    for result in results:
        if undo_rules.has_effect(result):
            row = undo_rules.undo_row(kind, result)
            text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            rows.append(_UndoRow(result.index, sort_key_of(fold_names(row)), text))
    return rows


def _payload(rows: Sequence[_UndoRow]) -> Payload:
    raw_rows: list[RawRow] = []
    start = 0
    for index, row in enumerate(rows):
        end = start + len(row.text)
        raw_rows.append(RawRow(index, row.sort_key, start, end))
        start = end
    return TextPayload("".join(row.text for row in rows), raw_rows)
