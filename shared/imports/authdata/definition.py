"""The import type of authentication data; read when the app is indexed."""

from __future__ import annotations

from shared.imports.authdata.messages import AUTHDATA_MESSAGES
from shared.imports.import_type import Contract, ImportType, Rules


def _load_rules() -> Rules:
    from shared.imports.authdata.rules import RULES

    return RULES


AUTHDATA = ImportType(
    name="authdata",
    version=1,
    table="AuthData",
    load_rules=_load_rules,
    contract=Contract("Paperless Employee"),
    messages=AUTHDATA_MESSAGES,
    keeps_rows=False,
    undo_covers_tenant=True,
    route="/api/admin/authdata",
    scope="import_authdata",
)
