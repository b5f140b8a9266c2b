"""A consumer looks at its list, is delayed, and then waits for a wake-up that has been already."""

import asyncio


async def log(text):
    await asyncio.sleep(0)


async def consume(items, changed):
    while not items:
        await log("nothing yet")  # the item may come in here
        changed.clear()
        await changed.wait()
    return items.pop()


async def produce(items, changed):
    await log("connecting")
    await log("connected")
    items.append("a parcel")
    changed.set()


async def main():
    items, changed = [], asyncio.Event()
    consumer = asyncio.create_task(consume(items, changed), name="consumer")
    producer = asyncio.create_task(produce(items, changed), name="producer")
    await producer
    return await consumer


if __name__ == "__main__":
    print(asyncio.run(main()))
