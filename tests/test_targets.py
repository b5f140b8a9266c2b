"""Targets: what a text names is found, and what it does not name is told in one sentence."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import threading
import unittest

import pytest

from vtloop.errors import UsageError
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.scripts import ScriptExit, ScriptTarget, runner_loops
from vtloop.targets import PytestTarget, kind_of, opened, split


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to write files into, the current one; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)

    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return name

    yield write
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def refusal(text: str, arguments=()) -> str:
    before = list(sys.path)
    with pytest.raises(UsageError) as caught, opened(text, arguments) as target:
        outcome = target.execute(RUN_DEFAULTS)
        if outcome.error is not None:
            raise outcome.error
    assert sys.path == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def outcome_of(text: str, arguments=(), options=RUN_DEFAULTS, **how):
    before = list(sys.path), list(sys.argv), sys.modules["__main__"], asyncio.Runner.__init__, asyncio.new_event_loop
    with opened(text, arguments) as target:
        outcome = target.execute(options, **how)
    after = list(sys.path), list(sys.argv), sys.modules["__main__"], asyncio.Runner.__init__, asyncio.new_event_loop
    assert before == after
    return outcome


# -- the current folder -----------------------------------------------------------------------------------------------


MOVES = """
import os, asyncio
{top}
async def main():
    seen = os.path.basename(os.getcwd())
    os.chdir("inner")
    return seen
"""


@pytest.mark.parametrize("top, seen", [("", "outer"), ("os.chdir('between')", "between")])
def test_a_program_that_changes_the_folder_begins_each_run_in_the_same_one_and_moves_nobody_else(
    project, tmp_path, monkeypatch, top, seen
):
    for name in ("outer/inner", "outer/between/inner"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir("outer")
    project("outer/moves.py", MOVES.format(top=top))
    with opened("moves.py:main") as target:
        for _ in range(2):
            assert target.execute(RUN_DEFAULTS).value == seen
            assert os.path.basename(os.getcwd()) == "outer"
    assert os.path.basename(os.getcwd()) == "outer"


def test_a_script_that_changes_the_folder_begins_each_run_in_the_same_one(project, tmp_path):
    (tmp_path / "inner").mkdir()
    with opened(project("moves.py", "import os; os.chdir('inner')")) as target:
        for _ in range(2):
            assert target.execute(RUN_DEFAULTS).error is None
            assert os.getcwd() == str(tmp_path)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("app:main", "function"),
        ("app.jobs:main", "function"),
        ("app.jobs:Jobs.main", "function"),
        ("path/file.py:main", "function"),
        ("path/file.py", "script"),
        ("tests/test_x.py::test_y[1]", "pytest"),
        ("tests/test_x.py::Class::test_y", "pytest"),
    ],
)
def test_the_kind_of_a_target_is_seen_from_its_text(text, kind):
    assert kind_of(text) == kind


@pytest.mark.parametrize("text", ["", "app", "app:", ":main", "a b:main", "app:1x", "path/file:main", "app.:x", "dir/"])
def test_what_is_no_target_is_refused_with_the_forms_allowed(text):
    message = refusal(text)
    assert message.startswith("TARGET must be package.module:function")
    assert message.endswith(f"got {text!r}")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s.py", ("s.py", ())),
        ("s.py -- a 'b c'", ("s.py", ("a", "b c"))),
        ("app:main", ("app:main", ())),
        ("t.py::test[x -- y]", ("t.py::test[x -- y]", ())),
    ],
)
def test_the_target_of_a_trace_is_parted_from_its_arguments(text, parts):
    assert split(text) == parts


# -- functions -------------------------------------------------------------------------------------------------------

FUNCTIONS = """
    import asyncio
    import functools

    async def main():
        await asyncio.sleep(3600)
        return "async"

    def plain():
        return main()

    class Jobs:
        @staticmethod
        async def main():
            return "static"

    part = functools.partial(asyncio.sleep, 5, "part")

    async def needs(argument):
        pass

    async def many():
        yield 1

    def number():
        return 3

    def own_loop():
        asyncio.run(main())

    def lambda_object():
        return object()

    value = 5
