"""The task that was to give the answer is cancelled, and who waits for it has no timeout."""

import asyncio

import pytest


async def ask(question: str, answer: asyncio.Future[str]) -> None:
    await asyncio.sleep(5)
    answer.set_result(f"{question}? yes")


@pytest.mark.vtloop
async def test_answer_comes() -> None:
    answer = asyncio.get_running_loop().create_future()
    request = asyncio.create_task(ask("ready", answer), name="request")
    await asyncio.sleep(1)
    request.cancel()
    assert await answer == "ready? yes"
