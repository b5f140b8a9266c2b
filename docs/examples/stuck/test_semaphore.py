"""A permit that is taken by hand and not given back when something fails."""

import asyncio

import pytest


class Pool:
    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(1)

    async def fetch(self, url: str) -> str:
        await self.slots.acquire()
        await asyncio.sleep(1)
        if not url.startswith("https"):
            raise ValueError(url)
        self.slots.release()
        return url


@pytest.mark.vtloop
async def test_good_urls_are_fetched() -> None:
    pool = Pool()
    urls = ["http://a", "https://b"]
    pages = await asyncio.gather(*map(pool.fetch, urls), return_exceptions=True)
    assert pages[1] == "https://b"
