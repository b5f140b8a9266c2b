"""Fixtures under the pytest plugin: made anew for every run, async ones on the loop of the run."""

from __future__ import annotations

import pytest

pytest_plugins = ["plugin_suite"]

LOG = """
log = []

def logged(*expected):
    assert log == list(expected), log
"""


def test_everything_is_set_up_and_torn_down_in_pytests_own_order(suite):
    result = suite(
        LOG
        + """
@pytest.fixture
def sync_first():
    log.append("sync_first+"); yield; log.append("sync_first-")

@pytest.fixture
async def async_second(sync_first):
    await asyncio.sleep(1)
    log.append("async_second+"); yield "second"; log.append("async_second-")
    await asyncio.sleep(1)

@pytest.fixture
def sync_third(async_second):
    log.append("sync_third+"); yield async_second + " third"; log.append("sync_third-")

@pytest.fixture
async def value(sync_third):
    await asyncio.sleep(1)
    return sync_third + " value"

@pytest.mark.vtloop(runs=2)
async def test_order(value, sync_third):
    assert value == "second third value" and asyncio.get_running_loop().time() == 2
    log.append("test")

def test_log():
    one = ["sync_first+", "async_second+", "sync_third+", "test", "sync_third-", "async_second-", "sync_first-"]
    logged(*one, *one)
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=2)


def test_fixtures_and_test_share_one_task_and_its_context(suite):
    result = suite(
        """
        import contextvars
        var = contextvars.ContextVar("var", default="none")

        @pytest.fixture(autouse=True)
        def sets_plainly():
            token = var.set("plain")
            yield
            var.reset(token)

        @pytest.fixture
        async def task():
            assert var.get() == "plain"
            var.set("async")
            yield asyncio.current_task()
            assert var.get() == "test"

        @pytest.fixture
        async def group():
            async with asyncio.TaskGroup() as group, asyncio.timeout(100):
                yield group

        @pytest.mark.vtloop(runs=2)
        async def test_task(task, group):
            assert task is asyncio.current_task() and var.get() == "async"
            var.set("test")
            group.create_task(asyncio.sleep(50))
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=1)


def test_a_task_group_in_a_fixture_cancels_the_test_and_explains_itself(suite):
    result = suite(
        """
        @pytest.fixture
        async def group():
            async with asyncio.TaskGroup() as group:
                yield group

        async def fails(delay):
            await asyncio.sleep(delay)
            raise KeyError("child")

        @pytest.mark.vtloop
        async def test_in_the_test(group):
            group.create_task(fails(1))
            await asyncio.sleep(100)

        @pytest.fixture
        def between(group):
            group.create_task(fails(0))

        @pytest.fixture
        async def later(between):
            await asyncio.sleep(0)
            await asyncio.sleep(5)

        @pytest.mark.vtloop
        async def test_in_a_fixture(later):
            assert False, "not reached"
        """
    )
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("KeyError: 'child'") == 2
    assert "not reached" not in result.stdout.str().replace('assert False, "not reached"', "")


