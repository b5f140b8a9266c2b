"""All shapes by name, in the order of the table."""

from __future__ import annotations

from benchmarks.search.shape import Shape
from benchmarks.search.shapes import deadlines, depth, sharing, waiting

__all__ = ["SHAPES"]

SHAPES: dict[str, Shape] = {
    shape.name: shape for shape in (*sharing.SHAPES, *waiting.SHAPES, *deadlines.SHAPES, *depth.SHAPES)
}
