"""The whole text of some verdicts, kept beside the tests: ``python -m tests.sick.reports`` writes it anew.

Paths are cut down to the file's name, lines are counted from the program's first, and tokens are left out, so that only
a change of wording changes a text.
"""

from __future__ import annotations

import gc
import re
import warnings
from pathlib import Path

import vtloop
from vtloop.errors import VtloopError

from . import blocking, deadlocks, endless, hangs, left_behind, mistakes, partial, suspected, through_anyio
from .case import Case, catalogue

__all__ = ["FOLDER", "KEPT", "text_of"]

FOLDER = Path(__file__).parent / "reports"

KEPT = [
    program.__name__
    for program in (
        blocking.a_coroutine_handed_to_its_own_loop,
        blocking.time_sleep,
        deadlocks.a_gather_of_a_stuck_child,
        deadlocks.a_lock_taken_again_by_its_holder,
        deadlocks.a_queue_joined_without_task_done,
        deadlocks.a_result_that_a_failed_producer_would_have_set,
        deadlocks.a_semaphore_whose_permits_have_leaked,
        deadlocks.a_task_awaited_inside_the_lock_it_needs,
        deadlocks.ab_ba_with_local_locks,
        deadlocks.an_event_that_nobody_sets,
        endless.more_steps_than_the_budget,
        hangs.a_forgotten_future_beside_a_heartbeat,
        hangs.ab_ba_of_main_and_a_child_beside_a_heartbeat,
        left_behind.a_coroutine_never_awaited,
        left_behind.a_lock_still_held_at_the_end,
        left_behind.a_task_that_survives_its_cancel,
        mistakes.a_missing_await,
        partial.two_of_seven_in_a_deadlock,
        suspected.two_orders_of_locks_in_a_run_that_passes,
        through_anyio.ab_ba_with_anyio_locks,
    )
]


def text_of(case: Case) -> str:
    """Everything that is said of a program, without what differs from machine to machine."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            vtloop.run(case.program, **case.options)
        except VtloopError as error:
            said = [str(error), error.report()]
        except Exception as error:
            said = [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]
        else:
            said = []
        gc.collect()  # a coroutine that was never awaited, held by the error's traceback alone
    said += [str(one.message) for one in caught if issubclass(one.category, vtloop.VtloopWarning)]

    def line(found: re.Match[str]) -> str:
        return f"{found[1]}:+{int(found[2]) - case.first_line}"

    text = re.sub(r"[^\s(]*/((?:\w+)\.py):(\d+)", line, "\n".join(said))
    return re.sub(r"vt1\.[\w-]+", "vt1...", text) + "\n"


def main() -> None:
    """Write every text anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name in KEPT:
        (FOLDER / f"{name}.txt").write_text(text_of(catalogue[name]), encoding="utf-8")


if __name__ == "__main__":
    main()
