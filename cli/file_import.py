"""Imports the rows of a file through the gateway in parts, and collects the results.

Each part is sent when the one before has ended, so that rows take effect in the order of the file.
The gateway completes accepted parts even if this process ends. The same command then finds them by
their Idempotency-Keys and continues with the next part.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from cli.import_client import ChunkLimits, ImportClient, RequestChunk, has_messages
from cli.output import columns
from cli.result_tables import Group, GroupTally, Result, failure_table, group_table, with_line
from cli.row_files import (
    RowFile,
    RowFileError,
    format_of,
    read_array,
    read_bytes,
    read_rows,
    read_text_file,
)
from shared.errors import GatewayError, RefusedError
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.files.formats import FILE_TYPES, FileFormat, format_of_name
from shared.imports.files.gzip_bodies import is_gzip
from shared.imports.import_type import Rules
from shared.imports.json_rows import fold_names, member_span
from shared.services.import_views import message_view

# Up to so many rows of a file, all results are requested, not only those of failed rows.
SMALL_FILE = 100
_BY_ROW = {"dryRun": "true", "view": "rows"}
OUTCOMES = ("new", "updated", "unchanged", "failed")
_SEVERITIES = {"warnings": "Warning", "infos": "Info"}
_COUNTS = (*OUTCOMES, *_SEVERITIES)


@dataclass(slots=True)
class ImportProgress:
    """The results so far. `results` has the failed rows, or all rows of a small file."""

    file: RowFile
    counts: Counter[str] = field(default_factory=Counter)
    import_ids: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    sent_before: int = 0
    # The rows that a mapping profile passed over; None where no profile maps the file.
    skipped: int | None = None
    # The name and the version of the profile that read the file; None where none did.
    profile: Mapping[str, Any] | None = None
    groups: GroupTally = field(default_factory=GroupTally)

    @property
    def total(self) -> int:
        """The rows of the file."""
        return len(self.file.rows)

    @property
    def failed(self) -> list[Result]:
        """The number of failed rows."""
        return [result for result in self.results if result["outcome"] == "failed"]

    def index_of(self, first: int, place: int) -> int:
        """The index in the file of a row of the call whose rows begin at place `first` of those
        that are sent.
        """
        return self.file.sent_indexes[first + place]

    def add(self, first: int, results: Sequence[Result]) -> None:
        """Note results of the rows from place `first` on under their place in the file."""
        self.results += [self._in_file(first, item) for item in results]

    def _in_file(self, first: int, item: Result) -> Result:
        """The result of a row as the file has it: its index, its line and its fields."""
        index = self.index_of(first, item["index"])
        result = with_line({**item, "index": index}, self.file.lines)
        if index in self.file.lists:
            result["messages"] = [
                {**message, "fieldName": self.file.place_of(index, message["fieldName"])}
                if "fieldName" in message
                else message
                for message in item["messages"]
            ]
        return result

    def add_unreadable(self, rules: Rules) -> None:
        """Note the rows that are not sent, because they have a cell that cannot be read."""
        results = [
            with_line(
                {
                    "index": index,
                    "key": _key_of(json.loads(self.file.rows[index]), rules),
                    "outcome": "failed",
                    "messages": [message_view(message) for message in messages],
                },
                self.file.lines,
            )
            for index, messages in self.file.faults.items()
        ]
        self.counts["failed"] += len(results)
        self.groups.add_results(results)
        self.results = sorted([*self.results, *results], key=_index)

    def add_judged(self, first: int, results: Sequence[Result]) -> None:
        """Note the results of a dry run of the rows from place `first` on."""
        self.counts.update(item["outcome"] for item in results)
        for name, severity in _SEVERITIES.items():
            self.counts[name] += sum(
                any(message["messageType"] == severity for message in item["messages"])
                for item in results
            )
        self.groups.add_results(self._in_file(first, item) for item in results)
        is_small = self.total <= SMALL_FILE
        self.add(first, [item for item in results if is_small or item["outcome"] == "failed"])

    def document(self) -> dict[str, Any]:
        """For programs."""
        counts = {name: self.counts[name] for name in _COUNTS}
        return {
            "importIds": self.import_ids,
            "sentBefore": self.sent_before,
            **({} if self.profile is None else {"profile": self.profile}),
            "rows": {"total": self.total, **counts, **self._skipped},
            "unknownColumns": [
                {"column": each.name, "line": each.line, "nearest": each.nearest}
                for each in self.file.unknown_columns
            ],
            "messageGroups": self.groups.sorted(),
            "results": self.results,
        }

    @property
    def _skipped(self) -> dict[str, int]:
        return {} if self.skipped is None else {"skipped": self.skipped}


@dataclass(frozen=True, slots=True)
class FileImport:
    """Sends rows to an import path with these options.

    `on_progress` is called with the number of rows that are done.
    """

    client: ImportClient
    path: str
    query: Mapping[str, str]
    on_progress: Callable[[int], None]

    def send(self, chunks: Sequence[RequestChunk], progress: ImportProgress) -> None:
        """Import every part. If it raises an error, `progress` has the results so far."""
        for chunk in chunks:
            acceptance = self.client.send(self.path, self.query, chunk.body(), chunk.key)
            progress.sent_before += int(acceptance.is_replayed)
            follow(self.client, acceptance.import_id, chunk.first, progress, self.on_progress)
            self.on_progress(chunk.first + len(chunk.rows))

    def dry_run(self, chunks: Sequence[RequestChunk], progress: ImportProgress) -> None:
        """Run a dry run of every part separately. Nothing is stored."""
        for chunk in chunks:
            answer = self.client.dry_run(self.path, {**self.query, **_BY_ROW}, chunk.body())
            progress.add_judged(chunk.first, sorted(answer["items"], key=_index))
            self.on_progress(chunk.first + len(chunk.rows))


def follow(
    client: ImportClient,
    import_id: str,
    first: int,
    progress: ImportProgress,
    on_progress: Callable[[int], None],
) -> None:
    """Wait for an import of the rows from place `first` on, and note what became of them."""
    if not import_id:
        return
    progress.import_ids.append(import_id)
    report = client.follow(import_id, lambda done: on_progress(first + done))
    progress.counts.update({name: report["rows"][name] for name in _COUNTS})
    if has_messages(report):
        index_of = partial(progress.index_of, first)
        groups = client.message_groups(import_id)
        progress.groups.add_groups(groups, index_of, progress.file.place_of)
    is_small = progress.total <= SMALL_FILE
    if is_small or report["rows"]["failed"]:
        results = client.results(import_id, "" if is_small else "failed")
        progress.add(first, sorted(results, key=_index))


def _key_of(row: Mapping[str, Any], rules: Rules) -> dict[str, str]:
    """The key of a row that was not sent, as far as its cells could be read."""
    values = fold_names(row)
    key_values = {name: values.get(name.lower()) for name in rules.key_fields}
    return {name: value for name, value in key_values.items() if isinstance(value, str)}


def _index(result: Result) -> int:
    return int(result["index"])


# `manage.py import --profile`: the file goes as it is, in one call, since the gateway reads it.


def send_whole(
    client: ImportClient,
    path: str,
    query: Mapping[str, str],
    sent: SentFile,
    key: str,
    on_progress: Callable[[int], None],
) -> ImportProgress:
    """Import a file that a mapping profile maps, and collect its results.

    A file that was imported by an earlier version of the profile is imported again.
    """
    acceptance = client.send(path, query, sent.body, key, sent.headers)
    if not acceptance.import_id:
        return ImportProgress(RowFile((), ()))
    report = client.follow(acceptance.import_id, on_progress)
    version = acceptance.profile_version
    if version is not None and version > report["profile"]["version"]:
        acceptance = client.send(path, query, sent.body, f"{key}-v{version}", sent.headers)
        if not acceptance.import_id:
            return ImportProgress(RowFile((), ()))
        report = client.follow(acceptance.import_id, on_progress)
    import_id = acceptance.import_id
    total = int(report["rows"]["total"])
    rows, lines = [""] * total, [0] * total
    for item in client.failed_rows(import_id) if report["rows"]["failed"] else ():
        rows[item["index"]] = json.dumps(item["row"], ensure_ascii=False)
        lines[item["index"]] = item.get("line") or 0
    progress = ImportProgress(
        RowFile(rows, lines),
        sent_before=int(acceptance.is_replayed),
        skipped=report["rows"].get("skipped"),
        profile=report["profile"],
    )
    follow(client, import_id, 0, progress, on_progress)
    return progress


def dry_run_whole(
    client: ImportClient, path: str, query: Mapping[str, str], sent: SentFile
) -> ImportProgress:
    """Run a dry run of a file that a mapping profile maps."""
    answer = client.dry_run(path, {**query, **_BY_ROW}, sent.body, sent.headers)
    results = sorted(answer["items"], key=_index)
    file = RowFile([""] * len(results), [0] * len(results))
    progress = ImportProgress(file, skipped=answer.get("skipped"))
    progress.add_judged(0, results)
    return progress


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file as it goes in a call: its bytes, and the headers that say what they are."""

    body: bytes
    headers: Mapping[str, str]


