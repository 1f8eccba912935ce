"""Imports the modules that triggers import only when they are called (`functions.loading`).

The modules for the OpenAPI document, the console and spreadsheets are left out, because few calls
need them.
"""

from __future__ import annotations

import shared.app
import shared.bootstrap
import shared.imports.authdata.http
import shared.imports.documents.http
import shared.imports.licenses.http
import shared.imports.pay_and_bill.http
import shared.web.admin
import shared.web.audit
import shared.web.changes
import shared.web.contract
import shared.web.following
import shared.web.records
import shared.web.responses
import shared.web.tokens  # noqa: F401
from shared.imports.registry import TYPE_CATALOGUE

for kind in TYPE_CATALOGUE.all:
    kind.load_rules()
