"""Tests with exact times that take no time, and one that looks for races."""

import asyncio

import pytest

import vtloop

pytestmark = pytest.mark.vtloop


async def retry(call, attempts=4, pause=60.0):
    """Call until it works; wait 60, 120, 240 s between the attempts."""
    for attempt in range(attempts):
        try:
            return await call()
        except OSError:
            if attempt == attempts - 1:
                raise
            await asyncio.sleep(pause * 2**attempt)


class Flaky:
    """Fails a number of times, then works."""

    def __init__(self, failures):
        self.failures = failures

    async def __call__(self):
        if self.failures:
            self.failures -= 1
            raise OSError("connection refused")
        return "answer"


@pytest.fixture
async def server():
    await asyncio.sleep(30)  # starts slowly, in virtual time
    return Flaky(failures=2)


async def test_second_retry_comes_after_three_minutes(server):
    with vtloop.elapsed() as took:
        assert await retry(server) == "answer"
    assert took.seconds == 60 + 120


async def test_gives_up_after_the_last_attempt():
    with vtloop.elapsed() as took, pytest.raises(OSError, match="refused"):
        await retry(Flaky(failures=9))
    assert took.seconds == 60 + 120 + 240


@pytest.mark.vtloop(runs=50)
async def test_two_callers_do_not_disturb_each_other(server):
    assert await asyncio.gather(retry(server), retry(server)) == ["answer", "answer"]


def test_plain_test_with_a_loop(vt_loop):
    task = vt_loop.create_task(retry(Flaky(failures=1)))
    vt_loop.advance(59)
    assert not task.done()
    vt_loop.advance(1)
    assert task.result() == "answer"
