"""The schema of what errors say to machines, held against real errors of every kind."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import traceback
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import vtloop
from vtloop import cli
from vtloop.diagnosis import verdict
from vtloop.diagnosis.graph import MOST
from vtloop.diagnosis.verdict import Snapshot
from vtloop.errors import SCHEMA, VtloopError
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

DOCUMENT = json.loads((files("vtloop") / "report" / "verdict.schema.json").read_text(encoding="utf-8"))


def check(data: Any, part: str | None = None) -> None:
    """Hold JSON-ready values, after a trip through text, against the schema or one of its parts."""
    schema = DOCUMENT if part is None else {**DOCUMENT, "$ref": f"#/$defs/{part}"}
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(data)))


def raised(main: Callable[[], Any], **options: Any) -> VtloopError:
    with pytest.raises(VtloopError) as found:
        vtloop.run(main, **options)
    return found.value


async def stuck() -> None:
    guard, done, jobs = asyncio.Lock(), asyncio.Event(), asyncio.Queue[int]()

    async def failing() -> None:
        raise ValueError("unread")

    async def keeper() -> None:
        async with guard:
            await done.wait()

    async def want() -> None:
        async with guard, asyncio.timeout(None):
            await jobs.get()

    failed = asyncio.create_task(failing())
    async with asyncio.TaskGroup() as tg:
        for main in (keeper, want, want, jobs.get, jobs.join, asyncio.Barrier(3).wait, done.wait):
            tg.create_task(main())
    await failed


async def circle() -> None:
    one, other = asyncio.Lock(), asyncio.Lock()

    async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await asyncio.sleep(1)
            async with second:
                pass

    await asyncio.gather(take(one, other), take(other, one))


async def ticking() -> None:
    while True:
        await asyncio.sleep(1)


async def circle_that_passes() -> None:
    one, other = asyncio.Lock(), asyncio.Lock()

    async def take(first: asyncio.Lock, second: asyncio.Lock, after: float) -> None:
        await asyncio.sleep(after)
        async with first, second:
            await asyncio.sleep(0)

    await asyncio.gather(take(one, other, 1), take(other, one, 2))


async def standing() -> None:
    await asyncio.sleep(5)


async def dropping() -> None:
    standing()


async def blocking() -> None:
    time.sleep(5)


async def reaching_out() -> None:
    asyncio.get_running_loop().add_reader(0, print)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["$defs"]["error"]["properties"]["schema"]["const"] == SCHEMA


def test_the_reference_lists_what_the_schema_has() -> None:
    text = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")
    section = text.partition("\n## Errors for machines\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    parts = ("error", "graph", "verdict", "leaks", "blocking", "escape", "misfit", "nondeterminism", "warning")
    assert listed == {name for part in parts for name in DOCUMENT["$defs"][part].get("properties", ())}
    for part in ("task", "wait", "place"):
        assert all(f"`{name}`" in section for name in DOCUMENT["$defs"][part]["properties"]), part
    verdicts = DOCUMENT["$defs"]["verdict"]["properties"]["verdict"]["enum"]
    assert all(f'`"{name}"`' in section for name in verdicts)


@pytest.mark.parametrize(
    ("main", "options", "verdict_name"),
    [
        (stuck, {}, "deadlock"),
        (circle, {}, "deadlock"),
        (standing, {"autojump": False}, "the clock stands still"),
        (ticking, {"max_steps": 100}, "budget spent"),
        (ticking, {"max_time": 100.0}, "budget spent"),
        (reaching_out, {}, None),
        (dropping, {"leaks": "error"}, "leak"),
        (blocking, {"blocking": "raise"}, "blocking call"),
    ],
)
def test_real_errors_fit_the_schema(main: Callable[[], Any], options: dict[str, Any], verdict_name: str) -> None:
    data = raised(main, **options).to_dict()
    assert data.get("verdict") == verdict_name
    check(data)


def _snapshot() -> Snapshot:
    return Snapshot((), None, time_ns=5, step=3, seed="7", events=("step 3",), notes=("a note",), command="again")


@pytest.mark.parametrize(
    "made",
    [
        lambda: verdict.livelock(_snapshot(), (), 100_000),
        lambda: verdict.never_idle(_snapshot(), (), 1_000),
        lambda: verdict.stuck_step(_snapshot(), 10.0, list(traceback.extract_stack()), "cruncher"),
        lambda: verdict.patience(_snapshot(), 5.0, [("main", list(traceback.extract_stack()))]),
    ],
)
def test_verdicts_that_take_long_to_come_by_fit_the_schema(made: Callable[[], VtloopError]) -> None:
    check(made().to_dict())


def test_a_misfit_and_two_different_runs_fit_the_schema() -> None:
    async def racing(names: tuple[str, ...] = ("a", "b", "c")) -> None:
        order: list[str] = []

        async def note(name: str) -> None:
            await asyncio.sleep(0)
            order.append(name)

        await asyncio.gather(*(asyncio.create_task(note(name), name=name) for name in names))
        assert order == list(names)

    found = vtloop.explore(racing, interleave="tasks", runs=200)
    assert found.failure is not None
    check(found.failure.to_dict(), "failure")
    with pytest.raises(vtloop.ReplayError) as misfit:
        vtloop.replay(found.failure.trace, standing)
    check(misfit.value.to_dict())

    count = 0

    async def changing() -> None:
        nonlocal count
        count += 1
        if count > 1:
            return
        raise ValueError("the first time only")

    with pytest.raises(vtloop.NondeterminismError) as different:
        vtloop.explore(changing, runs=3)
    check(different.value.to_dict())


def test_what_the_command_line_prints_fits_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("import asyncio\n\nasync def main():\n    await asyncio.Event().wait()\n")
    assert cli.main(["run", "app.py:main", "--json"]) == 1
    failure = json.loads(capsys.readouterr().out)["failure"]
    check(failure, "failure")
    assert failure["verdict"]["schema"] == SCHEMA
    check(failure["verdict"])


@pytest.mark.parametrize(
    ("main", "options", "kind"),
    [
        (circle_that_passes, {}, "lock order"),
        (dropping, {"leaks": "warn"}, "coroutine"),
    ],
)
def test_real_warnings_fit_the_schema(main: Callable[[], Any], options: dict[str, Any], kind: str) -> None:
    outcome = execute(main, resolve(RUN_DEFAULTS, **options), record=True)
    assert outcome.error is None
    (data,) = (one.to_dict() for one in outcome.warnings)
    assert data["warning"] == kind
    check(data, "warning")


def test_what_is_alike_is_listed_up_to_a_limit_and_counted() -> None:
    async def main() -> None:
        done, guard = asyncio.Event(), asyncio.Lock()

        async def own() -> None:
            await asyncio.get_running_loop().create_future()

        async def all_of_them() -> None:
            await done.wait()

        async with guard, asyncio.TaskGroup() as tg:
            for _ in range(300):
                tg.create_task(all_of_them())
                tg.create_task(own())

    data = raised(main).to_dict()
    check(data)
    assert data["pending"] == 601
    assert len(data["tasks"]) == 2 * MOST + 1
    assert sorted(stack["tasks"] for stack in data["stacks"]) == [1, 300, 300]
    (event,) = (one for one in data["primitives"] if one["kind"] == "Event")
    assert event["waiting"] == 300
    assert event["waiters"] == [f"Task-{2 * n} (all_of_them)" for n in range(1, MOST + 1)]
    assert len(json.dumps(data)) < 200_000


def test_a_field_that_is_not_in_the_schema_is_refused_where_it_is_closed() -> None:
    data = raised(circle).to_dict()
    data["tasks"][0]["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(data)
    data = raised(circle).to_dict()
    del data["cycles"]
    with pytest.raises(jsonschema.ValidationError):
        check(data)


def test_threads_of_the_run_are_shown_with_their_place() -> None:
    name = threading.current_thread().name
    data = verdict.patience(_snapshot(), 5.0, [(name, list(traceback.extract_stack()))]).to_dict()
    assert data["threads"][0]["name"] == name
