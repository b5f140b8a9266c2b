"""Hypothesis draws the order: a strategy whose values make every choice of a run, and shrink with the other data.

For tests below ``@given``; whoever wants it imports ``vtloop.hypothesis`` (the extra ``hypothesis``), nothing of vtloop
does.  Each choice is one integer, drawn when it comes up; 0 is asyncio's own order, so a shrunk example deviates in as
few choices as Hypothesis can find.  It must never draw once Hypothesis has given an example up.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st

from vtloop.deviations import fewest
from vtloop.errors import UsageError
from vtloop.finding import failure_from
from vtloop.loop import EventLoop
from vtloop.options import RUN_DEFAULTS, Options, check_level, resolve, with_values
from vtloop.ready import LEVELS
from vtloop.recording import Recording
from vtloop.run import Main, execute
from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.odds import CANCEL_AFTER, CANCEL_BEFORE
from vtloop.trace import REPLAY

__all__ = ["MOST_CHOICES", "Schedule", "schedules"]

T = TypeVar("T")

MOST_CHOICES = 3_000
"""The most choices that one example can draw: Hypothesis takes 4,096 in all, the test's other data included."""

SHOWN = 20
"""The most deviations that an example lists; a shrunk one has a few."""

_DRAWN_FROM = {CANCEL_BEFORE: 10, CANCEL_AFTER: 10, "sometimes": 10, "lag": 18, "stretch": 18}
"""Kinds whose plain answer is the likely one: from how many numbers is drawn; those that name no option mean 0."""

_WEIGHTS = {"timing": 1, "wakeups": 3, "tasks": 4}
"""How often each level is drawn below the ceiling, as in an exploration."""


class Schedule:
    """The choices of a run, drawn by Hypothesis one by one as they come up.

    Made by `schedules`, for one example.  After ``choices`` of them, and after Hypothesis has given the example up,
    everything goes on in asyncio's own order.  It may be the ``scheduler=`` of `vtloop.run` or of a loop too; then
    level and options are those given there.
    """

    def __init__(self, random: Any, options: Options, choices: int) -> None:
        self._random, self._options, self._left = random, options, choices
        self._given_up: BaseException | None = None

    def __repr__(self) -> str:
        given = {name: value for name, value in self._options.changed(RUN_DEFAULTS).items() if name != "scheduler"}
        given.setdefault("interleave", self._options.interleave)
        given.pop("seed", None)
        return f"Schedule({', '.join(f'{name}={value!r}' for name, value in sorted(given.items()))})"

    def pick(self, window: Sequence[Any]) -> int:
        """The next choice: an index of ``window``."""
        return self.draw(window[0].kind, len(window))

    def draw(self, kind: str, options: int) -> int:
        """One of ``options``; 0 when there were enough choices, or when Hypothesis has given the example up."""
        if self._left <= 0 or self._given_up is not None:
            return 0
        self._left -= 1
        try:
            drawn: int = self._random.randrange(max(options, _DRAWN_FROM.get(kind, 0)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            # Hypothesis gives the example up.  The program may be in the middle of a step, or the loop may be joining
            # timers: nothing is torn there, the run goes on to its end and does not count.
            self._given_up = exc
            return 0
        return drawn if drawn < options else 0

    def run(self, main: Main | Coroutine[Any, Any, T]) -> T:
        """Run ``main`` as `vtloop.run` does, in the order that is drawn.

        A failing example says in words how the order deviates from asyncio's own, and how to play the run back.

        Raises:
            BaseException: What ``main`` raised, a verdict, or what failed in the background.
        """
        level = self._options.interleave
        outcome = execute(main, self._options, scheduler=lambda _: _Drawn(level, self), command=_command)
        error = outcome.error
        if self._given_up is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise self._given_up
        assert outcome.recording is not None
        more = []
        if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit, UsageError)):
            outcome.listed = tuple(fewest(outcome.recording))
            failure = failure_from(outcome, command=_command)
            more += [failure.label()] if failure.trace.choices else []
            more += [f"without Hypothesis: {failure.command}"] if failure.command is not None else []
        _note(outcome.recording, more)
        if error is not None:
            raise error
        return outcome.value  # type: ignore[no-any-return]

    def loop(self) -> EventLoop:
        """A loop whose choices are drawn: ``asyncio.Runner(loop_factory=schedule.loop)`` for a state machine."""
        loop = _DrawnLoop.with_options(self._options, scheduled=False)
        assert isinstance(loop, _DrawnLoop)
        loop.recording = Recording(loop._clock)
        loop.use_scheduler(_Drawn(self._options.interleave, self), loop.recording)
        return loop


class _Drawn(Scheduler):
    """A schedule as the loop asks it."""

    def __init__(self, level: str, schedule: Schedule) -> None:
        super().__init__(level)
        self._draw = schedule.draw

    def pick(self, items: Sequence[Any], options: int) -> int:
        """Who runs next."""
        return self._draw("step", options)

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        """Any other choice."""
        return self._draw(kind, options)


class _DrawnLoop(EventLoop):
    """A loop that says in words, at its end, what order it took."""

    recording: Recording

    def close(self) -> None:
        if not self.is_closed() and not self.is_running():
            self.recording.note_end()
            _note(self.recording)
        super().close()


def schedules(*, interleave: str = "wakeups", choices: int = 1_000, **options: Any) -> st.SearchStrategy[Schedule]:
    """A strategy for schedules: ``schedule.run(main)`` makes a run whose choices Hypothesis draws and shrinks.

    Args:
        interleave: The strongest level; weaker ones are drawn too, and are simpler.
        choices: After so many choices an example goes on in asyncio's own order.
        **options: Options of the run: ``lag``, ``stretch``, ``cancel``, ``daemons``, ``max_time`` and so on.

    Raises:
        UsageError: An unknown option or value; the message says what is allowed.
    """
    check_level(interleave)
    if isinstance(choices, bool) or not isinstance(choices, int) or not 0 <= choices <= MOST_CHOICES:
        raise UsageError(f"choices must be a whole number from 0 to {MOST_CHOICES}, got {choices!r}")
    for name in ("seed", "scheduler"):
        if name in options:
            raise UsageError(f"schedules() takes no {name}: Hypothesis draws every choice, got {options[name]!r}")
    levels = LEVELS[: LEVELS.index(interleave or "wakeups") + 1]
    settings = [
        with_values(resolve(RUN_DEFAULTS, scheduler="random", interleave=level, **options), scheduler=REPLAY)
        for level in levels
    ]
    return _schedules([made for made in settings for _ in range(_WEIGHTS[made.interleave])], choices)


@st.composite
def _schedules(draw: st.DrawFn, settings: list[Options], choices: int) -> Schedule:
    options = draw(st.sampled_from(settings))
    return Schedule(draw(st.randoms(use_true_random=False)), options, choices)


class _Words:
    """The order of a run in words, and what more there is to say; made when Hypothesis prints it."""

    def __init__(self, recording: Recording, more: Sequence[str]) -> None:
        self._recording, self._more = recording, more

    def __repr__(self) -> str:
        choices = [f"  {choice.words}" for choice in fewest(self._recording)]
        left = [f"  ... and {len(choices) - SHOWN} more"] if len(choices) > SHOWN else []
        order = "order: asyncio's own" + (", except:" if choices else "")
        return "\n".join([order, *choices[:SHOWN], *left, *self._more])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def _note(recording: Recording, more: Sequence[str] = ()) -> None:
    """Tell Hypothesis, which prints it with the failing example."""
    if currently_in_test_context():
        note(_Words(recording, more))


def _command(token: str) -> str:
    return f"vtloop.replay('{token}', main)"
