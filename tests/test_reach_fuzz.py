"""The soundness of reachability: whoever is said to be stuck never runs again, in hundreds of random programs.

The programs of `reach_programs` and of `reach_programs_more`, which were written apart, lose and find references in
every usual way.  They are asked about at random moments; at the end, every task of which it was ever said that nothing
alive can wake or cancel it must still wait for the very same future.  Of those that only a cancel could free, the same
must hold unless somebody was cancelled since.
"""

import asyncio
import gc
import logging
import random
import warnings

import pytest
import reach_programs
import reach_programs_more

from vtloop import idle, tasks
from vtloop.cpython_waits import future_waited_for
from vtloop.diagnosis import reapers
from vtloop.diagnosis.judge import judge
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

try:
    import anyio
except ImportError:
    anyio = None

OPTIONS = {"max_steps": 4_000, "max_time": 200.0, "leaks": "allow", "blocking": "allow", "watchdog": None}
CHUNK, FEW = 40, 6


class Asked:
    """One run of a program, asked about now and then, and what was said of whom."""

    def __init__(self, seed, monkeypatch, programs):
        self.program = programs.Program(seed, eager=seed % 3 == 0, anyio=anyio if seed % 4 == 1 else None)
        self.dice = random.Random(7 * seed + 1)
        self.stuck, self.cancel = {}, {}
        self.cancels = 0
        self.wrong = []
        idling = idle.IdleRules._idle

        def _idle(loop):
            if self.dice.random() < 0.25:
                self.ask(loop)
            idling(loop)

        def cancel(task, msg=None):
            self.cancels += 1
            return asyncio.Task.cancel(task, msg)

        # What is asked from inside the loop must look like the loop's own code.
        _idle.__code__ = _idle.__code__.replace(co_filename=tasks.__file__)
        monkeypatch.setattr(idle.IdleRules, "_idle", _idle)
        # The program is one old object with all there is in its class: what its code could do says nothing here.
        monkeypatch.setattr(reapers, "_HANDS", ())
        monkeypatch.setattr(tasks.Task, "cancel", cancel, raising=False)

    def ask(self, loop):
        found = judge(loop)
        for told, said in ((found.stuck, self.stuck), (found.cancel, self.cancel)):
            for task in told:
                # No reference to it may be kept: that would wake nobody, but could cancel.
                said.setdefault(hash(task), (id(future_waited_for(task)), self.cancels, f"{task}, t={loop.time()}"))

    ask.__code__ = ask.__code__.replace(co_filename=tasks.__file__)

    def drive(self, loop, note_end):
        try:
            loop.run_until_complete(self.program.main())
        finally:
            waiting = {hash(task): id(future_waited_for(task)) for task in loop._tasks.pending()}
            for number, (future, _, text) in self.stuck.items():
                if waiting.get(number) != future:
                    self.wrong.append(text)
            for number, (future, cancels, text) in self.cancel.items():
                if waiting.get(number) != future and cancels == self.cancels:
                    self.wrong.append(text)


def run_chunk(first, count, monkeypatch, programs=reach_programs):
    asked = 0
    with warnings.catch_warnings(), monkeypatch.context() as patch:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            for seed in range(first, first + count):
                with patch.context() as once:
                    one = Asked(seed, once, programs)
                    more = {2: {"seed": seed}, 3: {"seed": seed, "interleave": "tasks"}}.get(seed % 5, {})
                    execute(None, resolve(RUN_DEFAULTS, **OPTIONS, **more), record=seed % 2 == 0, drive=one.drive)
                assert one.wrong == [], f"program {seed}"
                asked += len(one.stuck)
        finally:
            one = None
            gc.collect()  # what the programs left open is let go of here, where nobody is warned of it
            logging.disable(logging.NOTSET)
    return asked


both = pytest.mark.parametrize("programs", [reach_programs, reach_programs_more], ids=["tasks", "graph"])


@both
def test_whoever_is_said_to_be_stuck_never_runs_again(monkeypatch, programs):
    assert run_chunk(0, FEW, monkeypatch, programs) > 0


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(25))
@both
def test_whoever_is_said_to_be_stuck_never_runs_again_in_a_thousand_programs(chunk, monkeypatch, programs):
    assert run_chunk(chunk * CHUNK, CHUNK, monkeypatch, programs) > CHUNK // 4  # and that many were said to be