def test_sync_fixtures_see_no_running_loop(suite):
    result = suite(
        """
        @pytest.fixture
        async def started():
            yield 1

        @pytest.fixture
        def plain(started):
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            yield asyncio.run(asyncio.sleep(0, "a loop of its own"))
            asyncio.run(asyncio.sleep(0))

        @pytest.mark.vtloop
        async def test_x(plain):
            assert plain == "a loop of its own"
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=1)


def test_builtin_fixtures_are_new_in_every_run(suite, pytester):
    result = suite(
        """
        import os, warnings
        folders = set()

        @pytest.mark.vtloop(runs=4)
        async def test_builtin(tmp_path, monkeypatch, capsys, caplog, recwarn, request, record_property):
            assert list(tmp_path.iterdir()) == []
            (tmp_path / "file").write_text("x")
            folders.add(tmp_path)
            assert "VTLOOP_TEST" not in os.environ
            monkeypatch.setenv("VTLOOP_TEST", "1")
            print("out")
            assert capsys.readouterr().out == "out\\n"
            warnings.warn("one")
            assert len(recwarn) == 1
            assert request.node.name == "test_builtin"

        def test_folders_of_passing_runs_are_gone(tmp_path):
            assert not any(folder.exists() for folder in folders)
        """
    )
    result.assert_outcomes(passed=2)


def test_the_folder_of_a_failing_run_stays(suite, pytester):
    result = suite(
        """
        folders = []

        @pytest.mark.vtloop(runs=50)
        async def test_order(tmp_path):
            folders.append(tmp_path)
            await in_order()

        def test_folder():
            assert folders[-1].exists()
        """
    )
    result.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("policy", ["all", "failed", "none"])
def test_every_retention_policy_of_tmp_path_is_borne(suite, policy):
    source = "@pytest.mark.vtloop(runs=3)\nasync def test_x(tmp_path):\n    assert not list(tmp_path.iterdir())"
    suite(source, "-W", "error", ini=f"tmp_path_retention_policy = {policy}").assert_outcomes(passed=1)


def test_wider_sync_fixtures_are_made_once(suite):
    result = suite(
        LOG
        + """
@pytest.fixture(scope="session")
def session():
    log.append("session+"); yield []; log.append("session-")

@pytest.fixture(scope="class")
def of_class(session):
    log.append("class+"); yield session; log.append("class-")

class TestClass:
    @pytest.mark.vtloop(runs=3)
    async def test_one(self, of_class):
        of_class.append(1)

    @pytest.mark.vtloop(runs=2)
    async def test_two(self, of_class):
        of_class.append(1)

def test_log(session):
    logged("session+", "class+", "class-")
    assert session == [1] * 5
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_wider_async_fixtures_and_what_needs_them_are_made_for_every_run(suite, scope):
    result = suite(
        LOG
        + f"""
@pytest.fixture(scope="{scope}")
async def server():
    log.append("server+"); yield asyncio.get_running_loop(); log.append("server-")

@pytest.fixture(scope="{scope}")
def client(server):
    log.append("client+"); yield server; log.append("client-")

@pytest.fixture
async def connection(client):
    return client

@pytest.mark.vtloop(runs=2)
async def test_a(connection):
    assert connection is asyncio.get_running_loop()

@pytest.mark.vtloop
async def test_b(client):
    assert client is asyncio.get_running_loop()

def test_log():
    logged(*["server+", "client+", "client-", "server-"] * 3)
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=3)


def test_fresh_async_keeps_the_sync_fixtures(suite):
    result = suite(
        LOG
        + """
@pytest.fixture
def kept():
    log.append("kept+"); yield; log.append("kept-")

@pytest.fixture
async def renewed(kept):
    log.append("renewed+"); yield; log.append("renewed-")

@pytest.fixture
def needs_async(renewed):
    log.append("needs+"); yield; log.append("needs-")

@pytest.mark.vtloop(runs=2, fresh="async")
async def test_x(kept, needs_async, tmp_path):
    log.append("test")

def test_log():
    run = ["renewed+", "needs+", "test", "needs-", "renewed-"]
    logged("kept+", *run, *run, "kept-")
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=2)


def test_parametrized_overridden_and_class_fixtures(suite, pytester):
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        async def layered():
            return ["conftest"]
        """
    )
    result = suite(
        """
        @pytest.fixture
        async def layered(layered):
            return layered + ["module"]

        @pytest.fixture(params=["x", "y"])
        async def letter(request):
            yield request.param

        class TestClass:
            @pytest.fixture(autouse=True)
            async def prepared(self):
                self.ready = True
                yield
                assert self.ready == "used"

            @pytest.fixture
            async def layered(self, layered):
                assert self.ready
                return layered + ["class"]

            @pytest.mark.vtloop(runs=3)
            async def test_layers(self, layered, letter):
                assert layered == ["conftest", "module", "class"] and letter in "xy"
                assert self.ready is True
                self.ready = "used"

            def setup_method(self):
                self.set_up = True

            @pytest.mark.vtloop(runs=2)
            async def test_xunit(self):
                assert self.set_up
                self.set_up = False
                self.ready = "used"
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=3)


