"""The young heap: what is looked at, beside threads that are at work."""

from __future__ import annotations

import gc
import threading

import pytest

from vtloop.diagnosis.heap import young_objects


@pytest.mark.slow
def test_a_tuple_that_another_thread_is_making_is_left_alone():
    over, failed = threading.Event(), []

    def make_tuples():
        try:
            while not over.is_set():
                tuple(number for number in range(3_000))
        except SystemError as exc:
            failed.append(exc)

    threads = [threading.Thread(target=make_tuples) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(150):
            young = young_objects(None)
            sum(len(str(number)) for number in range(30_000))  # the other threads take their turns
            del young
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed


def test_tuples_are_found_by_what_refers_to_them_beside_other_threads():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        held = [([1], ([2],))]
        found = {id(thing) for thing in young_objects(None)}
        outer = held[0]
        assert {id(held), id(outer), id(outer[0]), id(outer[1]), id(outer[1][0])} <= found
        assert gc.is_tracked(outer)
    finally:
        over.set()
        thread.join()
