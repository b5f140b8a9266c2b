"""What runs in a process: find the failures of the examples, or play their tokens back; the answer is a line of JSON.

Started as a script with the question (JSON) as its only argument; it knows nothing of the rest of this package.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import vtloop
from vtloop.playback import replay_outcome
from vtloop.run import Outcome, execute
from vtloop.trace import read

Main = Callable[[], Coroutine[Any, Any, Any]]


def _load(path: Path) -> Main:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    main: Main = module.main
    return main


def _ending(outcome: Outcome) -> list[Any]:
    """All that must come back: the error, where and when, and a digest over every event."""
    assert outcome.recording is not None
    return [*outcome.signature, outcome.time_ns, outcome.steps, outcome.check, outcome.recording.digest()]


def _find(examples: list[str], options: dict[str, Any]) -> list[Any]:
    """The token of each failure, shrunk and as it was found, and how its run ended."""
    found = []
    for example in examples:
        main = _load(Path(example))
        for shrink in (True, False):
            failure = vtloop.explore(main, shrink=shrink, **options).failure
            if failure is not None:
                token = failure.token
                assert token is not None, example
                found.append([example, token, _ending(replay_outcome(read(token), partial(execute, main)))])
    return found


def _replay(tokens: list[Any]) -> list[int]:
    """The numbers of the tokens whose run did not come back as it was."""
    wrong = []
    for number, (example, token, ending) in enumerate(tokens):
        outcome = replay_outcome(read(token), partial(execute, _load(Path(example))))
        if _ending(outcome) != ending:
            wrong.append(number)
    return wrong


def main(argument: str) -> int:
    """Answer the question in ``argument``."""
    question = json.loads(argument)
    logging.disable(logging.CRITICAL)  # a failing run is expected to log
    if question["ask"] == "find":
        answer: Any = _find(question["examples"], question["options"])
    else:
        answer = _replay(question["tokens"])
    print("\n" + json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
