"""Shapes that need several orderings at once, or one at a single place of a long program."""

from __future__ import annotations

import asyncio

from benchmarks.search.shape import replies, shape, yields

__all__ = ["SHAPES"]


@shape("three-way", "tasks")
async def three_way(repaired: bool) -> None:
    """Three-way: a reader takes a version, a reload replaces it, a sweeper drops it, and then the reader uses it."""
    current = [1]
    loaded, in_use = {1}, set[int]()

    async def read() -> None:
        await yields(2)
        version = current[-1]
        in_use.add(version)
        await yields(2)
        assert version in loaded, f"version {version} was dropped in use"
        in_use.discard(version)

    async def reload() -> None:
        await yields(2)
        loaded.add(2)
        current.append(2)

    async def sweep() -> None:
        await yields()
        old = set(current[:-1])
        loaded.difference_update(old - in_use if repaired else old)

    await asyncio.gather(sweep(), read(), reload(), *(yields(5) for _ in range(4)))


@shape("close-in-a-gap", "wakeups")
async def close_in_a_gap(repaired: bool) -> None:
    """Close in a gap: of all awaits of a long worker there is one between the look at the link and its use."""
    closed = False

    def write() -> None:
        assert not closed, "write on a closed link"

    async def work() -> None:
        for number in range(12):
            if closed:
                return
            if number != 5 or repaired:
                write()
                await replies()
            else:
                await replies()  # this one is compressed first
                write()

    async def close() -> None:
        nonlocal closed
        await replies()
        closed = True

    await asyncio.gather(work(), close())


@shape("thirty-steps", "wakeups")
async def thirty_steps(repaired: bool) -> None:
    """30 steps: a reaper pings an idle connection and closes it, though a client has taken it meanwhile."""
    idle = ["c1", "c2"]
    closed = set[str]()

    async def client(awaits: int) -> None:
        await replies(awaits)
        if not idle:
            return  # comes back later
        connection = idle.pop()
        for _ in range(3):
            await replies()
            assert connection not in closed, f"{connection} was closed in use"
        idle.append(connection)

    async def reap() -> None:
        await replies(4)
        for connection in list(idle):
            await replies()  # the ping
            if connection in idle or not repaired:
                closed.add(connection)
                if connection in idle:
                    idle.remove(connection)

    await asyncio.gather(client(1), client(2), client(8), reap())


@shape("three-hundred-steps", "wakeups")
async def three_hundred_steps(repaired: bool) -> None:
    """300 steps: of ten clients two want the same seat, and one of them looks an await before it books."""
    seats: dict[str, int] = {}

    async def book(number: int, seat: str, careful: bool) -> bool:
        if seat in seats:
            return False
        if not careful:
            await replies()  # the price
        if (careful or repaired) and seat in seats:
            return False
        assert seat not in seats, f"{seat} was booked by {seats[seat]} and {number}"
        seats[seat] = number
        return True

    async def client(number: int, seat: str, before: int) -> None:
        await replies(before)
        await book(number, seat, careful=number != 4)
        await replies(14 - before)

    wishes = ["a", "b", "c", "d", "e", "f", "g", "e", "h", "i"]
    await asyncio.gather(*(client(number, seat, 4 + number % 5) for number, seat in enumerate(wishes)))


SHAPES = (three_way, close_in_a_gap, thirty_steps, three_hundred_steps)
