"""A service waits for a reply that never comes, while its heartbeat ticks on for ever."""

import asyncio


async def heartbeat():
    while True:
        await asyncio.sleep(10)


async def client(replies):
    return await replies.get()


async def main():
    beat = asyncio.create_task(heartbeat(), name="heartbeat")
    replies = asyncio.Queue()
    try:
        return await asyncio.create_task(client(replies), name="client")
    finally:
        beat.cancel()


if __name__ == "__main__":
    asyncio.run(main())
