"""Schedulers that search: what each keeps while it reorders, how often it does, and that it starves nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import groupby, pairwise, permutations
from typing import Any

import pytest
from task_orders import orders

import vtloop
from vtloop.options import resolve
from vtloop.schedulers import Scheduler, make_scheduler
from vtloop.schedulers.delay import DelayScheduler
from vtloop.schedulers.pct import PctScheduler
from vtloop.schedulers.pos import PosScheduler
from vtloop.schedulers.ranked import POWERS
from vtloop.schedulers.reversed import ReversedScheduler
from vtloop.schedulers.urw import UrwScheduler

NAMES = ("pct:depth=1", "pct:depth=3", "pos", "urw", "delay:bound=2", "reversed")
RANDOM = NAMES[:4]
SEEDS = range(200)
MARK = "mark"


class Plain:
    """Stands for a handle, whose bound method a plain callback is."""

    def fire(self) -> None: ...


class Line:
    """A ready line in small: actors by number, "mark", or any other word for a plain callback.

    The window is all that stands in it.  What was picked is kept as `ran`.
    """

    def __init__(self, scheduler: Scheduler, *actors: Any) -> None:
        self._loop = vtloop.EventLoop()
        self._futures = [self._loop.create_future() for _ in range(100)]
        self.scheduler = scheduler
        self.items: list[tuple[Any, ...]] = []
        self._names: list[Any] = []
        self.ran: list[Any] = []
        self._born = 0
        self.join(*actors)

    def join(self, *actors: Any) -> None:
        for actor in actors:
            if isinstance(actor, int):
                rule, callback = 0, self._futures[actor].result
            else:
                rule, callback = 1, None if actor == MARK else Plain().fire
            self.items.append((rule, self._born, None, callback, ()))
            self._names.append(actor)
            self._born += 1

    def step(self) -> Any:
        index = self.scheduler.pick(self.items, len(self.items)) if len(self.items) > 1 else 0
        self.items.pop(index)
        self.ran.append(self._names.pop(index))
        return self.ran[-1]

    def empty(self) -> list[Any]:
        """Run all that stands in it."""
        return [self.step() for _ in list(self.items)]

    def close(self) -> None:
        self._loop.close()


@pytest.fixture()
def line():
    made: list[Line] = []

    def make(scheduler: Scheduler, *actors: Any) -> Line:
        made.append(Line(scheduler, *actors))
        return made[-1]

    yield make
    for one in made:
        one.close()


def scheduler_of(name: str, seed: int) -> Scheduler:
    return make_scheduler(resolve(seed=seed, scheduler=name, interleave="tasks"))


def three_steps(scheduler: str, seed: int) -> str:
    """What three tasks with three steps each make of their order."""
    log: list[str] = []

    async def main() -> None:
        async def one(name: str) -> None:
            for _ in range(3):
                log.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(*map(one, "abc"))

    vtloop.run(main, scheduler=scheduler, interleave="tasks", seed=seed)
    return "".join(log)


# -- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_a_function_of_its_seed(name):
    found = [three_steps(name, seed) for seed in range(40)]
    assert found == [three_steps(name, seed) for seed in range(40)]
    assert len(set(found)) == 1 if name == "reversed" else len(set(found)) > 5


@pytest.mark.parametrize("name", RANDOM)
def test_every_order_of_three_tasks_comes_up(name):
    found = Counter(orders(name, seed=seed) for seed in SEEDS)
    assert set(found) == set(permutations(range(3)))
    assert min(found.values()) > 10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", ["wakeups", "tasks"])
def test_nobody_starves(name, level):
    """A task that others overtake by yielding, or by waking each other, runs in the end all the same."""

    async def main() -> None:
        turns = [asyncio.Semaphore(1) for _ in range(3)]

        async def restless(mine: asyncio.Semaphore, next_one: asyncio.Semaphore) -> None:
            while True:
                await mine.acquire()
                next_one.release()
                await asyncio.sleep(0)

        async def patient() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        pairs = zip(turns, turns[1:] + turns[:1], strict=True)
        others = [asyncio.create_task(restless(*pair)) for pair in pairs]
        await patient()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    for seed in range(15):
        vtloop.run(main, scheduler=name, seed=seed, interleave=level, max_steps=5_000)


@pytest.mark.parametrize("name", NAMES)
def test_timers_come_in_between_however_busy_the_line_is(name):
    async def main() -> float:
        loop = asyncio.get_running_loop()
        done = False

        def end() -> None:
            nonlocal done
            done = True

        async def busy() -> None:
            while not done:
                await asyncio.sleep(0)

        loop.call_later(0, end)
        await asyncio.gather(busy(), busy(), busy())
        return loop.time()

    for seed in range(15):
        assert vtloop.run(main, scheduler=name, seed=seed, interleave="tasks", max_steps=5_000) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_pick_is_in_the_window_even_when_it_is_wide(line, name):
    for seed in range(8):
        wide = line(scheduler_of(name, seed), *range(90), MARK)
        for number in range(300):
            wide.step()
            wide.join(number % 90)


@pytest.mark.parametrize("name", RANDOM)
def test_a_wide_window_is_taken_from_everywhere(line, name):
    picked = {line(scheduler_of(name, seed), *range(90)).step() for seed in SEEDS}
    assert len(picked) > 60
    assert min(picked) < 5 and max(picked) > 84


@pytest.mark.parametrize("name", RANDOM)
def test_items_that_ran_without_a_choice_leave_nothing_behind(line, name):
    for seed in range(20):
        alone = line(scheduler_of(name, seed), 0, 1, 2)
        alone.step()
        alone.items.clear()  # as a line does that gives its head away alone
        alone._names.clear()
        alone.join(3, 4)
        assert sorted(alone.empty()) == [3, 4]


# -- the share of the turn's end -------------------------------------------------------------------------------------


def held_back(name: str, turns: int) -> float:
    """In which share of runs a task's first step stays behind for that many turns of another task."""

    async def main() -> bool:
        begun = False

        async def late() -> None:
            nonlocal begun
            begun = True

        async def early() -> bool:
            for _ in range(turns):
                await asyncio.sleep(0)
            return not begun

        return (await asyncio.gather(early(), late()))[0]

    seeds = range(300)
    return sum(vtloop.run(main, scheduler=name, seed=seed, interleave="tasks") for seed in seeds) / len(seeds)


