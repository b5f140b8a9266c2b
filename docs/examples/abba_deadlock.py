"""Two transfers take the same two locks in opposite order."""

import asyncio


async def transfer(source, target):
    async with source:
        await asyncio.sleep(0.1)
        async with target:
            pass


async def main():
    alice, bob = asyncio.Lock(), asyncio.Lock()
    async with asyncio.TaskGroup() as group:
        group.create_task(transfer(alice, bob), name="alice-to-bob")
        group.create_task(transfer(bob, alice), name="bob-to-alice")


if __name__ == "__main__":
    asyncio.run(main())
