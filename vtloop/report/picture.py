"""The timeline as SVG: a lane for each task, time downwards, one row for each event in the order in which they ran.

Downwards, as in a sequence diagram, because the lines of code that a step ran read from left to right.  Rows are
ordinal: steps at one instant are told apart, and a jump of the clock is a line across.  Between two steps of a task a
bar says what it does: thin while it waits, thick once it is ready and others go first.  Called by the page; it must
never let a character of the program through unescaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from vtloop.clock import seconds_text
from vtloop.report.choices import Told, did, first_line, shown_lines, waiting, woken
from vtloop.report.scene import Fold, Scene
from vtloop.report.story import Left, Moment, Spot, Story, fitted, when

__all__ = ["Picture"]

GUTTER, GAP, LINE, HEAD, TIME = 76, 18, 17, 17, 16
"""Widths of the time column and between lanes; heights of a line of code, of a block's head, of a jump of the clock."""

CHARACTER = 7.3
"""The width of a character of code."""

NARROW, WIDE, FITTING, STAR = 165, 360, 1190, 250
"""The least and greatest width of a lane; what all lanes should fit into; the least of one that the story is about,
where they cannot."""

MOST_LINES = 5
"""How many lines of code of one step are drawn."""

MOST_MARKS = 3
"""How many choices are marked at one event."""

LOOP = ""
"""The lane of callbacks and the ends of turns."""


@dataclass(slots=True)
class _Block:
    """One event as drawn."""

    moment: Moment
    lane: str
    top: float
    bottom: float = 0.0
    end: float = 0.0
    code: list[Spot] = field(default_factory=list)
    slots: int = 0


