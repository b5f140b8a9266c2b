"""The last producer is gone, and the consumer waits for one more item."""

import asyncio


async def produce(queue: asyncio.Queue[int]) -> None:
    for number in range(3):
        await asyncio.sleep(1)
        await queue.put(number)


async def consume(queue: asyncio.Queue[int]) -> int:
    total = 0
    while (number := await queue.get()) is not None:
        total += number
    return total


async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(queue), name="producer")
        group.create_task(consume(queue), name="consumer")


if __name__ == "__main__":
    asyncio.run(main())
