"""The deviations of a recorded run, told in more than one way: who ran early, who stood back, or the fewest of both.

A task that stands back for ten picks shows as ten others that "ran early", or as one hold.  Each way gives exactly the
same run back (`vtloop.schedulers.replay.KeyedReplay`).  Used by the shrinker, which wants few choices, and by reports.
It must never run anything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from vtloop.keys import NO_TASK
from vtloop.recording import Recording
from vtloop.trace import Choice

__all__ = ["fewest", "holds", "worded"]

MOST_PAIRS = 20_000
"""Pairs of who stood back and who ran past it, beyond which `fewest` only compares the two plain ways."""

NAMED = 3
"""How many of those who ran past are named in words."""


def holds(recording: Recording) -> list[Choice]:
    """The deviations of a run with every step that ran early told as others that stood back, in order.

    A *hold* says of a task's step how many takes after its own place in asyncio's own order it ran at last.  At every
    choice the first item that is not held runs: that is the run again.
    """
    return [choice for _, choice in sorted(_Passing(recording).told(), key=_when)]


def fewest(recording: Recording) -> list[Choice]:
    """The deviations of a run as the smallest mix of "ran early" and "stood back" that gives the same run.

    Every pair of a step that stood back and one that ran past it has to be explained by one of the two: a smallest
    vertex cover of a bipartite graph, which a largest matching gives (D. Konig, 1931).
    """
    passing = _Passing(recording)
    if len(passing.back) * len(passing.early) > MOST_PAIRS:
        few = passing.told() if len(passing.back) <= len(passing.early) else passing.plain()
    else:
        back, early = _cover([passing.past(number) for number in range(len(passing.back))])
        few = passing.told(back, early)
    return [choice for _, choice in sorted(few, key=_when)]


def worded(recording: Recording, choices: Sequence[Choice]) -> list[Choice]:
    """``choices``, with which a run was played back, in the words of that run."""
    passing = _Passing(recording)
    known = {(*choice.key, choice.age): choice.words for choice in recording.choices}
    stood = {key: number for number, (key, *_) in enumerate(passing.back)}
    told = []
    for choice in choices:
        words = known.get((*choice.key, choice.age))
        if choice.kind == "hold" and choice.key[1:] in stood:
            words = passing.words(stood[choice.key[1:]])
        told.append(replace(choice, words=words) if words else choice)
    return told


_Placed = tuple[tuple[int, int], Choice]
"""A choice with its place in the run: the number of the recorded choice at which it began, and its birth."""


def _when(placed: _Placed) -> tuple[int, int]:
    return placed[0]


class _Passing:
    """Who was run past by whom.

    Attributes:
        back: The steps that stood back: ``(key, born, take, for good)``.
        early: The numbers, in the recording, of the choices by which a step ran early.
    """

    def __init__(self, recording: Recording) -> None:
        self._choices, self._places = recording.choices, recording.places
        self.back = [(*stood, False) for stood in recording.stood]
        self.back += [(*standing, True) for standing in recording.standing]
        self.early = [number for number, choice in enumerate(self._choices) if choice.kind == "step"]
        # Who arrived later and ran earlier has run past: the first is found where the latest birth up to there grows.
        self._latest = list(accumulate((born for _, born in self._places), max))

    def past(self, number: int) -> list[int]:
        """The choices by which others ran past the step ``number`` of ``back``, in order."""
        _, born, take, _ = self.back[number]
        first = bisect_right(self._latest, born)
        last = bisect_right(self._places, (take, -1), first)
        return [at for at in range(first, last) if self._places[at][1] > born]

    def told(self, back: list[int] | None = None, early: list[int] | None = None) -> list[_Placed]:
        """Other kinds of choice, those of ``early`` as recorded, and the steps of ``back`` (None: all) as holds."""
        found = [((at, -1), choice) for at, choice in enumerate(self._choices) if choice.kind != "step"]
        for number in range(len(self.back)) if back is None else back:
            (task, step), born, take, _ = self.back[number]
            past = self.past(number)
            many, first = len(past), past[0] if past else 0
            hold = Choice("hold", task, step, take - born, many, many + 1, self.words(number))
            found.append(((first, born), hold))
        return found + [((at, -1), self._choices[at]) for at in early or ()]

    def words(self, number: int) -> str:
        """Who of ``back`` stood back while who ran; O(how many ran past it)."""
        (task, step), _, _, for_good = self.back[number]
        past = self.past(number)
        # People ask which task went first, not which callbacks and ends of turns did as well.
        past = [at for at in past if self._choices[at].task not in NO_TASK] or past
        names = [self._choices[at].words.partition(" ran before ")[0] for at in past[:NAMED]]
        more = f" and {len(past) - NAMED} more" if len(past) > NAMED else ""
        return f"{task} step {step} stood back{' for good' if for_good else ''} while {', '.join(names)}{more} ran"

    def plain(self) -> list[_Placed]:
        """All choices as recorded."""
        return [((at, -1), choice) for at, choice in enumerate(self._choices)]


def _cover(edges: list[list[int]]) -> tuple[list[int], list[int]]:
    """A smallest set of vertices, left ones by number and right ones, that touches every edge ``left -> edges[left]``.

    Augmenting paths, O(vertices * edges); left ones are preferred.
    """
    partner: dict[int, int] = {}  # of right ones
    mate: dict[int, int] = {}  # of left ones
    for start in range(len(edges)):
        came_from: dict[int, int] = {}
        queue, free = [start], -1
        for left in queue:
            for right in edges[left]:
                if right not in came_from:
                    came_from[right] = left
                    if right not in partner:
                        free = right
                        break
                    queue.append(partner[right])
            if free >= 0:
                break
        while free >= 0:
            left = came_from[free]
            partner[free], free, mate[left] = left, mate.get(left, -1), free
    reached = [left for left in range(len(edges)) if left not in mate]
    lefts, rights = set(reached), set[int]()
    for left in reached:
        for right in edges[left]:
            if right not in rights:
                rights.add(right)
                if partner[right] not in lefts:
                    lefts.add(partner[right])
                    reached.append(partner[right])
    return [left for left in range(len(edges)) if left not in lefts], sorted(rights)
