"""The rows of a file through the gateway, part by part, and what became of them.

Parts go one after another, each when the one before has ended, so that rows take effect in the
order of the file. What was accepted goes on whatever happens to this process: the same command
finds it by its key and goes on behind it.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cli.csv_files import RowFile, UnknownColumn
from cli.import_client import ImportClient, PartLimits, RequestChunk, has_messages
from cli.output import columns
from cli.result_tables import Group, GroupTally, Result, failure_table, group_table, with_line
from cli.row_files import RowFileError, read_array, read_rows, read_text_file
from shared.errors import GatewayError, RefusedError
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.json_rows import member_span

FEW = 100
"""Rows of a file up to which every result is asked for, not only those of failed rows."""
_BY_ROW = {"dryRun": "true", "view": "rows"}
OUTCOMES = ("new", "updated", "unchanged", "failed")
_SEVERITIES = {"warnings": "Warning", "infos": "Info"}
_COUNTS = (*OUTCOMES, *_SEVERITIES)


@dataclass(slots=True)
class ImportProgress:
    """What became of the rows so far; `results` has the failed rows, or all of a small file."""

    file: RowFile
    counts: Counter[str] = field(default_factory=Counter)
    import_ids: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    sent_before: int = 0
    groups: GroupTally = field(default_factory=GroupTally)

    @property
    def total(self) -> int:
        """The rows of the file."""
        return len(self.file.rows)

    @property
    def failed(self) -> list[Result]:
        """The rows that did not go in."""
        return [result for result in self.results if result["outcome"] == "failed"]

    def add(self, first: int, results: Sequence[Result]) -> None:
        """Note results of the rows from place `first` on under their place in the file."""
        self.results += [
            with_line({**item, "index": item["index"] + first}, self.file.lines) for item in results
        ]

    def document(self) -> dict[str, Any]:
        """For programs."""
        counts = {name: self.counts[name] for name in _COUNTS}
        return {
            "importIds": self.import_ids,
            "rows": {"total": self.total, **counts},
            "unknownColumns": [_column_view(each) for each in self.file.unknown_columns],
            "messageGroups": self.groups.sorted(),
            "results": self.results,
        }


@dataclass(frozen=True, slots=True)
class FileImport:
    """Where the rows go, and how they are asked for; `told` hears how many rows are done."""

    client: ImportClient
    path: str
    query: Mapping[str, str]
    told: Callable[[int], None]

    def send(self, parts: Sequence[RequestChunk], tally: ImportProgress) -> None:
        """Import every part; what is known when this raises stands in the tally."""
        for part in parts:
            accepted = self.client.send(self.path, self.query, part.body(), part.key)
            tally.sent_before += accepted.is_replayed
            follow(self.client, accepted.import_id, part.first, tally, self.told)
            self.told(part.first + len(part.rows))

    def try_out(self, parts: Sequence[RequestChunk], tally: ImportProgress) -> None:
        """What would become of every part, each by itself; nothing is stored."""
        for part in parts:
            answer = self.client.try_out(self.path, {**self.query, **_BY_ROW}, part.body())
            found = sorted(answer["items"], key=_index)
            tally.counts.update(item["outcome"] for item in found)
            tally.counts.update(
                {name: _count_rows(found, kind) for name, kind in _SEVERITIES.items()}
            )
            tally.groups.add_results(part.first, found)
            tally.add(part.first, list(_worth_telling(found, tally.total)))
            self.told(part.first + len(part.rows))


def follow(
    client: ImportClient,
    import_id: str,
    first: int,
    tally: ImportProgress,
    told: Callable[[int], None],
) -> None:
    """Wait for an import of the rows from place `first` on, and note what became of them."""
    if not import_id:
        return
    tally.import_ids.append(import_id)
    ended = client.follow(import_id, lambda done: told(first + done))
    tally.counts.update({name: ended["rows"][name] for name in _COUNTS})
    if has_messages(ended):
        tally.groups.add_groups(first, client.message_groups(import_id))
    is_small = tally.total <= FEW
    if is_small or ended["rows"]["failed"]:
        found = client.results(import_id, "" if is_small else "failed")
        tally.add(first, sorted(found, key=_index))


def _count_rows(results: Sequence[Result], severity: str) -> int:
    """How many rows have a message of a severity."""
    return sum(
        any(message["messageType"] == severity for message in item["messages"]) for item in results
    )


def _column_view(column: UnknownColumn) -> dict[str, Any]:
    return {"column": column.name, "line": column.line, "nearest": column.nearest}


def _index(result: Result) -> int:
    return int(result["index"])


def _worth_telling(results: Sequence[Result], total: int) -> Iterator[Result]:
    return (item for item in results if total <= FEW or item["outcome"] == "failed")


# `manage.py import authdata`: a file becomes one batch, staged and processed, and a table.
#
# Every call has an Idempotency-Key, and the batch an id, made of the file's rows: so the same
# command goes on where it stopped, and a file sent twice by mistake is one batch.

STAGE_PATH: Final = f"{AUTHDATA.address}/stage"
BATCH_OPTIONS: Final = ("validate", "allowNoAuth")
_BODY_OVERHEAD: Final = 200
"""Bytes of a body besides its records."""
_TOTALS: Final = (
    ("totalNew", "new"),
    ("totalUpdates", "updated"),
    ("totalAuthValueChange", "  authentication values"),
    ("totalEmpIdUpdate", "  employee id"),
    ("totalStatusChange", "  status"),
    ("totalNoChange", "no change"),
    ("totalDuplicates", "duplicates"),
    ("totalErrors", "errors"),
    ("totalRecords", "records"),
)

Document = dict[str, Any]


class UnknownOptionError(GatewayError):
    """The call has no such option, or not with this value."""


@dataclass(frozen=True, slots=True)
class BatchFile:
    """The records of a file, and what it says of the batch."""

    file: RowFile
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The answer to the whole batch, and the results of the records that failed."""

    answer: Document
    failed: Sequence[Result] = ()
    import_id: str = ""
    groups: Sequence[Group] = ()
    lines_of_file: Sequence[int] = ()

    @property
    def is_good(self) -> bool:
        """Whether every record went in."""
        return not self.answer["totalErrors"] and not self.answer["thresholdExceptions"]

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.failed:
            yield from (*failure_table(self.failed), "")
        if self.groups:
            yield from (*group_table(self.groups, self.lines_of_file), "")
        cells = [(label, str(self.answer[name])) for name, label in _TOTALS]
        width = max(len(count) for _, count in cells)
        yield from columns(
            ("RECORDS", "COUNT"), [(label, count.rjust(width)) for label, count in cells]
        )
        yield from self.answer["thresholdExceptions"]
        if self.import_id:
            yield f"Batch {self.answer['fileLogId']}, import {self.import_id}"


