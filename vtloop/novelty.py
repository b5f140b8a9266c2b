"""Novelty: how many different orders the runs of an exploration took, and how many more there probably are.

Fed by `vtloop.explore` with one number a run (`vtloop.run.Outcome.order`).  The share of orders not seen is estimated
after I. J. Good, "The population frequencies of species and the estimation of population parameters" (Biometrika 40,
1953; Turing's idea): the chance that the next run takes a new order is about the share of runs whose order was taken
just once.  It must never influence which runs are made.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Earlier", "Novelty"]

FEWEST = 10
"""With fewer runs there is no estimate."""

_MASK = (1 << 64) - 1


class Novelty:
    """The orders taken so far; a function of the orders in the sequence of their runs.

    Attributes:
        runs: How many runs were counted.
        since_new: How many runs were made since the last one that took a new order.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.since_new = 0
        self._once: dict[int, bool] = {}  # by order, whether one run alone took it
        self._singles = 0

    def add(self, order: int) -> None:
        """Count one run; O(1)."""
        order &= _MASK
        self.runs += 1
        once = self._once.get(order)
        if once is None:
            self._once[order] = True
            self._singles += 1
            self.since_new = 0
            return
        self.since_new += 1
        if once:
            self._once[order] = False
            self._singles -= 1

    @property
    def distinct(self) -> int:
        """How many different orders there were."""
        return len(self._once)

    @property
    def unseen(self) -> float | None:
        """The estimated chance that a further run takes an order not seen yet; None after fewer than ten runs."""
        return self._singles / self.runs if self.runs >= FEWEST else None

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON-ready values: eleven bytes an order."""
        return {
            "runs": self.runs,
            "since_new": self.since_new,
            "once": _packed(order for order, once in self._once.items() if once),
            "more": _packed(order for order, once in self._once.items() if not once),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Novelty:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: ``values`` are of something else.
        """
        made = cls()
        made.runs, made.since_new = int(values["runs"]), int(values["since_new"])
        made._once = dict.fromkeys(_unpacked(values["once"]), True)
        made._singles = len(made._once)
        made._once.update(dict.fromkeys(_unpacked(values["more"]), False))
        if not 0 <= made.since_new <= made.runs or len(made._once) > made.runs:
            raise ValueError("the numbers contradict each other")
        return made


@dataclass(slots=True)
class Earlier:
    """What an exploration did up to some point, for one that goes on behind it.

    Attributes:
        upto: The number behind its last run.
        novelty: The orders of its runs.
        elapsed: The real seconds it took.
    """

    upto: int = 0
    novelty: Novelty = field(default_factory=Novelty)
    elapsed: float = 0.0


def _packed(orders: Iterable[int]) -> str:
    return base64.b64encode(array("Q", orders).tobytes()).decode()


def _unpacked(text: str) -> list[int]:
    orders = array("Q")
    orders.frombytes(base64.b64decode(text, validate=True))
    return orders.tolist()
