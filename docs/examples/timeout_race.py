"""A timeout strikes just after the lock was taken, and the lock is never given back.

The handshake takes 0.9 s and has 1.0 s, so this works until a slow step comes between.
"""

import asyncio


async def use(lock, name):
    try:
        async with asyncio.timeout(1.0):
            await lock.acquire()
            await asyncio.sleep(0.9)  # the handshake
    except TimeoutError:
        return f"{name} gave up"  # the bug: the lock may be ours
    lock.release()
    return f"{name} done"


async def statistics():
    while True:
        await asyncio.sleep(0.4)


async def main():
    lock = asyncio.Lock()
    background = asyncio.create_task(statistics())
    results = [await use(lock, "first"), await use(lock, "second")]
    background.cancel()
    assert not lock.locked(), f"the lock is still taken: {results}"
    return results


if __name__ == "__main__":
    print(asyncio.run(main()))
