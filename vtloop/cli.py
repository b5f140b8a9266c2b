"""The command ``vtloop``: run, explore, replay, shrink, show, diff, check, stored.

Reads the command line and hands it to `vtloop.commands`; turns what comes back into an exit status.  Every option of
`vtloop.options.Options` becomes a flag by itself.  It must never show a traceback of ours for a mistake of the user.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from vtloop import blocking_buster, checking, commands, comparing, exploring, listing, replaying, showing, shrinking
from vtloop.commands import Request
from vtloop.console import Console
from vtloop.errors import NondeterminismError, ReplayError, UsageError, allowed
from vtloop.options import SCHEDULERS, WORDS, Options
from vtloop.ready import LEVELS
from vtloop.shrink import REPLAYS, SECONDS
from vtloop.targets import FORMS
from vtloop.trace import made_by

__all__ = ["BUG", "FOUND", "INTERRUPTED", "MISFIT", "OK", "USAGE", "main"]

OK, FOUND, USAGE, MISFIT, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
"""The exit statuses: nothing found; a failure found or reproduced; usage; the trace does not fit; ours; Ctrl-C."""

COMMANDS = ("run", "explore", "replay", "shrink", "show", "diff", "check", "stored")

_DESCRIPTION = "Run asyncio programs on virtual time, explore their orders, and play failures back."

_EXAMPLES = f"""\
TARGET is {FORMS}.

examples:
  vtloop run app.jobs:main                      once, in asyncio's own order, without waiting
  vtloop run app.jobs:main --seed 7             once, in the order drawn from seed 7
  vtloop run script.py -- --size 3              a script; asyncio.run() inside it uses virtual time
  vtloop explore app.jobs:main -n 5000          up to 5000 orders, until one fails
  vtloop explore tests/test_jobs.py::test_retry a pytest test
  vtloop replay vt1.eNqrVkp... app.jobs:main    what a failing run printed as its last line
  vtloop shrink .vtloop/app.jobs.main-1a2b.json make it smaller still, with --seconds 60
  vtloop show .vtloop/app.jobs.main-1a2b.json   a stored failure in words
  vtloop show TRACE app.jobs:main --html run.html  what ran when, as a page
  vtloop diff TRACE fifo app.jobs:main          where a failing run parts from asyncio's own order
  vtloop check app.jobs:main                    does one seed give one run, in any process?

