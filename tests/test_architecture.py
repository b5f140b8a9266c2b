"""The shape of the package: floors, sizes, names, and who may touch the real world or CPython's private parts."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

import vtloop

ROOT = Path(vtloop.__file__).parent

# A module imports only from lower floors, or from its own package.  A new module needs its floor here.
FLOORS = {
    # words, randomness, CPython's private names
    "errors": 0,
    "entropy": 0,
    "writing": 0,
    "folders": 0,
    "cpython": 0,
    "cpython_waits": 0,
    "cpython_notes": 0,
    "holding": 0,
    "cpython_mocks": 0,
    "state": 0,
    "debuggers": 0,
    # time, handles, tasks; the parts of the loop that need nothing else
    "clock": 1,
    "handles": 1,
    "tasks": 1,
    "anyio_waits": 1,
    "cpython_heap": 1,
    "arguments": 1,
    "asyncgens": 2,
    "failures": 1,
    "timers": 2,
    "ready": 2,
    "ties": 2,
    "boundary": 2,
    "notes": 1,
    "noting": 2,
    "cancelling": 5,
    "manual": 2,
    # who picks, who explains
    "schedulers": 2,
    "schedulers.base": 2,
    "schedulers.custom": 2,
    "schedulers.delay": 2,
    "schedulers.enumeration": 2,
    "schedulers.exhaustive": 2,
    "schedulers.names": 1,
    "schedulers.odds": 2,
    "schedulers.pct": 2,
    "schedulers.pos": 2,
    "schedulers.random": 2,
    "schedulers.ranked": 2,
    "schedulers.reversed": 2,
    "schedulers.urw": 2,
    "diagnosis": 3,
    "diagnosis.advice": 3,
    "diagnosis.blocked": 3,
    "diagnosis.chains": 3,
    "diagnosis.cycles": 3,
    "diagnosis.describe": 3,
    "diagnosis.facts": 3,
    "diagnosis.graph": 3,
    "diagnosis.forgotten": 3,
    "diagnosis.holders": 3,
    "diagnosis.missing_await": 3,
    "diagnosis.lock_names": 3,
    "diagnosis.lock_order": 3,
    "diagnosis.mistakes": 3,
    "diagnosis.leak": 3,
    "diagnosis.certain": 3,
    "diagnosis.heap": 3,
    "diagnosis.judge": 3,
    "diagnosis.locks_held": 3,
    "diagnosis.names": 3,
    "diagnosis.reach": 3,
    "diagnosis.reapers": 3,
    "diagnosis.noted": 3,
    "diagnosis.orders": 3,
    "diagnosis.sites": 3,
    "diagnosis.suspects": 3,
    "diagnosis.targets": 3,
    "diagnosis.things": 3,
    "diagnosis.verdict": 3,
    "diagnosis.waits": 3,
    "diagnosis.wrong_awaitable": 3,
    "diagnosis.wrong_loop": 3,
    # what a run was asked for and what it did, as data
    "options": 3,
    "orders": 0,
    "wording": 0,
    "warned": 1,
    "collector": 0,
    "colour": 0,
    "novelty": 0,
    "trace": 4,
    "keys": 4,
    "recording": 5,
    "deviations": 6,
    "schedulers.replay": 6,
    # the loop
    "scheduling": 3,
    "blocking": 4,
    "blocking_names": 1,
    "blocking_patience": 4,
    "blocking_buster": 5,
    "blocking_acts": 5,
    "blocking_calls": 6,
    "handover": 1,
    "threads": 4,
    "stalled": 4,
    "stuck": 4,
    "idle": 5,
    "turns": 6,
    "loop": 7,
    "choices": 8,
    # runs
    "background": 8,
    "unawaited": 4,
    "leftovers": 5,
    "left_open": 5,
    "leaks": 8,
    "watchdog": 8,
    "run": 9,
    "mix": 3,
    "plan": 8,
    "playback": 10,
    "finding": 10,
    "lowering": 5,
    "attempts": 10,
    "shrink": 11,
    # a run explained to people
    "report": 10,
    "report.cells": 10,
    "report.choices": 10,
    "report.difference": 10,
    "report.html": 10,
    "report.lines": 10,
    "report.perfetto": 10,
    "report.picture": 10,
    "report.scene": 10,
    "report.story": 10,
    "report.table": 10,
    "report.teller": 10,
    "report.telling": 11,
    "report.touching": 10,
    "chunks": 9,
    "resuming": 9,
    "parallel": 10,
    "sweep": 10,
    "exploration": 10,
    "workers": 10,
    "executors": 10,
    "explaining": 12,
    "explore": 13,
    "store": 10,
    "api": 14,
    # doors: scripts and targets, the command line, pytest
    "scripts": 12,
    "targets": 13,
    "debugging": 12,
    "console": 12,
    "hypothesis": 12,
    "pytest_main": 12,
    "pytest_report": 12,
    "pytest_settings": 12,
    "pytest_debugger": 13,
    "pytest_stored": 13,
    "pytest_target": 13,
    "pytest_fixtures": 13,
    "pytest_item": 14,
    "pytest_plugin": 15,
    "keeping": 14,
    "commands": 15,
    "exploring": 16,
    "replaying": 16,
    "telling": 16,
    "showing": 17,
    "comparing": 18,
    "checking": 18,
    "listing": 18,
    "shrinking": 18,
    "cli": 19,
    "__main__": 20,
}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}

each_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def nodes(module, *kinds):
    return [node for node in ast.walk(tree(module)) if isinstance(node, kinds)]


def only_for_types(module):
    """The nodes under ``if TYPE_CHECKING:``."""
    guards = [node for node in nodes(module, ast.If) if "TYPE_CHECKING" in ast.unparse(node.test)]
    return {inner for guard in guards for inner in ast.walk(guard)}


def imports(module):
    """The modules of vtloop that ``module`` imports when it runs."""
    found = set()
    for node in set(nodes(module, ast.Import, ast.ImportFrom)) - only_for_types(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "vtloop"}
            continue
        assert not node.level, f"{module} imports relatively"
        origin = node.module or ""
        if origin.split(".")[0] == "vtloop":
            for alias in node.names:
                below = f"{origin}.{alias.name}".removeprefix("vtloop.")
                found.add(f"vtloop.{below}" if below in MODULES else origin)
    return {name.removeprefix("vtloop.") for name in found}


def package(module):
    return module.split(".")[0] if module.split(".")[0] in ("schedulers", "diagnosis", "report") else None


# -- floors ----------------------------------------------------------------------------------------------------------


def test_every_module_has_its_floor():
    assert set(MODULES) == set(FLOORS)


@each_module
def test_a_module_imports_only_from_lower_floors(module):
    wrong = [
        f"{module} [{FLOORS[module]}] imports {other} [{FLOORS[other]}]"
        for other in imports(module)
        if FLOORS[other] >= FLOORS[module] and (package(other) is None or package(other) != package(module))
    ]
    assert wrong == []


def test_no_imports_run_in_a_circle():
    done, open_now = set(), []

    def visit(module):
        assert module not in open_now, f"a circle: {' -> '.join([*open_now, module])}"
        if module not in done:
            open_now.append(module)
            for other in sorted(imports(module)):
                visit(other)
            open_now.pop()
            done.add(module)

    for module in MODULES:
        visit(module)


@each_module
def test_nobody_inside_imports_the_front(module):
    assert "vtloop" not in imports(module)


@each_module
def test_no_function_imports_anything(module):
    functions = nodes(module, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inner = {node for function in functions for node in ast.walk(function)}
    found = [ast.unparse(node) for node in inner if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert found == []


def test_the_loop_subclasses_asyncios_abstract_loop_alone():
    outside = [base for base in vtloop.EventLoop.__mro__ if not base.__module__.startswith("vtloop")]
    assert [base.__name__ for base in outside] == ["AbstractEventLoop", "object"]


# -- sizes and names -------------------------------------------------------------------------------------------------


@each_module
def test_a_module_is_named_for_its_idea(module):
    for part in module.split("."):
        assert part not in ("utils", "util", "helpers", "helper", "common", "misc", "tools", "impl")


@each_module
def test_a_file_has_at_most_four_hundred_lines_and_a_function_sixty(module):
    lines = MODULES[module].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400
    long = [
        f"{function.name}: {function.end_lineno - function.lineno + 1} lines"
        for function in nodes(module, ast.FunctionDef, ast.AsyncFunctionDef)
        if function.end_lineno - function.lineno >= 60
    ]
    assert long == []


@each_module
def test_a_module_says_its_idea_and_what_it_gives(module):
    assert ast.get_docstring(tree(module))
    names = [node.targets[0].id for node in tree(module).body if isinstance(node, ast.Assign) and is_name(node)]
    assert "__all__" in names or module in ("diagnosis", "report", "__main__", "pytest_plugin"), "its public names"


def is_name(node):
    return isinstance(node.targets[0], ast.Name)


def test_the_public_names_are_those_that_are_documented():
    assert set(vtloop.__all__) == {
        # running
        *("EventLoop", "loop_factory", "run", "explore", "replay", "shrink", "test"),
        # inside a program
        *("advance", "run_ready", "run_until_idle", "elapsed", "daemon", "stuck_tasks"),
        *("choose", "latency", "slow", "sometimes", "may_cancel"),
        # results
        *("Outcome", "Exploration", "Failure", "Trace", "failure_of"),
        # errors
        *("VtloopError", "UsageError", "TraceError", "HangError", "DeadlockError", "LivelockError", "LeakError"),
        *("BlockingCallError", "EscapeError", "ReplayError", "NondeterminismError", "VtloopWarning"),
    }
    assert len(vtloop.__all__) == len(set(vtloop.__all__)) <= 38
    public = {name for name, value in vars(vtloop).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(vtloop.__all__)


@pytest.mark.parametrize("name", vtloop.__all__)
def test_a_public_name_is_described(name):
    thing = getattr(vtloop, name)
    assert len(inspect.getdoc(thing).split()) >= 3
    assert thing.__module__.startswith("vtloop.")


def is_override(scope, function):
    """Whether ``schedulers.base`` describes the method."""
    return function.name in ("attach", "pick", "choose") and isinstance(scope, ast.ClassDef)


@each_module
def test_everything_public_has_a_docstring(module):
    missing = []

    def look(scope, prefix):
        for node in scope.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name[0] != "_":
                setter = any(isinstance(deco, ast.Attribute) for deco in node.decorator_list)
                if not (ast.get_docstring(node) or setter or is_override(scope, node)):
                    missing.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node, f"{prefix}{node.name}.")

    look(tree(module), "")
    assert missing == []


# -- the real world --------------------------------------------------------------------------------------------------

REAL = {
    "random": {"entropy"},
    "secrets": {"pytest_settings"},  # draws the seed when `seed="random"` is asked for, and prints it
    # Real seconds: how long an exploration took, patience with threads and steps, debug mode's log, progress.
    # What a blocking call would wait for is given a moment.
    "time": {
        "blocking_buster",
        "blocking_calls",
        "blocking_patience",
        "attempts",
        "explore",
        "chunks",
        "workers",
        "resuming",
        "threads",
        "watchdog",
        "handles",
        "console",
    },
    "datetime": set(),
    "uuid": set(),
}


@each_module
def test_randomness_and_real_time_come_in_by_few_doors(module):
    for node in nodes(module, ast.Import, ast.ImportFrom):
        names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        for name in names:
            assert module in REAL.get(name, {module}), f"{module} imports {name}"


def test_every_door_to_the_real_world_is_in_use():
    for name, users in REAL.items():
        for module in users:
            found = nodes(module, ast.Import)
            assert any(alias.name == name for node in found for alias in node.names), f"{module} needs no {name}"


# -- CPython's private parts -----------------------------------------------------------------------------------------

# Attributes of asyncio's tasks, futures, locks, queues, groups and loops; ours have other names.
PRIVATE = {
    *("_fut_waiter", "_log_traceback", "_log_destroy_pending", "_must_cancel", "_num_cancels_requested", "_coro"),
    *("_callbacks", "_state", "_result", "_exception", "_cancel_message", "_asyncio_future_blocking", "_children"),
    *("_scheduled_tasks", "_all_tasks", "_eager_tasks", "_current_tasks", "_task_name_counter", "_parent_task"),
    *("_waiters", "_locked", "_getters", "_putters", "_unfinished_tasks", "_finished", "_on_completed_fut"),
    *("_run_once", "_scheduled", "_selector", "_sendfile_compatible", "_format_callback_source", "_is_debug_mode"),
    *("_make_cancelled_error", "_set_result_unless_cancelled", "_set_task_name", "__step", "__wakeup"),
}


@each_module
def test_cpythons_private_names_stand_in_one_place(module):
    if module in ("cpython", "cpython_heap", "cpython_waits", "cpython_notes", "anyio_waits"):
        return
    touched = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in nodes(module, ast.Attribute)
        if node.attr in PRIVATE and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    spelt = [
        f"line {node.lineno}: {node.value!r}"
        for node in nodes(module, ast.Constant)
        if isinstance(node.value, str) and node.value in PRIVATE
    ]
    assert touched + spelt == []


def test_a_tasks_creation_stack_is_touched_in_one_place_too():
    # Handles of ours have it as well, so the name alone says nothing.
    for module in set(MODULES) - {"cpython", "cpython_waits"}:
        for node in nodes(module, ast.Attribute):
            if node.attr == "_source_traceback":
                assert ast.unparse(node.value) != "task", f"{module}, line {node.lineno}"
