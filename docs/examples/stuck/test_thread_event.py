"""``threading.Event`` and ``threading.Timer`` know nothing of the loop: their waits stop it."""

import threading

import pytest


@pytest.mark.vtloop
async def test_timer_fires() -> None:
    fired = threading.Event()
    timer = threading.Timer(30, fired.set)
    timer.start()
    try:
        assert fired.wait(60)
    finally:
        timer.cancel()
