"""Weak registries: what is only weakly held by who will wake it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from .corpus import healthy


class Subscriber:
    """Has a queue, and is found by way of a weak reference alone."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[str] = asyncio.Queue()
        self.closed = asyncio.Event()

    def deliver(self, message: str) -> None:
        self.inbox.put_nowait(message)


class Topic:
    """Publishes to subscribers that it does not keep alive."""

    def __init__(self) -> None:
        self.subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()

    async def publish(self, *messages: str) -> None:
        for message in messages:
            await asyncio.sleep(0.001)
            for subscriber in list(self.subscribers):
                subscriber.deliver(message)


async def take(subscriber: Subscriber, number: int) -> list[str]:
    return [await subscriber.inbox.get() for _ in range(number)]


@healthy()
async def publisher_holds_its_subscribers_weakly() -> None:
    topic = Topic()
    subscribers = [Subscriber() for _ in range(3)]
    for one in subscribers:
        topic.subscribers.add(one)
    publisher = asyncio.create_task(topic.publish("a", "b"))
    results = await asyncio.gather(*(take(one, 2) for one in subscribers))
    await publisher
    assert results == [["a", "b"]] * 3


@healthy()
async def subscriber_that_nobody_but_its_reader_holds() -> None:
    topic = Topic()

    async def reader() -> list[str]:
        mine = Subscriber()
        topic.subscribers.add(mine)
        return await take(mine, 2)

    task = asyncio.create_task(reader())
    while not topic.subscribers:
        await asyncio.sleep(0)
    await topic.publish("a", "b")
    assert await task == ["a", "b"]


@healthy()
async def dropped_subscriber_gets_nothing() -> None:
    topic = Topic()
    stays, leaves = Subscriber(), Subscriber()
    topic.subscribers.add(stays)
    topic.subscribers.add(leaves)
    del leaves
    await topic.publish("a")
    assert len(topic.subscribers) == 1
    assert await stays.inbox.get() == "a"


@healthy()
async def sessions_in_a_weak_dictionary() -> None:
    sessions: weakref.WeakValueDictionary[str, Subscriber] = weakref.WeakValueDictionary()

    async def session(name: str) -> str:
        mine = Subscriber()
        sessions[name] = mine
        return await mine.inbox.get()

    async def router() -> None:
        for name in ("x", "y"):
            while name not in sessions:
                await asyncio.sleep(0.001)
            sessions[name].deliver(f"for {name}")

    asyncio.create_task(router())
    assert await asyncio.gather(session("x"), session("y")) == ["for x", "for y"]


@healthy()
async def weak_methods_as_callbacks() -> None:
    callbacks: list[weakref.WeakMethod[Callable[[str], None]]] = []
    subscriber = Subscriber()
    callbacks.append(weakref.WeakMethod(subscriber.deliver))

    async def emit() -> None:
        await asyncio.sleep(0.002)
        for reference in callbacks:
            method = reference()
            if method is not None:
                method("called")

    task = asyncio.create_task(emit())
    assert await subscriber.inbox.get() == "called"
    await task


@healthy()
async def proxy_is_all_that_the_waker_has() -> None:
    subscriber = Subscriber()

    async def waker(proxy: Any) -> None:
        await asyncio.sleep(0.002)
        proxy.deliver("through a proxy")

    task = asyncio.create_task(waker(weakref.proxy(subscriber)))
    assert await subscriber.inbox.get() == "through a proxy"
    await task


@healthy()
async def timer_with_a_weak_reference() -> None:
    event = asyncio.Event()
    reference = weakref.ref(event)

    def fire() -> None:
        living = reference()
        if living is not None:
            living.set()

    asyncio.get_running_loop().call_later(0.002, fire)
    await event.wait()


@healthy()
async def told_when_the_last_user_lets_go() -> None:
    # The weak reference is the waiter's; its callback is called when the user ends.
    class Connection:
        pass

    closed = asyncio.Event()
    connection = Connection()
    reference = weakref.ref(connection, lambda _: closed.set())

    async def user(mine: Connection) -> None:
        await asyncio.sleep(0.002)
        del mine

    task = asyncio.create_task(user(connection))
    del connection
    await closed.wait()
    assert reference() is None
    await task


@healthy()
async def told_when_nobody_holds_a_finished_task() -> None:
    gone = asyncio.Event()
    references: list[weakref.ref[Any]] = []

    async def owner() -> None:
        work = asyncio.create_task(asyncio.sleep(0.001))
        references.append(weakref.ref(work, lambda _: gone.set()))
        await work

    task = asyncio.create_task(owner())
    await gone.wait()
    await task


@healthy()
async def finalizer_wakes_who_waits() -> None:
    class Resource:
        pass

    released = asyncio.Event()

    async def user() -> None:
        resource = Resource()
        weakref.finalize(resource, released.set).atexit = False
        await asyncio.sleep(0.002)
        assert resource is not None

    task = asyncio.create_task(user())
    await released.wait()
    await task


@healthy()
async def keys_held_weakly_with_futures_as_values() -> None:
    class Request:
        pass

    answers: weakref.WeakKeyDictionary[Request, asyncio.Future[str]] = weakref.WeakKeyDictionary()

    async def client() -> str:
        request = Request()
        answers[request] = asyncio.get_running_loop().create_future()
        return await answers[request]

    async def server() -> None:
        while len(answers) < 2:
            await asyncio.sleep(0.001)
        for future in list(answers.values()):
            if not future.done():
                future.set_result("done")

    results = await asyncio.gather(client(), client(), server())
    assert results == ["done", "done", None]
    assert len(answers) == 0


@healthy()
async def cache_of_futures_that_go_with_their_users() -> None:
    running: weakref.WeakValueDictionary[str, asyncio.Task[str]] = weakref.WeakValueDictionary()
    fetched: list[str] = []

    async def fetch(key: str) -> str:
        await asyncio.sleep(0.001)
        fetched.append(key)
        return key.upper()

    async def get(key: str) -> str:
        task = running.get(key)
        if task is None:
            task = running[key] = asyncio.create_task(fetch(key))
        return await task

    assert await asyncio.gather(get("a"), get("a"), get("b")) == ["A", "A", "B"]
    assert sorted(fetched) in (["a", "b"], ["a", "a", "b"])
