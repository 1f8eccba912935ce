"""`manage.py records list|show|export`: what is stored, as `/api/records/{type}` gives it out."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from cli.commands import command, on_gateway
from cli.maintenance import record_commands
from cli.output import AsJson, columns, row_progress, show
from cli.tenants import TenantOption
from cli.terminal import print_errors
from shared.clock import parse_guid
from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from shared.gateway import Gateway
from shared.imports import csv_export
from shared.imports.files.columns import known_paths
from shared.imports.modules import IMPORT_MODULES
from shared.services.admin.audit import Action
from shared.services.changes import ChangePage
from shared.services.records.reading import WRONG_CONTINUATION, RecordPage, RecordRequest
from shared.services.records.sources import RecordSource
from shared.web.changes import change_view, names_asked, place_from_text
from shared.web.records import DELETED, IMPORT_ID, csv_lines, export_target, read_filters
from shared.web.requests import from_opaque, to_opaque

_NAMES: Final = [each.records.name for each in IMPORT_MODULES.values() if each.records is not None]
# All of `records`: `check` and `repair` too.
commands: Final = record_commands
_PAGE: Final = 1_000
_INTERRUPTED: Final = 130


class Shown(StrEnum):
    """What is shown of sensitive values."""

    MASKED = "masked"
    FULL = "full"


RecordType = Annotated[str, typer.Argument(metavar="TYPE", help=f"{', '.join(_NAMES)}.")]
KeyValues = Annotated[
    list[str],
    typer.Argument(
        metavar="KEY",
        help="The key: EmployerRef and PersonnelRef, EmployerRef and AssignmentRef, companyCode "
        "and licenseKey, or employeeId.",
    ),
]
Filters = Annotated[
    list[str],
    typer.Option(
        "--filter",
        metavar="NAME=VALUE",
        help="Only records with this value, for example EmployerRef=E1, importId=… or "
        "deleted=true. May be given several times.",
    ),
]
Read = Annotated[
    Shown,
    typer.Option(
        "--read",
        metavar="PERMISSION",
        case_sensitive=False,
        help="masked hides sensitive values, full shows them.",
    ),
]
Most = Annotated[
    int, typer.Option("--most", metavar="N", min=1, max=1000, help="How many records to list.")
]
Continuation = Annotated[
    str,
    typer.Option(
        "--continuation",
        metavar="TEXT",
        help="Go on where another call of the command stopped, which printed this text.",
    ),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Write CSV, a column for each field.")]
AsNdjson = Annotated[
    bool, typer.Option("--ndjson", help="Write JSON, one record in a line; this is the default.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", dir_okay=False,
        help="Write to this file in place of standard output.",
    ),
]  # fmt: skip


@command(
    record_commands, "list", example="records list workers --tenant acme --filter EmployerRef=E1"
)
def list_records(
    type_name: RecordType,
    tenant: TenantOption,
    filters: Filters = [],  # noqa: B006 (typer reads the default, nobody changes it)
    read: Read = Shown.MASKED,
    most: Most = 20,
    continuation: Continuation = "",
    as_json: AsJson = False,
) -> None:
    """List stored records: their keys, and which import changed them last."""
    selection = _Selection(type_name, tenant, filters, read, continuation)

    async def run(gateway: Gateway) -> tuple[RecordPage, Sequence[str]]:
        source, request = await selection.prepare(gateway)
        return await gateway.records.page(type_name, request, most), source.key_fields

    page, key_fields = on_gateway(run)
    items = [json.loads(text) for text in page.texts]
    following = to_opaque(page.continuation) if page.continuation else None
    head = [*key_fields, "CHANGED", "BY IMPORT"]
    cells = [
        [
            *(_cell((item["record"] or item["key"]).get(name)) for name in key_fields),
            _cell(item["changedAt"]),
            _cell(item["changedBy"]),
        ]
        for item in items
    ]
    lines = columns(head, cells)
    if following:
        lines.append(f"There are more: add --continuation {following}")
    show(as_json, {"items": items, "continuation": following}, lines)


@command(record_commands, "changes", example="records changes --tenant acme --after 40")
def list_changes(
    tenant: TenantOption,
    after: Annotated[
        str, typer.Option("--after", metavar="NUMBER", help="Where the last call stopped.")
    ] = "0",
    type_name: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="Only records of this type.")
    ] = "",
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=1, max=1000, help="About how many to list.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """List what imports created, changed and removed, in the order of acceptance."""

    async def run(gateway: Gateway) -> ChangePage:
        stored_tenant = await gateway.tenants.find(tenant)
        query = {"type": type_name} if type_name else {}
        names = names_asked(query, gateway.changes.names)
        place = place_from_text(after)
        return await gateway.changes.page(stored_tenant.id, place, most, names.__contains__)

    page = on_gateway(run)
    views = [change_view(each) for each in page.changes]
    cells = [
        [
            *map(_cell, (each.number, each.type_name, " ".join(each.key.values()))),
            each.change,
            each.at,
        ]
        for each in page.changes
    ]
    lines = columns(["NUMBER", "TYPE", "KEY", "CHANGE", "AT"], cells)
    if str(page.following) == str(place_from_text(after)):
        lines.append("There is nothing new yet.")
    else:
        lines.append(f"Go on with --after {page.following}")
    show(as_json, {"items": views, "next": json.loads(str(page.following))}, lines)


@command(record_commands, "show", example="records show workers E1 007 --tenant acme")
def show_record(
    type_name: RecordType,
    key: KeyValues,
    tenant: TenantOption,
    read: Read = Shown.MASKED,
    as_json: AsJson = False,
) -> None:
    """Show one stored record: every field, who wrote it, and what the last import changed."""

    async def run(gateway: Gateway) -> dict[str, Any]:
        names = gateway.records.source(type_name).key_fields
        if len(key) != len(names):
            raise InvalidRequestError(
                f"The key of {type_name} has {len(names)} parts: {' '.join(names)}."
            )
        filters = [f"{name}={text}" for name, text in zip(names, key, strict=True)]
        _, request = await _Selection(type_name, tenant, filters, read).prepare(gateway)
        page = await gateway.records.page(type_name, request, 1)
        if not page.texts:
            raise NotFoundError("There is no record of this key; `records list` shows them.")
        record: dict[str, Any] = json.loads(page.texts[0])
        return record

    item = on_gateway(run)
    show(as_json, item, _lines_of(item))


@command(
    record_commands,
    "export",
    example="records export workers --tenant acme --csv --out workers.csv --read full",
)
def export_records(
    type_name: RecordType,
    tenant: TenantOption,
    filters: Filters = [],  # noqa: B006 (typer reads the default, nobody changes it)
    read: Read = Shown.MASKED,
    as_csv: AsCsv = False,
    as_ndjson: AsNdjson = False,
    out: Out = None,
    continuation: Continuation = "",
    as_json: AsJson = False,
) -> None:
    """Export stored records as NDJSON or CSV; with --read full, `import` takes the file back.

    If the command is interrupted, it prints how to go on behind the records that are written.
    """
    if as_csv and as_ndjson:
        raise typer.BadParameter("choose --csv or --ndjson.")
    if as_json and out is None:
        raise typer.BadParameter("--json needs --out, since the records go to standard output.")
    if out is not None and not continuation and out.exists():
        raise ConflictError(
            f"{out.name} exists: choose another name, or go on with it by --continuation."
        )
    selection = _Selection(type_name, tenant, filters, read, continuation)
    export = _Export(selection, as_csv=as_csv, continuation=continuation)
    with _opened(out) as file, _explained(export):
        export.columns = _columns_of(out) if as_csv and continuation and out is not None else {}
        with row_progress(f"{type_name} of {tenant}", None) as on_progress:
            on_gateway(lambda gateway: export.run(gateway, file, on_progress))
    if out is not None:
        name = "record" if export.count == 1 else "records"
        lines = [f"{export.count} {name} written to {out}."]
        show(as_json, {"records": export.count, "file": str(out)}, lines)
    if export.masked:
        print_errors(
            [f"{export.masked} of them have masked values and cannot be imported: use --read full."]
        )


@dataclass(frozen=True, slots=True)
class _Selection:
    """The records that a command is asked for."""

    type_name: str
    tenant: str
    filters: Sequence[str]
    read: Shown
    continuation: str = ""

    async def prepare(self, gateway: Gateway) -> tuple[RecordSource, RecordRequest]:
        """The source and the request. Raises InvalidRequestError, NotFoundError."""
        source = gateway.records.source(self.type_name)
        values = self._values(source)
        import_id = values.get(IMPORT_ID.lower(), "")
        guid = parse_guid(import_id.lower()) if import_id else ""
        if guid is None:
            raise InvalidRequestError(f"{IMPORT_ID} must be the id of an import: send a guid.")
        deleted = values.get(DELETED, "false").lower()
        if deleted not in ("true", "false"):
            raise InvalidRequestError(f"{DELETED} must be true or false.")
        tenant = (await gateway.tenants.find(self.tenant)).id
        if self.read is Shown.FULL and source.shape.sensitive_names:
            # One entry for each run of the command, before it reads.
            target = export_target(self.type_name, values, None)
            await gateway.audit.note(tenant, Action.RECORDS_EXPORT, target)
        return source, RecordRequest(
            tenant=tenant,
            filters=read_filters(source, values),
            is_deleted=deleted == "true",
            import_id=guid,
            continuation=_continuation(self.continuation),
            masks=self.read is not Shown.FULL,
        )

    def _values(self, source: RecordSource) -> dict[str, str]:
        """The filters by their name in lower case. Raises InvalidRequestError."""
        names = (*source.filters, IMPORT_ID, DELETED)
        values: dict[str, str] = {}
        for text in self.filters:
            name, is_given, value = text.partition("=")
            folded = name.strip().lower()
            if not is_given or folded not in {known.lower() for known in names}:
                raise InvalidRequestError(
                    f"--filter is NAME=VALUE, and {self.type_name} are found by {', '.join(names)}."
                )
            if folded in values:
                raise InvalidRequestError(f"--filter {name} is given twice: leave one out.")
            values[folded] = value
        return values


@dataclass
class _Export:
    """An export that runs, and how far it has come."""

    selection: _Selection
    as_csv: bool
    continuation: str
    columns: csv_export.Columns = field(default_factory=dict)
    count: int = 0
    masked: int = 0

    async def run(
        self, gateway: Gateway, file: BinaryIO, on_progress: Callable[[int], None]
    ) -> None:
        """Write page after page; what is written is counted, and where the next page begins."""
        source, request = await self.selection.prepare(gateway)
        request = replace(request, as_rows=self.as_csv)
        while True:
            page = await gateway.records.page(self.selection.type_name, request, _PAGE)
            data = await asyncio.to_thread(self._rendered, source, page.texts)
            file.write(data)
            file.flush()
            self.count += len(page.texts)
            on_progress(self.count)
            self.continuation = to_opaque(page.continuation) if page.continuation else ""
            if not page.continuation:
                return
            request = replace(request, continuation=page.continuation)

    def _rendered(self, source: RecordSource, texts: Sequence[str]) -> bytes:
        if not self.as_csv:
            self.masked += sum('"masked":[' in text for text in texts)
            return "".join(f"{text}\n" for text in texts).encode()
        header = []
        if not self.columns:
            self.columns = _first_columns(source, texts)
            header = ["\ufeff", csv_export.record_header(self.columns)]
        lines = csv_lines(texts, self.columns)
        if self.selection.read is Shown.MASKED:
            self.masked += sum('"***' in line for line in lines)
        return "".join([*header, *lines]).encode()


def _first_columns(source: RecordSource, texts: Sequence[str]) -> csv_export.Columns:
    """Every field of the type, and what the first page has besides: elements of lists."""
    paths = known_paths(source.kind.rules.json_schema())
    hidden = source.shape.never_shown
    visible = [path for path in paths if path.rpartition(".")[2] not in hidden]
    fields = {path.lower(): path for path in (*source.key_fields, *visible)}
    for text in texts:
        csv_export.note_columns(fields, text)
    return csv_export.bounded_columns(fields, 1)


def _columns_of(file: Path) -> csv_export.Columns:
    """The columns of a file that is gone on with."""
    if not file.exists() or not file.stat().st_size:
        return {}
    with file.open(encoding="utf-8-sig", newline="") as lines:
        names = next(csv.reader(lines), [])
    return {name.lower(): name for name in map(csv_export.restored, names[:-1])}


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
    """The file, or standard output; records are personal, so only the user may read the file."""
    if out is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as file:
        yield file


@contextmanager
def _explained(export: _Export) -> Iterator[None]:
    """Where the export stops before its end, say how to go on."""
    try:
        yield
    except BaseException as error:
        if export.continuation:
            print_errors(
                [
                    f"Stopped: {export.count} records are written. Run the command again with "
                    f"--continuation {export.continuation} to go on behind them."
                ]
            )
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(_INTERRUPTED) from None
        raise


def _continuation(text: str) -> str:
    if not text:
        return ""
    try:
        return from_opaque(text)
    except InvalidRequestError:
        raise InvalidRequestError(WRONG_CONTINUATION) from None


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _lines_of(item: Mapping[str, Any]) -> Iterator[str]:
    """A record for people: a line for each field, then who wrote it and what was before."""
    if item["record"] is None:
        state = "deleted" if item.get("deleted") else "stored, but cannot be read"
        yield f"The record is {state}."
    fields = [*_fields(item["record"] or item["key"], "")]
    notes = [
        (name, _cell(item.get(name)))
        for name in ("createdAt", "createdBy", "changedAt", "changedBy")
    ]
    if "authValues" in item:
        notes.append(("authValues", ", ".join(item["authValues"]) or "none"))
    width = max(len(name) for name, _ in (*fields, *notes))
    yield from (f"{name:<{width}}  {text}" for name, text in fields)
    yield ""
    yield from (f"{name:<{width}}  {text}" for name, text in notes)
    previous = item.get("previous")
    if previous:
        yield ""
        yield "Before the last import:"
        for name, value in previous.items():
            inner = [*_fields(value, name)] if isinstance(value, (dict, list)) else []
            pairs = inner or [(name, "(not there)" if value is None else _text(value))]
            yield from (f"{path:<{width}}  {text}" for path, text in pairs)


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _fields(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _fields(item, f"{path}[{place}]")
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
