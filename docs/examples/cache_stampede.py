"""A second request comes before the first has filled the cache, and the slow query runs twice.

Under asyncio's own order the second request is always late enough.
"""

import asyncio


class Cache:
    def __init__(self):
        self.values, self.queries = {}, 0

    async def get(self, key):
        if key not in self.values:
            answer = await self.query(key)
            self.values[key] = answer
        return self.values[key]

    async def query(self, key):
        self.queries += 1
        await asyncio.sleep(0)
        return key.upper()


async def main():
    cache = Cache()
    first = asyncio.create_task(cache.get("ann"))
    await asyncio.sleep(0)  # the first request begins
    await asyncio.sleep(0)  # and has its answer
    assert await cache.get("ann") == await first == "ANN"
    assert cache.queries == 1, f"{cache.queries} queries for one key"


if __name__ == "__main__":
    asyncio.run(main())