"""


def test_a_module_is_found_in_the_current_folder(project):
    project("app_here/jobs.py", FUNCTIONS)
    outcome = outcome_of("app_here.jobs:main")
    assert (outcome.value, outcome.time_ns) == ("async", 3600 * 10**9)


@pytest.mark.parametrize(
    ("name", "value"), [("main", "async"), ("plain", "async"), ("Jobs.main", "static"), ("part", "part")]
)
def test_functions_of_a_file_run(project, name, value):
    project("deep/functions.py", FUNCTIONS)
    assert outcome_of(f"deep/functions.py:{name}").value == value


def test_a_file_imports_its_neighbours(project):
    project("deep/neighbour_of.py", "answer = 42")
    project("deep/imports_it.py", "import neighbour_of\nasync def main(): return neighbour_of.answer")
    assert outcome_of("deep/imports_it.py:main").value == 42


def test_a_file_in_a_package_keeps_its_relative_imports(project):
    project("pack_age/__init__.py", "")
    project("pack_age/part.py", "answer = 42")
    project("pack_age/jobs.py", "from .part import answer\nasync def main(): return __name__, answer")
    assert outcome_of("pack_age/jobs.py:main").value == ("pack_age.jobs", 42)


def test_a_file_named_like_a_known_module_does_not_take_its_place(project, tmp_path):
    project("json.py", "async def main(): import json; return json.dumps([1])")
    assert outcome_of("json.py:main").value == "[1]"
    assert not sys.modules["json"].__file__.startswith(str(tmp_path))


def test_a_file_is_read_anew_each_time(project):
    project("changing.py", "async def main(): return 1")
    assert outcome_of("changing.py:main").value == 1
    project("changing.py", "async def main(): return 'two'")
    assert outcome_of("changing.py:main").value == "two"


def test_a_missing_module_is_told(project):
    assert refusal("no_such_app:main") == (
        "target 'no_such_app:main' does not import: ModuleNotFoundError: No module named 'no_such_app'"
    )


def test_a_missing_file_is_told(project):
    assert refusal("nope.py:main") == "target 'nope.py:main': there is no file 'nope.py'"


def test_a_module_that_fails_is_told_with_its_line(project):
    project("fails_now.py", "import asyncio\n\nx = 1 / 0")
    expected = "target '{}' does not import: ZeroDivisionError: division by zero (fails_now.py:3)"
    assert refusal("fails_now:main") == expected.format("fails_now:main")
    assert refusal("fails_now.py:main") == expected.format("fails_now.py:main")


def test_a_module_that_exits_is_told(project):
    project("leaves_now.py", "raise SystemExit(3)")
    assert refusal("leaves_now:main") == "target 'leaves_now:main' does not import: SystemExit: 3 (leaves_now.py:1)"


def test_a_file_with_a_syntax_error_is_told(project):
    project("syn_tax.py", "def main(:\n")
    assert "does not import: SyntaxError: invalid syntax (syn_tax.py, line 1)" in refusal("syn_tax.py:main")


def test_a_missing_function_is_told_with_those_there_are(project):
    project("functions.py", FUNCTIONS)
    assert refusal("functions.py:mian") == (
        "target 'functions.py:mian': functions has no 'mian'; its async functions: main, part, needs"
    )
    project("empty_one.py", "")
    assert refusal("empty_one.py:main").endswith("empty_one has no 'main'; it has no async function")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("value", "must be an async def function, got 5"),
        ("needs", "is called without arguments, but: missing a required argument: 'argument'"),
        ("many", "is a generator; an async def without yield is needed"),
        (
            "number",
            "is a plain function and returned 3; an async def, or a function that returns a coroutine, is needed",
        ),
        ("own_loop", "starts an event loop itself; an async def, or a function that returns a coroutine, is needed"),
        ("lambda_object", "is a plain function and returned <object object>;"),
    ],
)
def test_what_gives_no_coroutine_is_told(project, name, expected):
    project("functions.py", FUNCTIONS)
    assert expected in refusal(f"functions.py:{name}")


def test_an_error_in_a_plain_function_is_the_runs_error(project):
    project("raises_it.py", "def main(): raise ValueError('mine')")
    assert repr(outcome_of("raises_it.py:main").error) == "ValueError('mine')"


def test_only_scripts_take_arguments(project):
    assert refusal("app:main", ["a"]) == "only a script takes arguments after --; 'app:main' is not one, got a"


def test_a_node_id_is_left_to_pytest():
    with opened("tests/test_x.py::test_y") as target:
        assert isinstance(target, PytestTarget)
        assert target.text == "tests/test_x.py::test_y"


# -- scripts ---------------------------------------------------------------------------------------------------------

RACE = """
    import asyncio, sys

    async def main():
        events = [asyncio.Event(), asyncio.Event()]
        order = []

        async def waiter(number):
            await events[number].wait()
            order.append(number)

        tasks = [asyncio.create_task(waiter(number)) for number in range(2)]
        await asyncio.sleep(3600)
        for event in events:
            event.set()
        await asyncio.gather(*tasks)
        return order