class Picture:
    """The two drawings of a page: the heads of the lanes, and what is below them."""

    def __init__(self, story: Story, scene: Scene, told: Sequence[Told]) -> None:
        self._story, self._scene = story, scene
        self._file = story.main_file()
        self._lanes = list(scene.lanes)
        self._many = GUTTER + (NARROW + GAP) * len(self._lanes) > FITTING
        if self._many:  # what the story is about is seen without scrolling sideways
            self._lanes.sort(key=lambda name: name not in scene.stars)
        if any(isinstance(row, Moment) and self._lane_of(row) == LOOP for row in scene.rows):
            self._lanes.append(LOOP)
        self._held = _held(story, told)
        self._stuck = story.error.startswith(("DeadlockError", "HangError", "LivelockError"))
        self._blocks: dict[int, _Block] = {}
        self._across: list[str] = []
        self._x: dict[str, tuple[float, float]] = {}
        self._place_lanes()
        self._height = self._place_rows()
        self.width = round(max((right for _, right in self._x.values()), default=GUTTER) + 16)

    def head(self) -> str:
        """The names of the tasks."""
        parts = []
        for number, name in enumerate(self._lanes):
            left, right = self._x[name]
            label = self._story.label_of(name) if name != LOOP else "callbacks"
            text = escape(fitted(label, int((right - left - 8) / 8.4)))
            lane = self._story.lanes.get(name)
            made = f"\nmade at {lane.created.short} {lane.created.source}" if lane and lane.created else ""
            parts.append(
                f'<g class="lane l{number % 6}"><title>{escape(label + made)}</title>'
                f'<rect x="{left:g}" y="4" width="{right - left:g}" height="26" rx="5"/>'
                f'<text x="{left + 9:g}" y="21">{text}</text></g>'
            )
        return self._svg("head", 34, "".join(parts))

    def body(self) -> str:
        """The events."""
        bars = [bar for number, name in enumerate(self._lanes) for bar in self._bars(number, name)]
        blocks = [self._block(block) for block in self._blocks.values()]
        return self._svg("body", self._height, "".join([*self._across, *bars, *blocks]))

    def _svg(self, kind: str, height: float, inside: str) -> str:
        width = self.width
        label = "" if kind == "head" else ' role="group" aria-label="events from top to bottom, a column for each task"'
        return (
            f'<svg class="{kind}" width="{width}" height="{height:g}" viewBox="0 0 {width} {height:g}"{label}>'
            f"{inside}</svg>"
        )

    # -- places -------------------------------------------------------------------------------------------------

    def _lane_of(self, moment: Moment) -> str:
        owner = self._story.at(moment.by) if moment.kind == "choice" else moment
        if owner is not None and owner.kind == "callback" and owner.internal:
            owner = self._story.woke(owner)  # a timer is drawn with the task that it wakes
        return owner.who if owner is not None and owner.kind == "step" and owner.who in self._scene.lanes else LOOP

    def _place_lanes(self) -> None:
        need = dict.fromkeys(self._lanes, NARROW * 1.0)
        for row in self._scene.rows:
            if isinstance(row, Moment):
                longest = max(map(len, self._texts(row)), default=0) * CHARACTER + 24
                lane = self._lane_of(row)
                need[lane] = min(max(need[lane], longest, len(self._what(row)) * 6.6 + 44), WIDE)
        for name in self._lanes:
            need[name] = max(need[name], min(len(self._story.label_of(name)) * 7.6 + 20, WIDE))
        # Lanes that the story is not about give way first, the widest of them first.
        for others in (True, False):
            giving = [name for name in need if (name not in self._scene.stars) is others]
            over = GUTTER + sum(need.values()) + GAP * len(need) - FITTING
            limit = _limit([need[name] for name in giving], over)
            least = NARROW if others or not self._many else STAR
            need |= {name: min(need[name], max(limit, least)) for name in giving}
        x = float(GUTTER)
        for name in self._lanes:
            self._x[name] = (x, x + round(need[name]))
            x += round(need[name]) + GAP

    def _texts(self, moment: Moment) -> list[str]:
        return [*(f"{self._at(spot)}  {spot.source}" for spot in self._few(moment)), self._tail(moment)]

    def _at(self, spot: Spot) -> str:
        return str(spot.line) if spot.file == self._file else spot.short

    def _few(self, moment: Moment) -> list[Spot]:
        return shown_lines(self._story, moment, MOST_LINES) if moment.kind == "step" else []

    def _place_rows(self) -> float:
        y, time_ns = 6.0, None
        for row in self._scene.rows:
            at = row.from_ns if isinstance(row, Fold) else row.time_ns
            if at != time_ns:
                y += 4 if time_ns is None else TIME
                self._across.append(self._time(y, at))
                y += 12
                time_ns = at
            if isinstance(row, Fold):
                self._across.append(self._fold(y, row))
                y, time_ns = y + 34, row.to_ns
                continue
            block = _Block(row, self._lane_of(row), y, code=self._few(row))
            block.bottom = y + HEAD + LINE * len(block.code) + (5 if block.code else 4)
            block.end = block.bottom + (LINE if self._tail(row) and row.kind == "step" else 0)
            self._blocks[row.number] = block
            y = block.end + 9
        end = "nothing can happen any more" if self._stuck else "the run ends"
        kind = "time last bad" if self._story.error else "time last"
        self._across.append(
            f'<g class="{kind}"><line x1="0" x2="100%" y1="{y + 8:g}" y2="{y + 8:g}"/>'
            f'<text x="{GUTTER + 6}" y="{y + 24:g}">{end}</text></g>'
        )
        return y + 32

    def _time(self, y: float, time_ns: int) -> str:
        return (
            f'<g class="time"><line x1="0" x2="100%" y1="{y:g}" y2="{y:g}"/>'
            f'<text x="4" y="{y + 14:g}">{escape(seconds_text(time_ns))} s</text></g>'
        )

    def _fold(self, y: float, fold: Fold) -> str:
        times = "" if fold.from_ns == fold.to_ns else f", up to {when(fold.to_ns)}"
        return (
            f'<g class="fold"><rect x="{GUTTER}" y="{y:g}" width="100%" height="24"/>'
            f'<text x="{GUTTER + 12}" y="{y + 16:g}">{fold.events:,} more events{escape(times)}</text></g>'
        )

    # -- bars and arrows ----------------------------------------------------------------------------------------

    def _bars(self, number: int, name: str) -> list[str]:
        """What the task does between its steps, and the arrows that reach it."""
        if name == LOOP:
            return []
        drawn: list[str] = []
        x = self._x[name][0] + 8
        before: _Block | None = None
        for block in self._blocks.values():
            if block.lane == name and block.moment.kind == "step":
                drawn += self._between(name, x, before, block.moment, block.top)
                before = block
        left = next((one for one in self._story.left if one.who == name and one.kind == "step"), None)
        if (before is not None and not before.moment.end) or left is not None:
            drawn += self._between(name, x, before, left, self._height - 24)
        return drawn

    def _between(
        self, name: str, x: float, before: _Block | None, after: Moment | Left | None, bottom: float
    ) -> list[str]:
        """A task from the end of one step to the beginning of the next, or to the end of the run."""
        top = before.bottom if before is not None else None
        if after is None:
            return [_bar("stuck" if self._stuck else "waits", x, top or 0, bottom)]
        ready, arrow = self._made_ready(name, x, after, bottom)
        drawn = []
        if top is None and after.nth > 1:
            drawn.append(_bar("waits", x, 6, ready))  # its earlier steps are not drawn
        if top is not None:
            ready = max(ready, top)
            if before is not None and before.moment.waits:
                drawn.append(_bar("waits", x, top, ready))
            elif before is not None:
                ready = top
        held = self._held.get(after.born)
        drawn.append(_bar("held" if held else "ready", x, ready, bottom))
        if held:
            drawn.append(_circle(held, x, max((ready + bottom) / 2, ready + 9), "small"))
        return [*drawn, *arrow]

    def _made_ready(self, name: str, x: float, after: Moment | Left, bottom: float) -> tuple[float, list[str]]:
        """From where on the task was ready, and the arrow of who did it."""
        maker = woken(self._story, after)[1] if isinstance(after, Moment) else self._story.at(after.by)
        block = self._blocks.get(maker.number) if maker is not None and maker.kind == "step" else None
        if after.by is None:
            return bottom, []
        if block is None or block.lane == name:
            number = after.by if after.by is not None else -1
            later = next((one.top for one in self._blocks.values() if one.moment.number > number), bottom)
            return min(later, bottom - 7), []
        block.slots += 1
        y = min(block.top + 5 + 8 * block.slots, block.bottom - 3)
        left, right = self._x[block.lane]
        start, end = (right, x - 5) if x > left else (left, x + 5)
        tip = -6 if end > start else 6
        number = after.number if isinstance(after, Moment) else 0
        return y, [
            f'<g class="wake" data-from="{block.moment.number}" data-to="{number}">'
            f'<path class="line" d="M{start:g} {y:g}H{end + tip / 2:g}"/>'
            f'<path class="tip" d="M{end:g} {y:g}l{tip} -4v8z"/></g>'
        ]

    # -- blocks -------------------------------------------------------------------------------------------------

    def _tail(self, moment: Moment) -> str:
        if moment.end == "raised":
            return moment.error
        if moment.end:
            return moment.end
        return waiting(moment.waits)

    def _block(self, block: _Block) -> str:
        moment = block.moment
        left, right = self._x[block.lane]
        room = int((right - left - 18) / CHARACTER)
        kind = f"{moment.kind} {moment.end}".strip()
        marks = self._scene.marks.get(moment.number, [])
        lane = self._lanes.index(block.lane)
        marked = " marked" if marks else ""
        box = f'x="{left:g}" y="{block.top:g}" width="{right - left:g}" height="{block.bottom - block.top:g}"'
        what = escape(_clip(self._what(moment), room + 3))
        parts = [
            f'<a class="event {kind}{marked}" id="e{moment.number}" href="#row{moment.number}" data-lane="{lane}">',
            f'<title>{escape(self._title(moment))}</title><rect {box} rx="4"/>',
            f'<path class="edge l{lane % 6}" d="M{left + 2:g} {block.top + 2:g}V{block.bottom - 2:g}"/>',
            f'<text class="what" x="{left + 10:g}" y="{block.top + 13:g}">{what}</text>',
        ]
        y = block.top + HEAD + 12
        for spot in block.code:
            at = self._at(spot)
            number = f'<tspan class="number">{escape(at)}</tspan>  '
            source = escape(_clip(spot.source, room - len(at) - 2))
            parts.append(f'<text class="code" x="{left + 10:g}" y="{y:g}">{number}{source}</text>')
            y += LINE
        tail = self._tail(moment) if moment.kind == "step" else ""
        if tail:
            sign = {"raised": "\u2717 ", "cancelled": "\u2298 ", "returned": "\u2713 "}.get(moment.end, "")
            wide = 7.2 if moment.end == "raised" else 6.4  # bold or not
            text = escape(_clip(f"{sign}{tail}", int((right - left - 10) / wide)))
            parts.append(f'<text class="tail" x="{left + 18:g}" y="{block.bottom + 13:g}">{text}</text>')
        for place, one in enumerate(marks[:MOST_MARKS]):
            parts.append(_circle(str(one.number), right - 4 - 38 * place, block.top + 3, ""))
        parts.append("</a>")
        return "".join(parts)

    def _what(self, moment: Moment) -> str:
        if moment.kind != "step":
            marks = self._scene.marks.get(moment.number, [])
            owner = self._story.at(moment.by)
            words = marks[0].words if moment.kind == "choice" and marks else self._story.name(moment)
            # In its own lane it needs no name.
            at_home = owner is not None and owner.who == self._lane_of(moment)
            return words.removeprefix(f"{self._story.name(owner)} ") if owner is not None and at_home else words
        why, maker = woken(self._story, moment)
        if moment.cancelled:
            return f"step {moment.nth}, {why}"
        return f"step {moment.nth}" + (f", {why}" if why and maker is None else "")

    def _title(self, moment: Moment) -> str:
        """What hovering shows where there is no script."""
        story = self._story
        why = woken(story, moment)[0]
        lines = [f"{story.name(moment)}, t={when(moment.time_ns)}" + (f", {why}" if why else "")]
        lines += [f"{spot.short}  {spot.source}" for spot in moment.lines]
        if not moment.lines and moment.kind == "step":
            spot = first_line(story, moment)
            lines += [f"went on at {spot.short}  {spot.source}"] if spot is not None else []
        if did(moment):
            lines.append(did(moment) + (f" at {moment.stands.short}" if moment.stands is not None else ""))
        return "\n".join(lines)