def test_async_fixtures_asked_for_by_name_in_sync_ones(suite):
    result = suite(
        """
        @pytest.fixture
        async def number():
            await asyncio.sleep(1)
            yield 7
            await asyncio.sleep(1)

        @pytest.fixture
        def chosen(request):
            return request.getfixturevalue("number")

        @pytest.mark.vtloop(runs=3)
        async def test_chosen(chosen):
            assert chosen == 7

        @pytest.mark.vtloop
        async def test_too_late(request):
            request.getfixturevalue("number")
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E *UsageError: the async fixture 'number' cannot be made by *; name it as an argument *"]
    )


def test_errors_of_fixtures_are_errors_of_the_run(suite):
    result = suite(
        LOG
        + """
@pytest.fixture
async def outer():
    yield
    log.append("outer-")

@pytest.fixture
async def fails_in_set_up(outer):
    await asyncio.sleep(1)
    raise KeyError("set-up")
    yield

@pytest.fixture
async def fails_in_tear_down(outer):
    yield
    await asyncio.sleep(1)
    raise KeyError("tear-down")

@pytest.fixture
async def hangs(outer):
    await asyncio.Event().wait()

@pytest.fixture
async def hangs_late(outer):
    yield
    await asyncio.Event().wait()

@pytest.fixture
async def yields_twice():
    yield
    yield

pytestmark = pytest.mark.vtloop

async def test_set_up(fails_in_set_up): pass
async def test_tear_down(fails_in_tear_down): pass
async def test_both(fails_in_tear_down): raise ValueError("test")
async def test_hangs(hangs): pass
async def test_hangs_late(hangs_late): pass
async def test_twice(yields_twice): pass
async def test_deadlock(outer, tmp_path): await asyncio.Event().wait()

def test_log():
    logged(*["outer-"] * 6)
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=1, failed=7)
    result.stdout.fnmatch_lines(
        [
            "E *KeyError: 'set-up'",
            "E *KeyError: 'tear-down'",
            "E *ValueError: test",
            "E *a fixture also failed in teardown: KeyError: 'tear-down'",
            "E *DeadlockError: deadlock at t=0 s: Task-1 (test_hangs) waits for an Event*",
            "E *DeadlockError: deadlock at t=0 s: Task-1 (test_hangs_late) waits for an Event*",
            "the async fixture yields_twice has more than one yield",
            "E *DeadlockError: deadlock at t=0 s: Task-1 (test_deadlock) waits for an Event*",
        ]
    )
    # Only the user's frames: no other plugin's, none of ours.
    assert "pytest_fixtures.py" not in result.stdout.str()


