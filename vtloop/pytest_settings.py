"""What pytest was told: flags before marker before ini file, made into the runs of one test.

Called by the plugin while it collects.  It knows the rules for seeds and levels under pytest and nothing of fixtures
or of running.
"""

from __future__ import annotations

import argparse
import ast
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from vtloop.errors import UsageError, allowed
from vtloop.options import OPTION_NAMES, RUN_DEFAULTS, Options, resolve
from vtloop.plan import Plan, check_exact
from vtloop.ready import LEVELS
from vtloop.schedulers.names import SCHEDULERS
from vtloop.trace import Trace

__all__ = ["NAMES", "Settings", "add_options", "drawn_seed", "from_command_line", "settings_of"]

OWN_NAMES = ("runs", "seed", "scheduler", "interleave", "exact_time", "shrink", "fresh")
NAMES = OWN_NAMES + tuple(name for name in OPTION_NAMES if name not in OWN_NAMES)
"""What the marker, and ``--vtloop-option``, accept."""

UNMARKED = {"blocking": "virtual", "leaks": "soft"}
"""What differs for tests that nobody has marked: they were written for another loop."""

_DRAWN = pytest.StashKey[int]()

FRESH = ("all", "async")
_CHOSEN = ("runs", "seed", "scheduler", "interleave")


@dataclass(frozen=True, slots=True)
class Settings:
    """The runs of one test.

    Attributes:
        options: The options of a single run, or those that all runs of an exploration share.
        plan: The exploration; None for a single run.
        fresh: Which function-scoped fixtures are made anew for every run: ``"all"`` or ``"async"``.
        exact: Whether exact time was asked for in so many words: stored failures that need lag do not count then.
        ceiling: The strongest level at which a stored failure counts.
        command_options: The flags that give the same runs again.
    """

    options: Options
    plan: Plan | None = None
    fresh: str = "all"
    exact: bool = False
    ceiling: str = "wakeups"
    command_options: str = ""

    @classmethod
    def of(
        cls,
        flags: Mapping[str, Any],
        mark: Mapping[str, Any],
        ini: Mapping[str, Any],
        *,
        marked: bool = True,
        drawn: int = 0,
    ) -> Settings:
        """Settings from the three sources; ``drawn`` is the seed that ``"random"`` stands for.

        Raises:
            UsageError: An unknown option or value; the message says what is allowed.
        """
        for name in (*flags, *mark, *ini):
            if name not in NAMES:
                raise UsageError(f"unknown option {name!r}; {allowed(NAMES)}")
        given = _merged({} if marked else UNMARKED, ini, mark, flags)
        fresh = given.pop("fresh", "all")
        if fresh not in FRESH:
            raise UsageError(f"unknown fresh={fresh!r}; {allowed(FRESH)}")
        runs, exact_time, shrink = given.pop("runs", 1), given.pop("exact_time", None), given.pop("shrink", True)
        seed, scheduler, level = given.pop("seed", None), given.pop("scheduler", None), given.pop("interleave", None)
        if seed == "random":
            seed = drawn
        plan = None
        seeded = seed is not None or scheduler not in (None, "fifo")
        if runs != 1 or scheduler == "portfolio" or (exact_time is False and seeded):
            plan = Plan.of(
                runs=runs,
                seed=0 if seed is None else seed,
                scheduler="portfolio" if scheduler is None else scheduler,
                interleave=level,
                exact_time=exact_time if exact_time is not None else not marked,
                ceiling="wakeups",
                stretches=False,
                shrink=shrink,
                **given,
            )
            options = plan.options
        else:
            if not seeded and "interleave" not in mark:
                level = None  # a level for the whole suite says nothing about tests in asyncio's own order
            check_exact(exact_time, given)
            options = resolve(RUN_DEFAULTS, seed=seed, scheduler=scheduler, interleave=level, **given)
        again = {"runs": runs if plan else None, "seed": seed, "scheduler": scheduler, "interleave": level}
        words = ["--vtloop"] * (not marked)
        words += [f"--vtloop-{key} {value}" for key, value in again.items() if isinstance(value, (int, str))]
        more = [f"{name}={value!r}" for name, value in flags.items() if name not in _CHOSEN]
        words += [f"--vtloop-option {shlex.quote(word)}" for word in more]
        return cls(options, plan, fresh, exact_time is True, level or "wakeups", " ".join(words))

    def begins_plainly(self) -> bool:
        """Whether the first run is in asyncio's own order."""
        return bool((self.plan.options_of(0) if self.plan is not None else self.options).scheduler == "fifo")

    def rebased(self, trace: Trace) -> Trace:
        """``trace`` under the options of this test: only what its choices rest on is taken from the record."""
        old = trace.options
        chosen = {"seed": old.seed, "scheduler": old.scheduler, "interleave": old.interleave}
        return replace(trace, options=replace(self.options, **chosen, lag=old.lag, stretch=old.stretch))

    def admits(self, options: Options) -> bool:
        """Whether a stored failure with ``options`` is something this test still has to stand."""
        inexact = bool(options.lag or options.stretch)
        return LEVELS.index(options.interleave) <= LEVELS.index(self.ceiling) and not (self.exact and inexact)


