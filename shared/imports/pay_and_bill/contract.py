"""What the types of Pay & Bill share, without models: read whenever the app is indexed.

A type with this contract has the call `/api/import/{type}` with `version=N`, and the checks of the
caller's database (docs/contracts.md#1). Retries check the database too.
"""

from __future__ import annotations

from typing import Final

from shared.imports.import_type import Contract

PAY_AND_BILL: Final = Contract("Pay & Bill", needed_database_version=1)
