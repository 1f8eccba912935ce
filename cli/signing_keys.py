"""`manage.py signing-key`: the keys that sign the gateway's own tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.output import AsJson, columns, show
from shared.gateway import Gateway

if TYPE_CHECKING:
    from shared.auth.signing_keys import SigningKey

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

    async def turn(gateway: Gateway) -> tuple[SigningKey, ...]:
        return (await gateway.identity.key_store.rotate(at_once=at_once)).keys

    keys = on_gateway(turn)
    said = [f"Key {keys[0].kid} signs from {_iso_time(keys[0].signs_from)} on."]
    if at_once:
        said.append("Tokens of older keys are refused from now on: clients must get new ones.")
    show(as_json, {"keys": [_key_document(key) for key in keys]}, said)


@command(signing_key_commands, "list", example="signing-key list")
def list_signing_keys(as_json: AsJson = False) -> None:
    """List the keys whose tokens are accepted, newest first."""

    async def read(gateway: Gateway) -> tuple[SigningKey, ...]:
        return await gateway.identity.key_store.published()

    keys = on_gateway(read)
    rows = [(key.kid, _iso_time(key.signs_from), _iso_time(key.ends_at)) for key in keys]
    document = {"keys": [_key_document(key) for key in keys]}
    show(as_json, document, columns(("KEY", "SIGNS FROM", "COUNTS UNTIL"), rows))


def _key_document(key: SigningKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "signsFrom": _iso_time(key.signs_from),
        "endsAt": _iso_time(key.ends_at) or None,
    }


def _iso_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""
