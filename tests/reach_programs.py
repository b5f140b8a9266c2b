"""Random programs for the fuzz of reachability: tasks that lose, pass on and find references in every usual way.

`Program(seed).main` is a coroutine function.  Each task has a bag of things of its own, and does what its script says
with what it finds there, in module globals, behind weak references, in context variables, in callbacks.
"""

import asyncio
import contextlib
import contextvars
import functools
import random
import sys
import weakref
from collections import deque

GLOBALS = {}
WEAK = weakref.WeakValueDictionary()
VARIABLE = contextvars.ContextVar("bag")


class Holder:
    """An object with an attribute, slots and methods by which it can be used."""

    __slots__ = ("__weakref__", "thing")

    def __init__(self, thing):
        self.thing = thing

    def use(self):
        poke(self.thing)


class Finalizer:
    def __init__(self, thing):
        self.thing = thing

    def __del__(self):
        poke(self.thing)


def poke(thing):
    """Do to a thing what wakes those who wait for it."""
    if isinstance(thing, Holder):
        thing = thing.thing
    if isinstance(thing, weakref.ref):
        thing = thing()
    if isinstance(thing, asyncio.Event):
        thing.set()
    elif isinstance(thing, asyncio.Queue):
        with contextlib.suppress(asyncio.QueueFull):
            thing.put_nowait(1)
    elif isinstance(thing, asyncio.Semaphore):
        thing.release()
    elif isinstance(thing, asyncio.Task):
        thing.cancel()
    elif isinstance(thing, asyncio.Future):
        if not thing.done():
            thing.set_result(1)
    elif callable(thing):
        thing()


