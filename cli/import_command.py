"""What `manage.py import` does with a file: read it, cut it, send it, and report.

Rows go as imports, one after another; authentication data as one batch. Both end in a `Report`.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer._click.exceptions import UsageError

from cli.calls import CallFailedError, KeyPair
from cli.commands import file_argument
from cli.environment import local_gateway
from cli.file_import import (
    SMALL_FILE,
    FileImport,
    ImportProgress,
    dry_run_batch,
    dry_run_whole,
    import_batch,
    limits_with_room,
    read_batch_file,
    read_batch_options,
    read_sent_file,
    send_whole,
)
from cli.import_client import (
    ImportClient,
    RefusedCallError,
    RequestChunk,
    cut_into_chunks,
    find_import_path,
    limits_of,
)
from cli.output import AsJson, row_progress, show
from cli.result_tables import (
    Result,
    failure_table,
    group_table,
    is_about,
    row_lines,
    write_failed_rows,
)
from cli.row_files import FAR_MORE_THAN_ANY, RowFile, RowFileError, read_rows
from cli.terminal import print_errors
from shared.errors import InvalidRequestError
from shared.imports.csv_export import OWN_STYLE, SENT_STYLE, Lists
from shared.imports.files.columns import known_paths, nearest_field
from shared.imports.files.formats import FileFormat, format_of_name
from shared.imports.files.templates import make_template
from shared.imports.import_type import ImportType
from shared.imports.merge_rules import leaves
from shared.imports.messages import MessageId
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import MESSAGE_TYPES, TYPE_CATALOGUE
from shared.imports.row_reader import dotted
from shared.imports.sender import source_name
from shared.imports.text_checks import MASK, escaped, looks_masked

# Unknown columns and fields that have a line of their own.
MOST_NAMED: Final = 20
# The exit status of a command that Ctrl-C ended.
INTERRUPTED: Final = 130
ALREADY_SENT: Final = (
    "{count} of {chunks} calls were sent before and are not imported again: the results shown are "
    "those of the first time. To import them again, add --again WORD with a word of your own."
)
READ_BEFORE: Final = "The file was read by version {version} of the profile {name} then."

NO_FUNCTION_KEY: Final = (
    "The function key is missing: set GATEWAY_FUNCTIONS_KEY to the key that `manage.py integration "
    "add` or `manage.py key add` has printed."
)
NO_SOFTWARE_KEY: Final = (
    "The software key is missing: set GATEWAY_SOFTWARE_KEY to that of the integration, which "
    "`manage.py integration list` shows."
)


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A file, and how it is to be sent; `call_options` is what the calls say besides the rows.

    `secret` keys the hashes that the calls carry.
    """

    kind: ImportType
    file: Path
    call_options: Mapping[str, str]
    repeat_word: str
    part_rows: int
    blank_clears: bool
    sheet: str
    dry_run: bool
    secret: str = field(repr=False)
    # The mapping profile that the gateway reads the file by; "" for a file of the type's own.
    profile: str = ""

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
    # Whether the rows are in the layout of their sender.
    is_mapped: bool = False
    # `RowFile.lists`.
    lists: Mapping[int, Lists] = field(default_factory=dict)


def import_file(job: ImportJob, client: ImportClient) -> Report:
    """Send the file. Raises RowFileError, CallFailedError; typer.Exit where it is interrupted."""
    if job.profile:
        return _send_mapped(job, client)
    is_batch = IMPORT_MODULES[job.kind.name].is_sent_in_batches
    return (_send_batch if is_batch else _send_rows)(job, client)


def _send_rows(job: ImportJob, client: ImportClient) -> Report:
    kind = job.kind
    schema = kind.rules.json_schema()
    file = read_rows(job.file, kind.rules, blank_clears=job.blank_clears, sheet=job.sheet)
    _check_rows(job, file)
    capabilities = client.capabilities()
    limits = limits_of(capabilities, job.part_rows, dry_run=job.dry_run)
    call_text = json.dumps([kind.name, job.call_options, job.repeat_word])
    rows = [file.rows[index] for index in file.sent_indexes]
    lines_of_file = [file.lines[index] for index in file.sent_indexes]
    chunks = cut_into_chunks(rows, limits, call_text, job.secret, lines_of_file)
    progress = ImportProgress(file)
    with _progress(job, progress) as on_progress:
        file_import = FileImport(
            client, find_import_path(capabilities, kind.name), job.call_options, on_progress
        )
        (file_import.dry_run if job.dry_run else file_import.send)(chunks, progress)
        progress.add_unreadable(kind.rules)
        on_progress(progress.total)
    lines = _report_lines(progress, chunks, schema, dry_run=job.dry_run)
    failed = progress.failed
    return Report(progress.document(), lines, file.rows, failed, not failed, lists=file.lists)


