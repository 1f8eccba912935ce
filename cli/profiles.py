"""`manage.py profile`: mapping profiles, which make fields of a sender's columns and codes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands import Overview, command, file_argument, on_gateway
from cli.output import AsJson, columns, show
from cli.result_tables import group_table, unmapped_lines
from cli.row_files import read_content, read_text_file
from cli.tenants import TenantOption
from shared.gateway import Gateway
from shared.imports.csv_export import leaves_of
from shared.imports.files.formats import ReadOptions, reader_of
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.notes import Notes
from shared.imports.files.profile import ValueTable
from shared.imports.import_type import Options
from shared.imports.json_rows import read_noted_lines
from shared.imports.planning import Plan
from shared.imports.results import MessageGroups, UnmappedValues
from shared.imports.text_checks import escaped, masked_value
from shared.services.profiles import ProfileEntry, ProfileVersion, entry_view, profile_view
from shared.web.imports import groups_view, unmapped_view

profile_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Mapping profiles of a tenant: how its columns and codes become fields.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the profile.")]
File = Annotated[
    Path,
    file_argument("The profile in JSON, as docs/mapping-profiles.md describes it."),
]
Rows = Annotated[
    Path,
    file_argument("Rows in the layout of their sender: CSV, JSON, NDJSON or a spreadsheet."),
]
Sheet = Annotated[str, typer.Option("--sheet", metavar="NAME", help="The sheet of a spreadsheet.")]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", min=1, help="An earlier version of it.")
]


@command(profile_commands, "set", example="profile set payroll-export profile.json --tenant acme")
def set_profile(name: Name, file: File, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Check a profile and make it the current version of its name.

    A profile with faults is refused as a whole, with all its faults. Imports that have named the
    profile keep the version that was the current one then.
    """
    text = read_text_file(file)

    async def write(gateway: Gateway) -> tuple[ProfileVersion, bool]:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.profiles.set(tenant_record.id, name, text)

    version, is_new = on_gateway(write)
    note = (
        f"Version {version.ref.version} of the profile {version.ref.name} is set."
        if is_new
        else f"The profile {version.ref.name} was this already: nothing changed."
    )
    show(as_json, profile_view(version), [note, *_profile_lines(version)])