exit status: 0 nothing found, 1 a failure was found or reproduced, 2 usage, 3 the trace does not fit the program
"""


class _Parser(argparse.ArgumentParser):
    """Refuses in one sentence."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (\S+): (?=must )", r"\1 ", message)
        if message.startswith("unrecognized arguments: "):
            flags = ", ".join(_flag(name) for name in _OPTIONS)
            message = (
                f"unknown {message[13:]}; options of a run: {flags}, --exact-time; arguments of a script: after --; "
                "a glob: in quotes"
            )
        command = self.prog.removeprefix("vtloop").strip()
        raise UsageError(f"{command}: {message}" if command else message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: of this process) and return the exit status."""
    console = Console()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words, console)
    except UsageError as exc:
        console.note(_one_line(exc))
        return USAGE
    except ReplayError as exc:
        console.data({"replay_error": str(exc), **exc.to_dict()})
        console.say(f"ReplayError: {exc}")
        return MISFIT
    except NondeterminismError as exc:
        console.data({"nondeterminism_error": str(exc), **exc.to_dict()})
        console.say(f"NondeterminismError: {exc}")
        return FOUND
    except KeyboardInterrupt:
        console.note("interrupted")
        return INTERRUPTED
    except Exception:
        console.clear()
        traceback.print_exc()
        console.note("this is a bug in vtloop; please report it with the lines above")
        return BUG
    finally:
        console.close()


def _run(words: list[str], console: Console) -> int:
    before, after = _parted(words)
    if not before:
        raise UsageError(f"a command is needed, one of {', '.join(COMMANDS)}; see vtloop --help")
    if not before[0].startswith("-") and before[0] not in COMMANDS:
        raise UsageError(f"unknown command {before[0]!r}; {allowed(COMMANDS)}")
    try:
        given = _parser().parse_args(before)
    except SystemExit as exc:  # --help, --version
        return int(exc.code or 0)
    console.json = given.json
    options = {name: getattr(given, name) for name in _OPTIONS if hasattr(given, name)}
    if options.get("seed") == "random":
        options["seed"] = int.from_bytes(os.urandom(4), "big")
        console.note(f"seed {options['seed']}")
    request = Request(given, options, after, words, console)
    command: Callable[[Request], int] = given.command
    return command(request)


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before ``--`` and what stands behind it."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())


# -- the parser ------------------------------------------------------------------------------------------------------


def _parser() -> _Parser:
    parser = _Parser(
        prog="vtloop", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"vtloop {made_by()['vtloop']}")
    parts = parser.add_subparsers(metavar="COMMAND", required=True)

    run = _command(parts, "run", commands.run, "run once: in asyncio's own order, or in the one drawn from --seed")
    run.add_argument("target", metavar="TARGET", help=FORMS)
    _add_options(run)

    explore = _command(parts, "explore", exploring.explore, "run in many orders until one fails")
    explore.add_argument("target", metavar="TARGET", help=FORMS)
    explore.add_argument(
        "-n", "--runs", type=_whole("-n"), metavar="N", help="how many runs at most (1000; with --budget 1000000)"
    )
    explore.add_argument(
        "-j", "--jobs", type=_whole("-j"), default=1, metavar="JOBS", help="how many processes make runs (1)"
    )
    explore.add_argument(
        "--budget", type=_duration, metavar="TIME", help="begin no run after 30s, 5m, 1h (a plain number: seconds)"
    )
    explore.add_argument("--resume", action="store_true", help="go on behind the last run of the earlier exploration")
    explore.add_argument("-s", "--show-output", action="store_true", help="let the program print during every run")
    explore.add_argument("--no-shrink", action="store_true", help="show the failing run as it was found")
    _add_options(explore)

    replay = _command(parts, "replay", replaying.replay, "play a recorded run back")
    replay.add_argument("trace", metavar="TRACE|TOKEN|SEED", help="a trace file, a token (vt1....) or a seed")
    replay.add_argument("target", metavar="TARGET", nargs="?", help="may be left out for a trace in ./.vtloop/")
    replay.add_argument("--pdb", action="store_true", help="open the debugger where the run fails")
    replay.add_argument(
        "--until", type=_number("--until", "int", "until"), metavar="STEP", help="open the debugger before this step"
    )
    _add_options(replay)

    _add_shrink(parts)

    show = _command(parts, "show", showing.show, "show a trace in words; without --events or TARGET it runs nothing")
    show.add_argument("trace", metavar="TRACE|TOKEN", help="a trace file or a token")
    show.add_argument("target", metavar="TARGET", nargs="?", help="play it back, for what the trace does not hold")
    show.add_argument("--events", action="store_true", help="play it back and list every event")
    show.add_argument("--html", metavar="FILE", help="play it back and write a page with a timeline")
    show.add_argument("--perfetto", metavar="FILE", help="play it back and write a file for ui.perfetto.dev")

    diff = _command(parts, "diff", comparing.diff, "play two runs back and show the first event in which they part")
    diff.add_argument("a", metavar="A", help="a trace file, a token, a seed, or 'fifo' for asyncio's own order")
    diff.add_argument("b", metavar="B", help="the same")
    diff.add_argument("target", metavar="TARGET", nargs="?", help="may be left out for a trace in ./.vtloop/")
    _add_options(diff)

    check = _command(parts, "check", checking.check, "see whether one seed gives one run, here and in fresh processes")
    check.add_argument("target", metavar="TARGET", help=FORMS)
    check.add_argument("--events-to", metavar="FILE", help=argparse.SUPPRESS)
    _add_options(check)

    _command(parts, "stored", listing.stored, "list the failures in ./.vtloop/, and which of them are marked fixed")
    return parser


def _add_shrink(parts: Any) -> None:
    shrink = _command(parts, "shrink", shrinking.shrink, "make a recorded failure small: fewer and smaller choices")
    shrink.add_argument("trace", metavar="TRACE|TOKEN", help="a trace file, or a token, of a failing run")
    shrink.add_argument("target", metavar="TARGET", nargs="?", help="may be left out for a trace in ./.vtloop/")
    shrink.add_argument(
        "--replays", type=_whole("--replays"), default=REPLAYS, metavar="N", help=f"how many runs at most ({REPLAYS})"
    )
    shrink.add_argument(
        "--seconds",
        type=_number("--seconds", "float | None", "seconds"),
        default=SECONDS,
        metavar="SECONDS",
        help=f"how much real time at most ({SECONDS:g}), or 'none'",
    )
    shrink.add_argument("-o", "--output", metavar="FILE", help="write the trace here, and leave the old one alone")


def _command(parts: Any, name: str, function: Callable[[Request], int], words: str) -> _Parser:
    parser: _Parser = parts.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    parser.set_defaults(command=function)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, and nothing else")
    return parser


_OPTIONS = {field.name: str(field.type) for field in dataclasses.fields(Options)}
"""The options of a run with their types as written in `Options`."""

_ALLOWED = {"scheduler": ", ".join(SCHEDULERS), "interleave": ", ".join(LEVELS)}
_ALLOWED |= {name: ", ".join(word or "none" for word in words) for name, words in WORDS.items()}


def _add_options(parser: _Parser) -> None:
    """A flag for every option of a run, and ``--exact-time``."""
    group = parser.add_argument_group("options of a run")
    words = _words()
    for name, kind in _OPTIONS.items():
        flag = _flag(name)
        help_ = words.get(name, "").replace("%", "%%")
        if name in _ALLOWED:
            help_ = f"{help_.partition(':')[0]}: {_ALLOWED[name]}."
        if name == "blocking" and not blocking_buster.is_installed():
            help_ += f" Mind: {blocking_buster.MISSING}."
        how: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": help_}
        if kind == "bool":
            how.update(action="store_false", help=f"Switch off: {help_[:1].lower()}{help_[1:]}")
        elif kind.startswith("tuple"):
            how.update(action="append", metavar="GLOB")
        elif kind.startswith(("int", "float")):
            metavar = {"seed": "S", "stretch": "SHARE"}.get(name, "N" if kind.startswith("int") else "SECONDS")
            how.update(type=_number(flag, kind, name), metavar=metavar)
        else:
            how.update(metavar="WORD" if name in WORDS else "NAME")
            if None in WORDS.get(name, ()):
                how.update(type=_word_or_none)
        group.add_argument(flag, **how)
    group.add_argument(
        "--exact-time", action="store_true", help="No run has lag or stretch: exact times can be asserted."
    )


def _flag(name: str) -> str:
    return f"--{'no-' if _OPTIONS[name] == 'bool' else ''}{name.replace('_', '-')}"


def _words() -> dict[str, str]:
    """What the docstring of `Options` says about each option."""
    text = (Options.__doc__ or "").partition("Attributes:")[2]
    plain = text.replace("`", "").replace("None", "'none'")
    return {
        name: " ".join(words.split())
        for name, words in re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", plain, re.MULTILINE)
    }


def _word_or_none(text: str) -> str | None:
    return None if text == "none" else text


def _whole(flag: str) -> Callable[[str], Any]:
    return _number(flag, "int", "runs")


def _duration(text: str) -> float:
    """Reads a length of time: ``30s``, ``5m``, ``1h``, or seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(s|m|h)?", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"] if found is not None else 0.0
    if not seconds:
        raise argparse.ArgumentTypeError(f"must be a time above 0, like 30s, 5m or 1h, got {text!r}")
    return seconds


def _number(flag: str, kind: str, name: str) -> Callable[[str], Any]:
    """Reads a number; the range is checked where all options are (`vtloop.options.resolve`)."""
    whole, none = kind.startswith("int"), "None" in kind
    what = ("a whole number" if whole else "a number" if name == "stretch" else "a number of seconds") + (
        ", 'none'" if none else ""
    )
    what += " or 'random'" if name == "seed" else ""

    def read(text: str) -> Any:
        if none and text.lower() == "none":
            return None
        if name == "seed" and text == "random":
            return text
        try:
            return int(text) if whole else float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}") from None

    return read
