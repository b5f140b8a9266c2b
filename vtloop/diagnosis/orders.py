"""Which of two steps of a run came first of necessity, as far as it can be known.

Called by `lock_order` when it has found a circle.  Happens-before, after L. Lamport (CACM 1978): a step comes after the
step that made it ready and after the steps of its task before it.  What a run shows of order without a wake-up is
added by what `vtloop.holding.Holding` noted: put and got, set and seen, done and asked for.  In doubt two steps are
ordered: a task that ended before another was made is taken to come first, its maker to have seen its end, and a task
that polls to have seen everything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

from vtloop.holding import CLOCK, Holding, Nesting

__all__ = ["StepOrder"]

_Node = tuple[int, int]
"""``(0, take)``, or ``(channel's place, how much was put into it)``; see `StepOrder._before`."""

_NEVER = 1 << 62

_POLLS = 4
"""Steps in a row that nobody else caused, from which on a task is taken to poll."""

_MOST_VISITS = 300_000
"""Bounds what one run's questions may cost, some tenths of a second; then all is in doubt."""


class StepOrder:
    """The order of the takes of one run.

    Args:
        holding: What was noted.
        line: The ready line, with its log.
        pending: The numbers of the tasks that have not ended.
    """

    def __init__(self, holding: Holding, line: Any, pending: set[int]) -> None:
        self._holding = holding
        log = list(line.log)
        self._first: int = line.takes - len(log) + 1  # the take of the first entry
        self._whole = isinstance(line.log, list) and self._first != 1  # a log that lost its count tells nothing
        self._born = [born for born, _, _ in log]
        self._owners = [task for _, _, task in log]
        self._arrived = [self._first + place + left for place, (_, left, _) in enumerate(log)]
        self._steps: dict[int, list[int]] = {}
        self._tasks: dict[int, set[int]] = {}  # by take
        for place, (_, _, task) in enumerate(log):
            if task:
                self._step(task, self._first + place)
        for one in holding.nestings:  # eager tasks run in the steps of others
            self._step(one.task, one.take)
        for steps in self._steps.values():
            steps.sort()
        self._made = {task: self._origin(steps[0]) for task, steps in self._steps.items()}
        self._ended = {task: _NEVER if task in pending else steps[-1] for task, steps in self._steps.items()}
        self._seen_ends = self._ends_seen_by_makers()
        self._known: dict[tuple[int, int], bool] = {}
        self._visits = _MOST_VISITS

    def apart(self, one: Nesting, other: Nesting) -> bool:
        """Whether neither of the two is known to come first."""
        if one.take > other.take:
            one, other = other, one
        if self._whole or one.take == other.take or one.take <= self._first or one.epoch != other.epoch:
            return False
        ended, made = self._ended.get(one.task, _NEVER), self._made.get(other.task)
        if made is None or ended <= made:
            return False
        key = (one.take, other.take)
        if key not in self._known:
            self._known[key] = self._polls(other.task, *key) or self._before(*key)
        return not self._known[key]

    # -- parts --------------------------------------------------------------------------------------------------

    def _step(self, task: int, take: int) -> None:
        steps = self._steps.setdefault(task, [])
        if take not in self._tasks or task not in self._tasks[take]:
            steps.append(take)
            self._tasks.setdefault(take, set()).add(task)

    def _origin(self, take: int) -> int | None:
        """The take in which the item of ``take`` joined the line."""
        place = take - self._first
        if not 0 <= place < len(self._born):
            return None
        born = self._born[place]
        return self._first + bisect_right(self._arrived, born if born >= 0 else ~born) - 1

    def _ends_seen_by_makers(self) -> dict[int, list[int]]:
        """By take: the last takes of tasks that its task made, which had ended by then."""
        seen: dict[int, list[int]] = {}
        for task, ended in self._ended.items():
            made = self._made[task]
            for maker in self._tasks.get(made, ()) if made is not None and ended != _NEVER else ():
                steps = self._steps[maker]
                after = bisect_left(steps, ended)
                if maker != task and after < len(steps):
                    seen.setdefault(steps[after], []).append(ended)
        return seen

    def _polls(self, task: int, first: int, last: int) -> bool:
        """Whether ``task`` did nothing but wake up by itself for several steps: it may have looked for a change."""
        steps = self._steps[task]
        alone = 0
        for take in steps[bisect_right(steps, first) : bisect_right(steps, last)]:
            self._visits -= 1
            cause = self._origin(take)
            place = cause - self._first if cause is not None else -1
            if place < 0 or (owner := self._owners[place]) == task:
                alone += 1  # a bare yield
            elif not owner and (timer := self._origin(self._first + place)) and self._is_mark(timer):
                alone += 1  # a timer, in most cases of its own
            else:
                alone = 0
            if alone == _POLLS:
                return True
        return False

    def _is_mark(self, take: int) -> bool:
        place = take - self._first
        return 0 <= place < len(self._born) and self._born[place] < 0

    def _before(self, first: int, last: int) -> bool:
        """Whether the take ``first`` leads to the take ``last``, or that is in doubt; O(takes between them)."""
        todo, known = [(_NEVER, last)], {(_NEVER, last)}
        while todo:
            self._visits -= 1
            if self._visits < 0:
                return True
            for node in self._causes(*todo.pop()):
                if node[0] == _NEVER:
                    if node[1] == first:
                        return True
                    if node[1] < first:
                        continue
                if node not in known:
                    known.add(node)
                    todo.append(node)
        return False

    def _causes(self, channel: int, at: int) -> list[_Node]:
        """What comes before a take (``channel`` is _NEVER), or is in a channel when so much was put in."""
        holding = self._holding
        if channel != _NEVER:
            return [(_NEVER, holding.writes[channel][at - 1])] + ([(channel, at - 1)] if at > 1 else [])
        causes: list[_Node] = []
        for task in self._tasks.get(at, ()):
            steps = self._steps[task]
            place = bisect_left(steps, at)
            if place:
                causes.append((_NEVER, steps[place - 1]))
        place = at - self._first
        born = self._born[place] if 0 <= place < len(self._born) else 0
        origin = self._origin(at)
        if born < 0:
            put = bisect_left(holding.writes.get(CLOCK, ()), at)
            if put:
                causes.append((CLOCK, put))
        elif origin is not None and born not in holding.handed:
            causes.append((_NEVER, origin))
        causes += holding.reads.get(at, ())
        for task in holding.awaited.get(at, ()):
            steps = self._steps.get(task, [])
            place = bisect_right(steps, at)
            if place:
                causes.append((_NEVER, steps[place - 1]))
        causes += [(_NEVER, ended) for ended in self._seen_ends.get(at, ())]
        return causes
