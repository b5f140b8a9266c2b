"""vtloop."""
from vtloop.loop import EventLoop
from vtloop.manual import advance, daemon, run_ready, run_until_idle
