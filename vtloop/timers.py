"""The timer queue: deadlines in order, ties in order of creation.

Used by the loop only.  New timers go into an unsorted list; only when the clock must jump are those still
living sorted in.  A timeout that is set and cancelled within one instant therefore never costs a sort, and
timers with the same deadline share one entry.  It must never call a callback.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any

from sortedcontainers import SortedList

from vtloop.handles import TimerHandle

__all__ = ["TimerQueue"]

_NEAR = 512
"""How many of the nearest deadlines stay in a plain list in front of the `SortedList` once timers come one by one."""


class TimerQueue:
    """Pending timers, all with a deadline later than the clock at the time they were added.

    Adding is O(1); a deadline is sorted in at most once, O(log n); cancelling is O(1) amortised: the callback
    is dropped at once, the empty handle when half of the queue is empty handles.

    Invariant: every deadline in ``_near`` is earlier than every one in ``_far``, and each has a bucket.

    Attributes:
        new: Timers not sorted in yet, in order of creation; the loop appends to it directly.
    """

    __slots__ = ("_buckets", "_dead", "_far", "_near", "_sorted", "new")

    def __init__(self) -> None:
        self.new: list[TimerHandle] = []
        self._buckets: dict[int, Any] = {}  # a handle, or a list of several
        # Hot: keys are negative deadlines, in ascending order, so that the nearest is at the cheap end of the list.
        self._near: list[int] = []
        self._far: SortedList | None = None
        self._sorted = 0
        self._dead = 0

    def __len__(self) -> int:
        """How many living timers wait."""
        return len(self.new) + self._sorted - self._dead

    def waiting(self) -> bool:
        """Whether any timer waits, one cancelled a moment ago perhaps; cheaper than `len`."""
        return bool(self.new or self._near or self._far)

    def cancelled(self) -> None:
        """Told by a handle that it was cancelled."""
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self.new) + self._sorted:
            self._sweep()

    def next_deadline(self) -> int | None:
        """The earliest deadline of a living timer in nanoseconds, or None when none is pending."""
        if self.new:
            self._sort_in()
        near, buckets = self._near, self._buckets
        while near or self._refill():
            if self._alive(near[-1]):
                return -near[-1]
            self._drop(buckets.pop(near.pop()))
        return None

    def deadline_after(self, when_ns: int) -> int | None:
        """The earliest deadline of a living timer later than ``when_ns``, or None; O(log n) and the dead on the way."""
        if self.new:
            self._sort_in()
        near = self._near
        for position in range(bisect_left(near, -when_ns) - 1, -1, -1):
            if self._alive(near[position]):
                return -near[position]
        for deadline in self._far.irange(when_ns, inclusive=(False, True)) if self._far else ():
            if self._alive(-deadline):
                return int(deadline)
        return None

    def _alive(self, key: int) -> bool:
        bucket = self._buckets[key]
        if type(bucket) is list:
            return any(handle._callback is not None for handle in bucket)
        return bucket._callback is not None

    # Hot: called once a jump.  Measured by the rows "timers" of the benchmarks.
    def pop_next(self) -> tuple[int, list[TimerHandle]] | None:
        """Take out the living timers of the earliest deadline: ``(deadline, timers in order of creation)``."""
        if self.new:
            self._sort_in()
        near = self._near
        while near or self._refill():
            key = near.pop()
            bucket = self._buckets.pop(key)
            if type(bucket) is not list:
                self._sorted -= 1
                if bucket._callback is not None:
                    bucket._queue = None
                    return -key, [bucket]
                self._dead -= 1
                continue
            self._sorted -= len(bucket)
            alive = [handle for handle in bucket if handle._callback is not None]
            self._dead -= len(bucket) - len(alive)
            if alive:
                for handle in alive:
                    handle._queue = None
                return -key, alive
        return None

    def pop_due(self, now_ns: int) -> list[TimerHandle]:
        """Take out all timers with a deadline up to and including ``now_ns``, in (deadline, creation) order."""
        due: list[TimerHandle] = []
        while (when_ns := self.next_deadline()) is not None and when_ns <= now_ns:
            found = self.pop_next()
            if found is not None:
                due += found[1]
        return due

    def pending(self) -> list[TimerHandle]:
        """All living timers, in (deadline, creation) order; for reports, O(n log n)."""
        alive = [handle for handle in self._handles() + self.new if handle._callback is not None]
        return sorted(alive, key=lambda handle: handle._when_ns)

    def clear(self) -> None:
        """Forget every timer; cancelling one later changes nothing here."""
        for handle in self._handles() + self.new:
            handle._queue = None
        self.new.clear()
        self._buckets.clear()
        self._near.clear()
        self._far = None
        self._sorted = self._dead = 0

    def _drop(self, bucket: list[TimerHandle] | TimerHandle) -> None:
        size = len(bucket) if isinstance(bucket, list) else 1
        self._sorted -= size
        self._dead -= size

    def _sort_in(self) -> None:
        """Give every living new timer its place in the order."""
        buckets, new = self._buckets, self.new
        fresh: list[int] = []
        dead = 0
        for handle in new:
            if handle._callback is None:
                dead += 1
                continue
            key = -handle._when_ns
            bucket = buckets.get(key)
            if bucket is None:
                buckets[key] = handle
                fresh.append(key)
            elif type(bucket) is list:
                bucket.append(handle)
            else:
                buckets[key] = [bucket, handle]
        self._sorted += len(new) - dead
        self._dead -= dead
        new.clear()
        self._place(fresh)

    def _place(self, fresh: list[int]) -> None:
        """Put new keys where they belong: many at once into the short list, a few into either."""
        near, far = self._near, self._far
        if not far:
            if len(fresh) * 8 > len(near):
                near += fresh
                near.sort()  # one merge: what was there is in order already
                return
            if len(near) > 2 * _NEAR:
                far = self._spill()
        if not far:
            for key in fresh:
                insort(near, key)
            return
        horizon = -far[0]
        for key in fresh:
            if key > horizon:
                insort(near, key)
            else:
                far.add(-key)
        if len(near) > 4 * _NEAR:
            self._spill()

    def _spill(self) -> SortedList:
        """Keep the nearest deadlines in the short list and move the rest into the long one, which is given back."""
        near = self._near
        if self._far is None:
            self._far = SortedList()
        self._far.update([-key for key in near[:-_NEAR]])
        del near[:-_NEAR]
        return self._far

    def _refill(self) -> bool:
        """Move the nearest deadlines of the long list into the empty short one; False when there are none."""
        far = self._far
        if not far:
            return False
        self._near += [-far.pop(0) for _ in range(min(_NEAR, len(far)))]
        self._near.reverse()
        return True

    def _sweep(self) -> None:
        """Throw out cancelled handles: O(n), paid for by at least n/2 cancellations."""
        sorted_in = self._handles()
        # Sorted handles were made before any new one with the same deadline, so they go first.
        alive = [handle for handle in sorted_in + self.new if handle._callback is not None]
        self.clear()
        for handle in alive:
            handle._queue = self
        self.new += alive

    def _handles(self) -> list[TimerHandle]:
        return [h for bucket in self._buckets.values() for h in (bucket if isinstance(bucket, list) else [bucket])]

    def _check(self) -> None:
        """Assert every invariant; for tests."""
        deadlines = [-key for key in reversed(self._near)] + list(self._far or ())
        assert deadlines == sorted(set(deadlines)), "deadlines out of order or doubled"
        assert {-when_ns for when_ns in deadlines} == set(self._buckets), "deadlines and buckets differ"
        handles = self._handles()
        assert len(handles) == self._sorted
        assert sum(h._callback is None for h in handles + self.new) == self._dead
