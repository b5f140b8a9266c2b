"""A pool that loses its connection when a client is cancelled in the moment in which it is served."""

import asyncio
from collections import deque


class Pool:
    def __init__(self, connection):
        self.free, self.waiters = [connection], deque()

    async def acquire(self):
        if self.free:
            return self.free.pop()
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return await waiter  # the bug: whoever is cancelled here may have been given the connection already

    def release(self, connection):
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                return waiter.set_result(connection)
        self.free.append(connection)


async def client(pool):
    connection = await pool.acquire()
    try:
        await asyncio.sleep(0.1)
    finally:
        pool.release(connection)


async def main():
    pool = Pool("the connection")
    patient = asyncio.create_task(client(pool), name="patient")
    impatient = asyncio.create_task(client(pool), name="impatient")
    await asyncio.gather(patient, impatient, return_exceptions=True)
    assert pool.free == ["the connection"], "the pool has lost its connection"


if __name__ == "__main__":
    asyncio.run(main())
