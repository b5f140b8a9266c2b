"""What runs inside an environment: one question about one scenario, answered as a line of JSON.

Started as a script with the question (JSON) as its only argument; it knows nothing of the rest of this package.
The answer is the last line of standard output, because a scenario may print.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

Main = Callable[[], Coroutine[Any, Any, Any]]
Answer = dict[str, Any]


def _load(path: str) -> Any:
    specification = importlib.util.spec_from_file_location("scenario", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["scenario"] = module
    specification.loader.exec_module(module)
    return module


def _main(scenario: Any) -> Main:
    """The scenario; what its package draws from ``random`` is the same in every run."""

    async def main() -> None:
        random.seed(0)
        await scenario.scenario()

    return main


def _error(error: BaseException) -> Answer:
    return {"type": type(error).__qualname__, "message": str(error)}


def _stock(scenario: Any, question: Answer) -> Answer:
    """One run on the interpreter's own loop, in real time."""
    try:
        asyncio.run(asyncio.wait_for(scenario.scenario(), question["patience"]))
    except Exception as error:
        return {"error": _error(error)}
    return {"error": None}


def _explore(scenario: Any, question: Answer) -> Answer:
    """One exploration; its failure, if any, shrunk when that is asked for."""
    import vtloop

    main = _main(scenario)
    options = dict(question["options"])
    victims = getattr(scenario, "VICTIMS", None)
    if victims:
        options["cancel"] = tuple(victims)
    found = vtloop.explore(main, runs=question["runs"], seed=question["seed"], shrink=False, **options)
    answer: Answer = {"runs": found.runs, "elapsed": found.elapsed, "failure": None}
    if found.failure is not None:
        began = time.perf_counter()
        failure = vtloop.shrink(found.failure, main) if question["shrink"] else found.failure
        needs = failure.trace.options
        answer["failure"] = {
            "error": _error(failure.error),
            "level": failure.level,
            "lag": needs.lag,
            "stretch": needs.stretch,
            "time": failure.time,
            "step": failure.step,
            "token": failure.token,
            "choices": [choice.words for choice in failure.trace.choices or ()],
            "found_choices": len(found.failure.trace.choices or ()),
            "shrinking": time.perf_counter() - began,
        }
    return answer


def _replay(scenario: Any, question: Answer) -> Answer:
    """Play a token back: the error that comes out, and when."""
    import vtloop

    try:
        vtloop.replay(question["token"], _main(scenario))
    except Exception as error:
        failure = vtloop.failure_of(error)
        at = {"time": None, "step": None} if failure is None else {"time": failure.time, "step": failure.step}
        return {"error": _error(error), **at}
    return {"error": None, "time": None, "step": None}


def main(argument: str) -> int:
    """Answer the question in ``argument``."""
    question: Answer = json.loads(argument)
    logging.disable(logging.CRITICAL)  # a failing run is expected to log; the answer says what matters
    ask = {"stock": _stock, "explore": _explore, "replay": _replay}[question["ask"]]
    answer = ask(_load(str(Path(question["scenario"]))), question)
    print("\n" + json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
