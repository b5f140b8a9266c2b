"""A child process fails: its error is lost in a pipe, and the test waits for an answer that nobody will send."""

import asyncio
import subprocess
from concurrent.futures import ProcessPoolExecutor

import pytest


async def size_of(picture: str) -> str:
    child = await asyncio.create_subprocess_exec("identify", picture, stdout=asyncio.subprocess.PIPE)
    line = await child.stdout.readline()
    return line.decode().split()[2]


@pytest.mark.vtloop
async def test_size() -> None:
    assert await size_of("cat.png") == "640x480"


def convert(picture: str) -> None:
    subprocess.run(["convert", picture, "cat.jpg"])


@pytest.mark.vtloop
async def test_convert() -> None:
    convert("cat.png")


def mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)


@pytest.mark.vtloop
async def test_mean() -> None:
    with ProcessPoolExecutor() as pool:
        calls = [asyncio.get_running_loop().run_in_executor(pool, mean, numbers) for numbers in ([1, 2], [])]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert done.pop().result() == 1.5
