"""Beside other plugins and frameworks: ours wins for its own tests, and nothing else is touched."""

from __future__ import annotations

import pytest
from plugin_suite import section

pytest_plugins = ["plugin_suite"]

OURS = """
    @pytest.fixture
    async def session():
        await asyncio.sleep(10)
        yield asyncio.get_running_loop()

    @pytest.mark.vtloop
    async def test_ours(session):
        await asyncio.sleep(3600)
        assert on_virtual_time() and session is asyncio.get_running_loop()
        assert session.time() == 3610

    class TestOurs:
        @pytest.mark.vtloop(runs=3)
        @pytest.mark.parametrize("hours", [1, 2])
        async def test_method(self, session, hours):
            await asyncio.sleep(hours * 3600)
            assert session.time() == 10 + hours * 3600
"""


@pytest.mark.parametrize(
    ("plugins", "ini"),
    [
        (("asyncio",), "asyncio_mode = strict"),
        (("asyncio",), "asyncio_mode = auto"),
        (("anyio",), "anyio_mode = auto"),
        (("asyncio", "anyio"), "asyncio_mode = auto\nanyio_mode = auto"),
    ],
)
def test_our_tests_run_on_our_loop_whatever_the_mode_of_the_others(suite, plugins, ini):
    result = suite(OURS, "-v", "-W", "error", plugins=plugins, ini=ini)
    result.assert_outcomes(passed=3)
    # No other plugin has parametrized them.
    result.stdout.fnmatch_lines(["*::test_ours PASSED*", "*::test_method?1? PASSED*", "*::test_method?2? PASSED*"])


@pytest.mark.parametrize("other", ["asyncio", "anyio"])
def test_both_marks_mean_ours_without_a_warning(suite, other):
    source = f"""
        @pytest.mark.{other}
        @pytest.mark.vtloop
        async def test_both():
            await asyncio.sleep(3600)
            assert on_virtual_time()
    """
    suite(source, "-W", "error", plugins=("asyncio", "anyio")).assert_outcomes(passed=1)


THEIRS = """
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def fixture():
        yield asyncio.get_running_loop()

    @pytest.mark.asyncio
    async def test_asyncio(fixture):
        assert not on_virtual_time() and fixture is asyncio.get_running_loop()

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_anyio(anyio_backend):
        assert not on_virtual_time()

    def test_plain():
        pass
"""


def test_tests_of_other_plugins_are_left_alone(suite):
    result = suite(THEIRS, "-W", "error", plugins=("asyncio", "anyio"))
    result.assert_outcomes(passed=3)
    assert "vtloop:" not in result.stdout.str()


def test_without_the_plugin_suites_are_untouched(suite):
    suite(THEIRS, "-p", "no:vtloop.pytest_plugin", plugins=("asyncio", "anyio")).assert_outcomes(passed=3)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_flag_runs_every_async_test_on_the_virtual_loop(suite, mode):
    source = """
        import pytest_asyncio, unittest

        @pytest_asyncio.fixture
        async def fixture():
            await asyncio.sleep(5)
            yield asyncio.get_running_loop()

        @pytest.mark.asyncio
        async def test_asyncio(fixture):
            await asyncio.sleep(3600)
            assert on_virtual_time() and fixture.time() == 3605

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_anyio():
            await asyncio.sleep(3600)
            assert on_virtual_time()

        async def test_nobodys():
            await asyncio.sleep(3600)
            assert on_virtual_time()

        @pytest.mark.asyncio
        @pytest.mark.no_vtloop
        async def test_exempt():
            assert not on_virtual_time()

        class TestUnit(unittest.IsolatedAsyncioTestCase):
            async def test_unit(self):
                assert not on_virtual_time()

        def test_plain():
            pass
    """
    ini = f"asyncio_mode = {mode}"
    result = suite(source, "--vtloop", "-v", "-W", "error", plugins=("asyncio", "anyio"), ini=ini)
    result.assert_outcomes(passed=6, failed=0)
    result.stdout.fnmatch_lines(["*::test_asyncio PASSED*", "vtloop: 3 tests, 3 runs"])


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_flag_keeps_the_ids_of_a_suite(suite, mode):
    source = """
        @pytest.mark.asyncio
        @pytest.mark.parametrize("n", [1, 2])
        async def test_numbers(n):
            await asyncio.sleep(n)

        @pytest.mark.anyio
        async def test_anyio(anyio_backend):
            pass
    """
    ini = f"asyncio_mode = {mode}"
    both = ("asyncio", "anyio")
    plain = suite(source, "--collect-only", "-q", plugins=both, ini=ini).stdout.lines
    ours = suite(source, "--collect-only", "-q", "--vtloop", plugins=both, ini=ini).stdout.lines
    assert [line for line in plain if "::" in line] == [line for line in ours if "::" in line]


