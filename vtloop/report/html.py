"""The page: one self-contained file that shows a run, for a browser, without any network.

The failure and what it rests on come first, then the choices in words, the timeline, where everybody stood at the end,
and every event as a list.  It works without its script, which only adds a closer look and the keys.  Everything that
comes from the program is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from vtloop.report.choices import Told, did, waiting, woken
from vtloop.report.picture import Picture
from vtloop.report.scene import Scene, scene_of
from vtloop.report.story import Lane, Moment, Spot, Story, when
from vtloop.wording import counted

__all__ = ["MOST_CHOICES", "MOST_EVENTS", "MOST_LANES", "MOST_ROWS", "page"]

MOST_LANES, MOST_ROWS, MOST_EVENTS, MOST_CHOICES = 16, 400, 3_000, 200
"""How many tasks and events are drawn, how many events are listed, and how many choices; the page says so."""

_DOT = " \u00b7 "

FEW = 8
"""Up to how many choices are a list without a scroll bar."""

OPEN = 40
"""Up to how many events the list is open at first."""


def page(story: Story, told: Sequence[Told]) -> str:
    """The whole document."""
    scene = scene_of(story, told, lanes=MOST_LANES, rows=MOST_ROWS)
    picture = Picture(story, scene, told)
    left_out = [_hidden(scene)] if scene.hidden else []
    if story.dropped:
        left_out.append(f"the first {story.dropped:,} events, which are not kept")
    note = f'<p class="note">Not drawn: {escape("; ".join(left_out))}.</p>' if left_out else ""
    title = escape(story.error or story.target or "a run")
    style, script = _asset("page.css"), _asset("page.js")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">",
            f"<title>{title}</title>",
            f"<style>{style}</style></head><body>",
            _header(story),
            "<main>",
            _choices(told, bool(story.error)),
            '<h2 id="timeline">What ran when</h2>',
            _file(story),
            f'<div class="scroll" tabindex="0" role="region" aria-labelledby="timeline">{picture.head()}',
            f"{picture.body()}</div>",
            _LEGEND,
            '<div id="detail" aria-live="polite">Point at an event, or move with the keys, to see it whole.</div>',
            note,
            _ends(list(story.lanes.values())) if story.error else "",
            _events(story, told),
            _footer(story),
            f"</main><script>{script}</script></body></html>",
            "",
        ]
    )


def _file(story: Story) -> str:
    """Which file the numbers of lines are of, where there is more than one."""
    files = {spot.file for moment in story.moments for spot in (*moment.lines, moment.stands) if spot is not None}
    of = f"Numbers of lines without a file are of <code>{escape(story.main_file())}</code>."
    return f'<p class="note">{of}</p>' if len(files) > 1 and story.main_file() else ""


def _hidden(scene: Scene) -> str:
    tasks = "1 other task" if scene.hidden == 1 else f"{scene.hidden:,} other tasks"
    return f"{tasks} with {counted(scene.hidden_events, 'step')}"


def _asset(name: str) -> str:
    return files("vtloop.report").joinpath(name).read_text(encoding="utf-8")


_LEGEND = """<ul class="legend">
<li><i class="waits"></i>waits</li><li><i class="ready"></i>ready, others run first as in asyncio</li>
<li><i class="held"></i>ready, overtaken by a choice</li><li><i class="stuck"></i>waits for ever</li>
<li><i class="arrow"></i>wakes or starts</li>
<li class="keys"><kbd>\u2191</kbd> <kbd>\u2193</kbd> next event, <kbd>\u2190</kbd> <kbd>\u2192</kbd> same task, \
<kbd>w</kbd> who woke it, <kbd>Enter</kbd> in the list</li>
</ul>"""


def _header(story: Story) -> str:
    lines = ["<header>"]
    if story.error:
        lines.append(f"<h1>{escape(story.error)}</h1>")
        lines.append(f'<p class="where">{escape(story.place)}</p>' if story.place else "")
    else:
        lines.append('<h1 class="fine">no failure</h1>')
        lines.append(f'<p class="where">returned {escape(story.value)}</p>' if story.value else "")
    if story.label:
        lines.append(f'<p class="label">{escape(story.label[:1].upper() + story.label[1:])}.</p>')
    facts = [story.target, f"t={when(story.time_ns)}", f"{story.steps:,} steps"]
    facts += [
        f"{name}={story.options[name]!r}" for name in ("seed", "scheduler", "interleave") if name in story.options
    ]
    lines.append(f'<p class="facts">{escape(_DOT.join(fact for fact in facts if fact))}</p>')
    if story.command:
        lines.append(
            f'<div class="again"><pre id="again">{escape(story.command)}</pre>'
            '<button id="copy" type="button" hidden>Copy</button></div>'
        )
    return "\n".join([*lines, "</header>"])


def _choices(told: Sequence[Told], failed: bool) -> str:
    if not told:
        rest = ": nothing had to be reordered for it to fail" if failed else ""
        return f"<h2>Choices</h2><p>Everything ran in asyncio's own order{rest}.</p>"
    shown = told[-MOST_CHOICES:]
    items = []
    for one in shown:
        words = escape(one.words)
        link = f'<a href="#e{one.at}">{words}</a>' if one.at is not None else words
        items.append(f'<li><span class="number">{one.number}</span><span>{link}</span>{_order(one)}</li>')
    missing = len(told) - len(shown)
    notes = [f"The first {missing:,} are not listed."] if missing else []
    notes += ["A run of few choices says more: see vtloop shrink."] if len(told) > FEW else []
    note = f'<p class="note">{" ".join(notes)}</p>' if notes else ""
    many = ' class="many" tabindex="0"' if len(told) > FEW else ""
    count = "One choice deviates" if len(told) == 1 else f"{len(told):,} choices deviate"
    listed = f'<div{many}><ol class="choices">{"".join(items)}</ol></div>'
    return f"<h2>{count} from asyncio's own order</h2>{note}{listed}"


def _order(told: Told) -> str:
    """The lines of a choice, in the order in which they ran."""
    both = told.before is not None and told.after is not None
    rows = []
    for how, spot in (("first", told.before), ("then", told.after)):
        if spot is not None:
            word = how if both else "at"
            rows.append(f'<span class="how">{word}</span><span class="at">{escape(spot.place)}</span>{_code(spot)}')
    return f'<span class="order">{"".join(rows)}</span>' if rows else ""


def _code(spot: Spot) -> str:
    return f"<span>{escape(spot.source)}</span>"


def _ends(lanes: Sequence[Lane]) -> str:
    """Where those stood who had not ended."""
    alive = [lane for lane in lanes if lane.stands is not None or lane.waits]
    if not alive:
        return ""
    items = []
    for lane in alive[:MOST_LANES]:
        at = (
            f" at <code>{escape(f'{lane.stands.short}  {lane.stands.source}')}</code>"
            if lane.stands is not None
            else ""
        )
        doing = waiting(lane.waits) or "was ready to go on"
        items.append(f"<li><b>{escape(lane.label)}</b> {escape(doing)}{at}</li>")
    more = f"<li>and {len(alive) - MOST_LANES} more tasks</li>" if len(alive) > MOST_LANES else ""
    return f'<h2>Still there at the end</h2><ul class="ends">{"".join(items)}{more}</ul>'


def _events(story: Story, told: Sequence[Told]) -> str:
    """Every event as a row of a table."""
    marked = {one.moment for one in told} | {one.at for one in told}
    shown = [moment for moment in story.moments if moment.kind != "turn" or moment.number in marked]
    kept = shown[-MOST_EVENTS:]
    words = {one.moment: one.words for one in told}
    rows = [_event(story, moment, moment.number in marked, words.get(moment.number)) for moment in kept]
    left_out = story.dropped + len(shown) - len(kept)
    count = f"{len(kept):,} events" + (f", the last ones; {left_out:,} before them are left out" if left_out else "")
    return (
        f"<details{' open' if len(kept) <= OPEN else ''}><summary>{count}</summary><table>"
        "<thead><tr><th>#</th><th>t (s)</th><th>what ran</th><th>made ready by</th><th>lines</th><th>and then</th></tr>"
        f"</thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _event(story: Story, moment: Moment, marked: bool, words: str | None) -> str:
    lines = [f"{spot.short}  {spot.source}" for spot in moment.lines]
    if moment.more_lines:
        lines.insert(-1, f"... {moment.more_lines} more lines ...")
    at = f" at {moment.stands.short}" if moment.stands is not None and (moment.waits or moment.end) else ""
    then = f"{did(moment)}{at}" if did(moment) else ""
    kinds = " ".join(name for name, on in (("marked", marked), (moment.end, bool(moment.end))) if on)
    chosen = moment.kind == "choice"
    what, why = (words if chosen and words else story.name(moment)), ("" if chosen else woken(story, moment)[0])
    cells = [
        f"<td>{moment.number}</td><td>{escape(when(moment.time_ns)[:-2])}</td><td>{escape(what)}</td>",
        f"<td>{escape(why)}</td>",
        f'<td class="code">{escape(chr(10).join(lines))}</td><td>{escape(then)}</td>',
    ]
    return f'<tr id="row{moment.number}" class="{kinds}">{"".join(cells)}</tr>'


def _footer(story: Story) -> str:
    notes = "".join(f"<p>{escape(note)}</p>" for note in story.notes)
    return f"<footer>{notes}<p>Made by vtloop. The page loads nothing from anywhere.</p></footer>"
