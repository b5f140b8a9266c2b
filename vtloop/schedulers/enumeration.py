"""Enumeration: all schedules with few deviations from asyncio's own order, fewest first, each once.

After M. Musuvathi, S. Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007
(CHESS): most bugs show with very few preemptions, so all schedules with none of them come first, then all with one, and
so on up to a bound; whoever reaches the end of a level knows that there is no bug with so few.  Ours counts
*deviations* instead of preemptions: any choice other than the first option, a step out of its order as well as a
cancel, a latency or two timers that change places.  It knows nothing of which steps are independent of each other, so
it also visits orders that differ in nothing that matters.

The tree: a schedule is the list of its deviations.  Its run tells how many options each choice had, and every option
but the first of every choice behind the last deviation makes one schedule of the next level; so each is made exactly
once, and none needs to be remembered.  It must never make a run.
"""

from __future__ import annotations

import tempfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import IO, TypeAlias

from vtloop.errors import NondeterminismError

__all__ = ["Deviation", "Deviations", "Enumeration", "parted"]

Deviation: TypeAlias = tuple[int, int, int]
"""``(position, index, options)``: the choice at ``position``, counted from 0 over all kinds, goes to ``index``."""

Deviations: TypeAlias = tuple[Deviation, ...]
"""A schedule: its deviations, by position; all other choices take the first option."""

IN_MEMORY = 1 << 24
"""Bytes of a level that are kept in memory; what is beyond goes to a temporary file, until the next level is done."""


class Enumeration:
    """Gives the schedules one after the other, and is told what each run came to.

        for deviations in enumeration:
            ... make the run with ExhaustiveScheduler(level, deviations) ...
            enumeration.ran(deviations, sizes)

    The schedules of one level do not depend on one another's runs: `levels` gives them level by level, so that several
    processes can share one; those of the next level come in the order in which these were told.  What the runs of a
    level came to is kept, compressed, up to the end of the next level, and of the last level nothing: half a byte or
    less for each choice of a run, of which at most 16 MB for each of two levels are in memory, and the rest in a
    temporary file.

    Args:
        bound: The most deviations of a schedule.

    Attributes:
        bound: The most deviations of a schedule.
        count: How many schedules were given up to now.
        depth: How many deviations those of the present level have.
        complete: Whether there are no more, and the run of each was told; `count` is then how many there are.
    """

    def __init__(self, bound: int = 2) -> None:
        self.bound = bound
        self.count = 0
        self.depth = 0
        self.complete = False
        self._told = 0
        self._next = _Runs()

    def __iter__(self) -> Iterator[Deviations]:
        for level in self.levels():
            yield from level

    def levels(self) -> Iterator[Iterator[Deviations]]:
        """For each number of deviations from 0 on, its schedules; every run of a level is told before the next."""
        yield self._given(iter([()]))
        for depth in range(1, self.bound + 1):
            runs, self._next = self._next, _Runs()
            if not runs.count:
                break
            self.depth = depth
            yield self._given(_children(runs))
        self.complete = self._told == self.count

    def ran(self, deviations: Deviations, sizes: Sequence[int]) -> None:
        """Say what came of one run: how many options each of its choices had, in order.

        Raises:
            NondeterminismError: The run did not get to a deviation, though another with the same choices did.
        """
        for position, _, options in deviations:
            has = sizes[position] if position < len(sizes) else 0
            if has != options:
                raise parted(position, options, has)
        behind = deviations[-1][0] + 1 if deviations else 0
        self._told += 1
        if len(deviations) < self.bound and len(sizes) > behind:
            self._next.add(deviations, sizes[behind:])

    def _given(self, schedules: Iterator[Deviations]) -> Iterator[Deviations]:
        for deviations in schedules:
            self.count += 1
            yield deviations


def parted(position: int, had: int, has: int) -> NondeterminismError:
    """The error for a choice that had another number of options (0: that was not there) in an earlier run."""
    now = f"and has {has} now" if has else "and is not there now"
    return NondeterminismError(
        f"two runs with the same choices parted at choice {position + 1}: it had {had} options, {now}",
        data={"choice": position, "options": [had, has]},
    )


class _Runs:
    """What the runs of one level came to: written in one go, read in the same order."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - open as long as the level
        self.count = 0

    def __del__(self) -> None:
        self.file.close()

    def add(self, deviations: Deviations, sizes: Sequence[int]) -> None:
        """Keep a run: its schedule, and the number of options of each choice behind the last deviation."""
        flat = array("I", [len(deviations)])
        for deviation in deviations:
            flat.extend(deviation)
        flat.extend(sizes)
        packed = zlib.compress(flat.tobytes(), 1)
        self.file.write(len(packed).to_bytes(4, "little") + packed)
        self.count += 1

    def __iter__(self) -> Iterator[tuple[Deviations, array[int]]]:
        self.file.seek(0)
        while head := self.file.read(4):
            flat = array("I", zlib.decompress(self.file.read(int.from_bytes(head, "little"))))
            count = flat[0]
            deviations = tuple((flat[at], flat[at + 1], flat[at + 2]) for at in range(1, 3 * count + 1, 3))
            yield deviations, flat[3 * count + 1 :]


def _children(runs: _Runs) -> Iterator[Deviations]:
    """The schedules with one deviation more, early ones first."""
    for deviations, sizes in runs:
        behind = deviations[-1][0] + 1 if deviations else 0
        for position, options in enumerate(sizes, behind):
            for index in range(1, options):
                yield (*deviations, (position, index, options))
