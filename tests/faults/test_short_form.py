"""The short form of the fault bench: one round. The long form is `dev.py bench faults`."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Round
from tests.faults.weather import EVENTS, REQUEST_FAULTS

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def test_under_faults_nothing_is_lost_doubled_wrong_or_stuck(played: Round) -> None:
    tally = played.tally
    print(dict(tally.faults))
    assert tally.failures == []
    kinds = {name for name, times in tally.faults.items() if times}
    assert len(kinds & REQUEST_FAULTS.keys()) >= 8, "hardly any request failed"
    assert kinds & EVENTS.keys()
    assert tally.rows > 100


def test_most_of_what_was_sent_came_in_in_spite_of_the_faults(played: Round) -> None:
    """A gateway that refuses everything would have lost nothing either."""
    accepted = sum(call.was_accepted for call in played.ledger.calls)
    assert accepted > len(played.ledger.calls) / 2
    assert played.tally.rows_failed_too_often < played.tally.rows / 3
