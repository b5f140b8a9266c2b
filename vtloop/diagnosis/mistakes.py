"""Common mistakes of asyncio programs, named with their fix: a note on the exception that a run fails with.

Called once by `vtloop.run` when a run that is shown has failed; a passing run pays nothing.  Each family of mistakes is
a module with a table of `Rule`.  A hint is true or there is none: a message that is not Python's or asyncio's own, a
line that raised by hand, or several causes that fit, get no word.  It must never run code of the program.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator

from vtloop.diagnosis import missing_await, wrong_awaitable, wrong_loop
from vtloop.diagnosis.advice import Case
from vtloop.diagnosis.missing_await import never_awaited
from vtloop.diagnosis.sites import frames_of, site_of

__all__ = ["HINT", "advice_for", "hints_of", "never_awaited", "note_mistakes"]

HINT = "hint: "
"""What a note with advice begins with."""

_RULES = (*wrong_awaitable.RULES, *missing_await.RULES, *wrong_loop.RULES)
_KINDS = {kind for rule in _RULES for kind in rule.kinds}
_MOST = 20


def note_mistakes(error: BaseException, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Add the fix, as a note, to `error` and to what it holds or was raised from, where it is a known mistake."""
    for each in _with_parts(error):
        advice = advice_for(each, loop)
        if advice is not None and HINT + advice not in getattr(each, "__notes__", ()):
            each.add_note(HINT + advice)


def advice_for(error: BaseException, loop: asyncio.AbstractEventLoop | None = None) -> str | None:
    """The fix of the known mistake that `error` came of, in one to three lines; None for any other error."""
    if type(error) not in _KINDS or error.__traceback__ is None:
        return None
    try:
        return _advice(error, loop)
    except Exception:  # odd objects of the program: no advice is better than a second error
        return None


def _advice(error: BaseException, loop: asyncio.AbstractEventLoop | None) -> str | None:
    message = str(error)  # a type of Python's own: no code of the program runs
    rules = [(rule, found) for rule in _RULES if type(error) in rule.kinds and (found := rule.pattern.match(message))]
    site = site_of(error) if rules else None
    if site is None or (site.direct and (isinstance(site.node, ast.Raise) or isinstance(site.statement, ast.Raise))):
        return None
    *_, last = frames_of(error)
    told = (rule.advise(Case(error, found, site, last, loop)) for rule, found in rules)
    return next((advice for advice in told if advice is not None), None)


def hints_of(error: BaseException) -> list[str]:
    """The notes that `note_mistakes` left on an exception and on what it holds or was raised from."""
    return [note for each in _with_parts(error) for note in getattr(each, "__notes__", ()) if _is_hint(note)]


def _is_hint(note: object) -> bool:
    return isinstance(note, str) and note.startswith(HINT)


def _with_parts(error: BaseException) -> Iterator[BaseException]:
    """An exception, the members of a group, and what each was raised from."""
    waiting, seen = [error], 0
    while waiting and seen < _MOST:
        each = waiting.pop()
        seen += 1
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        if each.__cause__ is not None:
            waiting.append(each.__cause__)
