"""A run as data: its choices, the file that keeps them, and the token that fits on a command line.

Written by ``run`` and ``explore``, read by ``replay``.  Only the choices that deviate from asyncio's own order are
kept, each under a key that survives edits of the program.  Reading executes nothing; anything that is not exactly a
trace is refused in one sentence.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import os
import platform
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vtloop.errors import TraceError
from vtloop.options import RUN_DEFAULTS, Options, resolve
from vtloop.writing import write_whole

__all__ = ["FORMAT", "REPLAY", "TOKEN_LIMIT", "TOKEN_PREFIX", "Choice", "Trace", "check_of", "plain_words", "read"]

FORMAT = 2
"""The version of the format; a file or token of a newer one is refused.

1: runs that a scheduler gives back.  2: also runs whose choices are listed, with holds among them.
"""

REPLAY = "replay"
"""In a trace only: the scheduler of a run whose choices are listed rather than drawn."""

TOKEN_PREFIX = "vt1."
TOKEN_LIMIT = 2_000
"""The longest token, in characters; what does not fit is kept in a file."""

_KIND = "vtloop trace"


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice that was not index 0.

    Attributes:
        kind: "step" for a step that ran early, "hold" for one that stood back, else what was chosen ("lag", "timer",
            "executor call", ...).
        task: Whose step was brought forward or held; for other kinds, after whose step the choice was made.
        step: Which step of that task, counted from 1.
        age: For "step" and "hold": at which place of asyncio's own order it ran, relative to its own (a hold: at the
            earliest); for other kinds: the how many-th choice after that step.
        index: The index chosen.
        options: How many there were.
        words: The choice for people: what ran before what.
    """

    kind: str
    task: str
    step: int
    age: int
    index: int
    options: int
    words: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What the choice is looked up by during a replay."""
        return (self.kind, self.task, self.step)

    @property
    def told(self) -> str:
        """The choice for people, as well as it is known: a token has no words."""
        if self.words:
            return self.words
        return plain_words(self.kind, self.task, self.step, self.index, self.options)


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded run.

    Attributes:
        options: The options of the run, as resolved.
        check: CRC-32 over all choices and how many there were, as text; two runs with the same check took the same
            choices.
        choices: The deviations from asyncio's own order, in order; None when the options alone give the run back.
        target: What was run: a command-line target or a pytest node id; None when it was a function in a program.
        outcome: How the run ended, for comparison: type and place of the error, virtual time, step.
        made_by: Versions and hash seed of the recording process.
    """

    options: Options
    check: str = ""
    choices: tuple[Choice, ...] | None = None
    target: str | None = None
    outcome: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)

    @property
    def found(self) -> Mapping[str, Any]:
        """Which run found it, by "run", "seed", "scheduler" and "interleave"; empty when that is not known."""
        known = self.outcome.get("found")
        return known if isinstance(known, dict) else {}

    def token(self) -> str | None:
        """The trace as text for a command line, or None when it does not fit into `TOKEN_LIMIT` characters.

        With a named scheduler it is the seed with all options, else the deviations.
        """
        body: dict[str, Any] = {"o": _plain(self.options), "c": self.check, "e": self.outcome.get("type", "")}
        if not isinstance(self.options.scheduler, str) or self.options.scheduler == REPLAY:
            body["v"] = FORMAT
            body["d"] = [list(asdict(choice).values())[:6] for choice in self.choices or ()]
        packed = zlib.compress(json.dumps(body, separators=(",", ":"), sort_keys=True).encode(), 9)
        text = TOKEN_PREFIX + _text64(packed + zlib.crc32(packed).to_bytes(4, "big"))
        return text if len(text) <= TOKEN_LIMIT else None

    def to_json(self) -> str:
        """The content of a trace file."""
        body = {
            "kind": _KIND,
            "format": FORMAT,
            "made_by": dict(self.made_by) or made_by(),
            "target": self.target,
            "options": {**asdict(self.options), "scheduler": _plain(self.options).get("scheduler", "fifo")},
            "check": self.check,
            "outcome": dict(self.outcome),
            "choices": None if self.choices is None else [asdict(choice) for choice in self.choices],
        }
        checksum = _crc(json.dumps(json.loads(json.dumps(body)), sort_keys=True))
        return json.dumps({"trace": body, "checksum": checksum}, indent=1)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the trace to ``path``: to a temporary name first, then renamed, so that a file is whole or absent.

        Raises:
            TraceError: The folder cannot be written to.
        """
        try:
            return write_whole(path, self.to_json())
        except OSError as exc:
            raise TraceError(f"the trace cannot be written to {str(path)!r}: {exc.strerror}") from exc


def plain_words(kind: str, task: str, step: int, index: int, options: int) -> str:
    """A choice in words that its fields alone give."""
    who = f"{task} step {step}" if step else f"the {task}"
    if kind == "step":
        return f"{who} ran before {index} others"
    if kind == "hold":
        return f"{who} stood back while {index} others ran"
    if kind.startswith("cancel "):
        return f"{task} was cancelled {kind.removeprefix('cancel ')} its step {step}"
    return f"{kind}: {index} of {options} after {who}"


def made_by() -> dict[str, Any]:
    """The versions of this process, for the header of a trace."""
    from_env = os.environ.get("PYTHONHASHSEED", "random")
    return {"python": platform.python_version(), "hash_seed": from_env, "vtloop": _version()}


def _version() -> str:
    return "0.1.0"


def check_of(indices: Iterable[int], sizes: Iterable[int]) -> str:
    """CRC-32 over choices and their number of options, then how many: ``1a2b3c4d/17``."""
    pairs = list(zip(indices, sizes, strict=True))
    text = ",".join(f"{index}/{size}" for index, size in pairs)
    return f"{_crc(text)}/{len(pairs)}"


def read(source: Trace | str | os.PathLike[str]) -> Trace:
    """A trace, from itself, from a token, or from the path of a file.

    Raises:
        TraceError: It is none of these, broken, cut off, foreign, or of a newer format.
    """
    if isinstance(source, Trace):
        return source
    if isinstance(source, str) and source.startswith("vt") and "." in source[:5] and os.sep not in source:
        if not source.startswith(TOKEN_PREFIX):
            raise TraceError(f"a token of this version begins with {TOKEN_PREFIX!r}, got {source[:12]!r}...")
        return _from_token(source)
    return _from_file(Path(source))


def _from_token(text: str) -> Trace:
    broken = f"the token {_short(text)} is broken or cut off; copy the whole of it"
    if len(text) > TOKEN_LIMIT:
        raise TraceError(f"the token {_short(text)} has {len(text)} characters; one has at most {TOKEN_LIMIT}")
    try:
        data = base64.b64decode(text[len(TOKEN_PREFIX) :].encode("ascii") + b"==", altchars=b"-_")
        packed, crc = data[:-4], data[-4:]
        if len(data) < 8 or zlib.crc32(packed).to_bytes(4, "big") != crc:
            raise ValueError
        body = json.loads(zlib.decompress(packed))
    except (ValueError, RecursionError, binascii.Error, zlib.error, UnicodeError):
        raise TraceError(broken) from None
    try:
        version = body.get("v", 1)
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise ValueError(f"it has format {version!r}; this vtloop reads formats up to {FORMAT}")
        choices = body.get("d")
        return _checked(
            options=body["o"],
            check=body["c"],
            choices=None
            if choices is None
            else [dict(zip(_CHOICE_FIELDS, fields, strict=False)) for fields in choices],
            outcome={"type": body["e"]} if body["e"] else {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise TraceError(f"the token {_short(text)} is not one of this vtloop: {_reason(exc)}") from None


def _from_file(path: Path) -> Trace:
    name = _short(str(path), 80)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise TraceError(f"the trace {name} cannot be read: {reason}; a trace file or a token is needed") from None
    try:
        outer = json.loads(text)
    except (ValueError, RecursionError):
        raise TraceError(f"the trace {name} is broken or cut off: it is not whole JSON") from None
    body = outer.get("trace") if isinstance(outer, dict) else None
    if not isinstance(body, dict) or body.get("kind") != _KIND:
        raise TraceError(f"{name} is not a vtloop trace")
    version = body.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= FORMAT:
        raise TraceError(f"the trace {name} has format {version!r}; this vtloop reads formats up to {FORMAT}")
    if outer.get("checksum") != _crc(json.dumps(body, sort_keys=True)):
        raise TraceError(f"the trace {name} was changed or damaged: its checksum does not fit")
    try:
        return _checked(
            options=body["options"],
            check=body["check"],
            choices=body["choices"],
            target=body["target"],
            outcome=body["outcome"],
            made_by=body["made_by"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise TraceError(f"the trace {name} is not one of this vtloop: {_reason(exc)}") from None


def _checked(options: Any, check: Any, choices: Any, outcome: Any, target: Any = None, made_by: Any = None) -> Trace:
    """A trace of parts whose checksum fits; another version, or another program, may still have written them.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: A part is missing, one too many, or of another type.
    """
    made = None if choices is None else tuple(Choice(**{"words": "", **fields}) for fields in choices)
    for choice in made or ():
        for field_name, kind in _CHOICE_FIELDS.items():
            if type(getattr(choice, field_name)) is not kind:
                raise TypeError(f"a choice has {field_name} {getattr(choice, field_name)!r}")
    for name, value, kinds in (
        ("check", check, str),
        ("target", target, str | None),
        ("outcome", outcome, dict),
        ("made_by", made_by, dict | None),
    ):
        if not isinstance(value, kinds):
            raise TypeError(f"{name} is {value!r}")
    resolved = _options(options)
    if resolved.scheduler == REPLAY and made is None:
        raise ValueError("it lists no choices")
    return Trace(resolved, check, made, target, outcome, made_by or {})


_CHOICE_FIELDS = {"kind": str, "task": str, "step": int, "age": int, "index": int, "options": int, "words": str}


def _reason(exc: Exception) -> str:
    return f"it lacks {exc}" if isinstance(exc, KeyError) else str(exc)


def _short(text: str, most: int = 24) -> str:
    return repr(text if len(text) <= most else f"{text[: most - 4]}...")


def _plain(options: Options) -> dict[str, Any]:
    """The options that differ from a run's defaults, as JSON values; a scheduler object becomes ``"replay"``."""
    changed = options.changed(RUN_DEFAULTS)
    changed.pop("scheduler", None)
    if options.scheduler != "fifo":
        changed["interleave"] = options.interleave  # the level goes without saying only under asyncio's own order
        changed["scheduler"] = options.scheduler if isinstance(options.scheduler, str) else REPLAY
    return changed


def _options(values: Mapping[str, Any]) -> Options:
    given = dict(values)
    scheduler = given.get("scheduler", "fifo")
    if scheduler == "fifo":
        given.pop("interleave", None)
    if scheduler != REPLAY:
        return resolve(RUN_DEFAULTS, **given)
    # No user may ask for it, so the options are checked as those of another scheduler.
    made = resolve(RUN_DEFAULTS, **{**given, "scheduler": "random"})
    return dataclasses.replace(made, scheduler=REPLAY, seed=given.get("seed"))


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _text64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
