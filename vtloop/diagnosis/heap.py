"""Who is held from outside: trial deletion over the young heap, as CPython's own collector does it.

Called by `reach` only.  Of the objects made since the run began, it tells those that something older, a module, C code
or another thread holds: whose references are not all explained by one another.  Which objects are looked at does not
matter for the truth of the answer: whatever is left out counts as holding what it holds.  It must never pass a module
to `gc.get_referents` (gh-122695), and never explain a reference that it has not seen.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import weakref
from collections import Counter, deque
from collections.abc import Collection, Container, Iterable, Iterator
from contextlib import suppress
from itertools import chain, compress, filterfalse, repeat
from operator import sub
from types import CodeType, FrameType, FunctionType, GeneratorType, MemberDescriptorType, ModuleType
from typing import Any

from sortedcontainers import SortedList

from vtloop import cpython_heap
from vtloop.collector import heap_is_frozen
from vtloop.cpython_waits import frame_locals, identity
from vtloop.state import LoopState

__all__ = ["Heap", "frames_below", "is_mute", "is_runners", "key_of", "old_objects", "young_objects"]

key_of = identity

_CONTAINERS = (list, dict, deque, set, tuple)
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ASYNCIO = os.path.dirname(asyncio.__file__)
# Not imported for its folder: that takes longer than all of ours.
_RUNNERS = (_OWN, _ASYNCIO + os.sep, os.path.join(os.path.dirname(_ASYNCIO), "unittest") + os.sep)
_RUNNER_PACKAGES = ("anyio", "pytest_asyncio", "_pytest", "pluggy")
_OPTIMIZED = 0x1
"""CO_OPTIMIZED: the code of a function, whose locals are no namespace of anybody else."""

_HANDED_OUT = (
    *("api", "choices", "errors", "exploration", "explore", "finding", "handles", "pytest_item", "stuck", "trace"),
    "warned",
)
"""The modules whose objects a program is handed, and can keep things in."""


def is_runners(code: CodeType) -> bool:
    """Whether the code is vtloop's, asyncio's, or that of what runs tests: it only keeps what it runs."""
    file = code.co_filename
    if file.startswith(_RUNNERS):
        return True
    folder = f"{os.sep}site-packages{os.sep}"
    return file.partition(folder)[2].partition(os.sep)[0] in _RUNNER_PACKAGES


def is_mute(kind: type) -> bool:
    """Whether objects of this class only keep what they refer to: the loop, and what else a run is made of."""
    module = kind.__module__
    if type(module) is not str:
        return False
    package, _, name = module.partition(".")
    if package == "vtloop":
        return name not in _HANDED_OUT and not issubclass(kind, (asyncio.Future, BaseException))
    return kind is cpython_heap.test_runner()


def frames_below(frame: FrameType | None) -> list[FrameType]:
    """``frame`` and its callers, innermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def young_objects(old: set[int] | None, collect: bool = True) -> list[Any]:
    """The objects made since the run began: those that are young, and but for the `old` ones those that were."""
    if collect:
        gc.collect(0)  # it takes tuples and dicts of plain values off its list; and what is garbage holds nothing
    alone = len(sys._current_frames()) == 1
    if heap_is_frozen():
        found = _objects_of(None, alone)
    else:
        found = _objects_of(0, alone) + _objects_of(1, alone)
        if old is not None:
            found += [thing for thing in _objects_of(2, alone) if key_of(thing) not in old]
    modules = {kind for kind in set(map(type, found)) if issubclass(kind, ModuleType)}
    if modules:
        found = [thing for thing in found if type(thing) not in modules]
    if not alone:
        _add_tuples(found)
    return found


