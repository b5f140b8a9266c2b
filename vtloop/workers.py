"""Workers of our own: processes on this machine, each with a pipe.

Used by `vtloop.explore` for ``jobs=N``.  Made by fork where that is safe, else as fresh interpreters.  A worker that
dies is told as one error that names its run; all of them end with the exploration, whatever ends it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, sharedctypes
from typing import Any

from vtloop.chunks import Chunk, Maker, Program, Result
from vtloop.collector import frozen_heap
from vtloop.errors import UsageError, VtloopError
from vtloop.options import RUN_DEFAULTS
from vtloop.plan import Plan
from vtloop.watchdog import rest

__all__ = ["Processes"]


CHUNK_SECONDS = 0.05
"""What a chunk should take; to hand one out and to take it back takes 0.2 ms."""


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: connection.Connection
    now: Any  # the number of the run it makes, in shared memory; -1 before the first
    chunk: Chunk | None = None


class Processes:
    """Workers of our own, each a process with a pipe.

    Made by fork where that is safe: then the program may be any function, since nothing has to be pickled.  It is not
    safe while other threads run, nor on every platform; then fresh interpreters are started, and the program is sent.

    Args:
        jobs: How many.
        plan: What to explore.
        here: The program, open already.
        program: The program for another interpreter.

    Raises:
        UsageError: The program cannot be sent to a fresh interpreter.
    """

    def __init__(self, jobs: int, plan: Plan, here: Program, program: Program) -> None:
        self.size, self.seconds = jobs, CHUNK_SECONDS
        self._plan = plan
        self._workers: list[_Worker] = []
        forks = _fork_is_safe()
        sent = here if forks else _sendable(program, f"jobs={jobs}")
        method: Any = multiprocessing.get_context("fork" if forks else "spawn")
        try:
            with _interrupts_held():
                for _ in range(jobs):
                    ours, theirs = method.Pipe()
                    now = sharedctypes.RawArray("q", [-1])
                    # A forked worker has the pipes of those before it; they would not see the end of this process.
                    inherited = [ours, *(worker.pipe for worker in self._workers)] if forks else []
                    process = method.Process(
                        target=_serve, args=(theirs, inherited, now, plan, sent), name="vtloop-worker", daemon=True
                    )
                    process.start()
                    theirs.close()
                    self._workers.append(_Worker(process, ours, now))
        except BaseException:
            self.close()
            raise

    def hand(self, chunk: Chunk) -> None:
        """Let an idle worker make ``chunk``."""
        worker = next(worker for worker in self._workers if worker.chunk is None)
        worker.chunk = chunk
        with suppress(OSError):  # it has died: `next` will see its end
            worker.pipe.send(chunk)

    def next(self, seconds: float) -> Result | None:
        """What came of a chunk, in any order; None after ``seconds``."""
        busy = {worker.pipe: worker for worker in self._workers if worker.chunk is not None}
        for pipe in connection.wait(list(busy), seconds):
            worker = busy[pipe]  # type: ignore[index]
            chunk = worker.chunk
            assert chunk is not None
            try:
                told = worker.pipe.recv()
            except (EOFError, OSError):
                # Stays busy, so that it is never handed anything again.
                self._workers.remove(worker)
                return chunk, self._death(worker, chunk)
            worker.chunk = None
            return chunk, told
        return None

    def drop(self, first: int) -> None:
        """Chunks behind run ``first`` are not wanted any more: their workers end."""
        for worker in list(self._workers):
            if worker.chunk is not None and worker.chunk.first > first:
                worker.process.kill()

    def close(self) -> None:
        """End everything at once."""
        for worker in self._workers:
            if worker.chunk is not None or not worker.process.is_alive():
                worker.process.kill()
            worker.pipe.close()  # an idle worker ends by itself, and flushes what the program printed
        for worker in self._workers:
            worker.process.join(0.5)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()

    def _death(self, worker: _Worker, chunk: Chunk) -> VtloopError:
        """What to say of a worker that is gone."""
        worker.process.join(1)
        status = worker.process.exitcode
        how = f"exit status {status}" if status is not None else "it closed its pipe"
        worker.process.kill()
        worker.process.join()
        if status is not None and status < 0:
            with suppress(ValueError):
                how = signal.Signals(-status).name
        worker.process.close()
        worker.pipe.close()
        run = worker.now[0]
        if run < chunk.first:
            return VtloopError(
                f"a worker process ended ({how}) before it made any of {chunk}; a script that explores with jobs= "
                f"does so under: if __name__ == '__main__'",
                data={"first": chunk.first, "count": chunk.count, "exit": status},
            )
        options = {"seed": None, **self._plan.options_of(run).changed(RUN_DEFAULTS)}
        alone = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return VtloopError(
            f"a worker process died ({how}) in run {run:,}, when it was to make {chunk}; that run by itself: "
            f"vtloop.run(main, {alone})",
            data={"first": chunk.first, "count": chunk.count, "run": run, "exit": status},
        )


def _serve(pipe: Any, inherited: Sequence[Any], now: Any, plan: Plan, sent: Program | bytes) -> None:
    """The life of a worker process; an exception that comes out of here would be printed."""
    try:
        multiprocessing.current_process().daemon = False  # the program may start processes of its own
        for other in inherited:
            other.close()
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _make_chunks(pipe, now, plan, sent)
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # the exploring process needs us no longer, or is gone
    except BaseException:
        traceback.print_exc()  # a bug of ours: the exploring process will say that this one ended
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        os._exit(0)


def _make_chunks(pipe: Any, now: Any, plan: Plan, sent: Program | bytes) -> None:
    def note(run: int) -> None:
        now[0] = run

    with ExitStack() as stack:
        try:
            program: Program = pickle.loads(sent) if isinstance(sent, bytes) else sent
            execute = stack.enter_context(program.opened())
        except UsageError as exc:
            pipe.send(exc)
            return
        except Exception as exc:
            pipe.send(UsageError(f"a worker process could not load the program: {type(exc).__name__}: {exc}"))
            return
        stack.enter_context(frozen_heap(many=True))
        maker = Maker(plan, execute)
        while True:
            chunk = pipe.recv()
            pipe.send(maker.chunk(chunk, note))


def _fork_is_safe() -> bool:
    """Whether this process may be forked: on Linux, from its main thread, with no other thread running.

    Our own threads do not count: they are ended, or are ending.
    """
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return False
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not all(thread.name.startswith("vtloop-") for thread in others):
        return False
    rest()
    until = time.monotonic() + 0.5
    while _threads() > 1:
        # CPython: up to 3.12, a thread that was joined may take a moment until the system has forgotten it.
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


def _threads() -> int:
    """How many threads the system sees: libraries written in C have some that Python does not know."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[17])
    except (OSError, ValueError, IndexError):
        return threading.active_count()


def _sendable(program: Program, wish: str) -> bytes:
    """``program``, pickled."""
    try:
        return pickle.dumps(program)
    except Exception as exc:
        raise UsageError(
            f"{wish} has to send the program to another process here, and it cannot be pickled ({exc}); give a "
            f"function of a module"
        ) from None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C comes when all workers are started: one that hits Python's own start-up would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
