"""Misspelled names: how near two names are, and which known name the sender most likely meant.

Names are compared by their letters and digits without case, so that `dry_run`, `dry-run` and
`dryRun` are equal here.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Final

# Characters of a name that are compared; no known name is longer.
MAX_COMPARED_LENGTH: Final = 100
# The ratio from which `difflib` calls a match close.
_MIN_SIMILARITY: Final = 0.6
_MAX_CANDIDATES: Final = 5


def folded(name: str) -> str:
    """The letters and digits of a name, in one case and one width."""
    plain = unicodedata.normalize("NFKC", name[:MAX_COMPARED_LENGTH]).casefold()
    return "".join(character for character in plain if character.isalnum())


def is_one_slip_away(name: str, known: str) -> bool:
    """Whether the name is `known`, or differs by one letter added, missing, wrong or swapped."""
    text, expected = folded(name), folded(known)
    if abs(len(text) - len(expected)) > 1:
        return False
    start = 0
    while start < min(len(text), len(expected)) and text[start] == expected[start]:
        start += 1
    text, expected = text[start:], expected[start:]
    is_swapped = text[:2] == expected[1::-1] and text[2:] == expected[2:]
    return is_swapped or text[1:] == expected[1:] or text[1:] == expected or text == expected[1:]


def is_like_dry_run(name: str) -> bool:
    """Whether the sender must have meant a dry run; to import the rows instead would do damage.

    Names that are further away count too: `isDryRun`, `dry`, `dryMode`, `amp;dryRun`.
    """
    text = folded(name)
    return "dryrun" in text or text.startswith("dry") or is_one_slip_away(name, "dryRun")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `name`; None where none is similar.

    The whole path (`WorkerAddress.Postcode`) and its last step are compared.
    """
    by_text: dict[str, str] = {}
    for known_name in known:
        by_text.setdefault(folded(known_name), known_name)
    for known_name in list(by_text.values()):
        by_text.setdefault(folded(_last_step(known_name)), known_name)
    for text in dict.fromkeys((folded(name), folded(_last_step(name)))):
        matches = difflib.get_close_matches(text, by_text, _MAX_CANDIDATES, _MIN_SIMILARITY)
        if matches:
            # Of equally similar names the first one of the contract is taken.
            order = {known_text: position for position, known_text in enumerate(by_text)}
            best = max(
                matches,
                key=lambda match: (
                    difflib.SequenceMatcher(None, match, text).ratio(),
                    -order[match],
                ),
            )
            return by_text[best]
    return None


def _last_step(path: str) -> str:
    return path.rpartition(".")[2]
