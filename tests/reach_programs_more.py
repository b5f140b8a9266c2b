"""Random programs for the fuzz of reachability, of another make: who can get at what is drawn first, as a graph.

Things to wait for are wrapped, one way inside another, in all that Python code and C code can keep an object in; each
wrapped thing is given to some of the tasks, to a timer, to a global, or to nobody.  A task's script waits and wakes by
turns, inside timeouts, groups, gathers, shields and locks.  `Program(seed).main` is a coroutine function.
"""

import asyncio
import contextlib
import contextvars
import functools
import itertools
import operator
import random
import sys
import types
import weakref
from collections import ChainMap, defaultdict, deque

from sortedcontainers import SortedDict, SortedList

KEPT = {}
SLOW = (0, 0, 0.5, 3, 40)
DEEP = 2


class Slotted:
    __slots__ = ("thing",)

    def __init__(self, thing):
        self.thing = thing

    def __call__(self):
        return self.thing


class Meta(type):
    def __call__(cls):
        return cls.thing


class Gone:
    """Its end wakes."""

    def __init__(self, get):
        self.get = get

    def __del__(self):
        wake(self.get())


def failing(get):
    raise KeyError(get())


def from_traceback(error):
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_locals["get"]()


def kept_error(get):
    try:
        failing(get)
    except KeyError as error:
        return functools.partial(from_traceback, error.with_traceback(error.__traceback__))


def forever(get):
    while True:
        yield get()


def by_class(get):
    return Meta("Made", (), {"thing": get()})


def by_context(get):
    variable = contextvars.ContextVar("thing")
    context = contextvars.copy_context()
    context.run(variable.set, get())
    return functools.partial(context.run, variable.get)


def by_text(get):
    names = {"thing": get()}
    exec("def found():\n    return thing\n", names)
    return names["found"]


def by_default(get):
    def found(thing=get()):
        return thing

    return found


def by_closure(get):
    thing = get()

    def found():
        return thing

    return found


def by_cache(get):
    @functools.lru_cache(maxsize=3)
    def found():
        return box.pop()

    box = [get()]
    found()
    return found


def by_mapping(get):
    return functools.partial(types.MappingProxyType(defaultdict(list, {1: get()})).__getitem__, 1)


def by_chain_map(get):
    return functools.partial(operator.itemgetter("a"), ChainMap({}, {"a": get()}))


WAYS = [
    Slotted,
    by_cache,
    by_chain_map,
    by_class,
    by_closure,
    by_context,
    by_default,
    by_mapping,
    by_text,
    kept_error,
    lambda get: functools.partial(get),
    lambda get: functools.partial(next, forever(get)),
    lambda get: functools.partial(next, itertools.cycle([get()])),
    lambda get: functools.partial(next, map(Slotted.__call__, itertools.repeat(Slotted(get())))),
    lambda get: functools.partial(next, itertools.tee(itertools.repeat(get()))[1]),
    lambda get: functools.partial(operator.attrgetter("thing"), types.SimpleNamespace(thing=get())),
    lambda get: functools.partial(operator.itemgetter(0), deque([get()])),
    lambda get: functools.partial(SortedDict({1: get()}).__getitem__, 1),
    lambda get: functools.partial(SortedList([get()], key=id).__getitem__, 0),
    lambda get: weakref.ref(get()) if weakref_able(get()) else get,
]


def weakref_able(thing):
    return getattr(type(thing), "__weakrefoffset__", 0) != 0 and not isinstance(thing, Slotted)


def opened(get):
    """What is inside, however deep; None when it is gone."""
    for _ in range(20):
        if isinstance(get, (Slotted, weakref.ref, functools.partial, types.FunctionType, Meta)) or hasattr(
            get, "cache_info"
        ):
            get = get()
        else:
            return get
    return None


def wake(get):
    """Do what frees those who wait for it."""
    thing = opened(get)
    if isinstance(thing, asyncio.Task):
        thing.cancel()
    elif isinstance(thing, asyncio.Future):
        if not thing.done():
            thing.set_result(1)
    elif isinstance(thing, asyncio.Event):
        thing.set()
    elif isinstance(thing, asyncio.Queue):
        thing.put_nowait(1)
    elif isinstance(thing, asyncio.Semaphore):
        thing.release()