@command(profile_commands, "list", example="profile list --tenant acme")
def list_profiles(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the profiles of a tenant."""

    async def read(gateway: Gateway) -> Sequence[ProfileEntry]:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.profiles.list_profiles(tenant_record.id)

    entries = on_gateway(read)
    cells = [
        (
            each.ref.name,
            str(each.ref.version),
            f"{each.type_name}.v{each.type_version}",
            each.set_at,
        )
        for each in entries
    ]
    document = {"profiles": [entry_view(each) for each in entries]}
    show(as_json, document, columns(("PROFILE", "VERSION", "TYPE", "SET"), cells))


@command(profile_commands, "show", example="profile show payroll-export --tenant acme --version 1")
def show_profile(
    name: Name, tenant: TenantOption, version: Version = None, as_json: AsJson = False
) -> None:
    """Show a profile; with --json it is the document that `profile set` takes."""

    async def read(gateway: Gateway) -> ProfileVersion:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.profiles.get(tenant_record.id, name, version or 0)

    profile = on_gateway(read)
    heading = f"{profile.ref.name}, version {profile.ref.version}, set {profile.set_at}"
    show(as_json, profile.profile.to_document(), [heading, *_profile_lines(profile)])


@command(profile_commands, "try", example="profile try payroll-export export.csv --tenant acme")
def try_profile(
    name: Name,
    rows: Rows,
    tenant: TenantOption,
    version: Version = None,
    sheet: Sheet = "",
    as_json: AsJson = False,
) -> None:
    """Show what a profile makes of a file, and what would become of its rows. Nothing is imported.

    The rows are judged as in a dry run, with the default options of an integration.
    """

    async def try_rows(gateway: Gateway) -> Trial:
        tenant_record = await gateway.tenants.find(tenant)
        profile = await gateway.profiles.get(tenant_record.id, name, version or 0)
        return await try_file(gateway, tenant_record.id, profile, rows, sheet)

    trial = on_gateway(try_rows)
    show(as_json, trial.to_document(), trial.lines())


@command(profile_commands, "delete", example="profile delete payroll-export --tenant acme")
def delete_profile(name: Name, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Delete a profile: calls cannot name it any more.

    Its versions stay for the imports that used them. Set it again to use the name again.
    """

    async def delete(gateway: Gateway) -> dict[str, Any]:
        tenant_record = await gateway.tenants.find(tenant)
        ref = await gateway.profiles.delete(tenant_record.id, name)
        return {"name": ref.name, "version": ref.version, "deleted": True}

    document = on_gateway(delete)
    show(as_json, document, [f"The profile {document['name']} is deleted."])


@dataclass(frozen=True, slots=True)
class Trial:
    """What a profile makes of a file: its first row, and what would become of all."""

    version: ProfileVersion
    first_row: Sequence[tuple[str, str, str, str]]
    outcomes: Mapping[str, int]
    skipped: int
    groups: MessageGroups
    unmapped: UnmappedValues

    def to_document(self) -> dict[str, Any]:
        """The trial in JSON."""
        names = ("column", "cell", "fieldName", "value")
        return {
            "name": self.version.ref.name,
            "version": self.version.ref.version,
            "firstRow": [dict(zip(names, cells, strict=True)) for cells in self.first_row],
            "rows": {**self.outcomes, "skipped": self.skipped},
            "messageGroups": groups_view(self.groups)["items"],
            "unmapped": unmapped_view(self.unmapped)["items"],
        }

    def lines(self) -> list[str]:
        """The trial as tables."""
        counts = ", ".join(f"{count} {name}" for name, count in self.outcomes.items())
        table = group_table(groups_view(self.groups)["items"])
        unmapped = unmapped_lines(self.unmapped) if self.unmapped.sorted() else []
        return [
            "The first row:",
            *columns(("COLUMN", "CELL", "FIELD", "VALUE"), self.first_row),
            "",
            f"The rows would be: {counts or 'none'}.",
            *([f"Rows that the profile skips: {self.skipped}."] if self.skipped else []),
            *([""] if table else []),
            *table,
            *([""] if unmapped else []),
            *unmapped,
        ]


async def try_file(
    gateway: Gateway, tenant: str, version: ProfileVersion, file: Path, sheet: str
) -> Trial:
    """Judge the rows that a profile makes of a file. Raises refusals."""
    kind, mapping = version.profile.kind, version.mapping
    file_format, content = read_content(file)
    reader = reader_of(file_format, kind.rules, ReadOptions(sheet, mapping, is_file=True))
    plan = await gateway.intake.read(kind, tenant, content, reader)
    draft = replace(gateway.intake.draft(kind, tenant, plan, Options()), profile=version.ref)
    dry_run = await gateway.dry_runs.judge(kind, draft, plan, with_changes=False)
    results = dry_run.with_columns(mapping, plan).results
    groups, unmapped = MessageGroups(), UnmappedValues()
    groups.add(results)
    unmapped.add(results)
    outcomes = Counter(result.outcome.value for result in results)
    return Trial(
        version=version,
        first_row=_first_row(mapping, plan),
        outcomes=outcomes,
        skipped=plan.payload.skipped,
        groups=groups,
        unmapped=unmapped,
    )


def _first_row(mapping: ProfileMapping, plan: Plan) -> list[tuple[str, str, str, str]]:
    """Each column of the first row: its cell, its field and the field's value."""
    lines = (line for chunk in plan.lines() for line in read_noted_lines(chunk))
    first = next((line for line in lines if line.index == 0), None)
    if first is None:
        return []
    values = {path.lower(): value for path, value in leaves_of(first.row)}
    cells: list[tuple[str, str, str, str]] = []
    for column, cell in leaves_of(json.loads(Notes.from_text(first.notes).sent)):
        target = mapping.target(column)
        if target is None:
            cells.append((column, _cell_text(cell, is_shown=False), "(not in the profile)", ""))
            continue
        is_shown = mapping.shows(column)
        path = target.field.path
        value = _cell_text(values.get(path.lower(), ""), is_shown=is_shown)
        cells.append((column, _cell_text(cell, is_shown=is_shown), path, value))
    return cells


def _cell_text(value: Any, *, is_shown: bool) -> str:
    if value in ("", None):
        return "" if value == "" else "null"
    text = escaped(value if isinstance(value, str) else json.dumps(value, default=str))
    return text if is_shown else masked_value(text)


def _profile_lines(version: ProfileVersion) -> list[str]:
    """The mapping as a table, and the other rules of the profile."""
    profile = version.profile
    cells = [
        (name, each.path, _value_rule(profile.values, each.path))
        for name, each in profile.columns.items()
    ]
    cells += [("(constant)", path, str(value)) for path, value in profile.constants.items()]
    lines = [f"type {profile.kind.name}, version {profile.kind.version}"]
    if profile.dates:
        lines.append(f"dates {profile.dates.text}")
    if profile.decimal:
        lines.append(f"decimal {profile.decimal}")
    for name, texts in profile.skip.items():
        shown = "any value" if texts is None else ", ".join(sorted(texts))
        lines.append(f"skips rows with {shown} in {name}")
    return [*lines, "", *columns(("COLUMN", "FIELD", "VALUES"), cells)]


def _value_rule(tables: Mapping[str, ValueTable], path: str) -> str:
    table = tables.get(path)
    if table is None:
        return ""
    return f"{len(table.entries)} entries, otherwise {table.otherwise_part}"
