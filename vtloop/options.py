"""The options of a run: their names, defaults and ranges, checked in one place.

Used by every entrance (loop, functions, marker, flags, command line).  It must never know who asked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vtloop.errors import UsageError, allowed
from vtloop.ready import LEVELS
from vtloop.schedulers.names import EXPLORATIONS_ONLY, MOST, SCHEDULERS, parse, spelt

__all__ = [
    "FACTORY_DEFAULTS",
    "OPTION_NAMES",
    "RUN_DEFAULTS",
    "SCHEDULERS",
    "WORDS",
    "Options",
    "check_level",
    "resolve",
    "resolved",
    "with_values",
]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one run, as resolved.

    Attributes:
        seed: What every choice is drawn from; None for asyncio's own order.
        scheduler: Who makes the choices: a name, or an object with ``pick(window) -> index``.
        interleave: The level: "timing", "wakeups" or "tasks".
        start: What ``loop.time()`` reads at first, in seconds.
        autojump: Whether the clock jumps to the next timer when nothing is ready.
        lag: The most virtual seconds that one step may take, as a choice; 0 for exact time.
        stretch: The most by which one ``asyncio.sleep`` may last longer, as a choice and as a share of its length (0.2:
            a fifth longer); never past a pending timer that it would have beaten; 0 for exact time.
        cancel: Globs over task names and coroutine qualnames: tasks that the explorer may cancel at any of their
            awaits, once each.
        max_steps: Callbacks after which the run is ended with a `HangError`; None for no limit.
        max_time: Virtual seconds after which the run is ended with a `HangError`; None for no limit.
        watchdog: Real seconds after which a single step that does not return is cut; None for never.
        patience: Real seconds for which the loop waits for real threads, the clock frozen; None for ever.
        daemons: Globs over task names and coroutine qualnames that mark background tasks.
        blocking: What becomes of a call that blocks the loop, such as ``time.sleep``: "raise" a `BlockingCallError`,
            "virtual" (sleeping moves the clock, other calls really block), or "allow" it.
        leaks: What becomes of work left behind at the end of a run: "error", "warn" or "allow" for every kind of it;
            None for each kind's own default, "soft" for the same with warnings in place of errors.
    """

    seed: int | None = None
    scheduler: Any = "fifo"
    interleave: str = "timing"
    start: float = 0.0
    autojump: bool = True
    lag: float = 0.0
    stretch: float = 0.0
    cancel: tuple[str, ...] = ()
    max_steps: int | None = None
    max_time: float | None = None
    watchdog: float | None = None
    patience: float | None = None
    daemons: tuple[str, ...] = ()
    blocking: str = "allow"
    leaks: str | None = "allow"

    def changed(self, base: Options) -> dict[str, Any]:
        """The options that differ from ``base``, by name."""
        pairs = ((field.name, getattr(self, field.name), getattr(base, field.name)) for field in _FIELDS)
        return {name: value for name, value, plain in pairs if value != plain}


_FIELDS = dataclasses.fields(Options)
OPTION_NAMES = tuple(field.name for field in _FIELDS)

WORDS: dict[str, tuple[str | None, ...]] = {
    "blocking": ("raise", "virtual", "allow"),
    "leaks": ("error", "warn", "soft", "allow", None),
}
"""The values of the options that are one of a few words."""

FACTORY_DEFAULTS = Options()
"""What ``EventLoop()`` has: no budget, no watchdog, no eye on blocking calls and leaks."""

RUN_DEFAULTS = Options(max_steps=10_000_000, watchdog=10.0, patience=30.0, blocking="raise", leaks=None)
"""What ``vtloop.run``, ``explore`` and the pytest plugin have."""


