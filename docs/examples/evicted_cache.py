"""A reader and an evictor wake up together: whoever comes first decides."""

import asyncio


async def main():
    cache = {}
    loaded = asyncio.Event()

    async def load():
        await asyncio.sleep(30)  # virtual: it costs no time
        cache["user"] = "ann"
        loaded.set()

    async def read():
        await loaded.wait()
        return cache["user"]

    async def evict():
        await loaded.wait()
        cache.clear()

    return (await asyncio.gather(load(), read(), evict()))[1]


if __name__ == "__main__":
    print(asyncio.run(main()))
