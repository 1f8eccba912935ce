"""Rules that break calls, before the app gets them or after it has answered.

See docs/stand-in.md#faults.
"""

from __future__ import annotations

import fnmatch
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_RULES = 1_000
_MOST_SECONDS = 600
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ACTIONS = ("status", "accepted", "cut", "lost")
_RULE_FIELDS = frozenset(("path", "method", "times", "probability", "seed", "tenant", "fault"))
_FAULT_FIELDS = frozenset((*_ACTIONS, "delay", "retryAfter", "cause"))
STATUSES = frozenset(
    (400, 401, 403, 404, 406, 409, 410, 413, 415, 422, 429, 500, 501, 502, 503, 504)
)
CAUSES = ("keyName", "integration", "database", "tenant", "permission", "scope", "feature")


class BadRulesError(Exception):
    """The rules cannot be taken. `errors` has a sentence for each thing that is wrong."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = list(errors)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a call: a delay, and then at most one of the other fields."""

    delay: float = 0.0
    status: int = 0
    retry_after: int | None = None
    cause: str = ""
    is_accepted: bool = False
    is_cut: bool = False
    is_lost: bool = False


@dataclass(slots=True)
class Rule:
    """A rule. `times` is how often it is still applied; None: without an end."""

    id: str
    path: str
    method: str
    times: int | None
    probability: float
    seed: int
    tenant: str
    fault: Fault
    fault_as_sent: Mapping[str, Any]
    applied: int = 0
    chance: random.Random = field(repr=False, default_factory=random.Random)

    def document(self) -> dict[str, Any]:
        """The rule as it is shown."""
        return {
            "id": self.id,
            "path": self.path,
            "method": self.method or None,
            "times": self.times,
            "probability": self.probability,
            "seed": self.seed,
            "tenant": self.tenant or None,
            "fault": dict(self.fault_as_sent),
            "applied": self.applied,
        }