@pytest.mark.parametrize(
    ("name", "least"), [("pct:depth=1", 0.12), ("pct:depth=3", 0.10), ("pos", 0.05), ("urw", 0.015), ("delay", 0.02)]
)
def test_a_task_may_stand_back_for_ten_turns(name, least):
    assert held_back("random", 10) < 0.004
    assert held_back(name, 10) > least


@pytest.mark.parametrize("kind", [PctScheduler, PosScheduler])
def test_how_much_the_world_hurries_is_drawn_for_the_run(line, kind):
    """Of two items, a task's and the turn's end, the latter runs first in half of the picks or more."""
    shares: dict[int, list[float]] = {power: [] for power in POWERS}
    for seed in range(48):
        scheduler = kind(seed, "tasks")
        pair = line(scheduler)
        firsts = []
        for task in range(60):
            pair.join(task, MARK)
            firsts.append(pair.empty()[0] == MARK)
        shares[scheduler.power].append(sum(firsts) / len(firsts))
    means = [sum(shares[power]) / len(shares[power]) for power in POWERS]
    assert means == sorted(means)
    assert means == pytest.approx([1 - 1 / (power + 1) for power in POWERS], abs=0.06)


# -- pct -------------------------------------------------------------------------------------------------------------


def test_pct_keeps_one_ranking_of_tasks_for_the_whole_run(line):
    for seed in range(20):
        ranked = line(PctScheduler(seed, "tasks", depth=1), *range(8))
        first = ranked.empty()
        for _ in range(50):
            ranked.join(*range(8))
            assert ranked.empty() == first


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_pct_drops_a_task_behind_all_others_at_most_depth_minus_one_times(line, depth):
    most = 0
    for seed in range(40):
        six = line(PctScheduler(seed, "tasks", depth=depth), *range(6))
        for _ in range(1100):
            six.join(six.step())
        changes = sum(a != b for a, b in pairwise(six.ran))
        assert changes < depth
        assert len(set(six.ran)) == changes + 1, "a task that was dropped came back before the others"
        most = max(most, changes)
    assert most == min(depth - 1, 5)


