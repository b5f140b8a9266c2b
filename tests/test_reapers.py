"""What live code could do by name: whatever ends the run, however it is written; and what means nothing by it."""

import _thread
import argparse
import asyncio
import functools
import operator
import signal
import sys

import pytest

import vtloop
from vtloop.diagnosis.judge import judge


class OwnExit(SystemExit):
    pass


class Stored:
    def __init__(self, act):
        self.act = act

    def __call__(self):
        self.act(3)


def throw(error):
    raise error


def by_the_builtin():
    exit(3)


def by_a_class_of_its_own():
    raise OwnExit(3)


def by_its_name():
    getattr(sys, "exit")(3)  # noqa: B009


def by_a_name_in_two_parts(what="it"):
    getattr(sys, "ex" + what)(3)


def by_a_parser():
    argparse.ArgumentParser().parse_args(["--unknown"])


def by_an_interrupt():
    _thread.interrupt_main()


def by_an_alarm():
    signal.alarm(1)


def by_the_loop():
    asyncio.get_running_loop().stop()


EXITS = {
    **{act.__name__: act for act in (by_the_builtin, by_a_class_of_its_own, by_its_name, by_a_name_in_two_parts)},
    **{act.__name__: act for act in (by_a_parser, by_an_interrupt, by_an_alarm, by_the_loop)},
    "by_a_partial": functools.partial(sys.exit, 3),
    "by_a_function_kept_in_an_object": Stored(sys.exit),
    "by_an_exception_made_before": functools.partial(throw, SystemExit(3)),
}


def judged(act):
    """What is said of a task that waits for ever, beside one that will call ``act``; for whom an end counts."""

    async def late(act):
        await asyncio.sleep(1_000)
        act()

    async def main():
        waiting = asyncio.get_running_loop().create_task(asyncio.Event().wait())
        task = asyncio.create_task(late(act))
        del waiting
        await asyncio.sleep(1)
        found = judge(asyncio.get_running_loop(), ends=True)
        return found.stuck == () and not task.done()

    return vtloop.run(main, leaks="allow", blocking="allow")


@pytest.mark.parametrize("name", EXITS)
def test_whatever_ends_the_run_frees_whoever_waits(name):
    assert judged(EXITS[name])


def harmless(word="stop"):
    try:
        getattr(word, "up" + "per")()
    except (KeyboardInterrupt, SystemExit):
        pass


@pytest.mark.parametrize(
    "act", [harmless, functools.partial(print, "loop"), operator.methodcaller("clear")], ids=["code", "print", "call"]
)
def test_what_ends_nothing_frees_nobody(act):
    assert not judged(act)


def test_the_loop_stopped_by_a_timer_is_an_end():
    async def main():
        loop = asyncio.get_running_loop()
        start = loop.create_task
        start(asyncio.Event().wait())
        loop.call_later(1_000, loop.stop)
        await asyncio.sleep(1)
        return judge(loop, ends=True).stuck

    assert vtloop.run(main, leaks="allow") == ()


def test_a_slot_of_a_loop_of_the_program_is_its_own():
    class Loop(vtloop.EventLoop):
        __slots__ = ("hub",)

    with Loop() as loop:

        async def main():
            loop = asyncio.get_running_loop()
            loop.hub = asyncio.Event()
            loop.create_task(loop.hub.wait())
            await asyncio.sleep(1)
            return [task.tier for task in vtloop.stuck_tasks()]

        assert loop.run_until_complete(main()) == []
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))


class Deep:
    def go(self):
        for task in asyncio.all_tasks():
            task.cancel()


class Janitor:
    def __init__(self):
        self.inside = {"deep": [Deep()]}

    async def work(self):
        await asyncio.sleep(1_000)
        self.inside["deep"][0].go()


JANITOR = Janitor()


def test_an_object_older_than_the_run_is_read_with_what_it_holds():
    async def main():
        loop = asyncio.get_running_loop()
        loop.create_task(asyncio.Event().wait())
        loop.create_task(JANITOR.work())
        await asyncio.sleep(1)
        return [task.tier for task in vtloop.stuck_tasks()]

    assert vtloop.run(main, leaks="allow") == ["only a cancel"]
