"""The folder of stored failures."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import vtloop
from vtloop.errors import TraceError
from vtloop.options import RUN_DEFAULTS
from vtloop.store import MOST, Store, is_fixed
from vtloop.trace import FORMAT, Trace, read

ROOT = str(Path(vtloop.__file__).parent.parent)
NODE = "tests/test_x.py::TestY::test_z[a b/c]"


def test_what_was_saved_is_loaded_for_the_same_target_only(tmp_path):
    store = Store(tmp_path)
    path = store.save(NODE, Trace(RUN_DEFAULTS, "00000000/0", (), None, {"type": "KeyError"}))
    assert path is not None and path.parent == tmp_path / ".vtloop"
    loaded = store.load(NODE)
    assert loaded is not None and loaded.target == NODE and loaded.outcome == {"type": "KeyError"}
    assert store.load(NODE + "x") is None


def test_names_are_readable_short_and_apart(tmp_path):
    store = Store(tmp_path)
    targets = [
        NODE,
        NODE.replace("b/c", "b-c"),
        "t.py::test_" + "x" * 300 + "1",
        "t.py::test_" + "x" * 300 + "2",
        "é.py::ü",
    ]
    names = [store.path(target).name for target in targets]
    assert len(set(names)) == len(targets)
    assert max(map(len, names)) < 100
    assert names[0].startswith("tests.test_x--TestY-test_z-a-b.c-")


def test_nothing_is_written_before_there_is_something_to_store(tmp_path):
    store = Store(tmp_path)
    store.remove(NODE)
    assert store.load(NODE) is None
    assert list(tmp_path.iterdir()) == []


def test_a_later_failure_takes_the_place_of_the_earlier(tmp_path):
    store = Store(tmp_path)
    for kind in ("KeyError", "ValueError"):
        store.save(NODE, Trace(RUN_DEFAULTS, outcome={"type": kind}))
    assert store.load(NODE).outcome == {"type": "ValueError"}
    assert len(list((tmp_path / ".vtloop").glob("*.json"))) == 1
    store.remove(NODE)
    assert store.load(NODE) is None


def test_a_file_that_cannot_be_used_says_why(tmp_path):
    store = Store(tmp_path)
    path = store.save(NODE, Trace(RUN_DEFAULTS))
    whole = path.read_text()
    for damage in ("", whole[:-40], "{}", whole.replace(f'"format": {FORMAT}', '"format": 99')):
        path.write_text(damage)
        with pytest.raises(TraceError):
            store.load(NODE)
    path.write_text(whole.replace("test_x.py", "test_w.py"))
    with pytest.raises(TraceError):
        store.load(NODE)


def test_a_file_of_another_test_is_not_taken_for_ours(tmp_path):
    store = Store(tmp_path)
    other = store.save("t.py::other", Trace(RUN_DEFAULTS))
    os.replace(other, store.path(NODE))
    with pytest.raises(TraceError, match=r"belongs to 't\.py::other'"):
        store.load(NODE)


def run_of(kind, number=0):
    """A trace of a run that ended with an error of its own."""
    return Trace(RUN_DEFAULTS, f"{number:08x}/{number}", (), None, {"type": kind, "place": f"t.py:{number} in f"})


def kinds(store, target=NODE):
    return [(stored.trace.outcome["type"], stored.fixed) for stored in store.failures(target)]


def test_several_failures_of_a_target_are_kept_side_by_side(tmp_path):
    store = Store(tmp_path)
    for number, kind in enumerate(("KeyError", "ValueError", "OSError")):
        store.add(NODE, run_of(kind, number))
    store.add("t.py::other", run_of("TypeError"))
    assert sorted(kinds(store)) == [("KeyError", False), ("OSError", False), ("ValueError", False)]
    assert kinds(store, "t.py::other") == [("TypeError", False)]
    assert kinds(store, "t.py::none") == []


def test_the_same_failure_has_the_same_file_and_other_ends_of_a_run_have_others(tmp_path):
    store = Store(tmp_path)
    assert store.add(NODE, run_of("KeyError")) == store.add(NODE, run_of("KeyError"))
    assert store.add(NODE, run_of("ValueError")) != store.add(NODE, run_of("KeyError"))


def test_a_failure_that_is_marked_fixed_is_kept_and_comes_last(tmp_path):
    store = Store(tmp_path)
    store.save(NODE, run_of("KeyError", 1))
    store.add(NODE, run_of("ValueError", 2))
    (first,) = (stored for stored in store.failures(NODE) if stored.trace.outcome["type"] == "KeyError")
    path = store.mark_fixed(first)
    assert path is not None and path.name.endswith(".fixed.json") and is_fixed(path)
    assert kinds(store) == [("ValueError", False), ("KeyError", True)]
    assert store.load(NODE) is None
    assert read(path) == first.trace


def test_marking_what_another_process_has_taken_away_is_no_error(tmp_path):
    store = Store(tmp_path)
    store.save(NODE, run_of("KeyError"))
    (stored,) = store.failures(NODE)
    assert store.mark_fixed(stored) is not None
    assert store.mark_fixed(stored) is None
    store.drop(stored.path)
    assert kinds(store) == [("KeyError", True)]


def test_the_newest_twenty_of_a_target_stay_and_fixed_ones_go_first(tmp_path):
    store = Store(tmp_path)
    other = store.add("t.py::other", run_of("TypeError"))
    for number in range(MOST + 5):
        store.add(NODE, run_of("KeyError", number))
        stored = next(one for one in store.failures(NODE) if not one.fixed)
        path = store.mark_fixed(stored)
        os.utime(path, ns=(number, number))
    assert len(store.failures(NODE)) == MOST
    assert {one.trace.check for one in store.failures(NODE)} == {f"{n:08x}/{n}" for n in range(5, MOST + 5)}
    for number in range(100, 103):
        store.add(NODE, run_of("ValueError", number))
    assert sum(not one.fixed for one in store.failures(NODE)) == 3
    assert len(store.failures(NODE)) == MOST
    assert other.exists()


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    store = Store(tmp_path)
    store.add(NODE, run_of("KeyError", 1))
    store.add(NODE, run_of("ValueError", 2)).write_text("{")
    assert kinds(store) == [("KeyError", False)]


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_files(tmp_path):
    """Killed again and again in the middle of writing, marking and dropping."""
    program = textwrap.dedent(
        """
        import itertools, sys
        from pathlib import Path
        from vtloop.options import RUN_DEFAULTS
        from vtloop.store import Store
        from vtloop.trace import Trace

        store = Store(Path(sys.argv[1]))
        store.save("t.py::x", Trace(RUN_DEFAULTS, outcome={"type": "E" * 5000}))
        print("began", flush=True)
        for number in itertools.count():
            store.save("t.py::x", Trace(RUN_DEFAULTS, outcome={"type": "E" * 5000}))
            for stored in store.failures("t.py::x"):
                if not stored.fixed:
                    store.mark_fixed(stored)
        """
    )
    store = Store(tmp_path)
    for _ in range(5):
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}) as made:
            assert made.stdout.readline()
            made.kill()
        assert len(store.failures("t.py::x")) >= 1
        assert all(read(path) for path in (tmp_path / ".vtloop").glob("*.json"))


def test_processes_that_mark_and_store_the_same_failure_lose_nothing(tmp_path):
    store, errors = Store(tmp_path), []
    store.save(NODE, run_of("KeyError"))

    def work(save):
        try:
            for _ in range(50):
                if save:
                    store.save(NODE, run_of("KeyError"))
                else:
                    for stored in store.failures(NODE):
                        if not stored.fixed:
                            store.mark_fixed(stored)
                if not store.failures(NODE) and not store.failures(NODE):
                    errors.append("lost")
        except Exception as exc:
            errors.append(repr(exc))

    workers = [threading.Thread(target=work, args=(number % 2,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert {kind for kind, _ in kinds(store)} == {"KeyError"}


def test_a_read_only_folder_is_no_error(tmp_path):
    (tmp_path / ".vtloop").write_text("a file where the folder should be")
    assert Store(tmp_path).save(NODE, Trace(RUN_DEFAULTS)) is None


def test_the_folder_ignores_itself_until_the_file_is_deleted(tmp_path):
    store = Store(tmp_path)
    store.save(NODE, Trace(RUN_DEFAULTS))
    ignore = tmp_path / ".vtloop" / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.unlink()
    store.save(NODE, Trace(RUN_DEFAULTS))
    assert not ignore.exists()


def test_readers_see_whole_files_only_while_others_write(tmp_path):
    store = Store(tmp_path)
    store.save(NODE, Trace(RUN_DEFAULTS, outcome={"type": "E" * 2000}))
    done, bad = threading.Event(), []

    def read():
        while not done.is_set():
            try:
                if store.load(NODE) is None:
                    bad.append("gone")
            except TraceError as exc:
                bad.append(str(exc))

    reader = threading.Thread(target=read)
    reader.start()
    for size in range(100):
        store.save(NODE, Trace(RUN_DEFAULTS, outcome={"type": "E" * size * 50}))
    done.set()
    reader.join()
    assert bad == []
    assert {path.suffix for path in (tmp_path / ".vtloop").iterdir()} == {"", ".json", ".txt"}
