"""Circles in a wait-for graph.

Called by `waits`.  Works on plain numbers and captured values; must never depend on the order of a set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["circles"]


def circles(edges: Sequence[Sequence[int]], most: int) -> list[list[int]]:
    """Circles along `edges` (from each node to others), each node in one at most, each from its lowest node on.

    Finds at most `most`, and one wherever there is one.  O(nodes + edges), where nodes that share one sequence of edges
    (all waiters of a semaphore with thousands of holders) count it once.
    """
    white, grey, black = 0, 1, 2
    colour = [white] * len(edges)
    taken = [False] * len(edges)
    followed: set[int] = set()  # identities of sequences gone through: whatever they lead to has been visited
    found: list[list[int]] = []
    for root in range(len(edges)):
        if colour[root] != white or not edges[root]:
            continue
        path, pending = [root], [_unfollowed(edges[root], followed)]
        colour[root] = grey
        while path:
            target = next(pending[-1], None)
            if target is None:
                node = path.pop()
                colour[node] = black
                followed.add(id(edges[node]))
                pending.pop()
            elif colour[target] == white:
                colour[target] = grey
                path.append(target)
                pending.append(_unfollowed(edges[target], followed))
            elif colour[target] == grey and len(found) < most:
                circle = path[path.index(target) :]
                if not any(taken[node] for node in circle):
                    for node in circle:
                        taken[node] = True
                    start = circle.index(min(circle))
                    found.append(circle[start:] + circle[:start])
    return found


def _unfollowed(edges: Sequence[int], followed: set[int]) -> Iterator[int]:
    return iter(()) if id(edges) in followed else iter(edges)