def read_sent_file(path: Path) -> SentFile:
    """Read a file that goes as it is. Raises UnreadableFileError."""
    body = read_bytes(path)
    is_compressed = is_gzip(body)
    file_format = format_of(path, b"" if is_compressed else body)
    if file_format is FileFormat.XML:
        raise RowFileError(f"{path.name} is XML, which no profile maps: save the rows as CSV.")
    media_types = {each: name for name, each in reversed([*FILE_TYPES.items()])}
    headers = {"Content-Type": media_types.get(file_format, "application/json")}
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    return SentFile(body, headers)


# `manage.py import authdata`: a file becomes one batch, which is staged and processed.
#
# The Idempotency-Key of every call and the id of the batch are computed from the file's rows. So
# the same command continues where it stopped, and a file that is sent twice is one batch.

STAGE_PATH: Final = f"{AUTHDATA.address}/stage"
BATCH_OPTIONS: Final = ("validate", "allowNoAuth")
# The bytes of a body without its records.
_BODY_OVERHEAD: Final = 200
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
    """The call has no such option, or the option has no such value."""


@dataclass(frozen=True, slots=True)
class BatchFile:
    """The records of a file, and its options for the batch."""

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
    # The calls that were sent before, whose results are those of the first time.
    sent_before: int = 0

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


