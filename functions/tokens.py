"""Tokens: `POST /connect/token`, the discovery document, the published keys (docs/contracts.md#4).

The documents are also served under `/connect/…`, because msal needs an authority with a path.
"""

from __future__ import annotations

import azure.functions as func

from shared import log
from shared.auth.clients import normal_client_id
from shared.bootstrap import gateway
from shared.errors import (
    StorageUnavailableError,
    TokenFault,
    TokenRefusedError,
    TooManyRequestsError,
)
from shared.gateway import Gateway
from shared.web.imports import json_answer
from shared.web.query_names import wants_dry_run
from shared.web.responses import answered
from shared.web.tokens import discovery_document, read_token_request, token_answer, token_refusal

blueprint = func.Blueprint()

# A minute: a new signing key is published a minute before it signs.
_PUBLIC = {"Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"}


@blueprint.function_name("connect_token")
@blueprint.route("connect/token", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def connect_token(req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token for client credentials."""
    try:
        return await _grant(await gateway(), req)
    except (TokenRefusedError, TooManyRequestsError, StorageUnavailableError) as error:
        reason = getattr(error, "fault", type(error).__name__)
        log.event("token.refused", reason=reason)
        return token_refusal(error)


async def _grant(app: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token. Wrong secrets are counted, and beyond the budget refused with 429."""
    if wants_dry_run(req):
        raise TokenRefusedError("A token request has no dry run: leave dryRun out of the query.")
    request = read_token_request(req)
    try:
        return token_answer(await app.identity.grant(request))
    except TokenRefusedError as error:
        if error.fault is TokenFault.INVALID_CLIENT:
            ids = {normal_client_id(each.client_id) for each in request.readings}
            app.failures.count(req.headers, "client", *sorted(ids))
        raise


@blueprint.function_name("openid_configuration")
@blueprint.route(
    ".well-known/openid-configuration", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def openid_configuration(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The discovery document."""
    return await _discovery()


@blueprint.function_name("openid_configuration_connect")
@blueprint.route(
    "connect/.well-known/openid-configuration", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def openid_configuration_connect(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The same under `/connect`."""
    return await _discovery()


@blueprint.function_name("openid_keys")
@blueprint.route(".well-known/jwks.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def openid_keys(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The keys that tokens are checked with."""
    return await _keys()


@blueprint.function_name("openid_keys_connect")
@blueprint.route(
    "connect/.well-known/jwks.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS
)
@answered
async def openid_keys_connect(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """The same under `/connect`."""
    return await _keys()


async def _discovery() -> func.HttpResponse:
    settings = (await gateway()).settings
    return json_answer(discovery_document(settings), headers=_PUBLIC)


async def _keys() -> func.HttpResponse:
    keys = await (await gateway()).identity.public_keys()
    return json_answer({"keys": keys}, headers=_PUBLIC)