def _merged(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """One set of options out of several, the last the strongest: exact time, and what leaves it, oust each other."""
    given: dict[str, Any] = {}
    for source in sources:
        if source.get("exact_time"):
            given = {name: value for name, value in given.items() if name not in ("lag", "stretch")}
        if source.get("lag") or source.get("stretch"):
            given.pop("exact_time", None)
        given.update(source)
    return given


def add_options(parser: pytest.Parser) -> None:
    """Register the flags and ini keys."""
    group = parser.getgroup("vtloop", "asyncio tests on virtual time")
    flags: list[tuple[str, str, dict[str, Any]]] = [
        ("runs", "runs of each test, each in another order", {"type": int, "metavar": "N"}),
        ("seed", "base seed: a whole number, or 'random' to draw one and print it", {"type": _seed, "metavar": "S"}),
        ("scheduler", f"who chooses the order: {', '.join(SCHEDULERS)}", {"metavar": "NAME"}),
        ("interleave", "the strongest level of reordering", {"metavar": "LEVEL", "choices": LEVELS}),
    ]
    group.addoption("--vtloop", action="store_true", default=None, help="run every async test on the virtual loop")
    for name, text, more in flags:
        group.addoption(f"--vtloop-{name}", dest=f"vtloop_{name}", default=None, help=text, **more)
    group.addoption(
        "--vtloop-option",
        dest="vtloop_option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of the marker, such as exact_time=True or max_time=3600; may be repeated",
    )
    group.addoption(
        "--vtloop-replay",
        dest="vtloop_replay",
        default=None,
        metavar="FILE|TOKEN",
        help="play one recorded run of the selected test back",
    )
    group.addoption(
        "--vtloop-until",
        dest="vtloop_until",
        default=None,
        type=int,
        metavar="STEP",
        help="with --vtloop-replay: open the debugger in the program before this step",
    )
    parser.addini("vtloop", "run every async test on the virtual loop", type="bool", default=False)
    for name, text, _ in flags:
        parser.addini(f"vtloop_{name}", text, default="")
    parser.addini("vtloop_options", "further options of vtloop's runs, as NAME=VALUE", type="args", default=[])


def _seed(text: str) -> int | str:
    try:
        return "random" if text == "random" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number or 'random' is needed, got {text!r}") from None


def from_command_line(config: pytest.Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options given as flags, and those given in the ini file.

    Raises:
        UsageError: An option without ``=``.
    """
    flags = _pairs(config.option.vtloop_option, "--vtloop-option")
    flags.update({name: value for name in _CHOSEN if (value := getattr(config.option, f"vtloop_{name}")) is not None})
    ini = _pairs(config.getini("vtloop_options"), "vtloop_options")
    ini.update({name: _value(text) for name in _CHOSEN if (text := config.getini(f"vtloop_{name}"))})
    return flags, ini


def _pairs(texts: list[str], where: str) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{where} takes NAME=VALUE, got {text!r}; {allowed(NAMES)}")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: Any) -> Any:
    """``"3"`` as 3, ``"true"`` as True, ``"random"`` as itself."""
    if not isinstance(text, str):
        return text
    if text.lower() in ("true", "false", "none"):
        text = text.capitalize()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def drawn_seed(config: pytest.Config) -> int:
    """The seed for which ``"random"`` stands: drawn once, and the same in every worker of a run."""
    seed: int | None = config.stash.get(_DRAWN, None)
    if seed is None:
        # The controller of pytest-xdist tells its workers.
        told = getattr(config, "workerinput", {}).get("vtloop_drawn")
        seed = config.stash[_DRAWN] = secrets.randbits(32) if told is None else int(told)
    return seed


def settings_of(item: pytest.Item) -> Settings:
    """The settings of one test; marks nearer to the test win, name by name.

    Raises:
        UsageError: The marker has positional arguments, or an unknown option or value.
    """
    flags, ini = from_command_line(item.config)
    marks = list(item.iter_markers("vtloop"))
    for nearest in marks:
        if nearest.args:
            raise UsageError(f"@pytest.mark.vtloop takes keywords only, got {nearest.args[0]!r}; {allowed(NAMES)}")
    mark = _merged(*(nearest.kwargs for nearest in reversed(marks)))
    mark = {name: value for name, value in mark.items() if value is not None or name not in OWN_NAMES}
    return Settings.of(flags, mark, ini, marked=bool(marks), drawn=drawn_seed(item.config))
