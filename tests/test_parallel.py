"""Many processes for one exploration: the same result whoever makes the runs, and nothing lost when a worker goes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from array import array

import parallel_program
import pytest
from parallel_program import ROOT, script

import vtloop
from vtloop.chunks import Chunk, Made
from vtloop.errors import VtloopError
from vtloop.parallel import in_order

# -- the order in which chunks come back -----------------------------------------------------------------------------


def made(orders, failed=False, seconds=0.05):
    return Made(array("Q", orders), failed, ("", ""), seconds, {}, os.getpid())


class Crowd:
    """Workers that are as fast as the test wants: ``answer`` is called with the chunks under way."""

    def __init__(self, size, answer):
        self.size, self.seconds = size, 0.05
        self.answer = answer
        self.under_way, self.handed, self.dropped = [], [], []

    def hand(self, chunk):
        self.handed.append((chunk.first, chunk.count))
        self.under_way.append(chunk)
        assert len(self.under_way) <= self.size

    def next(self, seconds):
        chunk, result = self.answer(self.under_way)
        self.under_way.remove(chunk)
        return chunk, result

    def drop(self, first):
        self.dropped.append(first)


def numbers(chunk):
    return range(chunk.first, chunk.first + chunk.count)


def gone_through(crowd, last=10, more=lambda: True, pace=0.05):
    return [list(result.orders) for result in in_order(crowd, 0, last, pace, more)]


def test_what_comes_back_late_is_told_in_its_place():
    crowd = Crowd(3, lambda chunks: (chunks[-1], made(numbers(chunks[-1]))))
    assert sum(gone_through(crowd), []) == list(range(10))
    assert crowd.handed == [(number, 1) for number in range(10)]
    assert crowd.dropped == []


def test_the_failing_run_with_the_lowest_number_wins_whatever_comes_first():
    def newest_first(chunks):
        chunk = chunks[-1]
        return chunk, made(numbers(chunk), failed=chunk.first in (2, 3, 5))

    crowd = Crowd(4, newest_first)
    assert gone_through(crowd) == [[0], [1], [2]]
    assert crowd.handed[-1] == (3, 1), "nothing behind a failing run is begun"
    assert crowd.dropped == [3, 2]


def test_a_lost_worker_counts_only_if_nothing_before_it_failed():
    def answer(chunks):
        chunk = chunks[-1]
        return chunk, VtloopError("lost") if chunk.first == 3 else made(numbers(chunk), failed=chunk.first == fails)

    fails = 1
    assert gone_through(Crowd(4, answer)) == [[0], [1]]
    fails = 7
    with pytest.raises(VtloopError, match="lost"):
        gone_through(Crowd(4, answer))


def test_chunks_are_sized_by_what_a_run_takes_and_get_smaller_near_the_end():
    crowd = Crowd(2, lambda chunks: (chunks[0], made(numbers(chunks[0]), seconds=0.001 * chunks[0].count)))
    assert sum(gone_through(crowd, last=1000, pace=0.001), []) == list(range(1000))
    sizes = [count for _, count in crowd.handed]
    assert sizes[:10] == [50] * 10
    assert min(sizes[:-1]) == 20
    crowd = Crowd(2, lambda chunks: (chunks[0], made(numbers(chunks[0]), seconds=0.0001 * chunks[0].count)))
    assert sum(gone_through(crowd, last=5000, pace=1.0), []) == list(range(5000))
    assert [count for _, count in crowd.handed][:3] == [1, 1, 500]


def test_when_no_more_may_begin_what_is_under_way_is_waited_for():
    crowd = Crowd(3, lambda chunks: (chunks[-1], made(numbers(chunks[-1]))))
    assert gone_through(crowd, more=lambda: len(crowd.handed) < 5) == [[number] for number in range(5)]


def test_chunks_name_their_runs():
    assert (str(Chunk(7, 1)), str(Chunk(1000, 20))) == ("run 7", "runs 1,000 to 1,019")


# -- processes of our own --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_result_is_the_same_for_any_number_of_processes():
    out, err = script("""
        def plain(main, seed, **how):
            found = vtloop.explore(main, runs=4000, seed=seed, **how).to_dict()
            del found["elapsed"]
            return found

        for seed in range(3):
            first = plain(rare(7), seed)
            assert first == plain(rare(7), seed, jobs=2) == plain(rare(7), seed, jobs=3)
            print(first["failure"]["run"], first["runs"])
        clean = plain(rare(-1), 0)
        assert clean == plain(rare(-1), 0, jobs=2), clean
        print(clean["failure"], clean["runs"])
    """)
    lines = [line.split() for line in out.splitlines()]
    assert err == ""
    assert len({line[0] for line in lines}) == 4
    assert all(int(line[1]) == int(line[0]) + 1 for line in lines[:3])
    assert max(int(line[0]) for line in lines[:3]) > 100
    assert lines[3] == ["None", "4000"]


@pytest.mark.slow
def test_the_lowest_failing_run_wins_even_when_it_takes_long():
    out, _ = script("""
        for seed in range(6):
            alone = vtloop.explore(slow_then_quick, runs=4000, seed=seed, blocking="allow").failure
            many = vtloop.explore(slow_then_quick, runs=4000, seed=seed, blocking="allow", jobs=3).failure
            assert (alone.run, str(alone.error)) == (many.run, str(many.error)), (alone, many)
            print(alone.error)
    """)
    assert {"slow", "quick"} == set(out.split())


@pytest.mark.slow
def test_processes_are_really_used_and_are_like_this_one(tmp_path):
    out, _ = script(
        """
        vtloop.explore(leaves_a_note(sys.argv[1]), runs=1500, jobs=2)
        print(os.getpid(), hash("a"))
        """,
        str(tmp_path),
        PYTHONHASHSEED="random",
    )
    pid, hashed = out.split()
    notes = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert len(notes) == 3
    assert pid in notes
    assert {note[0] for note in notes.values()} == {hashed}
    assert {note[1] for note in notes.values()} == {"False"}, "automatic garbage collection is off"


@pytest.mark.slow
def test_one_run_starts_no_process(tmp_path):
    script("vtloop.explore(leaves_a_note(sys.argv[1]), runs=1, jobs=2)", str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how, words", [("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), 9)", "SIGKILL")])
def test_a_worker_that_dies_is_one_error_that_names_its_run(how, words):
    out, err = script(
        """
        here = os.getpid()
        def die():
            if os.getpid() != here:
                eval(sys.argv[1])
        try:
            vtloop.explore(dies(die), jobs=2, runs=2000)
        except vtloop.VtloopError as exc:
            print(type(exc).__name__, exc)
            print(exc.data["run"])
            options = eval("dict(" + str(exc).partition("run(main, ")[2])
            vtloop.run(dies(lambda: print("dies here")), **options)
        """,
        how,
    )
    first, run, last = out.splitlines()
    assert re.fullmatch(
        rf"VtloopError a worker process died \({words}\) in run {run}, when it was to make runs? \d+( to \d+)?; "
        rf"that run by itself: vtloop\.run\(main, seed=\d+, .*\)",
        first,
    )
    assert last == "dies here"
    assert err == ""


@pytest.mark.slow
def test_a_step_that_never_returns_is_cut_in_a_worker():
    out, _ = script("""
        seed = late_seed(dies(lambda: 1 / 0))
        found = vtloop.explore(stuck_in_some_order, jobs=2, runs=3000, watchdog=0.3, seed=seed, shrink=False)
        print(type(found.failure.error).__name__, found.failure.run >= 200)
    """)
    assert out.split() == ["HangError", "True"]


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_at_once(tmp_path):
    (tmp_path / "endless.py").write_text(
        "import asyncio, os, time\n"
        "async def main():\n"
        "    open(f'pid-{os.getpid()}', 'w').close()\n"
        "    await asyncio.sleep(1)\n"
        "    time.sleep(0.002)\n"
    )
    interrupt = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", f"{interrupt}from vtloop.cli import main; raise SystemExit(main())"]
    command += ["explore", "endless.py:main", "-j", "2", "-n", "1000000", "--blocking", "allow"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    ) as running:
        while len(list(tmp_path.glob("pid-*"))) < 3:
            assert running.poll() is None
        os.killpg(running.pid, 2)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert re.fullmatch(r"\d+ runs, no failure found up to here\n", out)
    assert re.fullmatch(r"vtloop: interrupted at run \d+\n", err)
    for path in tmp_path.glob("pid-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.partition("-")[2]), 0)


@pytest.mark.slow
def test_threads_that_runs_leave_behind_are_in_nobodys_way():
    out, err = script("""
        found = vtloop.explore(leaves_a_thread(), runs=300, jobs=2)
        print(found.runs, threading.active_count() > 1)
    """)
    assert (out.split(), err) == (["300", "True"], "")


@pytest.mark.slow
def test_where_other_threads_run_fresh_interpreters_are_started():
    out, err = script("""
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        if __name__ == "__main__":
            seed = late_seed(rarely_wrong)
            one = vtloop.explore(rarely_wrong, runs=3000, seed=seed).failure
            two = vtloop.explore(rarely_wrong, runs=3000, seed=seed, jobs=2).failure
            print(one.run == two.run)
            try:
                vtloop.explore(rare(7), jobs=2)
            except vtloop.UsageError as exc:
                print(exc)
    """)
    first, second = out.splitlines()
    assert first == "True"
    assert second.startswith("jobs=2 has to send the program to another process here, and it cannot be pickled (")
    assert second.endswith("; give a function of a module")
    assert err == ""


@pytest.mark.slow
def test_a_run_that_fails_in_a_worker_only_is_nondeterminism_and_says_where_it_was_made():
    _, err = script("vtloop.explore(only_elsewhere(os.getpid()), jobs=2)", status=1, PYTHONHASHSEED="5")
    last = err.strip().splitlines()[-1]
    assert re.fullmatch(
        r"vtloop\.errors\.NondeterminismError: run \d+ failed in a worker \(ValueError at parallel_program\.py:\d+ in "
        r"main\) and not here; the worker has Python 3[\w.+]+ and PYTHONHASHSEED 5, this process Python 3[\w.+]+ and "
        r"PYTHONHASHSEED 5; suspects: .*",
        last,
    )


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "2", True, None])
def test_jobs_is_a_whole_number(jobs):
    with pytest.raises(vtloop.UsageError, match="jobs must be a whole number, 1 or more, got"):
        vtloop.explore(parallel_program.rarely_wrong, jobs=jobs)


def test_an_executor_has_submit():
    with pytest.raises(vtloop.UsageError, match=r"executor must have submit\(function, \*args\)"):
        vtloop.explore(parallel_program.rarely_wrong, executor=3)


def test_a_scheduler_object_explores_in_one_process():
    class First:
        def pick(self, window):
            return 0

    with pytest.raises(vtloop.UsageError, match="in one process only"):
        vtloop.explore(parallel_program.rarely_wrong, scheduler=First(), jobs=2)
