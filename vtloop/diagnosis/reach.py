"""Who could still wake it: for each pending task, whether anything alive can bring about what it waits for.

Called by `vtloop.stuck` when a verdict may be due, and on demand.  The method is that of a garbage collector, as Go
1.27 looks for leaked goroutines: what stands ready, the timers and whatever is held from outside (`heap`) are alive;
what they refer to can be used by them; a future that can be used can be completed, which makes its waiters alive.
asyncio asks for rules that Go does not need: who holds a *task* can only cancel it, a timeout is a cancel to come, and
of a lock only its holder matters.  Where something cannot be known, the task counts as alive.  It must never run any
code of the program.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain, compress
from types import BuiltinMethodType, FrameType, MethodType
from typing import Any

from vtloop import cpython_heap
from vtloop.cpython import STEP, WAKEUP_NAME, python_task_step
from vtloop.cpython_waits import condition_lock, frame_locals, future_waited_for, gather_children, group_children
from vtloop.diagnosis import certain
from vtloop.diagnosis.certain import blocked_tasks, callbacks, others_of_the_loop
from vtloop.diagnosis.heap import Heap, frames_below, is_mute, key_of, young_objects
from vtloop.diagnosis.locks_held import locks_held, releases
from vtloop.handles import Handle
from vtloop.ready import task_of

__all__ = ["Reach", "reach"]

_C_TASK: type = asyncio.Task


@dataclass(frozen=True, slots=True)
class Reach:
    """For each pending task of a loop, who could still wake it.

    Attributes:
        live: Tasks that something alive could wake, in order of creation.
        cancel: Tasks that could only be cancelled: something alive refers to the task, nothing to what it waits for.
        stuck: Tasks that nothing alive can wake or cancel.
        used: What is alive, for whoever wants to know what it could do; empty when nothing is stuck.
        codes: The code of the coroutines that are alive.
        locks: Locks whose waiters count as blocked because their holder is, though something alive refers to them.
    """

    live: tuple[asyncio.Task[Any], ...]
    cancel: tuple[asyncio.Task[Any], ...] = ()
    stuck: tuple[asyncio.Task[Any], ...] = ()
    used: tuple[Any, ...] = field(default=(), repr=False)
    locks: int = 0

    def of(self, task: asyncio.Task[Any]) -> str:
        """``"live"``, ``"cancel"`` or ``"stuck"``."""
        if any(task is one for one in self.stuck):
            return "stuck"
        return "cancel" if any(task is one for one in self.cancel) else "live"


def reach(loop: Any, *, roots: Iterable[Any] = (), trust_holders: bool = True, collect: bool = True) -> Reach:
    """Who could still wake the pending tasks of ``loop``, as of now.

    Costs about 20 us a task that is waiting and half a microsecond for every object made since the run began.

    Args:
        loop: A loop of ours, running or not; its own thread must be the caller.
        roots: Objects that count as alive besides, such as the frame of a main task that has ended.
        trust_holders: Whether a lock that a known task holds counts as released by that task alone.
        collect: Whether garbage is collected first: its finalizers may do anything, at a step where they otherwise
            would not.
    """
    if not blocked_tasks(loop) or not cpython_heap.COUNTS_ARE_TRUE or loop._counting() or certain.at_work(loop):
        return Reach(live=tuple(loop._tasks.pending()))
    loop._tasks.sweep(cancelled=False) if collect else None  # the end of a done task may wake somebody
    young = young_objects(loop._old, collect)
    frames = frames_below(sys._getframe(1))
    marking = _Marking(loop, young, frames, trust_holders)
    pending, blocked, *_ = marking.own
    marking.begin(roots)
    marking.run()
    if not marking.live.keys() >= marking.blocked.keys():
        marking.use_what_is_held()
        marking.run()
    live = set(marking.live)
    free = set(map(key_of, pending)) - {key_of(task) for task in blocked}
    if live.issuperset(marking.blocked):
        vars(marking).clear()  # it goes round in circles, and would keep alive what it has seen
        return Reach(live=pending)
    used = tuple(marking.reached.values())
    marking.cancel_all()
    first = [task for task in pending if key_of(task) in live or key_of(task) in free]
    second = [task for task in blocked if key_of(task) in marking.live and key_of(task) not in live]
    third = [task for task in blocked if key_of(task) not in marking.live]
    shut = len(marking.kept_shut)
    vars(marking).clear()  # it goes round in circles, and collections are rare
    return Reach(tuple(first), tuple(second), tuple(third), used, shut)


class _Marking:
    """One marking of what is alive."""

    def __init__(self, loop: Any, young: list[Any], frames: list[FrameType], trust: bool) -> None:
        self.loop = loop
        pending, blocked = tuple(loop._tasks.pending()), blocked_tasks(loop)
        self.blocked = {key_of(task): task for task in blocked}
        self.chains = {key_of(task): cpython_heap.chain_of(task) for task in blocked}
        # The coroutines of a task that waits do nothing until it is woken: who refers to one cannot use it.
        self.bodies = {key_of(part): key for key, parts in self.chains.items() for part in parts}
        self.locks, self.holder = locks_held(self.chains) if trust else ([], {})
        self.on_stack = set(map(key_of, frames))
        internals = map(cpython_heap.lock_internals, self.locks)
        self.heap = Heap(young, loop, certain.waiting_frames(loop, frames))
        self.objects = self.heap.objects
        older = [task for task in blocked if key_of(task) not in self.objects]
        wakeups = map(cpython_heap.wakeups_of, map(future_waited_for, older), older)
        several = chain.from_iterable([*self.chains.values(), *internals, *wakeups])
        self.heap.add(chain(blocked, map(future_waited_for, blocked), several))
        self.own: list[Any] = [pending, blocked, older, self.blocked, self.chains, self.locks, *self.chains.values()]
        self.live: dict[int, asyncio.Task[Any]] = {}  # can run again
        self.cancelled: set[int] = set()  # can be cancelled by something that is certain to run
        self.known: dict[int, asyncio.Task[Any]] = {}  # can be cancelled by whoever wants to
        self.reached: dict[int, Any] = {}
        self.held: dict[int | None, list[Any]] = {}  # the locks of each holder
        for lock in self.locks:
            self.held.setdefault(self.holder.get(key_of(lock)), []).append(lock)
        self.kept_shut: set[int] = set()  # locks that something alive refers to, whose holder is not alive
        self.todo: list[Any] = []
        self.unreached = set(self.objects)  # but for a few
        self.proxies: dict[int, int] | None = None
        self.special = self._find_special()
        self.last_words = self._find_last_words()
        self.own += [self.live, self.known, self.held, self.last_words, *self.held.values()]

    def _find_special(self) -> dict[int, Callable[[Any], None]]:
        """What is done with each object that is not simply followed, by identity."""
        special: dict[int, Callable[[Any], None]] = {}
        rules = {kind: rule for kind in set(self.heap.kinds) if (rule := self._rule(kind)) is not None}
        for thing in self.heap.of_kinds(rules):
            special[key_of(thing)] = rules[type(thing)]
        special |= dict.fromkeys(self.bodies, _ignore)
        special |= dict.fromkeys(self.blocked, self._know)
        special |= dict.fromkeys(self.holder, self._use_lock)
        special |= dict.fromkeys(map(key_of, releases(self.heap, self.holder)), self._use_release)
        special |= dict.fromkeys(self.heap.hidden, _ignore)
        special |= dict.fromkeys(self.heap.mute, _ignore)
        special |= dict.fromkeys(self.on_stack, _ignore)
        return special

    def _find_last_words(self) -> dict[int, Any]:
        """The weak references whose callback does something when what they refer to dies, by identity."""
        kinds = {kind for kind in set(self.heap.kinds) if issubclass(kind, weakref.ref) and not is_mute(kind)}
        found = {key_of(ref): ref for ref in self.heap.of_kinds(kinds) if certain.callback_of(ref) is not None}
        return {key: ref for key, ref in found.items() if key not in self.heap.hidden}

    def _rule(self, kind: type) -> Callable[[Any], None] | None:
        if kind is BuiltinMethodType or kind is STEP:
            return self._use_step
        if kind is MethodType and not all(issubclass(type(task), _C_TASK) for task in self.blocked.values()):
            return self._use_step
        if issubclass(kind, weakref.ref):
            return _ignore if is_mute(kind) else self._use_weakref
        if issubclass(kind, weakref.ProxyTypes):
            return self._use_proxy
        if issubclass(kind, asyncio.Timeout):
            return self._use_timeout
        return self._use_frame if kind is FrameType else None

    # -- where it begins ----------------------------------------------------------------------------------------

    def begin(self, roots: Iterable[Any]) -> None:
        """Take what is certain to run as alive."""
        for context, callback, args in callbacks(self.loop):
            self._will_run(callback, args, context)
        self._follow([task for task in self.loop._tasks.pending() if key_of(task) not in self.blocked])
        self._follow(others_of_the_loop(self.loop))
        self._follow(certain.of_other_loops(self.heap.loops))
        for thing in roots:
            self._use_root(thing)
        for thing in self.heap.strange:
            self._use(thing)
        self._use_old_weakrefs()

    def use_what_is_held(self) -> None:
        """Take what is held from outside as alive."""
        for thing in self.heap.held(self.reached.keys(), self.own):
            self._use(thing)

    def _use_old_weakrefs(self) -> None:
        """Weak references that are not looked at count as alive, as all that is not looked at."""
        for parts in [[task, future_waited_for(task), *self.chains[key]] for key, task in self.blocked.items()]:
            for thing in parts:
                for reference in weakref.getweakrefs(thing) if weakref.getweakrefcount(thing) else ():
                    key = key_of(reference)
                    if not (key in self.objects or key in self.heap.hidden or is_mute(type(reference))):
                        self._use(thing)

    def _will_run(self, callback: Any, args: Any, context: Any) -> None:
        """A callback is certain to be called: what it refers to directly will be acted on."""
        task = task_of(callback)
        if task is not None:
            self._revive(task)
            return
        self._use(context)
        handle = getattr(callback, "__self__", None)
        if isinstance(handle, Handle):
            if handle._callback is None:
                return
            callback, args = handle._callback, handle._args or ()
            self._follow([handle])
        self._follow([callback, *args])
        for thing in certain.directly(callback, args):
            self._will_act_on(thing)

    def _will_act_on(self, thing: Any) -> None:
        if key_of(thing) in self.blocked:
            self._cancel(self.blocked[key_of(thing)])
        timed = cpython_heap.timed_task(thing)
        for task in [*([timed] if timed is not None else ()), *cpython_heap.scope_tasks(thing)]:
            self._cancel(task)

    # -- how it goes on -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Follow what is alive until nothing new comes."""
        self._follow_up()
        while self._use_last_words():
            self._follow_up()

    def _use_last_words(self) -> bool:
        """What is alive may die some day, and then the callbacks of its weak references are called."""
        fresh = {key: ref for key, ref in self.last_words.items() if self._is_alive(weakref.ref.__call__(ref))}
        for key, ref in fresh.items():
            del self.last_words[key]
            self._follow([certain.callback_of(ref)])
        return bool(fresh)

    def _is_alive(self, thing: Any) -> bool:
        key, known = key_of(thing), self.objects
        return thing is not None and key not in self.heap.mute and (key in self.reached or key not in known)

    def _follow_up(self) -> None:
        reached, special = self.reached, self.special
        while self.todo:
            frontier, self.todo = self.todo, []
            referents = list(filter(gc.is_tracked, gc.get_referents(*frontier)))
            here = list(map(key_of, referents))
            # Hot: most of them are old, or reached already: classes, functions, the loop.
            fresh = list(map(self.unreached.__contains__, here))
            found = dict(zip(compress(here, fresh), compress(referents, fresh), strict=True))
            keys = {key for key in found if key not in reached}
            odd = keys & special.keys()
            keys -= odd
            self.unreached -= keys
            self.todo += map(found.__getitem__, keys)
            reached.update(zip(keys, self.todo, strict=True))
            for key in odd:
                special[key](found[key])

    def cancel_all(self) -> None:
        """Take every task that something alive could cancel as alive, and follow that to its end."""
        while True:
            fresh = [task for key, task in self.known.items() if key not in self.cancelled]
            if not fresh:
                return
            for task in fresh:
                self._cancel(task)
            self.run()

    def _use(self, thing: Any) -> None:
        """Something alive refers to ``thing``."""
        key = key_of(thing)
        if key in self.objects:
            rule = self.special.get(key)
            if rule is not None:
                rule(thing)
            elif key not in self.reached:
                self.reached[key] = thing
                self.todo.append(thing)

    def _follow(self, things: Iterable[Any]) -> None:
        """Enter these, whatever they are."""
        for thing in things:
            if key_of(thing) not in self.special:
                if key_of(thing) not in self.reached and gc.is_tracked(thing) and not isinstance(thing, type(sys)):
                    self.reached[key_of(thing)] = thing
                    self.todo.append(thing)
            else:
                self._use(thing)

    def _use_root(self, thing: Any) -> None:
        for inner in gc.get_referents(thing) if isinstance(thing, FrameType) else [thing]:
            if not isinstance(inner, FrameType):
                self._use(inner)

    def _know(self, task: asyncio.Task[Any]) -> None:
        self.known[key_of(task)] = task

    def _revive(self, task: Any) -> None:
        """``task`` can run again."""
        key = key_of(task)
        if key in self.live or key not in self.blocked:
            self._pass(task)
            return
        self.live[key] = self.known[key] = task
        state = cpython_heap.state_of(task)
        for thing in [task, *self.chains[key], *([state] if state is not None else ())]:
            self.reached[key_of(thing)] = thing
            self.todo.append(thing)
        for inner in cpython_heap.wrapped_by_wait_for(self.chains[key]):
            if key_of(inner) in self.blocked:
                self._cancel(inner)
        for lock in self.held.get(key, ()):
            if key_of(lock) in self.kept_shut:
                self._open(lock)

    def _cancel(self, task: Any) -> None:
        """``task`` can be cancelled, and what it waits for with it."""
        stack = [task]
        while stack:
            task = stack.pop()
            key = key_of(task)
            if key not in self.blocked or key in self.cancelled:
                self._use(task)
                continue
            self.cancelled.add(key)
            self._revive(task)
            future = future_waited_for(task)
            if key_of(future) in self.blocked:
                stack.append(future)
            else:
                self._use(future)
                stack += gather_children(future) or ()
            for inside in cpython_heap.exits_of(self.chains[key]):
                stack += group_children(inside)
                stack += cpython_heap.scope_tasks(getattr(inside, "cancel_scope", inside))

    # -- rules --------------------------------------------------------------------------------------------------

    def _use_step(self, callback: Any) -> None:
        """What steps a task: whoever can call it can wake the task."""
        owner = getattr(callback, "__self__", None)
        if key_of(owner) in self.blocked and (
            type(callback) is STEP or callback.__name__ == WAKEUP_NAME or python_task_step(callback) is not None
        ):
            self._revive(owner)
            return
        self._pass(callback)

    def _pass(self, thing: Any) -> None:
        if key_of(thing) not in self.reached:
            self.reached[key_of(thing)] = thing
            self.todo.append(thing)

    def _use_weakref(self, reference: Any) -> None:
        self._pass(reference)
        self._use(weakref.ref.__call__(reference))

    def _use_proxy(self, proxy: Any) -> None:
        if self.proxies is None:
            things = self.objects.items()
            self.proxies = {key_of(ref): key for key, thing in things for ref in weakref.getweakrefs(thing)}
        self._pass(proxy)
        self._use(self.objects.get(self.proxies.get(key_of(proxy), 0)))

    def _use_timeout(self, timeout: Any) -> None:
        self._pass(timeout)
        task = cpython_heap.timed_task(timeout)
        if key_of(task) in self.blocked:
            self._cancel(task)

    def _use_frame(self, frame: FrameType) -> None:
        """A frame in a traceback: its variables; those of one that still runs or waits cannot be used from outside."""
        self._pass(frame)
        for value in frame_locals(frame).values() if frame.f_code.co_flags & 1 else ():
            self._use(value)

    def _use_lock(self, lock: Any) -> None:
        if self.holder[key_of(lock)] in self.live:
            self._open(lock)
        else:
            self.kept_shut.add(key_of(lock))

    def _use_release(self, method: Any) -> None:
        self._pass(method)
        self._open(condition_lock(method.__self__))

    def _open(self, lock: Any) -> None:
        self.kept_shut.discard(key_of(lock))
        self._pass(lock)


def _ignore(thing: Any) -> None:
    pass
