"""Blocking calls inside the loop: each is told at the call, with its task and line."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import importlib.util
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time

from vtloop import BlockingCallError, HangError

from .case import sick


@sick(BlockingCallError, says=("time.sleep", "blocker"), here=("",))
async def time_sleep():
    async def step():
        time.sleep(5)  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("time.sleep", "Task-1"), here=("",))
async def time_sleep_deep_in_a_library():
    def retry(function):
        for _ in range(3):
            if function():
                return
            time.sleep(1)  # HERE

    retry(lambda: False)


@sick(BlockingCallError, says=("input", "blocker"), here=("",))
async def a_question_to_the_user():
    async def step():
        builtins.input("name? ")  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("connect", "blocker"), here=("",))
async def a_real_socket():
    async def step():
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", 9))  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("getaddrinfo", "blocker"), here=("",))
async def a_question_to_dns():
    async def step():
        socket.getaddrinfo("localhost", 80)  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("subprocess", "blocker"), here=("",))
async def a_child_process():
    async def step():
        subprocess.run([sys.executable, "-c", "pass"])  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("os.system", "blocker"), here=("",))
async def a_shell_command():
    async def step():
        os.system("true")  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("Event.wait", "blocker"), here=("",))
async def the_event_of_a_thread():
    ready = threading.Event()

    async def step():
        ready.wait()  # HERE

    await asyncio.create_task(step(), name="blocker")


# Only the extra sees a method of a C type; without it the watchdog cuts the step.
SEEN = importlib.util.find_spec("blockbuster") is not None


@sick(
    BlockingCallError if SEEN else HangError,
    says=("Lock.acquire" if SEEN else "step of", "blocker"),
    here=("",),
    options={"watchdog": 1.0},
    slow=True,
)
async def the_lock_of_a_thread():
    lock = threading.Lock()
    lock.acquire()

    async def step():
        lock.acquire()  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("Future.result", "blocker"), here=("",))
async def the_result_of_a_threads_future():
    future = concurrent.futures.Future()

    async def step():
        future.result()  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("Future.result", "blocker"), here=("",))
async def a_coroutine_handed_to_its_own_loop():
    loop = asyncio.get_running_loop()

    async def step():
        asyncio.run_coroutine_threadsafe(asyncio.sleep(1), loop).result()  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("Queue.get", "blocker"), here=("",))
async def the_queue_of_a_thread():
    jobs = queue.Queue()

    async def step():
        jobs.get()  # HERE

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("Thread.join", "blocker"), here=("",))
async def the_end_of_a_thread():
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="worker")
    thread.start()

    async def step():
        try:
            thread.join()  # HERE
        finally:
            release.set()

    await asyncio.create_task(step(), name="blocker")


@sick(BlockingCallError, says=("select", "blocker"), here=("",))
async def a_select():
    async def step():
        select.select([], [], [], 1)  # HERE

    await asyncio.create_task(step(), name="blocker")
