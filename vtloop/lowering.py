"""Choices nearer to asyncio's own order: the small steps of the shrinker, as functions of choices alone.

Used by `vtloop.shrink`.  It must never run anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vtloop.trace import Choice

__all__ = ["a_step_later", "grown", "lowered", "mark", "nearby", "rescaled"]


STEPS, AGES = 4, (2, 4, 8)
"""What `nearby` gives: holds of how many steps of a task, for how many takes."""


def mark(choice: Choice) -> tuple[str, str, int, int, int]:
    """What makes two choices the same."""
    return (*choice.key, choice.age, choice.index)


def lowered(choice: Choice, index: int) -> Choice:
    """The choice with a smaller index; for a step or a hold: past fewer others."""
    fewer = choice.index - index
    age = choice.age + fewer if choice.kind == "step" else choice.age - fewer if choice.kind == "hold" else choice.age
    return replace(choice, age=age, index=index)


def a_step_later(choice: Choice) -> Choice:
    """A choice about a task's first step, moved to its second."""
    return replace(choice, step=2) if choice.kind in ("step", "hold") and choice.step == 1 else choice


def rescaled(choice: Choice, factor: float) -> Choice:
    """The choice of a size with the unit made smaller by ``factor``: at most as large as it was."""
    return replace(choice, index=max(1, min(choice.options - 1, round(choice.index * factor))))


def grown(choices: Iterable[Choice], one: Choice, by: int) -> list[Choice]:
    """``choices`` with ``one`` of them larger by ``by``, or as large as may be."""
    larger = replace(one, index=min(one.options - 1, one.index + by))
    return [larger if choice == one else choice for choice in choices]


def nearby(choices: Sequence[Choice]) -> Iterator[Choice]:
    """Holds of steps that are near those of ``choices``, of the same tasks."""
    for task in dict.fromkeys(choice.task for choice in choices):
        steps = [choice.step for choice in choices if choice.task == task]
        for step in range(min(steps), min(max(steps) + 2, min(steps) + STEPS)):
            for age in AGES:
                yield Choice("hold", task, step, age, age, age + 1)