async def wait_for(thing):
    if isinstance(thing, asyncio.Future):
        await thing
    elif isinstance(thing, asyncio.Event):
        await thing.wait()
        thing.clear()
    elif isinstance(thing, asyncio.Queue):
        await thing.get()
    elif isinstance(thing, asyncio.Semaphore):
        await thing.acquire()
    elif isinstance(thing, asyncio.Condition):
        async with thing:
            await thing.wait()


async def notified(thing):
    async with thing:
        thing.notify_all()


class Program:
    """One random program."""

    def __init__(self, seed, eager=False, anyio=None):
        self.dice = random.Random(f"more {seed}")
        self.eager = eager

    async def main(self):
        loop, dice = asyncio.get_running_loop(), self.dice
        if self.eager and sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        KEPT.clear()
        things = [self.thing() for _ in range(dice.randrange(3, 8))]
        bags = [[] for _ in range(dice.randrange(3, 7))]
        for thing in things:
            get = self.wrapped(thing)
            for bag in bags:
                if dice.random() < 0.3:
                    bag.append(get if dice.random() < 0.5 else self.wrapped(thing))
            self.gives_away(loop, get)
        waits = [dice.sample(things, dice.randrange(1, 3)) for _ in bags]
        locks = [asyncio.Lock() for _ in range(2)]
        mine = []
        for bag, waited in zip(bags, waits, strict=True):
            task = loop.create_task(self.actor(bag, waited, locks, dice.randrange(2, 6)))
            if dice.random() < 0.3:
                bags[0].append(self.wrapped(task))
            elif dice.random() < 0.2:
                mine.append(task)
        del things, bags, waits, locks, bag, waited, task, thing, get
        for _ in range(60):
            await asyncio.sleep(2)
            if mine and dice.random() < 0.05:
                mine.pop().cancel()
        KEPT.clear()

    def thing(self):
        dice, loop = self.dice, asyncio.get_running_loop()
        make = dice.choice(
            [loop.create_future, asyncio.Event, asyncio.Queue, asyncio.Condition, lambda: asyncio.Semaphore(0)]
        )
        return make()

    def wrapped(self, thing):
        get = Slotted(thing)
        for _ in range(self.dice.randrange(4)):
            get = self.dice.choice(WAYS)(get)
        return get

    def gives_away(self, loop, get):
        way = self.dice.random()
        if way < 0.1:
            loop.call_later(self.dice.choice(SLOW), wake, get)
        elif way < 0.15:
            loop.call_later(self.dice.choice(SLOW), KEPT.__setitem__, self.dice.random(), get)
        elif way < 0.25:
            KEPT[self.dice.random()] = get
        elif way < 0.3:
            loop.call_later(self.dice.choice(SLOW), [Gone(get)].clear)
        elif way < 0.35:
            loop.create_future().add_done_callback(lambda _: wake(get))

    async def actor(self, bag, waited, locks, steps):
        for _ in range(steps):
            with contextlib.suppress(Exception):
                await self.step(bag, waited, locks, DEEP)

    async def step(self, bag, waited, locks, depth):
        dice = self.dice
        act = dice.randrange(9 if depth else 4)
        if act == 0:
            await asyncio.sleep(dice.choice(SLOW))
        elif act == 1:
            await wait_for(dice.choice(waited))
        elif act == 2:
            await self.wakes(bag)
        elif act == 3:
            if len(waited) > 1 and dice.random() < 0.5:
                waited.pop()
            elif bag:
                bag.pop(dice.randrange(len(bag)))
        elif act == 4:
            async with locks[dice.randrange(2)]:
                await self.step(bag, waited, locks, depth - 1)
        elif act == 5:
            async with asyncio.timeout(dice.choice((None, 5, 30))):
                await self.step(bag, waited, locks, depth - 1)
        elif act == 6:
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(self.step(list(bag), list(waited), locks, depth - 1))
        elif act == 7:
            several = [self.step(list(bag), list(waited), locks, depth - 1) for _ in range(2)]
            await asyncio.gather(*several, return_exceptions=dice.random() < 0.5)
        else:
            inner = asyncio.ensure_future(self.step(bag, waited, locks, depth - 1))
            await dice.choice((asyncio.shield, functools.partial(asyncio.wait_for, timeout=dice.choice((None, 9)))))(
                inner
            )

    async def wakes(self, bag):
        """Wake by way of the task's own bag, or of the globals."""
        dice = self.dice
        found = [*bag, *KEPT.values()] if dice.random() < 0.3 else bag
        if found:
            get = dice.choice(found)
            thing = opened(get)
            if isinstance(thing, asyncio.Condition):
                await notified(thing)
            else:
                wake(get)
