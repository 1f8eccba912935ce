"""Which query parameters each address takes, and what becomes of the others (docs/contracts.md#0).

Our own addresses refuse every name that they do not know. The addresses of vendors pass over what
is far from any known name, since their clients may send anything, and refuse what is one slip away.
A call that asks for a dry run is refused wherever there is none, so that it never does anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import azure.functions as func

from shared.errors import InvalidRequestError
from shared.imports.near_names import folded, is_like_dry_run, is_one_slip_away
from shared.imports.reference_text import escaped

DRY_RUN: Final = "dryRun"
DRY_RUN_HEADER: Final = "Dry-Run"
"""Every answer to a dry run carries it."""
_ASKING_HEADERS: Final = ("dryrun", "xdryrun")
"""What the headers by which other systems are asked for a dry run fold to."""
_GLUE: Final = re.compile("[?&;#]")
_KEY_OF_THE_HOST: Final = "code"
"""The host takes a function key under this name; it is not for us."""
_MOST_NAMED: Final = 5
_LONGEST_NAMED: Final = 60


@dataclass(frozen=True, slots=True)
class QueryNames:
    """The query parameters of an address; `is_ours` refuses all others."""

    names: tuple[str, ...] = ()
    is_ours: bool = True

    def read(self, req: func.HttpRequest) -> Mapping[str, str]:
        """The query by lower-cased name. Raises InvalidRequestError for a name that is refused."""
        query = query_of(req)
        unknown = [name for name in _sent_names(req) if not self._is_known(name)]
        refused = unknown if self.is_ours else [name for name in unknown if self._is_slip(name)]
        refused += _dry_runs_in_values(query)
        if refused:
            raise InvalidRequestError(self._explain(refused))
        self._refuse_header(req, query)
        return query

    def _is_known(self, name: str) -> bool:
        return name.lower() in (_KEY_OF_THE_HOST, *(known.lower() for known in self.names))

    def _is_slip(self, name: str) -> bool:
        return is_like_dry_run(name) or any(is_one_slip_away(name, each) for each in self.names)

    def _refuse_header(self, req: func.HttpRequest, query: Mapping[str, str]) -> None:
        """Raises InvalidRequestError for a dry run that is asked for in a header."""
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

    def _explain(self, refused: Sequence[str]) -> str:
        if DRY_RUN not in self.names and any(map(is_like_dry_run, refused)):
            return f"This call has no dry run, and nothing was done: {self._advice(refused)}"
        return f"The query has parameters that this call does not take: {self._advice(refused)}"

    def _advice(self, refused: Sequence[str]) -> str:
        shown = [escaped(name)[:_LONGEST_NAMED] or "one without a name" for name in refused]
        more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
        left_out = f"{', '.join(shown[:_MOST_NAMED])}{more}"
        if not self.names:
            return f"{left_out}. Remove them: this call takes no query parameters."
        return f"{left_out}. Correct or remove them: this call takes {', '.join(self.names)}."


def query_of(req: func.HttpRequest) -> dict[str, str]:
    """The query by lower-cased name, since names match in any case.

    A parameter without a value is there with an empty one: the host leaves it out of `params`.
    """
    query: dict[str, str] = {}
    for name, value in req.params.items():
        before = query.get(name.lower())
        query[name.lower()] = value if before is None else f"{before},{value}"
    for name in _names_in_address(req):
        query.setdefault(name.lower(), "")
    return query


def wants_dry_run(req: func.HttpRequest) -> bool:
    """Whether the call says that it is a dry run."""
    return query_of(req).get(DRY_RUN.lower(), "").lower() == "true"


def _sent_names(req: func.HttpRequest) -> list[str]:
    return list(dict.fromkeys((*req.params, *_names_in_address(req))))


def _names_in_address(req: func.HttpRequest) -> list[str]:
    query = req.url.partition("?")[2]
    return [name for name, _ in parse_qsl(query, keep_blank_values=True)]


def _dry_runs_in_values(query: Mapping[str, str]) -> Iterator[str]:
    """Dry runs that are glued to the value before them, as in `?code=abc?dryRun=true`."""
    for name, value in query.items():
        for glued in _GLUE.split(value)[1:]:
            if folded(glued.partition("=")[0]) == DRY_RUN.lower():
                yield f"{DRY_RUN} within the value of {name}"


_PAGE: Final = ("pageSize", "continuation")
_DRY: Final = (DRY_RUN, "view")

NONE: Final = QueryNames()
IMPORTS_LIST: Final = QueryNames(("type", "state", *_PAGE))
IMPORTS_RESULTS: Final = QueryNames(("outcome", "severity", *_PAGE))
IMPORTS_FAILURES: Final = QueryNames(("severity",))
AUDIT: Final = QueryNames(("action", "since", "until", *_PAGE))
CHANGES: Final = QueryNames(("after", "type", "pageSize"))
DOCUMENTS_LIST: Final = QueryNames(("workerexternalId", "communicationRoundCode", *_PAGE))

VENDORS_NONE: Final = QueryNames(is_ours=False)
PAY_AND_BILL: Final = QueryNames(("version", *_DRY), is_ours=False)
LICENSES: Final = QueryNames(("importAction", "allowSameFile", *_DRY), is_ours=False)
LICENSE_DELETION: Final = QueryNames(_DRY, is_ours=False)
AUTHDATA: Final = QueryNames(_DRY, is_ours=False)
DOCUMENT_UPLOAD: Final = QueryNames(_DRY, is_ours=False)
