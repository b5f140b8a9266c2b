"""Interpreters, and the throw-away environments made with them.

An environment holds the package of one side of one case and vtloop, built once from this checkout. Nothing is ever
written into the checkout, and the environment this program runs in stays as it is.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.museum.cases import Case

__all__ = ["CHECKOUT", "Environments", "NotAvailable", "Unbuildable", "find_interpreter"]

CHECKOUT = Path(__file__).resolve().parents[2]
_SOURCES = ("vtloop", "pyproject.toml", "README.md", "LICENSE")
_MINUTES_10 = 600


class NotAvailable(Exception):
    """An interpreter that a case needs is not on this machine."""


class Unbuildable(Exception):
    """An environment could not be made; the message is the last thing its installer said."""


_PROBE = """
import ensurepip, os, platform, sys, venv
own = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])
print(platform.python_version())
print(own if os.path.exists(own) else sys.executable)
"""


@functools.cache
def _probed(python: str) -> tuple[str, str] | None:
    """The real path and the version of the interpreter behind a command; None when it can not make environments."""
    try:
        done = subprocess.run([python, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    version, path = done.stdout.splitlines()
    return path, version


def _is(version: str, wanted: str) -> bool:
    return f"{version}.".startswith(f"{wanted}.")


def _pyenv(*arguments: str) -> list[str]:
    """The lines that pyenv prints; none without pyenv."""
    command = shutil.which("pyenv")
    if command is None:
        return []
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60)
    return done.stdout.split("\n") if done.returncode == 0 else []


def _candidates(wanted: str) -> Iterator[str]:
    yield sys.executable
    for name in (f"python{wanted}", "python3", "python"):
        on_path = shutil.which(name)
        if on_path:
            yield on_path
    for version in _pyenv("versions", "--bare", "--skip-aliases"):
        if _is(version.strip(), wanted):
            yield from (str(Path(line) / "bin" / "python") for line in _pyenv("prefix", version.strip()) if line)


def find_interpreter(wanted: Sequence[str]) -> tuple[str, str]:
    """The first interpreter of one of the ``wanted`` versions: its path and its full version.

    Looks at the one that runs this, then along PATH, then at those of pyenv.

    Raises:
        NotAvailable: there is none of them.
    """
    for version in wanted:
        for python in _candidates(version):
            found = _probed(python)
            if found is not None and _is(found[1], version):
                return found
    raise NotAvailable(f"no CPython {' or '.join(wanted)} on PATH or in pyenv")


def _run(command: Sequence[str | Path]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_MINUTES_10,
        env=environment,
    )
    if done.returncode:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["it said nothing"]
        errors = [line for line in said if line.lower().startswith("error")] or said
        raise Unbuildable(f"{Path(command[0]).name} failed: {errors[0]}")


class Environments:
    """Makes environments under one directory and keeps them for as long as it exists.

    One that was completed earlier, for the same interpreter and requirements, is used again; vtloop is installed
    anew in it, because the checkout may have changed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._wheels: dict[str, Path] = {}

    def python(self, case: Case, side: str, default: str) -> tuple[Path, str]:
        """The interpreter of the environment for one side of a case, and its version.

        Args:
            case: What to make it for.
            side: "buggy" or "fixed".
            default: The interpreter to use where the case does not name one.

        Raises:
            NotAvailable: the case needs an interpreter that is not there.
            Unbuildable: the installer failed.
        """
        wanted = case.interpreters.get(side)
        found = find_interpreter(wanted) if wanted else _probed(default)
        if found is None:
            raise NotAvailable(f"{default!r} does not run, or has no venv and ensurepip")
        python, version = found
        try:
            return self._ready(case, side, python, version), version
        except subprocess.TimeoutExpired as slow:
            raise Unbuildable(f"not done after {slow.timeout:.0f} s") from slow

    def _ready(self, case: Case, side: str, python: str, version: str) -> Path:
        home = self._directory / f"{case.identity}-{side}-{version}"
        inside = home / ("Scripts" if os.name == "nt" else "bin") / "python"
        install: list[str | Path] = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        stamp = home / "requirements-installed.txt"
        requirements = case.requirements(side).read_text(encoding="utf-8")
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != requirements:
            shutil.rmtree(home, ignore_errors=True)
            _run([python, "-m", "venv", home])
            _run([*install, "-r", case.requirements(side)])
            stamp.write_text(requirements, encoding="utf-8")
        wheel = self._wheel(python, version)
        _run([*install, wheel])
        _run([*install, "--force-reinstall", "--no-deps", wheel])
        return inside

    def _wheel(self, python: str, version: str) -> Path:
        """vtloop built from a copy of the checkout, once for each interpreter."""
        if version not in self._wheels:
            work = self._directory / f"vtloop-{version}"
            shutil.rmtree(work, ignore_errors=True)
            (work / "source").mkdir(parents=True)
            for name in _SOURCES:
                source = CHECKOUT / name
                if source.is_dir():
                    shutil.copytree(source, work / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
                elif source.exists():
                    shutil.copyfile(source, work / "source" / name)
            _run([python, "-m", "venv", work / "builder"])
            inside = work / "builder" / ("Scripts" if os.name == "nt" else "bin") / "python"
            quietly = ["--quiet", "--disable-pip-version-check", "--no-deps"]
            _run([inside, "-m", "pip", "wheel", *quietly, "--wheel-dir", work / "wheels", work / "source"])
            self._wheels[version] = next((work / "wheels").glob("vtloop-*.whl"))
        return self._wheels[version]