def _send_mapped(job: ImportJob, client: ImportClient) -> Report:
    """The file goes as it is, because the gateway has the profile."""
    sent = read_sent_file(job.file)
    path = find_import_path(client.capabilities(), job.kind.name)
    query = {**job.call_options, "profile": job.profile}
    text = json.dumps([job.kind.name, query, job.repeat_word])
    key = hmac.new(job.secret.encode(), text.encode() + b"\0" + sent.body, "sha256").hexdigest()
    with _progress(job, ImportProgress(RowFile((), ()))) as on_progress:
        if job.dry_run:
            progress = dry_run_whole(client, path, query, sent)
        else:
            progress = send_whole(client, path, query, sent, f"file-{key[:48]}", on_progress)
    lines = _report_lines(progress, (), None, dry_run=job.dry_run)
    rows, failed = progress.file.rows, progress.failed
    return Report(progress.document(), lines, rows, failed, not failed, is_mapped=True)


def _send_batch(job: ImportJob, client: ImportClient) -> Report:
    batch = read_batch_file(
        job.file, job.kind.rules, blank_clears=job.blank_clears, sheet=job.sheet
    )
    _check_rows(job, batch.file)
    batch = replace(batch, options={**batch.options, **read_batch_options(job.call_options)})
    limits = limits_of(client.capabilities(), job.part_rows, dry_run=job.dry_run)
    call_text = json.dumps([job.kind.name, dict(batch.options), job.repeat_word])
    file = batch.file
    chunks = cut_into_chunks(file.rows, limits_with_room(limits), call_text, job.secret, file.lines)
    with _progress(job, ImportProgress(file)) as on_progress:
        if job.dry_run:
            outcome = dry_run_batch(client, batch, chunks)
        else:
            outcome = import_batch(client, batch, chunks, on_progress)
    document = {
        "importId": outcome.import_id,
        "sentBefore": outcome.sent_before,
        **outcome.answer,
    }
    lines = [*outcome.lines()]
    if outcome.sent_before:
        # The last call processes the batch.
        lines.append(ALREADY_SENT.format(count=outcome.sent_before, chunks=len(chunks) + 1))
    return Report(document, lines, batch.file.rows, outcome.failed, outcome.is_good)


def _check_rows(job: ImportJob, file: RowFile) -> None:
    """Say which columns are no fields, before anything is sent. Raises RowFileError for no rows."""
    if not file.rows:
        raise RowFileError(
            f"{job.file.name} has no rows, so nothing was sent: check that it is the right file."
        )
    _check_masked(job, file)
    columns = file.unknown_columns
    print_errors(
        f"Column {escaped(each.name)} (line {each.line}) is no field of {job.kind.name}: what "
        f"it holds is not stored.{_advice(each.nearest)}"
        for each in columns[:MOST_NAMED]
    )
    if len(columns) > MOST_NAMED:
        print_errors([f"{len(columns) - MOST_NAMED} more columns are no fields either."])


def _check_masked(job: ImportJob, file: RowFile) -> None:
    """Raises RowFileError for a masked value, as records are read back with: it must not be stored
    in place of the value.
    """
    is_sensitive = job.kind.rules.is_sensitive
    for index, row in enumerate(file.rows):
        if f'"{MASK}' not in row:
            continue
        for path, value in leaves((), json.loads(row)):
            if looks_masked(value) and is_sensitive(path):
                raise RowFileError(
                    f"{job.file.name}: {dotted(path)} of index {index} (line {file.lines[index]}) "
                    "is a masked value, so nothing was sent: export the records with --read full, "
                    "or leave the field out."
                )


def _advice(nearest: str | None) -> str:
    return f" Did you mean {nearest}?" if nearest else ""


@contextmanager
def _progress(job: ImportJob, progress: ImportProgress) -> Iterator[Callable[[int], None]]:
    """A progress bar for the time of the block, and a word where it is stopped."""
    with row_progress(job.title, progress.total) as on_progress:
        try:
            yield on_progress
        except KeyboardInterrupt:
            print_errors([_describe_progress(progress)])
            raise typer.Exit(INTERRUPTED) from None
        except CallFailedError as error:
            if progress.import_ids or not isinstance(error, RefusedCallError):
                print_errors([_describe_progress(progress)])
            raise


def _describe_progress(progress: ImportProgress) -> str:
    done_rows = sum(progress.counts.values())
    return (
        f"Stopped: {done_rows} of {progress.total} rows are known to be done. The gateway "
        "completes the calls that it has accepted. Run the same command again to continue from "
        "there."
    )


