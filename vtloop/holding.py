"""Which locks are taken while others are held, and what orders the steps around that: facts of one noted run.

Filled by `vtloop.noting`, judged by `vtloop.diagnosis.lock_order`.  Nothing but a list per task is kept until a task
takes a lock while it holds another; from then on everything that may order two steps without a wake-up is noted as
well: what was put and then got, set and then found set, done and then asked for.  Plain numbers, code objects and
words alone: it must never hold a task, a lock or a frame.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["CLOCK", "Held", "Holding", "LockFacts", "Nesting", "TakeLog"]

MOST_NESTINGS, MOST_ALIKE, MOST_LINKS = 2_000, 3, 200_000
"""Bounds on what is kept; what comes later is not judged."""

MOST_TAKES = 100_000
"""The takes of which the order is known, at least."""

CLOCK = 0
"""The channel of timers and executor calls that the program starts: what a later turn lets in may come from them."""


class TakeLog:
    """The log of a ready line (`vtloop.ready.ReadyLine.log`) as plain numbers, three for each take.

    Attributes:
        append: Takes what the line notes.
        numbers: They, oldest first.
    """

    __slots__ = ("append", "numbers")

    def __init__(self) -> None:
        self.numbers = array("q")
        # Hot: tuples that are kept cost new memory for each take, and far more time than this.
        self.append: Callable[[tuple[int, int, int]], None] = self.numbers.extend

    def trim(self) -> None:
        """Forget the older half of more than enough."""
        if len(self.numbers) > 6 * MOST_TAKES:
            del self.numbers[: 3 * MOST_TAKES]

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        numbers = iter(self.numbers)
        return zip(numbers, numbers, numbers, strict=True)

    def __len__(self) -> int:
        return len(self.numbers) // 3


class LockFacts:
    """What is known of a lock or semaphore.

    Attributes:
        kind: The name of its class.
        made: The code that made it and the last instruction; None when that was not noted.
        permits: How many tasks may hold it at once.
        exclusive: Whether it is a lock, so that whoever holds it keeps all others out.
        across: Whether a task was suspended while it held it.
    """

    __slots__ = ("across", "exclusive", "kind", "made", "permits")

    def __init__(self, kind: str, made: tuple[CodeType, int] | None, permits: int, exclusive: bool) -> None:
        self.kind, self.made, self.permits, self.exclusive = kind, made, permits, exclusive
        self.across = False


class Held(NamedTuple):
    """A lock that a task holds: its number, the take in which it was taken, and where."""

    lock: int
    take: int
    code: CodeType | None
    lasti: int


class Nesting(NamedTuple):
    """A task took ``lock`` while it held others."""

    task: int
    label: str
    held: tuple[Held, ...]
    lock: int
    take: int
    code: CodeType | None
    lasti: int
    time_ns: int
    asked: int
    """The take in which it asked for it: a later one than that of what it holds, if it was suspended in between."""
    epoch: int
    """How many futures made by the program's own code were known to be done."""


