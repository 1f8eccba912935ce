"""The code agrees with a reference model that was written straight from the document."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.imports.authdata.hashing import Hasher
from shared.imports.authdata.model import StoredEmployees
from shared.imports.authdata.rules import Thresholds
from tests.unit.imports.authdata.plain_batches import (
    CURRENT,
    OLD,
    TENANT,
    applied,
    judge,
    read_all,
    stored_of,
)
from tests.unit.imports.authdata.reference_model import Person, expected_answer, outcome

BATCHES = 2_000
FIELDS = ("employeeId", "employeeStatus", "authValue1", "authValue2", "authValue3")
IDS = ("A", "B", "C", "D", " E ", "a", "", None)
STATUSES = ("on", "off", "", None)
TEXTS = ("x", "y", "X", " z", "", "  ", None, None)
STORED_TEXTS = ("x", "y", "X", None)
PERCENTS = (None, None, "0", "25", "33.3", "50", "100", "150")


@dataclass
class Batch:
    """What is sent, and what it meets."""

    employees: list[dict[str, Any]]
    people: dict[str, Person]
    allow_no_auth: bool = True
    limits: tuple[str | None, ...] = (None, None, None)
    is_rotated: bool = False

    def __post_init__(self) -> None:
        """The code never lets it happen that two employees have one triple."""
        seen: dict[tuple[str | None, ...], str] = {}
        for name, person in self.people.items():
            seen.setdefault(person[1:] if any(person[1:]) else (name,), name)
        self.people = {name: self.people[name] for name in seen.values()}


def check(batch: Batch) -> None:
    """Code and reference model say the same, and leave the same behind."""
    names = ("added", "updated", "errors")
    limits = {name: text for name, text in zip(names, batch.limits, strict=True) if text}
    records, after, over = outcome(
        batch.employees,
        batch.people,
        allow_no_auth=batch.allow_no_auth,
        thresholds={name: Fraction(text) for name, text in limits.items()},
    )
    stored = stored_of(batch.people, OLD if batch.is_rotated else CURRENT)
    thresholds = Thresholds(**{name: Decimal(text) for name, text in limits.items()})
    sent = read_all(batch.employees, allow_no_auth=batch.allow_no_auth)
    judged = judge(sent, stored, thresholds)

    answer = {**judged.answer}
    answer["errorLines"] = sorted({each["line"] for each in answer.pop("errorDetails")})
    del answer["fileLogId"]
    assert len(answer.pop("thresholdExceptions")) == len(over)
    assert answer == expected_answer(records)
    parts = ("totalNew", "totalUpdates", "totalErrors", "totalNoChange", "totalDuplicates")
    assert sum(answer[part] for part in parts) == answer["totalRecords"]
    check_store(applied(judged.classified, stored), after)


def check_store(store: StoredEmployees, after: dict[str, Person]) -> None:
    assert set(store.employees) == set(after)
    with_values = [person for person in after.values() if any(person[1:])]
    assert len(store.holders) == len(with_values), "no two employees have one triple"
    for name, employee in store.employees.items():
        status, *values = after[name]
        assert employee.status == status
        expected = Hasher((CURRENT, OLD), TENANT).fingerprints(values)
        assert employee.values == (expected.hashes_for(employee.key) or (None, None, None))


def test_two_thousand_generated_batches_agree_with_the_reference_model() -> None:
    for seed in range(BATCHES):
        pick = random.Random(seed)
        employees = [a_row(pick) for _ in range(pick.randrange(8))]
        people = {name: a_person(pick) for name in pick.sample("ABCDE", pick.randrange(5))}
        limits = tuple(pick.choice(PERCENTS) for _ in range(3))
        check(Batch(employees, people, pick.random() < 0.5, limits, pick.random() < 0.3))


def a_row(pick: random.Random) -> dict[str, Any]:
    texts = [pick.choice(IDS), pick.choice(STATUSES), *(pick.choice(TEXTS) for _ in range(3))]
    return dict(zip(FIELDS, texts, strict=True))


def a_person(pick: random.Random) -> Person:
    first, second, third = (pick.choice(STORED_TEXTS) for _ in range(3))
    return pick.choice(("on", None)), first, second, third


rows = st.builds(
    lambda *fields: dict(zip(FIELDS, fields, strict=True)),
    *(st.sampled_from(texts) for texts in (IDS, STATUSES, TEXTS, TEXTS, TEXTS)),
)
stored_texts = st.sampled_from(STORED_TEXTS)
people = st.dictionaries(
    st.sampled_from("ABCDE"),
    st.tuples(st.sampled_from(("on", None)), stored_texts, stored_texts, stored_texts),
    max_size=4,
)
batches = st.builds(
    Batch,
    st.lists(rows, max_size=7),
    people,
    st.booleans(),
    st.tuples(*[st.sampled_from(PERCENTS)] * 3),
    st.booleans(),
)


@settings(deadline=None, max_examples=200)
@given(batches)
def test_any_batch_agrees_with_the_reference_model(batch: Batch) -> None:
    check(batch)


@settings(deadline=None, max_examples=100)
@given(st.builds(Batch, st.lists(rows, max_size=4), people))
def test_a_batch_without_errors_sent_again_brings_nothing_new(batch: Batch) -> None:
    stored = stored_of(batch.people)
    first = judge(read_all(batch.employees, allow_no_auth=True), stored)
    assume(not first.answer["totalErrors"])
    store = applied(first.classified, stored)
    again = judge(read_all(batch.employees, allow_no_auth=True), store)
    assert again.answer["totalNew"] == 0
    assert again.answer["totalUpdates"] == 0
    assert not any(classification.employee for classification in again.classified.classifications)
