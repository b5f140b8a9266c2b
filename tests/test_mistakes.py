"""Common mistakes named with their fix: each gets its hint on the exception, and what only looks like one gets none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

import vtloop
from vtloop.cpython_mocks import MOCK_COROUTINE, called_before, child_of, is_async_mock, is_mock
from vtloop.diagnosis import sites
from vtloop.diagnosis.mistakes import HINT, advice_for, never_awaited, note_mistakes

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


failures: list[BaseException] = []


@pytest.fixture(autouse=True)
def coroutines_left() -> Iterator[None]:
    """What the programs never await goes at the end of its test, without a word."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for error in failures:
            for each in (error, error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
                if each is not None:
                    traceback.clear_frames(each.__traceback__)
        failures.clear()


@pytest.fixture(autouse=True, scope="module")
def what_is_garbage_still() -> Iterator[None]:
    """Likewise, for what only the collector finds."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()


Program = Callable[[], Any]
MISTAKES: list[Any] = []
HEALTHY: list[Any] = []


def mistake(*expected: str) -> Callable[[Program], Program]:
    """A program that fails with a hint which has these parts."""

    def register(program: Program) -> Program:
        MISTAKES.append(pytest.param(program, expected, id=program.__name__))
        return program

    return register


def other(program: Program) -> Program:
    """A program that fails for another reason: no hint."""
    HEALTHY.append(pytest.param(program, id=program.__name__))
    return program


def hints_of(error: BaseException) -> list[str]:
    members = [*error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    members += [error.__cause__] if error.__cause__ is not None else []
    own = [note.removeprefix(HINT) for note in getattr(error, "__notes__", ()) if note.startswith(HINT)]
    return own + [hint for member in members for hint in hints_of(member)]


def failure_of(program: Program) -> BaseException:
    try:
        vtloop.run(program, blocking="allow", leaks="allow")
    except BaseException as error:
        failures.append(error)
        return error
    raise AssertionError("the program does not fail")


async def fetch() -> dict[str, int]:
    return {"a": 1}


async def pair() -> tuple[int, int]:
    return 1, 2


def load() -> list[int]:
    return [1]


async def rows() -> Any:
    yield 1


def plain_rows() -> Any:
    yield 1


@contextlib.contextmanager
def plain_block() -> Any:
    yield


@contextlib.asynccontextmanager
async def block() -> Any:
    yield


class Session:
    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def get(self) -> int:
        return 1


MISSING = "gives a coroutine, not its result: an `await` is missing"

# -- a missing await ---------------------------------------------------------------------------------------------


@mistake(f"`fetch()` {MISSING}", 'in subscript: write `return (await fetch())["a"]`')
async def subscript() -> Any:
    return fetch()["a"]


@mistake(f"`fetch()` {MISSING}", "write `return (await fetch()).status`")
async def attribute() -> Any:
    return fetch().status


@mistake("`reply` is the coroutine that calling `fetch` gave, not its result: `await` it where it is made")
async def attribute_of_a_variable() -> Any:
    reply = fetch()
    return reply.status


@mistake(f"`fetch()` {MISSING}", "write `for _key in await fetch():`")
async def loop_over_it() -> Any:
    for _key in fetch():
        pass


@mistake(f"`pair()` {MISSING}", "write `left, right = await pair()`")
async def unpacked() -> Any:
    left, right = pair()
    return left + right


@mistake(f"`fetch()` {MISSING}", "write `return len(await fetch())`")
async def length() -> Any:
    return len(fetch())


@mistake(f"`fetch()` {MISSING}", "write `return await fetch() + 1`")
async def added() -> Any:
    return fetch() + 1


@mistake(f"`fetch()` {MISSING}", "write `return 1 < await fetch()`")
async def compared() -> Any:
    return 1 < fetch()


@mistake(f"`fetch()` {MISSING}", "write `return json.dumps(await fetch())`")
async def as_json() -> Any:
    return json.dumps(fetch())


@mistake(f"`fetch()` {MISSING}", 'write `return "a" in await fetch()`')
async def contained() -> Any:
    return "a" in fetch()


@mistake(f"`fetch()` {MISSING}", "write `return dict(**await fetch())`")
async def keywords() -> Any:
    return dict(**fetch())


@mistake(f"`session.get()` {MISSING}", "write `return max(await session.get(), 3)`")
async def method() -> Any:
    session = Session()
    return max(session.get(), 3)


@mistake(f"`fetch()` {MISSING}; `plainly` must be an `async def` for that, and be awaited in turn")
async def in_a_plain_function() -> Any:
    def plainly() -> Any:
        return fetch()["a"]

    return plainly()


@mistake("a coroutine stands where its result is meant: an `await` is missing")
async def made_by_something() -> Any:
    makers = {"a": fetch}
    return len(makers["".join("a")]())


@mistake("`one` is ", "coroutine", "not its result")
async def in_a_comprehension() -> Any:
    calls = [fetch()]
    return [one["a"] for one in calls]


@mistake("`pages` is a Future, not its result: an `await` is missing", "write `return (await pages)[0]`")
async def gathered_and_not_awaited() -> Any:
    pages = asyncio.gather(fetch())
    return pages[0]


@mistake(f"`fetch()` {MISSING}", "write `if (found := await fetch()) > 1:`")
async def named() -> None:
    if (found := fetch()) > 1:
        print(found)


@mistake(f"`fetch() if True else None` {MISSING}", '`return (fetch() if True else None)["a"]`')
async def chosen() -> Any:
    return (fetch() if True else None)["a"]


@mistake(f"`fetch()` {MISSING}", 'write `assert await fetch() == {"a": 1}`')
async def asserted() -> None:
    assert fetch() == {"a": 1}


@mistake("`reply` is the coroutine that calling `fetch` gave, not its result")
async def asserted_variable() -> None:
    reply = fetch()
    assert reply == {"a": 1}


@mistake(f"`make[0]()` {MISSING}")
async def asserted_result_of_something() -> None:
    make = [fetch]
    assert make[0]() == {"a": 1}


@mistake("a coroutine can be awaited once: call the function again, or keep a task or the result")
async def awaited_twice() -> None:
    reply = fetch()
    await reply
    await reply


@mistake(f"`fetch()` {MISSING}", 'write `return (await fetch())["a"]`')
async def in_a_background_task() -> None:
    async def work() -> Any:
        return fetch()["a"]

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    del task


@mistake(f"`fetch()` {MISSING}")
async def in_a_group() -> None:
    async def work() -> Any:
        return fetch()["a"]

    async with asyncio.TaskGroup() as group:
        group.create_task(work())


@mistake(f"`fetch()` {MISSING}")
async def raised_from() -> None:
    try:
        fetch()["a"]
    except TypeError as error:
        raise LookupError("no a") from error


@mistake("`task` is a Task, not its result: an `await` is missing", 'write `return (await task)["a"]`')
async def result_of_a_task() -> Any:
    task = asyncio.create_task(fetch())
    return task["a"]


@mistake("`task` is not done yet: await it", 'write `return (await task)["a"]`')
async def result_too_early() -> Any:
    task = asyncio.create_task(fetch())
    return task.result()["a"]


# -- mocks -------------------------------------------------------------------------------------------------------


@mistake(
    "`client.get` is a MagicMock, so `client.get(1)` gives a MagicMock, which cannot be awaited:",
    "make it an AsyncMock, `client.get = AsyncMock(return_value=...)`",
)
async def plain_mock_awaited() -> None:
    client = MagicMock()
    await client.get(1)


@mistake("`get` is a Mock, so `get()` gives a dict, which cannot be awaited: make it an AsyncMock")
async def plain_mock_with_a_value_awaited() -> None:
    get = Mock(return_value={})
    await get()


@mistake("`client` is a MagicMock, which cannot be awaited: make it an AsyncMock, and call it")
async def mock_awaited() -> None:
    client = MagicMock()
    await client


@mistake(
    "`reply.json` is an AsyncMock (all that an AsyncMock gives is one), so `reply.json()` is a coroutine:",
    "`await` it, or, where the real one is a plain method, use `reply.json = Mock(return_value=...)`",
)
async def async_mock_of_an_async_mock() -> Any:
    client = AsyncMock()
    reply = await client.get("/")
    return reply.json()["a"]


@mistake("`session.get` is an AsyncMock", "for `async with` use `session.get = MagicMock()`")
async def async_mock_entered() -> None:
    session = AsyncMock()
    async with session.get("/") as reply:
        print(reply)


@mistake("`m.items` is an AsyncMock", "`m.items.return_value.__aiter__.return_value = [...]`")
async def async_mock_gone_through() -> None:
    m = AsyncMock()
    async for item in m.items():
        print(item)


@mistake("`m` is a Mock, which `async for` cannot go through: use a MagicMock")
async def mock_gone_through() -> None:
    m = Mock()
    async for item in m:
        print(item)


@mistake("`m.session()` is a Mock, which `async with` cannot enter: a MagicMock can be entered")
async def mock_entered() -> None:
    m = Mock()
    async with m.session():
        pass


@mistake("the AsyncMock was called, and the call was not awaited: an `await` is missing where it is called")
async def mock_not_awaited() -> None:
    save = AsyncMock()
    save(1)
    save.assert_awaited_once()


@mistake("`reply.status` is an AsyncMock still: give it a value, `reply.status = ...`")
async def compared_mock() -> None:
    client = AsyncMock()
    reply = await client.get("/")
    print(reply.status >= 400)


@mistake("the `side_effect` values of this mock are used up: it was called once more than it has values")
async def mock_that_is_used_up() -> None:
    get = AsyncMock(side_effect=[1])
    await get()
    await get()


@mistake("the `side_effect` values of this mock are used up: it was called once more than it has values")
async def plain_mock_that_is_used_up() -> None:
    get = Mock(side_effect=[1])
    get()
    get()


@mistake("what is awaited here is not asyncio's: it is for another library's loop, or yields values by hand")
async def foreign_awaitable() -> None:
    class Yields:
        def __await__(self) -> Any:
            yield "trio"

    await Yields()


# -- the wrong kind of thing -------------------------------------------------------------------------------------


@mistake("`load` is a plain `def` and gave a list, which cannot be awaited")
async def plain_function_awaited() -> None:
    await load()


@mistake("`block()` is an async context manager, which is entered, not awaited: `async with block():`")
async def context_manager_awaited() -> None:
    await block()


@mistake("`fetch` was not called", "write `await fetch()`")
async def function_awaited() -> None:
    await fetch


@mistake("a list cannot be awaited, only what is in it: gather it", "write `await asyncio.gather(*[fetch(), fetch()])`")
async def list_awaited() -> None:
    await [fetch(), fetch()]


@mistake("`plain_rows()` gives a generator, which is gone through, not awaited: `for item in plain_rows():`")
async def generator_awaited() -> None:
    await plain_rows()


@mistake("a Lock cannot be awaited itself: `async with lock:`")
async def lock_awaited() -> None:
    lock = asyncio.Lock()
    await lock


@mistake("Event cannot be awaited itself: `await ready.wait()`")
async def event_awaited() -> None:
    ready = asyncio.Event()
    await ready


@mistake("a Timeout cannot be awaited itself: `async with asyncio.timeout(1):`")
async def timeout_awaited() -> None:
    await asyncio.timeout(1)


@mistake("`rows()` is an async generator, which is gone through: `async for item in rows():`")
async def async_generator_awaited() -> None:
    await rows()


@mistake("`plain_rows()` is a generator, no async iterator: a plain `for` goes through it", "write `for item in plain_")
async def plain_generator_gone_through() -> None:
    async for item in plain_rows():
        print(item)


@mistake(f"`fetch()` {MISSING}", "write `async for item in await fetch():`")
async def coroutine_gone_through() -> None:
    async for item in fetch():
        print(item)


@mistake("`rows` was not called", "write `async for item in rows():`")
async def function_gone_through() -> None:
    async for item in rows:
        print(item)


@mistake("`rows()` is an async generator: `async for` goes through it", "write `return [row async for row in rows()]`")
async def async_generator_in_a_plain_comprehension() -> Any:
    return [row for row in rows()]  # noqa: C416


@mistake("`plain_block()` is a plain context manager: `with`, without `async`", "write `with plain_block():`")
async def plain_manager_entered() -> None:
    async with plain_block():
        pass


@mistake("`block()` is an async context manager: `async with`", "write `async with block():`")
async def async_manager_entered_plainly() -> None:
    with block():
        pass


@mistake("`Session()` is an async context manager: `async with`", "write `async with Session() as session:`")
async def session_entered_plainly() -> None:
    with Session() as session:
        print(session)


@mistake("`lock` is an async context manager: `async with`", "write `async with lock:`")
async def lock_entered_plainly() -> None:
    lock = asyncio.Lock()
    with lock:
        pass


@mistake("`lock` is a plain context manager: `with`, without `async`", "write `with lock:`")
async def thread_lock_entered() -> None:
    lock = threading.Lock()
    async with lock:
        pass


@mistake(f"`fetch()` {MISSING}", "write `async with await fetch() as reply:`")
async def coroutine_entered() -> None:
    async with fetch() as reply:
        print(reply)


@mistake("`rows()` is an async generator: its function lacks `@contextlib.asynccontextmanager`")
async def undecorated_manager_entered() -> None:
    async with rows():
        pass


@mistake("`__aiter__` must be a plain `def` that gives the iterator: only `__anext__` is an `async def`")
async def async_aiter() -> None:
    class Rows:
        async def __aiter__(self) -> Rows:
            return self

        async def __anext__(self) -> int:
            return 1

    async for row in Rows():
        print(row)


# -- asyncio's functions -----------------------------------------------------------------------------------------


@mistake("`asyncio.gather` takes the awaitables one by one, not in a container", "write `await asyncio.gather(*calls)`")
async def gathered_list() -> None:
    calls = [fetch(), fetch()]
    await asyncio.gather(calls)


@mistake("`asyncio.gather` takes the awaitables one by one, not in a container", "write `await asyncio.gather(*calls)`")
async def gathered_tuple() -> None:
    calls = (fetch(), fetch())
    await asyncio.gather(calls)


@mistake("`asyncio.gather` takes the awaitables one by one, not in a container")
async def gathered_generator() -> None:
    await asyncio.gather(fetch() for _ in range(2))


@mistake("`fetch` was not called", "write `await asyncio.gather(fetch(), fetch())`")
async def gathered_function() -> None:
    await asyncio.gather(fetch, fetch())


@mistake("`fetch` was not called", ": `await asyncio.gather(fetch, fetch)`")
async def gathered_functions() -> None:
    await asyncio.gather(fetch, fetch)


@mistake("`fetch` was not called", "write `await asyncio.create_task(fetch())`")
async def task_of_a_function() -> None:
    await asyncio.create_task(fetch)


@mistake("`fetch` was not called", "write `group.create_task(fetch())`")
async def task_of_a_function_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch)


@mistake("`load` is a plain `def` and gave list: a task needs an `async def`")
async def task_of_a_plain_result() -> None:
    await asyncio.create_task(load())


@mistake("`get` is a Mock, so `get()` gives no coroutine: make it an AsyncMock")
async def task_of_a_mock() -> None:
    get = Mock(return_value=1)
    await asyncio.create_task(get())


@mistake("`fetch` was not called", "write `await asyncio.wait_for(fetch(), 1)`")
async def wait_for_a_function() -> None:
    await asyncio.wait_for(fetch, 1)


@mistake("`asyncio.wait` takes tasks: `[asyncio.create_task(c) for c in ...]`, or use `asyncio.gather`")
async def wait_with_coroutines() -> None:
    await asyncio.wait([fetch()])


@mistake("`asyncio.wait` takes a collection of tasks; one task is simply awaited", "write `await asyncio.wait([task])`")
async def wait_with_one_task() -> None:
    task = asyncio.create_task(fetch())
    await asyncio.wait(task)


@mistake("a TaskGroup makes tasks inside its block only: `async with asyncio.TaskGroup() as group:`")
async def group_that_was_not_entered() -> None:
    group = asyncio.TaskGroup()
    group.create_task(fetch())


@mistake("the `async with` block of this TaskGroup is over: make its tasks inside the block")
async def group_that_is_over() -> None:
    async with asyncio.TaskGroup() as group:
        pass
    group.create_task(fetch())


@mistake("`run_in_executor` calls a plain function in a thread: a coroutine is awaited, without it")
async def coroutine_in_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, fetch())


@mistake("`notify()` of a Condition goes inside `async with` of the condition")
async def notified_outside() -> None:
    condition = asyncio.Condition()
    condition.notify()


# -- loops -------------------------------------------------------------------------------------------------------

LOCK = asyncio.Lock()


@mistake("Lock `LOCK` was first waited on in another loop", "it is a global of test_mistakes; make it inside the run")
async def lock_of_another_loop() -> None:
    async def contend() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(LOCK.acquire(), 1)

    def elsewhere() -> None:
        loop = vtloop.EventLoop()
        loop.run_until_complete(contend())
        loop.close()

    await LOCK.acquire()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    await contend()


@mistake(
    "Future `reply` was made for another loop, and each test, each run, each `asyncio.run` has its own",
    "make it inside the run",
)
async def future_of_another_loop() -> None:
    loop = vtloop.EventLoop()
    reply = loop.create_future()
    loop.close()
    await reply


@mistake("this went to another loop than the run's, and that one is closed: make what uses it inside the run")
async def closed_loop() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    loop.call_soon(print)


@mistake("a loop runs already, and cannot be run again from inside", 'write `return (await fetch())["a"]`')
async def run_until_complete_inside() -> Any:
    return asyncio.get_running_loop().run_until_complete(fetch())["a"]


@mistake("a loop runs already, and cannot be run again from inside", "write `return await fetch()`")
async def asyncio_run_inside() -> Any:
    return asyncio.run(fetch())


@mistake("in an `async def`: `plainly` is a plain function")
async def asyncio_run_inside_a_plain_function() -> Any:
    def plainly() -> Any:
        return asyncio.run(fetch())

    return plainly()


@mistake(
    "has no event loop: hand the work to the loop's own thread by", "`asyncio.run_coroutine_threadsafe(coro, loop)`"
)
async def task_made_in_a_thread() -> None:
    await asyncio.to_thread(lambda: asyncio.create_task(fetch()))


PATCH = """
def apply(loop):
    if not hasattr(loop, "_run_once_of_asyncio"):
        raise ValueError("Can't patch loop of type %s" % type(loop))
"""


@mistake("nest_asyncio cannot patch vtloop's loop, which needs no patch: leave `nest_asyncio.apply()` out")
async def patched_by_nest_asyncio() -> None:
    module = types.ModuleType("nest_asyncio")
    exec(compile(PATCH, "nest_asyncio.py", "exec"), vars(module))
    module.apply(asyncio.get_running_loop())


@mistake("a task cannot wait for its own end: leave it out of what it waits for")
async def waits_for_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    await task


# -- what only looks like a mistake ------------------------------------------------------------------------------


@other
async def raised_by_hand() -> None:
    raise TypeError("'coroutine' object is not subscriptable")


@other
async def a_type_of_its_own() -> None:
    class Refused(TypeError):
        def __str__(self) -> str:
            raise RuntimeError("asked")

    raise Refused()


@other
async def plain_attribute_error() -> None:
    json.nothing  # noqa: B018


@other
async def plain_assertion() -> None:
    values = [1]
    assert len(values) == 2


@other
async def mock_not_called() -> None:
    AsyncMock().assert_awaited_once()


@other
async def stop_raised_by_a_side_effect() -> None:
    await AsyncMock(side_effect=StopAsyncIteration)()


@other
async def the_second_of_several_was_not_called() -> None:
    first = fetch()
    await asyncio.gather(first, load)


@other
async def attributes_that_bite() -> None:
    class Biting:
        def __getattr__(self, name: str) -> Any:
            raise SystemExit(name)

        def __eq__(self, other: object) -> bool:
            raise SystemExit("==")

        def __repr__(self) -> str:
            raise SystemExit("repr")

        __hash__ = None  # type: ignore[assignment]

    biting: Any = Biting()
    await biting


@other
async def assertion_beside_a_coroutine() -> None:
    reply = fetch()
    try:
        assert load() == [2]
    finally:
        await reply


@other
async def assertion_about_a_coroutine() -> None:
    reply = fetch()
    assert not asyncio.iscoroutine(reply)


@other
async def none_gone_through() -> None:
    nothing: Any = None
    async for item in nothing:
        print(item)


@other
async def unhashable_key() -> None:
    key: Any = []
    print({key: 1})


@other
async def something_awaited() -> None:
    class Reply:
        pass

    reply: Any = Reply()
    await reply


@other
async def neither_kind_of_manager() -> None:
    reply: Any = object()
    async with reply:
        pass


@other
async def own_loop_is_closed() -> None:
    raise RuntimeError("Event loop is closed")


@other
async def coroutines_of_both_sides() -> None:
    print(fetch() < fetch())


@pytest.mark.parametrize("program", HEALTHY)
def test_another_error_gets_no_hint(program: Program) -> None:
    assert hints_of(failure_of(program)) == []


@pytest.mark.parametrize(("program", "expected"), MISTAKES)
def test_a_mistake_is_named_with_its_fix(program: Program, expected: tuple[str, ...]) -> None:
    found = hints_of(failure_of(program))
    assert len(found) == 1, found
    for part in expected:
        assert part in " ".join(found[0].split()), found[0]
    assert f"{__file__.rpartition('/')[2]}:" in found[0]
    assert all(len(line) <= 170 for line in found[0].splitlines())


def test_a_line_of_an_installed_package_is_shown_and_not_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "async def call(function):\n    return await function()\n"
    path = tmp_path / "library.py"
    path.write_text(source)
    monkeypatch.setattr(sites, "_PACKAGES", (f"{tmp_path}{os.sep}",))
    scope: dict[str, Any] = {}
    exec(compile(source, str(path), "exec"), scope)
    (hint,) = hints_of(failure_of(lambda: scope["call"](lambda: [fetch()])))
    assert "write `" not in hint
    assert hint.endswith("library.py:2 in call: `return await function()`")


@pytest.mark.filterwarnings("error")
def test_odd_source_brings_no_warnings_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "async def fetch(): pass\nasync def main():\n    return fetch()['\\d']\n"
    path = tmp_path / "odd.py"
    path.write_text(source)
    scope: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(source, str(path), "exec"), scope)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        (hint,) = hints_of(failure_of(scope["main"]))
    assert "write `return (await fetch())['\\d']`" in hint
    assert [one for one in seen if "escape" in str(one.message)] == []


def test_a_hint_is_given_once() -> None:
    error = failure_of(subscript)
    note_mistakes(error)
    assert len(hints_of(error)) == 1


def test_an_error_without_a_traceback_gets_none() -> None:
    assert advice_for(TypeError("'coroutine' object is not subscriptable")) is None


def test_a_coroutine_that_was_never_awaited_is_told_by_its_name() -> None:
    assert never_awaited("Store.save") == (
        "calling `Store.save` runs nothing yet: write `await Store.save(...)`, "
        "or `asyncio.create_task(Store.save(...))`."
    )
    assert "an AsyncMock was called and not awaited" in never_awaited("AsyncMockMixin._execute_mock_call")


# -- CPython -----------------------------------------------------------------------------------------------------


def test_mocks_keep_what_they_gave_under_private_names() -> None:
    mock, plain = AsyncMock(), MagicMock()
    assert child_of(mock, "get") is None
    assert child_of(mock, "get") is None, "asking makes no child"
    get = mock.get
    assert child_of(mock, "get") is get
    mock.other = 3
    assert child_of(mock, "other") == 3
    assert [is_mock(mock), is_mock(plain), is_mock(3)] == [True, True, False]
    assert [is_async_mock(mock), is_async_mock(plain)] == [True, False]
    assert not called_before(mock)
    call = mock()
    assert called_before(mock)
    assert call.__qualname__ == MOCK_COROUTINE
    call.close()


# -- where hints are shown ---------------------------------------------------------------------------------------


def test_a_failure_that_was_found_tells_the_hint_in_report_and_data() -> None:
    found = vtloop.explore(subscript, runs=2)
    assert found.failure is not None
    assert f"hint: `fetch()` {MISSING}" in found.failure.report()
    (hint,) = found.failure.to_dict()["hints"]
    assert hint.startswith(f"`fetch()` {MISSING}")


@pytest.mark.slow
def test_the_command_line_shows_the_hint(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("async def fetch(): return {}\n\n\nasync def main():\n    return fetch()['a']\n")
    command = [sys.executable, "-m", "vtloop", "run", "program.py:main"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 1
    assert f"hint: `fetch()` {MISSING}\n  program.py:5 in main: write `return (await fetch())['a']`" in made.stdout
