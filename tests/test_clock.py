"""The clock: integer nanoseconds inside, floats only at the edge."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloop.clock import VirtualClock, checked_ns, seconds_text
from vtloop.errors import UsageError

SECOND = 1_000_000_000


def test_new_clock_reads_its_start_in_both_units() -> None:
    clock = VirtualClock(1.5)
    assert (clock.ns, clock.seconds) == (1_500_000_000, 1.5)


def test_clock_starts_at_zero_unless_told() -> None:
    assert (VirtualClock().ns, VirtualClock().seconds) == (0, 0.0)


def test_start_may_lie_before_the_epoch() -> None:
    assert VirtualClock(-2.5).ns == -2_500_000_000


def test_epoch_sized_start_keeps_nanoseconds_where_floats_can() -> None:
    clock = VirtualClock(1.7e9)
    clock.move_to(clock.ns + 1)
    assert clock.ns == 1_700_000_000 * SECOND + 1


def test_moving_sets_both_readings() -> None:
    clock = VirtualClock()
    clock.move_to(2_250_000_000)
    assert (clock.ns, clock.seconds) == (2_250_000_000, 2.25)


def test_seconds_are_raised_to_the_deadline_that_the_instant_fulfils() -> None:
    clock = VirtualClock()
    deadline = math.nextafter(0.3, 1)
    clock.move_to(300_000_000, at_least=deadline)
    assert clock.ns == 300_000_000
    assert clock.seconds == deadline


def test_seconds_never_go_back_after_they_were_raised() -> None:
    clock = VirtualClock()
    deadline = math.nextafter(0.3, 1)
    clock.move_to(300_000_000, at_least=deadline)
    clock.move_to(300_000_000)
    assert clock.seconds == deadline


@given(st.lists(st.integers(0, 10**15)))
def test_seconds_never_go_back(moves: list[int]) -> None:
    clock = VirtualClock()
    readings = []
    for ns in sorted(moves):
        clock.move_to(ns)
        readings.append(clock.seconds)
    assert readings == sorted(readings)


@given(st.integers(0, 10**15))
def test_whole_nanoseconds_up_to_a_million_seconds_survive_the_float(ns: int) -> None:
    assert checked_ns(ns / 1e9, "x") == ns


@pytest.mark.parametrize(
    ("seconds", "ns"),
    [(0, 0), (0.0, 0), (1, SECOND), (0.1, 100_000_000), (1e-9, 1), (4e-10, 0), (6e-10, 1), (1e8, 10**17)],
)
def test_seconds_are_rounded_to_the_nearest_nanosecond(seconds: float, ns: int) -> None:
    assert checked_ns(seconds, "x") == ns


@pytest.mark.parametrize("seconds", [-1, -1e-9, math.nan, math.inf, -math.inf])
def test_seconds_out_of_range_are_refused_with_what_was_got(seconds: float) -> None:
    with pytest.raises(UsageError) as refused:
        checked_ns(seconds, "advance(seconds)")
    assert str(refused.value) == f"advance(seconds) must be a finite number of seconds, 0 or more, got {seconds!r}"


@pytest.mark.parametrize("seconds", ["1", None, True, 1j])
def test_what_is_no_number_is_refused(seconds: object) -> None:
    with pytest.raises(UsageError, match="must be a number of seconds, got"):
        checked_ns(seconds, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (SECOND, "1"),
        (1_500_000_000, "1.5"),
        (10 * SECOND, "10"),
        (86_400 * SECOND, "86400"),
        (-250_000_000, "-0.25"),
    ],
)
def test_text_of_a_time_has_no_float_noise(ns: int, text: str) -> None:
    assert seconds_text(ns) == text


@given(st.integers(-(10**18), 10**18))
def test_text_of_a_time_says_every_nanosecond(ns: int) -> None:
    whole, _, part = seconds_text(abs(ns)).partition(".")
    assert int(whole) * SECOND + int(part.ljust(9, "0")) == abs(ns)
