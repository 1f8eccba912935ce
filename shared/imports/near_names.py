"""Names that were meant to be other names: how near two are, and which known one was meant.

Names are compared without case and without anything but letters and digits, so that `dry_run`,
`dry-run` and `dryRun` are the same here.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 100
"""Characters of a name that are compared; no known name is longer."""
_LIKENESS: Final = 0.6
"""What `difflib` calls a close match."""
_COMPARED: Final = 5


def folded(name: str) -> str:
    """The letters and digits of a name, in one case and one width."""
    plain = unicodedata.normalize("NFKC", name[:LONGEST]).casefold()
    return "".join(character for character in plain if character.isalnum())


def is_one_slip_away(name: str, known: str) -> bool:
    """Whether one letter too many, too few, wrong or swapped makes `known` of the name, or none."""
    sent, meant = folded(name), folded(known)
    if abs(len(sent) - len(meant)) > 1:
        return False
    start = 0
    while start < min(len(sent), len(meant)) and sent[start] == meant[start]:
        start += 1
    sent, meant = sent[start:], meant[start:]
    is_swapped = sent[:2] == meant[1::-1] and sent[2:] == meant[2:]
    return is_swapped or sent[1:] == meant[1:] or sent[1:] == meant or sent == meant[1:]


def is_like_dry_run(name: str) -> bool:
    """Whether a name must mean a dry run: the import of one that was meant to be tried is a loss.

    More than a slip counts: `isDryRun`, `dry`, `dryMode`, `amp;dryRun`.
    """
    text = folded(name)
    return "dryrun" in text or text.startswith("dry") or is_one_slip_away(name, "dryRun")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`; None where none is.

    Of a path (`WorkerAddress.Postcode`) the whole path and its last step are compared.
    """
    by_text: dict[str, str] = {}
    for each in known:
        by_text.setdefault(folded(each), each)
    for each in list(by_text.values()):
        by_text.setdefault(folded(_last_step(each)), each)
    for text in dict.fromkeys((folded(name), folded(_last_step(name)))):
        found = difflib.get_close_matches(text, by_text, _COMPARED, _LIKENESS)
        if found:
            # Of names that are equally like it, the first one of the contract.
            order = {each: place for place, each in enumerate(by_text)}
            best = max(found, key=lambda each: (_likeness(each, text), -order[each]))
            return by_text[best]
    return None


def _likeness(known: str, text: str) -> float:
    return difflib.SequenceMatcher(None, known, text).ratio()


def _last_step(path: str) -> str:
    return path.rpartition(".")[2]
