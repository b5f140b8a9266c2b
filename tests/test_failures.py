"""Exceptions nobody caught: asyncio's handler protocol on a bare loop, and what a run collects instead of logging."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys

import pytest

import vtloop

where = contextvars.ContextVar("where", default="outside")


class Broken(Exception):
    """What programs raise on purpose."""


@pytest.fixture()
def loop():
    with vtloop.EventLoop() as made:
        yield made


@pytest.fixture()
def stock():
    made = asyncio.new_event_loop()
    yield made
    made.close()


def fail(*args):
    raise Broken("callback")


# -- a bare loop: as asyncio does ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"message": ""},
        {"message": "it broke"},
        {"message": "it broke", "zebra": 1, "ant": "two"},
        {"message": "it broke", "exception": Broken("inner")},
        {"exception": Broken("alone"), "future": "a future"},
    ],
)
def test_the_default_handler_logs_what_asyncio_logs(loop, stock, caplog, context):
    stock.default_exception_handler(dict(context))
    loop.default_exception_handler(dict(context))
    theirs, ours = caplog.records
    assert (ours.name, ours.levelno, ours.getMessage()) == (theirs.name, theirs.levelno, theirs.getMessage())
    assert bool(ours.exc_info) == bool(theirs.exc_info)
    assert (ours.exc_info or ())[:2] == (theirs.exc_info or ())[:2]


def test_a_failing_callback_is_logged_and_the_loop_goes_on(loop, caplog):
    log = []
    loop.call_soon(fail)
    loop.call_soon(log.append, "next")
    loop.call_later(1, fail)
    loop.call_later(2, log.append, "later")
    loop.call_later(3, loop.stop)
    loop.run_forever()
    assert log == ["next", "later"]
    assert [record.exc_info[0] for record in caplog.records] == [Broken, Broken]
    assert "Exception in callback fail()" in caplog.text


def test_a_handler_gets_the_loop_and_a_context(loop, caplog):
    seen = []
    loop.set_exception_handler(lambda *args: seen.append(args))
    handle = loop.call_soon(fail, 1)
    loop.run_ready()
    [(its_loop, context)] = seen
    assert its_loop is loop
    assert sorted(context) == ["exception", "handle", "message"]
    assert isinstance(context["exception"], Broken)
    assert context["handle"] is handle
    assert context["message"].startswith("Exception in callback fail(")
    assert not caplog.records


def test_none_brings_the_default_handler_back(loop, caplog):
    seen = []

    def handler(loop, context):
        seen.append(context)

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None
    loop.call_exception_handler({"message": "lost"})
    assert seen == []
    assert [record.getMessage() for record in caplog.records] == ["lost"]


@pytest.mark.parametrize("handler", [1, "handler", object()])
def test_a_handler_that_cannot_be_called_is_refused(loop, handler):
    with pytest.raises(TypeError, match="callable object or None"):
        loop.set_exception_handler(handler)


def test_a_failing_handler_is_reported_with_what_it_was_given(loop, caplog):
    loop.set_exception_handler(lambda loop, context: 1 / 0)
    loop.call_exception_handler({"message": "first"})
    [record] = caplog.records
    assert record.getMessage().startswith("Unhandled error in exception handler")
    assert "first" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("custom", [False, True])
def test_a_broken_default_handler_is_logged_at_last(caplog, custom):
    class Overloaded(vtloop.EventLoop):
        def default_exception_handler(self, context):
            raise Broken("default")

    with Overloaded() as loop:
        if custom:
            loop.set_exception_handler(lambda loop, context: 1 / 0)
        loop.call_exception_handler({"message": "first"})
    [record] = caplog.records
    assert record.getMessage().startswith("Exception in default exception handler")
    assert ("custom exception handler" in record.getMessage()) == custom
    assert record.exc_info[0] is Broken


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("custom", [False, True])
def test_exit_and_interrupt_come_out_of_a_handler(loop, error, custom):
    def stop(*args):
        raise error

    if custom:
        loop.set_exception_handler(stop)
    else:
        loop.default_exception_handler = stop
    with pytest.raises(error):
        loop.call_exception_handler({"message": "first"})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 calls the handler in whatever context is current")
def test_a_handler_runs_in_the_context_of_the_task_or_handle(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(where.get()))

    async def inside():
        where.set("task")
        raise Broken

    context = contextvars.copy_context()
    context.run(where.set, "handle")
    loop.call_soon(fail, context=context)
    task = loop.create_task(inside())
    loop.run_ready()
    del task
    gc.collect()
    loop.close()
    gc.collect()
    loop.call_exception_handler({"message": "nobody's"})
    assert seen == ["handle", "task", "outside"]


# -- a run: collected, and it fails as what was collected ------------------------------------------------------------


def test_a_run_collects_instead_of_logging(caplog):
    async def main():
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(1)

    with pytest.raises(Broken, match="callback"):
        vtloop.run(main)
    assert not caplog.records


def test_an_exception_reported_twice_is_one_failure():
    async def main():
        error = Broken("once")
        for _ in range(2):
            asyncio.get_running_loop().call_exception_handler({"message": "again", "exception": error})

    with pytest.raises(Broken, match="once"):
        vtloop.run(main)


def test_a_context_without_exception_is_a_message_and_fails_nothing(caplog):
    async def main():
        asyncio.get_running_loop().call_exception_handler({"message": "only words"})
        return "fine"

    assert vtloop.run(main) == "fine"
    assert [record.getMessage() for record in caplog.records] == ["only words"]


def test_a_handler_that_defers_to_the_default_one_fails_the_run():
    seen = []

    async def main():
        loop = asyncio.get_running_loop()

        def handler(loop, context):
            seen.append(context["message"].split(" ")[0])
            loop.default_exception_handler(context)

        loop.set_exception_handler(handler)
        loop.call_soon(fail)
        await asyncio.sleep(1)

    with pytest.raises(Broken, match="callback"):
        vtloop.run(main)
    assert seen == ["Exception"]


def test_a_handler_that_fails_itself_fails_the_run():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: 1 / 0)
        loop.call_soon(fail)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        vtloop.run(main)


def test_a_custom_handler_hears_of_a_task_nobody_read_when_the_run_ends(caplog):
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda loop, context: seen.append((context["message"], context["future"].get_name()))
        )

        async def bad():
            raise Broken("task")

        kept = [loop.create_task(bad(), name="bad")]
        await asyncio.sleep(1)
        return len(kept)

    assert vtloop.run(main) == 1
    gc.collect()
    assert seen == [("Task exception was never retrieved", "bad")]
    assert not caplog.records


def test_debug_mode_logs_where_a_failing_callback_was_made(loop, caplog):
    loop.set_debug(True)
    loop.call_soon(fail)
    loop.call_soon(loop.stop)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        loop.run_forever()
    assert "Object created at (most recent call last)" in caplog.text
    assert "in test_debug_mode_logs_where_a_failing_callback_was_made" in caplog.text
    assert f"{__name__.rpartition('.')[2]}.py" in caplog.text