def resolve(base: Options = FACTORY_DEFAULTS, **given: Any) -> Options:
    """``base`` with the options given, checked; None means "as in base" for seed, scheduler and interleave.

    Raises:
        UsageError: An unknown option, or a value out of its range; the message names what is allowed.
    """
    for name in given:
        if name not in OPTION_NAMES:
            raise UsageError(f"unknown option {name!r}; {allowed(OPTION_NAMES)}")
    seed, scheduler, level = given.get("seed"), given.get("scheduler"), given.get("interleave")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise UsageError(f"seed must be an int or None, got {seed!r}")
    check_level(level)
    if level is not None and seed is None and scheduler is None:
        raise UsageError(f"interleave={level!r} needs a seed or a scheduler; without one the order is asyncio's own")
    values = dict(given)
    chosen = scheduler if scheduler is not None else ("random" if seed is not None else base.scheduler)
    values["scheduler"] = check_scheduler(chosen)
    values["seed"] = seed if seed is not None or chosen == "fifo" else 0
    values["interleave"] = level or ("wakeups" if chosen != "fifo" else "timing")
    for name in ("start", "lag", "stretch", "max_time", "watchdog", "patience", "max_steps"):
        if name in values:
            values[name] = _number(name, values[name], getattr(FACTORY_DEFAULTS, name))
    for name in ("daemons", "cancel"):
        if name in values:
            values[name] = _globs(name, values[name])
    for name, words in WORDS.items():
        if name in values and values[name] not in words:
            raise UsageError(f"unknown {name}={values[name]!r}; {allowed(words)}")
    for name in ("lag", "stretch"):
        if values.get(name) and chosen == "fifo":
            raise UsageError(f"{name}={values[name]!r} needs a seed; without one time is exact")
    if "autojump" in values and not isinstance(values["autojump"], bool):
        raise UsageError(f"autojump must be True or False, got {values['autojump']!r}")
    return with_values(base, **values)


def resolved(**given: Any) -> Options:
    """`resolve` over the defaults of a bare loop, remembered for seed, scheduler and level alone."""
    if len(given) != 3:
        return resolve(**given)
    key = (given["seed"], given["scheduler"], given["interleave"])
    if type(key[0]) is not int or type(key[1]) not in (str, type(None)):
        return resolve(**given)
    found = _remembered.get(key)
    if found is None:
        if len(_remembered) > 255:
            _remembered.clear()
        found = _remembered[key] = resolve(**given)
    return found


_remembered: dict[tuple[Any, Any, Any], Options] = {}


def with_values(base: Options, **values: Any) -> Options:
    """``base`` with some values replaced, unchecked; four times as fast as ``dataclasses.replace``."""
    merged = {name: getattr(base, name) for name in OPTION_NAMES}
    merged.update(values)
    return Options(**merged)


def check_level(level: Any) -> None:
    """Refuse a level that is neither None nor one of `LEVELS`."""
    if level is not None and level not in LEVELS:
        raise UsageError(f"unknown level {level!r} for interleave; {allowed(LEVELS)}")


def check_scheduler(scheduler: Any, *, exploring: bool = False) -> Any:
    """Refuse what is neither the name of a scheduler nor an object with ``pick``.

    Args:
        scheduler: The name or object.
        exploring: Whether names that only explorations have (`EXPLORATIONS_ONLY`) are allowed.

    Returns:
        The object, or the name with its number filled in: ``"pct:depth=3"`` for ``"pct"``.
    """
    if not isinstance(scheduler, str):
        if not callable(getattr(scheduler, "pick", None)):
            raise UsageError(f"scheduler must be a name or an object with pick(window), got {scheduler!r}")
        return scheduler
    found = parse(scheduler)
    if found is None:
        raise UsageError(
            f"unknown scheduler {scheduler!r}; {allowed(SCHEDULERS)} (N from 1 to {MOST}), or an object with "
            f"pick(window)"
        )
    kind, number = found
    if kind in EXPLORATIONS_ONLY and not exploring:
        raise UsageError(
            f"scheduler {scheduler!r} is for explorations (vtloop.explore, vtloop explore, tests with runs=N); "
            f"a single run takes another one, or none"
        )
    return spelt(kind, number)


def _globs(name: str, value: Any) -> tuple[str, ...]:
    """One glob, or several."""
    if isinstance(value, str):
        return (value,)
    try:
        globs = tuple(value or ())
    except TypeError:
        globs = (None,)
    if not all(isinstance(glob, str) for glob in globs):
        raise UsageError(f"{name} must be globs over names, got {value!r}")
    return globs


def _number(name: str, value: Any, default: Any) -> Any:
    """A number of 0 or more; None where that means "no limit"."""
    if value is None and default is None:
        return None
    whole = name == "max_steps"
    kinds = (int,) if whole else (int, float)
    signed = name == "start"
    if isinstance(value, bool) or not isinstance(value, kinds) or not (signed or value >= 0) or value - value != 0:
        none = " or None" if default is None else ""
        what = "a whole number" if whole else "a finite number" if name == "stretch" else "a finite number of seconds"
        raise UsageError(f"{name} must be {what}{'' if signed else ', 0 or more'}{none}, got {value!r}")
    return value if whole else float(value)
