"""Wrong credentials are slowed down by credential and by source."""

from __future__ import annotations

import pytest

from shared.auth.failure_throttle import FailureThrottle, caller_address
from shared.errors import TooManyRequestsError
from tests.hand_clock import HandClock


def refused(throttle: FailureThrottle, credential: str, forwarded: str = "") -> int:
    """The seconds to wait, 0 where the failure may be answered as what it is."""
    try:
        throttle.count({"x-forwarded-for": forwarded}, "function key", credential)
    except TooManyRequestsError as error:
        return error.retry_after
    return 0


def test_one_credential_is_slowed_down_without_the_others() -> None:
    throttle = FailureThrottle(HandClock(), 3, 1_000, is_forwarded=False)
    assert [refused(throttle, "a") for _ in range(4)] == [0, 0, 0, 20]
    assert refused(throttle, "b") == 0


def test_always_another_credential_is_slowed_down_by_its_source() -> None:
    clock = HandClock()
    throttle = FailureThrottle(clock, 3, 10, is_forwarded=True)
    answers = [refused(throttle, str(n), f"9.9.9.{n}, 10.0.0.1:4{n}") for n in range(20)]
    assert answers == [0] * 10 + [6] * 10
    assert refused(throttle, "other", "10.0.0.1, 10.0.0.2:40") == 0
    clock.pass_by(6)
    assert refused(throttle, "again", "10.0.0.1") == 0


def test_flood_with_one_credential_leaves_its_source_its_budget() -> None:
    throttle = FailureThrottle(HandClock(), 3, 10, is_forwarded=True)
    for _ in range(100):
        refused(throttle, "a", "10.0.0.1")
    assert [refused(throttle, str(n), "10.0.0.1") for n in range(7)] == [0] * 7


def test_header_does_not_count_where_no_front_end_writes_it() -> None:
    throttle = FailureThrottle(HandClock(), 3, 10, is_forwarded=False)
    answers = [refused(throttle, str(n), f"10.0.0.{n}") for n in range(20)]
    assert answers == [0] * 10 + [6] * 10


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4:5678", "1.2.3.4"),
        ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4,", ""),
        ("somebody", ""),
        ("[", ""),
        ("", ""),
        ("1.2.3.4:" + "9" * 10_000, "1.2.3.4"),
    ],
)
def test_address_is_the_last_entry_without_its_port(header: str, address: str) -> None:
    assert caller_address({"x-forwarded-for": header}) == address


def test_without_the_header_there_is_no_address() -> None:
    assert caller_address({"x-azure-clientip": "1.2.3.4", "x-real-ip": "1.2.3.4"}) == ""
