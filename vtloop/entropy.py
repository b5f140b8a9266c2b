"""Randomness: from one seed to independent named streams; the only source of randomness in vtloop.

Used by the schedulers and by ``explore``.  A stream depends on the seed and its own name alone, so a draw in one part
never moves another.  It must never read a clock, an address or the environment.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Iterator

__all__ = ["RUNS_PER_SEED", "draw", "run_seed", "stream", "uniforms"]

RUNS_PER_SEED = 1_000_000
"""How many runs a base seed has."""


def stream(seed: int, name: str) -> random.Random:
    """The stream ``name`` of ``seed``: a Mersenne Twister seeded with both (SHA-512 of the text, by `random`)."""
    return random.Random(f"{seed}/{name}")


def uniforms(seed: int, name: str) -> Iterator[float]:
    """A few numbers in [0, 1) from the stream ``name`` of ``seed``, at a tenth of the cost of a generator (BLAKE2b).

    At most eight.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode()).digest()
    return (number / 2.0**64 for number in struct.unpack("<8Q", digest))


def draw(uniform: Callable[[], float], options: int) -> int:
    """One of ``options``, from a uniform number in [0, 1)."""
    return int(uniform() * options)


def run_seed(base: int, index: int) -> int:
    """The seed of run ``index`` of an exploration with seed ``base``; no two of the first million are equal."""
    return base * RUNS_PER_SEED + index