def read_batch_file(path: Path, schema: Mapping[str, Any], *, blank_clears: bool) -> BatchFile:
    """Records as an array, NDJSON or CSV, or the body of a stage call.

    Raises UnreadableFileError.
    """
    text = read_text_file(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and isinstance(document.get("employee"), list):
        options = {name: document[name] for name in BATCH_OPTIONS if document.get(name) is not None}
        start, end = member_span(text, text.index("{"), "employee")
        # The lines above stay, so that lines are counted as in the file.
        above = "\n" * text.count("\n", 0, start)
        try:
            return BatchFile(read_array(above + text[start:end]), options)
        except RefusedError as error:
            raise RowFileError(f"{path.name}: {error.message}") from None
    return BatchFile(read_rows(path, schema, blank_clears=blank_clears))


def options_of(wishes: Mapping[str, str]) -> dict[str, bool]:
    """What the call is to say, from words. Raises UnknownOptionError."""
    named = {name.lower(): name for name in BATCH_OPTIONS}
    for name, value in wishes.items():
        if name.lower() not in named or value.lower() not in ("true", "false"):
            known = " or ".join(f"{known}=true|false" for known in BATCH_OPTIONS)
            raise UnknownOptionError(
                f"--with {name}={value} is not possible for authdata: use {known}."
            )
    return {named[name.lower()]: value.lower() == "true" for name, value in wishes.items()}


def limits_with_room(limits: PartLimits) -> PartLimits:
    """The limits of the records of one call."""
    return PartLimits(limits.rows, limits.body_bytes - _BODY_OVERHEAD)


def import_batch(
    client: ImportClient,
    file: BatchFile,
    parts: Sequence[RequestChunk],
    told: Callable[[int], None],
) -> BatchOutcome:
    """Stage every part into one batch and process it."""
    batch = str(uuid.uuid5(uuid.NAMESPACE_OID, "".join(part.key for part in parts)))
    for part in parts:
        staged = client.send(STAGE_PATH, {}, _stage_body(file, part, batch), part.key).document
        told(part.first + len(part.rows))
        if staged["thresholdExceptions"]:
            return BatchOutcome(staged)
    done = client.send(f"{AUTHDATA.address}/{batch}", {}, b"", f"process-{batch}")
    if not done.import_id:
        return BatchOutcome(done.document)
    ended = client.follow(done.import_id, lambda _done: None)
    failed = sorted(client.results(done.import_id, "failed"), key=lambda each: int(each["index"]))
    lines = file.file.lines
    return BatchOutcome(
        client.answer(done.import_id),
        [with_line(each, lines) for each in failed],
        done.import_id,
        client.message_groups(done.import_id) if has_messages(ended) else (),
        lines,
    )


def dry_run_batch(
    client: ImportClient, file: BatchFile, parts: Sequence[RequestChunk]
) -> BatchOutcome:
    """What the file would come to; of several calls each by itself, so counts are the sum."""
    answers = [
        client.try_out(AUTHDATA.address, {"dryRun": "true"}, _stage_body(file, part, None))
        for part in parts
    ]
    total = dict(answers[0])
    for name, _label in _TOTALS:
        total[name] = sum(answer[name] for answer in answers)
    exceeded = [said for answer in answers for said in answer["thresholdExceptions"]]
    total["thresholdExceptions"] = list(dict.fromkeys(exceeded))
    return BatchOutcome(total)


def _stage_body(file: BatchFile, part: RequestChunk, batch: str | None) -> bytes:
    said = json.dumps({**file.options, "fileLogId": batch})
    return f'{said[:-1]},"employee":[{",".join(part.rows)}]}}'.encode()
