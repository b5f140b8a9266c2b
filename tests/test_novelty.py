"""Novelty: counts of orders, and the estimate of how many are left."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloop.novelty import Novelty

orders = st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**64 - 1))


def counted(numbers):
    novelty = Novelty()
    for number in numbers:
        novelty.add(number)
    return novelty


def told(novelty):
    return novelty.runs, novelty.distinct, novelty.unseen, novelty.since_new


@given(orders)
def test_the_numbers_are_those_of_a_plain_count(numbers):
    novelty = counted(numbers)
    plain = [number % 2**64 for number in numbers]
    new = [place for place, number in enumerate(plain) if number not in plain[:place]]
    assert novelty.runs == len(plain)
    assert novelty.distinct == len(new)
    assert novelty.since_new == (len(plain) - 1 - new[-1] if new else 0)
    singles = sum(plain.count(number) == 1 for number in plain)
    assert novelty.unseen == (singles / len(plain) if len(plain) >= 10 else None)


@given(orders, orders)
def test_what_was_kept_goes_on_as_if_nothing_had_been_between(first, second):
    kept = Novelty.from_dict(json.loads(json.dumps(counted(first).to_dict())))
    assert told(kept) == told(counted(first))
    for number in second:
        kept.add(number)
    assert told(kept) == told(counted(first + second))


def test_the_estimate_is_near_the_truth():
    # A hundred orders, equally likely: the share not seen after 100 runs is about 1/e.
    numbers = [pow(3, n, 10007) % 100 for n in range(100)]
    assert counted(numbers).unseen == pytest.approx(1 - counted(numbers).distinct / 100, abs=0.08)


@pytest.mark.parametrize(
    "change", [{"runs": 1}, {"since_new": 9}, {"once": "?"}, {"once": "AA=="}, {"more": 3}, {"runs": None}]
)
def test_numbers_of_something_else_are_refused(change):
    values = counted([1, 2, 2, 3]).to_dict() | change
    with pytest.raises((KeyError, TypeError, ValueError)):
        Novelty.from_dict(values)
