"""Commands for emergencies and upkeep: `purge`, `records`, `poison` and keys of the gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands import Overview, command, on_gateway
from cli.output import AsJson, columns, show
from cli.terminal import confirm, say
from shared.app import BROKEN_FINDERS, data_key_rotation_of, record_repair_of, retention_of
from shared.clock import to_iso
from shared.errors import ConflictError, InvalidRequestError
from shared.gateway import Gateway
from shared.imports.file_names import plain_name
from shared.services.admin.audit import Action
from shared.services.drops import RequeueResult
from shared.services.record_repair import BrokenEntry, RecordRepair, Repair, repair_areas
from shared.services.retention import Purged
from shared.storage.sealing import GATEWAY

if TYPE_CHECKING:
    from shared.auth.local_tokens import SigningKey
    from shared.services.data_key_rotation import DataKeyState

AREAS = repair_areas(BROKEN_FINDERS)

# `manage.py purge`: retention by hand.

PurgeTenant = Annotated[
    str,
    typer.Option(
        "--tenant", metavar="TENANT", help="The tenant's id, or its exact name. Default: all."
    ),
]
Days = Annotated[
    int | None,
    typer.Option(
        "--days", metavar="N", min=0, max=3_650,
        help="Delete what ended more than N days ago, whatever the settings say.",
    ),
]  # fmt: skip
ConfirmPurge = Annotated[bool, typer.Option("--yes", help="Delete without asking first.")]


def purge(
    tenant: PurgeTenant = "", days: Days = None, yes: ConfirmPurge = False, as_json: AsJson = False
) -> None:
    """Delete expired data: payloads, results, tombstones and the like.

    The command asks first, unless --yes is given. Only imports that have ended are touched, and the
    newest import of a tenant stays in the list. If a step fails, the others still run, and the exit
    status is 1.
    """
    keep = None if days is None else timedelta(days=days)

    async def run(gateway: Gateway) -> Purged:
        named_tenants = [(await gateway.tenants.find(tenant)).id] if tenant else []
        tenants = named_tenants or await gateway.tenants.list_ids()
        if not yes:
            # Ask on standard error, so that what --json prints stays one object. Raises
            # ConflictError.
            subject = (
                f"tenant {named_tenants[0]}" if named_tenants else f"all {len(tenants)} tenants"
            )
            age = (
                "is older than the settings keep it"
                if days is None
                else f"ended over {days} days ago"
            )
            question = f"Delete for good everything of {subject} that {age}? [y/N]: "
            if not confirm(question):
                raise ConflictError(
                    "Nothing was deleted: answer y, or add --yes to delete without asking."
                )
        target = {"days": days}
        async with AsyncExitStack() as acts:
            for each in tenants:
                await acts.enter_async_context(gateway.audit.act(each, Action.PURGE, target))
            return await retention_of(gateway).purge(tenants, keep)

    purged = on_gateway(run)
    lines = [f"{count:>8}  {name}" for name, count in purged.expired.items()]
    failed = [{"tenant": name, "step": _as_member(step)} for name, step in purged.failed]
    if failed:
        lines.append("Failed, see the log:")
        lines += [f"          {step} of {name}" for name, step in purged.failed]
    show(
        as_json,
        {
            "expired": {_as_member(name): count for name, count in purged.expired.items()},
            "failed": failed,
        },
        ["Deleted:", *lines],
    )
    if failed:
        raise typer.Exit(1)


def _as_member(name: str) -> str:
    """The name of a step in JSON: `stray payloads` is `strayPayloads`."""
    first, *rest = name.split()
    return "".join((first, *(word.capitalize() for word in rest)))


# `manage.py records`: find broken records, repair or remove them.

record_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Stored records: list, show and export them; find and repair what is broken.",
)

RecordsTenant = Annotated[
    str,
    typer.Option("--tenant", metavar="TENANT", help="A tenant's id or exact name. Default: all."),
]
AreaNames = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE",
        help=f"One of {', '.join(AREAS)}; may be given several times. Default: all of them.",
    ),
]  # fmt: skip
ConfirmRepair = Annotated[
    bool, typer.Option("--yes", help="Repair them. Without it, only show what would be done.")
]
_REPAIR_DONE = {Repair.MEND: "mended", Repair.REMOVE: "removed", Repair.CLOSE: "closed"}
# A tenant, a broken record, and the result of its repair.
BrokenRecord = tuple[str, BrokenEntry, str]


@command(record_commands, "check", example="records check --tenant acme")
def check_records(
    tenant: RecordsTenant = "", types: AreaNames = None, as_json: AsJson = False
) -> None:
    """Look for records that cannot be read; change nothing. Exit status 1 if there are any."""
    broken = on_gateway(lambda gateway: _check_or_repair(gateway, tenant, types, repairs=False))
    _show_broken(broken, as_json, "REPAIR")
    if broken:
        raise typer.Exit(1)


@command(record_commands, "repair", example="records repair --tenant acme --yes")
def repair_records(
    tenant: RecordsTenant = "",
    types: AreaNames = None,
    yes: ConfirmRepair = False,
    as_json: AsJson = False,
) -> None:
    """Repair broken records whose content can be read, and remove the others; needs --yes.

    A removed record comes back with its next import. Exit status 1 if something stays broken.
    """
    broken = on_gateway(lambda gateway: _check_or_repair(gateway, tenant, types, repairs=yes))
    _show_broken(broken, as_json, "DONE" if yes else "WOULD BE DONE")
    if not yes and broken and not as_json:
        say(["Nothing was changed: add --yes to carry this out."])
    if any(outcome not in _REPAIR_DONE.values() for _, _, outcome in broken):
        raise typer.Exit(1)


async def _check_or_repair(
    gateway: Gateway, tenant: str, types: list[str] | None, *, repairs: bool
) -> list[BrokenRecord]:
    unknown = [name for name in types or () if name not in AREAS]
    if unknown:
        raise InvalidRequestError(f"--type must be one of {', '.join(AREAS)}.")
    named_tenants = [(await gateway.tenants.find(tenant)).id] if tenant else []
    broken_records: list[BrokenRecord] = []
    records = record_repair_of(gateway)
    for tenant_id in named_tenants or await gateway.tenants.list_ids():
        broken = [record async for record in records.find(tenant_id, types or AREAS)]
        if not repairs:
            broken_records += [(tenant_id, record, record.repair.value) for record in broken]
        elif broken:
            broken_records += await _repair(gateway, records, tenant_id, broken)
    return broken_records


async def _repair(
    gateway: Gateway, records: RecordRepair, tenant: str, broken: Sequence[BrokenEntry]
) -> list[BrokenRecord]:
    """Repair the broken records of a tenant, as one act of the audit log."""
    broken_records: list[BrokenRecord] = []
    target = {"broken": dict(Counter(record.area for record in broken))}
    async with gateway.audit.act(tenant, Action.RECORDS_REPAIR, target) as act:
        for record in broken:
            is_repaired = await records.repair(record)
            outcome = _REPAIR_DONE[record.repair] if is_repaired else record.repair.value
            broken_records.append((tenant, record, outcome))
        act.after = dict(Counter(outcome for _, _, outcome in broken_records))
    return broken_records


def _show_broken(broken_records: list[BrokenRecord], as_json: bool, head: str) -> None:
    rows = [
        (tenant, record.area, record.key, record.fault, outcome)
        for tenant, record, outcome in broken_records
    ]
    names = ("tenant", "type", "key", "fault", "repair")
    document = {"broken": [dict(zip(names, row, strict=True)) for row in rows]}
    show(as_json, document, columns(("TENANT", "TYPE", "KEY", "FAULT", head), rows))


# `manage.py poison`: dropped files whose last attempt by the blob trigger has failed.

poison_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Dropped files that failed too often: list them, and import them once more.",
)


@command(poison_commands, "list", example="poison list")
def list_failed_drops(as_json: AsJson = False) -> None:
    """List the failed drops, up to 32 of them, the oldest first."""
    failed_drops = on_gateway(lambda gateway: gateway.poisoned_drops.failed())
    rows = [
        (blob.container, plain_name(blob.name), to_iso(blob.failed_at)) for blob in failed_drops
    ]
    names = ("container", "name", "failedAt")
    failed = [(blob.container, blob.name, to_iso(blob.failed_at)) for blob in failed_drops]
    document = {"failed": [dict(zip(names, each, strict=True)) for each in failed]}
    show(as_json, document, columns(("CONTAINER", "DROP", "FAILED"), rows))


@command(poison_commands, "requeue", example="poison requeue")
def requeue_failed_drops(as_json: AsJson = False) -> None:
    """Import every failed drop once more. Exit status 1 if one fails again."""

    async def requeue(gateway: Gateway) -> Sequence[RequeueResult]:
        async with gateway.audit.act("", Action.POISON_REQUEUE, {}) as act:
            drops = await gateway.poisoned_drops.requeue()
            settled = sum(each.is_settled for each in drops)
            act.after = {"settled": settled, "failedAgain": len(drops) - settled}
            return drops

    drops = on_gateway(requeue)
    rows = [
        (each.container, plain_name(each.name), "settled" if each.is_settled else "failed again")
        for each in drops
    ]
    names = ("container", "name", "settled")
    outcomes = [(each.container, each.name, each.is_settled) for each in drops]
    document = {"drops": [dict(zip(names, each, strict=True)) for each in outcomes]}
    show(as_json, document, columns(("CONTAINER", "DROP", "OUTCOME"), rows))
    if not all(each.is_settled for each in drops):
        raise typer.Exit(1)


# `manage.py signing-key`: the keys that sign the gateway's own tokens.

signing_key_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Signing keys: replace the key that signs the gateway's own tokens.",
)

AtOnce = Annotated[
    bool,
    typer.Option(
        "--at-once", help="Remove the older keys now, so that every token issued so far is refused."
    ),
]


@command(signing_key_commands, "rotate", example="signing-key rotate")
def rotate_signing_key(at_once: AtOnce = False, as_json: AsJson = False) -> None:
    """Make a new key, which signs within a minute.

    Tokens that older keys have signed stay valid until they expire, unless --at-once is given.
    """

    async def rotate(gateway: Gateway) -> tuple[SigningKey, ...]:
        target = {"atOnce": at_once}
        async with gateway.audit.act("", Action.SIGNING_KEY_ROTATE, target) as act:
            keys = (await gateway.identity.key_store.rotate(at_once=at_once)).keys
            act.after = {"kid": keys[0].kid}
        return keys

    keys = on_gateway(rotate)
    lines = [f"Key {keys[0].kid} signs from {_iso_time(keys[0].signs_from)} on."]
    if at_once:
        lines.append("Tokens of older keys are refused from now on: clients must get new ones.")
    show(as_json, {"keys": [_key_document(key) for key in keys]}, lines)


@command(signing_key_commands, "list", example="signing-key list")
def list_signing_keys(as_json: AsJson = False) -> None:
    """List the keys whose tokens are accepted, newest first."""

    async def read(gateway: Gateway) -> tuple[SigningKey, ...]:
        return await gateway.identity.key_store.published()

    keys = on_gateway(read)
    rows = [(key.kid, _iso_time(key.signs_from), _iso_time(key.ends_at)) for key in keys]
    document = {"keys": [_key_document(key) for key in keys]}
    show(as_json, document, columns(("KEY", "SIGNS FROM", "COUNTS UNTIL"), rows))


# `manage.py data-key`: the keys that seal sensitive data at rest.

data_key_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Data keys: replace the keys that seal sensitive data at rest.",
)

KeyTenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        metavar="TENANT",
        help="A tenant's id or exact name, or - for the gateway itself. Default: all.",
    ),
]
IsLost = Annotated[
    bool,
    typer.Option(
        "--lost",
        help="Rotate even if no key of GATEWAY_DATA_KEYS opens the current data key: what is "
        "sealed under it stays unreadable.",
    ),
]
Counts = Annotated[
    bool, typer.Option("--count", help="Count the records that each data key still seals.")
]


@command(data_key_commands, "rotate", example="data-key rotate --tenant acme")
def rotate_data_key(tenant: KeyTenant = "", lost: IsLost = False, as_json: AsJson = False) -> None:
    """Make a new data key, which seals everything from now on.

    What older keys have sealed stays readable. The gateway seals records under the new key when
    they are next written, and the others within some hours; `data-key reseal` does it at once.
    """

    async def rotate(gateway: Gateway) -> list[tuple[str, int]]:
        rotation = data_key_rotation_of(gateway)
        owners = await _key_owners(gateway, tenant)
        return [(owner, await rotation.rotate(owner, is_lost=lost)) for owner in owners]

    rotated = on_gateway(rotate)
    document = {"keys": [{"tenant": owner, "key": number} for owner, number in rotated]}
    show(as_json, document, columns(("TENANT", "KEY"), [(o, str(n)) for o, n in rotated]))


@command(data_key_commands, "reseal", example="data-key reseal --tenant acme")
def reseal(tenant: KeyTenant = "", as_json: AsJson = False) -> None:
    """Seal all records under the current data keys, and data keys under the first key of the
    setting. The gateway does the same in the background.
    """

    async def run(gateway: Gateway) -> list[tuple[str, int]]:
        rotation = data_key_rotation_of(gateway)
        owners = await _key_owners(gateway, tenant)
        return [(owner, await rotation.reseal(owner)) for owner in owners]

    done = on_gateway(run)
    document = {"resealed": [{"tenant": owner, "records": count} for owner, count in done]}
    show(as_json, document, columns(("TENANT", "RECORDS"), [(o, str(n)) for o, n in done]))


@command(data_key_commands, "list", example="data-key list --tenant acme --count")
def list_data_keys(tenant: KeyTenant = "", count: Counts = False, as_json: AsJson = False) -> None:
    """List data keys, and under which key of GATEWAY_DATA_KEYS each of them is sealed."""

    async def read(gateway: Gateway) -> list[DataKeyState]:
        rotation = data_key_rotation_of(gateway)
        owners = await _key_owners(gateway, tenant)
        return [state for owner in owners for state in await rotation.states(owner, counts=count)]

    states = on_gateway(read)
    rows = [
        (
            each.key.tenant,
            str(each.key.number),
            each.key.under,
            each.key.created_at,
            "current" if each.is_current else "older",
            "" if each.is_opened else "no key opens it",
            "" if each.records is None else str(each.records),
        )
        for each in states
    ]
    document = {"keys": [_data_key_document(each) for each in states]}
    heads = ("TENANT", "KEY", "UNDER", "CREATED", "STATE", "PROBLEM", "RECORDS")
    show(as_json, document, columns(heads, rows))
    if not all(each.is_opened for each in states):
        raise typer.Exit(1)


def _data_key_document(state: DataKeyState) -> dict[str, Any]:
    document = {
        "tenant": state.key.tenant,
        "key": state.key.number,
        "under": state.key.under,
        "createdAt": state.key.created_at,
        "current": state.is_current,
        "opened": state.is_opened,
    }
    return document if state.records is None else {**document, "records": state.records}


async def _key_owners(gateway: Gateway, tenant: str) -> list[str]:
    if tenant == GATEWAY:
        return [GATEWAY]
    if tenant:
        return [(await gateway.tenants.find(tenant)).id]
    return await data_key_rotation_of(gateway).owners()


def _key_document(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "signsFrom": _iso_time(key.signs_from),
        "endsAt": _iso_time(key.ends_at) or None,
    }


def _iso_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""
