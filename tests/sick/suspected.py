"""Programs that pass, and in which locks were taken in two orders: a suspicion, worded so."""

from __future__ import annotations

import asyncio

from .case import sick


@sick(None, says=("lock_a", "lock_b"), here=("left", "right"))
async def two_orders_of_locks_in_a_run_that_passes():
    lock_a, lock_b = asyncio.Lock(), asyncio.Lock()

    async def left():
        async with lock_a:
            await asyncio.sleep(0.1)
            async with lock_b:  # HERE left
                pass

    async def right():
        await asyncio.sleep(1)
        async with lock_b:
            await asyncio.sleep(0.1)
            async with lock_a:  # HERE right
                pass

    await asyncio.gather(asyncio.create_task(left(), name="left"), asyncio.create_task(right(), name="right"))


@sick(None, says=("config_lock", "users_lock", "audit_lock"), here=("config", "users", "audit"))
async def three_orders_of_locks_in_a_circle():
    class Store:
        def __init__(self):
            self.config_lock, self.users_lock, self.audit_lock = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

        async def add_user(self):
            async with self.config_lock:
                await asyncio.sleep(0.1)
                async with self.users_lock:  # HERE config
                    pass

        async def delete_user(self):
            await asyncio.sleep(1)
            async with self.users_lock:
                await asyncio.sleep(0.1)
                async with self.audit_lock:  # HERE users
                    pass

        async def report(self):
            await asyncio.sleep(2)
            async with self.audit_lock:
                await asyncio.sleep(0.1)
                async with self.config_lock:  # HERE audit
                    pass

    store = Store()
    async with asyncio.TaskGroup() as group:
        for step in (store.add_user, store.delete_user, store.report):
            group.create_task(step(), name=step.__name__)
