"""`manage.py document upload`: send one file over HTTP, with a token that msal gets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.command_help import Overview, command
from cli.document_client import send_document
from cli.output import AsJson, show
from cli.progress import byte_progress
from cli.sending import Url, local_url
from cli.tokens import ClientCredentials, fetch_token

document_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Documents: upload a file for a worker."
)

SCOPE = "import_inbox"

DocumentFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="The file to upload.",
    ),
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
    fields = {
        "workerexternalId": worker,
        "communicationRoundCode": round_code,
        "isSummary": "false",
        "generationTime": generation_time or _changed_at(file),
    }
    credentials = {"Authorization": f"Bearer {token}"}
    with byte_progress(file.name, file.stat().st_size) as sent:
        item = send_document(address, credentials, file, fields, sent)
    done = "replaced another one" if item["overridden"] else "is new"
    show(as_json, item, [f"Document {item['documentId']} {done}."])


def _changed_at(file: Path) -> str:
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return min(changed, datetime.now(UTC)).isoformat(timespec="seconds")
