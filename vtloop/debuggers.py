"""Whether a person with a debugger is at work in a thread: then time is theirs, and nothing is held against them.

Asked by the watchdog and by what looks at blocking calls.  A tracer that only measures (coverage, the lines of a run
told to people) is no debugger.  It must never trace anything itself.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

__all__ = ["debugging", "traced"]


def debugging() -> bool:
    """Whether a debugger is at work in this thread."""
    return _is_debugger(sys.gettrace()) or _monitored()


def traced(frame: FrameType | None) -> bool:
    """Whether a debugger is at work in the thread of ``frame``: another thread sees its trace function there alone."""
    while frame is not None:
        if _is_debugger(frame.f_trace):
            return True
        frame = frame.f_back
    return _monitored()


def _is_debugger(tracer: Any) -> bool:
    modules = (type(tracer).__module__, getattr(tracer, "__module__", None) or "")
    return tracer is not None and not any("coverage" in one or one == "vtloop.report.lines" for one in modules)


def _monitored() -> bool:
    monitoring: Any = getattr(sys, "monitoring", None)
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None