class Program:
    def __init__(self, seed, eager=False, anyio=None):
        self.random = random.Random(seed)
        self.seed = seed
        self.eager = eager and sys.version_info >= (3, 12)
        self.anyio = anyio
        self.depth = 0
        self.scripts = {}
        self.made = 0

    # -- things ------------------------------------------------------------------------------------------------

    def thing(self):
        r = self.random
        made = r.choice(
            [asyncio.Event, asyncio.Event, asyncio.Queue, asyncio.Lock, asyncio.Condition, "future", "future", "sem"]
        )
        if made == "future":
            return asyncio.get_running_loop().create_future()
        if made == "sem":
            return asyncio.Semaphore(r.randrange(2))
        if made is asyncio.Queue:
            return asyncio.Queue(r.randrange(3))
        return made()

    def bag(self, many):
        return [self.thing() for _ in range(many)]

    def some(self, bag, many):
        return [self.random.choice(bag) for _ in range(many)] if bag else []

    def hide(self, thing):
        """Another way to hold a thing."""
        r = self.random
        way = r.randrange(12)
        if way == 0:
            return Holder(thing)
        if way == 1:
            return lambda: poke(thing)
        if way == 2:
            return functools.partial(poke, thing)
        if way == 3:
            return Holder(thing).use
        if way == 4:
            with contextlib.suppress(TypeError):
                return weakref.ref(thing)
        if way == 5:
            return {"it": [thing]}
        if way == 6:
            try:
                frame_of = thing
                raise KeyError(frame_of is None)
            except KeyError as error:
                return error
        if way == 7:
            return deque([thing])
        if way == 8:
            return (value for value in [thing])
        return thing

    def find(self, hidden):
        if isinstance(hidden, dict):
            return hidden["it"][0]
        if isinstance(hidden, KeyError):
            frame = hidden.__traceback__.tb_frame if hidden.__traceback__ else None
            return frame.f_locals.get("thing") if frame else None
        if isinstance(hidden, deque):
            return hidden[0] if hidden else None
        if isinstance(hidden, weakref.ref):
            return hidden()
        if isinstance(hidden, Holder):
            return hidden.thing
        return hidden

    def hang_up(self, thing):
        """Let something else than a task hold a thing."""
        r = self.random
        loop = asyncio.get_running_loop()
        way = r.randrange(11)
        if way == 0:
            GLOBALS[self.made % 7] = thing
        elif way == 1:
            with contextlib.suppress(TypeError):
                WEAK[self.made % 11] = thing
        elif way == 2:
            VARIABLE.set(thing)
        elif way == 3:
            loop.call_later(r.randrange(1, 9), poke, thing)
        elif way == 4:
            handle = loop.call_later(r.randrange(1, 9), poke, thing)
            loop.call_later(r.randrange(1, 5), handle.cancel)
        elif way == 5:
            loop.call_later(r.randrange(1, 9), Holder(thing).use)
        elif way == 6:
            loop.call_soon(poke, thing)
        elif way == 7 and isinstance(thing, asyncio.Future):
            other = loop.create_future()
            thing.add_done_callback(lambda _: other.done() or other.set_result(1))
            return other
        elif way == 8:
            loop.run_in_executor(None, lambda: loop.call_soon_threadsafe(poke, thing))
        elif way == 9:
            ring = [Finalizer(thing)]
            ring.append(ring)
        elif way == 10:
            with contextlib.suppress(TypeError):
                weakref.finalize(Holder(1), poke, thing)
        return thing

    # -- scripts -----------------------------------------------------------------------------------------------

    def spawn(self, bag, depth):
        self.made += 1
        loop = asyncio.get_running_loop()
        coro = self.run(bag, depth + 1)
        if self.eager and self.random.random() < 0.3:
            return asyncio.create_eager_task_factory(type(asyncio.current_task()))(loop, coro)
        return loop.create_task(coro, name=f"t{self.made}")

    async def run(self, bag, depth):
        """A task: a few random steps with what is in its bag."""
        r = self.random
        for _ in range(r.randrange(1, 7)):
            await self.step(bag, depth)
            if bag and r.random() < 0.15:
                bag.pop(r.randrange(len(bag)))
        if r.random() < 0.1:
            raise ValueError("a task that fails")
        return bag

    async def step(self, bag, depth):
        r = self.random
        thing = self.find(r.choice(bag)) if bag else None
        way = r.randrange(30)
        if way < 6:
            await asyncio.sleep(r.choice([0, 1, 1, 2, 3, 7]))
        elif way < 9:
            poke(thing)
        elif way < 14:
            await self.wait_for_it(thing, bag, depth)
        elif way < 16 and depth < 3:
            task = self.spawn(self.some(bag, r.randrange(4)), depth)
            if r.random() < 0.5:
                bag.append(task if r.random() < 0.7 else Holder(task))
        elif way == 16 and bag:
            bag.append(self.hide(r.choice(bag)))
        elif way == 17 and bag:
            found = self.hang_up(thing)
            if found is not None:
                bag.append(found)
        elif way == 18:
            bag.append(self.thing())
        elif way == 19 and GLOBALS:
            poke(GLOBALS[r.choice(sorted(GLOBALS))])
        elif way == 20:
            with contextlib.suppress(KeyError):
                poke(WEAK[r.randrange(11)])
        elif way == 21:
            poke(VARIABLE.get(None))
        elif depth < 3:
            await self.nested(way, bag, depth)

    async def nested(self, way, bag, depth):
        r = self.random
        subs = [self.some(bag, r.randrange(3)) for _ in range(2)]
        if way == 22:
            await asyncio.gather(*(self.run(b, depth + 1) for b in subs), return_exceptions=r.random() < 0.5)
        elif way == 23:
            with contextlib.suppress(BaseExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    for b in subs:
                        group.create_task(self.run(b, depth + 1))
                    await self.step(bag, depth)
        elif way == 24:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(r.choice([1, 3, 50])):
                    await self.run(subs[0], depth + 1)
        elif way == 25:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.run(subs[0], depth + 1), r.choice([2, 20, None]))
        elif way == 26:
            await asyncio.shield(self.run(subs[0], depth + 1))
        elif way == 27:
            tasks = [self.spawn(b, depth) for b in subs]
            await asyncio.wait(
                tasks, timeout=r.choice([2, None]), return_when=r.choice(["ALL_COMPLETED", "FIRST_COMPLETED"])
            )
        elif way == 28:
            async with contextlib.aclosing(self.numbers(subs[0])) as numbers:
                async for _ in numbers:
                    break
        elif self.anyio is not None:
            await self.through_anyio(subs, depth)

    async def numbers(self, bag):
        for number in range(2):
            await self.step(bag, 3)
            yield number

    async def through_anyio(self, subs, depth):
        anyio, r = self.anyio, self.random
        way = r.randrange(3)
        if way == 0:
            with contextlib.suppress(BaseExceptionGroup):
                async with anyio.create_task_group() as group:
                    for b in subs:
                        group.start_soon(self.run, b, depth + 1)
                    if r.random() < 0.3:
                        group.cancel_scope.cancel()
        elif way == 1:
            with anyio.move_on_after(r.choice([1, 4])):
                await self.run(subs[0], depth + 1)
        else:
            send, receive = anyio.create_memory_object_stream(r.randrange(2))
            task = self.spawn([*subs[0], functools.partial(self.quietly, send)], depth)
            del send
            with anyio.move_on_after(r.choice([3, float("inf")])), contextlib.suppress(anyio.EndOfStream):
                await receive.receive()
            del task

    def quietly(self, send):
        with contextlib.suppress(Exception):
            send.send_nowait(1)

    async def wait_for_it(self, thing, bag, depth):
        r = self.random
        if isinstance(thing, asyncio.Event):
            await thing.wait()
            if r.random() < 0.5:
                thing.clear()
        elif isinstance(thing, asyncio.Queue):
            await (thing.get() if r.random() < 0.7 else thing.put(1))
        elif isinstance(thing, asyncio.Lock):
            if r.random() < 0.2:
                await thing.acquire()  # by hand; perhaps released by another
            else:
                async with thing:
                    await self.step(bag, depth)
        elif isinstance(thing, asyncio.Condition):
            async with thing:
                if r.random() < 0.5:
                    thing.notify_all()
                else:
                    await thing.wait()
        elif isinstance(thing, asyncio.Semaphore):
            async with thing:
                await asyncio.sleep(r.randrange(3))
        elif isinstance(thing, asyncio.Future) and thing is not asyncio.current_task():
            with contextlib.suppress(ValueError, asyncio.InvalidStateError):
                await thing

    async def beat(self, bag):
        """Something that goes on for ever, and uses what it has now and then."""
        while True:
            await asyncio.sleep(self.random.randrange(1, 6))
            if bag and self.random.random() < 0.2:
                thing = self.find(bag.pop())
                if isinstance(thing, asyncio.Lock):
                    if thing.locked():
                        thing.release()
                else:
                    poke(thing)

    # -- rescues -----------------------------------------------------------------------------------------------

    def rescue(self):
        """Let a task wait for something that only one odd way leads to, which is gone in a while."""
        r = self.random
        key = self.made = self.made + 1
        loop = asyncio.get_running_loop()
        way = r.choice(RESCUES)
        delay = r.choice([3, 5, 9, 20])
        event = asyncio.Event()
        loop.create_task(event.wait(), name=f"waiter {way.__name__} {key}")
        later = way(self, event, key)
        del event
        if later is not None:
            loop.create_task(after(delay, later), name=f"rescuer {key}")

    def doom(self):
        """Let a task wait for what is lost, and something else cancel it in a while."""
        r = self.random
        way = r.choice([timed_gather, timed_group, timed_body, timed_wait_for, timed_task, timed_stack, cancel_later])
        task = asyncio.get_running_loop().create_task(way(r.choice([4, 9, 20])), name=f"doomed {way.__name__}")
        if way is cancel_later:
            return
        del task

    async def main(self):
        r = self.random
        GLOBALS.clear()
        for _ in range(r.randrange(3)):
            self.rescue()
        for _ in range(r.randrange(2)):
            self.doom()
        bag = self.bag(r.randrange(3, 9))
        for _ in range(r.randrange(2, 7)):
            task = self.spawn(self.some(bag, r.randrange(1, 4)), 1)
            if r.random() < 0.3:
                bag.append(task)
        del task
        beat = asyncio.create_task(self.beat(self.some(bag, r.randrange(3))), name="beat")
        keep = self.some(bag, r.randrange(3))
        bag = None
        if r.random() < 0.5:
            await self.run(keep, 1)
        else:
            await self.step(keep, 1)
        keep = None
        for _ in range(r.randrange(3)):
            self.rescue()
        await asyncio.sleep(r.choice([5, 40]))
        return beat