def read_batch_file(path: Path, rules: Rules, *, blank_clears: bool, sheet: str = "") -> BatchFile:
    """Records as an array, NDJSON or CSV, or the body of a stage call.

    Raises UnreadableFileError.
    """
    text, document = "", None
    if format_of_name(path.name) in (FileFormat.JSON, None):
        text = read_text_file(path)
        with suppress(ValueError, RecursionError):
            document = json.loads(text)
    if isinstance(document, dict) and isinstance(document.get("employee"), list):
        options = {name: document[name] for name in BATCH_OPTIONS if document.get(name) is not None}
        start, end = member_span(text, text.index("{"), "employee")
        # The lines above stay, so that lines are counted as in the file.
        surrounding = "\n" * text.count("\n", 0, start)
        try:
            return BatchFile(read_array(surrounding + text[start:end]), options)
        except RefusedError as error:
            raise RowFileError(f"{path.name}: {error.message}") from None
    file = read_rows(path, rules, blank_clears=blank_clears, sheet=sheet)
    # The totals and thresholds of a batch are those of all its records.
    file.check_cells(path.name)
    return BatchFile(file)


def read_batch_options(call_options: Mapping[str, str]) -> dict[str, bool]:
    """What the call is to say, from words. Raises UnknownOptionError."""
    names = {name.lower(): name for name in BATCH_OPTIONS}
    for name, value in call_options.items():
        if name.lower() not in names or value.lower() not in ("true", "false"):
            options = " or ".join(f"{options}=true|false" for options in BATCH_OPTIONS)
            raise UnknownOptionError(
                f"--with {name}={value} is not possible for authdata: use {options}."
            )
    return {names[name.lower()]: value.lower() == "true" for name, value in call_options.items()}


def limits_with_room(limits: ChunkLimits) -> ChunkLimits:
    """The limits of the records of one call."""
    return ChunkLimits(limits.rows, limits.body_bytes - _BODY_OVERHEAD)


def import_batch(
    client: ImportClient,
    file: BatchFile,
    chunks: Sequence[RequestChunk],
    on_progress: Callable[[int], None],
) -> BatchOutcome:
    """Stage every part into one batch and process it."""
    batch = str(uuid.uuid5(uuid.NAMESPACE_OID, "".join(chunk.key for chunk in chunks)))
    sent_before = 0
    for chunk in chunks:
        staged = client.send(STAGE_PATH, {}, _stage_body(file, chunk, batch), chunk.key)
        sent_before += int(staged.is_replayed)
        on_progress(chunk.first + len(chunk.rows))
        if staged.document["thresholdExceptions"]:
            return BatchOutcome(staged.document, sent_before=sent_before)
    process_answer = client.send(f"{AUTHDATA.address}/{batch}", {}, b"", f"process-{batch}")
    sent_before += int(process_answer.is_replayed)
    if not process_answer.import_id:
        return BatchOutcome(process_answer.document, sent_before=sent_before)
    report = client.follow(process_answer.import_id, lambda _done: None)
    failed_rows = sorted(
        client.results(process_answer.import_id, "failed"), key=lambda each: int(each["index"])
    )
    lines = file.file.lines
    return BatchOutcome(
        client.answer(process_answer.import_id),
        [with_line(each, lines) for each in failed_rows],
        process_answer.import_id,
        client.message_groups(process_answer.import_id) if has_messages(report) else (),
        lines,
        sent_before,
    )


def dry_run_batch(
    client: ImportClient, file: BatchFile, chunks: Sequence[RequestChunk]
) -> BatchOutcome:
    """What the file would come to; of several calls each by itself, so counts are the sum."""
    answers = [
        client.dry_run(AUTHDATA.address, {"dryRun": "true"}, _stage_body(file, chunk, None))
        for chunk in chunks
    ]
    total = dict(answers[0])
    for name, _label in _TOTALS:
        total[name] = sum(answer[name] for answer in answers)
    exceeded_threshold = [
        message for answer in answers for message in answer["thresholdExceptions"]
    ]
    total["thresholdExceptions"] = list(dict.fromkeys(exceeded_threshold))
    return BatchOutcome(total)


def _stage_body(file: BatchFile, chunk: RequestChunk, batch: str | None) -> bytes:
    options = json.dumps({**file.options, "fileLogId": batch})
    return f'{options[:-1]},"employee":[{",".join(chunk.rows)}]}}'.encode()