"""


def script(project, tail: str, name: str = "the_script.py") -> str:
    return project(name, textwrap.dedent(RACE) + textwrap.dedent(tail))


def test_asyncio_run_in_a_script_takes_no_real_time(project):
    outcome = outcome_of(script(project, "assert asyncio.run(main()) == [0, 1]"))
    assert (outcome.error, outcome.time_ns) == (None, 3600 * 10**9)


@pytest.mark.parametrize(
    "tail",
    [
        "with asyncio.Runner() as runner: seen = runner.run(main())",
        "with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner: seen = runner.run(main())",
        "loop = asyncio.new_event_loop(); seen = loop.run_until_complete(main()); loop.close()",
        "loop = asyncio.new_event_loop(); seen = loop.run_until_complete(main())",
        "from asyncio import run; seen = run(main(), debug=True)",
    ],
)
def test_every_way_to_a_loop_is_virtual(project, tail):
    outcome = outcome_of(script(project, tail + "\nassert seen == [0, 1]"))
    assert (outcome.error, outcome.time_ns) == (None, 3600 * 10**9)


def test_a_unittest_of_asyncio_in_a_script_is_virtual(project):
    tail = """
        import unittest

        class Test(unittest.IsolatedAsyncioTestCase):
            async def test_it(self):
                self.assertEqual(await main(), [0, 1])

        unittest.main(argv=["x"], exit=False)
    """
    outcome = outcome_of(script(project, tail))
    assert (outcome.error, outcome.time_ns) == (None, 3600 * 10**9)
    assert unittest.IsolatedAsyncioTestCase


def test_a_script_is_main_and_has_its_arguments(project):
    project(
        "seen.py",
        """
        import sys
        assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
        assert sys.argv == ["seen.py", "a", "b c"] and __file__ == "seen.py"
        assert sys.path[0] == __import__("os").getcwd()
        """,
    )
    assert outcome_of("seen.py", ["a", "b c"]).error is None


def test_a_script_starts_in_a_fresh_module_each_time(project):
    name = script(project, "assert 'again' not in globals()\nagain = True")
    with opened(name) as target:
        assert [target.execute(RUN_DEFAULTS).error for _ in range(3)] == [None] * 3


@pytest.mark.parametrize(
    ("tail", "status", "text"),
    [
        ("sys.exit(5)", 5, None),
        ("sys.exit('went wrong')", 1, "went wrong"),
        ("async def leave(): sys.exit(4)\nasyncio.run(leave())", 4, None),
    ],
)
def test_an_exit_status_comes_out(project, tail, status, text):
    error = outcome_of(script(project, tail)).error
    assert isinstance(error, ScriptExit)
    assert (error.status, error.text) == (status, text)


@pytest.mark.parametrize("tail", ["sys.exit()", "sys.exit(0)", "sys.exit(None)"])
def test_a_script_that_exits_with_success_has_not_failed(project, tail):
    assert outcome_of(script(project, tail)).error is None


def test_two_loops_of_a_script_are_one_list_of_choices(project):
    name = script(
        project, "first = asyncio.run(main())\nsecond = asyncio.run(main())\nassert first == second == [0, 1]"
    )
    options = [resolve(RUN_DEFAULTS, seed=seed) for seed in range(12)]
    with opened(name) as target:
        recorded = [target.execute(option) for option in options]
        plain = [target.execute(option, record=False) for option in options]
        again = [target.execute(option) for option in options]
    assert {type(outcome.error) for outcome in recorded} == {type(None), AssertionError}
    assert [outcome.check for outcome in recorded] == [outcome.check for outcome in plain]
    assert [outcome.recording.digest() for outcome in recorded] == [outcome.recording.digest() for outcome in again]
    assert max(len(outcome.indices) for outcome in recorded) >= 4


def test_the_deviations_of_two_loops_have_different_keys(project):
    name = script(project, "asyncio.run(main())\nasyncio.run(main())")
    with opened(name) as target:
        for seed in range(20):
            keys = [choice.key for choice in target.execute(resolve(RUN_DEFAULTS, seed=seed)).recording.choices]
            assert len(keys) == len(set(keys))


def test_background_failures_fail_the_script(project):
    tail = """
        async def fail():
            raise ValueError("in the background")

        async def parent():
            asyncio.create_task(fail())
            await asyncio.sleep(1)

        asyncio.run(parent())
    """
    assert repr(outcome_of(script(project, tail)).error) == "ValueError('in the background')"
    assert isinstance(outcome_of(script(project, tail + "\n        asyncio.run(parent())")).error, ExceptionGroup)
    own = outcome_of(script(project, tail + "\n        raise KeyError(1)")).error
    assert isinstance(own, KeyError)
    assert own.__notes__ == ["also failed in the background: ValueError: in the background"]


def test_a_verdict_comes_out_of_asyncio_run(project):
    outcome = outcome_of(script(project, "async def stuck(): await asyncio.Event().wait()\nasyncio.run(stuck())"))
    assert type(outcome.error).__name__ == "DeadlockError"
    assert "the_script.py" in outcome.error.report()


def test_a_step_that_never_returns_is_cut_in_a_script(project):
    name = script(project, "async def spin():\n    while True: pass\nasyncio.run(spin())")
    outcome = outcome_of(name, options=resolve(RUN_DEFAULTS, watchdog=0.1))
    assert "did not return within 0.1 s" in str(outcome.error)


def test_a_script_may_catch_what_its_program_raised(project):
    tail = """
        async def fail():
            raise ValueError(1)

        try:
            asyncio.run(fail())
        except ValueError:
            asyncio.run(main())
    """
    assert outcome_of(script(project, tail)).error is None


def test_a_script_without_a_loop_runs_no_step(project):
    project("nothing.py", "x = 1")
    assert outcome_of("nothing.py").steps == 0


def test_a_script_that_is_no_python_is_told(project):
    project("bad.py", "def main(:")
    assert refusal("bad.py").startswith("the script 'bad.py' is no Python: invalid syntax (bad.py, line 1)")
    assert refusal("none.py") == "the script 'none.py' cannot be read: No such file or directory"


def test_the_text_of_a_script_target_has_its_arguments(project):
    assert ScriptTarget(project("s.py", ""), ["a", "b c"]).text == "s.py -- a 'b c'"


def test_loops_are_asyncios_own_again_afterwards():
    before = asyncio.Runner.__init__, asyncio.Runner.close, asyncio.new_event_loop, asyncio.events.new_event_loop
    excepthook = threading.excepthook
    with pytest.raises(KeyError), runner_loops(asyncio.new_event_loop):
        assert asyncio.Runner.__init__ is not before[0]
        raise KeyError
    after = asyncio.Runner.__init__, asyncio.Runner.close, asyncio.new_event_loop, asyncio.events.new_event_loop
    assert before == after
    assert threading.excepthook is excepthook
