"""Tokens: `POST /connect/token`, the discovery document, the published keys (docs/contracts.md#4).

The documents are also served under `/connect/…`, because msal needs an authority with a path.
"""

from __future__ import annotations

import azure.functions as func

from functions.loading import answered, gateway

blueprint = func.Blueprint()


@blueprint.function_name("connect_token")
@blueprint.route("connect/token", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@answered
async def connect_token(req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token for client credentials."""
    from shared.web.tokens import token_call

    return await token_call(gateway, req)


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
    from shared.web.tokens import discovery_call

    return discovery_call(await gateway())


async def _keys() -> func.HttpResponse:
    from shared.web.tokens import keys_call

    return await keys_call(await gateway())
