"""A test run that was started in the background inherits an ignored Ctrl-C; the tests of Ctrl-C need the usual one."""

from __future__ import annotations

import signal
import threading

if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