class FaultRules:
    """The rules in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._number = 0

    def add(self, document: Any) -> list[Rule]:
        """Add one rule, or a list of rules. Raises BadRulesError, and then adds none."""
        documents = document if isinstance(document, list) else [document]
        errors: list[str] = []
        if not documents:
            errors.append("The list of rules is empty: send at least one rule.")
        if len(self._rules) + len(documents) > MOST_RULES:
            errors.append(f"There can be {MOST_RULES} rules: delete some with DELETE first.")
        rules: list[Rule] = []
        for index, each in enumerate(documents):
            place = f"[{index}]." if isinstance(document, list) else ""
            rule_errors: list[str] = []
            rule = _read_rule(each, lambda text, to=rule_errors, at=place: to.append(f"{at}{text}"))  # type: ignore[misc]
            errors += rule_errors
            if rule is not None and not rule_errors:
                rules.append(rule)
        if errors:
            raise BadRulesError(errors)
        for rule in rules:
            self._number += 1
            rule.id = str(self._number)
        self._rules += rules
        return rules

    def list_rules(self, tenant: str = "") -> list[Rule]:
        """The rules, or those for the calls of a tenant."""
        return [rule for rule in self._rules if tenant in ("", rule.tenant)]

    def remove(self, *, rule_id: str = "", tenant: str = "") -> int:
        """Remove one rule, those of a tenant, or all; how many were there."""
        removed = [
            rule
            for rule in self._rules
            if (not rule_id or rule.id == rule_id) and (not tenant or rule.tenant == tenant)
        ]
        self._rules = [rule for rule in self._rules if rule not in removed]
        return len(removed)

    def pick(self, method: str, path: str, tenant: str) -> Rule | None:
        """The first rule that applies to a call; it is counted as applied."""
        for rule in self._rules:
            if rule.method not in ("", method) or rule.tenant not in ("", tenant):
                continue
            if rule.times is not None and rule.applied >= rule.times:
                continue
            if not fnmatch.fnmatchcase(path.lower(), rule.path.lower()):
                continue
            # Drawn for each call that matches, so that a seed gives the same calls again.
            if rule.probability < 1 and rule.chance.random() >= rule.probability:
                continue
            rule.applied += 1
            return rule
        return None


def _read_rule(document: Any, note: Callable[[str], None]) -> Rule | None:
    """The rule of a document; everything wrong with it goes to `note`."""
    if not isinstance(document, dict):
        note("The rule must be a JSON object.")
        return None
    _note_unknown(document, _RULE_FIELDS, "the rule", note)
    path = document.get("path")
    if not isinstance(path, str) or not path.startswith(("/", "*")) or len(path) > 1_000:
        note("path must be a pattern that starts with / or *, such as /api/import/*.")
        path = ""
    method = document.get("method", "")
    if not isinstance(method, str) or method.upper() not in (*_METHODS, ""):
        note(f"method must be one of {', '.join(sorted(_METHODS))}.")
        method = ""
    times = document.get("times")
    if times is not None and not _is_whole(times, 1, 1_000_000):
        note("times must be a whole number from 1 to 1000000.")
    probability = document.get("probability", 1)
    if not _is_number(probability) or not 0 < probability <= 1:
        note("probability must be a number over 0 and up to 1.")
        probability = 1
    seed = document.get("seed")
    if seed is not None and not _is_whole(seed, 0, 2**63 - 1):
        note("seed must be a whole number from 0.")
        seed = None
    tenant = document.get("tenant", "")
    if not isinstance(tenant, str):
        note("tenant must be the id of a tenant.")
        tenant = ""
    fault = _read_fault(document.get("fault"), note)
    drawn = secrets.randbelow(2**31) if seed is None else int(seed)
    return Rule(
        id="",
        path=path,
        method=method.upper(),
        times=times if _is_whole(times, 1, 1_000_000) else None,
        probability=probability,
        seed=drawn,
        tenant=tenant,
        fault=fault or Fault(),
        fault_as_sent=document.get("fault") if isinstance(document.get("fault"), dict) else {},  # type: ignore[arg-type]
        chance=random.Random(drawn),  # noqa: S311 (reproducible, not secret)
    )


def _read_fault(document: Any, note: Callable[[str], None]) -> Fault | None:
    if not isinstance(document, dict):
        note('fault must be an object, such as {"status": 503}.')
        return None
    _note_unknown(document, _FAULT_FIELDS, "fault", note)
    actions = [name for name in _ACTIONS if name in document]
    if len(actions) > 1 or not (actions or "delay" in document):
        note(f"fault must have one of {', '.join(_ACTIONS)}, or delay, which goes with each.")
    status, retry_after = document.get("status", 0), document.get("retryAfter")
    if "status" in document and (not _is_whole(status, 400, 599) or status not in STATUSES):
        note(f"fault.status must be one of {', '.join(map(str, sorted(STATUSES)))}.")
        status = 0
    if retry_after is not None and not _is_whole(retry_after, 0, 86_400):
        note("fault.retryAfter must be a whole number of seconds from 0 to 86400.")
    if retry_after is not None and status not in (429, 503):
        note("fault.retryAfter goes with status 429 or 503.")
    cause = document.get("cause", "")
    if "cause" in document and cause not in CAUSES:
        note(f"fault.cause must be one of {', '.join(CAUSES)}.")
    if "cause" in document and status != 403:
        note("fault.cause goes with status 403.")
    delay = document.get("delay", 0)
    if "delay" in document and (not _is_number(delay) or not 0 < delay <= _MOST_SECONDS):
        note(f"fault.delay must be a number of seconds over 0 and up to {_MOST_SECONDS}.")
        delay = 0
    for name, value in (("accepted", True), ("cut", "before"), ("lost", "after")):
        if name in document and (type(document[name]), document[name]) != (type(value), value):
            note(f"fault.{name} must be {'true' if value is True else value}.")
    return Fault(
        delay=float(delay),
        status=int(status),
        retry_after=retry_after if _is_whole(retry_after, 0, 86_400) else None,
        cause=cause if cause in CAUSES else "",
        is_accepted="accepted" in document,
        is_cut="cut" in document,
        is_lost="lost" in document,
    )


def _note_unknown(
    document: Mapping[str, Any], known: frozenset[str], subject: str, note: Callable[[str], None]
) -> None:
    for name in document:
        if name not in known:
            note(f"{subject} has no property {name!r}; it knows {', '.join(sorted(known))}.")


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