class Holding:
    """The facts of one run.

    Attributes:
        locks: By number less 1.
        nestings: In order; of those that are alike in task, locks and places the first few.
        writes: By channel: the takes in which something was put into it.
        reads: By take: channels that were read in it, with how much had been put in by then.
        awaited: By take: the numbers of tasks found done in it.
        handed: Arrivals of tasks woken by a lock that its own holder released.
        watching: Whether nestings were seen, so that the rest is noted.
        begin: Called when the first nesting is seen.
        foreign: Whether locks were taken by tasks that are not the loop's own, whose steps cannot be told apart.
    """

    def __init__(self, line: Any) -> None:
        self._line = line
        self.begin: Callable[[], object] = int
        self.locks: list[LockFacts] = []
        self.nestings: list[Nesting] = []
        self.writes: dict[int, list[int]] = {}
        self.reads: dict[int, list[tuple[int, int]]] = {}
        self.awaited: dict[int, list[int]] = {}
        self.handed: set[int] = set()
        self.watching = False
        self.epoch: Callable[[], int] = int
        self._by_task: dict[int, list[tuple[int, int, CodeType | None, int]]] = {}  # as `Held` has them
        self._asked: dict[int, int] = {}  # by task: the take in which it began to wait for a lock
        self._limits: dict[int, int] = {}  # by task: how many timeouts it is inside of
        self._alike: dict[Any, int] = {}
        self._links = self._channels = 0
        self.foreign = False

    # -- locks --------------------------------------------------------------------------------------------------

    def add(self, facts: LockFacts) -> int:
        """The number of a further lock."""
        self.locks.append(facts)
        return len(self.locks)

    def acquired(self, entry: Any, raw: Any, task: int) -> None:
        """``task`` has taken what ``entry`` notes; ``raw`` is the touch."""
        entry.owner = task
        if not task:
            return
        lock, take = entry.number, raw[3]
        asked = self._asked.pop(task, take)
        held = self._by_task.get(task)
        mine = (lock, take, raw[5], raw[6])
        if not held:
            self._by_task[task] = [mine]
        else:
            if lock in [one[0] for one in held]:
                return  # one more permit
            # Taken in the very step in which the program asked whether it is free: such a take never waits.
            tried = entry.tried == take
            nests = self.locks[lock - 1].exclusive and any(self.locks[one[0] - 1].exclusive for one in held)
            if nests and not tried and not self._limits.get(task):
                around = tuple(Held(*one) for one in held)
                self._nest(Nesting(task, raw[1], around, lock, take, raw[5], raw[6], raw[2], asked, 0))
            held.append(mine)
        if self.watching:
            self.look(lock)

    def asks(self, take: int, task: int) -> None:
        """``task`` begins to wait for a lock."""
        self._asked[task] = take

    def released(self, entry: Any, take: int, task: int, wakes: bool) -> None:
        """``task`` has released what ``entry`` notes, which wakes the next waiter or not."""
        lock = entry.number
        facts = self.locks[lock - 1]
        owner = entry.owner if facts.exclusive else task
        held = self._by_task.get(owner, [])
        mine = held[-1] if held else None
        if mine is not None and mine[0] != lock:
            mine = next((one for one in held if one[0] == lock), None)
        if mine is not None:
            if len(held) == 1:
                del self._by_task[owner]
            else:
                held.remove(mine)
            if mine[1] != take:
                facts.across = True
        if not self.watching:
            return
        if mine is None or owner != task or entry.shared:
            self.write(entry)
        elif wakes:
            self.handed.add(self._line.takes + len(self._line.items))

    def limited(self, task: int, more: int) -> None:
        """``task`` has gone into a timeout (1) or out of one (-1)."""
        self._limits[task] = max(0, self._limits.get(task, 0) + more)

    def finish(self) -> None:
        """The run is over: what is still held was held across an await, unless taken in the last step."""
        for held in self._by_task.values():
            for one in held:
                if one[1] != self._line.takes:
                    self.locks[one[0] - 1].across = True

    def _nest(self, nesting: Nesting) -> None:
        alike = (nesting.task, nesting.held[-1].lock, nesting.lock, nesting.code, nesting.lasti)
        count = self._alike.get(alike, 0)
        if count < MOST_ALIKE and len(self.nestings) < MOST_NESTINGS and self._links < MOST_LINKS:
            self._alike[alike] = count + 1
            if isinstance(self._line.log, TakeLog):
                self._line.log.trim()
            self.nestings.append(nesting._replace(epoch=self.epoch()))
            if not self.watching:
                self.watching = True
                self.begin()

    # -- what orders steps without a wake-up ----------------------------------------------------------------------

    def write(self, entry: Any) -> None:
        """Something is put into what ``entry`` notes."""
        entry.number = self.put(entry.number or self.channel())

    def channel(self) -> int:
        """The number of a further channel."""
        self._channels += 1
        return -self._channels

    def put(self, channel: int) -> int:
        """Something is put into a channel, whose number comes back."""
        takes = self.writes.setdefault(channel, [])
        if not takes or takes[-1] != self._line.takes:
            takes.append(self._line.takes)
            self._links += 1
        return channel

    def look(self, channel: int) -> None:
        """Whatever was put into a channel may have been seen now."""
        known = self.writes.get(channel)
        if known:
            found = self.reads.setdefault(self._line.takes, [])
            link = (channel, len(known))
            if link not in found[-1:]:
                found.append(link)
                self._links += 1

    def found_done(self, task: int) -> None:
        """The task of that number was found done."""
        found = self.awaited.setdefault(self._line.takes, [])
        if task not in found[-1:]:
            found.append(task)
            self._links += 1
