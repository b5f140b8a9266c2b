"""The folder of stored failures."""

from __future__ import annotations

import os
import threading

import pytest

from vtloop.errors import TraceError
from vtloop.options import RUN_DEFAULTS
from vtloop.store import Store
from vtloop.trace import FORMAT, Trace

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
