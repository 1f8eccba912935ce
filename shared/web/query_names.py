"""The query parameters of each address, and the refusal of others (docs/contracts.md#0).

Our own addresses refuse every unknown name. The addresses of vendors ignore names that differ from
every known one, since their clients may send anything, and refuse names with one typing error. A
call that asks for a dry run is refused at addresses without dry runs, so that it never writes
anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import azure.functions as func

from shared.errors import InvalidRequestError
from shared.imports.text_checks import escaped, folded, is_like_dry_run, is_one_slip_away

DRY_RUN: Final = "dryRun"
# The header of every answer to a dry run.
DRY_RUN_HEADER: Final = "Dry-Run"
# The folded names of headers by which other systems ask for a dry run.
_ASKING_HEADERS: Final = ("dryrun", "xdryrun")
_GLUE: Final = re.compile("[?&;#]")
# The host accepts a function key under this name. The gateway ignores it.
KEY_OF_THE_HOST: Final = "code"
_MOST_NAMED: Final = 5
_LONGEST_NAMED: Final = 60


@dataclass(frozen=True, slots=True)
class QueryNames:
    """The query parameters of an address. If it `is_ours`, all others are refused."""

    names: tuple[str, ...] = ()
    is_ours: bool = True

    def read(self, req: func.HttpRequest) -> Mapping[str, str]:
        """Read the query by lower-cased name. Raises InvalidRequestError for a refused name."""
        query = query_of(req)
        unknown = [
            name
            for name in list(dict.fromkeys((*req.params, *_names_in_address(req))))
            if name.lower() not in (KEY_OF_THE_HOST, *(known.lower() for known in self.names))
        ]
        unknown_names = (
            unknown if self.is_ours else [name for name in unknown if self._is_slip(name)]
        )
        unknown_names += _dry_runs_in_values(query)
        if unknown_names:
            raise InvalidRequestError(self._explain(unknown_names))
        self._refuse_header(req, query)
        return query

    def _is_slip(self, name: str) -> bool:
        return is_like_dry_run(name) or any(is_one_slip_away(name, each) for each in self.names)

    def _refuse_header(self, req: func.HttpRequest, query: Mapping[str, str]) -> None:
        """Raises InvalidRequestError for a header that asks for a dry run."""
        if not any(folded(name) in _ASKING_HEADERS for name in req.headers):
            return
        if DRY_RUN not in self.names:
            raise InvalidRequestError(
                "This call has no dry run, and nothing was done: leave out the header "
                f"{DRY_RUN_HEADER}."
            )
        if DRY_RUN.lower() not in query:
            raise InvalidRequestError(
                f"{DRY_RUN_HEADER} is a header of answers, and nothing was done: send "
                f"{DRY_RUN}=true in the query for a dry run."
            )

    def _explain(self, unknown_names: Sequence[str]) -> str:
        if DRY_RUN not in self.names and any(map(is_like_dry_run, unknown_names)):
            return f"This call has no dry run, and nothing was done: {self._advice(unknown_names)}"
        return (
            f"The query has parameters that this call does not take: {self._advice(unknown_names)}"
        )

    def _advice(self, unknown_name: Sequence[str]) -> str:
        shown_name = [
            escaped(name)[:_LONGEST_NAMED] or "one without a name" for name in unknown_name
        ]
        more = f" and {len(shown_name) - _MOST_NAMED} more" if len(shown_name) > _MOST_NAMED else ""
        left_out = f"{', '.join(shown_name[:_MOST_NAMED])}{more}"
        if not self.names:
            return f"{left_out}. Remove them: this call takes no query parameters."
        return f"{left_out}. Correct or remove them: this call takes {', '.join(self.names)}."


def query_of(req: func.HttpRequest) -> dict[str, str]:
    """The query by lower-cased name, since names match in any case.

    A parameter without a value has an empty one here, although the host leaves it out of `params`.
    """
    query: dict[str, str] = {}
    for name, value in req.params.items():
        before = query.get(name.lower())
        query[name.lower()] = value if before is None else f"{before},{value}"
    for name in _names_in_address(req):
        query.setdefault(name.lower(), "")
    return query


def wants_dry_run(req: func.HttpRequest) -> bool:
    """Whether the call asks for a dry run."""
    return query_of(req).get(DRY_RUN.lower(), "").lower() == "true"


def _names_in_address(req: func.HttpRequest) -> list[str]:
    query = req.url.partition("?")[2]
    return [name for name, _ in parse_qsl(query, keep_blank_values=True)]


def _dry_runs_in_values(query: Mapping[str, str]) -> Iterator[str]:
    """Dry runs within the value of another parameter, as in `?code=abc?dryRun=true`."""
    for name, value in query.items():
        for dry_run_suffix in _GLUE.split(value)[1:]:
            if folded(dry_run_suffix.partition("=")[0]) == DRY_RUN.lower():
                yield f"{DRY_RUN} within the value of {name}"


_PAGE: Final = ("pageSize", "continuation")
_DRY: Final = (DRY_RUN, "view")
# The name of a mapping profile.
PROFILE: Final = "profile"
# The header of a repeated answer that says which version of it is the newest.
PROFILE_VERSION: Final = "X-Profile-Version"
# The sheet of a spreadsheet; by default the first visible one.
SHEET: Final = "sheet"

NONE: Final = QueryNames()
IMPORTS_LIST: Final = QueryNames(("type", "state", "caller", *_PAGE))
_OF_MESSAGES: Final = ("errorID", "fieldName")
IMPORTS_RESULTS: Final = QueryNames(("outcome", "severity", *_OF_MESSAGES, *_PAGE))
IMPORTS_FAILED_ROWS: Final = QueryNames((*_OF_MESSAGES, *_PAGE))
IMPORTS_FAILURES: Final = QueryNames(("severity",))
IMPORTS_RETRY: Final = QueryNames((SHEET,))
IMPORTS_UNDO: Final = QueryNames((*_DRY, "onlyIfAll"))
AUDIT: Final = QueryNames(("action", "since", "until", *_PAGE))
CHANGES: Final = QueryNames(("after", "type", "pageSize"))
DOCUMENTS_LIST: Final = QueryNames(("workerexternalId", "communicationRoundCode", *_PAGE))

# By the area of `/api/admin/…` and the method.
ADMIN_NAMES: Final[Mapping[tuple[str, str], QueryNames]] = {
    **{
        (area, method): NONE
        for area, methods in {
            "tenant": ("GET",),
            "integrations": ("GET", "POST", "PATCH"),
            "keys": ("POST",),
            "clients": ("GET", "POST", "PATCH"),
            "secrets": ("POST",),
            "profiles": ("GET",),
            "profile": ("PUT", "DELETE"),
            "references": ("PUT",),
            "thresholds": ("GET", "PATCH"),
            "formats": ("GET", "PATCH"),
            "rounds": ("GET", "POST", "PATCH"),
        }.items()
        for method in methods
    },
    ("keys", "GET"): QueryNames(("softwareKey",)),
    ("keys", "DELETE"): QueryNames(("softwareKey", "id")),
    ("clients", "DELETE"): QueryNames(("clientId",)),
    ("secrets", "DELETE"): QueryNames(("clientId", "id")),
    ("profile", "GET"): QueryNames(("version",)),
    ("audit", "GET"): AUDIT,
}

VENDORS_NONE: Final = QueryNames(is_ours=False)
PAY_AND_BILL: Final = QueryNames(("version", PROFILE, SHEET, *_DRY), is_ours=False)
LICENSES: Final = QueryNames(
    ("importAction", "allowSameFile", PROFILE, SHEET, *_DRY), is_ours=False
)
LICENSE_DELETION: Final = QueryNames((PROFILE, SHEET, *_DRY), is_ours=False)
AUTHDATA: Final = QueryNames(
    ("fileLogId", "validate", "allowNoAuth", "commit", SHEET, *_DRY), is_ours=False
)
AUTHDATA_LIST: Final = QueryNames(("since", *_PAGE))
DOCUMENT_UPLOAD: Final = QueryNames(_DRY, is_ours=False)
