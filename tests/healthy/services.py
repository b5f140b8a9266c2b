"""Services: started and stopped, run until cancelled, shut down gracefully, and what is left behind on purpose."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from .corpus import healthy

kept: list[Any] = []


class Service:
    """Ticks from start to stop."""

    def __init__(self) -> None:
        self.ticks = 0
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.002)
            self.ticks += 1

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="service")

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def __aenter__(self) -> Service:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


@healthy()
async def service_started_and_stopped() -> None:
    async with Service() as service:
        await asyncio.sleep(0.01)
    ticks = service.ticks
    await asyncio.sleep(0.01)
    assert service.ticks == ticks


@healthy()
async def run_forever_until_cancelled() -> None:
    log: list[str] = []

    async def serve_forever() -> None:
        log.append("up")
        try:
            await asyncio.Future()
        finally:
            log.append("down")

    server = asyncio.create_task(serve_forever())
    while not log:
        await asyncio.sleep(0.001)
    server.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await server
    assert log == ["up", "down"]


@healthy()
async def several_services_stopped_in_reverse() -> None:
    stopped: list[str] = []

    @contextlib.asynccontextmanager
    async def running(name: str) -> AsyncIterator[None]:
        task = asyncio.create_task(asyncio.Event().wait())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            stopped.append(name)

    async with contextlib.AsyncExitStack() as stack:
        for name in ("database", "cache", "web"):
            await stack.enter_async_context(running(name))
        await asyncio.sleep(0.001)
    assert stopped == ["web", "cache", "database"]


@healthy()
async def graceful_shutdown_lets_requests_finish() -> None:
    stopping = asyncio.Event()
    active: set[asyncio.Task[None]] = set()
    served: list[int] = []

    async def request(number: int) -> None:
        await asyncio.sleep(0.003)
        served.append(number)

    async def server() -> None:
        number = 0
        while not stopping.is_set():
            task = asyncio.create_task(request(number))
            active.add(task)
            task.add_done_callback(active.discard)
            number += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.001)
        if active:
            await asyncio.wait(set(active), timeout=3600)

    task = asyncio.create_task(server())
    await asyncio.sleep(0.004)
    stopping.set()
    await task
    assert sorted(served) == list(range(len(served)))


@healthy()
async def shutdown_that_loses_patience() -> None:
    ended: list[str] = []

    async def request(name: str, stuck: bool) -> None:
        try:
            if stuck:
                await asyncio.Event().wait()
            ended.append(name)
        except asyncio.CancelledError:
            ended.append(f"{name} cut")
            raise

    tasks = [asyncio.create_task(request("quick", False)), asyncio.create_task(request("stuck", True))]
    pending = set(tasks)
    while len(pending) > 1:
        _, pending = await asyncio.wait(tasks, timeout=0.01)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    assert ended == ["quick", "stuck cut"] or ended == ["quick"]


@healthy()
async def actor_with_a_mailbox_and_replies() -> None:
    class Account:
        def __init__(self) -> None:
            self.balance = 0
            self.mailbox: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
            self.task = asyncio.create_task(self._run())

        async def _run(self) -> None:
            while True:
                amount, reply = await self.mailbox.get()
                self.balance += amount
                reply.set_result(self.balance)

        async def add(self, amount: int) -> int:
            reply = asyncio.get_running_loop().create_future()
            await self.mailbox.put((amount, reply))
            return int(await reply)

    account = Account()
    results = await asyncio.gather(*(account.add(n) for n in (1, 2, 3)))
    assert max(results) == account.balance == 6
    account.task.cancel()


@healthy()
async def heartbeat_left_ticking_at_the_end() -> None:
    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(1)

    task = asyncio.create_task(heartbeat())
    await asyncio.sleep(0.005)
    assert not task.done()


@healthy()
async def listener_left_waiting_for_an_event() -> None:
    # Main holds the event to the end: it could have set it.
    shutdown = asyncio.Event()

    async def listener() -> None:
        await shutdown.wait()

    task = asyncio.create_task(listener())
    await asyncio.sleep(0.001)
    assert not shutdown.is_set()
    assert not task.done()


@healthy()
async def listener_left_by_a_function_that_main_called() -> None:
    async def app() -> int:
        shutdown = asyncio.Event()
        kept.append(asyncio.create_task(shutdown.wait()))
        await asyncio.sleep(0.001)
        return int(shutdown.is_set())

    assert await app() == 0
    kept.clear()


@healthy()
async def workers_left_by_an_object_that_main_used() -> None:
    class Pool:
        def __init__(self) -> None:
            self.queue: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()
            self.tasks = [asyncio.create_task(self.work()) for _ in range(2)]

        async def work(self) -> None:
            while True:
                (await self.queue.get()).set_result(len(self.tasks))

        async def ask(self) -> int:
            answer = asyncio.get_running_loop().create_future()
            await self.queue.put(answer)
            return int(await answer)

    assert await Pool().ask() == 2


@healthy()
async def app_in_a_task_of_its_own_that_leaves_a_listener() -> None:
    async def app() -> str:
        inbox: asyncio.Queue[int] = asyncio.Queue()
        asyncio.create_task(inbox.get())
        await asyncio.sleep(0.001)
        return "served"

    assert await asyncio.wait_for(asyncio.create_task(app()), 60) == "served"


@healthy()
async def worker_left_in_the_middle_of_a_lock() -> None:
    lock = asyncio.Lock()
    queue: asyncio.Queue[int] = asyncio.Queue()
    got: list[int] = []
    first = asyncio.Event()

    async def exclusive() -> None:
        async with lock:
            while True:
                got.append(await queue.get())
                first.set()

    task = asyncio.create_task(exclusive())
    await queue.put(1)
    await first.wait()
    assert got == [1]
    assert lock.locked()
    assert not task.done()


@healthy()
async def condition_waiters_left_at_the_end() -> None:
    condition = asyncio.Condition()

    async def waiter() -> None:
        async with condition:
            await condition.wait()

    tasks = [asyncio.create_task(waiter()) for _ in range(2)]
    await asyncio.sleep(0.002)
    async with condition:
        condition.notify(0)
    assert not any(task.done() for task in tasks)


@healthy()
async def task_cancelled_but_not_awaited_at_the_end() -> None:
    task = asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(0.001)
    task.cancel()


@healthy()
async def pending_timers_left_at_the_end() -> None:
    loop = asyncio.get_running_loop()
    rung: list[int] = []
    for number in range(3):
        loop.call_later(3600 + number, rung.append, number)
    await asyncio.sleep(0.001)
    assert rung == []


@healthy()
async def service_kept_by_a_module_and_left_running() -> None:
    service = Service()
    kept.append(service)
    await service.start()
    await asyncio.sleep(0.01)
    kept.remove(service)


@healthy()
async def done_futures_and_closed_coroutines_left() -> None:
    async def optional() -> int:
        return 1

    spare = optional()
    spare.close()  # not needed after all
    answer = asyncio.get_running_loop().create_future()
    answer.set_result(3)
    never_asked = asyncio.get_running_loop().create_future()
    assert not never_asked.done()
    assert await answer == 3


@healthy()
async def future_cancelled_by_who_waits_for_it() -> None:
    answer = asyncio.get_running_loop().create_future()
    try:
        await asyncio.wait_for(answer, 0.002)
    except TimeoutError:
        pass
    assert answer.cancelled()


@healthy()
async def config_reloaded_by_a_watcher() -> None:
    config = {"version": 1}
    changed = asyncio.Condition()

    async def watcher() -> None:
        while config["version"] < 3:
            await asyncio.sleep(0.002)
            async with changed:
                config["version"] += 1
                changed.notify_all()

    async def wait_for_version(wanted: int) -> int:
        async with changed:
            await changed.wait_for(lambda: config["version"] >= wanted)
            return config["version"]

    watching = asyncio.create_task(watcher())
    versions = await asyncio.gather(wait_for_version(2), wait_for_version(3))
    await watching
    assert versions[0] >= 2
    assert versions[1] == 3


@healthy()
async def names_and_contexts_of_tasks() -> None:
    async def child() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    task = asyncio.create_task(child(), name="first")
    task.set_name("second")
    assert await task == "second"
