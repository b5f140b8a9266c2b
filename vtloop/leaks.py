"""What a run leaves behind when it ends, and whether it fails with that, warns of it, or says nothing.

Each kind of thing has a default (`DEFAULTS`); the option ``leaks`` sets one word for all kinds.  `vtloop.run` tells
when main has ended, what the unwinding could not end, and asks in the end.  What is judged is certain: a task that
merely waits for work when main returns is cancelled without a word, as ``asyncio.run`` does.  It must never cancel or
close anything, nor cost anything while nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vtloop.diagnosis.describe import groups, place_data, task_lines
from vtloop.diagnosis.leak import Leak, error_of, headline, report_of, shown
from vtloop.diagnosis.missing_await import never_awaited
from vtloop.diagnosis.targets import seconds as in_seconds
from vtloop.diagnosis.waits import capture
from vtloop.unawaited import Unawaited, Watch
from vtloop.warned import Warned

if TYPE_CHECKING:
    from vtloop.loop import EventLoop

__all__ = ["DEFAULTS", "Leaks", "NoLeaks"]

DEFAULTS = {
    "coroutine": "error",
    "survivor": "error",
}
"""What becomes of each kind of thing when ``leaks`` is None."""


class NoLeaks:
    """The judge of a run with ``leaks="allow"``: nobody looks."""

    warned: Sequence[Warned] = ()

    def __enter__(self) -> NoLeaks:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def unwinding(self) -> None:
        """Nothing."""

    def survived(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Nothing."""

    def judge(self, error: BaseException | None, time_ns: int, step: int) -> BaseException | None:
        """The error of the run as it is."""
        return error


class Leaks(NoLeaks):
    """The judge of one run; a context manager around it.

    Args:
        loop: The loop of the run.
        quick: Whether only what costs nothing is looked for: for most runs of an exploration.

    Attributes:
        loop: The loop.
        warned: What the run is warned of.
    """

    def __init__(self, loop: EventLoop, quick: bool) -> None:
        self.loop = loop
        self._word = loop.options.leaks
        self._watch = Watch(loop, places=not quick, everything=self._word is not None and not quick)
        self._survivors: list[Leak] = []

    def __enter__(self) -> Leaks:
        self._watch.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._watch.__exit__(*exc)

    def unwinding(self) -> None:
        """The unwinding begins: what it drops or cancels is no leak."""
        self._watch.unwinding = True

    def survived(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """These are pending still, though they were cancelled and had all the time they wanted."""
        loop = self.loop
        left = [task for task in tasks if not loop._is_daemon(task)]
        if left:
            self._survivors = _survivors(left)

    def judge(self, error: BaseException | None, time_ns: int, step: int) -> BaseException | None:
        """The error of the run: its own one, with a note of what else was left behind, or a `LeakError`."""
        found = self._found()
        if not found:
            return error
        errors = [leak for leak in found if (self._word or DEFAULTS[leak.kind]) == "error"]
        if error is not None:
            for leaks in _by_kind([leak for leak in found if DEFAULTS[leak.kind] == "error"]):
                error.add_note(f"also left behind: {headline(leaks)}")
            return error
        for leaks in _by_kind([leak for leak in found if (self._word or DEFAULTS[leak.kind]) == "warn"]):
            line = headline(leaks)
            report = report_of(leaks, line).partition("\n")[2].partition("\n")[2]
            data = {"leaks": [leak.data for leak in leaks]}
            self.warned = [*self.warned, Warned(leaks[0].kind, line, f"{line}\n{report}".rstrip(), data)]
        if not errors:
            return None
        command = self.loop.replay_command
        again = command("LeakError") if command is not None else None
        return error_of(errors, time_ns, step, self.loop.options.seed, again)

    def _found(self) -> list[Leak]:
        """Everything, the kinds in the order in which they decide where the error is."""
        coroutines = _unawaited(self._watch.found) if self._watch.found else []
        return [*coroutines, *self._survivors]


def _by_kind(leaks: Sequence[Leak]) -> list[list[Leak]]:
    return [[leak for leak in leaks if leak.kind == kind] for kind in dict.fromkeys(leak.kind for leak in leaks)]


def _grouped(found: Sequence[Unawaited], key: Callable[[Unawaited], Any]) -> list[list[Unawaited]]:
    alike: dict[Any, list[Unawaited]] = {}
    for one in found:
        alike.setdefault(key(one), []).append(one)
    return list(alike.values())


def _unawaited(found: Sequence[Unawaited]) -> list[Leak]:
    """Coroutines by what was called and where; first those that every run sees."""
    alike = _grouped(found, lambda one: (one.name, one.file, one.line, one.by_loop))
    alike.sort(key=lambda group: not any(one.at_once for one in group))
    leaks = []
    for group in alike:
        first = group[0]
        place = (first.file, first.line, first.where)
        if first.by_loop:
            text = f"{first.name}() called by the loop, defined at {shown(place)}"
            hint = (
                f"the loop calls plain functions: give it `lambda: loop.create_task({first.name}(...))`, or make "
                f"`{first.name}` a plain `def`."
            )
        else:
            made = "made at" if first.where else "made in the run, defined at"
            text = f"{first.name}() {made} {shown(place)}"
            hint = never_awaited(first.function)
        if len(group) > 1:
            text += f" ({len(group):,} times)"
        when = f"t={in_seconds(first.time_ns)}"
        dropped = f"{'first ' * (len(group) > 1)}dropped at {when}" + (f" by {first.task}" if first.task else "")
        data = {
            "name": first.name,
            "function": first.function,
            "place": {"file": first.file, "line": first.line, "function": first.where},
            "task": first.task,
            "time_ns": first.time_ns,
        }
        leaks.append(
            Leak("coroutine", text, (dropped,), place, hint, len(group), data, soft=not any(o.at_once for o in group))
        )
    return leaks


def _survivors(tasks: Sequence[asyncio.Task[Any]]) -> list[Leak]:
    """Tasks by where they wait, with their await chains."""
    graph = capture(tasks)
    leaks = []
    for group in groups(graph):
        first = group.first
        shown_chain = [place for place in first.chain if not place.internal] or list(first.chain)
        at = shown_chain[-1] if shown_chain else first.created
        place = (at.file, at.line, at.function) if at is not None else None
        head, *lines = (line[2:] for line in task_lines(group, graph, 8))
        data = {
            "tasks": [task.label for task in group.tasks[:100]],
            "chain": [place_data(one) for one in first.chain],
            "created": str(first.created) if first.created else None,
        }
        leaks.append(
            Leak("survivor", head, tuple(line.strip() for line in lines), place, _SWALLOWED, len(group.tasks), data)
        )
    return leaks


_SWALLOWED = "let `CancelledError` out after the cleaning up: `except Exception` does, `except BaseException` does not."