def _held(story: Story, told: Sequence[Told]) -> dict[int, str]:
    """The number of the choice because of which something stood back, by its number of arrival."""
    held: dict[int, str] = {}
    for one in told:
        moment = story.at(one.moment)
        if one.kind == "step" and moment is not None:
            for other in story.passed_over(moment):
                held.setdefault(other.born, str(one.number))
        elif one.kind == "hold":
            born = moment.born if moment is not None else one.born
            held.setdefault(born, str(one.number))
    return held


def _limit(widths: Sequence[float], over: float) -> float:
    """The width to which the widest of ``widths`` are cut, so that all together lose ``over``."""
    ordered = sorted(widths, reverse=True)
    if over <= 0 or not ordered:
        return max(ordered, default=0.0)
    for count, width in enumerate(ordered, 1):
        below = ordered[count] if count < len(ordered) else 0.0
        limit = (sum(ordered[:count]) - over) / count
        if limit >= below:
            return min(limit, width)
    return 0.0


def _bar(kind: str, x: float, top: float, bottom: float) -> str:
    if bottom - top < 1:
        return ""
    width = {"waits": 2, "stuck": 4}.get(kind, 7)
    return f'<rect class="bar {kind}" x="{x - width / 2:g}" y="{top:g}" width="{width}" height="{bottom - top:g}"/>'


def _circle(text: str, x: float, y: float, kind: str) -> str:
    """The number of a choice, around ``x`` and ``y``."""
    width = max(19.0, 7.2 * len(text) + 8)
    return (
        f'<g class="mark {kind}"><rect x="{x - width / 2:g}" y="{y - 9.5:g}" width="{width:g}" height="19" rx="9.5"/>'
        f'<text x="{x:g}" y="{y + 4:g}">{escape(text)}</text></g>'
    )


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(most - 1, 0)]}\u2026"
