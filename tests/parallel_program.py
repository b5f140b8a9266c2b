"""Programs for explorations in several processes: functions of a module, and closures."""

from __future__ import annotations

import asyncio
import gc
import os
import time

import vtloop


async def busy():
    """Some steps, in many orders."""
    for _ in range(5):
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))


def rare(at):
    """A program that fails in about one run of 400."""

    async def main():
        await busy()
        if vtloop.choose(300) == at:
            raise ValueError(at)

    return main


async def rarely_wrong():
    await busy()
    if vtloop.choose(300) == 7:
        raise ValueError


async def slow_then_quick():
    """Fails in two ways; a run that fails in the first takes long."""
    await asyncio.sleep(0)
    drawn = vtloop.choose(200)
    if drawn == 7:
        time.sleep(0.2)
        raise ValueError("slow")
    if drawn > 190:
        raise ValueError("quick")


def leaves_a_note(folder):
    async def main():
        with open(os.path.join(folder, str(os.getpid())), "w") as file:
            file.write(f"{hash('a')} {gc.isenabled()}")
        await busy()

    return main


def dies(how):
    async def main():
        await busy()
        if vtloop.choose(500) == 7:
            how()

    return main


async def stuck_in_some_order():
    await busy()
    while vtloop.choose(500) == 7:
        while True:
            pass


def only_elsewhere(pid):
    async def main():
        await busy()
        if os.getpid() != pid:
            raise ValueError

    return main
