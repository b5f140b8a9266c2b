"""Without a seed, `vtloop.EventLoop` runs everything in the order in which CPython's own scheduler would."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import vtloop

from .oracle import OneCallbackTurns, OracleLoop, Quiescent, ReversedLine, ReversedTies
from .programs import Line, Program, act

CHUNK = 50
CHUNKS = 24


class PickFirst:
    """Sends every step through the window and always takes what stock asyncio would."""

    def pick(self, window: Sequence[Any]) -> int:
        return 0


def on_oracle(program: Program) -> list[Line]:
    return act(program, OracleLoop(), Quiescent)


def on_vtloop(program: Program, **options: Any) -> list[Line]:
    return act(program, vtloop.EventLoop(**options), vtloop.DeadlockError)


def difference(program: Program, expected: list[Line], got: list[Line]) -> str | None:
    """Where the two logs part, with the lines around; None when they are equal."""
    if expected == got:
        return None
    at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), min(len(expected), len(got)))
    sides = []
    for name, log in (("asyncio", expected), ("vtloop", got)):
        sides.append(f"{name}:")
        sides += [f"  {'>' if i == at else ' '} {i:4} {log[i]}" for i in range(max(0, at - 4), min(len(log), at + 4))]
        if at >= len(log):
            sides.append(f"  > {at:4} (the log ends)")
    return "\n".join([f"{program!r} ({'eager' if program.eager else 'lazy'} tasks) differs at line {at}", *sides])


def assert_same(program: Program, **options: Any) -> None:
    found = difference(program, on_oracle(program), on_vtloop(program, **options))
    if found is not None:
        pytest.fail(found, pytrace=False)


def chunks(count: int) -> Callable[..., Any]:
    return pytest.mark.parametrize("chunk", [range(i * CHUNK, (i + 1) * CHUNK) for i in range(count)], ids=str)


@chunks(CHUNKS)
def test_random_programs_run_in_asyncios_order(chunk: range) -> None:
    for seed in chunk:
        assert_same(Program(seed))


@pytest.mark.parametrize("level", ["timing", "wakeups", "tasks"])
@chunks(3)
def test_the_first_of_every_window_is_asyncios_order(chunk: range, level: str) -> None:
    for seed in chunk:
        assert_same(Program(10_000 + seed), scheduler=PickFirst(), interleave=level)


@chunks(4)
def test_a_seeded_order_at_timing_is_asyncios_order_where_nothing_ties(chunk: range) -> None:
    for seed in chunk:
        assert_same(Program(20_000 + seed, ties=False), seed=seed, scheduler="random", interleave="timing")


@chunks(2)
def test_a_start_time_shifts_every_time_and_nothing_else(chunk: range) -> None:
    for seed in chunk:
        program = Program(30_000 + seed)
        loop = OracleLoop()
        loop.now = 1024.0
        found = difference(program, act(program, loop, Quiescent), on_vtloop(program, start=1024.0))
        if found is not None:
            pytest.fail(found, pytrace=False)


def test_debug_mode_changes_no_order() -> None:
    for seed in range(15):
        program = Program(40_000 + seed)
        loop = vtloop.EventLoop()
        loop.set_debug(True)
        found = difference(program, on_oracle(program), act(program, loop, vtloop.DeadlockError))
        if found is not None:
            pytest.fail(found, pytrace=False)


# That the comparison can fail, and what it covers.


@pytest.mark.parametrize(("wrong", "at_least"), [(ReversedLine, 80), (OneCallbackTurns, 35), (ReversedTies, 17)])
def test_a_wrong_order_shows_in_many_programs(wrong: type[OracleLoop], at_least: int) -> None:
    programs = [Program(seed) for seed in range(100)]
    caught = sum(difference(p, on_oracle(p), act(p, wrong(), Quiescent)) is not None for p in programs)
    assert caught >= at_least


def test_a_difference_names_the_program_and_the_first_differing_line() -> None:
    expected: list[Line] = [(0.0, "a", "begin", None, 0), (0.0, "b", "begin", None, 0)]
    got = [expected[0], (0.0, "c", "begin", None, 0)]
    text = difference(Program(7), expected, got)
    assert text is not None
    assert "Program(7, ties=True)" in text
    assert "differs at line 1" in text
    assert ">    1 (0.0, 'b', 'begin', None, 0)" in text
    assert ">    1 (0.0, 'c', 'begin', None, 0)" in text
    assert ">    1 (the log ends)" in str(difference(Program(7), expected, expected[:1]))


def test_programs_without_ties_do_not_depend_on_the_order_of_ties() -> None:
    for seed in range(20_000, 20_000 + 2 * CHUNK):
        program = Program(seed, ties=False)
        assert difference(program, on_oracle(program), act(program, ReversedTies(), Quiescent)) is None


def test_programs_are_varied() -> None:
    programs = [Program(seed) for seed in range(250)]
    logs = [on_oracle(program) for program in programs]
    sizes = [program.size for program in programs]
    assert min(sizes) >= 10
    assert sum(sizes) >= 30 * len(sizes)
    ends = [next(line for line in log if line[1] == "run")[3] for log in logs]
    assert ends.count("main") >= 0.5 * len(ends)
    assert 0.1 * len(ends) <= ends.count("quiescent") <= 0.4 * len(ends)
    seen = {line[2] for log in logs for line in log}
    for what in (
        "begin", "end", "broken", "called", "later", "at", "soon", "cancel handle", "spawn", "cancel", "put", "got",
        "resolved", "failed", "future cancelled", "done", "on done", "off done", "Exception in callback", "locked",
        "unlocked", "acquired", "entered", "notify", "notified", "event", "passed", "barrier ended", "future", "joined",
        "in time", "shielded", "expired", "gathered", "waited", "completed", "completed badly", "in group",
        "group done", "item", "stream closed", "slept", "yielded", "queue joined", "read", "uncancel", "kill self",
        "error in timeout", "error in group", "cancelled in wait_for", "cancelled in shield", "context",
    ):  # fmt: skip
        assert what in seen, what


SCRIPT = """
import hashlib
from {package} import oracle, programs
digest = hashlib.sha256()
for seed in range({count}):
    log = programs.act(programs.Program(seed), oracle.OracleLoop(), oracle.Quiescent)
    digest.update(repr(log).encode())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_a_program_is_a_function_of_its_seed_whatever_the_hash_seed() -> None:
    count = 30
    digest = hashlib.sha256()
    for seed in range(count):
        digest.update(repr(on_oracle(Program(seed))).encode())
    package = __package__ or ""
    root = Path(__file__).parents[package.count(".") + 1]
    for hash_seed in ("1", "2"):
        path = os.pathsep.join([str(root), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(package=package, count=count)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == digest.hexdigest()
