"""The run as a text table: a column for each task, a row for each step, from top to bottom in the order they ran.

In the manner of Lincheck's tables.  Each cell holds the lines that the step ran, and why it stopped; only one task runs
at a time, so a long line goes on over the empty columns to its right.  The choices that deviate from asyncio's own
order stand across the table, before the step with which they show.  It must never be wider than it is told to be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vtloop.clock import seconds_text
from vtloop.report.cells import clipped, padded, width_of
from vtloop.report.choices import Told, did, shown_lines, waiting, woken
from vtloop.report.scene import Fold, Scene, scene_of
from vtloop.report.story import Moment, Spot, Story, fitted, when
from vtloop.wording import counted

__all__ = ["table"]

WIDTH = 100
NARROWEST = 20
"""The least width of a column; tasks that do not fit are left out."""

SLIMMEST = 15
"""The least width of the column of a task that no deviating choice is about."""

WIDEST, LAST = 56, 42
"""The greatest width of a column, and of the last of three or more, whose lines have no room to their right."""

ROWS = 60
"""From how many rows on a run is folded."""

MOST_LINES, MOST_KEPT = 4, 100
"""How many lines of code of one step are shown, and how many there may be."""

MOST_LANES_LEFT = 6
"""How many of the tasks that were still alive are listed at the end."""

_TIME = 8

_COMMENT = re.compile(r" {3,}#")
"""A comment that stands far from its line."""


def table(story: Story, told: Sequence[Told], width: int = WIDTH) -> list[str]:
    """The lines of the table."""
    most = max((width - _TIME) // (NARROWEST + 3), 1)
    scene = scene_of(story, told, lanes=most, rows=ROWS)
    return _Table(story, scene, told, width).lines() if scene.lanes else ["no task took a step"]


class _Table:
    def __init__(self, story: Story, scene: Scene, told: Sequence[Told], width: int) -> None:
        self._story, self._scene, self._width = story, scene, width
        self._told = {spot for one in told for spot in (one.before, one.after)}
        self._file = story.main_file()
        self._time: int | None = None
        self._columns = dict.fromkeys(scene.lanes, WIDEST)
        self._columns = self._fitting()

    def lines(self) -> list[str]:
        scene, story = self._scene, self._story
        heads = [fitted(story.label_of(name), width) for name, width in self._columns.items()]
        lines = [self._row("t (s)", heads), self._rule("=")]
        if self._file:
            words, room = "lines without a file are of ", max(self._width - 31, 4)
            short = width_of(self._file) <= room
            lines.insert(0, words + (self._file if short else f"...{self._file[-room:]}"))
        if story.dropped:
            lines.append(f"... the first {story.dropped:,} events are not kept ...")
        for row in scene.rows:
            if isinstance(row, Fold):
                lines.append(self._fold(row))
                continue
            lines += [f"** {clipped(f'choice {one.number}: {one.words}', self._width - 3)}" for one in self._marks(row)]
            if row.kind == "step":
                lines += self._step(row)
            elif row.kind == "callback":
                lines.append(self._across(row, story.name(row)))
            elif row.kind == "turn":
                lines.append(self._across(row, "the turn ends: timers now due join"))
        if scene.hidden:
            tasks = f"{scene.hidden} other task{'' if scene.hidden == 1 else 's'}"
            lines.append(f"left out: {tasks} with {counted(scene.hidden_events, 'step')}")
        return [*lines, self._rule("="), *self._end()]

    # -- rows ---------------------------------------------------------------------------------------------------

    def _marks(self, moment: Moment) -> list[Told]:
        return self._scene.marks.get(moment.number, [])

    def _fitting(self) -> dict[str, int]:
        """The width of each column: what it needs for those that the story is about, what is left for the others."""
        need = {name: width_of(self._story.label_of(name)) for name in self._columns}
        last = next(reversed(need), "")
        for row in self._scene.rows:
            if isinstance(row, Moment) and row.kind == "step":
                need[row.who] = max(need[row.who], *map(width_of, self._cell(row)))
        stars = [name for name in need if name in self._scene.stars or name == last or not self._scene.stars]
        others = [name for name in need if name not in stars]
        room = self._width - _TIME - 2 - 3 * (len(need) - 1)
        widths: dict[str, int] = {}
        slim = {name: min(max(SLIMMEST, width_of(self._story.label_of(name))), NARROWEST) for name in need}
        stars.remove(last)
        need[last] = min(need[last], WIDEST if len(need) < 3 else LAST)
        for names, kept in (([last], [*stars, *others]), (stars, others), (others, [])):
            for place, name in enumerate(sorted(names, key=need.__getitem__)):
                share = (room - sum(slim[other] for other in kept)) // (len(names) - place)
                widths[name] = max(min(need[name], share, WIDEST), 1)
                room -= widths[name]
        return {name: widths[name] for name in need}

    def _step(self, moment: Moment) -> list[str]:
        at = self._scene.lanes.index(moment.who)
        return [
            self._row_of_one(self._when(moment) if not number else "", at, text)
            for number, text in enumerate(self._cell(moment))
        ]

    def _cell(self, moment: Moment) -> list[str]:
        """Why the step ran, the lines it ran, and what it came to."""
        column = self._room(moment.who)
        why, maker = woken(self._story, moment)
        lines: list[str] = []
        if moment.cancelled:
            lines += _wrapped(f"<- {why}", column)
        elif maker is not None and maker.kind == "step" and moment.nth > 1:
            lines += _wrapped(f"<- {self._short(maker.who)} step {maker.nth}", column)
        elif why.startswith("the "):
            lines.append(f"<- {why}")
        lines += self._lines(moment)
        ended = did(moment)
        if ended:
            lines += _wrapped(f"   {ended}", column)
        return [clipped(line, column) for line in lines] or [""]

    def _lines(self, moment: Moment) -> list[str]:
        """The lines that a step ran: the first ones, the last, and those that a choice is about."""
        spots = shown_lines(self._story, moment, MOST_KEPT)
        if not spots:
            return [] if moment.waits or moment.end else [f"   (step {moment.nth})"]
        last = len(spots) - 1
        shown = [at for at, spot in enumerate(spots) if at < MOST_LINES - 1 or at == last or spot in self._told]
        lines: list[str] = []
        for before, at in zip([-1, *shown], shown, strict=False):
            if at == before + 2:
                lines.append(self._code(spots[at - 1]))  # as short as to say that it is left out
            elif at > before + 1 or (at == last and moment.more_lines):
                lines.append("   ...")
            lines.append(self._code(spots[at]))
        return lines

    def _code(self, spot: Spot) -> str:
        place = f":{spot.line}" if spot.file == self._file else spot.short
        return f"{place} {_COMMENT.sub('  #', spot.source)}"

    def _short(self, who: str) -> str:
        lane = self._story.lanes.get(who)
        if lane is None:
            return who
        return lane.coroutine if lane.coroutine and who.startswith("Task-") else lane.label

    def _across(self, moment: Moment, text: str) -> str:
        return f"{self._when(moment):>{_TIME - 1}} | -- {clipped(text, self._width - _TIME - 8)} --"

    def _fold(self, fold: Fold) -> str:
        times = "" if fold.from_ns == fold.to_ns else f", t={seconds_text(fold.from_ns)} to {when(fold.to_ns)}"
        self._time = None
        return f"... {fold.events:,} events{times} ..."

    def _when(self, moment: Moment) -> str:
        if moment.time_ns == self._time:
            return ""
        self._time = moment.time_ns
        return clipped(seconds_text(moment.time_ns), _TIME - 1)

    def _row(self, first: str, cells: Sequence[str]) -> str:
        body = " | ".join(padded(cell, width) for cell, width in zip(cells, self._columns.values(), strict=True))
        return f"{first:>{_TIME - 1}} | {body}".rstrip()

    def _row_of_one(self, first: str, at: int, text: str) -> str:
        """A row with one cell, whose text may go on over the columns behind it."""
        widths = list(self._columns.values())
        line = f"{first:>{_TIME - 1}} | " + "".join(f"{'':<{width}} | " for width in widths[:at])
        start, end = width_of(line), width_of(line) + width_of(text)
        line += text
        border = start
        for width in widths[at:-1]:
            border += width + 1
            if border > end:
                line = f"{padded(line, border)}| "
            border += 2
        return line.rstrip()

    def _room(self, who: str) -> int:
        """How wide the text of a task may be."""
        widths = list(self._columns.values())
        behind = widths[self._scene.lanes.index(who) :]
        return sum(behind) + 3 * (len(behind) - 1)

    def _rule(self, sign: str) -> str:
        return sign * (_TIME + 2 + sum(self._columns.values()) + 3 * (len(self._columns) - 1))

    # -- the end ------------------------------------------------------------------------------------------------

    def _end(self) -> list[str]:
        story = self._story
        lines = [f"{story.error}{f' at {story.place}' if story.place else ''}" if story.error else "no failure"]
        lines = [clipped(line, self._width) for line in lines]
        alive = [lane for lane in story.lanes.values() if lane.stands is not None or lane.waits]
        for lane in alive[:MOST_LANES_LEFT] if story.error else ():
            doing = waiting(lane.waits) or "was ready to go on"
            at = f" at {lane.stands.short}" if lane.stands is not None else ""
            lines.append(clipped(f"  at the end {lane.label} {doing}{at}", self._width))
        if story.error and len(alive) > MOST_LANES_LEFT:
            lines.append(f"  and {len(alive) - MOST_LANES_LEFT} more tasks were alive")
        return lines


def _wrapped(text: str, width: int) -> list[str]:
    """At most two lines."""
    if width_of(text) <= width:
        return [text]
    cut = text.rfind(" ", 5, width + 1)
    cut = cut if cut > 0 else width
    return [text[:cut], f"     {text[cut:].strip()}"]
