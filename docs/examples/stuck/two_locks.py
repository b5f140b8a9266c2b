"""Two tasks take two locks in opposite order: each holds what the other wants."""

import asyncio


class Account:
    def __init__(self, name: str, money: int) -> None:
        self.name, self.money = name, money
        self.lock = asyncio.Lock()


async def transfer(source: Account, target: Account, money: int) -> None:
    async with source.lock:
        await asyncio.sleep(0.1)
        async with target.lock:
            source.money -= money
            target.money += money


async def main() -> None:
    ada, bob = Account("ada", 100), Account("bob", 100)
    await asyncio.gather(transfer(ada, bob, 10), transfer(bob, ada, 20))


if __name__ == "__main__":
    asyncio.run(main())
