"""The sick programs whose verdict or cause is missed, each with the reason; they count against the recall."""

from __future__ import annotations

__all__ = ["MISSED"]

MISSED: dict[str, str] = {}
