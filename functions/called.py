"""What triggers call. To import this module is to import all of that (`functions.loading`).

What few calls need is left out: the OpenAPI document, the console, spreadsheets.
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