def _objects_of(generation: int | None, alone: bool) -> list[Any]:
    """The objects of a generation; beside other threads without the tuples, for one of them may be half made.

    CPython: who fills a tuple must hold the only reference to it, else it gets a ``SystemError``.  All is done in one
    call into C, in which no other thread can run.
    """
    if alone:
        return gc.get_objects(generation)
    found = list(filterfalse(_IS_TUPLE, chain.from_iterable(map(gc.get_objects, (generation,)))))
    # It has found itself: a circle that would keep all of them alive.
    others = [thing for thing in found if thing is not found]
    found.clear()
    return others


_IS_TUPLE = type.__instancecheck__.__get__(tuple)


def _add_tuples(found: list[Any]) -> None:
    """Add the tuples that the objects refer to, and so on: nothing refers to one that is half made."""
    seen: dict[int, Any] = {}
    frontier = found
    while frontier:
        tuples = filter(_IS_TUPLE, filter(gc.is_tracked, gc.get_referents(*frontier)))
        fresh = {key: thing for thing in tuples if (key := key_of(thing)) not in seen}
        seen |= fresh
        frontier = list(fresh.values())
    found += seen.values()


def old_objects() -> set[int]:
    """The identities of what was there before the run, to be taken before a full collection makes everything old."""
    # One call into C: see `_objects_of`.
    return set() if heap_is_frozen() else set(map(key_of, chain.from_iterable(map(gc.get_objects, (2,)))))


class Heap:
    """The young objects, and which of them are held from outside.

    Args:
        young: `young_objects`, taken before anything that refers to them was made; it is emptied.
        loop: The loop.
        frames: Frames that wait for the loop to return, whose variables hold nothing.

    Attributes:
        objects: By identity.
        mute: The identities of those that hold nothing: the loop, and what else of vtloop a run is made of.
        loops: Other loops of ours.
        strange: What the program has hung onto the loop itself.
        hidden: The identities of weak references that only look things up.
        kinds: The class of each object; until `held` is asked.
    """

    def __init__(self, young: list[Any], loop: Any, frames: list[FrameType]) -> None:
        self._frames = frames
        self._more: dict[int, Any] = {}
        self.objects = dict(zip(map(key_of, young), young, strict=True))
        self.kinds = list(map(type, young))
        young.clear()
        kinds = {kind for kind in set(self.kinds) if issubclass(kind, LoopState)}
        self.loops = [other for other in self.of_kinds(kinds) if other is not loop]
        self.strange = _strange(loop)
        self.add(_old_parts([loop, vars(loop), *_mute_values(frames)], self.objects, set(map(key_of, self.strange))))
        mute = self.of_kinds({kind for kind in set(self.kinds) if is_mute(kind)})
        self.mute = {key_of(loop), *map(key_of, mute)}
        self.mute |= {key_of(g) for g in self.of_kinds({GeneratorType}) if g.gi_code.co_filename.startswith(_OWN)}
        registries = cpython_heap.strong_registries()
        self.hidden = set(map(key_of, cpython_heap.weak_registry()))
        # They are young when what has them was imported during the run.
        self.hidden |= {key_of(container) for container in [*registries, cpython_heap.states_of_tasks()]}
        for container in registries:
            if type(container) is dict:
                self.hidden |= {key_of(key) for key in container if isinstance(key, weakref.ref)}

    def add(self, things: Iterable[Any]) -> None:
        """Look at these as well, however old they are."""
        objects = self.objects
        more = {key: thing for thing in things if (key := key_of(thing)) not in objects}
        objects |= more
        self._more |= more
        self.kinds += map(type, more.values())

    def held(self, reached: Collection[int], own: list[Any]) -> list[Any]:
        """The objects, but for those ``reached`` already, that are held from outside; the rest counts as outside.

        Args:
            reached: The identities of objects that are known to be alive, and of all that they refer to.
            own: What the caller has made and refers to objects: it holds nothing.
        """
        self.kinds.clear()  # it refers to classes
        keys = list(self.objects.keys() - reached)
        objects = list(map(self.objects.__getitem__, keys))
        registries = cpython_heap.strong_registries()
        # Invariant: nothing is both an object and a source, for its references would be explained twice.
        sources = [self._more, self._frames, own, self.strange, registries, *own, *registries]
        sources = [source for source in sources if key_of(source) not in self.objects]
        held = _held(objects, keys, sources, _explained_by(self._frames))
        return list(map(self.objects.__getitem__, held))

    def of_kinds(self, kinds: Collection[type]) -> list[Any]:
        """The objects of these classes."""
        return list(compress(self.objects.values(), map(kinds.__contains__, self.kinds)))


