"""Programs for explorations in several processes: functions of a module, and closures; and a place to run them."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import vtloop

ROOT = Path(vtloop.__file__).parents[1]


def script(body, *words, status=0, **env):
    """What a program prints, run by itself: a process that runs tests may have threads, and then does not fork."""
    folder = str(Path(__file__).parent)
    head = f"import sys\nsys.path[:0] = [{folder!r}]\nfrom parallel_program import *\nimport vtloop\n"
    text = head + textwrap.dedent(body)
    env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, "-W", "error", "-c", text, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def late_seed(main):
    """A base seed whose first failing run is not among those that are made before other processes are asked."""
    seeds = (seed for seed in range(50) if vtloop.explore(main, seed=seed, runs=200, shrink=False).failure is None)
    return next(seeds)


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


def leaves_a_thread():
    """A closure, so it cannot be pickled: it needs processes that are forked."""
    threads = []

    async def main():
        await busy()
        if not threads:
            threads.append(threading.Thread(target=threading.Event().wait, daemon=True))
            threads[0].start()

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


async def dies_elsewhere():
    await busy()
    if os.getpid() != int(os.environ.setdefault("PARALLEL_HERE", str(os.getpid()))) and vtloop.choose(300) == 7:
        os._exit(3)
