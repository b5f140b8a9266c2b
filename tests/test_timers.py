"""The timer queue, held against a list that is sorted anew for every question."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vtloop
from vtloop.handles import TimerHandle
from vtloop.timers import TimerQueue


def timer(queue: TimerQueue, when_ns: int, name: Any = None) -> TimerHandle:
    """A timer as the loop makes it: the slots filled by hand."""
    handle = TimerHandle.__new__(TimerHandle)
    handle._callback = print
    handle._args = (name,)
    handle._when = when_ns / 1e9
    handle._when_ns = when_ns
    handle._made_ns = 0
    handle._absolute = False
    handle._queue = queue
    queue.new.append(handle)
    return handle


def test_empty_queue_has_no_deadline() -> None:
    queue = TimerQueue()
    assert queue.next_deadline() is None
    assert queue.pop_next() is None
    assert (len(queue), queue.pending(), queue.pop_due(10**18)) == (0, [], [])
    queue._check()


def test_ties_come_out_in_order_of_creation() -> None:
    queue = TimerQueue()
    made = [timer(queue, 5, n) for n in range(5)]
    assert queue.pop_next() == (5, made)


def test_tie_made_after_the_others_were_sorted_in_comes_last() -> None:
    queue = TimerQueue()
    first = timer(queue, 5)
    assert queue.next_deadline() == 5
    second = timer(queue, 5)
    assert queue.next_deadline() == 5
    third = timer(queue, 5)
    queue._check()
    assert queue.pop_next() == (5, [first, second, third])


def test_due_timers_come_out_by_deadline_and_then_creation_up_to_and_including_now() -> None:
    queue = TimerQueue()
    late, a, early, b, after = (timer(queue, when) for when in (7, 5, 2, 5, 8))
    assert queue.pop_due(7) == [early, a, b, late]
    assert queue.pending() == [after]


def test_cancelled_timer_is_no_deadline() -> None:
    queue = TimerQueue()
    gone, stays = timer(queue, 1), timer(queue, 2)
    assert queue.next_deadline() == 1
    gone.cancel()
    assert queue.pop_next() == (2, [stays])
    queue._check()


def test_timer_cancelled_before_it_was_sorted_in_never_is() -> None:
    queue = TimerQueue()
    for _ in range(60):
        timer(queue, 1).cancel()
    assert len(queue) == 0
    assert queue.next_deadline() is None
    assert queue._buckets == {}
    queue._check()


def test_one_cancelled_of_a_tie_leaves_the_others_in_order() -> None:
    queue = TimerQueue()
    made = [timer(queue, 3, n) for n in range(4)]
    queue.next_deadline()
    made[1].cancel()
    assert queue.pop_next() == (3, [made[0], made[2], made[3]])
    queue._check()


def test_cancelling_twice_counts_once() -> None:
    queue = TimerQueue()
    gone, _stays = timer(queue, 1), timer(queue, 2)
    gone.cancel()
    gone.cancel()
    assert len(queue) == 1
    queue._check()


def test_cancelling_after_it_was_taken_out_does_not_disturb_the_queue() -> None:
    queue = TimerQueue()
    fired, tie, stays = timer(queue, 1), timer(queue, 1), timer(queue, 2)
    assert queue.pop_next() == (1, [fired, tie])
    fired.cancel()
    tie.cancel()
    assert len(queue) == 1
    assert queue.pending() == [stays]
    queue._check()


def test_single_timer_taken_out_may_be_cancelled_too() -> None:
    queue = TimerQueue()
    fired = timer(queue, 1)
    queue.pop_next()
    fired.cancel()
    assert len(queue) == 0
    queue._check()


def test_sweeping_out_cancelled_timers_keeps_order_of_ties() -> None:
    queue = TimerQueue()
    stay = [timer(queue, 9, n) for n in range(3)]
    queue.next_deadline()
    stay.append(timer(queue, 9, 3))
    for gone in [timer(queue, 1) for _ in range(200)]:
        gone.cancel()
    assert len(queue) == 4
    queue._check()
    assert queue.pop_next() == (9, stay)


def test_cancelled_timers_do_not_pile_up() -> None:
    queue = TimerQueue()
    keep = timer(queue, 10**12)
    for when in range(1, 10_001):
        timer(queue, when).cancel()
        if when % 3 == 0:
            queue.next_deadline()
    assert len(queue.new) + queue._sorted < 200
    assert queue.pending() == [keep]


def test_clearing_forgets_everything() -> None:
    queue = TimerQueue()
    for when in range(3000):
        timer(queue, when + 1)
    queue.next_deadline()
    timer(queue, 1)
    queue.clear()
    assert (len(queue), queue.next_deadline()) == (0, None)
    queue._check()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=100))
def test_everything_comes_out_in_deadline_and_creation_order(deadlines: list[int]) -> None:
    queue = TimerQueue()
    for n, when in enumerate(deadlines):
        timer(queue, when, n)
    out = [(handle._when_ns, handle._args[0]) for handle in queue.pop_due(50)]
    assert out == sorted((when, n) for n, when in enumerate(deadlines))


class AgainstAList(RuleBasedStateMachine):
    """The queue and a plain list of living timers, asked the same questions."""

    @initialize()
    def begin(self) -> None:
        self.queue = TimerQueue()
        self.model: list[TimerHandle] = []
        self.taken: list[TimerHandle] = []
        self.now = 0

    def in_order(self) -> list[TimerHandle]:
        return sorted(self.model, key=lambda handle: handle._when_ns)  # stable: ties by creation

    @rule(delay=st.integers(1, 12))
    def add(self, delay: int) -> None:
        self.model.append(timer(self.queue, self.now + delay))

    @rule(first=st.integers(1, 40), count=st.integers(20, 700), step=st.integers(0, 3))
    def add_many(self, first: int, count: int, step: int) -> None:
        self.model += [timer(self.queue, self.now + first + n * step) for n in range(count)]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        self.model.pop(data.draw(st.integers(0, len(self.model) - 1))).cancel()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel_most(self, data: Any) -> None:
        keep = data.draw(st.integers(2, 9))
        for n, handle in enumerate(self.model):
            if n % keep:
                handle.cancel()
        self.model = self.model[::keep]

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def cancel_taken(self, data: Any) -> None:
        self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1))).cancel()

    @rule()
    def ask(self) -> None:
        expected = self.in_order()
        assert self.queue.next_deadline() == (expected[0]._when_ns if expected else None)

    @rule()
    def jump(self) -> None:
        found = self.queue.pop_next()
        if found is None:
            assert self.model == []
            return
        when, out = found
        self.now = when
        assert when == self.in_order()[0]._when_ns
        assert out == [handle for handle in self.model if handle._when_ns == when]
        self.model = [handle for handle in self.model if handle._when_ns != when]
        self.taken += out

    @rule(distance=st.integers(0, 60))
    def move(self, distance: int) -> None:
        self.now += distance
        out = self.queue.pop_due(self.now)
        assert out == [handle for handle in self.in_order() if handle._when_ns <= self.now]
        self.model = [handle for handle in self.model if handle._when_ns > self.now]
        self.taken += out

    @invariant()
    def agree(self) -> None:
        assert len(self.queue) == len(self.model)
        assert self.queue.pending() == self.in_order()
        self.queue._check()


AgainstAList.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAgainstAList = pytest.mark.slow(AgainstAList.TestCase)


@pytest.mark.slow
def test_a_million_pending_timers_fire_in_order() -> None:
    count = 1_000_000
    fired = 0
    last = (-1.0, -1)

    def fire(number: int) -> None:
        nonlocal fired, last
        now = (loop.time(), number)
        assert now > last
        fired, last = fired + 1, now

    with vtloop.EventLoop() as loop:
        began = time.perf_counter()
        for number in range(count):
            # Deadlines in a scrambled order, ten timers to each.
            loop.call_later(1 + (number * 7919) % (count // 10) / 1000, fire, number)
        loop.run_until_idle()
        took = time.perf_counter() - began
    assert fired == count
    assert took < 60, f"{took:.1f} s for {count:,} timers"


@pytest.mark.slow
def test_a_million_pending_timers_can_all_be_cancelled() -> None:
    with vtloop.EventLoop() as loop:
        timers = [loop.call_later(1 + n % 1000, print, n) for n in range(1_000_000)]
        loop.run_ready()
        for handle in timers:
            handle.cancel()
        loop.run_until_idle()
        assert loop.time() == 0
        loop._timers._check()


def test_timer_cancelled_after_its_queue_was_cleared_changes_nothing():
    with vtloop.EventLoop() as loop:
        handles = [loop.call_later(delay, print) for delay in (1, 1, 2)]
        queue = loop._timers
    for handle in handles:
        handle.cancel()
    assert len(queue) == 0
    queue._check()