def _report_lines(
    progress: ImportProgress,
    chunks: Sequence[RequestChunk],
    schema: Mapping[str, Any] | None,
    *,
    dry_run: bool,
) -> Iterator[str]:
    """Every row of a small file, the failed ones and all messages of any, and the counts.

    Without a `schema` nothing says which field an unknown one was meant for.
    """
    columns = [escaped(each.name) for each in progress.file.unknown_columns]
    if progress.total <= SMALL_FILE:
        yield from row_lines(progress.results, columns)
    if progress.failed:
        yield from ("", *failure_table(progress.failed), "")
    # A column that is no field was named before the file was sent, once.
    groups = [each for each in progress.groups.sorted() if not is_about(each, columns)]
    if groups:
        yield from ("", *group_table(groups, progress.file.lines), "")
    unknown = [
        each.get("fieldName", "")
        for each in groups
        if each["errorID"] == MessageId.UNKNOWN_FIELD and schema is not None
    ]
    fields = known_paths(schema) if unknown and schema is not None else []
    for name in unknown[:MOST_NAMED]:
        advice = _advice(nearest_field(name, fields))
        yield f"Field {escaped(name)} is not known: what it holds is not stored.{advice}"
    if progress.counts["warnings"] or progress.counts["infos"]:
        warnings, infos = (
            f"{count} row{'' if count == 1 else 's'}"
            for count in (progress.counts["warnings"], progress.counts["infos"])
        )
        yield f"{warnings} with warnings, {infos} with infos."
    counts = ", ".join(
        f"{progress.counts[name]} {name}" for name in ("new", "updated", "unchanged")
    )
    conditional = "would be " if dry_run else ""
    rows = "row" if progress.total == 1 else "rows"
    yield f"{progress.total} {rows}: {conditional}{counts}; {progress.counts['failed']} failed."
    if progress.skipped:
        are = "row is" if progress.skipped == 1 else "rows are"
        yield f"{progress.skipped} more {are} skipped by the profile."
    if progress.import_ids:
        name = "Import" if len(progress.import_ids) == 1 else "Imports"
        yield f"{name} {' '.join(progress.import_ids)}"
    if progress.sent_before:
        yield ALREADY_SENT.format(count=progress.sent_before, chunks=len(chunks) or 1)
        if progress.profile is not None:
            yield READ_BEFORE.format_map(progress.profile)
    if dry_run and len(chunks) > 1:
        yield "The dry run tried each call by itself, without the rows of the calls before it."


# `manage.py import`: send a file to a running gateway and show what became of each row.

ImportTypeName = Enum("Type", {name: name for name in MESSAGE_TYPES})  # type: ignore[misc]
TypeName = Annotated[
    ImportTypeName, typer.Argument(metavar="TYPE", help=f"{', '.join(MESSAGE_TYPES)}.")
]

RowsFile = Annotated[
    Path,
    file_argument("Rows as JSON array, NDJSON, CSV or XLSX, also with gzip."),
]
Url = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="GATEWAY_URL",
        help="The address of the gateway. Default: the running local one.",
    ),
]
FunctionKeyOption = Annotated[
    str,
    typer.Option(
        "--function-key",
        metavar="FUNCTION_KEY",
        # The second is the former name, for one more release.
        envvar=["GATEWAY_FUNCTIONS_KEY", "GATEWAY_FUNCTION_KEY"],
        help="The function key, which is required; safer in the environment than on the command "
        "line.",
    ),
]
SoftwareKeyOption = Annotated[
    str,
    typer.Option(
        "--software-key",
        metavar="SOFTWARE_KEY",
        envvar="GATEWAY_SOFTWARE_KEY",
        help="What the calls send as X-Software-Key; required.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; store nothing.")]
FailedRows = Annotated[
    Path | None,
    typer.Option(
        "--failed-rows", metavar="FILE", dir_okay=False, writable=True,
        help="Write the rows that failed here, with their messages: .json, .ndjson or .csv.",
    ),
]  # fmt: skip
PartRows = Annotated[
    int | None,
    typer.Option(
        "--part-rows",
        metavar="N",
        min=1,
        help="The most rows in one call. Default: the limit of the gateway.",
    ),
]
CallOptions = Annotated[
    list[str],
    typer.Option(
        "--with",
        metavar="NAME=VALUE",
        help="Another query parameter of the calls, for example importAction=Merge.",
    ),
]
BlankClears = Annotated[
    bool, typer.Option("--blank-clears", help="An empty cell clears the field.")
]
SheetName = Annotated[
    str,
    typer.Option(
        "--sheet",
        metavar="NAME",
        help="The sheet of a spreadsheet. Default: the first visible one.",
    ),
]
Again = Annotated[
    str,
    typer.Option(
        "--again", metavar="WORD", help="Import a file again; each new WORD imports it once more."
    ),
]


ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="The mapping profile of a file in the layout of its sender, which is sent as it is.",
    ),
]


