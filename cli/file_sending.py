"""What `manage.py import` does with a file: read it, cut it, send it, and report.

Rows go as imports, one after another; authentication data as one batch. Both end in a `Report`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import typer

from cli.batch_import import (
    dry_run_batch,
    import_batch,
    limits_with_room,
    options_of,
    read_batch_file,
)
from cli.calls import CallFailedError
from cli.csv_files import RowFile, known_paths, nearest_field
from cli.failures import Result, failure_table, is_about, row_lines
from cli.file_import import FEW, FileImport, ImportProgress
from cli.import_client import ImportClient, RefusedCallError, call_of, limits_of
from cli.message_table import group_table
from cli.parts import RequestChunk, cut_into_chunks
from cli.progress import row_progress
from cli.row_files import RowFileError, read_rows
from cli.terminal import complain
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.import_type import ImportType
from shared.imports.messages import MessageId
from shared.imports.reference_text import escaped

MOST_NAMED: Final = 20
"""Unknown columns and fields that have a line of their own."""
INTERRUPTED: Final = 130
"""The exit status of a command that Ctrl-C ended."""
ALREADY_SENT: Final = (
    "{count} of {chunks} calls were sent before and are not imported again: the results shown are "
    "those of the first time. To import them again, add --again WORD with a word of your own."
)


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A file, and how it is to be sent; `asked` is what the calls say besides the rows.

    `secret` keys the hashes that the calls carry.
    """

    kind: ImportType
    file: Path
    asked: Mapping[str, str]
    again: str
    part_rows: int
    blank_clears: bool
    dry_run: bool
    secret: str = field(repr=False)

    @property
    def title(self) -> str:
        """What the progress bar stands for."""
        return f"{self.kind.name}, {self.file.name}"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a file: for programs, for people, and the rows that failed."""

    document: dict[str, Any]
    lines: Iterable[str]
    rows: Sequence[str]
    failed: Sequence[Result]
    is_good: bool


def import_file(job: ImportJob, client: ImportClient) -> Report:
    """Send the file. Raises RowFileError, CallFailedError; typer.Exit where it is interrupted."""
    return (_send_batch if job.kind is AUTHDATA else _send_rows)(job, client)


def _send_rows(job: ImportJob, client: ImportClient) -> Report:
    kind = job.kind
    schema = kind.rules.json_schema()
    file = read_rows(job.file, schema, blank_clears=job.blank_clears)
    _check_rows(job, file)
    told = client.capabilities()
    limits = limits_of(told, job.part_rows, dry_run=job.dry_run)
    asked = json.dumps([kind.name, job.asked, job.again])
    chunks = cut_into_chunks(file.rows, limits, asked, job.secret, file.lines)
    tally = ImportProgress(file)
    with _progress(job, tally) as heard:
        work = FileImport(client, call_of(told, kind.name), job.asked, heard)
        (work.try_out if job.dry_run else work.send)(chunks, tally)
    lines = _report_lines(tally, chunks, schema, dry_run=job.dry_run)
    return Report(tally.document(), lines, file.rows, tally.failed, not tally.failed)


def _send_batch(job: ImportJob, client: ImportClient) -> Report:
    schema = job.kind.rules.json_schema()
    batch = read_batch_file(job.file, schema, blank_clears=job.blank_clears)
    _check_rows(job, batch.file)
    batch = replace(batch, options={**batch.options, **options_of(job.asked)})
    limits = limits_of(client.capabilities(), job.part_rows, dry_run=job.dry_run)
    asked = json.dumps([job.kind.name, dict(batch.options), job.again])
    file = batch.file
    chunks = cut_into_chunks(file.rows, limits_with_room(limits), asked, job.secret, file.lines)
    with _progress(job, ImportProgress(file)) as heard:
        if job.dry_run:
            outcome = dry_run_batch(client, batch, chunks)
        else:
            outcome = import_batch(client, batch, chunks, heard)
    document = {"importId": outcome.import_id, **outcome.answer}
    return Report(document, outcome.lines(), batch.file.rows, outcome.failed, outcome.is_good)


def _check_rows(job: ImportJob, file: RowFile) -> None:
    """Say which columns are no fields, before anything is sent. Raises RowFileError for no rows."""
    if not file.rows:
        raise RowFileError(
            f"{job.file.name} has no rows, so nothing was sent: check that it is the right file."
        )
    columns = file.unknown_columns
    complain(
        f"Column {escaped(each.name)} (line {each.line}) is no field of {job.kind.name}: what "
        f"it holds is not stored.{_advice(each.nearest)}"
        for each in columns[:MOST_NAMED]
    )
    if len(columns) > MOST_NAMED:
        complain([f"{len(columns) - MOST_NAMED} more columns are no fields either."])


def _advice(nearest: str | None) -> str:
    return f" Did you mean {nearest}?" if nearest else ""


@contextmanager
def _progress(job: ImportJob, tally: ImportProgress) -> Iterator[Callable[[int], None]]:
    """A progress bar for the time of the block, and a word where it is stopped."""
    with row_progress(job.title, tally.total) as heard:
        try:
            yield heard
        except KeyboardInterrupt:
            complain([_describe_progress(tally)])
            raise typer.Exit(INTERRUPTED) from None
        except CallFailedError as error:
            if tally.import_ids or not isinstance(error, RefusedCallError):
                complain([_describe_progress(tally)])
            raise


def _describe_progress(tally: ImportProgress) -> str:
    known = sum(tally.counts.values())
    return (
        f"Stopped: {known} of {tally.total} rows are known to be done. The gateway completes the "
        "calls that it has accepted. Run the same command again to continue from there."
    )


def _report_lines(
    tally: ImportProgress,
    chunks: Sequence[RequestChunk],
    schema: Mapping[str, Any],
    *,
    dry_run: bool,
) -> Iterator[str]:
    """Every row of a small file, the failed ones and all messages of any, and the counts."""
    columns = [escaped(each.name) for each in tally.file.unknown_columns]
    if tally.total <= FEW:
        yield from row_lines(tally.results, columns)
    if tally.failed:
        yield from ("", *failure_table(tally.failed), "")
    # A column that is no field was named before the file was sent, once.
    groups = [each for each in tally.groups.sorted() if not is_about(each, columns)]
    if groups:
        yield from ("", *group_table(groups, tally.file.lines), "")
    unknown = [
        each.get("fieldName", "") for each in groups if each["errorID"] == MessageId.UNKNOWN_FIELD
    ]
    known = known_paths(schema) if unknown else []
    for name in unknown[:MOST_NAMED]:
        advice = _advice(nearest_field(name, known))
        yield f"Field {escaped(name)} is not known: what it holds is not stored.{advice}"
    if tally.counts["warnings"] or tally.counts["infos"]:
        warnings, infos = (_count_rows_with(tally, name) for name in ("warnings", "infos"))
        yield f"{warnings} with warnings, {infos} with infos."
    counts = ", ".join(f"{tally.counts[name]} {name}" for name in ("new", "updated", "unchanged"))
    would = "would be " if dry_run else ""
    rows = "row" if tally.total == 1 else "rows"
    yield f"{tally.total} {rows}: {would}{counts}; {tally.counts['failed']} failed."
    if tally.import_ids:
        name = "Import" if len(tally.import_ids) == 1 else "Imports"
        yield f"{name} {' '.join(tally.import_ids)}"
    if tally.sent_before:
        yield ALREADY_SENT.format(count=tally.sent_before, chunks=len(chunks))
    if dry_run and len(chunks) > 1:
        yield "The dry run tried each call by itself, without the rows of the calls before it."


def _count_rows_with(tally: ImportProgress, name: str) -> str:
    count = tally.counts[name]
    return f"{count} row{'' if count == 1 else 's'}"
