"""Timers that fall due together: the orders that real time allows, and no other."""

from __future__ import annotations

from itertools import combinations, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from vtloop.handles import TimerHandle
from vtloop.ties import may_swap, order_ties


def timer(when_ns: int, made_ns: int = 0, absolute: bool = False) -> TimerHandle:
    handle = TimerHandle.__new__(TimerHandle)
    handle._callback, handle._args = object(), ()  # no two are equal
    handle._when_ns, handle._when = when_ns, when_ns / 1e9
    handle._made_ns, handle._absolute = made_ns, absolute
    return handle


def test_equal_call_at_values_may_swap() -> None:
    assert may_swap(timer(5, absolute=True), timer(5, absolute=True))


def test_equal_delays_from_one_instant_keep_their_order() -> None:
    assert not may_swap(timer(5), timer(5))


def test_call_at_and_call_later_from_one_instant_keep_their_order() -> None:
    assert not may_swap(timer(5, absolute=True), timer(5))


def test_shorter_delay_made_later_may_come_first() -> None:
    assert may_swap(timer(5, made_ns=0), timer(5, made_ns=3))


def possible_orders(due: list[TimerHandle]) -> set[tuple[int, ...]]:
    """Every order that some answers to the choices give."""
    found = set()
    answers: list[list[int]] = [[]]
    while answers:
        prefix = answers.pop()
        asked: list[int] = []

        def choose(kind: str, options: int) -> int:
            assert kind == "timer"
            assert options > 1
            asked.append(options)
            return prefix[len(asked) - 1] if len(asked) <= len(prefix) else 0

        ordered = order_ties(list(due), choose)
        found.add(tuple(due.index(handle) for handle in ordered))
        for place in range(len(prefix), len(asked)):
            zeros = [0] * (place - len(prefix))
            answers += [[*prefix, *zeros, answer] for answer in range(1, asked[place])]
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(8, 9), st.integers(0, 2), st.booleans()), max_size=5))
def test_orders_of_due_timers_are_exactly_those_that_real_time_allows(specs: list[tuple[int, int, bool]]) -> None:
    specs = sorted(specs, key=lambda spec: (spec[0], spec[1]))  # in (deadline, creation) order
    due = [timer(*spec) for spec in specs]

    def allowed(order: tuple[int, ...]) -> bool:
        return all(
            first < second or (due[first]._when_ns == due[second]._when_ns and may_swap(due[second], due[first]))
            for first, second in combinations(order, 2)
        )

    assert possible_orders(due) == {order for order in permutations(range(len(due))) if allowed(order)}


def test_calm_choices_leave_ties_in_order_of_creation() -> None:
    due = [timer(5, absolute=True) for _ in range(40)]
    assert order_ties(due, lambda kind, options: 0) == due


def test_tie_with_one_order_asks_nothing() -> None:
    def choose(kind: str, options: int) -> int:
        raise AssertionError("asked")

    due = [timer(4, absolute=True), timer(5), timer(5), timer(6, made_ns=3)]
    assert order_ties(due, choose) == due


def test_a_tie_changes_places_with_the_next_seven_at_most() -> None:
    asked = []

    def choose(kind: str, options: int) -> int:
        asked.append(options)
        return options - 1

    order_ties([timer(5, absolute=True) for _ in range(20)], choose)
    assert asked == [8] * 13 + list(range(7, 1, -1))
