"""The pytest plugin: marker, flags, ini file, reports, replay."""

from __future__ import annotations

import json
import re
import shlex
import sys
import xml.etree.ElementTree
import zlib
from pathlib import Path

import pytest
from plugin_suite import section

pytest_plugins = ["plugin_suite"]

ORDER = """
@pytest.mark.vtloop(runs=50)
async def test_order():
    print("one run")
    await in_order()
"""


# -- the marker ---------------------------------------------------------------------------------------------------


def test_marked_tests_take_virtual_time_only(suite):
    result = suite(
        """
        @pytest.mark.vtloop
        async def test_day():
            with vtloop.elapsed() as e:
                await asyncio.sleep(86400)
            assert e.seconds == 86400

        @pytest.mark.vtloop(start=1000.0, max_time=5000)
        async def test_options():
            assert asyncio.get_running_loop().time() == 1000
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["vtloop: 2 tests, 2 runs"])


def test_the_marker_works_on_classes_modules_and_parameters(suite):
    result = suite(
        """
        pytestmark = pytest.mark.vtloop(runs=2)
        ran = []

        class TestPlain:
            async def test_method(self):
                assert not hasattr(self, "left")     # every run has an instance of its own
                self.left = True
                ran.append("method")

            @pytest.mark.vtloop(runs=3)
            async def test_nearer_marks_win(self):
                ran.append("nearer")

            @staticmethod
            async def test_static():
                assert on_virtual_time()

            def test_sync_methods_are_let_be(self):
                pass

        @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.vtloop(runs=4))])
        async def test_parameters(n):
            ran.append(n)

        def test_runs():
            assert sorted(map(str, ran)) == ["1"] * 2 + ["2"] * 4 + ["method"] * 2 + ["nearer"] * 3
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(["vtloop: 5 tests, 13 runs"])