def test_tests_parametrized_for_trio_are_left_alone(suite):
    source = """
        ran = []

        @pytest.fixture(params=["asyncio", "trio"], scope="module")
        def anyio_backend(request):
            return request.param

        @pytest.mark.anyio
        async def test_anyio(anyio_backend):
            ran.append((anyio_backend, on_virtual_time()))
    """
    result = suite(source, "--vtloop", "-v", plugins=("anyio",))
    lines = result.stdout.str()
    assert "test_anyio[asyncio] PASSED" in lines
    assert "vtloop: 1 test, 1 run" in lines
    # Without trio installed anyio says so itself: the point is that the test reached anyio.
    assert "trio" in lines
    assert (
        "VtloopFunction test_anyio[trio]"
        not in suite(source, "--vtloop", "--collect-only", plugins=("anyio",)).stdout.str()
    )


def test_a_wider_async_fixture_made_by_pytest_asyncio_comes_anew_for_ours(suite):
    source = """
        import pytest_asyncio
        made = []

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def server():
            made.append(on_virtual_time())
            yield asyncio.get_running_loop()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_a_theirs(server):
            assert server is asyncio.get_running_loop()

        @pytest.mark.vtloop(runs=2)
        async def test_b_ours(server):
            assert server is asyncio.get_running_loop()

        @pytest.mark.asyncio(loop_scope="module")
        async def test_c_theirs(server):
            assert server is asyncio.get_running_loop()
            assert made == [False, True, True]
    """
    suite(source, "-W", "error", plugins=("asyncio",)).assert_outcomes(passed=3)


def test_the_loop_plugs_into_pytest_asyncio(suite, pytester):
    pytester.makeconftest(
        """
        import vtloop

        def pytest_asyncio_loop_factories(config, item):
            return {"vtloop": vtloop.loop_factory()}
        """
    )
    source = """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def started():
            await asyncio.sleep(60)
            yield asyncio.get_running_loop().time()
            await asyncio.sleep(60)

        @pytest.mark.asyncio
        async def test_hours(started):
            await asyncio.sleep(3600)
            assert on_virtual_time()
            assert asyncio.get_running_loop().time() == 3660 == started + 3600
    """
    suite(source, "-W", "error", plugins=("asyncio",)).assert_outcomes(passed=1)


def test_the_loop_plugs_into_anyio(suite):
    source = """
        import anyio

        FACTORIES = [pytest.param(("asyncio", {"loop_factory": vtloop.loop_factory(seed=seed)}), id=f"seed{seed}")
                     for seed in range(2)]

        @pytest.fixture(params=FACTORIES)
        def anyio_backend(request):
            return request.param

        @pytest.fixture
        async def started():
            await anyio.sleep(60)
            yield anyio.current_time()

        @pytest.mark.anyio
        async def test_hours(started):
            with anyio.move_on_after(3600) as scope:
                await anyio.sleep(86400)
            assert scope.cancelled_caught and on_virtual_time()
            assert anyio.current_time() == 3660 == started + 3600

        def test_run():
            async def main():
                await anyio.sleep(86400)
                return anyio.current_time()
            assert anyio.run(main, backend_options={"loop_factory": vtloop.EventLoop}) == 86400
    """
    suite(source, "-W", "error", plugins=("anyio",)).assert_outcomes(passed=3)