async def after(delay, later):
    await asyncio.sleep(delay)
    later()


def by_global(program, event, key):
    GLOBALS[f"kept {key}"] = event
    return lambda: GLOBALS.pop(f"kept {key}").set()


def by_weak_dict(program, event, key):
    WEAK[f"kept {key}"] = event
    return lambda: WEAK[f"kept {key}"].set()


def by_weakref(program, event, key):
    reference = weakref.ref(event)
    return lambda: reference().set()


def by_proxy(program, event, key):
    proxy = weakref.proxy(event)
    return lambda: proxy.set()


def by_weak_method(program, event, key):
    method = weakref.WeakMethod(event.set)
    return lambda: method()()


def by_weak_set(program, event, key):
    things = weakref.WeakSet([event])
    return lambda: [thing.set() for thing in things]


def by_context(program, event, key):
    context = contextvars.copy_context()
    context.run(VARIABLE.set, event)
    return lambda: context[VARIABLE].set()


def by_traceback(program, event, key):
    def fail(kept):
        raise KeyError(len(str(kept)))

    try:
        fail(event)
    except KeyError as error:
        caught = error.with_traceback(error.__traceback__.tb_next)
    return lambda: caught.__traceback__.tb_frame.f_locals["kept"].set()


def by_generator(program, event, key):
    def generate(kept):
        yield
        kept.set()

    generator = generate(event)
    next(generator)
    return lambda: next(generator, None)