def test_pct_gives_each_plain_callback_and_each_end_of_turn_a_rank_of_its_own(line):
    for world in (MARK, "callback"):
        shares = []
        for seed in range(50):
            pair = line(PctScheduler(seed, "tasks", depth=1))
            for _ in range(60):
                pair.join(0, world)
                pair.empty()
            shares.append(pair.ran[::2].count(0))
        # With one rank for all of the world every share would be 0 or 60.
        assert sum(0 < share < 60 for share in shares) > 35


# -- pos -------------------------------------------------------------------------------------------------------------


def test_pos_keeps_the_rank_of_a_step_until_it_has_run(line):
    """What of two waiting steps runs first is settled, however many others come and go meanwhile."""
    for seed in range(40):
        settled = line(PosScheduler(seed, "tasks"), 0, 1)
        scheduler = settled.scheduler
        order = [settled.step(), settled.step()]
        again = PosScheduler(seed, "tasks")
        crowded = line(again, 0, 1)
        assert scheduler is not again
        ran = []
        for other in range(2, 60):
            crowded.join(other)
            ran.append(crowded.step())
        rest = [actor for actor in [*ran, *crowded.empty()] if actor in (0, 1)]
        assert rest == order


def test_pos_draws_anew_for_the_next_step_of_a_task(line):
    """Neither of two tasks is always first, as with one rank a task; nor does it forget, as a random walk does."""
    longest = []
    for seed in range(20):
        pair = line(PosScheduler(seed, "tasks"), 0, 1)
        for _ in range(200):
            pair.join(pair.step())
        assert set(pair.ran) == {0, 1}
        longest.append(max(len(list(group)) for _, group in groupby(pair.ran)))
    assert sum(length > 50 for length in longest) > 15


# -- urw -------------------------------------------------------------------------------------------------------------


def test_urw_takes_equal_tasks_evenly_when_all_guesses_are_the_same(line, monkeypatch):
    monkeypatch.setattr("vtloop.schedulers.urw.BITS", (0,))
    four = line(UrwScheduler(1, "tasks"), *range(4))
    for _ in range(4000):
        four.join(four.step())
    count = Counter(four.ran)
    assert 850 < min(count.values()) and max(count.values()) < 1150
    again = Counter(pairwise(four.ran))
    assert 180 < min(again.values()) and max(again.values()) < 320, "who ran last says nothing of who runs next"


def test_urw_takes_tasks_in_proportion_to_what_they_have_left(line, monkeypatch):
    """With the true numbers of steps, 30 and 10, all places for the short task's last step are about equally likely."""
    last = []
    for seed in range(400):
        pair = line(UrwScheduler(seed, "tasks"), 0, 1)
        pair.scheduler._left = {pair._futures[0]: 30.0, pair._futures[1]: 10.0}
        left = {0: 29, 1: 9}
        while len(pair.items) > 1:
            actor = pair.step()
            if left[actor]:
                left[actor] -= 1
                pair.join(actor)
        pair.empty()
        last.append(max(at for at, actor in enumerate(pair.ran) if actor == 1))
    # Of 40 places for 10 steps the last is taken by one of them in a quarter of all orders; picked evenly: in none.
    assert 0.17 < sum(at == 39 for at in last) / len(last) < 0.33
    assert sum(last) / len(last) == pytest.approx(10 / 11 * 41 - 1, abs=0.5)