def import_command(
    type_name: TypeName,
    file: RowsFile,
    function_key: FunctionKeyOption = "",
    software_key: SoftwareKeyOption = "",
    url: Url = "",
    dry_run: DryRun = False,
    failed_rows: FailedRows = None,
    part_rows: PartRows = None,
    blank_clears: BlankClears = False,
    sheet: SheetName = "",
    options: CallOptions = [],  # noqa: B006 (typer reads the default, nobody changes it)
    repeat_word: Again = "",
    profile: ProfileName = "",
    as_json: AsJson = False,
) -> None:
    """Send a file over HTTP and show what became of each row. Exit status 1 if a row failed.

    A large file is sent in several calls. If the command was interrupted, run it again: it
    continues where it stopped, and imports no row twice.
    """
    if not (function_key and software_key):
        raise UsageError(NO_SOFTWARE_KEY if function_key else NO_FUNCTION_KEY)
    if failed_rows is not None and not failed_rows.absolute().parent.is_dir():
        raise typer.BadParameter(
            "its folder does not exist; make it first.", param_hint="--failed-rows"
        )
    if failed_rows is not None and format_of_name(failed_rows.name) is FileFormat.XLSX:
        raise typer.BadParameter(
            "failed rows are not written as XLSX; name the file .csv, .json or .ndjson.",
            param_hint="--failed-rows",
        )
    if profile and (blank_clears or part_rows or (dry_run and failed_rows)):
        raise typer.BadParameter(
            "a file with a profile goes as it is, in one call: leave out --blank-clears, "
            "--part-rows, and --failed-rows of a dry run.",
            param_hint="--profile",
        )
    call_options = dict(option.split("=", 1) for option in options if "=" in option)
    if len(call_options) < len(options):
        raise typer.BadParameter("it is NAME=VALUE, each name once.", param_hint="--with")
    job = ImportJob(
        kind=MESSAGE_TYPES[type_name.value],
        file=file,
        call_options=call_options,
        repeat_word=repeat_word,
        part_rows=part_rows or FAR_MORE_THAN_ANY,
        blank_clears=blank_clears,
        sheet=sheet,
        dry_run=dry_run,
        secret=function_key,
        profile=profile,
    )
    keys = KeyPair(software_key, function_key)
    client = ImportClient(url or local_url(), keys, source=source_name(file.name))
    report = import_file(job, client)
    if failed_rows is not None:
        style = SENT_STYLE if report.is_mapped else OWN_STYLE
        write_failed_rows(failed_rows, report.rows, report.failed, style, report.lists)
    show(as_json, report.document, report.lines)
    if not report.is_good:
        raise typer.Exit(1)


def local_url() -> str:
    """The address of the running local gateway. Raises CallFailedError."""
    gateway = local_gateway(os.environ)
    if gateway is None:
        raise CallFailedError("No local gateway is running: start one, or give its --url.")
    return gateway.url


TemplateVersion = Annotated[
    int | None,
    typer.Option("--version", metavar="N", help="The version of the type. Default: the lowest."),
]
AsXlsx = Annotated[
    bool, typer.Option("--xlsx", help="Make a spreadsheet, whose cells have types. Needs --out.")
]
TemplateOut = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", dir_okay=False, help="Write to this file, which does not exist."
    ),
]


def template_command(
    type_name: TypeName,
    xlsx: AsXlsx = False,
    out: TemplateOut = None,
    version: TemplateVersion = None,
    as_json: AsJson = False,
) -> None:
    """Write a file with the columns of a type and a row of its sample, to be filled and imported.

    It is CSV, or with --xlsx a spreadsheet, in which required columns are coloured and cells offer
    the allowed values.
    """
    kind = TYPE_CATALOGUE.find(type_name.value, version)
    if kind is None:
        raise typer.BadParameter("the type has no such version.", param_hint="--version")
    template = make_template(kind, FileFormat.XLSX if xlsx else FileFormat.CSV)
    if out is None:
        if xlsx or as_json:
            raise typer.BadParameter("a spreadsheet and --json need a file.", param_hint="--out")
        sys.stdout.buffer.write(template.content)
        return
    try:
        with out.open("xb") as file:
            file.write(template.content)
    except FileExistsError:
        raise InvalidRequestError(f"{out.name} exists: choose another name.") from None
    except OSError as error:
        raise InvalidRequestError(f"{out.name} cannot be written: {error.strerror}.") from None
    show(as_json, {"file": str(out)}, [f"A template of {kind.name} was written to {out}."])
