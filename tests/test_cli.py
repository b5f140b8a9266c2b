"""The command line: what it prints, its exit statuses, and the replay commands it prints, cut out and executed."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest

import vtloop
from vtloop.cli import main
from vtloop.options import OPTION_NAMES
from vtloop.pytest_target import pytest_words

ROOT = str(Path(vtloop.__file__).parent.parent)

PROGRAMS = """
    import asyncio, os, random, sys, time

    async def fine():
        await asyncio.sleep(3600)
        print("printed by the program")
        return 42

    async def race():
        events = [asyncio.Event(), asyncio.Event()]
        order = []

        async def waiter(number):
            await events[number].wait()
            order.append(number)

        tasks = [asyncio.create_task(waiter(number)) for number in range(2)]
        await asyncio.sleep(1)
        for event in events:
            event.set()
        await asyncio.gather(*tasks)
        print("order", order)
        assert order == [0, 1], order

    async def other():
        await asyncio.sleep(1)

    async def stuck():
        await asyncio.Event().wait()

    async def fails():
        await asyncio.sleep(0.5)
        raise ValueError("always")

    async def leaves():
        await asyncio.sleep(1)
        sys.exit(7)

    async def interrupted():
        await asyncio.sleep(1)
        raise KeyboardInterrupt

    runs = 0

    async def interrupted_later():
        global runs
        runs += 1
        if runs > 5:
            raise KeyboardInterrupt

    async def counts():
        global runs
        runs += 1
        for _ in range(runs):
            await asyncio.sleep(0)

    async def hashes():
        async def work(name):
            await asyncio.sleep(0)

        for name in {"alpha", "beta", "gamma", "delta", "epsilon"}:
            asyncio.create_task(work(name), name=name)
        for name in {"alpha", "beta", "gamma", "delta", "epsilon"}:
            asyncio.get_running_loop().call_later(len(name) + ord(name[0]) / 1000, print)
            await asyncio.sleep(ord(name[0]))

    async def clock():
        await asyncio.sleep(time.time_ns() % 1_000_003)

    async def worker_and_main():
        async def worker():
            while True:
                await asyncio.sleep(1)

        task = asyncio.create_task(worker(), name="worker-1")
        await asyncio.Event().wait()

    def plain():
        return 3
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    (tmp_path / "programs.py").write_text(textwrap.dedent(PROGRAMS))
    return tmp_path


def last_line(text: str) -> str:
    return text.rstrip("\n").rpartition("\n")[2]


