"""The functions people call: ``run``, ``explore``, ``replay``, ``loop_factory``, ``test``, and the like.

Thin: each resolves its options, hands a program to `vtloop.run.execute` and raises or returns what came of it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from vtloop.clock import VirtualClock
from vtloop.collector import frozen_heap
from vtloop.entropy import RUNS_PER_SEED
from vtloop.errors import ReplayError, UsageError
from vtloop.explaining import explain
from vtloop.explore import Campaign, Exploration, Resources
from vtloop.finding import Failure, failure_from
from vtloop.loop import EventLoop
from vtloop.options import FACTORY_DEFAULTS, RUN_DEFAULTS, resolve
from vtloop.plan import Plan, for_an_example
from vtloop.playback import replay_outcome
from vtloop.run import Main, Outcome, execute
from vtloop.shrink import REPLAYS, SECONDS, check_budget, shrunk_failure
from vtloop.trace import Trace, read
from vtloop.warned import Warned, emit, emit_at

__all__ = ["elapsed", "explore", "loop_factory", "replay", "replay_outcome", "run", "shrink", "test"]

P = ParamSpec("P")
T = TypeVar("T")


def run(
    main: Main | Coroutine[Any, Any, T],
    *,
    seed: int | None = None,
    scheduler: Any = None,
    interleave: str | None = None,
    **options: Any,
) -> T:
    """Run ``main`` on a fresh virtual loop, as ``asyncio.run`` does, and return what it returns.

    Args:
        main: A zero-argument callable giving a coroutine, or a coroutine.
        seed: Draw every choice from this int; None for asyncio's own order.
        scheduler: The name of a scheduler (see the reference, section "Schedulers"), such as ``"random"`` or ``"pos"``,
            or an object with ``pick(window) -> index``.
        interleave: ``"timing"``, ``"wakeups"`` (default with a seed) or ``"tasks"``.
        **options: See the reference, section "Options".

    Raises:
        VtloopError: A verdict (deadlock, livelock, a spent budget, ...).
        UsageError: An unknown option or value.
        BaseException: What ``main`` raised, or what failed in the background; several failures as an ExceptionGroup.
    """
    settings = resolve(RUN_DEFAULTS, seed=seed, scheduler=scheduler, interleave=interleave, **options)
    outcome = execute(main, settings, command=_python_command)
    return _deliver(outcome)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Function:
    """A function for another process."""

    main: Main

    def opened(self) -> AbstractContextManager[Callable[..., Outcome]]:
        """What makes one run."""
        return nullcontext(functools.partial(execute, self.main))


def explore(
    main: Main,
    *,
    runs: int | None = None,
    seed: int = 0,
    scheduler: Any = "portfolio",
    interleave: str | None = None,
    exact_time: bool | None = None,
    jobs: int = 1,
    executor: Any = None,
    budget: float | None = None,
    shrink: bool = True,
    **options: Any,
) -> Exploration:
    """Run ``main`` up to ``runs`` times, each in another order, until one run fails.

    What is found does not depend on ``jobs`` or ``executor``: the failing run with the lowest number counts.

    Args:
        main: A zero-argument callable giving a coroutine.
        runs: How many runs at most; None for 1,000, or with a budget for 1,000,000, which is how many there are.
        seed: The base seed; run ``i`` depends on it, on ``i`` and on the options alone.
        scheduler: ``"portfolio"`` (run 0 in asyncio's own order, then a mix), or one scheduler for all runs.
        interleave: The strongest level; weaker ones are mixed in. Default ``"tasks"``.
        exact_time: True leaves lag and stretch out.
        jobs: How many processes make runs. Where processes cannot be forked, ``main`` must be a function of a module.
        executor: Whose workers make them instead: anything with ``concurrent.futures``'s ``submit``, a pool or a
            cluster; ``jobs`` then says how many chunks of runs are under way, at least two per processor of this
            machine.
        budget: Real seconds after which no further run begins.
        shrink: Whether the failing run is made small before it is told.
        **options: As for `run`.

    Raises:
        NondeterminismError: A failing run did not come back when it was played back.
        UsageError: An unknown option or value, or a ``main`` that cannot be sent to other processes.
        VtloopError: A worker died.
    """
    resources = Resources(jobs, executor, budget, _Function(main))
    if runs is None:
        runs = 1000 if budget is None else RUNS_PER_SEED
    options |= {"scheduler": scheduler, "interleave": interleave, "exact_time": exact_time, "shrink": shrink}
    plan = Plan.of(runs=runs, seed=seed, **options)
    if not callable(main):
        raise UsageError(f"explore needs a function that gives a new coroutine for every run, got {main!r}")
    run_once = functools.partial(execute, main)
    found = Campaign(plan, run_once, command=_python_command, resources=resources, count_orders=True).search()
    emit(found.warnings, 2, failed=found.failure is not None)
    if found.failure is not None:
        _note(found.failure)
    return found


def replay(trace: Trace | str | Any, main: Main | Coroutine[Any, Any, T]) -> T:
    """Play a recorded run back: returns or raises as that run did.

    Args:
        trace: A `Trace`, the path of a trace file, or a token.
        main: The program that was recorded.

    Raises:
        TraceError: The trace cannot be read.
        ReplayError: The recorded choices do not fit this program.
    """
    return _deliver(replay_outcome(read(trace), functools.partial(execute, main), _python_command))  # type: ignore[no-any-return]


def shrink(
    failure: Failure | Trace | str | Any, main: Main, *, replays: int = REPLAYS, seconds: float | None = SECONDS
) -> Failure:
    """The smallest failure found that is the same as ``failure``: same error, same place, fewer choices.

    Explorations shrink what they find; this is for failures recorded otherwise, and for a larger budget.

    Args:
        failure: A `Failure`, or what `replay` takes: a `Trace`, the path of a trace file, or a token.
        main: The program that failed.
        replays: How many runs may be made.
        seconds: How much real time they may take; None for no limit.

    Raises:
        TraceError: The trace cannot be read.
        ReplayError: The recorded choices do not fit this program, or it does not fail any more.
    """
    check_budget(replays, seconds)
    trace = failure.trace if isinstance(failure, Failure) else read(failure)
    run_once = functools.partial(execute, main)
    outcome = replay_outcome(trace, run_once, _python_command)
    if outcome.error is None:
        raise ReplayError("the recorded run does not fail any more: there is nothing to shrink")
    again = failure_from(outcome, failure.run if isinstance(failure, Failure) else 0, trace.target, _python_command)
    if isinstance(failure, Failure):
        again.found = failure.found
    with frozen_heap(many=False):
        small = shrunk_failure(again, outcome, run_once, replays=replays, seconds=seconds, command=_python_command)
        explain(small, run_once)
    _note(small)
    return small


def _python_command(token: str) -> str:
    return f"vtloop.replay('{token}', main)"


def _note(failure: Failure) -> None:
    failure.error.add_note("vtloop: " + "\n  ".join(failure.summary()[1:]))


def _deliver(outcome: Outcome) -> Any:
    """Return or raise what came of a run; warn of what it did not fail with, at the caller of our caller."""
    emit(outcome.warnings, 3, failed=outcome.error is not None)
    if outcome.error is None:
        return outcome.value
    if not isinstance(outcome.error, (KeyboardInterrupt, SystemExit, UsageError)):
        failure = failure_from(outcome, command=_python_command)
        if failure.level != "fifo":
            _note(failure)
    raise outcome.error


_factories: dict[Any, Callable[[], EventLoop]] = {}


def loop_factory(
    *, seed: int | None = None, scheduler: Any = None, interleave: str | None = None, **options: Any
) -> Callable[[], EventLoop]:
    """A zero-argument callable that makes loops, for ``asyncio.Runner(loop_factory=...)`` and test plugins.

    The same object for the same arguments, because pytest tears fixtures down when a parameter changes.

    Raises:
        UsageError: An unknown option or value.
    """
    settings = resolve(FACTORY_DEFAULTS, seed=seed, scheduler=scheduler, interleave=interleave, **options)
    return _factories.setdefault(settings, functools.partial(EventLoop.with_options, settings))


def test(runs: int = 200, **options: Any) -> Callable[[Callable[P, Coroutine[Any, Any, Any]]], Callable[P, None]]:
    """Make an ``async def`` a plain function that explores it: for any test runner, ``unittest``, and under ``@given``.

    ``runs=1`` is a single run.  Options as for `explore`; the ceiling is ``"wakeups"`` unless ``interleave=`` is given.

    Raises:
        UsageError: An unknown option; what is decorated is no coroutine function.
    """
    if callable(runs):
        raise UsageError("use @vtloop.test() with parentheses")
    plan = Plan.of(runs=runs, ceiling="wakeups", stretches=False, **options)

    def decorate(function: Callable[P, Coroutine[Any, Any, Any]]) -> Callable[P, None]:
        if not asyncio.iscoroutinefunction(function):
            raise UsageError(f"@vtloop.test() needs an async def, got {function!r}")

        @functools.wraps(function)
        def explored(*args: P.args, **kwargs: P.kwargs) -> None:
            run_once = functools.partial(execute, lambda: function(*args, **kwargs))
            found = Campaign(for_an_example(plan), run_once, command=_python_command).search()
            _warn_at(function, found.warnings, found.failure is not None)
            if found.failure is not None:
                _note(found.failure)
            found.check()

        return explored

    return decorate


def _warn_at(function: Any, warned: Sequence[Warned], failed: bool) -> None:
    """Warn at the line of a test, for its caller is a test runner; of each once, as Python does by default."""
    code = getattr(function, "__code__", None)
    if code is None:
        emit(warned, 3, failed=failed)
    else:
        registry = function.__globals__.setdefault("__warningregistry__", {})
        emit_at(warned, code.co_filename, code.co_firstlineno, failed, registry)


class elapsed:
    """``with vtloop.elapsed() as e:`` measures virtual time: afterwards ``e.seconds`` and ``e.ns``.

    Exact: differences of ``loop.time()`` are differences of floats, these are not.

    Raises:
        UsageError: The running loop is not vtloop's.
    """

    def __init__(self) -> None:
        self._clock: VirtualClock | None = None
        self._began = self._ended = 0

    def __enter__(self) -> elapsed:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, EventLoop):
            raise UsageError(f"vtloop.elapsed() needs a vtloop loop, the running one is {type(loop).__name__}")
        self._clock = loop._clock
        self._began = loop.time_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        assert self._clock is not None
        self._ended, self._clock = self._clock.ns, None

    @property
    def ns(self) -> int:
        """Whole nanoseconds of virtual time; up to now while the block lasts."""
        return (self._ended if self._clock is None else self._clock.ns) - self._began

    @property
    def seconds(self) -> float:
        """The same in seconds, rounded once."""
        return self.ns / 1e9
