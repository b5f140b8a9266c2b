"""A trace survives file and token unchanged; anything that is not exactly a trace is refused in one sentence."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtloop.errors import TraceError
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.trace import FORMAT, REPLAY, TOKEN_LIMIT, Choice, Trace, check_of, read

CHOICES = (
    Choice("step", "Task-3", 2, -1, 1, 3, "Task-3 step 2 ran before Task-2 step 2"),
    Choice("lag", "Task-2", 4, 0, 5, 9, "lag: 5 of 9 after Task-2 step 4"),
)


def a_trace(**fields) -> Trace:
    given = {
        "options": resolve(RUN_DEFAULTS, seed=7, interleave="tasks", lag=0.02, daemons=["worker-*"]),
        "check": "1a2b3c4d/17",
        "choices": CHOICES,
        "target": "app.jobs:main",
        "outcome": {"type": "ValueError", "place": "app.py:3 in main", "time_ns": 5, "step": 9},
        "made_by": {"python": "3.12.1", "hash_seed": "0", "vtloop": "0.1.0"},
    }
    return Trace(**{**given, **fields})


def token_of(body: object) -> str:
    packed = zlib.compress(json.dumps(body).encode(), 9)
    whole = packed + zlib.crc32(packed).to_bytes(4, "big")
    return "vt1." + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def file_of(path: Path, change=lambda body: None) -> Path:
    """A trace file whose checksum fits, with ``change`` made to its body."""
    body = json.loads(a_trace().to_json())["trace"]
    change(body)
    checksum = f"{zlib.crc32(json.dumps(body, sort_keys=True).encode()):08x}"
    path.write_text(json.dumps({"trace": body, "checksum": checksum}))
    return path


def refusal(source) -> str:
    with pytest.raises(TraceError) as caught:
        read(source)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert caught.value.__cause__ is None
    return message


# -- round trips ----------------------------------------------------------------------------------------------------


def test_a_file_gives_back_the_whole_trace(tmp_path):
    path = a_trace().save(tmp_path / "deep" / "folder" / "t.json")
    assert read(path) == a_trace()
    assert read(str(path)) == a_trace()


def test_a_trace_is_read_from_itself():
    trace = a_trace()
    assert read(trace) is trace


def test_a_token_with_a_named_scheduler_is_the_options_and_the_check_and_names_no_choice():
    back = read(a_trace().token())
    assert (back.options, back.check, back.choices) == (a_trace().options, "1a2b3c4d/17", None)
    assert back.outcome == {"type": "ValueError"}


def test_a_token_of_a_scheduler_object_carries_the_deviations():
    class Last:
        def pick(self, window):
            return len(window) - 1

    back = read(a_trace(options=resolve(RUN_DEFAULTS, scheduler=Last(), interleave="tasks")).token())
    assert [choice.key for choice in back.choices] == [choice.key for choice in CHOICES]
    assert [choice.index for choice in back.choices] == [1, 5]
    assert back.options.interleave == "tasks"


def test_the_level_timing_survives_a_token():
    options = resolve(RUN_DEFAULTS, seed=1, interleave="timing")
    assert read(a_trace(options=options).token()).options == options


def test_a_trace_of_asyncios_own_order_survives():
    trace = a_trace(options=RUN_DEFAULTS, choices=())
    assert read(trace.token()).options == RUN_DEFAULTS


def test_a_token_has_only_characters_that_need_no_quoting():
    text = a_trace().token()
    assert text.startswith("vt1.")
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_a_trace_that_is_too_long_for_a_token_has_none(tmp_path):
    globs = [f"{zlib.crc32(str(n).encode()):x}-*" for n in range(1000)]
    trace = a_trace(options=resolve(RUN_DEFAULTS, seed=7, daemons=globs))
    assert trace.token() is None
    assert read(trace.save(tmp_path / "t.json")) == trace


# -- writing ---------------------------------------------------------------------------------------------------------


def test_saving_leaves_one_file_behind(tmp_path):
    a_trace().save(tmp_path / "t.json")
    a_trace(check="0/0").save(tmp_path / "t.json")
    assert os.listdir(tmp_path) == ["t.json"]
    assert read(tmp_path / "t.json").check == "0/0"


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = a_trace().save(tmp_path / "t.json")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TraceError, match=r"cannot be written to .*No space left on device"):
        a_trace(check="0/0").save(path)
    assert os.listdir(tmp_path) == ["t.json"]
    assert read(path) == a_trace()


def test_a_save_that_is_interrupted_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        a_trace().save(tmp_path / "t.json")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(TraceError, match="cannot be written to"):
        a_trace().save(tmp_path / "taken" / "t.json")


def test_others_may_read_a_trace(tmp_path):
    assert a_trace().save(tmp_path / "t.json").stat().st_mode & 0o444 == 0o444


# -- what is refused -------------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path):
    assert "cannot be read: No such file or directory" in refusal(tmp_path / "none.json")


def test_a_folder_is_refused(tmp_path):
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_what_is_not_text_is_refused(tmp_path):
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\x00")
    assert "it is not text" in refusal(tmp_path / "t.json")


@pytest.mark.parametrize("length", [0, 1, 10, 200, -2])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = a_trace().save(tmp_path / "t.json")
    path.write_text(path.read_text()[:length])
    assert "broken or cut off" in refusal(path)


@pytest.mark.parametrize("text", ["{}", "[]", "3", "null", '{"trace": 1}', '{"trace": {"kind": "other"}}'])
def test_a_foreign_file_is_refused(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    assert "is not a vtloop trace" in refusal(tmp_path / "t.json")


def test_json_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "t.json").write_text("[" * 100_000)
    assert "broken or cut off" in refusal(tmp_path / "t.json")


@pytest.mark.parametrize("version", [FORMAT + 1, 99, 0, -1, "1", None, True, 1.0])
def test_another_format_is_refused(tmp_path, version):
    path = file_of(tmp_path / "t.json", lambda body: body.update(format=version))
    assert f"has format {version!r}; this vtloop reads formats up to {FORMAT}" in refusal(path)


def test_a_damaged_file_is_refused(tmp_path):
    path = a_trace().save(tmp_path / "t.json")
    path.write_text(path.read_text().replace("Task-3", "Task-4"))
    assert "changed or damaged" in refusal(path)


def test_an_option_of_another_version_is_refused_and_named(tmp_path):
    path = file_of(tmp_path / "t.json", lambda body: body["options"].update(warp=9))
    assert "unknown option 'warp'" in refusal(path)
    assert "t.json" in refusal(path)


@pytest.mark.parametrize("field", ["options", "check", "choices", "target", "outcome", "made_by"])
def test_a_missing_field_is_named(tmp_path, field):
    path = file_of(tmp_path / "t.json", lambda body: body.pop(field))
    assert f"it lacks '{field}'" in refusal(path)


@pytest.mark.parametrize("field", ["options", "check", "choices", "target", "outcome", "made_by"])
@pytest.mark.parametrize("value", [5, [[1]], {"a": 1}])
def test_a_field_of_another_type_is_refused(tmp_path, field, value):
    if isinstance(value, dict) and field in ("outcome", "made_by"):
        return
    refusal(file_of(tmp_path / "t.json", lambda body: body.update({field: value})))


@pytest.mark.parametrize("field", ["kind", "task", "step", "age", "index", "options", "words"])
def test_a_choice_with_a_field_of_another_type_is_refused(tmp_path, field):
    path = file_of(tmp_path / "t.json", lambda body: body["choices"][0].update({field: [1]}))
    assert f"a choice has {field} [1]" in refusal(path)


@pytest.mark.parametrize("text", ["vt1.", "vt1.AAAA", "vt1.!!!!", "vt1.\u00e9", "vt1." + "A" * 40])
def test_a_broken_token_is_refused(text):
    assert "is broken or cut off; copy the whole of it" in refusal(text)


def test_every_shorter_token_is_refused():
    text = a_trace().token()
    for length in range(4, len(text)):
        refusal(text[:length])


def test_a_token_of_another_version_is_refused():
    assert "begins with 'vt1.', got 'vt2." in refusal("vt2." + a_trace().token()[4:])


def test_a_token_longer_than_any_is_refused():
    assert f"one has at most {TOKEN_LIMIT}" in refusal("vt1." + "A" * 5000)


@pytest.mark.parametrize("body", [[], 5, None, {}, {"o": 1, "c": "", "e": ""}, {"o": {"seed": "x"}, "c": "", "e": ""}])
def test_a_token_whose_content_is_foreign_is_refused(body):
    assert "is not one of this vtloop" in refusal(token_of(body))


@pytest.mark.parametrize("deviations", [5, [5], [[1, 2]], [["step", "t", "1", 0, 0, 2]], [["step", "t", 1, 0, 0]]])
def test_a_token_with_foreign_choices_is_refused(deviations):
    body = {"o": {"seed": 1, "scheduler": "replay", "interleave": "tasks"}, "c": "", "e": "", "d": deviations}
    assert "is not one of this vtloop" in refusal(token_of(body))


def test_a_name_without_a_file_that_is_very_long_is_refused_in_a_short_sentence():
    assert "cannot be read" in refusal("A" * 10_000)


# -- properties ------------------------------------------------------------------------------------------------------

words = st.text(max_size=12)
whole = st.integers(-(2**40), 2**40)
choices = st.builds(Choice, words, words, whole, whole, whole, whole, words)
seconds = st.floats(0, 1e9, allow_nan=False) | st.integers(0, 10**9)


@st.composite
def options(draw):
    given = {
        "max_steps": draw(st.none() | st.integers(0, 10**12)),
        "max_time": draw(st.none() | seconds),
        "watchdog": draw(st.none() | seconds),
        "patience": draw(st.none() | seconds),
        "start": draw(st.floats(-1e9, 1e9)),
        "autojump": draw(st.booleans()),
        "daemons": draw(st.lists(words, max_size=3)),
    }
    if draw(st.booleans()):
        given["seed"] = draw(st.integers())
        given["scheduler"] = draw(st.sampled_from(["random", "pct:depth=3"]))
        given["interleave"] = draw(st.sampled_from(["timing", "wakeups", "tasks"]))
        given["lag"] = draw(seconds)
    return resolve(RUN_DEFAULTS, **given)


traces = st.builds(
    Trace,
    options(),
    st.just("00000000/0"),
    st.none() | st.lists(choices, max_size=4).map(tuple),
    st.none() | words,
    st.dictionaries(words, words | whole, max_size=3),
    st.dictionaries(words, words, min_size=1, max_size=3),
)
quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@quiet
@given(traces)
def test_any_trace_survives_a_file(tmp_path, trace):
    assert read(trace.save(tmp_path / "t.json")) == trace


@pytest.mark.slow
@quiet
@given(traces)
def test_any_trace_that_fits_survives_a_token(trace):
    text = trace.token()
    if text is not None:
        assert len(text) <= TOKEN_LIMIT
        assert (read(text).options, read(text).check) == (trace.options, trace.check)


@pytest.mark.slow
@quiet
@given(st.data())
def test_a_file_with_any_byte_changed_is_refused_or_means_the_same(tmp_path, data):
    path = a_trace().save(tmp_path / "t.json")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert read(path) == a_trace()
    except TraceError as exc:
        assert "\n" not in str(exc)


@pytest.mark.slow
@quiet
@given(st.data())
def test_a_token_with_any_character_changed_is_refused_or_means_the_same(data):
    text = list(a_trace().token())
    text[data.draw(st.integers(4, len(text) - 1))] = data.draw(st.characters())
    changed = "".join(text)
    if os.sep in changed:
        return
    try:
        assert read(changed).options == a_trace().options
    except TraceError as exc:
        assert "\n" not in str(exc)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=8))
def test_the_check_counts_the_choices(pairs):
    text = check_of([index for index, _ in pairs], [size for _, size in pairs])
    assert text.endswith(f"/{len(pairs)}")
    assert len(text.partition("/")[0]) == 8


# -- runs whose choices are listed -----------------------------------------------------------------------------------

HELD = (Choice("hold", "Task-3", 2, 4, 1, 2, "Task-3 step 2 stood back while Task-4 step 2 ran"), *CHOICES)


def a_listing(**fields) -> Trace:
    drawn = resolve(RUN_DEFAULTS, seed=7, interleave="tasks", lag=0.02)
    return a_trace(options=dataclasses.replace(drawn, scheduler=REPLAY), choices=HELD, **fields)


def test_listed_choices_survive_a_file_and_a_token(tmp_path):
    assert read(a_listing().save(tmp_path / "t.json")) == a_listing()
    back = read(a_listing().token())
    assert back.options == a_listing().options
    assert back.options.scheduler == REPLAY
    assert back.choices == tuple(dataclasses.replace(choice, words="") for choice in HELD)
    assert back.token() == a_listing().token()


def test_a_short_listing_has_a_short_token():
    assert len(a_listing().token()) < 250


def test_a_trace_of_a_scheduler_object_is_encoded_again_as_it_was(tmp_path):
    class Last:
        def pick(self, window):
            return len(window) - 1

    trace = a_trace(options=resolve(RUN_DEFAULTS, scheduler=Last(), interleave="tasks"))
    back = read(trace.save(tmp_path / "t.json"))
    assert back.token() == trace.token()
    assert read(back.save(tmp_path / "again.json")) == back


def test_a_file_of_the_first_format_is_read(tmp_path):
    assert read(file_of(tmp_path / "t.json", lambda body: body.update(format=1))) == a_trace()


def test_a_token_says_its_format_where_choices_are_listed():
    body = {"o": {"seed": 1, "scheduler": "replay", "interleave": "tasks"}, "c": "", "e": "", "d": []}
    assert read(token_of({**body, "v": FORMAT})).choices == ()
    for version in (FORMAT + 1, 0, "2", None, True):
        assert f"it has format {version!r}; this vtloop reads formats up to {FORMAT}" in refusal(
            token_of({**body, "v": version})
        )


def test_a_listing_without_choices_is_refused(tmp_path):
    body = {"o": {"seed": 1, "scheduler": "replay", "interleave": "tasks"}, "c": "", "e": ""}
    assert "it lists no choices" in refusal(token_of(body))


def test_the_options_of_a_listing_are_checked(tmp_path):
    body = {"o": {"seed": 1, "scheduler": "replay", "interleave": "all"}, "c": "", "e": "", "d": []}
    assert "unknown level 'all'" in refusal(token_of(body))