def process(*words: str, **how):
    """The command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": ROOT, **how.pop("env", {})}
    return subprocess.run([sys.executable, "-m", "vtloop", *words], capture_output=True, text=True, env=env, **how)


# -- run -------------------------------------------------------------------------------------------------------------


def test_run_prints_what_the_program_prints_and_nothing_else_on_stdout(cli):
    status, out, err = cli("run", "programs.py:fine")
    assert (status, out) == (0, "printed by the program\n")
    assert err == "vtloop: ok, 3600 s of virtual time, 4 steps, returned 42\n"


def test_a_failing_run_prints_traceback_summary_and_replay_command(cli):
    status, out, _ = cli("run", "programs.py:fails")
    lines = out.splitlines()
    assert status == 1
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('programs.py", line 42, in fails'.replace("42", lines[1].split("line ")[1].split(",")[0]))
    assert "vtloop/" not in out.replace(".vtloop/", "")
    assert "ValueError: always" in lines
    summary = lines[lines.index("") + 1 :]
    assert len(summary) <= 12
    assert summary[0] == "run 0, no seed, t=0.5 s, step 4"
    assert lines[-1].startswith("vtloop replay vt1.")
    assert lines[-1].endswith(" programs.py:fails")


def test_a_verdict_is_printed_once_with_its_report(cli):
    status, out, _ = cli("run", "programs.py:stuck")
    assert status == 1
    assert out.count("DEADLOCK at") == 1
    assert out.count("vtloop replay vt1.") == 1
    assert last_line(out).endswith(" programs.py:stuck")
    assert len(out.splitlines()) < 70


def test_a_seed_makes_another_order(cli):
    statuses = {cli("run", "programs.py:race", "--seed", str(seed))[0] for seed in range(8)}
    assert statuses == {0, 1}


def test_run_json_is_one_document(cli):
    status, out, err = cli("run", "programs.py:fine", "--json")
    assert (status, json.loads(out)["ok"], json.loads(out)["value"]) == (0, True, "42")
    assert "printed by the program" in err
    status, out, _ = cli("run", "programs.py:race", "--seed", "3", "--json")
    assert status == 1
    assert json.loads(out)["failure"]["error"] == "AssertionError"
    assert json.loads(out)["failure"]["command"].startswith("vtloop replay vt1.")


def test_sys_exit_in_a_program_is_no_finding_and_passes_through(cli):
    assert cli("run", "programs.py:leaves")[0] == 7
    status, out, err = cli("explore", "programs.py:leaves")
    assert status == 7
    assert "FAILED" not in out
    assert "the program called sys.exit(7)" in err


def test_interrupting_a_run_is_130(cli):
    status, out, err = cli("run", "programs.py:interrupted")
    assert (status, out, err) == (130, "", "vtloop: interrupted at t=1 s, step 3\n")


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        (["--max-steps", "2"], 1),
        (["--max-time", "10"], 1),
        (["--max-time", "none"], 0),
        (["--no-autojump"], 1),
        (["--start", "-5"], 0),
        (["--watchdog", "none"], 0),
        (["--patience", "5"], 0),
        (["--seed", "1", "--scheduler", "pct:depth=2", "--interleave", "tasks", "--lag", "0.01"], 0),
        (["--seed", "1", "--exact-time"], 0),
        (["--seed", "none"], 0),
    ],
)
def test_the_options_of_a_run_are_flags(cli, flags, status):
    assert cli("run", "programs.py:fine", *flags)[0] == status


def test_the_daemons_flag_may_be_repeated(cli):
    status, out, _ = cli("run", "programs.py:worker_and_main", "--max-time", "5")
    assert (status, "budget spent" in out) == (1, True)
    status, out, _ = cli("run", "programs.py:worker_and_main", "--daemons", "x*", "--daemons", "worker-*")
    assert (status, "deadlock" in out) == (1, True)


@pytest.mark.parametrize("command", ["run", "explore", "replay", "check"])
def test_no_option_is_forgotten(cli, command):
    status, out, _ = cli(command, "--help")
    assert status == 0
    for name in OPTION_NAMES:
        assert name.replace("_", "-") in out
    assert "--exact-time" in out
    assert "None" not in out


def test_a_random_seed_is_drawn_and_printed(cli):
    status, _, err = cli("run", "programs.py:other", "--seed", "random")
    assert status == 0
    assert err.startswith("vtloop: seed ")


# -- scripts ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def script(project):
    text = textwrap.dedent(PROGRAMS) + textwrap.dedent(
        """
        if __name__ == "__main__":
            print(sys.argv[1:])
            if "exit" in sys.argv:
                sys.exit(5)
            if "words" in sys.argv:
                sys.exit("in words")
            asyncio.run(globals()[sys.argv[1]]())
        """
    )
    (project / "a_script.py").write_text(text)
    return "a_script.py"


def test_a_script_runs_on_virtual_time(cli, script):
    status, out, err = cli("run", script, "--", "fine", "--json", "-n")
    assert (status, out) == (0, "['fine', '--json', '-n']\nprinted by the program\n")
    assert err == "vtloop: ok, 3600 s of virtual time, 4 steps\n"


def test_the_exit_status_of_a_script_passes_through(cli, script):
    assert cli("run", script, "--", "exit") == (5, "['exit']\n", "")
    assert cli("run", script, "--", "words") == (1, "['words']\n", "vtloop: in words\n")


def test_a_script_that_exits_with_a_failure_has_failed_for_an_exploration(cli, script):
    status, out, _ = cli("explore", script, "--", "exit")
    assert status == 1
    assert "the script ended with exit status 5" in out


def test_a_script_is_explored_and_its_replay_command_works(cli, script):
    status, out, _ = cli("explore", script, "-n", "100", "--", "race")
    command = shlex.split(last_line(out))
    assert status == 1
    assert command[-3:] == [script, "--", "race"]
    status, again, _ = cli(*command[1:])
    assert status == 1
    assert "AssertionError: [1, 0]" in again


def test_the_frames_of_a_script_are_the_users(cli, script):
    status, out, _ = cli("run", script, "--", "fails")
    frames = [line for line in out.splitlines() if line.startswith("  File ")]
    assert status == 1
    assert [line.rpartition(" in ")[2] for line in frames] == ["<module>", "fails"]


def test_a_script_without_a_loop_is_noted(cli, project):
    (project / "nothing.py").write_text("x = 1")
    said = "the script made no event loop by asyncio.run() or asyncio.Runner()"
    assert said in cli("run", "nothing.py")[2]
    assert said in cli("explore", "nothing.py", "-n", "5")[1].splitlines()


# -- explore ---------------------------------------------------------------------------------------------------------


def test_explore_finds_stores_and_prints_the_replay_command_last(cli, project):
    status, out, err = cli("explore", "programs.py:race", "-n", "100")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert "FAILED" in lines
    assert "  | order [1, 0]" in lines
    assert "order [0, 1]" not in out
    command = shlex.split(lines[-1])
    assert command[:2] == ["vtloop", "replay"]
    assert command[-1] == "programs.py:race"
    stored = [name for name in os.listdir(".vtloop") if name.endswith(".json")]
    assert len(stored) == 1
    assert [name for name in os.listdir(".vtloop") if name.startswith(".trace")] == []
    assert f"stored: .vtloop/{stored[0]}" in lines


@pytest.mark.slow
def test_the_printed_command_reproduces_in_a_fresh_process(cli, project):
    _, out, _ = cli("explore", "programs.py:race", "-n", "100")
    command = shlex.split(last_line(out))
    for hash_seed in ("0", "7"):
        made = process(*command[1:], env={"PYTHONHASHSEED": hash_seed})
        assert made.returncode == 1
        assert "AssertionError: [1, 0]" in made.stdout
        assert last_line(made.stdout) == shlex.join(command)
        assert made.stderr == ""


def test_the_stored_file_reproduces_without_a_target(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    status, out, _ = cli("replay", str(path))
    assert (status, "AssertionError: [1, 0]" in out) == (1, True)


def test_a_stored_failure_runs_first_next_time(cli, project):
    first = cli("explore", "programs.py:race", "-n", "100", "--json")[1]
    again = json.loads(cli("explore", "programs.py:race", "-n", "100", "--json")[1])
    assert again["runs"] == 1
    assert again["failure"]["token"] == json.loads(first)["failure"]["token"]
    assert len(list(Path(".vtloop").glob("*.json"))) == 1


def test_a_stored_failure_that_the_exploration_could_not_find_is_left_out(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    status, out, _ = cli("explore", "programs.py:race", "-n", "20", "--interleave", "timing")
    assert status == 0
    assert out.startswith("20 runs")


def mend(project, mended=True):
    """Take the assertion out of ``race``, or put it back."""
    text = (project / "programs.py").read_text()
    words = ("assert order == [0, 1], order", "pass  # mended")
    (project / "programs.py").write_text(text.replace(*(words if mended else reversed(words))))


def test_a_stored_failure_that_passes_is_marked_fixed_and_still_tried_first(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    mend(project)
    status, out, _ = cli("explore", "programs.py:race", "-n", "20")
    (fixed,) = Path(".vtloop").glob("*.json")
    assert (status, fixed) == (0, path.with_suffix(".fixed.json"))
    note = f"the stored failure {path} passes now: marked fixed as {fixed}, and still tried first"
    assert note in out.splitlines()
    status, out, _ = cli("explore", "programs.py:race", "-n", "20")
    assert (status, out.startswith("21 runs, "), "stored failure" in out) == (0, True, False)


def test_a_failure_that_was_marked_fixed_and_comes_back_is_said_to(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    mend(project)
    cli("explore", "programs.py:race", "-n", "20")
    (fixed,) = Path(".vtloop").glob("*.json")
    mend(project, mended=False)
    status, out, _ = cli("explore", "programs.py:race", "-n", "100")
    assert status == 1
    assert out.startswith("1 run, ")
    assert f"the stored failure {fixed} was marked fixed and fails again" in out.splitlines()
    assert any(" before programs.py:" in line for line in out.splitlines()), "told with the lines of the program"
    assert any(line.startswith("** choice 1: ") for line in out.splitlines()), "and with its table"
    (path,) = Path(".vtloop").glob("*.json")
    assert path == Path(str(fixed).replace(".fixed", ""))
    assert f"stored: {path}" in out.splitlines()


def test_a_stored_failure_that_no_longer_fits_is_dropped_with_a_note(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    text = (project / "programs.py").read_text()
    (project / "programs.py").write_text(text.replace("async def race():", "async def race():\n    return\n"))
    status, out, _ = cli("explore", "programs.py:race", "-n", "20")
    assert status == 0
    assert f"the stored failure {path} no longer fits the program and was dropped" in out.splitlines()
    assert list(Path(".vtloop").glob("*.json")) == []


def test_the_stored_failures_are_listed(cli, project):
    assert cli("stored") == (0, "no failures are stored in .vtloop/\n", "")
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    status, out, err = cli("stored")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "failing    programs.py:race"
    assert out.splitlines()[1].strip().startswith("AssertionError at programs.py:")
    assert out.splitlines()[2].strip() == str(path)
    assert "stored   failing" in cli("show", str(path))[1].splitlines()
    mend(project)
    cli("explore", "programs.py:race", "-n", "20")
    (fixed,) = Path(".vtloop").glob("*.json")
    assert cli("stored")[1].splitlines()[0] == "fixed      programs.py:race"
    assert "stored   marked fixed" in cli("show", str(fixed))[1].splitlines()
    fixed.with_name("broken.json").write_text("{")
    rows = json.loads(cli("stored", "--json")[1])["stored"]
    assert [row["state"] for row in rows] == ["unusable", "fixed"]


def test_where_nothing_can_be_stored_the_token_has_to_do(cli, project):
    (project / ".vtloop").write_text("not a folder")
    status, out, _ = cli("explore", "programs.py:race", "-n", "100")
    assert status == 1
    assert "not stored: .vtloop/ cannot be written to" in out
    assert cli(*shlex.split(last_line(out))[1:])[0] == 1


def test_a_broken_stored_trace_is_passed_over(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    path.write_text("{")
    assert cli("explore", "programs.py:race", "-n", "100")[0] == 1


def test_a_clean_exploration_says_so(cli):
    status, out, err = cli("explore", "programs.py:other", "-n", "20")
    assert (status, err) == (0, "")
    assert out.startswith("20 runs, ")
    assert last_line(out) == "no failure found"
    assert list(Path(".vtloop").glob("*.json")) == []


def test_explore_json_is_one_document(cli):
    status, out, err = cli("explore", "programs.py:race", "-n", "100", "--json")
    data = json.loads(out)
    assert (status, err) == (1, "")
    assert data["failure"]["command"].startswith("vtloop replay vt1.")
    assert Path(data["path"]).exists()
    assert data["printed"] == "order [1, 0]\n"


def test_explore_shows_output_when_asked(cli):
    assert cli("explore", "programs.py:fine", "-n", "3", "-s")[1].count("printed by the program") == 3


def test_interrupting_an_exploration_tells_what_was_done(cli):
    status, out, err = cli("explore", "programs.py:interrupted_later", "-n", "50")
    assert (status, out, err) == (130, "5 runs, no failure found up to here\n", "vtloop: interrupted at run 5\n")


def test_a_long_token_gives_way_to_the_file(cli, project):
    # Options that do not compress: the token of this run is too long.
    globs = [word for n in range(300) for word in ("--daemons", f"{zlib.crc32(str(n).encode()):x}")]
    status, out, _ = cli("explore", "programs.py:race", "-n", "100", *globs)
    command = shlex.split(last_line(out))
    assert status == 1
    assert command[2].startswith(".vtloop/")
    assert cli(*command[1:])[0] == 1
    assert last_line(cli("run", "programs.py:fails", *globs)[1]).startswith("vtloop replay .vtloop/")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_line_rewritten_on_a_terminal_and_none_in_a_pipe(project, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "__stderr__", terminal)
    assert main(["explore", "programs.py:other", "-n", "20"]) == 0
    drawn = terminal.getvalue()
    assert drawn.startswith("\r\033[K1 of 20 runs, ")
    assert drawn.endswith("\r\033[K")
    assert "\n" not in drawn


# -- replay ----------------------------------------------------------------------------------------------------------


def test_a_seed_replays_the_run_of_that_seed(cli):
    outs = [cli("run", "programs.py:race", "--seed", str(seed))[1] for seed in range(6)]
    assert [cli("replay", str(seed), "programs.py:race")[1] for seed in range(6)] == outs
    assert any("AssertionError" in out for out in outs)


def test_a_seed_replays_with_the_same_options(cli):
    flags = ["--scheduler", "pct:depth=2", "--interleave", "tasks", "--lag", "0.2"]
    for seed in ("1", "2", "-3"):
        assert cli("replay", seed, "programs.py:race", *flags) == cli("run", "programs.py:race", "--seed", seed, *flags)


def test_a_trace_that_does_not_fit_is_3(cli, project):
    _, out, _ = cli("explore", "programs.py:race", "-n", "100")
    token = shlex.split(last_line(out))[2]
    (path,) = Path(".vtloop").glob("*.json")
    for source in (token, str(path)):
        status, out, err = cli("replay", source, "programs.py:other")
        assert (status, err) == (3, "")
        assert out.startswith("ReplayError: the recorded choices do not fit this program")
        assert len(out.splitlines()) == 1
    status, out, _ = cli("replay", token, "programs.py:other", "--json")
    assert status == 3
    assert "do not fit" in json.loads(out)["replay_error"]


def test_another_failure_than_the_recorded_one_is_noted(cli, project):
    _, out, _ = cli("run", "programs.py:stuck")
    token = shlex.split(last_line(out))[2]
    status, _, err = cli("replay", token, "programs.py:fails")
    assert status in (1, 3)
    if status == 1:
        assert "the recorded run ended with DeadlockError, this one with ValueError" in err


def test_the_same_error_at_another_place_is_noted(cli, project):
    (project / "two.py").write_text("async def first():\n    assert not 1\n\n\nasync def second():\n    assert not 1\n")
    cli("explore", "two.py:first")
    (path,) = Path(".vtloop").glob("*.json")
    assert "the recorded run" not in cli("replay", str(path))[2]
    status, _, err = cli("replay", str(path), "two.py:second")
    ends = "AssertionError at two.py:2 in first, this one with AssertionError at two.py:6 in second"
    assert (status, err) == (1, f"vtloop: the recorded run ended with {ends}\n")


def test_a_failure_that_is_gone_is_noted(cli, project):
    _, out, _ = cli("run", "programs.py:fails")
    text = (project / "programs.py").read_text()
    (project / "programs.py").write_text(text.replace('raise ValueError("always")', "pass"))
    status, _, err = cli("replay", shlex.split(last_line(out))[2], "programs.py:fails")
    assert status == 0
    assert "the recorded run ended with ValueError, this one without a failure" in err


def test_a_trace_elsewhere_does_not_get_its_program_imported(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    (project / "elsewhere").mkdir()
    copy = path.rename(project / "elsewhere" / "t.json")
    for source in (str(copy), "elsewhere/t.json", ".vtloop/../elsewhere/t.json"):
        status, out, err = cli("replay", source)
        assert (status, out) == (2, "")
        assert "is not in this project's .vtloop/, so what it names is not imported" in err
        assert cli("show", source, "--events")[0] == 2
    (project / ".vtloop" / "link.json").symlink_to(copy)
    assert cli("replay", ".vtloop/link.json")[0] == 2
    assert cli("replay", str(copy), "programs.py:race")[0] == 1


def test_another_python_version_is_warned_of(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    outer = json.loads(path.read_text())
    outer["trace"]["made_by"]["python"] = "3.99.0"
    outer["checksum"] = f"{zlib.crc32(json.dumps(outer['trace'], sort_keys=True).encode()):08x}"
    path.write_text(json.dumps(outer))
    status, _, err = cli("replay", str(path))
    assert status == 1
    assert "recorded under Python 3.99.0" in err


# -- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_a_trace_in_words_and_runs_nothing(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    (project / "programs.py").write_text("raise SystemExit('imported')")
    status, out, err = cli("show", str(path))
    assert (status, err) == (0, "")
    assert out.splitlines()[1] == "target   programs.py:race"
    assert "scheduler=" in out
    assert "interleave=" in out
    assert "outcome  AssertionError at programs.py:" in out
    assert "deviates from asyncio's own order" in out
    assert re.search(r"ran before|stood back while", out)


def test_show_events_plays_back_and_lists_them(cli, project):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    status, out, err = cli("show", str(path), "--events")
    assert (status, err) == (0, "")
    assert "Task-1 step 1" in out
    assert "order [" not in out
    data = json.loads(cli("show", str(path), "--events", "--json")[1])
    assert data["events"][0]["what"] == "Task-1 step 1"


def test_show_of_a_token_with_its_target_tells_the_choices(cli):
    _, out, _ = cli("explore", "programs.py:race", "-n", "100")
    small = shlex.split(last_line(out))[2]
    assert "of which 1 deviates from asyncio's own order" in cli("show", small)[1]
    assert re.search(r"ran before|ran after|stood back while", cli("show", small, "programs.py:race")[1])
    for stored in Path(".vtloop").glob("*.json"):
        stored.unlink()
    _, out, _ = cli("explore", "programs.py:race", "-n", "100", "--no-shrink")
    token = shlex.split(last_line(out))[2]
    assert "drawn from the seed; with a TARGET they are shown in words" in cli("show", token)[1]
    assert re.search(r"ran before|ran after|stood back while", cli("show", token, "programs.py:race")[1])
    assert json.loads(cli("show", token, "--json")[1])["choices"] is None


# -- check -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_check_of_a_deterministic_program(cli, project):
    status, out, err = cli("check", "programs.py:race", "--seed", "1", "--interleave", "tasks")
    assert (status, err) == (0, "")
    assert out.startswith("deterministic: ")
    assert "events, digest " in out
    data = json.loads(cli("check", "programs.py:fine", "--json")[1])
    assert data["deterministic"] is True


@pytest.mark.slow
def test_check_of_a_script(cli, script):
    assert cli("check", script, "--", "fine")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "pair", "suspect"),
    [
        ("hashes", "PYTHONHASHSEED=2", "suspects: the order of sets"),
        ("clock", "this process, second run", "the wall clock"),
        ("counts", "this process, second run", "suspects: state kept between runs"),
    ],
)
def test_check_shows_the_first_difference_and_suspects(cli, program, pair, suspect):
    status, out, _ = cli("check", f"programs.py:{program}")
    lines = out.splitlines()
    assert status == 1
    assert lines[0] == "NondeterminismError: the same seed gave two different runs"
    assert lines[1].startswith("they part at event ")
    assert pair in out
    assert "step " in lines[2]
    assert suspect in lines[-1]
    assert len(lines) <= 12


# -- refusals --------------------------------------------------------------------------------------------------------


def newer(path: Path) -> None:
    outer = json.loads(path.read_text())
    outer["trace"]["format"] = 99
    path.write_text(json.dumps(outer))


BAD_TRACES = {
    "broken": lambda path: path.write_text("{]"),
    "truncated": lambda path: path.write_text(path.read_text()[:-20]),
    "newer": newer,
    "foreign": lambda path: path.write_text('{"name": "package"}'),
    "damaged": lambda path: path.write_text(path.read_text().replace("AssertionError", "ValueError")),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", BAD_TRACES)
def test_a_bad_trace_file_is_refused_in_one_sentence(cli, project, how):
    cli("explore", "programs.py:race", "-n", "100")
    (path,) = Path(".vtloop").glob("*.json")
    BAD_TRACES[how](path)
    for words in (["replay", str(path), "programs.py:race"], ["replay", str(path)], ["show", str(path)]):
        status, out, err = cli(*words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("vtloop: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a command is needed, one of run, explore, replay, shrink, show, diff, check, stored; see vtloop --help"),
        (["frob"], "unknown command 'frob'; allowed: 'run', 'explore', 'replay', 'shrink', 'show', 'diff', 'check', "),
        (["run"], "run: the following arguments are required: TARGET"),
        (["run", "programs.py:fine", "--frob"], "unknown arguments: --frob; options of a run: --seed, "),
        (["run", "programs.py:fine", "a"], "unknown arguments: a; "),
        (
            ["run", "nowhere:main"],
            "target 'nowhere:main' does not import: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (["run", "programs.py:nope"], "target 'programs.py:nope': programs has no 'nope'; its async functions: fine, "),
        (["run", "programs.py:plain"], "target 'programs.py:plain' is a plain function and returned 3; an async def"),
        (
            ["explore", "programs.py:plain"],
            "target 'programs.py:plain' is a plain function and returned 3; an async def",
        ),
        (["check", "programs.py:plain"], "target 'programs.py:plain' is a plain function and returned 3; an async def"),
        (["run", "programs"], "TARGET must be package.module:function, path/file.py:function, a script"),
        (
            ["run", "programs.py:fine", "--", "a"],
            "only a script takes arguments after --; 'programs.py:fine' is not one",
        ),
        (["run", "programs.py:fine", "--scheduler", "zen"], "unknown scheduler 'zen'; allowed: 'fifo', 'random', "),
        (
            ["run", "programs.py:fine", "--scheduler", "portfolio"],
            "--scheduler portfolio is the mix of an exploration;",
        ),
        (["run", "programs.py:fine", "--seed", "1", "--interleave", "all"], "unknown level 'all'"),
        (["run", "programs.py:fine", "--interleave", "tasks"], "interleave='tasks' needs a seed or a scheduler;"),
        (["run", "programs.py:fine", "--max-time", "-1"], "max_time must be a finite number of seconds, 0 or more"),
        (["run", "programs.py:fine", "--watchdog", "-1"], "watchdog must be a finite number of seconds, 0 or more"),
        (["run", "programs.py:fine", "--start", "nan"], "start must be a finite number of seconds"),
        (
            ["run", "programs.py:fine", "--max-steps", "1.5"],
            "run: --max-steps must be a whole number, 'none', got '1.5'",
        ),
        (["run", "programs.py:fine", "--lag", "x"], "run: --lag must be a number of seconds, got 'x'"),
        (["run", "programs.py:fine", "--seed", "x"], "run: --seed must be a whole number, 'none' or 'random', got 'x'"),
        (["explore", "programs.py:fine", "-n", "0"], "runs must be a whole number, 1 or more, got 0"),
        (
            ["explore", "programs.py:fine", "--exact-time", "--lag", "1"],
            "--exact-time and --lag 1 contradict each other",
        ),
        (["explore", "programs.py:fine", "--scheduler", "zen"], "unknown scheduler 'zen'; allowed: "),
        (["replay", "vt1.AAAA", "programs.py:fine"], "the token 'vt1.AAAA' is broken or cut off; copy the whole of it"),
        (["replay", "vt9.AAAA", "programs.py:fine"], "a token of this version begins with 'vt1.', got 'vt9.AAAA'"),
        (["replay", "nothing.json"], "the trace 'nothing.json' cannot be read: No such file or directory;"),
        (["replay", "7"], "seed 7 of which program? give a TARGET"),
        (["replay", "7", "programs.py:fine", "--seed", "8"], "replay 7 and --seed 8: give one seed"),
        (["check", "tests/test_x.py::test_y"], "check takes a function or a script;"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(cli, words, message):
    status, out, err = cli(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"vtloop: {message}")


def test_a_glob_that_the_shell_has_filled_in_is_hinted_at(cli):
    _, _, err = cli("explore", "programs.py:fine", "--cancel", "client-1.txt", "client-2.txt")
    assert err.startswith("vtloop: unknown arguments: client-2.txt; ")
    assert err.endswith("; a glob: in quotes\n")


def test_a_token_alone_and_options_beside_a_token_are_refused(cli):
    token = shlex.split(last_line(cli("run", "programs.py:fails")[1]))[2]
    assert "a token does not name its program; give the TARGET after it" in cli("replay", token)[2]
    status, _, err = cli("replay", token, "programs.py:fails", "--seed", "3")
    assert (status, err) == (2, "vtloop: a trace holds the options of its run; --seed can only be given with a seed\n")


# -- pytest ----------------------------------------------------------------------------------------------------------


def test_a_node_id_becomes_arguments_for_pytest():
    words = pytest_words("t.py::test[1]", 50, {"seed": 3, "interleave": "tasks", "lag": 0.5, "daemons": ["a*"]})
    assert words[0] == "t.py::test[1]"
    flags = ["--vtloop", "--vtloop-runs", "50", "--vtloop-seed", "3", "--vtloop-interleave", "tasks"]
    assert words[-11:] == [*flags, "--vtloop-option", "lag=0.5", "--vtloop-option", "daemons=['a*']"]
    assert pytest_words("t.py::test", trace="vt1.x")[-2:] == ["--vtloop-replay", "vt1.x"]


@pytest.mark.slow
def test_a_pytest_test_is_run_explored_and_replayed(project):
    body = textwrap.indent(PROGRAMS[PROGRAMS.index("        events = ") : PROGRAMS.index("    async def other")], "")
    (project / "test_it.py").write_text(
        "import asyncio, pytest\n\n@pytest.mark.vtloop\nasync def test_race():\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
    )
    (project / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    assert process("run", "test_it.py::test_race").returncode == 0
    explored = process("explore", "test_it.py::test_race", "-n", "100")
    assert explored.returncode == 1, explored.stdout
    assert "--vtloop-replay" in explored.stdout
    assert process("run", "test_it.py::test_nothing").returncode == 2
    (token,) = {word for word in explored.stdout.split() if word.startswith("vt1.")}
    replayed = process("replay", token, "test_it.py::test_race")
    assert (replayed.returncode, "assert [1, 0] == [0, 1]" in replayed.stdout) == (1, True)
    (project / "test_it.py").write_text("import pytest\n\n@pytest.mark.vtloop\nasync def test_race(): pass\n")
    assert process("replay", token, "test_it.py::test_race").returncode == 3


# -- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_is_a_module_too(project):
    made = process("--version")
    assert (made.returncode, made.stdout) == (0, f"vtloop {vtloop.__version__}\n")
    assert "examples:" in process("--help").stdout


@pytest.mark.slow
def test_a_closed_standard_output_shows_no_traceback(project):
    (project / "loud.py").write_text(
        "async def main():\n    raise ExceptionGroup('many', [ValueError('x' * 500) for _ in range(2000)])\n"
    )
    read, write = os.pipe()
    env = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-m", "vtloop", "run", "loud.py:main"]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True, env=env) as made:
        os.close(write)
        os.close(read)
        assert made.stderr.read() == ""
    assert made.returncode == 1


@pytest.mark.slow
def test_ctrl_c_ends_an_exploration_with_130(project):
    (project / "slow_one.py").write_text(
        "import os, time\nasync def main():\n    open('started', 'w').close()\n    time.sleep(0.01)\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-m", "vtloop", "explore", "slow_one.py:main", "-n", "1000000", "--json"]
    command += ["--blocking", "allow"]
    restore = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=restore
    ) as made:
        while not (project / "started").exists():
            assert made.poll() is None
        made.send_signal(signal.SIGINT)
        out, err = made.communicate(timeout=30)
    assert made.returncode == 130
    assert json.loads(out)["interrupted"] is True
    assert "Traceback" not in err