def test_marks_added_while_collecting_count(suite, pytester):
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.vtloop(runs=3))
        """
    )
    result = suite("async def test_late():\n    assert on_virtual_time()")
    result.stdout.fnmatch_lines(["vtloop: 1 test, 3 runs"])


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        (
            "(rums=3)",
            "unknown option 'rums'; allowed: 'runs', 'seed', 'scheduler', 'interleave', 'exact_time', 'shrink'",
        ),
        ("(200)", "@pytest.mark.vtloop takes keywords only, got 200; allowed: 'runs'"),
        ("(runs=0)", "runs must be a whole number, 1 or more, got 0"),
        ("(interleave='tasks')", "interleave='tasks' needs a seed or a scheduler"),
        ("(seed=1, interleave='task')", "unknown level 'task' for interleave; allowed: 'timing', 'wakeups', 'tasks'"),
        ("(fresh='none')", "unknown fresh='none'; allowed: 'all', 'async'"),
        ("(seed='often')", "seed must be an int or None, got 'often'"),
        ("(runs=9, lag=0.1, exact_time=True)", "exact_time=True and lag=0.1 contradict each other; give one of them"),
        ("(scheduler='exhaustive:bound=1')", "'exhaustive:bound=1' is for explorations (vtloop.explore, vtloop expl"),
    ],
)
def test_a_mark_that_cannot_be_used_is_refused_in_one_sentence(suite, mark, sentence):
    result = suite(f"@pytest.mark.vtloop{mark}\nasync def test_x():\n    pass")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    lines = [line for line in result.stdout.lines if sentence in line]
    assert lines and lines[0].startswith("test_it.py::test_x: ")
    assert "Traceback" not in result.stdout.str() and "INTERNALERROR" not in result.stdout.str()


def test_a_mark_on_a_sync_test_is_refused_in_one_sentence(suite):
    result = suite("@pytest.mark.vtloop\ndef test_x():\n    pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_x: @pytest.mark.vtloop needs an async def; "
            "a plain test gets a loop from the fixture vt_loop"
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_skip_and_xfail_end_a_test_at_once(suite, pytester):
    result = suite(
        """
        pytestmark = pytest.mark.vtloop(runs=5)

        async def test_skip():
            await asyncio.sleep(1)
            pytest.skip("not today")

        async def test_xfail_call():
            pytest.xfail("known")

        @pytest.mark.xfail(strict=True)
        async def test_xfail_mark():
            await asyncio.Event().wait()

        async def test_fail():
            pytest.fail("on purpose")
        """
    )
    result.assert_outcomes(skipped=1, xfailed=2, failed=1)
    stored = [path.name for path in (pytester.path / ".vtloop").glob("*.json")]
    assert [name.rpartition("-")[0] for name in stored] == ["test_it--test_fail"]


@pytest.mark.slow
def test_importorskip_unittest_skip_and_exit_pass_through(suite):
    result = suite(
        """
        import unittest
        pytestmark = pytest.mark.vtloop(runs=5)

        async def test_skip():
            raise unittest.SkipTest("no")

        async def test_exit():
            pytest.exit("enough", returncode=7)

        async def test_never():
            pass
        """
    )
    result.assert_outcomes(skipped=1)
    assert result.ret == 7


# -- flags and ini ------------------------------------------------------------------------------------------------


def runs_of(result: pytest.RunResult) -> int:
    return int(re.search(r"^vtloop: \d+ tests?, (\d+) runs?", result.stdout.str(), re.M)[1])


@pytest.mark.slow
def test_flag_before_marker_before_ini(suite):
    source = """
        @pytest.mark.vtloop(runs=3)
        async def test_marked():
            pass

        async def test_unmarked():
            pass
    """
    assert runs_of(suite(source)) == 3
    assert runs_of(suite(source, ini="vtloop_runs = 5")) == 3
    assert runs_of(suite(source, "--vtloop", ini="vtloop_runs = 5")) == 8
    assert runs_of(suite(source, "--vtloop-runs=7", ini="vtloop_runs = 5")) == 7
    assert runs_of(suite(source, ini="vtloop = true\nvtloop_options = runs=2 max_time=60")) == 5
    assert runs_of(suite(source, "--vtloop", "--vtloop-option", "runs=4")) == 8


@pytest.mark.slow
def test_the_options_of_a_run_follow_from_seed_runs_and_scheduler(suite):
    source = """
        @pytest.mark.vtloop
        async def test_marked():
            o = asyncio.get_running_loop().options
            print("marked", o.seed, o.scheduler, o.interleave, o.lag)

        async def test_unmarked():
            o = asyncio.get_running_loop().options
            print("unmarked", o.seed, o.scheduler, o.interleave, o.lag)
    """

    def seen(*args: str) -> set[str]:
        return set(re.findall(r"\b(?:un)?marked \w+ \S+ \w+ \S+", suite(source, "--vtloop", "-s", *args).stdout.str()))

    assert seen() == {"marked None fifo timing 0.0", "unmarked None fifo timing 0.0"}
    assert seen("--vtloop-seed=4") == {"marked 4 random wakeups 0.0", "unmarked 4 random wakeups 0.0"}
    assert seen("--vtloop-scheduler=random") == {"marked 0 random wakeups 0.0", "unmarked 0 random wakeups 0.0"}
    # A level for all says nothing about a run in asyncio's own order.
    assert seen("--vtloop-interleave=tasks") == seen()
    many = seen("--vtloop-runs=60")
    assert {line.split()[3] for line in many} == {"timing", "wakeups"}  # the ceiling under pytest
    lags = {name: {line.split()[4] for line in many if line.startswith(name)} for name in ("marked", "unmarked")}
    assert lags["unmarked"] == {"0.0"} and lags["marked"] > {"0.0"}
    assert {line.split()[4] for line in seen("--vtloop-runs=60", "--vtloop-option=exact_time=true")} == {"0.0"}
    assert "tasks" in {line.split()[3] for line in seen("--vtloop-runs=60", "--vtloop-interleave=tasks")}


@pytest.mark.slow
def test_exact_time_and_lag_oust_each_other_the_stronger_source_wins(suite):
    def lags(mark: str, *args: str) -> set[str]:
        source = f"""
            @pytest.mark.vtloop({mark})
            class TestIt:
                @pytest.mark.vtloop
                async def test_it(self):
                    print("lag", asyncio.get_running_loop().options.lag)
        """
        result = suite(source, "-s", "--vtloop-runs=9", *args)
        return set(re.findall(r"\blag (\S+)", result.stdout.str()))

    assert lags("lag=0.5") == {"0.0", "0.5"}
    assert lags("lag=0.5", "--vtloop-option=exact_time=true") == {"0.0"}
    assert lags("exact_time=True", "--vtloop-option=lag=0.5") == {"0.0", "0.5"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--vtloop-option", "rums=3"], "vtloop: unknown option 'rums'; allowed: 'runs'"),
        (["--vtloop-option", "rums"], "vtloop: --vtloop-option takes NAME=VALUE, got 'rums'"),
        (["--vtloop-runs", "0"], "vtloop: runs must be a whole number, 1 or more, got 0"),
        (["--vtloop-scheduler", "rundom"], "vtloop: unknown scheduler 'rundom'; allowed: 'fifo', 'random'"),
        (["--vtloop-seed", "x"], "a whole number or 'random' is needed, got 'x'"),
        (["--vtloop-replay", "vt1.nonsense"], "vtloop: the token 'vt1.nonsense' is broken or cut off"),
        (["--vtloop-replay", "no-such.json"], "vtloop: the trace 'no-such.json' cannot be read"),
    ],
)
def test_a_flag_that_cannot_be_used_is_a_usage_error(suite, args, sentence):
    result = suite("def test_x():\n    pass", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any(sentence in line for line in result.stderr.lines)
    assert "Traceback" not in result.stderr.str()


def test_a_random_seed_is_drawn_once_and_printed(suite):
    source = """
        @pytest.mark.vtloop
        async def test_a():
            print("seed", asyncio.get_running_loop().options.seed)

        @pytest.mark.vtloop(seed="random")
        async def test_b():
            print("seed", asyncio.get_running_loop().options.seed)
    """
    result = suite(source, "--vtloop-seed=random", "-s")
    drawn = re.search(
        r"^vtloop: seed (\d+), drawn for this run \(again: --vtloop-seed \1\)$", result.stdout.str(), re.M
    )
    assert result.stdout.str().count(f"seed {drawn[1]}\n") == 2
    again = suite(source, f"--vtloop-seed={drawn[1]}", "-s")
    assert again.stdout.str().count(f"seed {drawn[1]}\n") == 2


# -- reports ------------------------------------------------------------------------------------------------------


def test_a_failure_shows_the_users_own_frames_and_one_section(suite):
    result = suite(
        """
        async def inner():
            await asyncio.sleep(1)
            raise KeyError("lost")

        @pytest.mark.vtloop
        async def test_plain():
            print("before")
            await asyncio.wait_for(inner(), 10)
        """,
        "-W",
        "error",
    )
    text = result.stdout.str()
    assert "asyncio/" not in text and "vtloop/" not in text.replace(".vtloop/", "")
    result.stdout.fnmatch_lines(["*await asyncio.wait_for(inner(), 10)*", "E *KeyError: 'lost'", "*Captured stdout*"])
    assert len(section(result)) <= 12
    assert section(result)[-1].startswith("pytest 'test_it.py::test_plain' --vtloop-replay vt1.")


def test_full_trace_hides_nothing(suite):
    result = suite("@pytest.mark.vtloop\nasync def test_x():\n    assert 0", "--full-trace")
    assert "pytest_item.py" in result.stdout.str()


def test_a_verdict_prints_its_whole_report(suite):
    result = suite(
        """
        async def take(first, second):
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        @pytest.mark.vtloop
        async def test_locks():
            a, b = asyncio.Lock(), asyncio.Lock()
            await asyncio.gather(take(a, b), take(b, a))
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*await asyncio.gather(take(a, b), take(b, a))*", "E *DeadlockError: deadlock at t=1 s*", "E *pending tasks:*"]
    )
    assert section(result)[-1].startswith("pytest 'test_it.py::test_locks' --vtloop-replay vt1.")
    assert result.stdout.str().count("--vtloop-replay") == 1