def _old_parts(seeds: list[Any], young: Container[int], seen: set[int]) -> Iterator[Any]:
    """Those parts of the loop that were made before the run: their containers and bound methods too."""
    todo = list(seeds)
    while todo:
        thing = todo.pop()
        key = key_of(thing)
        if key in seen or key in young:
            continue
        seen.add(key)
        kind = type(thing)
        own_code = kind is FunctionType and thing.__code__.co_filename.startswith(_OWN)
        if kind in _CONTAINERS or kind is SortedList or is_mute(kind) or own_code:
            yield thing
            # What is not tracked, such as the numbers of a log, refers to nothing that is.
            todo += (thing.__closure__ or ()) if own_code else filter(gc.is_tracked, gc.get_referents(thing))


def _mute_values(frames: list[FrameType]) -> list[Any]:
    values = [value for frame in frames if _waits(frame) for value in frame_locals(frame, runners=True).values()]
    return [value for value in values if is_mute(type(value))]


def _strange(loop: Any) -> list[Any]:
    """The attributes of a loop that vtloop does not know, and methods that the program has put in the place of its."""
    kinds = [kind for kind in type(loop).__mro__ if kind.__module__.startswith("vtloop.")]
    ours = {name for kind in kinds for name in (*vars(kind), *vars(kind).get("__annotations__", ()))}
    methods = {name for kind in kinds for name, value in vars(kind).items() if type(value) is FunctionType}
    found = [v for name, v in vars(loop).items() if name not in ours or (name in methods and not _is_own(v))]
    for kind in type(loop).__mro__:
        for slot in vars(kind).values() if kind not in kinds else ():
            if type(slot) is MemberDescriptorType and kind.__module__ != "builtins":
                with suppress(AttributeError):
                    found.append(slot.__get__(loop))
    return list(filter(gc.is_tracked, found))


def _is_own(method: Any) -> bool:
    function = getattr(method, "__func__", method)
    return type(function) is FunctionType and function.__code__.co_filename.startswith(_OWN)


def _waits(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & _OPTIMIZED) and is_runners(frame.f_code)


def _explained_by(frames: list[FrameType]) -> Counter[int]:
    """How often the runners' frames on this thread's stack refer to what: once for each variable.

    Variables that closures share stand in cells, and are not counted.
    """
    known: Counter[int] = Counter()
    for frame in frames:
        if _waits(frame):
            code = frame.f_code
            shared = {*code.co_cellvars, *code.co_freevars}
            known.update([key_of(v) for name, v in frame_locals(frame, runners=True).items() if name not in shared])
    handler = cpython_heap.runner_handler()
    if handler is not None:
        known[key_of(handler)] += 1
    return known


def _held(objects: list[Any], keys: list[int], sources: list[Any], known: Counter[int]) -> set[int]:
    """The identities of those objects that more refers to than the objects themselves, the sources and ``known``.

    Each object stands in one dict besides, that of all objects.
    """
    alone = next(map(sys.getrefcount, [object()])) + 1
    # Hot: all of it runs in C; nothing may refer to an object while counts are taken that did not before.
    known.update(map(key_of, filter(gc.is_tracked, gc.get_referents(*objects))))
    known.update(map(key_of, filter(gc.is_tracked, gc.get_referents(sources, *sources))))
    counts = map(sys.getrefcount, objects)
    unexplained = map(sub, counts, map(known.get, keys, repeat(0)))
    return set(compress(keys, map(alone.__lt__, unexplained)))
