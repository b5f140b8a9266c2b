"""Random programs as ``vtloop.replay`` wants them, and what must be equal when a run is played back.

Run as a script with the path of a JSON list of ``[program, token or path of a trace file]``, it plays each back and
prints what came of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from differential.programs import Program, World

from vtloop.api import replay_outcome
from vtloop.run import Outcome, execute
from vtloop.trace import read

__all__ = ["acted", "facts", "played_back"]

Main = Callable[[], Coroutine[Any, Any, str]]

_logs: list[list[Any]] = []


def acted(number: int) -> Main:
    """Random program ``number`` as a main function; what it raises comes out of it."""
    program = Program(number)

    async def main() -> str:
        loop = asyncio.get_running_loop()
        world = World(program, loop)
        _logs[:] = [world.log]
        eager = getattr(asyncio, "eager_task_factory", None)
        if program.eager and eager is not None:
            loop.set_task_factory(eager)
        return await world.main()

    return main


def facts(outcome: Outcome) -> list[str]:
    """All that makes two runs equal, as text: the error, where and when it came, each event, each line of the log."""
    assert outcome.recording is not None
    return [
        type(outcome.error).__name__,
        str(outcome.error),
        f"t={outcome.time_ns} ns, step {outcome.steps}",
        outcome.check,
        outcome.recording.digest(),
        repr(_logs[0]),
    ]


def played_back(number: int, source: Any) -> list[str]:
    """What comes of program ``number`` when ``source`` is played back."""
    return facts(replay_outcome(read(source), partial(execute, acted(number))))


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps([played_back(number, source) for number, source in cases]))
