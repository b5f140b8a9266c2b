"""What many tests share: a command line run in this process, and the usual Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vtloop.cli import main

# A test run that was started in the background inherits an ignored Ctrl-C; the tests of Ctrl-C need the usual one.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def cli(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: exit status, standard output, standard error.

    The module has a fixture ``project``: the folder it runs in.
    """

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(words)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run
