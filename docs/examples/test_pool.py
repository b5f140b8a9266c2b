"""A pool lends one connection to two clients, when a newcomer overtakes a client that was just woken."""

import asyncio
from collections import deque

import pytest


class Pool:
    def __init__(self, size):
        self.free, self.waiters = size, deque()

    async def acquire(self):
        if not self.free:  # the bug: it must look again after it was woken
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            await waiter
        self.free -= 1
        assert self.free >= 0, "the connection was lent twice"

    def release(self):
        self.free += 1
        if self.waiters:
            self.waiters.popleft().set_result(None)


async def three_clients():
    pool, first_done = Pool(size=1), asyncio.Event()

    async def client(after=None):
        if after is not None:
            await after.wait()
        await pool.acquire()
        await asyncio.sleep(1)
        pool.release()
        first_done.set()

    await asyncio.gather(client(), client(), client(after=first_done))


@pytest.mark.vtloop
async def test_pool_lends_to_three_clients():
    await three_clients()


@pytest.mark.vtloop(runs=200)
async def test_pool_lends_to_three_clients_in_every_order():
    await three_clients()