def test_a_test_that_swallows_its_cancellation_is_left_behind(suite):
    result = suite(
        """
        @pytest.fixture
        async def resource():
            yield
            await asyncio.sleep(1)

        @pytest.mark.vtloop
        async def test_stubborn(resource):
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass

        def test_next():
            pass
        """,
        "-W",
        "error",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E *DeadlockError: deadlock *"])


@pytest.mark.slow
def test_ctrl_c_and_sys_exit_tear_fixtures_down(suite):
    result = suite(
        LOG
        + """
@pytest.fixture
async def resource():
    yield
    await asyncio.sleep(1)
    print("torn down")

@pytest.mark.vtloop(runs=3)
async def test_exit(resource):
    raise SystemExit(3)

@pytest.mark.vtloop(runs=3)
async def test_interrupt(resource):
    await asyncio.sleep(1)
    raise KeyboardInterrupt
""",
        "-s",
        apart=True,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert result.stdout.str().count("torn down\n") == 2


def test_a_run_without_function_scoped_fixtures_sets_nothing_up(suite):
    result = suite(
        """
        calls = []

        @pytest.fixture(autouse=True, scope="module")
        def watch(request):
            from _pytest.fixtures import FixtureRequest
            real = FixtureRequest.getfixturevalue
            patch = pytest.MonkeyPatch()
            noted = lambda self, name: (calls.append(name), real(self, name))[1]
            patch.setattr(FixtureRequest, "getfixturevalue", noted)
            yield
            patch.undo()

        @pytest.fixture(scope="module")
        def shared():
            return 1

        @pytest.mark.vtloop(runs=500)
        @pytest.mark.parametrize("n", [1])
        async def test_many(shared, n):
            pass

        def test_calls():
            assert len(calls) < 10
        """
    )
    result.assert_outcomes(passed=2)


def test_healthy_tests_leave_no_warning_behind(suite):
    result = suite(
        """
        @pytest.fixture
        async def background():
            task = asyncio.create_task(asyncio.sleep(1000))
            yield
            del task

        async def numbers():
            try:
                for n in range(100):
                    await asyncio.sleep(1)
                    yield n
            finally:
                await asyncio.sleep(1)

        @pytest.mark.vtloop(runs=20)
        async def test_leaves_things(background):
            generator = numbers()
            await anext(generator)
            asyncio.create_task(asyncio.sleep(500))
            asyncio.get_running_loop().call_later(900, print)
            await asyncio.to_thread(print, "thread")

        @pytest.mark.vtloop(runs=20)
        @pytest.mark.xfail(strict=True)
        async def test_dies_in_the_middle(background):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(10))
                group.create_task(asyncio.Event().wait())
        """,
        "-W",
        "error",
        "-W",
        "error::pytest.PytestUnraisableExceptionWarning",
    )
    result.assert_outcomes(passed=1, xfailed=1)
    assert "Warning" not in result.stdout.str() + result.stderr.str()


def test_a_test_may_go_into_its_folder_and_stay_there(suite, monkeypatch, pytester):
    monkeypatch.chdir(pytester.path)  # brings the working folder back
    result = suite(
        """
        import os

        @pytest.mark.vtloop(runs=5)
        async def test_it(tmp_path):
            os.getcwd()
            (tmp_path / "sub").mkdir()
            os.chdir(tmp_path / "sub")
        """
    )
    result.assert_outcomes(passed=1)


def test_a_fixture_that_a_cancellation_ends_is_made_anew_in_the_next_run(suite):
    result = suite(
        """
        LOG = []

        @pytest.fixture
        def undone(request):
            request.addfinalizer(lambda: LOG.append("undone"))
            LOG.append("made")

        @pytest.fixture
        async def waits(undone):
            async def worker():
                await asyncio.sleep(1)
            await asyncio.create_task(worker())
            LOG.append("waited")
            yield

        @pytest.mark.vtloop(runs=40, cancel="*worker*")
        async def test_it(waits):
            pass

        def test_log():
            assert LOG.count("made") == LOG.count("undone") == 40
            assert 20 < LOG.count("waited") < 40
        """
    )
    result.assert_outcomes(passed=2)


def test_who_wants_to_know_of_the_end_of_the_tests_task_is_told(suite):
    # anyio ends its worker threads so; not told, they keep the whole process from ending.
    result = suite(
        LOG
        + """
import anyio.to_thread, threading
threads = []

@pytest.mark.vtloop
async def test_one():
    asyncio.current_task().add_done_callback(lambda task: log.append("told"))
    threads.append(await anyio.to_thread.run_sync(threading.current_thread))

def test_log():
    logged("told")
    threads[0].join(10)
    assert not threads[0].is_alive()
""",
    )
    result.assert_outcomes(passed=2)