def by_iterator(program, event, key):
    things = map(asyncio.Event.set, iter([event]))
    return lambda: next(things)


def by_cache(program, event, key):
    @functools.lru_cache
    def cached(number):
        return event if number else None

    cached(1)
    return lambda: cached(1).set()


def by_class(program, event, key):
    kind = type("Registry", (), {"event": event})
    return lambda: kind.event.set()


def by_loop(program, event, key):
    loop = asyncio.get_running_loop()
    loop.__dict__.setdefault("registry", {})[key] = event
    return lambda: loop.registry.pop(key).set()


def by_timer(program, event, key):
    asyncio.get_running_loop().call_later(6, event.set)


def by_future(program, event, key):
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: event.set())
    return lambda: future.set_result(1)


def by_gather(program, event, key):
    future = asyncio.get_running_loop().create_future()

    async def both(future, event):
        await asyncio.gather(future, asyncio.sleep(1))
        event.set()

    asyncio.create_task(both(future, event))
    return lambda: future.set_result(1)


def by_shield(program, event, key):
    inner = asyncio.create_task(asyncio.sleep(4))

    async def wait(inner, event):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(inner)
        event.set()

    asyncio.create_task(wait(inner, event))


def by_lock(program, event, key):
    """Who gets the lock sets it."""
    lock = GLOBALS[f"lock {key}"] = asyncio.Lock()
    wanted = asyncio.Event()

    async def hold(lock, wanted):
        async with lock:
            await wanted.wait()

    async def then(lock, event):
        async with lock:
            event.set()

    asyncio.create_task(hold(lock, wanted))
    asyncio.get_running_loop().call_later(1, lambda: asyncio.create_task(then(lock, event)))
    return wanted.set


def by_async_generator(program, event, key):
    async def generate(event):
        yield 1
        event.set()

    async def iterate(event):
        async for _ in generate(event):
            await asyncio.sleep(4)

    asyncio.create_task(iterate(event))


def by_end_of_task(program, event, key):
    task = asyncio.create_task(asyncio.sleep(4))
    task.add_done_callback(lambda _: event.set())


def by_frame_of_a_plain_function(program, event, key):
    thing = Holder(event)
    return thing.use


def by_executor(program, event, key):
    loop = asyncio.get_running_loop()
    return lambda event=event: loop.run_in_executor(None, loop.call_soon_threadsafe, event.set)


RESCUES = [value for name, value in sorted(vars().items()) if name.startswith("by_")]


def lost():
    return asyncio.Event().wait()


async def timed_gather(delay):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await asyncio.gather(lost(), lost())


async def timed_group(delay):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay), asyncio.TaskGroup() as group:
            group.create_task(lost())


async def timed_body(delay):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay), asyncio.TaskGroup() as group:
            group.create_task(lost())
            del group
            await lost()


async def timed_wait_for(delay):
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(lost(), lost()), delay)


async def timed_task(delay):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await asyncio.create_task(lost())


async def timed_stack(delay):
    with contextlib.suppress(TimeoutError):
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(delay))
            (await stack.enter_async_context(asyncio.TaskGroup())).create_task(lost())
            await lost()


async def cancel_later(delay):
    asyncio.get_running_loop().call_later(delay, asyncio.current_task().cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.create_task(lost())
