"""Circles in a wait-for graph, against a naive search."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from vtloop.diagnosis.cycles import circles


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Edges of a small graph, some nodes sharing the very same tuple, as waiters of one semaphore do."""
    size = draw(st.integers(1, 8))
    node = st.integers(0, size - 1)
    some = draw(st.lists(st.lists(node, max_size=4, unique=True).map(tuple), min_size=1, max_size=4))
    return [draw(st.sampled_from(some)) for _ in range(size)]


def has_circle(edges: list[tuple[int, ...]]) -> bool:
    """Whether something is left when what leads nowhere is taken away again and again."""
    left = set(range(len(edges)))
    while True:
        ends = {node for node in left if not any(target in left for target in edges[node])}
        if not ends:
            return bool(left)
        left -= ends


@given(graphs())
def test_what_is_found_are_circles_and_one_is_found_where_there_is_one(edges: list[tuple[int, ...]]) -> None:
    found = circles(edges, 100)
    assert bool(found) == has_circle(edges)
    nodes = [node for circle in found for node in circle]
    assert len(nodes) == len(set(nodes))
    for circle in found:
        assert circle[0] == min(circle)
        assert all(there in edges[here] for here, there in zip(circle, circle[1:] + circle[:1], strict=True))


def test_no_more_are_found_than_asked_for() -> None:
    assert circles([(0,), (1,), (2,)], 2) == [[0], [1]]


def test_thousands_that_wait_for_the_same_thousands_are_quick() -> None:
    holders = tuple(range(5000, 10_000))
    began = time.process_time()
    assert circles([holders] * 5000 + [()] * 5000, 10) == []
    assert time.process_time() - began < 1  # 25 million edges took 6 s
