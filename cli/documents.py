"""Documents of workers: `document upload`, and what it needs, `round` and `feature`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.calls import ClientCredentials, fetch_token, send_document
from cli.commands import Overview, command, file_argument, on_gateway
from cli.import_command import Url, local_url
from cli.output import AsJson, byte_progress, columns, show
from cli.tenants import TenantOption
from shared.gateway import Gateway
from shared.imports.documents.rounds import Feature, Round, RoundStatus

# `manage.py document upload`: send one file over HTTP, with a token that msal gets.

document_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Documents: upload a file for a worker."
)

SCOPE = "import_inbox"

DocumentFile = Annotated[
    Path,
    file_argument("The file to upload."),
]
WorkerOption = Annotated[
    str,
    typer.Option(
        "--worker", metavar="WORKER", help="The worker's ExternalWorkerRef, or else PersonnelRef."
    ),
]
RoundOption = Annotated[
    str, typer.Option("--round", metavar="CODE", help="The code of a communication round.")
]
ClientIdOption = Annotated[
    str,
    typer.Option(
        "--client-id",
        metavar="CLIENT_ID",
        envvar="GATEWAY_CLIENT_ID",
        help="A client with scope import_inbox: see `client add`.",
    ),
]
ClientSecretOption = Annotated[
    str,
    typer.Option(
        "--client-secret",
        metavar="SECRET",
        envvar="GATEWAY_CLIENT_SECRET",
        help="The client's secret; safer in the environment than on the command line.",
    ),
]
GenerationTimeOption = Annotated[
    str | None,
    typer.Option(
        "--generation-time",
        metavar="TIME",
        help="When the document was made. Default: when the file was last changed.",
    ),
]


@document_commands.callback()
def every_document() -> None:
    """The gateway is called over https: start it with `dev.py run --tls`."""


@command(
    document_commands,
    "upload",
    example="document upload payslip.pdf --worker hr-7f3a-0418 --round 2026-01",
)
def upload_document(
    file: DocumentFile,
    worker: WorkerOption,
    round_code: RoundOption,
    client_id: ClientIdOption,
    client_secret: ClientSecretOption,
    generation_time: GenerationTimeOption = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Upload a file; the same worker, round and name again replace it."""
    address = url or local_url()
    token = fetch_token(address, ClientCredentials(client_id, client_secret), SCOPE)
    changed_at, now = datetime.fromtimestamp(file.stat().st_mtime, UTC), datetime.now(UTC)
    fields = {
        "workerexternalId": worker,
        "communicationRoundCode": round_code,
        "isSummary": "false",
        "generationTime": generation_time or min(changed_at, now).isoformat(timespec="seconds"),
    }
    credentials = {"Authorization": f"Bearer {token}"}
    with byte_progress(file.name, file.stat().st_size) as on_progress:
        item = send_document(address, credentials, file, fields, on_progress)
    outcome = "replaced another one" if item["overridden"] else "is new"
    show(as_json, item, [f"Document {item['documentId']} {outcome}."])


# `manage.py round`: the communication rounds that documents are sent to.

round_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Communication rounds: what documents are sent to."
)

_STATUSES = ", ".join(RoundStatus)

CodeOption = Annotated[
    str,
    typer.Option(
        "--code", metavar="CODE", help="The code that uploads name; upper and lower case differ."
    ),
]
StatusOption = Annotated[
    RoundStatus,
    typer.Option(
        "--status",
        metavar="STATUS",
        case_sensitive=False,
        help=f"One of {_STATUSES}. A round takes documents while it is Open or In Progress.",
    ),
]


@command(round_commands, "add", example="round add --tenant acme --code 2026-01")
def add_round(
    tenant: TenantOption,
    code: CodeOption,
    status: StatusOption = RoundStatus.OPEN,
    as_json: AsJson = False,
) -> None:
    """Add a round; rounds of past periods can be added too."""

    async def write(gateway: Gateway) -> Round:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.add(tenant_record.id, code, status)

    new_round = on_gateway(write)
    line = f"Added the round {new_round.code}, which is {new_round.status.value}."
    show(as_json, {"tenant": tenant, **_round_document(new_round)}, [line])


@command(round_commands, "set", example="round set --tenant acme --code 2026-01 --status Closed")
def change_round(
    tenant: TenantOption, code: CodeOption, status: StatusOption, as_json: AsJson = False
) -> None:
    """Change the status of a round."""

    async def write(gateway: Gateway) -> tuple[Round, bool]:
        rounds = gateway.documents.rounds
        tenant_record = await gateway.tenants.find(tenant)
        before = await rounds.list_rounds(tenant_record.id)
        is_changed = await rounds.change(tenant_record.id, code, status)
        return is_changed, is_changed not in before

    is_changed, is_new = on_gateway(write)
    change = "is {} now" if is_new else "was {} already: nothing changed"
    line = f"The round {is_changed.code} {change.format(is_changed.status.value)}."
    show(as_json, {"tenant": tenant, **_round_document(is_changed)}, [line])


@command(round_commands, "list", example="round list --tenant acme")
def list_rounds(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the rounds of a tenant."""

    async def read(gateway: Gateway) -> list[Round]:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.documents.rounds.list_rounds(tenant_record.id)

    rounds = on_gateway(read)
    rows = [(each.code, each.status.value) for each in rounds]
    document = {"tenant": tenant, "rounds": [_round_document(each) for each in rounds]}
    show(as_json, document, columns(("ROUND", "STATUS"), rows))


def _round_document(round_: Round) -> dict[str, Any]:
    return {"code": round_.code, "status": round_.status.value}


# `manage.py feature`: what a tenant has to enable before it can be used.

feature_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Features of a tenant: enable or disable documents."
)

FeatureName = Annotated[Feature, typer.Argument(metavar="FEATURE", help=", ".join(Feature))]


@command(feature_commands, "enable", example="feature enable documents --tenant acme")
def enable_feature(feature: FeatureName, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Enable a feature for a tenant."""
    _switch_feature(feature, tenant, True, as_json)


@command(feature_commands, "disable", example="feature disable documents --tenant acme")
def disable_feature(feature: FeatureName, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Disable a feature for a tenant; its documents stay."""
    _switch_feature(feature, tenant, False, as_json)


def _switch_feature(feature: Feature, tenant: str, is_on: bool, as_json: bool) -> None:
    async def write(gateway: Gateway) -> tuple[str, bool]:
        tenant_record = await gateway.tenants.find(tenant)
        was_enabled = await gateway.documents.features.is_enabled(tenant_record.id, feature)
        await gateway.documents.features.switch(tenant_record.id, feature, is_on)
        return tenant_record.id, was_enabled is not is_on

    tenant_id, is_new = on_gateway(write)
    word = "enabled" if is_on else "disabled"
    document = {"tenant": tenant_id, "feature": feature.value, "enabled": is_on}
    change = f"is {word} now" if is_new else f"was {word} already"
    show(as_json, document, [f"The feature {feature.value} {change} for tenant {tenant_id}."])