def test_urw_makes_some_tasks_much_slower_than_others(line):
    ratios = []
    for seed in SEEDS:
        pair = line(UrwScheduler(seed, "tasks"), 0, 1)
        for _ in range(20):
            pair.join(pair.step())
        ratios.append(pair.ran.count(0))
    assert sum(ratio <= 1 for ratio in ratios) > 4
    assert sum(ratio >= 19 for ratio in ratios) > 4
    assert sum(7 <= ratio <= 13 for ratio in ratios) > 100


# -- delay -----------------------------------------------------------------------------------------------------------


def overtaken(ran: list[Any]) -> int:
    """How many of the items, numbered in order of arrival, were overtaken by a later one."""
    return sum(any(later > item for later in ran[:at]) for at, item in enumerate(ran))


@pytest.mark.parametrize("bound", [1, 2, 5])
def test_delay_lets_at_most_so_many_steps_stand_back(line, bound):
    found = Counter()
    for seed in range(300):
        crowd = line(DelayScheduler(seed, "tasks", bound), *range(5))
        for actor in range(5, 60):
            crowd.step()
            crowd.join(actor)
        crowd.empty()
        found[overtaken(crowd.ran)] += 1
    assert max(found) <= bound
    assert found[bound] > 5
    assert found[0] > 5, "in some runs the places lie behind the end"


def test_delay_keeps_asyncios_order_among_all_others(line):
    for seed in range(100):
        crowd = line(DelayScheduler(seed, "tasks", 1), *range(5))
        for actor in range(5, 60):
            crowd.step()
            crowd.join(actor)
        crowd.empty()
        ran = crowd.ran
        late = [item for at, item in enumerate(ran) if any(later > item for later in ran[:at])]
        assert [item for item in ran if item not in late] == sorted(set(ran) - set(late))


def test_a_delay_lasts_until_nothing_else_is_ready_or_for_some_choices(line):
    """A step is overtaken by few others in some runs, and by all of them in many."""
    by = []
    for seed in range(600):
        crowd = line(DelayScheduler(seed, "tasks", 1), *range(5))
        for actor in range(5, 90):
            crowd.step()
            crowd.join(actor)
        crowd.empty()
        ran = crowd.ran
        late = [at - item for at, item in enumerate(ran) if at > item]
        if late:
            by.append((late[0], ran[-1] < 89))
    assert len(by) > 200
    assert 0.4 < sum(last for _, last in by) / len(by) < 0.8
    assert {1, 2, 3} <= {overtakers for overtakers, last in by if not last}


# -- reversed --------------------------------------------------------------------------------------------------------


def test_reversed_runs_each_turn_backwards(line):
    turn = line(ReversedScheduler(0, "tasks"), 0, 1, 2, MARK)
    assert turn.empty() == [2, 1, 0, MARK]
    assert line(ReversedScheduler(0, "tasks"), 0, 1, "callback").empty() == [1, 0, "callback"]
    assert orders("reversed", 5) == (4, 3, 2, 1, 0)
    assert three_steps("reversed", 0) == three_steps("reversed", 99) == "cbaabccba"


def test_reversed_keeps_turns_and_timers():
    log: list[str] = []

    async def main() -> None:
        async def one(name: str) -> None:
            log.append(f"{name}1")
            await asyncio.sleep(0)
            log.append(f"{name}2")
            await asyncio.sleep(1)
            log.append(f"{name}3")

        asyncio.get_running_loop().call_later(0, log.append, "timer")
        await asyncio.gather(one("a"), one("b"))

    vtloop.run(main, scheduler="reversed", interleave="tasks")
    assert log == ["b1", "a1", "timer", "a2", "b2", *log[5:]]
    assert sorted(log[5:]) == ["a3", "b3"]
