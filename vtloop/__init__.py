"""vtloop: unmodified asyncio code on virtual time, every interleaving from a seed, every failure played back exactly.

To read the code, begin with ``clock``, ``timers``, ``ready``, ``schedulers.base`` and ``loop``: that is the core.
"""

from vtloop.api import elapsed, explore, loop_factory, replay, run, shrink, test
from vtloop.choices import Outcome, choose, latency, may_cancel, slow, sometimes
from vtloop.collector import settle as _settle
from vtloop.errors import (
    BlockingCallError,
    DeadlockError,
    EscapeError,
    HangError,
    LeakError,
    LivelockError,
    NondeterminismError,
    ReplayError,
    TraceError,
    UsageError,
    VtloopError,
    VtloopWarning,
)
from vtloop.explore import Exploration
from vtloop.finding import Failure, failure_of
from vtloop.loop import EventLoop
from vtloop.manual import advance, daemon, run_ready, run_until_idle
from vtloop.stuck import stuck_tasks
from vtloop.trace import Trace

__version__ = "0.1.0"

__all__ = [
    # running
    "EventLoop",
    "loop_factory",
    "run",
    "explore",
    "replay",
    "shrink",
    "test",
    # time and choices inside a program
    "advance",
    "run_ready",
    "run_until_idle",
    "elapsed",
    "daemon",
    "stuck_tasks",
    "choose",
    "latency",
    "slow",
    "sometimes",
    "may_cancel",
    # results
    "Outcome",
    "Exploration",
    "Failure",
    "Trace",
    "failure_of",
    # errors
    "VtloopError",
    "UsageError",
    "TraceError",
    "HangError",
    "DeadlockError",
    "LivelockError",
    "LeakError",
    "BlockingCallError",
    "EscapeError",
    "ReplayError",
    "NondeterminismError",
    "VtloopWarning",
]

_settle()
