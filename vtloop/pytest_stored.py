"""The stored failures of one test under pytest: played back first, marked fixed when they pass, said when they return.

Made by the item for each time its test is run; `vtloop.store` has the files.  What it has to say goes into the notes of
the test's account.  It must never raise what a run failed with.
"""

from __future__ import annotations

from collections.abc import Callable

from vtloop.errors import ReplayError, TraceError
from vtloop.finding import Failure, failure_from
from vtloop.playback import replay_outcome
from vtloop.pytest_settings import Settings
from vtloop.run import Command, Outcome
from vtloop.store import Store, Stored

__all__ = ["StoredFailures"]


class StoredFailures:
    """What is known of a test from earlier sessions.

    Args:
        store: Where the failures are kept.
        target: The test's node id.
        settings: Its runs.
        notes: Where to say what becomes of them.
    """

    def __init__(self, store: Store, target: str, settings: Settings, notes: list[str]) -> None:
        self._store, self._target, self._settings, self._notes = store, target, settings, notes
        self._covered: list[Stored] = []  # of the very run that comes first anyway
        self._returned: list[Stored] = []

    def play(self, run_once: Callable[..., Outcome], command: Command) -> Failure | None:
        """Play them back, up to the first that fails."""
        try:
            self._store.load(self._target)
        except TraceError as exc:
            self._note(f"was dropped: {exc}")
            self._store.remove(self._target)
        for stored in self._store.failures(self._target):
            failure = self._play(stored, run_once, command)
            if failure is not None:
                return failure
        return None

    def _play(self, stored: Stored, run_once: Callable[..., Outcome], command: Command) -> Failure | None:
        trace, settings = stored.trace, self._settings
        if trace.options.scheduler == "fifo" and settings.begins_plainly():
            self._covered.append(stored)
            return None
        if not settings.admits(trace.options):
            if not stored.fixed:
                self._drop(stored, "its level or lag is excluded now")
            return None
        try:
            outcome = replay_outcome(settings.rebased(trace), run_once, command)
        except ReplayError:
            self._drop(stored, "it no longer fits the program")
            return None
        if outcome.error is None:
            self._fixed(stored)
            return None
        self._fails(stored)
        return failure_from(outcome, 0, self._target, command)

    def ended(self, failure: Failure | None) -> None:
        """The runs of the test are over: what is known of the first of them."""
        first = failure is not None and failure.level == "fifo"
        for stored in self._covered:
            if not first:
                self._fixed(stored)
            elif stored.trace.outcome.get("type") == type(failure.error).__name__:  # type: ignore[union-attr]
                self._fails(stored)

    def stored_anew(self) -> None:
        """The failure that returned has its new file: the old one, which says that it is fixed, can go."""
        for stored in self._returned:
            self._store.drop(stored.path)

    # -- what becomes of one ------------------------------------------------------------------------------------

    def _fails(self, stored: Stored) -> None:
        if stored.fixed:
            self._returned.append(stored)
            self._note("was marked fixed and fails again")

    def _fixed(self, stored: Stored) -> None:
        if not stored.fixed:
            self._store.mark_fixed(stored)
            self._note("passes now: marked fixed, and still tried first")

    def _drop(self, stored: Stored, why: str) -> None:
        self._store.drop(stored.path)
        self._note(f"was dropped: {why}")

    def _note(self, what: str) -> None:
        self._notes.append(f"the stored failure of {self._target} {what}")