def test_background_failures_fail_the_test_as_themselves(suite):
    result = suite(
        """
        @pytest.mark.vtloop
        async def test_background():
            async def fails():
                raise KeyError("nobody waits for me")
            task = asyncio.create_task(fails())
            await asyncio.sleep(1)
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *KeyError: 'nobody waits for me'"])


def test_several_background_failures_come_as_a_group_and_threads_as_their_function(suite):
    result = suite(
        """
        import threading

        @pytest.mark.vtloop
        async def test_group():
            async def fails():
                raise KeyError("in a task")
            tasks = [asyncio.create_task(fails()) for _ in range(2)]
            await asyncio.sleep(1)

        @pytest.mark.vtloop
        async def test_thread():
            def fails():
                raise KeyError("in a thread")
            thread = threading.Thread(target=fails)
            thread.start()
            thread.join()

        @pytest.mark.vtloop
        async def test_to_thread():
            def fails():
                raise KeyError("in an executor")
            await asyncio.to_thread(fails)

        @pytest.mark.vtloop
        async def test_stop():
            asyncio.get_running_loop().stop()
            await asyncio.sleep(1)
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(failed=4)
    text = result.stdout.str()
    assert "several background failures (2 sub-exceptions)" in text
    assert "threading.py" not in text and "thread.py" not in text
    for place in ("task", "thread", "n executor"):
        assert f"KeyError: 'in a{' ' * (place[0] != 'n')}{place}'" in text
    assert "RuntimeError: Event loop stopped before Future completed." in text


def test_an_exploration_shows_the_output_of_the_failing_run_alone(suite):
    result = suite(ORDER)
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("one run\n") == 1
    assert len(section(result)) <= 12
    assert any(line.startswith("level 'wakeups'") for line in section(result))


def test_the_section_is_there_when_pytest_leaves_out_captured_output(suite):
    result = suite(ORDER, "--show-capture=no")
    assert section(result)[-1].startswith("pytest 'test_it.py::test_order' --vtloop-replay vt1.")


def test_logs_of_earlier_runs_are_not_shown_and_not_in_caplog(suite):
    result = suite(
        """
        import logging

        @pytest.mark.vtloop(runs=50)
        async def test_order(caplog):
            logging.warning("one run")
            assert len(caplog.records) == 1
            await in_order()
        """
    )
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("one run") == 2  # in the code and in the log


def test_junit_carries_seed_and_token(suite, pytester):
    result = suite(ORDER, "--junitxml=out.xml")
    tree = xml.etree.ElementTree.parse(pytester.path / "out.xml")
    told = {node.get("name"): node.get("value") for node in tree.iter("property")}
    assert section(result)[-1].endswith(told["vtloop_token"])
    assert told["vtloop_seed"].isdecimal() and int(told["vtloop_runs"]) > 1


def test_nondeterminism_is_reported_as_what_it_is(suite):
    result = suite(
        """
        calls = []

        @pytest.mark.vtloop(runs=5)
        async def test_state():
            calls.append(1)
            await asyncio.sleep(1)
            assert len(calls) != 2
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*NondeterminismError: the same choices gave two different runs*"])
    assert section(result) == ["pytest 'test_it.py::test_state' --vtloop-runs 5"]
    assert "self = <vtloop" not in result.stdout.str()


def test_the_command_that_makes_the_same_runs_again_has_every_flag(suite):
    source = """
        calls = []

        async def test_state():
            calls.append(1)
            await asyncio.sleep(1)
            assert len(calls) != 2
    """
    flags = ["--vtloop", "--vtloop-runs=5", "--vtloop-option", "daemons='x y'", "--vtloop-option=max_time=9"]
    command = section(suite(source, *flags))[-1]
    assert shlex.split(command)[2:] == [
        "--vtloop",
        *("--vtloop-runs", "5"),
        *("--vtloop-option", "daemons='x y'"),
        *("--vtloop-option", "max_time=9"),
    ]
    again = suite(None, *shlex.split(command)[1:])
    again.stdout.fnmatch_lines(["*NondeterminismError: the same choices gave two different runs*"])


@pytest.mark.parametrize("args", [("-q",), ("-x",), ("--tb=short",), ("--tb=native",), ("-rA",), ("--setup-show",)])
def test_common_flags_are_borne(suite, args):
    suite(ORDER, *args).assert_outcomes(failed=1)


def test_last_failed_selects_the_test(suite, pytester):
    source = ORDER + "\n@pytest.mark.vtloop\nasync def test_good():\n    pass\n"
    suite(source, "-p", "cacheprovider")
    result = suite(None, "-p", "cacheprovider", "--lf")
    result.assert_outcomes(failed=1, deselected=0)
    assert "test_good" not in result.stdout.str()


# -- replay -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_printed_command_is_enough_by_itself_elsewhere(suite, pytester, tmp_path):
    first = suite(ORDER)
    command = shlex.split(section(first)[-1])
    assert command[0] == "pytest"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "test_it.py").write_bytes((pytester.path / "test_it.py").read_bytes())
    pytester.chdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        patch.setenv("PYTHONHASHSEED", "12345")
        again = pytester.run(sys.executable, "-m", "pytest", "-p", "vtloop.pytest_plugin", *command[1:])
    again.assert_outcomes(failed=1)
    assert [line for line in again.stdout.lines if line.startswith("E ")] == [
        line for line in first.stdout.lines if line.startswith("E ")
    ]
    assert section(again)[-1].split()[1:3] == section(first)[-1].split()[1:3]
    assert not (elsewhere / ".vtloop").exists()


def test_a_replay_needs_no_marker_and_no_other_flag(suite):
    source = "async def test_order():\n    await in_order()"
    first = suite(source, "--vtloop", "--vtloop-runs=50", "--vtloop-seed=3")
    again = suite(None, *shlex.split(section(first)[-1])[1:])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["vtloop: 1 test, 1 run"])
    found, played = section(first), section(again)
    assert played[0].startswith("seed 3") and "run 0" not in played[0]
    assert [line for line in found if "log.append(i)" in line][0] in played


def test_ids_with_quotes_and_brackets_are_quoted_for_the_shell(suite):
    source = """
        @pytest.mark.vtloop
        @pytest.mark.parametrize("text", ["it's", "a b", "$x"])
        async def test_text(text):
            assert text != "it's"
    """
    first = suite(source)
    again = suite(None, *shlex.split(section(first)[-1])[1:])
    again.assert_outcomes(failed=1)


def test_the_command_fits_the_folder_in_which_pytest_was_called(suite, pytester, monkeypatch):
    (pytester.path / "sub").mkdir()
    (pytester.path / "sub" / "here").mkdir()
    pytester.makeini("[pytest]")
    (pytester.path / "sub" / "test_sub.py").write_text(
        "import pytest\n@pytest.mark.vtloop\nasync def test_x():\n    assert 0\n"
    )
    monkeypatch.chdir(pytester.path / "sub" / "here")
    first = suite(None, "..")
    assert section(first)[-1].startswith("pytest '../test_sub.py::test_x' --vtloop-replay ")
    assert (pytester.path / ".vtloop").is_dir()  # at the rootdir
    suite(None, *shlex.split(section(first)[-1])[1:]).assert_outcomes(failed=1)


def test_the_command_finds_the_test_when_the_root_folder_is_elsewhere(suite, pytester):
    suite("")
    root, folder = pytester.mkdir("root"), pytester.mkdir("sub") / "deep"
    folder.mkdir()
    (folder / "test_there.py").write_text((pytester.path / "test_it.py").read_text() + ORDER)
    command = section(suite(None, f"--rootdir={root}", "sub"))[-1]
    assert command.startswith("pytest 'sub/deep/test_there.py::test_order' --vtloop-replay vt1.")
    suite(None, *shlex.split(command)[1:]).assert_outcomes(failed=1)


def test_a_replay_of_one_test_out_of_several(suite, pytester):
    source = ORDER + "\n@pytest.mark.vtloop\nasync def test_good():\n    pass\n"
    first = suite(source)
    token = section(first)[-1].rpartition(" ")[2]
    refused = suite(None, "--vtloop-replay", token)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: vtloop: --vtloop-replay plays one test back, and 2 are selected; name one*"])
    sync = suite("def test_x():\n    pass", "--vtloop-replay", token)
    assert sync.ret == pytest.ExitCode.USAGE_ERROR
    sync.stderr.fnmatch_lines(["ERROR: vtloop: --vtloop-replay plays an async test back, and none is selected"])
    suite(source)
    # A file knows its test.
    (file,) = (pytester.path / ".vtloop").glob("*.json")
    suite(None, "--vtloop-replay", str(file)).assert_outcomes(failed=1, deselected=1)


def test_a_replay_that_no_longer_fits_is_a_replay_error(suite, pytester):
    suite(ORDER)
    (file,) = (pytester.path / ".vtloop").glob("*.json")
    changed = ORDER.replace("await in_order()", "await asyncio.sleep(1)")
    result = suite(changed, "--vtloop-replay", str(file))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *ReplayError: the recorded choices do not fit this program*"])


def test_a_run_too_long_for_a_token_is_named_by_its_file(suite, pytester):
    source = """
        class Backwards:
            def pick(self, window):
                return len(window) - 1

        @pytest.mark.vtloop(scheduler=Backwards(), interleave="tasks")
        async def test_many():
            log = []

            async def worker(i):
                for _ in range(30):
                    await asyncio.sleep(0)
                    log.append(i)

            await asyncio.gather(*(worker(i) for i in range(10)))
            mixed = log != sorted(log)  # pytest explains unequal lists for longer than the watchdog waits
            assert not mixed, "mixed"
    """
    first = suite(source)
    command = shlex.split(section(first)[-1])
    assert re.fullmatch(r"\.vtloop/test_it--test_many-[0-9a-f]{8}\.json", command[-1])
    again = suite(source.replace("Backwards(), interleave", "'fifo', runs=1, interleave"), *command[1:])
    again.assert_outcomes(failed=1)
    mixed = [line for line in first.stdout.lines if line.startswith("E ")]
    assert mixed == [line for line in again.stdout.lines if line.startswith("E ")]


def test_a_trace_of_another_python_is_noted_and_played(suite, pytester):
    suite(ORDER)
    (file,) = (pytester.path / ".vtloop").glob("*.json")
    body = json.loads(file.read_text())["trace"]
    body["made_by"]["python"] = "3.9.1"
    crc = zlib.crc32(json.dumps(body, sort_keys=True).encode())
    file.write_text(json.dumps({"trace": body, "checksum": f"{crc:08x}"}))
    result = suite(None, "--vtloop-replay", str(file))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["vtloop: the trace was recorded under Python 3.9.1, this is 3.*"])


@pytest.mark.slow
def test_a_step_that_never_returns_is_cut_and_fixtures_are_torn_down(suite):
    source = """
        @pytest.fixture
        async def resource():
            yield
            await asyncio.sleep(1)
            print("torn down")

        @pytest.mark.vtloop(watchdog=0.3)
        async def test_stuck(resource):
            await asyncio.sleep(1)
            while True:
                pass
    """
    result = suite(source, "-W", "error")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [">       while True:", "E *HangError: a step of Task-1 did not return within 0.3 s*", "torn down"]
    )
    assert "also failed" not in result.stdout.str()


@pytest.mark.slow
def test_the_debugger_stops_before_anything_is_cancelled(suite, pytester, monkeypatch):
    source = """
        torn_down = []

        @pytest.fixture
        async def resource():
            yield "open"
            torn_down.append(True)

        @pytest.mark.vtloop
        async def test_stuck(resource):
            mine = "a local of mine"
            other = asyncio.create_task(asyncio.sleep(50))
            never = asyncio.Event()
            await asyncio.sleep(60)
            waiter = asyncio.create_task(never.wait())
            await never.wait()

        def test_other():
            assert 0
    """
    pytester.makepyfile(test_it="")
    token = section(suite(source))[-1].rpartition(" ")[2]
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    told = b"p [mine, waiter.done(), torn_down, resource]\nc\n"
    arguments = [sys.executable, "-m", "pytest", "-p", "vtloop.pytest_plugin", "test_it.py::test_stuck"]
    result = pytester.run(*arguments, "--vtloop-replay", token, "--pdb", stdin=told)
    assert "(Pdb) ['a local of mine', False, [], 'open']" in result.stdout.str()
    assert result.stdout.str().count("entering PDB") == 1
    result.assert_outcomes(failed=1)


@pytest.mark.slow
def test_the_debugger_serves_other_tests_and_can_be_quit(suite, pytester):
    source = """
        @pytest.mark.vtloop(runs=2)
        async def test_ours():
            mine = asyncio.create_task(asyncio.sleep(50))
            await asyncio.sleep(1)
            assert 0

        def test_theirs():
            assert 0
    """
    suite(source)
    arguments = [sys.executable, "-m", "pytest", "-p", "vtloop.pytest_plugin", "--pdb"]
    result = pytester.run(*arguments, stdin=b"p mine.done()\nc\np 42\nc\n")
    result.stdout.fnmatch_lines(["*(Pdb) False", "*(Pdb) 42"])
    assert result.stdout.str().count("entering PDB") == 2
    result.assert_outcomes(failed=2)
    quit_at_once = pytester.run(*arguments, stdin=b"q\n")
    quit_at_once.stdout.fnmatch_lines(["*Exit: Quitting debugger*"])


# -- many processes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_xdist_runs_stores_and_reports(suite, pytester):
    source = """
        @pytest.mark.xdist_group("some")
        @pytest.mark.vtloop(runs=30)
        @pytest.mark.parametrize("n", [3, 4])
        async def test_order(n):
            await in_order(n)

        @pytest.mark.vtloop(seed="random")
        @pytest.mark.parametrize("n", range(6))
        async def test_seeds(n, record_property):
            record_property("seen", asyncio.get_running_loop().options.seed)
    """
    result = suite(
        source, "-n2", "--dist=loadgroup", "--junitxml=out.xml", "-W", "error", plugins=("xdist",), apart=True
    )
    result.assert_outcomes(failed=2, passed=6)
    result.stdout.re_match_lines([r"vtloop: 8 tests, \d+ runs, 2 failures stored in \.vtloop/"])
    assert len(list((pytester.path / ".vtloop").glob("*.json"))) == 2
    tree = xml.etree.ElementTree.parse(pytester.path / "out.xml")
    assert len({node.get("value") for node in tree.iter("property") if node.get("name") == "seen"}) == 1
    command = shlex.split(section(result)[-1])[1:]
    suite(None, *command, "-n2", plugins=("xdist",), apart=True).assert_outcomes(failed=1)
    again = suite(None, "-n2", plugins=("xdist",), apart=True)
    again.stdout.fnmatch_lines(["vtloop: 8 tests, 8 runs, 2 failures stored in .vtloop/"])


@pytest.mark.slow
def test_a_usage_error_in_a_worker_is_one_sentence(suite):
    result = suite("@pytest.mark.vtloop(rums=3)\nasync def test_x():\n    pass", "-n1", plugins=("xdist",), apart=True)
    result.stdout.fnmatch_lines(["test_it.py::test_x: unknown option 'rums'; allowed: *"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    several = "@pytest.mark.vtloop\n@pytest.mark.parametrize('n', [1, 2])\nasync def test_x(n):\n    assert 0"
    token = section(suite(several))[-1].rpartition(" ")[2]
    result = suite(None, "-n1", "--vtloop-replay", token, plugins=("xdist",), apart=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["vtloop: --vtloop-replay plays one test back, and 2 are selected; name one*"])


# -- stored failures ----------------------------------------------------------------------------------------------


def stored(pytester: pytest.Pytester) -> list[Path]:
    return sorted((pytester.path / ".vtloop").glob("*.json"))


def test_a_stored_failure_runs_first_next_time(suite, pytester):
    first = suite(ORDER)
    first.stdout.re_match_lines([r"vtloop: 1 test, \d\d? runs, 1 failure stored in \.vtloop/"])
    assert len(stored(pytester)) == 1
    again = suite(None)
    again.assert_outcomes(failed=1)
    assert [line for line in section(first) if "log.append(i)" in line][0] in section(again)
    again.stdout.fnmatch_lines(["vtloop: 1 test, 1 run, 1 failure stored in .vtloop/"])
    # Also when the next run does not explore.
    suite(ORDER.replace("runs=50", ""), "-q").assert_outcomes(failed=1)


FIXED = ORDER.replace("await in_order()", "with __import__('contextlib').suppress(AssertionError): await in_order()")


def test_a_stored_failure_that_passes_is_marked_fixed_and_still_tried_first(suite, pytester):
    suite(ORDER)
    result = suite(FIXED)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "vtloop: the stored failure of test_it.py::test_order passes now: marked fixed, and still tried first",
            "vtloop: 1 test, 51 runs",
        ]
    )
    (path,) = stored(pytester)
    assert path.name.endswith(".fixed.json")
    again = suite(None)
    again.stdout.fnmatch_lines(["vtloop: 1 test, 51 runs"])
    assert "stored failure" not in again.stdout.str()
    assert stored(pytester) == [path]


def test_a_failure_that_was_marked_fixed_and_comes_back_is_said_to(suite, pytester):
    suite(ORDER)
    (path,) = stored(pytester)
    suite(FIXED)
    result = suite(ORDER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "vtloop: the stored failure of test_it.py::test_order was marked fixed and fails again",
            "vtloop: 1 test, 1 run, 1 failure stored in .vtloop/",
        ]
    )
    assert stored(pytester) == [path]
    assert "fails again" not in suite(None).stdout.str()


def test_a_failure_that_was_marked_fixed_stays_beside_a_new_one(suite, pytester):
    suite(ORDER)
    new = FIXED.replace("with __import__", "1 / (vtloop.choose(3) - 2)\n    with __import__")
    suite(new).assert_outcomes(failed=1)
    assert [path.name.endswith(".fixed.json") for path in stored(pytester)] == [True, False]
    suite(ORDER).stdout.fnmatch_lines(["*was marked fixed and fails again", "vtloop: 1 test, 2 runs, 1 failure*"])


def test_a_stored_failure_of_asyncios_own_order_is_marked_fixed_when_the_test_passes(suite, pytester):
    source = "@pytest.mark.vtloop\nasync def test_x():\n    assert {}"
    suite(source.format(0))
    assert len(stored(pytester)) == 1
    result = suite(source.format(1))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*passes now: marked fixed, and still tried first", "vtloop: 1 test, 1 run"])
    (path,) = stored(pytester)
    assert path.name.endswith(".fixed.json")
    assert "stored failure" not in suite(None).stdout.str()
    result = suite(source.format(0))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was marked fixed and fails again", "vtloop: 1 test, 1 run, 1 failure stored*"])
    assert [path.name.endswith(".fixed.json") for path in stored(pytester)] == [False]


@pytest.mark.slow
def test_workers_that_run_the_same_test_keep_one_failure_between_them(suite, pytester):
    words = ("-n", "2", "--dist", "each")
    suite(ORDER, *words, plugins=("xdist",), apart=True).assert_outcomes(failed=2)
    (path,) = stored(pytester)
    suite(FIXED, *words, plugins=("xdist",), apart=True).assert_outcomes(passed=2)
    (fixed,) = stored(pytester)
    assert fixed.name.endswith(".fixed.json")
    result = suite(ORDER, *words, plugins=("xdist",), apart=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*was marked fixed and fails again"])
    assert stored(pytester) == [path]


def test_a_stored_failure_that_no_longer_fits_is_dropped_and_no_failure(suite, pytester):
    suite(ORDER)
    changed = ORDER.replace("await in_order()", "await asyncio.sleep(1)")
    result = suite(changed)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["vtloop: the stored failure of test_it.py::test_order was dropped: it no longer fits*"]
    )
    assert stored(pytester) == []


@pytest.mark.parametrize("damage", [b"", b"{", b'{"trace": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_dropped_and_no_failure(suite, pytester, damage):
    suite(ORDER)
    (file,) = stored(pytester)
    file.write_bytes(damage)
    result = suite(ORDER.replace("await in_order()", "pass"), "-W", "error")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["vtloop: the stored failure of test_it.py::test_order was dropped: *"])
    assert stored(pytester) == []


def test_a_stored_failure_that_the_options_now_exclude_is_dropped(suite, pytester):
    source = """
        @pytest.mark.vtloop(runs=200{})
        async def test_late():
            log = []

            async def after(delay, name):
                await asyncio.sleep(delay)
                log.append(name)
                await asyncio.sleep(0)

            await asyncio.gather(after(1.0, "a"), after(1.0001, "b"), after(1.00015, "c"))
            assert asyncio.get_running_loop().time() <= 1.001, "late"
    """
    suite(source.format("")).assert_outcomes(failed=1)
    assert '"lag": 0.0,' not in stored(pytester)[0].read_text()
    result = suite(source.format(", exact_time=True"))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["vtloop: the stored failure of * was dropped: its level or lag is excluded now"])


def test_a_budget_that_was_raised_is_not_held_against_the_test(suite, pytester):
    source = """
        @pytest.mark.vtloop(seed=1{})
        async def test_long():
            await asyncio.sleep(1000)
    """
    suite(source.format(", max_time=10")).assert_outcomes(failed=1)
    suite(source.format(", max_time=5000")).assert_outcomes(passed=1)


def test_the_folder_is_kept_out_of_version_control(suite, pytester):
    suite(ORDER)
    assert (pytester.path / ".vtloop" / ".gitignore").read_text() == "*\n"


def test_nothing_is_stored_for_a_passing_suite(suite, pytester):
    suite("@pytest.mark.vtloop(runs=3)\nasync def test_x():\n    pass")
    assert not (pytester.path / ".vtloop").exists()


# -- the fixture --------------------------------------------------------------------------------------------------


def test_vt_loop_serves_plain_tests_and_is_closed_afterwards(suite):
    result = suite(
        """
        kept, log = [], []

        async def ticker():
            try:
                while True:
                    await asyncio.sleep(1)
                    log.append("tick")
            finally:
                log.append("cancelled")

        def test_loop(vt_loop):
            kept.append(vt_loop)
            vt_loop.create_task(ticker())
            vt_loop.advance(2)
            assert log == ["tick", "tick"] and vt_loop.time() == 2

        def test_closed():
            assert kept[0].is_closed() and log[-1] == "cancelled"

        @pytest.mark.vtloop
        async def test_async(vt_loop):
            pass
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*vt_loop is for plain tests; an async test has its loop: await vtloop.advance(...)"])


def test_the_plugin_is_an_entry_point():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nvtloop = "vtloop.pytest_plugin"' in text