def test_the_loop_plugs_into_unittest(suite):
    source = """
        import sys, unittest

        class VirtualTime(unittest.IsolatedAsyncioTestCase):
            loop_factory = vtloop.EventLoop          # 3.13

            if sys.version_info < (3, 13):           # earlier ones ignore it
                def _setupAsyncioRunner(self):
                    self._asyncioRunner = asyncio.Runner(loop_factory=self.loop_factory)

        class TestUnit(VirtualTime):
            async def asyncSetUp(self):
                await asyncio.sleep(60)

            async def test_hours(self):
                await asyncio.sleep(3600)
                self.assertEqual(asyncio.get_running_loop().time(), 3660)
                self.assertTrue(on_virtual_time())

            @unittest.expectedFailure
            async def test_deadlock(self):
                await asyncio.Event().wait()
    """
    result = suite(source, "-W", "error")
    result.assert_outcomes(passed=1, xfailed=1)


def test_unittest_classes_and_doctests_are_untouched_by_the_marker_and_the_flag(suite):
    source = '''
        import unittest

        def doubled(x):
            """
            >>> doubled(2)
            4
            """
            return 2 * x

        pytestmark = pytest.mark.vtloop

        class TestUnit(unittest.IsolatedAsyncioTestCase):
            async def test_unit(self):
                assert not on_virtual_time()
    '''
    suite(source, "--vtloop", "--doctest-modules", "-W", "error").assert_outcomes(passed=2)


@pytest.mark.slow
def test_hypothesis_gets_a_fresh_loop_and_fresh_fixtures_for_every_example(suite):
    source = """
        from hypothesis import given, settings, strategies as st

        @pytest.fixture
        async def seen():
            yield []

        @pytest.mark.vtloop(seed=5)
        @settings(deadline=None, max_examples=20, database=None)
        @given(seconds=st.integers(0, 10**6))
        async def test_given(seen, seconds):
            seen.append(seconds)
            assert seen == [seconds]
            await asyncio.sleep(seconds)
            assert asyncio.get_running_loop().time() == seconds

        class TestMethods:
            @pytest.mark.vtloop(runs=2)
            @settings(deadline=None, max_examples=10, database=None)
            @given(st.integers())
            async def test_given(self, number):
                assert on_virtual_time()
    """
    for mode in ("strict", "auto"):
        result = suite(source, "-W", "error", plugins=("asyncio",), ini=f"asyncio_mode = {mode}")
        result.assert_outcomes(passed=2)


@pytest.mark.slow
def test_hypothesis_shrinks_and_the_failure_has_its_command(suite, pytester):
    source = """
        from hypothesis import given, settings, strategies as st

        @pytest.mark.vtloop(runs=4)
        @settings(deadline=None, database=None, max_examples=200)
        @given(n=st.integers(0, 1000))
        async def test_given(n):
            await asyncio.sleep(n)
            assert n < 500
    """
    result = suite(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*n=500,*"])
    assert section(result)[-1].startswith("pytest 'test_it.py::test_given' --vtloop-replay vt1.")
    assert not (pytester.path / ".vtloop").exists()  # Hypothesis has a database of its own


@pytest.mark.slow
def test_hypothesis_with_a_replayed_order(suite):
    source = """
        from hypothesis import given, settings, strategies as st

        @pytest.mark.vtloop(runs=50)
        @settings(deadline=None, database=None, max_examples=20)
        @given(n=st.integers(2, 5))
        async def test_order(n):
            log, go = [], asyncio.Event()

            async def worker(i):
                await go.wait()
                log.append(i)

            tasks = [asyncio.create_task(worker(i)) for i in range(n)]
            await asyncio.sleep(1)
            go.set()
            await asyncio.gather(*tasks)
            assert log == sorted(log)
    """
    result = suite(source)
    result.assert_outcomes(failed=1)
    command = section(result)[-1]
    again = suite(source, "--vtloop-replay", command.rpartition(" ")[2])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*assert *== *"])
    stops = suite(source, "--vtloop-replay", command.rpartition(" ")[2], "--vtloop-until=5")
    assert stops.ret == pytest.ExitCode.USAGE_ERROR
    stops.stderr.fnmatch_lines(["ERROR: vtloop: --vtloop-until stops in one run; below @given each example has one"])
