"""The wait-for graph as plain values: tasks, what each waits for, the primitives, and the circles.

Made by `waits`, read by `describe` and `verdict`.  Frozen (what there are thousands of as tuples, which are made
quickly): it must never hold an object of the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vtloop.diagnosis.chains import Place
from vtloop.diagnosis.noted import NOTHING, Noted

__all__ = ["HELD", "IN_LINE", "MOST", "READING", "CycleStep", "TaskWait", "Thing", "UnreadError", "Wait", "WaitGraph"]

HELD = ("Lock", "Semaphore", "CapacityLimiter")
"""The kinds that tasks hold."""

IN_LINE = (
    *HELD,
    "Condition",
    "Queue.get",
    "Queue.put",
    "MemoryObjectReceiveStream.receive",
    "MemoryObjectSendStream.send",
)
"""The kinds whose waiters are woken one after the other, first come, first served."""

MOST = 100
"""The most tasks listed of one stack, names in one list, steps of one cycle, errors, and primitives asked for notes."""

READING = ("StreamReader.read", "StreamReader.readexactly", "StreamReader.readuntil", "StreamReader.readline")
"""The kinds that wait for data of a stream."""


class Wait(NamedTuple):
    """What one task waits for."""

    kind: str
    """``"Lock"``, ``"Condition"``, ``"Event"``, ``"Semaphore"``, ``"Barrier"``, ``"Queue.get"``, ``"Queue.put"``,
    ``"Queue.join"``, ``"sleep"``, ``"task"``, ``"gather"``, ``"wait"``, ``"wait_for"``, ``"TaskGroup"``, ``"shield"``,
    ``"executor call"``, ``"as_completed"``, ``"future"``; of anyio also ``"CapacityLimiter"``, ``"TaskGroup.start"``,
    ``"MemoryObjectReceiveStream.receive"``, ``"MemoryObjectSendStream.send"``, ``"BlockingPortal"``; or the name of
    another coroutine of asyncio or anyio."""
    name: str | None
    """What the program calls it; None when no frame of the chain holds it under a name."""
    detail: str | None
    """A further fact: ``"2 of 3 there"``, ``"full, maxsize 1"``, ``"until t=5 s"``."""
    holders: tuple[str, ...]
    """Labels of the tasks that hold it; empty for a lock that is taken means: taken by hand, holder unknown."""
    waits_on: tuple[int, ...]
    """Indexes of the pending tasks whose progress would end the wait: holders, children, the awaited task."""
    limit: str | None
    """The nearest `asyncio.timeout` or anyio cancel scope around the wait, as ``"t=10 s"``."""
    taken: bool
    """For a lock or semaphore: whether it is taken at all."""
    ambiguous: bool = False
    """For a lock: its holder is unknown because several tasks look like it."""
    by_hand: bool = False
    """For a lock: its holder took it by ``acquire()``."""
    ended: tuple[str, ...] = ()
    """For a lock: names of tasks that took it, did not give it back, and have ended."""
    library: str = "asyncio"
    """``"asyncio"`` or ``"anyio"``: whose primitive it is."""
    thing: int | None = None
    """The number of the primitive among the graph's `things`."""


class Thing(NamedTuple):
    """One primitive that tasks wait for."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    kind: str
    library: str
    name: str | None
    waiters: tuple[int, ...]
    """Indexes of the tasks that wait for it, first in line first; of an event, in the order they came."""
    still: bool = True
    """Whether its state is that of one which nobody touched: an event that is not set, a queue that is empty."""
    noted: Noted = NOTHING
    """What the notes of a recorded run say of it."""

    @property
    def in_order(self) -> bool:
        """Whether its waiters are woken one after the other."""
        return self.kind in IN_LINE


class TaskWait(NamedTuple):
    """One pending task, its await chain, and what it waits for."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    name: str
    label: str
    """The name as texts use it: unique in the graph, with the coroutine's name added to ``Task-3``."""
    coroutine: str
    is_main: bool
    state: str
    """``"waiting"``, ``"ready"`` (will run at its turn), ``"running"`` or ``"not started"``."""
    chain: tuple[Place, ...]
    stack: int
    """Equal for tasks standing at the same lines for the same kind of thing."""
    created: Place | None
    wait: Wait | None


@dataclass(frozen=True, slots=True)
class CycleStep:
    """`task` waits for `primitive`, which waits for `holder`."""

    task: str
    primitive: str
    holder: str
    held: bool
    """True for a lock or semaphore held by `holder`, False for a task that must end first."""


@dataclass(frozen=True, slots=True)
class UnreadError:
    """The exception of a finished task that nobody has read."""

    task: str
    error: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class WaitGraph:
    """All pending tasks in the order given, and the circles among them."""

    tasks: tuple[TaskWait, ...]
    cycles: tuple[tuple[CycleStep, ...], ...]
    things: tuple[Thing, ...] = ()
    """What the tasks wait for, in the order of the first task that waits for each."""

    @property
    def main(self) -> TaskWait | None:
        """The main task, when it is among them."""
        return next((t for t in self.tasks if t.is_main), None)
