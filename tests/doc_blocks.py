"""Runs what the README and the pages of ``docs/`` show, and compares it with what they say.

The convention, for fenced blocks:

* ``console``: lines that begin with ``$`` are commands, run by bash one after the other; what stands below each is all
  that it prints.  A word after ``console`` may be ``status=N``, the exit status of the last command (0), or ``setup``
  for commands that build an environment and are tried by a test of their own.
* ``python``: run as a program.  With ``title="file"`` it is no program but a part of that file: it must stand in the
  repository's file word for word, or, when there is no such file, is written for the commands that follow.
* ``text`` right behind a python block: what that program prints.
* Any other language with ``title="file"``: written for the commands that follow.

``...`` stands for what differs from machine to machine: real seconds, addresses, the version of
Python, and the folder of the clone.  Lines of carets below a traceback are left out.  Each page has a
folder of its own with the examples in it, and runs top down.

``python tests/doc_blocks.py --write`` puts what is really printed into the pages; read the difference afterwards.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass
class Block:
    """A fenced block of a page.

    Attributes:
        language: The word behind the fence.
        info: What stands behind it.
        body: The lines between the fences.
        line: The line of the page on which it begins.
        span: Where the body stands in the page.
    """

    language: str
    info: str
    body: str
    line: int
    span: tuple[int, int]

    @property
    def title(self) -> str | None:
        found = _TITLE.search(self.info)
        return found[1] if found else None

    @property
    def status(self) -> int:
        found = re.search(r"status=(\d+)", self.info)
        return int(found[1]) if found else 0


@dataclass
class Shown:
    """What a page says is printed, and what is."""

    what: str
    said: str
    printed: str
    span: tuple[int, int] = (0, 0)
    problems: list[str] = field(default_factory=list)


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(found[1] or "", found[2].strip(), found[3], text.count("\n", 0, found.start()) + 1, found.span(3))
        for found in _FENCE.finditer(text)
    ]


def commands(body: str) -> list[tuple[str, str]]:
    """``(command, output)`` pairs of a console block."""
    parts = re.split(r"^\$ (.*(?:\\\n.*)*)\n?", body, flags=re.MULTILINE)
    if parts[0]:
        raise ValueError(f"output before the first command: {parts[0]!r}")
    return list(zip(parts[1::2], parts[2::2], strict=True))


class Place:
    """A folder like a clone, for the blocks of one page."""

    def __init__(self, folder: Path, page: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples", ignore=_no_caches)
        (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        programs = folder / ".programs"
        programs.mkdir()
        for name, module in (("python", ""), ("vtloop", "-m vtloop"), ("pytest", "-m pytest")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            program.chmod(0o755)
        dropped = ("PYTEST_", "PYTHON", "COV_", "FORCE_COLOR", "CI")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        self.environment |= {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        if page.stem != "integrations":  # as if no other plugin of pytest were installed
            self.environment |= {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_PLUGINS": "vtloop.pytest_plugin",
            }

    def run(self, *words: str) -> tuple[str, int]:
        """Standard output and standard error of a command together, and its exit status."""
        made = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        return made.stdout, made.returncode


def _no_caches(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith((".", "__pycache__"))]


def shown(page: Path, place: Place) -> Iterator[Shown]:
    """Run the blocks of ``page`` in order."""
    found = blocks(page.read_text(encoding="utf-8"))
    for number, block in enumerate(found):
        where = f"{page.name}, line {block.line}"
        if block.language == "console" and "setup" not in block.info:
            yield _console(place, block, where)
        elif block.title is not None:
            yield _file(place, block, where)
        elif block.language == "python":
            follower = found[number + 1] if number + 1 < len(found) else None
            printed, status = place.run("python", "-c", block.body)
            one = Shown(where, "", printed)
            if follower is not None and follower.language == "text":
                one.said, one.span = follower.body, follower.span
            if status:
                one.problems.append(f"exit status {status}")
            yield one
        elif block.language == "text" and (number == 0 or found[number - 1].language != "python"):
            yield Shown(where, block.body, "", problems=["a text block must follow a python block"])


def _console(place: Place, block: Block, where: str) -> Shown:
    status, text, problems = 0, "", []
    for command, _ in commands(block.body):
        if status:
            problems.append(f"exit status {status} before {command!r}")
        if command == "echo $?":
            printed, status = f"{status}\n", 0
            problems.clear()
        else:
            printed, status = place.run("bash", "-c", command)
        text += f"$ {command}\n{printed}"
    if status != block.status:
        problems.append(f"exit status {status}, not {block.status}")
    return Shown(where, block.body, text, block.span, problems)


def _file(place: Place, block: Block, where: str) -> Shown:
    assert block.title is not None
    here = Shown(where, "", "")
    if block.title.startswith("docs/"):
        whole = (ROOT / block.title).read_text(encoding="utf-8")
        if block.body not in whole:
            here.problems.append(f"{block.title} does not have these lines")
    else:
        target = place.folder / block.title
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.body, encoding="utf-8")
    return here


_DIFFERS = (
    (re.compile(r"\b[\d.]+ s \([\d,]+ runs/s\)"), "... s (... runs/s)"),
    (re.compile(r"\bin \d+\.\d+s"), "in ...s"),
    (re.compile(r"\b0x[0-9a-f]{6,}"), "0x..."),
    (re.compile(r"\bPython 3\.\d+\.\w+"), "Python ..."),
)


def general(text: str, folder: Path) -> str:
    """What is printed, with ``...`` for what differs from machine to machine."""
    text = text.replace(f"{folder}{os.sep}", ".../")
    for pattern, put in _DIFFERS:
        text = pattern.sub(put, text)
    lines = (line.rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if not re.fullmatch(r"[ E|]*[~^]+[ ~^]*", line))


def differences(one: Shown, folder: Path) -> list[str]:
    """What is wrong with a block; an empty list when nothing is."""
    said, printed = one.said.rstrip("\n"), general(one.printed, folder).rstrip("\n")
    problems = list(one.problems)
    if said != printed:
        problems.append(f"the page says:\n{said}\n--- printed is:\n{printed}")
    return [f"{one.what}: {problem}" for problem in problems]


def write(page: Path) -> None:
    """Put what is really printed into ``page``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / page.stem
        folder.mkdir()
        place = Place(folder, page)
        results = list(shown(page, place))
        text = page.read_text(encoding="utf-8")
        for one in reversed(results):
            for problem in one.problems:
                print(f"{one.what}: {problem}", file=sys.stderr)
            if one.span != (0, 0):
                printed = general(one.printed, folder).rstrip("\n")
                text = text[: one.span[0]] + printed + "\n" + text[one.span[1] :]
            elif one.printed:
                print(f"{one.what}: printed, and not shown: {one.printed}", file=sys.stderr)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--write"]:
        sys.exit(__doc__)
    for each in [Path(word).resolve() for word in sys.argv[2:]] or PAGES:
        write(each)
